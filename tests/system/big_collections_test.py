#!/usr/bin/env python3
"""A hash, a set, a sorted set and a list far larger than memtables and caches: inserts, point reads, reads by rank and
index deep inside, random picks, scans and DEL work, private memory stays bounded, and by the server's own histograms no
command holds the executor for long, but for those that Redis documents as O(N).

By hand, in full:

  tests/system/big_collections_test.py --elements 20000000 --memory-mb 512 --stall-ms 10 --defaults --realtime

That takes an hour. In parts, each of which takes up what the one before left in a directory:

  ... --types zset --directory /tmp/big --phases fill
  ... --types zset --directory /tmp/big --phases read,scan
  ... --types zset --directory /tmp/big --phases drain,rescan,restart
  ... --types zset --directory /tmp/big --phases delete
"""

import argparse
import contextlib
import os
import random
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import PeakMemory, memory_bytes, sanitized, wait_until_quiet  # noqa: E402
from holdfast_testing import SERVER, ReplyError, Server, Workspace, check, seed_from_environment, wait_for  # noqa: E402

MIB = 1 << 20
BATCH = 200
PHASES = ("fill", "read", "scan", "drain", "rescan", "restart", "delete")
RT_RUNTIME = "/proc/sys/kernel/sched_rt_runtime_us"
SMALL = ["--memtable-size", "2mb", "--row-cache-size", "2mb", "--frame-ring-size", "1mb", "--log-segment-size", "8mb",
         "--log-checkpoint-bytes", "8mb"]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=int, default=200_000, help="of each collection (%(default)s)")
    parser.add_argument("--types", default="hash,set,zset,list")
    parser.add_argument("--memory-mb", type=int, default=96, help="bound of private memory (%(default)s)")
    parser.add_argument("--stall-ms", type=float, default=1000,
                        help="longest command allowed (%(default)s: a busy machine stops processes for that long)")
    parser.add_argument("--mean-us", type=float, default=50000, help="mean of a kind of command allowed (%(default)s)")
    parser.add_argument("--defaults", action="store_true", help="the server's own sizes of memtable and caches")
    parser.add_argument("--realtime", action="store_true",
                        help="the executor is not preempted: what is measured on a busy machine is its own (needs root)")
    parser.add_argument("--phases", default=",".join(PHASES), help="of these (%(default)s)")
    parser.add_argument("--directory", help="where the data is and stays (default: a temporary one)")
    parser.add_argument("--reads", type=int, default=300, help="of each kind (%(default)s)")
    return parser.parse_args()


def member(number):
    return b"member:%09d" % number


def step_for(count):
    """Numbers 0..count-1 in an order that looks random: multiples of this, modulo count."""
    step = int(count * 0.6180339887) | 1
    while gcd(step, count) != 1:
        step += 2
    return step


def gcd(a, b):
    while b:
        a, b = b, a % b
    return a


class Collection:
    """One big collection of numbers 0..count-1: how it is filled, and reads whose answers are known."""

    def __init__(self, name, count, rng):
        self.name, self.count, self.random = name, count, rng
        self.key = "big:" + name

    def add(self, number):
        """The words that add one element."""
        return {"hash": (member(number), b"value %d" % number), "set": (member(number),),
                "zset": (b"%d" % number, member(number)), "list": (member(number),)}[self.name]

    def command(self):
        return {"hash": b"HSET", "set": b"SADD", "zset": b"ZADD", "list": b"RPUSH"}[self.name]

    def size(self):
        return {"hash": "HLEN", "set": "SCARD", "zset": "ZCARD", "list": "LLEN"}[self.name]

    def fill(self, client):
        step = 1 if self.name == "list" else step_for(self.count)
        number, waiting = 0, 0
        for begin in range(0, self.count, BATCH):
            words = [self.command(), self.key]
            for _ in range(begin, min(begin + BATCH, self.count)):
                words += self.add(number)
                number = (number + step) % self.count
            client.send(*words)
            waiting += 1
            if waiting >= 8:
                check(isinstance(client.read(), int), "an insert was refused")
                waiting -= 1
        for _ in range(waiting):
            check(isinstance(client.read(), int), "an insert was refused")

    def reads(self):
        """Kinds of reads: a function makes (command, expected answer or a check of it)."""
        n, rng, key = self.count, self.random, self.key
        at = lambda: rng.randrange(n)  # noqa: E731
        deep = lambda: rng.randrange(n - 20)  # noqa: E731

        def is_member(reply):
            return reply is not None and reply.startswith(b"member:") and int(reply[7:]) < n

        def are_distinct(reply):
            return len(reply) == 20 == len(set(reply)) and all(map(is_member, reply))

        def page(reply):
            return len(reply[1]) >= 10 and reply[0] != b"0"
        members = lambda first, last: [member(i) for i in range(first, last)]  # noqa: E731
        if self.name == "hash":
            return {"HGET": lambda: (("HGET", key, member(i := at())), b"value %d" % i),
                    "HSET": lambda: (("HSET", key, member(i := at()), b"value %d" % i), 0),
                    "HRANDFIELD": lambda: (("HRANDFIELD", key), is_member),
                    "HRANDFIELD 20": lambda: (("HRANDFIELD", key, 20), are_distinct),
                    "HSCAN": lambda: (("HSCAN", key, rng.getrandbits(63)), page)}
        if self.name == "set":
            return {"SISMEMBER": lambda: (("SISMEMBER", key, member(at())), 1),
                    "SADD": lambda: (("SADD", key, member(at())), 0),
                    "SRANDMEMBER": lambda: (("SRANDMEMBER", key), is_member),
                    "SRANDMEMBER 20": lambda: (("SRANDMEMBER", key, 20), are_distinct),
                    "SRANDMEMBER -20": lambda: (("SRANDMEMBER", key, -20), lambda reply: all(map(is_member, reply))),
                    "SSCAN": lambda: (("SSCAN", key, rng.getrandbits(63)), page)}
        if self.name == "zset":
            return {"ZSCORE": lambda: (("ZSCORE", key, member(i := at())), b"%d" % i),
                    "ZRANK": lambda: (("ZRANK", key, member(i := at())), i),
                    "ZREVRANK": lambda: (("ZREVRANK", key, member(i := at())), n - 1 - i),
                    "ZADD": lambda: (("ZADD", key, i := at(), member(i)), 0),
                    "ZRANGE": lambda: (("ZRANGE", key, i := deep(), i + 9), members(i, i + 10)),
                    "ZREVRANGE": lambda: (("ZREVRANGE", key, i := deep(), i + 9),
                                          members(n - 10 - i, n - i)[::-1]),
                    "ZRANGEBYSCORE": lambda: (("ZRANGEBYSCORE", key, i := deep(), i + 9), members(i, i + 10)),
                    "ZRANGEBYSCORE LIMIT": lambda: (("ZRANGEBYSCORE", key, 0, "+inf", "LIMIT", i := deep(), 10),
                                                    members(i, i + 10)),
                    "ZCOUNT": lambda: (("ZCOUNT", key, i := at(), "(%d" % n), n - i),
                    "ZRANDMEMBER": lambda: (("ZRANDMEMBER", key), is_member),
                    "ZSCAN": lambda: (("ZSCAN", key, rng.getrandbits(63)), page)}
        return {"LINDEX": lambda: (("LINDEX", key, i := at()), member(i)),
                "LSET": lambda: (("LSET", key, i := at(), member(i)), "OK"),
                "LRANGE": lambda: (("LRANGE", key, i := deep(), i + 9), members(i, i + 10)),
                "LRANGE from the end": lambda: (("LRANGE", key, -(i := deep()) - 20, -i - 11),
                                                members(n - i - 20, n - i - 10))}

    def changes(self):
        """Commands that change a few elements, with their answers; in this order, once, after the reads."""
        n, key = self.count, self.key
        if self.name == "hash":
            return [(("HDEL", key, member(1)), 1), (("HLEN", key), n - 1), (("HINCRBY", key, b"new", 5), 5)]
        if self.name == "set":
            return [(("SPOP", key), lambda reply: reply.startswith(b"member:")),
                    (("SPOP", key, 50), lambda reply: len(set(reply)) == 50), (("SCARD", key), n - 51)]
        if self.name == "zset":
            half = n // 2
            return [(("ZREMRANGEBYRANK", key, half, half + 99), 100), (("ZRANK", key, member(half + 100)), half),
                    (("ZINCRBY", key, "0.5", member(7)), b"7.5"), (("ZINCRBY", key, n, member(7)), b"%s" % (
                        str(n + 7.5).encode())),
                    (("ZRANK", key, member(7)), n - 101), (("ZPOPMIN", key), [member(0), b"0"]),
                    (("ZRANK", key, member(8)), 6)]
        return [(("LPUSH", key, b"first"), n + 1), (("RPOP", key), member(n - 1)),
                (("LINDEX", key, n // 2), member(n // 2 - 1)), (("LTRIM", key, 10, -1), "OK"),
                (("LPOP", key), member(9))]

    def drain(self, client):
        """A third is taken out, from the ends where there are any, by chance elsewhere; as queues do it."""
        third = self.count // 3
        key = self.key
        commands = {"hash": [("HDEL", key, *map(member, range(at, at + BATCH))) for at in range(0, third, BATCH)],
                    "set": [("SPOP", key)] * third,
                    "zset": [("ZPOPMIN", key), ("ZPOPMAX", key)] * (third // 2),
                    "list": [("LPOP", key), ("RPOP", key)] * (third // 2)}[self.name]
        for at in range(0, len(commands), BATCH):
            for reply in client.pipeline(commands[at:at + BATCH]):
                check(reply is not None and not isinstance(reply, ReplyError), f"{commands[at]} answered {reply!r}")

    def scan(self, client):
        """All of it page by page; the number of elements seen."""
        if self.name == "list":
            seen = 0
            for first in range(0, self.count, 1000):
                seen += len(client.call("LRANGE", self.key, first, first + 999) or [])
            return seen
        command = {"hash": "HSCAN", "set": "SSCAN", "zset": "ZSCAN"}[self.name]
        cursor, seen, longest = b"0", 0, 0
        while True:
            cursor, elements = client.call(command, self.key, cursor, "COUNT", 1000)
            seen += len(elements) // (1 if self.name == "set" else 2)
            longest = max(longest, len(elements))
            if cursor == b"0":
                return seen


def favour(pid):
    """Real-time priority for the threads that take turns as the executor; those with a name of their own work behind it."""
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/comm", encoding="ascii") as file:
            if not file.read().startswith("hf-"):
                os.sched_setscheduler(int(task), os.SCHED_FIFO, os.sched_param(1))


@contextlib.contextmanager
def unthrottled():
    """The kernel takes 50 ms of a second from real-time threads that would use all of it. Not meanwhile."""
    with open(RT_RUNTIME, encoding="ascii") as file:
        before = file.read()
    set_rt_runtime("-1")
    try:
        yield
    finally:
        set_rt_runtime(before)


def set_rt_runtime(text):
    with open(RT_RUNTIME, "w", encoding="ascii") as file:
        file.write(text)


class Run:
    def __init__(self, options, server):
        self.options, self.server = options, server
        self.worst_ms = 0.0

    def stalls(self, client, what):
        """The longest command since the last look."""
        info = client.info()
        longest = int(info["holdfast_command_usec_max"]) / 1000
        slow = [b" ".join(entry[3][:2]).decode("latin-1") + f" {entry[2] / 1000:.0f} ms"
                for entry in client.call("SLOWLOG", "GET", 5)]
        print(f"  {what}: longest command {longest:.1f} ms, turn {int(info['holdfast_turn_usec_max']) / 1000:.1f} ms; "
              f"commands in us: {info['holdfast_command_usec_histogram']}", flush=True)
        if longest > 10:
            print(f"  slowest of {what}: {slow}", flush=True)
        check(longest <= self.options.stall_ms, f"{what}: a command took {longest:.1f} ms: {slow}")
        # Whoever walks over a collection for each command shows here, also where single times mean little.
        for name, value in client.info("commandstats").items():
            each = float(dict(field.split("=") for field in value.split(","))["usec_per_call"])
            check(each <= self.options.mean_us or name == "cmdstat_debug|checkpoint", f"{what}: {name} {value}")
        self.worst_ms = max(self.worst_ms, longest)
        client.call("CONFIG", "RESETSTAT")
        client.call("SLOWLOG", "RESET")

    def timed(self, what, work):
        began = time.monotonic()
        result = work()
        print(f"  {what}: {time.monotonic() - began:.1f} s", flush=True)
        return result

    def one(self, collection):
        with self.server.client(timeout=300) as client:
            client.call("CONFIG", "RESETSTAT")
            client.call("SLOWLOG", "RESET")
            for phase in ("fill", "read", "scan", "drain", "rescan"):
                if phase in self.options.phases:
                    getattr(self, phase)(client, collection)

    def fill(self, client, collection):
        self.timed("filled", lambda: collection.fill(client))
        check(client.call(collection.size(), collection.key) == collection.count, "all elements are there")
        self.stalls(client, "inserts")
        wait_until_quiet([self.server.process.pid], timeout=600)

    def read(self, client, collection):
        for name, make in collection.reads().items():
            began = time.monotonic()
            for _ in range(self.options.reads):
                command, expected = make()
                reply = client.call(*command)
                right = expected(reply) if callable(expected) else reply == expected
                check(right, f"{command} answered {reply!r}, not {expected!r}")
            print(f"  {name}: {(time.monotonic() - began) / self.options.reads * 1e6:.0f} us each", flush=True)
        for command, expected in collection.changes():
            reply = client.call(*command)
            check(expected(reply) if callable(expected) else reply == expected, f"{command} answered {reply!r}")
        self.stalls(client, "reads and changes")

    def scan(self, client, collection):
        seen = self.timed("scanned", lambda: collection.scan(client))
        check(abs(seen - collection.count) < 200, f"a scan saw {seen} elements")
        self.stalls(client, "scan")

    def drain(self, client, collection):
        self.timed("drained", lambda: collection.drain(client))
        self.stalls(client, "taking a third")

    def rescan(self, client, collection):
        left = client.call(collection.size(), collection.key)
        seen = self.timed("scanned again", lambda: collection.scan(client))
        # Of a list, what is behind its end is nothing.
        check(abs(seen - left) < 200, f"a scan saw {seen} elements of {left}")
        self.stalls(client, "scan of what is left")

    def after_restart(self, collection):
        """Cold: what a first command after a start costs."""
        with self.server.client(timeout=300) as client:
            for name, make in collection.reads().items():
                command, _ = make()
                began = time.monotonic()
                client.ask(*command)
                print(f"  cold {name}: {(time.monotonic() - began) * 1e6:.0f} us", flush=True)
            self.stalls(client, "cold reads")

    def delete(self, collection):
        with self.server.client(timeout=300) as client:
            check(client.call("DEL", collection.key) == 1, "DEL found the key")
            check(client.call(collection.size(), collection.key) == 0, "DEL left nothing")
            # A new one of the same name is not the old one.
            client.call(collection.command(), collection.key, *collection.add(3))
            check(client.call(collection.size(), collection.key) == 1, "the new collection has one element")
            self.stalls(client, "DEL")

            def collected():
                client.call("SET", "tick", "tock")
                client.ask("DEBUG", "CHECKPOINT")
                return int(client.info()["holdfast_dead_collections"]) == 0
            self.timed("collected in the background", lambda: wait_for(collected, 1200, "dead rows being removed"))
            self.stalls(client, "collection of dead rows")


def run_all(options, server, seed):
    server.start()
    if options.realtime:
        favour(server.process.pid)
    run = Run(options, server)
    collections = [Collection(name, options.elements, random.Random(seed)) for name in options.types.split(",")]
    with PeakMemory(server.process.pid) as peak:
        for collection in collections:
            print(f"{collection.name} of {options.elements} elements", flush=True)
            run.one(collection)
            print(f"  private memory {memory_bytes(server.process.pid)[0] / MIB:.0f} MiB, peak "
                  f"{peak.bytes / MIB:.0f} MiB", flush=True)
    highest = peak.bytes
    if "restart" in options.phases:
        server.restart()
        if options.realtime:
            favour(server.process.pid)
    with PeakMemory(server.process.pid) as peak:
        for collection in collections if "restart" in options.phases else []:
            print(f"{collection.name} after a restart", flush=True)
            run.after_restart(collection)
        for collection in collections if "delete" in options.phases else []:
            print(f"DEL of the {collection.name}", flush=True)
            run.delete(collection)
    highest = max(highest, peak.bytes)
    print(f"peak of private memory {highest / MIB:.0f} MiB, longest command {run.worst_ms:.1f} ms", flush=True)
    check(highest <= options.memory_mb * MIB, f"private memory reached {highest / MIB:.0f} MiB")


def main():
    options = parse_arguments()
    if sanitized(SERVER):
        options.memory_mb, options.stall_ms, options.elements = 1 << 20, 10_000, min(options.elements, 20_000)
    unknown = set(options.phases.split(",")) - set(PHASES)
    check(not unknown, f"no phases: {unknown}")
    options.phases = options.phases.split(",")
    seed = seed_from_environment()
    with Workspace() as workspace, unthrottled() if options.realtime else contextlib.nullcontext():
        arguments = ["--appendfsync", "everysec", "--enable-debug-command", "yes"] + ([] if options.defaults else SMALL)
        server = Server(options.directory, *arguments) if options.directory else workspace.server("node", *arguments)
        try:
            run_all(options, server, seed)
        finally:
            server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
