#!/usr/bin/env python3
"""RDB files of many keys: reading and writing them, beside redis-server on the same keys, in one run.

redis-server makes the keys and saves them. Then, each with its time and its peak of private memory (anonymous memory of
/proc/PID/smaps_rollup): redis-server loads the file; holdfast-server takes it over at its first start; redis-cli --rdb
fetches an RDB file from each of the two; the tool converts Redis' file to a snapshot and back; redis-server loads what
Holdfast wrote, and its contents have to be equal to the first by DEBUG DIGEST.

  benchmarks/rdb_at_size.py                    10 million keys (some minutes, 10 GB of disk)
  benchmarks/rdb_at_size.py --keys 500000      a look

See docs/performance.md.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time

from measuring import PeakMemory, load, machine, record_of
from holdfast_testing import TOOL, Redis, Server, check, wait_for

MIB = 1 << 20
PATIENCE_S = 3600


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keys", type=int, default=10_000_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--dir", default=None, help="where the data goes (default: a temporary directory)")
    return parser.parse_args()


def show(what, who, seconds, peak, size):
    print(f"{what:34} {who:16} {seconds:8.1f} s {peak / MIB:9.0f} MiB {size / MIB:9.0f} MiB file", flush=True)


def add_collections(server, count):
    """Small ones, each tenth with an expiry."""
    commands = (lambda n: ["RPUSH", f"list:{n}", *range(20)], lambda n: ["SADD", f"set:{n}", *(f"member {i}" for i in range(20))],
                lambda n: ["HSET", f"hash:{n}", *(f"word {i}" for i in range(20))],
                lambda n: ["ZADD", f"zset:{n}", *(word for i in range(20) for word in (str(i / 8), f"member {i}"))],
                lambda n: ["XADD", f"stream:{n}", f"{n + 1}-1", "name", "value"])
    with server.client(timeout=600) as client:
        for begin in range(0, count, 1000):
            chunk = []
            for number in range(begin, min(begin + 1000, count)):
                chunk.append(commands[number % 5](number))
                if number % 10 == 0:
                    chunk.append(["EXPIREAT", chunk[-1][1], 4102444800])
            client.pipeline(chunk)


def digest(server):
    with server.client(timeout=PATIENCE_S) as client:
        return client.call("DBSIZE"), str(client.call("DEBUG", "DIGEST"))


def run(what, who, command, output):
    """A process, measured."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process, PeakMemory(process.pid) as peak:
        check(process.wait() == 0, f"{command} failed")
    show(what, who, time.monotonic() - began, peak.bytes, os.path.getsize(output))


def start(what, who, server, file):
    """A server that loads `file` before it answers."""
    began = time.monotonic()
    server.start(wait=False)
    with PeakMemory(server.process.pid) as peak:
        wait_for(lambda: loaded(server), PATIENCE_S, f"{who} having loaded", pause=0.05)
    show(what, who, time.monotonic() - began, peak.bytes, os.path.getsize(file))


def loaded(server):
    try:
        with server.client(timeout=PATIENCE_S) as client:
            return client.ask("PING") == "PONG"
    except OSError:
        return False


def fetch(server, who, output):
    began = time.monotonic()
    with PeakMemory(server.process.pid) as peak:
        subprocess.run(["redis-cli", "-p", str(server.port), "--rdb", output], check=True, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
    show("redis-cli --rdb", who, time.monotonic() - began, peak.bytes, os.path.getsize(output))


def main():
    options = parse_arguments()
    print(" ".join(f"{name}={value}" for name, value in machine().items()), flush=True)
    directory = tempfile.mkdtemp(prefix="holdfast-rdb-", dir=options.dir)
    path = lambda *parts: os.path.join(directory, *parts)  # noqa: E731
    redis = Redis(path("redis"), "--repl-diskless-sync-delay", 0)
    again, ours = Redis(path("again")), Server(path("ours"))
    try:
        redis.start()
        load(redis.port, options.keys - options.keys // 100, options.value_bytes, value=record_of)
        add_collections(redis, options.keys // 100)
        expected = digest(redis)
        began = time.monotonic()
        with PeakMemory(redis.process.pid) as peak, redis.client(timeout=PATIENCE_S) as client:
            client.call("SAVE")
        show("SAVE", "redis-server", time.monotonic() - began, peak.bytes, os.path.getsize(path("redis", "dump.rdb")))
        redis.kill()
        start("load at start", "redis-server", redis, path("redis", "dump.rdb"))
        fetch(redis, "redis-server", path("fetched-redis.rdb"))
        redis.stop()
        shutil.copy(path("redis", "dump.rdb"), path("ours", "dump.rdb"))
        start("first start with dump.rdb", "holdfast-server", ours, path("ours", "dump.rdb"))
        fetch(ours, "holdfast-server", path("fetched.rdb"))
        ours.stop()
        shutil.rmtree(path("ours"))
        run("convert RDB to snapshot", "holdfast", [TOOL, "convert", path("redis", "dump.rdb"), path("made.hfs")], path("made.hfs"))
        run("convert snapshot to RDB", "holdfast", [TOOL, "convert", path("made.hfs"), path("made.rdb")], path("made.rdb"))
        for name in ("fetched.rdb", "made.rdb"):
            shutil.copy(path(name), path("again", "dump.rdb"))
            start(f"load of {name}", "redis-server", again, path("again", "dump.rdb"))
            check(digest(again) == expected, f"{name} is not equal to what redis-server saved")
            again.stop()
        print(f"equal contents: {expected[0]} keys, digest {expected[1]}")
    finally:
        for server in (redis, again, ours):
            server.stop()
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
