#!/usr/bin/env python3
"""Every file call of a real server fails once, in every way, or the server is killed before or after it.

  nth_call.py [--share 20 | --all] [--seed S] [SCENARIO ...]

A scenario runs once undisturbed, which counts its file calls of each kind. Then it runs again for each kind, each effect
that this kind can have, and each N up to that count: the Nth call has the effect, whatever the server does then is
checked, and it is started again without faults.

  - a unit that was acknowledged is there, one that was refused is not, one without an answer is there as a whole or not
    at all; their order is that of sending; nothing else is there
  - the process ends by no signal but the one that the fault sends, and with a code that docs/operations.md names; after
    it has stopped with code 3 nothing was acknowledged
  - it starts again, by itself, and the offline tool finds no damage

--share 20: every 20th case, beginning with one that the seed names (CI gives the commit's hash, so that all have their
turn). Prints how many cases ran and how many fired.
"""

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault_server import BUILD, FaultServer  # noqa: E402
from holdfast_testing import Client, Disconnected, ReplyError, Workspace, check, wait_for  # noqa: E402

SMALL = ("--memtable-size", "1mb", "--log-segment-size", "1mb", "--repl-backlog-size", "1mb", "--space-reserve", "0",
         "--enable-debug-command", "yes")

WRITES = ("EIO", "ENOSPC", "short", "EINTR", "kill", "killafter")
EFFECTS_OF = {
    "open": ("EIO", "EMFILE", "EINTR", "kill", "killafter"),
    "read": ("EIO", "short", "EINTR", "kill"),
    "write": WRITES,
    "sync": ("EIO", "ENOSPC", "kill", "killafter"),
    "truncate": ("EIO", "EINTR", "kill", "killafter"),
    "allocate": ("ENOSPC", "kill"),
    "rename": ("EIO", "ENOSPC", "kill", "killafter"),
    "remove": ("EIO", "kill", "killafter"),
    "mkdir": ("EIO", "ENOSPC", "kill", "killafter"),
    "link": ("EIO", "kill"),
    "map": ("EIO", "kill"),
    "close": ("EIO", "kill"),
}
LARGE = b"x" * 20_000


class Units:
    """Units with numbers, and what became of each. A unit pushes its number to a list and sets three keys to it."""

    def __init__(self, prefix=""):
        self.prefix = prefix
        self.last = 0
        self.acked, self.refused, self.unknown = [], [], []

    def write(self, server, count, depth=1, filler=b""):
        """False: the server has gone away."""
        try:
            with server.client(timeout=20) as client:
                for _ in range(0, count, depth):
                    numbers = range(self.last + 1, self.last + depth + 1)
                    self.last += depth
                    self.unknown.extend(numbers)
                    client.send_raw(b"".join(
                        Client.encode("MULTI") + Client.encode("RPUSH", self.prefix + "numbers", n) +
                        Client.encode("SET", self.prefix + "a", n) + Client.encode("SET", self.prefix + "b", n) +
                        Client.encode("SET", f"{self.prefix}filler:{n % 7}", filler + b"%d" % n) +
                        Client.encode("EXEC") for n in numbers))
                    for number in numbers:
                        replies = [client.read() for _ in range(6)]
                        refused = isinstance(replies[-1], ReplyError)
                        check(not refused or all(word in str(replies[-1]) for word in ("EXECABORT",)),
                              f"unit {number} was answered {replies}")
                        self.unknown.remove(number)
                        (self.refused if refused else self.acked).append(number)
            return True
        except (Disconnected, OSError):
            return False

    def verify(self, server):
        with server.client() as client:
            numbers = [int(n) for n in client.call("LRANGE", self.prefix + "numbers", 0, -1)]
            check(numbers == sorted(set(numbers)), f"order is lost or a unit is there twice: {numbers}")
            there = set(numbers)
            check(not set(self.acked) - there, f"acknowledged and lost: {sorted(set(self.acked) - there)}")
            check(not there & set(self.refused), f"refused and there: {sorted(there & set(self.refused))}")
            check(not there - set(self.acked) - set(self.unknown), f"never sent: {sorted(there)}")
            last = numbers[-1] if numbers else None
            for key in ("a", "b"):
                value = client.call("GET", self.prefix + key)
                check((int(value) if value else None) == last, f"{key} is {value}, the last unit is {last}: torn")
            if last:
                check(client.call("GET", f"{self.prefix}filler:{last % 7}").endswith(b"%d" % last), "the last unit is torn")
            # What is known now stays.
            self.acked, self.unknown = numbers, []


class Run:
    """One run of a scenario: a server with one fault or none, and its units."""

    def __init__(self, workspace, case):
        self.server = FaultServer(os.path.join(workspace.path, "node"), *SMALL)
        self.workspace = workspace
        self.units = Units()
        self.case = case

    def start(self):
        """False: it did not come up."""
        self.server.start(wait=False)

        def up():
            if self.server.process.poll() is not None:
                return "gone"
            with Client(self.server.port, timeout=20) as client:
                return client.ask("PING") == "PONG"
        try:
            return wait_for(up, 60, "the server being ready or gone") != "gone"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.server.log_tail()}") from error

    def arm(self):
        if self.case is None:
            self.server.arm()
        else:
            call, effect, nth = self.case
            self.server.arm(call, effect, nth)

    def call(self, *command):
        """A command whose outcome may be anything; False: the server has gone away."""
        try:
            with self.server.client(timeout=30) as client:
                client.ask(*command)
            return True
        except (Disconnected, OSError):
            return False


def check_end(run, effect, up):
    """How the process stands after the scenario; it is ended here."""
    process = run.server.process
    if up and process.poll() is None:
        return
    try:
        code = process.wait(30)
    except subprocess.TimeoutExpired:
        code = None
    if effect in ("kill", "killafter"):
        check(code in (-signal.SIGKILL, 0), f"it ended with {code}, not by the kill:\n{run.server.log_tail()}")
        return
    check(code in (0, 1, 2, 3), f"it ended with {code}:\n{run.server.log_tail()}")
    if code in (2, 3):
        check(len(run.server.log_text()) > 0, "and said nothing")


def first_start(run):
    run.arm()
    return run.start() and run.units.write(run.server, 3)


def writing(run):
    run.start()
    run.arm()
    return run.units.write(run.server, 5) and run.units.write(run.server, 40, depth=10)


def restart(run):
    run.start()
    run.units.write(run.server, 20, depth=5)
    run.server.kill()
    run.arm()
    return run.start() and run.units.write(run.server, 3)


def clean_stop(run):
    run.start()
    run.units.write(run.server, 5)
    run.arm()
    run.server.process.send_signal(signal.SIGTERM)
    run.server.process.wait(30)
    return False


def checkpoint(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    return run.call("DEBUG", "CHECKPOINT") and run.units.write(run.server, 3)


def start_with_run_file(run):
    """Replays into a store that has been merged before, and merges behind the start."""
    run.start()
    run.units.write(run.server, 10)
    run.call("DEBUG", "CHECKPOINT")
    run.units.write(run.server, 10, filler=LARGE)
    run.server.kill()
    run.arm()
    return run.start() and run.call("DEBUG", "CHECKPOINT") and run.units.write(run.server, 3)


def rotation(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    return run.units.write(run.server, 60, depth=4, filler=LARGE)


def snapshot(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    return run.call("SAVE") and run.units.write(run.server, 3)


def flush(run):
    """Empties the data by the one command that may, and goes on."""
    run.start()
    run.units.write(run.server, 5, filler=LARGE)
    run.arm()
    return run.call("DEBUG", "RELOAD") and run.units.write(run.server, 3)


def rewrite(run):
    config = os.path.join(run.server.directory, "holdfast.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write("maxclients 1000\n")
    run.server.config = config
    run.start()
    run.call("CONFIG", "SET", "maxclients", 2000)
    run.arm()
    up = run.call("CONFIG", "REWRITE")
    with open(config, encoding="utf-8") as file:
        text = file.read()
    check("maxclients 1000\n" in text or "maxclients 2000\n" in text, f"the file is neither old nor new:\n{text}")
    return up and run.units.write(run.server, 3)


def with_master(run, prepare):
    """The server under test becomes the replica of another, undisturbed one, which holds the units."""
    master = FaultServer(os.path.join(run.workspace.path, "master"), *SMALL)
    run.workspace.servers.append(master)
    master.start()
    run.units.write(master, 10, filler=LARGE)
    with master.client() as client:
        client.call("DEBUG", "CHECKPOINT")
    run.units.write(master, 5)
    return prepare(master)


def follows(run, master):
    """Waits until the replica holds everything, or has gone away."""
    def there():
        if run.server.process.poll() is not None:
            return "gone"
        try:
            with run.server.client() as client, master.client() as other:
                return client.ask("LRANGE", "numbers", 0, -1) == other.ask("LRANGE", "numbers", 0, -1) and "same"
        except Disconnected:
            return False
    return wait_for(there, 60, "the replica being equal or gone") == "same"


def full_sync(run):
    def sync(master):
        run.start()
        run.arm()
        followed = run.call("REPLICAOF", "127.0.0.1", master.port) and follows(run, master)
        if not followed:
            # What it had, or all: it goes on from there by itself.
            check_end(run, run.case and run.case[1], False)
            run.server.disarm()
            check(run.start(), f"it does not start after a fault in a full sync:\n{run.server.log_tail()}")
            run.call("REPLICAOF", "127.0.0.1", master.port)
            check(follows(run, master), "it does not follow after a fault")
        return True
    return with_master(run, sync)


def promotion(run):
    def promote(master):
        run.start()
        run.call("REPLICAOF", "127.0.0.1", master.port)
        check(follows(run, master), "it follows")
        run.arm()
        up = run.call("REPLICAOF", "NO", "ONE")
        return up and run.units.write(run.server, 3)
    return with_master(run, promote)


SCENARIOS = {f.__name__: f for f in (first_start, writing, restart, clean_stop, checkpoint, start_with_run_file, rotation,
                                     snapshot, flush, rewrite, full_sync, promotion)}


def run_case(name, case):
    """Returns the counts of calls, and whether the fault fired."""
    with Workspace() as workspace:
        run = Run(workspace, case)
        workspace.servers.append(run.server)
        effect = case[1] if case else None
        try:
            up = SCENARIOS[name](run)
            counts, fired = run.server.counts(), run.server.fired()
            check_end(run, effect, up)
            check(fired or case is None or up or name == "clean_stop", "it went away without a fault")
            run.server.disarm()
            if run.server.process.poll() is None:
                run.server.kill()
            check(run.start(), f"it does not start again:\n{run.server.log_tail()}")
            run.units.verify(run.server)
            run.call("REPLICAOF", "NO", "ONE")
            check(run.units.write(run.server, 2) and len(run.units.acked) >= 2, "writes are accepted again")
            check(not run.units.refused or run.units.refused[-1] < run.units.acked[-1], "writes are refused for ever")
            run.units.verify(run.server)
            check(run.server.terminate() == 0, f"a clean stop:\n{run.server.log_tail()}")
            verified = subprocess.run([os.path.join(BUILD, "holdfast"), "verify", run.server.directory],
                                      capture_output=True, text=True, check=False)
            check(verified.returncode == 0, f"verify: {verified.stdout}{verified.stderr}")
        except AssertionError as error:
            raise AssertionError(f"{name} {case}: {error}") from error
        return counts, fired


def cases_of(name):
    counts, _ = run_case(name, None)
    for call, effects in EFFECTS_OF.items():
        for effect in effects:
            for nth in range(1, counts[call] + 1):
                yield (call, effect, nth)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--seed", default="0")
    parser.add_argument("--case", help="one case of one scenario: call,effect,nth")
    parser.add_argument("scenarios", nargs="*")
    options = parser.parse_args()
    if options.case:
        call, effect, nth = options.case.split(",")
        print(run_case(options.scenarios[0], (call, effect, int(nth))))
        return 0
    turn = int(hashlib.sha256(options.seed.encode()).hexdigest(), 16)
    total = all_fired = known = 0
    for name in options.scenarios or SCENARIOS:
        began, ran, fired = time.monotonic(), 0, 0
        for number, case in enumerate(cases_of(name)):
            known += 1
            if (number + turn) % options.share:
                continue
            fired += run_case(name, case)[1]
            ran += 1
        total += ran
        all_fired += fired
        print(f"{name}: {ran} cases, {fired} fired, {time.monotonic() - began:.1f} s", flush=True)
    print(f"{total} of {known} cases ran, {all_fired} fired, 0 violations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
