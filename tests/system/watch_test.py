#!/usr/bin/env python3
"""WATCH and keys that come and go: EXEC fails exactly when redis-server's does. Each case is asked of redis-server, too, where
it is installed: what is expected is its answer."""

import shutil
import sys
import time

from holdfast_testing import Client, Workspace, check, wait_for

EXPIRED, ABSENT, PRESENT, STREAM = "expired", "absent", "present", "stream"


class Case:
    """One client watches `k` in database 0, another one does things, then the first one's EXEC runs or not."""

    def __init__(self, port):
        self.watcher, self.other = Client(port), Client(port)

    def runs(self, state, *commands):
        self.other.call("SELECT", "0")
        self.other.call("FLUSHALL")
        self.other.call("DEBUG", "SET-ACTIVE-EXPIRE", "0")
        if state == EXPIRED:
            self.expired_in("0")
        elif state == PRESENT:
            self.other.call("SET", "k", "v")
        elif state == STREAM:
            self.stream()
        self.watcher.call("WATCH", "k")
        for command in commands:
            command(self) if callable(command) else self.other.call(*command)
        self.watcher.call("MULTI")
        self.watcher.call("PING")
        return self.watcher.call("EXEC") is not None

    def stream(self):
        """Two entries; the group has delivered the first to `c`, and has the consumer `d`."""
        for entry in ("1-0", "2-0"):
            self.other.call("XADD", "k", entry, "field", "value")
        self.other.call("XGROUP", "CREATE", "k", "g", "0")
        self.other.call("XREADGROUP", "GROUP", "g", "c", "COUNT", "1", "STREAMS", "k", ">")
        self.other.call("XGROUP", "CREATECONSUMER", "k", "g", "d")

    def expired_in(self, database):
        """The key is there, its time has passed, and nobody has deleted it."""
        self.other.call("SELECT", database)
        self.other.call("SET", "k", "v", "PX", "1")
        self.wait_until_expired()
        self.other.call("SELECT", "0")

    def wait_until_expired(self):
        # Not by a look at the key: redis-server deletes what it finds expired.
        until = self.milliseconds() + 10
        wait_for(lambda: self.milliseconds() > until, what="the key's time to pass")

    def milliseconds(self):
        seconds, microseconds = self.other.call("TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    def deleted_in_background(self):
        self.other.call("DEBUG", "SET-ACTIVE-EXPIRE", "1")
        wait_for(lambda: self.other.call("DBSIZE") == 0, what="the expired key to be deleted")


def in_other_database(*command):
    def run(case):
        case.other.call("SELECT", "1")
        case.other.call(*command)
        case.other.call("SELECT", "0")
    return run


SWAP = ("SWAPDB", "0", "1")
CASES = [
    # watched key, what another client does, whether EXEC runs
    (EXPIRED, [Case.deleted_in_background], True),
    (EXPIRED, [("DEL", "k")], True),
    (EXPIRED, [("GET", "k")], True),
    (EXPIRED, [("SET", "k", "w")], False),
    (EXPIRED, [("DEL", "k"), ("SET", "k", "w")], False),
    (EXPIRED, [("FLUSHDB",)], True),
    (EXPIRED, [SWAP], True),
    (EXPIRED, [in_other_database("SET", "k", "w"), SWAP], False),
    (ABSENT, [], True),
    (ABSENT, [("FLUSHDB",)], True),
    (ABSENT, [("FLUSHALL",)], True),
    (ABSENT, [SWAP], True),
    (ABSENT, [lambda case: case.expired_in("1"), SWAP], True),
    (ABSENT, [in_other_database("SET", "k", "w"), SWAP], False),
    (ABSENT, [("SET", "k", "w"), ("DEL", "k")], False),
    (ABSENT, [("MULTI",), ("SET", "k", "w"), ("DEL", "k"), ("EXEC",)], False),
    (PRESENT, [], True),
    (PRESENT, [("PEXPIRE", "k", "1"), Case.wait_until_expired], False),
    (PRESENT, [("DEL", "k")], False),
    (PRESENT, [("FLUSHDB",)], False),
    (PRESENT, [in_other_database("FLUSHDB")], True),
    (PRESENT, [in_other_database("FLUSHALL")], False),
    (PRESENT, [SWAP], False),
    (PRESENT, [("SWAPDB", "1", "2")], True),
    # A stream's groups are no part of what is watched.
    (STREAM, [("XGROUP", "CREATE", "k", "new", "$")], True),
    (STREAM, [("XGROUP", "CREATE", "k", "new", "$", "MKSTREAM")], True),
    (STREAM, [("XGROUP", "SETID", "k", "g", "0")], True),
    (STREAM, [("XGROUP", "CREATECONSUMER", "k", "g", "new")], True),
    (STREAM, [("XGROUP", "DELCONSUMER", "k", "g", "c")], True),
    (STREAM, [("XGROUP", "DESTROY", "k", "g")], True),
    (STREAM, [("XREADGROUP", "GROUP", "g", "new", "STREAMS", "k", ">")], True),
    (STREAM, [("XREADGROUP", "GROUP", "g", "c", "NOACK", "STREAMS", "k", ">")], True),
    (STREAM, [("XACK", "k", "g", "1-0")], True),
    (STREAM, [("XCLAIM", "k", "g", "d", "0", "1-0")], True),
    (STREAM, [("XAUTOCLAIM", "k", "g", "d", "0", "0")], True),
    (STREAM, [("XSETID", "k", "7-0")], True),
    (STREAM, [("XADD", "k", "3-0", "field", "value")], False),
    (STREAM, [("XADD", "k", "MAXLEN", "0", "3-0", "field", "value")], False),
    (STREAM, [("XDEL", "k", "9-0")], True),
    (STREAM, [("XDEL", "k", "1-0")], False),
    (STREAM, [("XTRIM", "k", "MAXLEN", "2")], True),
    (STREAM, [("XTRIM", "k", "MAXLEN", "1")], False),
    (STREAM, [("XACK", "k", "g", "1-0"), ("XDEL", "k", "1-0"), ("XACK", "k", "g", "2-0")], False),
    (STREAM, [("MULTI",), ("XADD", "k", "3-0", "f", "v"), ("XGROUP", "DESTROY", "k", "g"), ("EXEC",)], False),
    (ABSENT, [("XGROUP", "CREATE", "k", "new", "$", "MKSTREAM")], False),
]


def main():
    with Workspace() as workspace:
        servers = {"holdfast": workspace.server("node", "--enable-debug-command", "yes").start()}
        if shutil.which("redis-server"):
            servers["redis"] = workspace.redis("redis", "--enable-debug-command", "yes").start()
        for name, server in servers.items():
            case = Case(server.port)
            for number, (state, commands, runs) in enumerate(CASES):
                began = time.monotonic()
                got = case.runs(state, *commands)
                check(got == runs, f"{name}, case {number}, {state}, {commands}: EXEC {'runs' if got else 'fails'} "
                                   f"({time.monotonic() - began:.3f} s)")
    print(f"{len(CASES)} cases, on {' and '.join(servers)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
