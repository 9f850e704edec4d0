#!/usr/bin/env python3
"""Restart after kill -9 replays no more log than the checkpoint settings allow, however much has been written.

The full size (5 million keys, beside redis-server) is benchmarks/restart_and_memory.py.
"""

import glob
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import (cpu_us, key_of, load, ready_after, sanitized, value_of,  # noqa: E402  (path above)
                       wait_until_quiet)
from holdfast_testing import Disconnected, ReplyError, Workspace, check, wait_for  # noqa: E402

KEYS = 200_000
VALUE_BYTES = 100
CHECKPOINT_BYTES = 2 << 20
MEMTABLE_BYTES = 4 << 20
EFFECT_BYTES = len(b"*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$100\r\n\r\n") + VALUE_BYTES


def replayed_bytes(server):
    with server.client() as client:
        return int(client.info()["holdfast_recovery_replayed_bytes"])


def check_keys(server):
    with server.client() as client:
        check(client.call("DBSIZE") == KEYS, "every key is there after the restart")
        for number in range(0, KEYS, 997):
            check(client.call("GET", key_of(number)) == value_of(number, VALUE_BYTES), f"key {number} after a restart")


class Writer(threading.Thread):
    """Sets key 0, 1, 2, ... as fast as it can until the connection breaks. Keys below `acknowledged` are durable."""

    CHUNK = 1000

    def __init__(self, server):
        super().__init__(daemon=True)
        self.client = server.client(timeout=120)
        self.acknowledged = 0
        self.start()

    def run(self):
        sent = 0
        header = b"*3\r\n$3\r\nSET\r\n$16\r\n%b\r\n$%d\r\n%b\r\n"
        try:
            while True:
                while sent < self.acknowledged + 5 * self.CHUNK:
                    self.client.send_raw(b"".join(header % (key_of(n), VALUE_BYTES, value_of(n, VALUE_BYTES))
                                                  for n in range(sent, sent + self.CHUNK)))
                    sent += self.CHUNK
                for _ in range(self.CHUNK):
                    if self.client.read() != "OK":
                        return
                    self.acknowledged += 1
        except (OSError, Disconnected, ReplyError):
            return


def killed_at_its_busiest(workspace):
    """The writers are far ahead of the checkpointer: a whole run waits to be merged, and a log behind it."""
    memtable = 32 << 20
    server = workspace.server("busy", "--memtable-size", memtable, "--log-checkpoint-bytes", memtable)
    server.start()
    writer = Writer(server)
    run = os.path.join(server.directory, "gen-*", "run", "*.run")

    def run_behind_others():
        with server.client() as client:
            return int(client.info()["holdfast_checkpoints"]) >= 1 and glob.glob(run)

    wait_for(run_behind_others, timeout=240, what="a run that waits to be merged")
    load_cpu = cpu_us(server.process.pid) / 1e6
    server.kill()
    writer.join()
    seconds = ready_after(server, key_of(7), value_of(7, VALUE_BYTES), timeout=60)
    restart_cpu = cpu_us(server.process.pid) / 1e6
    replayed = replayed_bytes(server)
    print(f"killed at its busiest, after {writer.acknowledged} keys: {seconds:.3f} s ({restart_cpu:.2f} s CPU, "
          f"loading took {load_cpu:.2f}), {replayed} bytes replayed")
    check(replayed <= 2 * memtable + (1 << 20), f"{replayed} bytes replayed, twice log-checkpoint-bytes allowed")
    if not sanitized(server.binary):
        check(restart_cpu < load_cpu, "a restart does less than what was done to write the data")
    with server.client() as client:
        check(client.call("DBSIZE") >= writer.acknowledged, "every acknowledged key is there")
        for number in range(0, writer.acknowledged, 997):
            check(client.call("GET", key_of(number)) == value_of(number, VALUE_BYTES), f"key {number} after the kill")
    server.kill()


def main():
    with Workspace() as workspace:
        killed_at_its_busiest(workspace)
        server = workspace.server("node", "--memtable-size", MEMTABLE_BYTES, "--log-segment-size", "4mb",
                                  "--log-checkpoint-bytes", CHECKPOINT_BYTES)
        server.start()
        load(server.port, KEYS, VALUE_BYTES)
        with server.client() as client:
            written = int(client.info("replication")["master_repl_offset"])
        check(written >= KEYS * EFFECT_BYTES, f"{KEYS} SETs make {written} bytes of stream")

        # Under load the tail is at most what the checkpoint waits for, the frozen memtable and the active one.
        server.kill()
        seconds = ready_after(server, key_of(7), value_of(7, VALUE_BYTES), timeout=60)
        replayed = replayed_bytes(server)
        print(f"killed under load: {seconds:.3f} s, {replayed} of {written} bytes replayed")
        bound = 4 * max(CHECKPOINT_BYTES, MEMTABLE_BYTES) + (1 << 20)
        check(replayed <= bound, f"{replayed} bytes replayed, at most {bound} expected")
        check(seconds < 20, f"the first GET took {seconds:.1f} s")
        check_keys(server)

        # When the checkpointer has caught up, less than one trigger's worth is left.
        wait_until_quiet([server.process.pid])
        server.kill()
        seconds = ready_after(server, key_of(8), value_of(8, VALUE_BYTES), timeout=60)
        replayed = replayed_bytes(server)
        print(f"killed when quiet: {seconds:.3f} s, {replayed} bytes replayed")
        check(replayed <= 2 * CHECKPOINT_BYTES, f"{replayed} bytes replayed after a quiet time")

        # Nothing to replay after a clean stop and nothing lost by restarting often.
        for _ in range(3):
            check(server.terminate() == 0, "a clean stop exits with 0")
            began = time.monotonic()
            server.start()
            check(time.monotonic() - began < 20, "starting after a clean stop is quick")
        wait_for(lambda: server.client().call("DBSIZE") == KEYS, what="all keys")
        check_keys(server)
    return 0


if __name__ == "__main__":
    sys.exit(main())
