#!/usr/bin/env python3
"""Runs the same random commands against holdfast-server and redis-server and compares every reply, then the data sets.
Ours checkpoints between commands, is killed and restarted in the middle of rounds, now with large and now with tiny
memtables, and has a replica that must hold the same in the end, as must the replay of its log from the beginning.

usage: oracle_test.py [--seed N] [--rounds N] [--commands N] [--no-replica] [--no-replay]

Exit code 77 (skipped) when there is no redis-server 7.0. A failure prints the seed and the commands that led to it.
"""
import argparse
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

import oracle_hashes_sets as hashes_sets
import oracle_geo
import oracle_hyperloglogs
import oracle_key_events
import oracle_lists
import oracle_replica
import oracle_sort
import oracle_payloads
import oracle_sorted_sets
import oracle_streams

SERVER = os.environ.get("HOLDFAST_SERVER", "/tmp/build/holdfast-server")
TOOL = os.environ.get("HOLDFAST_TOOL", os.path.join(os.path.dirname(SERVER), "holdfast"))


class Error(str):
    pass


class Status(str):
    pass


class Push(list):
    pass


class SetReply(list):
    """RESP3's set."""


class Connection:
    """A RESP2 and RESP3 client over a plain socket."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.file = self.socket.makefile("rb")

    def send(self, *arguments):
        parts = [b"*%d\r\n" % len(arguments)]
        for argument in arguments:
            data = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.socket.sendall(b"".join(parts))

    def command(self, *arguments):
        self.send(*arguments)
        return self.read()

    def read(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("connection closed, got %r" % line)
        kind, rest = line[:1], line[1:-2]
        if kind == b"+":
            return Status(rest.decode("latin1"))
        if kind == b"-":
            return Error(rest.decode("latin1"))
        if kind == b":":
            return int(rest)
        if kind == b",":
            return ("double", rest.decode())
        if kind == b"#":
            return rest == b"t"
        if kind == b"_":
            return None
        if kind in b"$=(":
            if kind == b"(":
                return ("big", rest)
            length = int(rest)
            if length < 0:
                return None
            data = self.file.read(length + 2)[:-2]
            return data
        count = int(rest)
        if count < 0:
            return ("null array",)
        if kind == b"%":
            return {"map": [(self.read(), self.read()) for _ in range(count)]}
        values = [self.read() for _ in range(count)]
        return Push(values) if kind == b">" else SetReply(values) if kind == b"~" else values

    def close(self):
        self.socket.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    def __init__(self, binary, extra, directory=None):
        self.directory = directory or tempfile.mkdtemp(prefix="oracle-")
        self.port = free_port()
        self.tiny = False
        self.log = open(os.path.join(self.directory, "output"), "wb")
        self.command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.directory, "--save", "",
                        "--enable-debug-command", "yes", "--slowlog-log-slower-than", "-1"] + extra
        self.start()

    def start(self):
        tiny = ["--memtable-size", "1mb", "--row-cache-size", "1mb"] if self.tiny else []
        self.process = subprocess.Popen(self.command + tiny, stdout=self.log, stderr=self.log)
        deadline = time.time() + 30
        while True:
            try:
                connection = Connection(self.port)
                if connection.command("PING") == "PONG":
                    connection.close()
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.time() > deadline:
                raise SystemExit("%s did not start:\n%s" % (
                    self.command[0], open(os.path.join(self.directory, "output"), errors="replace").read()))
            time.sleep(0.02)

    def kill_and_restart(self):
        """Comes back with tiny memtables if they were large, and the other way round."""
        self.process.kill()
        self.process.wait()
        self.tiny = not self.tiny
        self.start()

    def terminate(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def stop(self):
        self.terminate()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


# ---- random commands -------------------------------------------------------------------------------------------------

EDGE_INTEGERS = ["0", "1", "-1", "2", "7", "8", "10", "100", "511", "4294967295", "4294967296", "9223372036854775807",
                 "-9223372036854775808", "9223372036854775808", "abc", "", " 1", "1 ", "1.5", "01", "-0", "+1", "nan"]
FAR = 4102444800  # 2100: times that do not pass while the test runs


class Generator:
    def __init__(self, rng):
        self.rng = rng
        self.in_multi = False
        self.collections = hashes_sets.HashesAndSets(rng, self.key, self.value)
        self.lists = oracle_lists.Lists(rng, self.key, self.value, self.small)
        self.sorted_sets = oracle_sorted_sets.SortedSets(rng, self.key, self.value, self.small)
        self.hyperloglogs = oracle_hyperloglogs.HyperLogLogs(rng, self.key, self.value)
        self.streams = oracle_streams.Streams(rng, self.key, self.value, self.small)
        self.geo = oracle_geo.Geo(rng, self.key)
        self.sorting = oracle_sort.Sorting(rng, self.key, self.small)
        self.payloads = oracle_payloads.Payloads(rng, self.key)
        # Rounds about one type get further into it.
        self.focus = rng.choice([None, self.collections.hash_commands, self.collections.set_commands,
                                 self.list_commands, self.sorted_set_commands, self.hyperloglog_commands,
                                 self.geo_commands, self.sort_commands, self.stream_commands])

    def geo_commands(self):
        return self.geo.commands()

    def sort_commands(self):
        return self.sorting.commands()

    def hyperloglog_commands(self):
        return self.hyperloglogs.commands(self.in_multi)

    def list_commands(self):
        return self.lists.commands(self.in_multi)

    def sorted_set_commands(self):
        return self.sorted_sets.commands(self.in_multi)

    def stream_commands(self):
        return self.streams.commands(self.in_multi)

    def key(self):
        if self.rng.random() < 0.05:
            return self.rng.choice(["h1", "h2", "s1", "s2", "l1", "l2", "z1", "z2", "x1"])
        return self.rng.choice(["k1", "k2", "k3", "k4", "counter", "bits", "", "key with spaces", "k\r\n5",
                                "long" * 150 + str(self.rng.randint(0, 2))])

    def value(self):
        r = self.rng
        return r.choice([
            lambda: b"", lambda: str(r.randint(-1000, 1000)).encode(), lambda: b"hello world",
            lambda: r.choice(EDGE_INTEGERS).encode(), lambda: b"3.14", lambda: b"1e10", lambda: b"-0.5",
            lambda: bytes(r.randrange(256) for _ in range(r.randint(1, 60))), lambda: b"x" * r.randint(30, 60),
            lambda: b"\x00\xff\r\n", lambda: b"y" * r.choice([1000, 65535, 65536, 65537, 200000]),
        ])()

    def small(self):
        if self.rng.random() < 0.15:
            return self.rng.choice(EDGE_INTEGERS)
        return str(self.rng.randint(-20, 20))

    def offset(self):
        r = self.rng
        if r.random() < 0.1:
            return r.choice(["-1", "abc", "4294967296", "536870912", "99999999999999999999", ""])
        return str(r.choice([0, 1, 7, 8, 9, 63, 64, 100, 1000, 70000, 600000, r.randint(0, 200)]))

    def db(self):
        return self.rng.choice(["0", "1", "2", "0", "15", "16", "-1", "abc", "99999999999"])

    def ttl(self, command):
        r = self.rng
        if r.random() < 0.25:
            return r.choice(["0", "-1", "abc", "9223372036854775807", "-9223372036854775808", "1.5", ""])
        scale = 1000 if command.startswith("p") else 1
        if command.endswith("at"):
            return str(FAR * scale + r.choice([0, 1000, -1000]) * scale)
        return str(r.choice([100000, 200000, 300000]) * scale)

    def set_options(self):
        r, out = self.rng, []
        for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
            option = r.choice(["NX", "XX", "GET", "KEEPTTL", "EX", "PX", "EXAT", "PXAT", "nx", "foo"])
            out.append(option)
            if option in ("EX", "PX", "EXAT", "PXAT") and r.random() < 0.9:
                name = {"EX": "ex", "PX": "pex", "EXAT": "at", "PXAT": "pat"}[option]
                out.append(self.ttl(name))
        return out

    def field_operations(self):
        r, out = self.rng, []
        for _ in range(r.randint(0, 4)):
            kind = r.choice(["GET", "SET", "INCRBY", "OVERFLOW", "nonsense"] + ["GET", "SET", "INCRBY"] * 3)
            field = r.choice(["u1", "i1", "u8", "i8", "u16", "i64", "u63", "i5", "u64", "i65", "x8", "u0"] +
                             ["u8", "i8"] * 4)
            place = r.choice(["0", "8", "#0", "#1", "#3", "3", "100", "-1", "abc", "#-1"])
            if kind == "OVERFLOW":
                out += [kind, r.choice(["WRAP", "SAT", "FAIL", "wrap", "bad"])]
            elif kind == "GET":
                out += [kind, field, place]
            elif kind == "nonsense":
                out.append(kind)
            else:
                out += [kind, field, place, r.choice(["1", "-1", "255", "100", "-128", "9223372036854775807", "abc"])]
        return out

    def make(self):
        r = self.rng
        k, v, small = self.key, self.value, self.small
        table = [
            lambda: ["SET", k(), v()] + self.set_options(), lambda: ["SET", k(), v()], lambda: ["GET", k()],
            lambda: ["GET", k()], lambda: ["GETSET", k(), v()], lambda: ["GETDEL", k()],
            lambda: ["GETEX", k()] + r.choice([[], ["PERSIST"], ["EX", self.ttl("ex")], ["PXAT", self.ttl("pat")],
                                               ["PERSIST", "EX", "100"], ["foo"], ["EX"], ["KEEPTTL"]]),
            lambda: ["MGET"] + [k() for _ in range(r.randint(1, 4))],
            lambda: ["MSET"] + [x for _ in range(r.randint(1, 3)) for x in (k(), v())] + ([k()] if r.random() < .1 else []),
            lambda: ["MSETNX"] + [x for _ in range(r.randint(1, 3)) for x in (k(), v())],
            lambda: ["SETNX", k(), v()], lambda: ["SETEX", k(), self.ttl("ex"), v()],
            lambda: ["PSETEX", k(), self.ttl("pex"), v()], lambda: ["APPEND", k(), v()], lambda: ["STRLEN", k()],
            lambda: ["GETRANGE", k(), small(), small()], lambda: ["SUBSTR", k(), small(), small()],
            lambda: ["SETRANGE", k(), self.offset(), v()[:100]], lambda: ["INCR", r.choice([k(), "counter"])],
            lambda: ["DECR", r.choice([k(), "counter"])], lambda: ["INCRBY", r.choice([k(), "counter"]), small()],
            lambda: ["DECRBY", r.choice([k(), "counter"]), small()],
            lambda: ["INCRBYFLOAT", k(), r.choice(["1", "0.1", "-2.5", "1e5", "abc", "inf", "nan", "", "3.0e-3"])],
            lambda: ["LCS", k(), k()] + r.choice([[], ["LEN"], ["IDX"], ["IDX", "WITHMATCHLEN"], ["LEN", "IDX"],
                                                  ["IDX", "MINMATCHLEN", small()], ["foo"], ["MINMATCHLEN"]]),
            lambda: ["SETBIT", r.choice([k(), "bits"]), self.offset(), r.choice(["0", "1", "1", "2", "x"])],
            lambda: ["GETBIT", r.choice([k(), "bits"]), self.offset()],
            lambda: ["BITCOUNT", r.choice([k(), "bits"])] + r.choice([[], [small(), small()], [small()],
                     [small(), small(), "BIT"], [small(), small(), "BYTE"], [small(), small(), "foo"]]),
            lambda: ["BITPOS", r.choice([k(), "bits"]), r.choice(["0", "1", "2", "x"])] +
            r.choice([[], [small()], [small(), small()], [small(), small(), "BIT"], [small(), small(), "bad"]]),
            lambda: ["BITOP", r.choice(["AND", "or", "XOR", "NOT", "foo"]), k()] + [k() for _ in range(r.randint(1, 3))],
            lambda: ["BITFIELD", r.choice([k(), "bits"])] + self.field_operations(),
            lambda: ["BITFIELD_RO", r.choice([k(), "bits"])] + self.field_operations(),
            lambda: ["DEL"] + [k() for _ in range(r.randint(1, 3))], lambda: ["UNLINK", k()],
            lambda: ["EXISTS"] + [k() for _ in range(r.randint(1, 3))], lambda: ["TOUCH", k(), k()],
            lambda: ["TYPE", k()], lambda: ["RENAME", k(), k()], lambda: ["RENAMENX", k(), k()],
            lambda: ["COPY", k(), k()] + r.choice([[], ["REPLACE"], ["DB", self.db()], ["DB", self.db(), "REPLACE"],
                                                   ["foo"]]),
            lambda: ["MOVE", k(), self.db()], lambda: self.expire(), lambda: self.expire(), lambda: ["PERSIST", k()],
            lambda: [r.choice(["TTL", "EXPIRETIME"]), k()], lambda: ["PEXPIRETIME", "no such key"],
            lambda: ["OBJECT", r.choice(["ENCODING", "REFCOUNT", "FREQ", "foo"]), k()], lambda: ["OBJECT", "ENCODING"],
            lambda: ["KEYS", r.choice(["*", "k*", "k?", "[a-c]*", "nothing", "k[^1]"])],
            lambda: ["SCAN", r.choice(["0", "abc", "00", " 0", "-0"])] + r.choice([["COUNT", "1000"], ["COUNT", "0"], ["COUNT"],
                     ["MATCH", "k*", "COUNT", "1000"], ["TYPE", "string", "COUNT", "1000"], ["TYPE", "hash", "COUNT", "1000"], ["x"]]),
            lambda: ["DBSIZE"], lambda: ["SELECT", self.db()],
            lambda: ["SWAPDB", r.choice(["0", "1", "2", "16", "x"]), r.choice(["0", "1", "2", "-1", "x"])],
            lambda: ["MULTI"], lambda: ["EXEC"], lambda: ["EXEC"], lambda: ["DISCARD"],
            lambda: ["WATCH"] + [k() for _ in range(r.randint(0, 2))], lambda: ["UNWATCH"],
            lambda: ["PING"] + r.choice([[], ["x"], ["x", "y"]]), lambda: ["ECHO", v()],
            lambda: r.choice([["FLUSHDB", "foo"], ["FLUSHALL", "ASYNC", "SYNC"], ["FLUSHDB"]]) if r.random() < .3 else ["DBSIZE"],
            lambda: ["DEBUG", "DIGEST-VALUE", k()], lambda: [r.choice(["nosuchcommand", "GETT", ""]), k(), "a b"],
            lambda: ["CLIENT", r.choice(["GETNAME", "foo", "SETNAME"])] + r.choice([[], ["bad name"], ["good"]]),
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["SET", "a", "b"], ["MSET", "a", "1", "b", "2"], ["PING", "x"],
                     ["GET"], ["nosuch", "a"], ["BITOP", "AND", "d", "a", "b"], ["DEL", "a", "b"]]),
            lambda: ["PUBLISH", "nobody", "x"], lambda: ["PUBSUB", "NUMSUB", "a"], lambda: ["WAIT", "0", "0"],
            lambda: ["READONLY"], lambda: ["CLUSTER", r.choice(["INFO", "foo"])], lambda: ["OBJECT", "HELP", "x"],
            lambda: ["CONFIG", "GET", r.choice(["maxclients", "slave-priority", "nosuch"])],
            lambda: ["CONFIG", "SET"] + r.choice([["tcp-keepalive", "x"], ["maxclients", "10000"], ["nosuch", "1"], ["a"],
                     ["timeout", "-1"], ["hz", "10", "hz", "10"], ["daemonize", "yes"], ["loglevel", "loud"]]),
            lambda: ["AUTH", "x"], lambda: ["HELLO", r.choice(["1", "4", "x"])], lambda: ["RESET"],
            lambda: ["HELLO", "3", r.choice(["AUTH", "SETNAME", "foo"]), r.choice(["a", "a b"])],
            lambda: ["MEMORY", "USAGE", "no such key"], lambda: ["SLOWLOG", "GET", "-5"], lambda: ["SLOWLOG", "foo"],
            lambda: ["LATENCY", "HISTORY", "nothing"], lambda: ["CLIENT", "KILL", r.choice(["x", "TYPE"]), "y"],
            lambda: ["CLIENT", "KILL", "1.2.3.4:5"], lambda: ["CLIENT", "PAUSE", "x"], lambda: ["DEBUG", "foo"],
            lambda: ["CLIENT", r.choice(["GETREDIR", "TRACKINGINFO"])],
            lambda: ["CLIENT", "UNBLOCK", r.choice(["x", "999999"])], lambda: ["CLIENT", "NO-EVICT", "foo"],
        ]
        if self.focus is not None and r.random() < 0.7:
            table = self.focus()
        else:
            table += self.collections.hash_commands() + self.collections.set_commands() + self.list_commands()
            table += self.payloads.commands()
            table += self.sorted_set_commands() + self.hyperloglog_commands() + self.stream_commands()
            table += self.geo_commands() + self.sort_commands()
        command = r.choice(table)()
        if r.random() < 0.03 and len(command) > 1:  # wrong arity
            command = command[:-1] if r.random() < 0.5 else command + ["extra"]
        if command[0] == "SPOP" and self.in_multi and len(command) < 4:  # chance would make the data differ
            command = ["SPOP", command[1] if len(command) > 1 else "s1", "100000"]
        if command[0] == "FLUSHALL" and r.random() < 0.9:
            return command
        return command

    def expire(self):
        r = self.rng
        name = r.choice(["EXPIRE", "PEXPIRE", "EXPIREAT", "PEXPIREAT"])
        options = r.choice([[], [], ["NX"], ["XX"], ["GT"], ["LT"], ["NX", "XX"], ["GT", "LT"], ["foo"], ["XX", "GT"]])
        return [name, self.key(), self.ttl(name.lower())] + options


# ---- laws ------------------------------------------------------------------------------------------------------------

UNORDERED = {"KEYS"}


def plain(value):
    """A comparable form in which types are told apart."""
    if isinstance(value, Error):
        return ("error", str(value))
    if isinstance(value, Status):
        return ("status", str(value))
    if isinstance(value, dict):
        return ("map", sorted((repr(plain(a)), repr(plain(b))) for a, b in value["map"]))
    if isinstance(value, Push):
        return ("push", [plain(v) for v in value])
    if isinstance(value, SetReply):
        return ("set", sorted(repr(plain(v)) for v in value))
    if isinstance(value, list):
        return ("array", [plain(v) for v in value])
    return (type(value).__name__, value)


def is_lists(ours, theirs):
    return isinstance(ours, list) and isinstance(theirs, list)


def without_id(hello):
    pairs = hello["map"] if isinstance(hello, dict) else list(zip(hello[::2], hello[1::2]))
    return [pair for pair in pairs if pair[0] != b"id"]


def near(a, b, slack):
    return isinstance(a, int) and isinstance(b, int) and a > 0 and b > 0 and abs(a - b) <= slack


def shortened(value):
    """Members as far as their bytes decide the order of sorted sets here (docs/compatibility.md)."""
    if isinstance(value, list):
        return [shortened(item) for item in value]
    return value[:477] if isinstance(value, bytes) else value


def same(command, ours, theirs):
    if plain(ours) == plain(theirs):
        return True
    name = command[0].upper()
    if name.startswith("Z") and is_lists(ours, theirs) and plain(shortened(ours)) == plain(shortened(theirs)):
        return True
    # Sorted sets of small scores make members at one place, whose order is nobody's: with COUNT, which of them, too.
    if name.startswith(("GEORADIUS", "GEOSEARCH")) and is_lists(ours, theirs) and len(ours) == len(theirs):
        counted = any(isinstance(word, str) and word.upper() == "COUNT" for word in command)
        return counted or sorted(map(repr, map(plain, ours))) == sorted(map(repr, map(plain, theirs)))
    verdict = oracle_sorted_sets.same(command, ours, theirs)
    if verdict is not None:
        return verdict
    verdict = oracle_streams.same(command, ours, theirs)
    if verdict is not None:
        return verdict
    verdict = hashes_sets.same(command, ours, theirs)
    if verdict is not None:
        return verdict
    if name == "WAIT":  # ours has a replica
        return isinstance(ours, int) and isinstance(theirs, int)
    if name in UNORDERED and isinstance(ours, list) and isinstance(theirs, list):
        return sorted(ours) == sorted(theirs)
    if name == "SCAN" and isinstance(ours, list) and isinstance(theirs, list):
        if ours[0] != b"0" or theirs[0] != b"0":  # pages of some ten keys
            return True
        return sorted(ours[1]) == sorted(theirs[1])
    if name == "OBJECT" and len(command) > 1:
        what = command[1].upper()
        if what == "HELP":  # in words of our own
            return isinstance(ours, list) and isinstance(theirs, list)
        if what in ("ENCODING", "REFCOUNT"):  # Redis' depend on how the value came to be
            return type(ours) is type(theirs) and not isinstance(ours, Error)
    if name == "HELLO" and isinstance(ours, (list, dict)) and isinstance(theirs, (list, dict)):
        return repr(without_id(ours)) == repr(without_id(theirs))
    if name in ("TTL", "EXPIRETIME"):
        return near(ours, theirs, 2)
    return False


def same_exec(queued, ours, theirs):
    if plain(ours) == plain(theirs):
        return True
    if not isinstance(ours, list) or not isinstance(theirs, list) or len(ours) != len(theirs):
        return False
    return len(queued) == len(ours) and all(same(c, a, b) for c, a, b in zip(queued, ours, theirs))


class Round:
    def __init__(self, ours, theirs, rng, resp):
        self.generator = Generator(rng)
        self.ours, self.resp = ours, resp
        self.ports = (ours.port, theirs.port)
        self.history, self.queued = [], []
        self.flags = rng.choice(["", "", "KEA", "KAn"])
        self.connect()

    def connect(self):
        self.connections = [Connection(p) for p in self.ports]
        for connection in self.connections:
            connection.command("CONFIG", "SET", "hll-sparse-max-bytes", "3000")
            if self.resp == 3:
                connection.command("HELLO", "3")
        self.events = oracle_key_events.KeyEvents(Connection, self.ports, self.flags)

    def crash(self):
        """Ours is killed and comes back; both go on with new connections."""
        self.history.append(["KILL -9"])
        self.close()
        self.ours.kill_and_restart()
        self.connect()

    def step(self, command):
        name = command[0].upper()
        if name.startswith("SORT") and self.generator.in_multi:
            return  # what the command before left in errno cannot be cleared there
        if name.startswith("SORT") and oracle_sort.asks_for_chance(command, self.connections[1]):
            return
        self.history.append(command)
        if not self.generator.in_multi:
            count = hashes_sets.pops_at_random(command, self.connections[1])
            if count is not None:
                wrong = hashes_sets.pop(command, count, *self.connections)
                if wrong:
                    raise AssertionError("%r: %s" % (command, wrong))
                self.events.difference(False)
                return
        if name.startswith("SORT"):
            oracle_sort.forget_overflow(self.connections[1])
        ours, theirs = (c.command(*command) for c in self.connections)
        if not self.generator.in_multi:
            oracle_hyperloglogs.forget_count(command, theirs, self.connections)
        ok = same_exec(self.queued, ours, theirs) if name == "EXEC" else same(command, ours, theirs)
        if not ok:
            raise AssertionError("replies differ for %r:\n  holdfast: %.2000r\n  redis:    %.2000r" % (command, ours, theirs))
        if name in ("HRANDFIELD", "SRANDMEMBER") and isinstance(theirs, (list, bytes)):
            if not hashes_sets.picks_are_members(command, ours, self.connections[1]):
                raise AssertionError("%r picked what is not there: %.2000r" % (command, ours))
        if name == "ZRANDMEMBER" and isinstance(theirs, (list, bytes)):
            if not oracle_sorted_sets.picks_are_members(command, ours, self.connections[1]):
                raise AssertionError("%r picked what is not there: %.2000r" % (command, ours))
        if not self.generator.in_multi:
            oracle_streams.settle(command, *self.connections)
        wrong = self.events.difference(True)
        if wrong:
            raise AssertionError("%r: %s" % (command, wrong))
        if theirs == "QUEUED":
            self.queued.append(command)
        if name == "MULTI" and theirs == "OK":
            self.generator.in_multi = True
        if name in ("EXEC", "DISCARD", "RESET") and (name == "RESET" or not isinstance(theirs, Error) or
                                                     theirs.startswith("EXECABORT")):
            self.generator.in_multi = False
        if name in ("EXEC", "DISCARD", "RESET") or (name == "MULTI" and theirs == "OK"):
            self.queued = []

    def run(self, count):
        for _ in range(count):
            self.step(self.generator.make())
            # What was in memory is read from disk afterwards.
            if not self.generator.in_multi and self.generator.rng.random() < 0.01:
                done = self.connections[0].command("DEBUG", "CHECKPOINT")
                assert done == "OK", done
            if not self.generator.in_multi and self.generator.rng.random() < 0.001:
                self.crash()
        self.step(["RESET"])

    def close(self):
        self.events.close()
        for connection in self.connections:
            connection.close()


def compare_data(ours, theirs):
    a, b = Connection(ours.port), Connection(theirs.port)
    try:
        for db in range(16):
            for connection in (a, b):
                connection.command("SELECT", db)
            keys = [sorted(c.command("KEYS", "*")) for c in (a, b)]
            assert keys[0] == keys[1], "db %d: keys differ: %r and %r" % (db, keys[0], keys[1])
            for key in keys[0]:
                for command in (["TYPE", key], ["GET", key], ["HGETALL", key], ["SMEMBERS", key], ["LRANGE", key, "0", "-1"],
                                ["ZRANGE", key, "0", "-1", "WITHSCORES"], ["XRANGE", key, "-", "+"],
                                ["XINFO", "STREAM", key, "FULL", "COUNT", "0"], ["PEXPIRETIME", key],
                                ["OBJECT", "ENCODING", key]):
                    x, y = a.command(*command), b.command(*command)
                    if isinstance(x, list) and isinstance(y, list) and same(command, x, y):
                        continue
                    # Redis keeps "raw" and "int" by how a value came to be; only the bytes and the expiry are data.
                    if command[0] == "OBJECT" and x != y:
                        continue
                    if command[0] == "PEXPIRETIME" and near(x, y, 2000):
                        continue
                    assert x == y, "db %d: %r: %.300r and %.300r" % (db, command, x, y)
        digests = [c.command("DEBUG", "DIGEST") for c in (a, b)]
        assert digests[0] == digests[1], "DEBUG DIGEST differs: %r" % digests
    finally:
        a.close()
        b.close()


def check_replay(ours):
    """The log, replayed from its first byte, gives what the server holds that wrote it: the same digest, and the same to
    whoever asks."""
    ours.terminate()
    restored = oracle_replica.restore_from_log(TOOL, ours.directory)
    replayed = None
    try:
        oracle_replica.assert_no_difference(TOOL, ours.directory, restored)
        ours.start()
        replayed = Server(SERVER, [], restored)
        compare_data(ours, replayed)
    finally:
        if replayed is not None:
            replayed.stop()
        shutil.rmtree(os.path.dirname(restored), ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=31, help="0: another one each time")
    parser.add_argument("--rounds", type=int, default=int(os.environ.get("ORACLE_ROUNDS", "12")))
    parser.add_argument("--commands", type=int, default=600)
    parser.add_argument("--no-replica", action="store_true")
    parser.add_argument("--no-replay", action="store_true", help="for runs whose log is longer than is kept")
    options = parser.parse_args()
    oracle = shutil.which("redis-server")
    if oracle is None or "v=7.0" not in subprocess.run([oracle, "--version"], capture_output=True, text=True).stdout:
        print("no redis-server 7.0 here: skipped")
        return 77
    options.seed = options.seed or int.from_bytes(os.urandom(4), "big")
    print("seed %d (repeat with --seed %d)" % (options.seed, options.seed))
    ours, theirs = Server(SERVER, ["--appendfsync", "always"]), Server(oracle, ["--appendonly", "no"])
    replica = None
    try:
        if not options.no_replica:
            replica = Server(SERVER, ["--replicaof", "127.0.0.1", str(ours.port)])
            oracle_replica.wait_until_attached(Connection, replica.port)
        for number in range(options.rounds):
            one = Round(ours, theirs, random.Random(options.seed * 1000 + number), 2 + number % 2)
            try:
                one.run(options.commands)
                compare_data(ours, theirs)
                if number % 3 == 2:
                    ours.kill_and_restart()
                    compare_data(ours, theirs)
                if replica is not None:
                    oracle_replica.compare(Connection, ours.port, replica.port)
            except (AssertionError, ConnectionError, OSError) as failure:
                print("round %d, seed %d: %s" % (number, options.seed, failure))
                print("the last commands:")
                for command in one.history[-15:]:
                    print("  %.300r" % (command,))
                return 1
            finally:
                one.close()
        if not options.no_replay:
            check_replay(ours)
    finally:
        for server in (ours, theirs, replica):
            if server is not None:
                server.stop()
    print("%d rounds of %d commands: the same replies and the same data%s%s" % (
        options.rounds, options.commands, "" if replica is None else ", on the replica as well",
        "" if options.no_replay else ", and after a replay of the log"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
