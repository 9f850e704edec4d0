#!/usr/bin/env python3
"""How long clients of a master and of its replica wait, at most, for one large transaction: PING is sent to both all the
time while EXEC runs and the replica applies it.

usage: big_unit.py [--commands N ...]     (the server is HOLDFAST_SERVER; run it on a quiet machine)
"""

import argparse
import os
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from holdfast_testing import Client, Workspace, wait_for  # noqa: E402

VALUE = "x" * 100
KINDS = {
    "SETs of 100 bytes": lambda i: ("SET", f"key:{i}", VALUE),
    "HSETs in 1,000 hashes": lambda i: ("HSET", f"hash:{i % 1000}", f"field:{i}", VALUE),
    "ZADDs to one sorted set": lambda i: ("ZADD", "scores", i * 7919 % 1_000_003, f"member:{i}"),
    "SADDs to 100 sets": lambda i: ("SADD", f"set:{i % 100}", f"member:{i}"),
}


class Pings:
    """PING after PING; `longest` is in seconds."""

    def __init__(self, server):
        self.server, self.longest, self.stopping = server, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        with self.server.client() as client:
            while not self.stopping.wait(0.0005):
                began = time.monotonic()
                client.call("PING")
                self.longest = max(self.longest, time.monotonic() - began)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join()


def offset(server, field):
    with server.client() as client:
        return client.info("replication").get(field)


def measure(master, replica, name, count):
    with master.client(timeout=120) as client:
        client.send_raw(Client.encode("MULTI") + b"".join(Client.encode(*KINDS[name](i)) for i in range(count)))
        for _ in range(count + 1):
            client.read()
        with Pings(master) as above, Pings(replica) as below:
            began = time.monotonic()
            client.call("EXEC")
            took = time.monotonic() - began
            end = offset(master, "master_repl_offset")
            wait_for(lambda: offset(replica, "slave_repl_offset") == end, 60, "the replica has it")
        print(f"{count} {name}: EXEC {took * 1000:.0f} ms; the longest PING {above.longest * 1000:.0f} ms at the master, "
              f"{below.longest * 1000:.0f} ms at the replica", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, nargs="+", default=[10_000, 100_000])
    options = parser.parse_args()
    with Workspace() as workspace:
        master = workspace.server("master").start()
        replica = workspace.server("replica", "--replicaof", "127.0.0.1", master.port).start()
        wait_for(lambda: offset(replica, "master_link_status") == "up", 60, "the link")
        for name in KINDS:
            for count in options.commands:
                measure(master, replica, name, count)
    return 0


if __name__ == "__main__":
    sys.exit(main())
