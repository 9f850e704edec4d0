#!/usr/bin/env python3
"""Kill loop: SIGKILL at random moments under load, restart, compare with the model of acknowledged writes.

    kill_loop_test.py [--cycles N] [--appendfsync always]       (200 cycles by default; 2,000 by hand)

Several clients write their own keys: plain and pipelined SETs from 1 byte to 1 MB, INCR, APPEND of numbered tokens, MSET
and MULTI blocks that write one number under several keys, DEL. Checkpoints are forced often (small memtable, DEBUG
CHECKPOINT). One client reads what the others write. After each kill:

  - every acknowledged write is there; a register holds its last acknowledged value or one sent after it
  - nothing is there that was never sent: counters and token lists have no holes, no repeats, none too many
  - what MULTI or MSET wrote together is there together or not at all
  - what was read before the kill is not undone (no read of an unsynced write)
  - the stream offset never goes back below what was acknowledged, and `log verify` finds no damage
"""

import argparse
import random
import subprocess
import sys
import threading
import time

from holdfast_testing import (TOOL, Client, Disconnected, ReplyError, Workspace, check, seed_from_environment)

REGISTERS = 6
GROUP = 4


def payload(seq, size):
    """A value that names its sequence number; its length is at least what the number needs."""
    head = b"%d:" % seq
    return head + b"x" * max(0, size - len(head))


def seq_of(value):
    return int(value.split(b":", 1)[0])


class Writer:
    """One client's commands and what it knows of their fate. acked <= state after a restart <= sent."""

    def __init__(self, name, rng):
        self.name = name
        self.rng = rng
        self.next_seq = 1
        self.acked = {}     # register -> seq acknowledged last (0: deleted)
        self.maybe = {}     # register -> seqs sent after it, fate unknown
        self.incr_acked = 0
        self.incr_sent = 0
        self.tokens_acked = 0
        self.tokens_sent = 0
        self.group_acked = {"multi": 0, "mset": 0}
        self.group_sent = {"multi": 0, "mset": 0}
        self.writes_acked = 0

    def size(self):
        kind = self.rng.random()
        if kind < 0.7:
            return self.rng.randrange(1, 200)
        if kind < 0.97:
            return self.rng.randrange(200, 20_000)
        return self.rng.randrange(20_000, 1 << 20)

    def make(self):
        """A command and the function that records its acknowledgement. Sending is recorded at once."""
        kind = self.rng.choice(["set", "set", "set", "incr", "append", "mset", "multi", "del"])
        seq = self.next_seq
        self.next_seq += 1
        if kind in ("set", "del"):
            register = f"{self.name}:r{self.rng.randrange(REGISTERS)}"
            value = seq if kind == "set" else 0
            self.maybe.setdefault(register, []).append(value)

            def acked():
                self.acked[register] = value
                waiting = self.maybe[register]
                del waiting[:waiting.index(value) + 1]
            if kind == "set":
                return [("SET", register, payload(seq, self.size()))], acked
            return [("DEL", register)], acked
        if kind == "incr":
            self.incr_sent += 1

            def acked():
                self.incr_acked += 1
            return [("INCR", f"{self.name}:counter")], acked
        if kind == "append":
            self.tokens_sent += 1
            number = self.tokens_sent

            def acked():
                self.tokens_acked = number
            return [("APPEND", f"{self.name}:tokens", b"%d," % number)], acked
        self.group_sent[kind] = seq
        keys = [f"{self.name}:{kind}:{i}" for i in range(GROUP)]

        def acked():
            self.group_acked[kind] = seq
        if kind == "mset":
            arguments = [part for key in keys for part in (key, payload(seq, self.size() // GROUP))]
            return [("MSET", *arguments)], acked
        return [("MULTI",)] + [("SET", key, payload(seq, 20)) for key in keys] + [("EXEC",)], acked

    def run(self, port, stop):
        """Writes until the server is gone. Replies are checked for errors: none of these commands may fail."""
        try:
            with Client(port, timeout=20) as client:
                while not stop.is_set():
                    depth = self.rng.choice([1, 1, 1, 8, 40])
                    batch = [self.make() for _ in range(depth)]
                    client.send_raw(b"".join(Client.encode(*c) for commands, _ in batch for c in commands))
                    for commands, acked in batch:
                        for _ in commands:
                            reply = client.read()
                            if isinstance(reply, ReplyError):
                                raise AssertionError(f"{commands[0][0]} was refused: {reply}")
                        acked()
                        self.writes_acked += 1
        except (Disconnected, OSError):
            pass

    def verify(self, client):
        for register in {*self.acked, *self.maybe}:
            value = client.call("GET", register)
            seq = seq_of(value) if value is not None else 0
            allowed = {self.acked.get(register, 0), *self.maybe.get(register, [])}
            check(seq in allowed, f"{register} holds {seq}, allowed {sorted(allowed)} (acknowledged last: "
                                  f"{self.acked.get(register)})")
            self.acked[register] = seq
            self.maybe[register] = []
        counter = int(client.call("GET", f"{self.name}:counter") or 0)
        check(self.incr_acked <= counter <= self.incr_sent,
              f"{self.name}: counter {counter}, acknowledged {self.incr_acked}, sent {self.incr_sent}")
        self.incr_acked = self.incr_sent = counter
        tokens = (client.call("GET", f"{self.name}:tokens") or b"").split(b",")[:-1]
        check([int(t) for t in tokens] == list(range(1, len(tokens) + 1)), f"{self.name}: tokens have a hole or repeat")
        check(self.tokens_acked <= len(tokens) <= self.tokens_sent,
              f"{self.name}: {len(tokens)} tokens, acknowledged {self.tokens_acked}, sent {self.tokens_sent}")
        self.tokens_acked = self.tokens_sent = len(tokens)
        for kind in ("mset", "multi"):
            values = client.call("MGET", *[f"{self.name}:{kind}:{i}" for i in range(GROUP)])
            seqs = {seq_of(v) if v is not None else 0 for v in values}
            check(len(seqs) == 1, f"{self.name}: {kind} applied in part: {sorted(seqs)}")
            seq = seqs.pop()
            check(self.group_acked[kind] <= seq <= self.group_sent[kind],
                  f"{self.name}: {kind} {seq}, acknowledged {self.group_acked[kind]}, sent {self.group_sent[kind]}")
            self.group_acked[kind] = self.group_sent[kind] = seq


class Reader:
    """Reads other clients' counters. They only grow, so what it saw is a lower bound for ever."""

    def __init__(self, names):
        self.keys = [f"{name}:counter" for name in names]
        self.seen = {key: 0 for key in self.keys}

    def run(self, port, stop):
        try:
            with Client(port, timeout=20) as client:
                while not stop.is_set():
                    for key in self.keys:
                        self.seen[key] = max(self.seen[key], int(client.call("GET", key) or 0))
        except (Disconnected, OSError):
            pass

    def verify(self, client):
        for key in self.keys:
            value = int(client.call("GET", key) or 0)
            check(value >= self.seen[key], f"{key} is {value} after the restart, but {self.seen[key]} had been read")


def checkpointer(port, stop, rng):
    try:
        with Client(port, timeout=20) as client:
            while not stop.wait(rng.random() * 0.05):
                client.call("DEBUG", "CHECKPOINT")
    except (Disconnected, OSError):
        pass


def cycle(server, writers, reader, rng, delay):
    stop = threading.Event()
    threads = [threading.Thread(target=w.run, args=(server.port, stop)) for w in [*writers, reader]]
    threads.append(threading.Thread(target=checkpointer, args=(server.port, stop, rng)))
    for thread in threads:
        thread.start()
    # The moment of the kill is what is random here, not something to wait for.
    time.sleep(delay)
    server.kill()
    stop.set()
    for thread in threads:
        thread.join()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cycles", type=int, default=200)
    parser.add_argument("--appendfsync", default="always")
    options = parser.parse_args()
    seed = seed_from_environment()
    rng = random.Random(seed)
    writers = [Writer(f"w{i}", random.Random(rng.random())) for i in range(4)]
    reader = Reader([w.name for w in writers])
    began = time.monotonic()
    with Workspace() as workspace:
        server = workspace.server("node", "--appendfsync", options.appendfsync, "--memtable-size", "1mb",
                                  "--log-segment-size", "1mb", "--enable-debug-command", "yes",
                                  "--repl-backlog-size", "4mb")
        offset = 0
        for number in range(options.cycles):
            server.start()
            with server.client() as client:
                try:
                    for checked in [*writers, reader]:
                        checked.verify(client)
                    now = int(client.info("replication")["master_repl_offset"])
                    check(now >= offset, f"the stream went back from {offset} to {now}")
                    offset = now
                except AssertionError as error:
                    raise AssertionError(f"cycle {number}: {error}") from error
            cycle(server, writers, reader, rng, rng.choice([0.02, 0.1, 0.3]) * (0.5 + rng.random()))
            if number % 10 == 0:
                verified = subprocess.run([TOOL, "log", "verify", server.directory], capture_output=True, text=True,
                                          check=False)
                check(verified.returncode == 0, f"cycle {number}: log verify says:\n{verified.stdout}{verified.stderr}")
        server.start()
        with server.client() as client:
            for checked in [*writers, reader]:
                checked.verify(client)
        check(server.terminate() == 0, "a clean stop exits with 0")
    total = sum(w.writes_acked for w in writers)
    check(total > options.cycles, "the load wrote next to nothing: the test proves nothing")
    print(f"{options.cycles} kills in {time.monotonic() - began:.0f} s, {total} acknowledged writes, none lost")


if __name__ == "__main__":
    sys.exit(main())
