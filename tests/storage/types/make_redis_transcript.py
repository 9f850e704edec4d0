#!/usr/bin/env python3
"""Writes redis_transcript.txt: commands and what redis-server 7.0 answered to them.

Run by hand when commands are added; needs redis-server in PATH. redis_transcript_test.cpp replays the file against the
store operations. A line is: command and arguments, percent-encoded, then a tab and the reply:
:1 integer, $text bulk string (percent-encoded), _ nil, +OK status, -ERR text error, [reply reply] array.
"""
import os
import random
import socket
import subprocess
import sys
import tempfile
import time
from urllib.parse import quote_from_bytes


class Redis:
    def __init__(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.dir = tempfile.TemporaryDirectory()
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir.name],
            stdout=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while True:
            try:
                self.file = socket.create_connection(("127.0.0.1", port)).makefile("rwb")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def call(self, *args):
        args = [a if isinstance(a, bytes) else str(a).encode() for a in args]
        self.file.write(b"*%d\r\n" % len(args) + b"".join(b"$%d\r\n%s\r\n" % (len(a), a) for a in args))
        self.file.flush()
        return args, self.read()

    def read(self):
        line = self.file.readline()[:-2]
        kind, rest = line[:1], line[1:]
        if kind in b"+-:":
            return line.decode()
        if kind == b"$":
            if rest == b"-1":
                return "_"
            data = self.file.read(int(rest) + 2)[:-2]
            return "$" + quote(data)
        if kind == b"*":
            if rest == b"-1":
                return "_"
            return "[" + " ".join(self.read() for _ in range(int(rest))) + "]"
        raise ValueError(line)

    def close(self):
        self.process.terminate()
        self.process.wait()


def quote(data):
    return quote_from_bytes(data, safe="!*()',;:@&=+$/?#[]{}<>^|\\\"`~")


def number_texts():
    return ["0", "1", "-1", "10", "-0", "+1", "01", "-01", "1 ", " 1", "", "a", "1a", "0x10", "9223372036854775807",
            "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "18446744073709551615", "1.5",
            "-1.5", ".5", "5.", "1e3", "1E3", "1e-3", "1e400", "-1e400", "1e4931", "1e5000", "1e-4940", "1e-5000", "inf",
            "-inf", "infinity", "nan", "0x1p3", "3.0e3", "1e17", "1e18", "123456789012345678901234567890", "0.1",
            "0.2", "0.30000000000000004", "1.0000000000000000001", "100.00", "-0.0", "3.14159265358979323846",
            "0.000000000000000001", "99999999999999999.5", "1e15", "1.7976931348623157e308", "\t1", "1\n", "1,5"]


def glob_cases():
    patterns = ["*", "**", "?", "h?llo", "h*llo", "h[ae]llo", "h[^e]llo", "h[a-b]llo", "h[b-a]llo", "[", "[a", "[a-",
                "[a-]x", "[^]", "[]", "[]a]", "\\*", "\\", "a\\", "[\\]]", "[\\a-c]", "*a*b*c", "a*", "*a", "a*a", "*?",
                "?*", "***a", "[^a]*", "h\\ello", "[a-c]*[x-z]", "", "a[", "a[^", "*[", "[a-z]llo", "\\?", "*\\*",
                "x*?y", "[--a]", "[!a]"]
    texts = ["hello", "hallo", "hbllo", "hllo", "heello", "a", "b", "", "*", "\\", "]", "-", "[", "aa", "aba", "abc",
             "aXbXc", "axy", "cz", "?", "x*", "xy", "xay", "^", "!", "a[", "a\\", "0"]
    return patterns, texts


def scripted(run):
    for text in number_texts():
        run("SET", "n", text)
        run("INCRBY", "n", 1)
        run("SET", "n", text)
        run("INCRBY", "n", -1)
        run("SET", "n", text)
        run("INCRBYFLOAT", "n", "0.1")
        run("SET", "n", "10.5")
        run("INCRBYFLOAT", "n", text)
        run("SET", "n", 3)
        run("INCRBY", "n", text)
        # How doubles are read and printed; a small sorted set forgets the sign of zero.
        if not text.startswith("-0"):
            run("DEL", "z")
            run("ZADD", "z", text, "m")
            run("ZSCORE", "z", "m")
    run("FLUSHALL")
    patterns, texts = glob_cases()
    for text in texts:
        run("FLUSHALL")
        run("SET", text, 1)
        for pattern in patterns:
            run("KEYS", pattern)
    run("FLUSHALL")
    for a, b in [("ohmytext", "mynewtext"), ("", "x"), ("same", "same"), ("aXbXc", "abc"), ("abc", "xyz"),
                 ("rnatext", "dnatext"), ("aaaa", "aa"), ("abcabcabc", "cbacbacba")]:
        run("MSET", "a", a, "b", b)
        run("LCS", "a", "b")
        run("LCS", "a", "b", "LEN")
        run("LCS", "a", "b", "IDX")
        run("LCS", "a", "b", "IDX", "MINMATCHLEN", 2)
        run("LCS", "a", "b", "IDX", "WITHMATCHLEN")
    run("LCS", "a", "missing")
    run("SETRANGE", "r", 536870911, "x")
    run("SETRANGE", "r", 536870912, "x")
    run("SETRANGE", "r", -1, "x")
    run("SETRANGE", "r", 4, "")
    run("STRLEN", "r")
    run("GETRANGE", "r", 536870905, -1)
    run("APPEND", "r", "y")
    run("BITCOUNT", "r")
    run("BITPOS", "r", 1)
    run("BITPOS", "r", 1, 0, 1000)
    run("GETBIT", "r", 4294967295)
    run("DEL", "r")
    run("SETBIT", "r", 4294967296, 1)
    run("SETBIT", "r", -1, 1)
    run("GETBIT", "r", "x")
    run("BITFIELD", "r", "GET", "u64", 0)
    run("BITFIELD", "r", "GET", "i65", 0)
    run("BITFIELD", "r", "GET", "u0", 0)
    run("BITFIELD", "r", "GET", "x8", 0)
    run("BITFIELD", "r", "OVERFLOW", "BAD", "GET", "u8", 0)
    run("BITFIELD", "r", "SET", "u8", 0)
    run("BITFIELD", "r", "SET", "u8", "#-1", 1)
    run("BITFIELD", "r", "OVERFLOW", "FAIL", "SET", "u8", 80, 256)
    run("STRLEN", "r")
    run("GET", "r")
    run("DEL", "r")
    run("FLUSHALL")
    run("SET", "gone", 1, "PXAT", 1)
    run("DBSIZE")
    run("GET", "gone")
    run("FLUSHALL")
    run("BITFIELD", "q", "SET", "i64", 4294967290, 1)
    run("STRLEN", "q")
    run("BITFIELD", "q", "SET", "u8", 4294967296, 1)
    run("DEL", "q")
    run("SET", "x", "abc")
    for least in ("-9223372036854775808", "-9223372036854775807"):
        run("BITCOUNT", "x", least, 9223372036854775807)
        run("BITPOS", "x", 1, least)
        run("BITPOS", "x", 0, least, 9223372036854775807, "BIT")
        run("GETRANGE", "x", least, -1)
        run("GETRANGE", "x", 0, least)
        run("GETRANGE", "x", least, 9223372036854775807)
        run("PEXPIRE", "x", least)
        run("SET", "x", "abc")
        run("INCRBY", "x", least)
    run("SETRANGE", "x", 9223372036854775807, "a")
    run("EXPIRE", "x", -9223372036854775)
    run("EXPIRE", "x", -9223372036854776)
    run("SETRANGE", "x", 0, "")
    run("EXISTS", "x")
    run("MSET", "a", 1, "b", 2)
    run("EXISTS", "a", "a", "nothing")
    run("SET", "a", 1, "PXAT", 99999999999999)
    run("EXPIRE", "a", 9223372036854775807)
    run("PEXPIRE", "a", 9223372036854775807)
    run("EXPIRE", "a", "x")
    run("SET", "a", 1, "EX", 0)
    run("SET", "a", 1, "EX", 9223372036854775807)
    run("SET", "a", 1, "PX", -5)
    run("SET", "a", 1, "EX", "x")
    run("RENAME", "nothing", "a")
    run("RENAMENX", "nothing", "a")
    run("RENAME", "a", "a")
    run("RENAMENX", "a", "a")
    run("COPY", "a", "a")
    run("COPY", "a", "b", "DB", 99)
    run("MOVE", "a", 0)
    run("MOVE", "a", 99)
    run("SWAPDB", 0, 99)
    run("BITOP", "NOT", "d", "a", "b")


def random_bytes(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return str(rng.randrange(-1000, 1000)).encode()
    if kind == 1:
        return bytes(rng.choice(b"\x00\xff\x0f") for _ in range(rng.randrange(0, 12)))
    if kind == 2:
        return bytes(rng.randrange(256) for _ in range(rng.randrange(0, 12)))
    return rng.choice([b"", b"x", b"hello world", b"3.5", b"12"])


def random_field(rng):
    words = []
    for _ in range(rng.randrange(1, 5)):
        kind = rng.choice(["GET", "SET", "INCRBY", "OVERFLOW"])
        if kind == "OVERFLOW":
            words += ["OVERFLOW", rng.choice(["WRAP", "SAT", "FAIL"])]
            continue
        signed = rng.random() < 0.5
        width = rng.choice([1, 2, 3, 7, 8, 9, 16, 31, 32, 33, 63]) if not signed else rng.choice(
            [1, 2, 5, 8, 12, 16, 32, 47, 63, 64])
        offset = rng.choice([str(rng.randrange(0, 120)), "#" + str(rng.randrange(0, 4))])
        words += [kind, ("i" if signed else "u") + str(width), offset]
        if kind != "GET":
            words.append(rng.choice([rng.randrange(-300, 300), rng.randrange(-2**63, 2**63), 2**63 - 1, -2**63, 1]))
    return words


def random_command(rng):
    key = lambda: rng.choice(["a", "b", "c", "d", "e"])
    number = lambda: rng.choice([0, 1, 2, 3, 5, 8, -1, -2, -3, -5, -100, 100, rng.randrange(-20, 20)])
    when = lambda: rng.choice([99999999999999, 88888888888888, 77777777777777])
    kind = rng.randrange(30)
    if kind in (0, 1):
        options = rng.choice([[], [], [], ["NX"], ["XX"], ["KEEPTTL"], ["GET"], ["XX", "GET"], ["PXAT", when()],
                              ["XX", "KEEPTTL"], ["EXAT", 99999999999], ["NX", "PXAT", when()]])
        return ["SET", key(), random_bytes(rng)] + options
    if kind == 2:
        return ["GETSET", key(), random_bytes(rng)]
    if kind == 3:
        return ["GETDEL", key()]
    if kind == 4:
        return ["GETEX", key()] + rng.choice([[], ["PERSIST"], ["PXAT", when()], ["PXAT", 1], ["EXAT", 99999999999]])
    if kind == 5:
        return [rng.choice(["MSET", "MSETNX"])] + sum(
            [[key(), random_bytes(rng)] for _ in range(rng.randrange(1, 4))], [])
    if kind in (6, 7):
        return ["APPEND", key(), random_bytes(rng)]
    if kind == 8:
        return ["SETRANGE", key(), rng.randrange(0, 30), random_bytes(rng)]
    if kind == 9:
        return ["GETRANGE", key(), number(), number()]
    if kind == 10:
        return ["INCRBY", key(), number()]
    if kind == 11:
        return ["INCRBYFLOAT", key(), rng.choice(["0.1", "1e3", "-2.5", "3"])]
    if kind == 12:
        return ["STRLEN", key()]
    if kind in (13, 14):
        return ["SETBIT", key(), rng.randrange(0, 100), rng.randrange(2)]
    if kind == 15:
        return ["GETBIT", key(), rng.randrange(0, 120)]
    if kind in (16, 17):
        return ["BITCOUNT", key()] + rng.choice([[], [number(), number()], [number(), number(), "BIT"],
                                                 [number(), number(), "BYTE"]])
    if kind in (18, 19):
        return ["BITPOS", key(), rng.randrange(2)] + rng.choice(
            [[], [number()], [number(), number()], [number(), number(), "BIT"], [number(), number(), "BYTE"]])
    if kind == 20:
        operation = rng.choice(["AND", "OR", "XOR", "NOT"])
        count = 1 if operation == "NOT" else rng.randrange(1, 4)
        return ["BITOP", operation, key()] + [key() for _ in range(count)]
    if kind in (21, 22):
        return ["BITFIELD", key()] + random_field(rng)
    if kind == 23:
        return [rng.choice(["DEL", "UNLINK"])] + [key() for _ in range(rng.randrange(1, 3))]
    if kind == 24:
        return [rng.choice(["RENAME", "RENAMENX"]), key(), key()]
    if kind == 25:
        return ["COPY", key(), key()] + rng.choice([[], ["REPLACE"], ["DB", 1], ["DB", 1, "REPLACE"]])
    if kind == 26:
        return rng.choice([["MOVE", key(), 1], ["SWAPDB", 0, 1], ["SELECT", rng.randrange(2)]])
    if kind == 27:
        return ["PEXPIREAT", key(), rng.choice([when(), when(), when(), 1, -5])] + rng.choice(
            [[], [], ["NX"], ["XX"], ["GT"], ["LT"]])
    if kind == 28:
        return [rng.choice(["PERSIST", "PEXPIRETIME", "TYPE", "EXISTS"]), key()]
    return rng.choice([["DBSIZE"], ["GET", key()], ["FLUSHDB"] if rng.random() < 0.1 else ["GET", key()]])


def main():
    redis = Redis()
    lines = []

    def run(*args):
        arguments, reply = redis.call(*args)
        lines.append(" ".join(quote(a) or "%" for a in arguments) + "\t" + reply)

    try:
        scripted(run)
        run("FLUSHALL")
        rng = random.Random(20240611)
        for i in range(6000):
            run(*random_command(rng))
            if i % 10 == 9:
                for key in "abcde":
                    run("GET", key)
                    run("PEXPIRETIME", key)
    finally:
        redis.close()
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "redis_transcript.txt")
    with open(path, "w") as out:
        out.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
