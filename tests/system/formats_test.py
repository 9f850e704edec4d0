#!/usr/bin/env python3
"""A second reader of the formats, from their descriptions alone: docs/formats-snapshot.md and docs/formats-log.md.

Nothing of Holdfast's code is used. XXH3, XXH64 and zstd come from their libraries; the rest is here. A server is filled,
its snapshot and log are read, checked with every checksum, and compared with what the server answers.
"""

import ctypes
import ctypes.util
import glob
import os
import random
import struct

from holdfast_testing import Workspace, check, seed_from_environment

SKIPPED = 77


def library(name):
    path = ctypes.util.find_library(name)
    if path is None:
        print(f"skipped: lib{name} is not here")
        raise SystemExit(SKIPPED)
    return ctypes.CDLL(path)


XXHASH = library("xxhash")
XXHASH.XXH3_64bits_withSeed.restype = ctypes.c_uint64
XXHASH.XXH3_64bits_withSeed.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
XXHASH.XXH64.restype = ctypes.c_uint64
XXHASH.XXH64.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint64]
ZSTD = library("zstd")
ZSTD.ZSTD_decompress.restype = ctypes.c_size_t
ZSTD.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]


def checksum(data, seed=0):
    return XXHASH.XXH3_64bits_withSeed(bytes(data), len(data), seed)


def row_hash(data):
    return checksum(data, 0x486F6C6466617374) or 1


def unzstd(data, size):
    out = ctypes.create_string_buffer(size)
    got = ZSTD.ZSTD_decompress(out, size, bytes(data), len(data))
    check(got == size, "a zstd frame of another size")
    return out.raw


class Reader:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def bytes(self, size):
        check(self.at + size <= len(self.data), "a length beyond the end")
        self.at += size
        return self.data[self.at - size:self.at]

    def prefixed(self):
        return self.bytes(self.take("I"))

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take("B")
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


# ---- snapshot ------------------------------------------------------------------------------------------------------

TYPES = ["string", "list", "set", "zset", "hash", "stream"]


def read_snapshot(path):
    """(header, {(db, key): (type, expiry, value)}) of a snapshot file; every checksum and order is checked."""
    with open(path, "rb") as file:
        data = file.read()
    check(data[:8] == b"HFSNAP\r\n", "magic")
    version, length = struct.unpack_from("<II", data, 8)
    check(version == 1 and length <= 65536, "version, length")
    head = Reader(data, 16)
    header = dict(zip(("offset", "db", "databases", "time", "created", "keys"), head.take("QiIqqQ")))
    header["digest"] = head.bytes(72)
    header["id"], header["lineage"], header["node"] = head.prefixed(), head.prefixed(), head.prefixed()
    check(head.at == length - 8, "the header's length")
    seed = head.take("Q")
    check(checksum(data[:length - 8]) == seed, "the header's checksum")

    foot = Reader(data, len(data) - 160)
    check(foot.bytes(4) == b"HFSF" and foot.take("I") == 1, "the footer's magic")
    check(foot.take("Q") == seed, "the footer repeats the header's checksum")
    index_at, index_sum, digest = foot.take("QQQ")
    blocks, keys, records, raw_bytes, stored_bytes = foot.take("QQQQQ")
    by_type = foot.take("6Q")
    check(foot.take("Q") == len(data) and foot.take("QQ") == (0, 0), "the file's size")
    check(checksum(data[len(data) - 160:-8]) == foot.take("Q"), "the footer's checksum")
    index = data[index_at:len(data) - 160]
    check(index[:8] == b"HFSINDEX" and checksum(index, seed) == index_sum, "the index")
    check(len(index) == 8 + 48 * blocks, "the index's length")

    position, seen_digest, raw = length, seed, []
    for number in range(blocks):
        at, first, last, db, flags, raw_length, stored_length, begun, keys_begun = struct.unpack_from(
            "<QQQIIIIII", index, 8 + 48 * number)
        check(at == position, "blocks fill the space without a gap")
        block = Reader(data, at)
        check(block.bytes(4) == b"HFSB" and block.take("I") == number, "the block's magic and number")
        check(block.take("IIIIII") == (flags, db, raw_length, stored_length, begun, keys_begun), "index and block agree")
        continued, zero = block.take("II")
        check(zero == 0 and block.take("QQ") == (first, last), "hashes")
        stored_sum, header_sum = block.take("QQ")
        check(checksum(data[at:at + 64], seed) == header_sum, "the block header's checksum")
        stored = block.bytes(stored_length)
        check(checksum(stored) == stored_sum, "the stored bytes' checksum")
        raw.append((db, continued, unzstd(stored, raw_length) if flags & 1 else stored))
        seen_digest = checksum(struct.pack("<Q", header_sum), seen_digest)
        position = block.at
    check(position == index_at and seen_digest == digest, "the digest of the blocks")
    check(sum(len(block) for _, _, block in raw) == raw_bytes, "raw bytes")
    content = read_records(raw)
    check(len(content) == keys and records >= keys, "the number of keys")
    for number, name in enumerate(TYPES):
        check(sum(1 for kind, _, _ in content.values() if kind == name) == by_type[number], f"keys of type {name}")
    check(stored_bytes <= raw_bytes, "stored bytes")
    return header, content


def read_records(blocks):
    content, order = {}, None
    cut = None  # of a record that goes on: (what, payload so far, payload size)
    current = None
    for db, continued, raw in blocks:
        reader = Reader(raw)
        if cut:
            finish, payload, size = cut
            payload += reader.bytes(continued)
            cut = (finish, payload, size)
            if len(payload) == size:
                cut = None
                current = finish(payload, current)
        else:
            check(continued == 0, "goes on with nothing")
        while reader.at < len(raw):
            tag = reader.bytes(1)
            if tag == b"k":
                kind, flags = reader.take("BB")
                expiry = reader.take("q") if flags & 1 else None
                key_size, body_size = reader.varint(), reader.varint()

                def finish(payload, _, db=db, kind=kind, flags=flags, expiry=expiry, key_size=key_size):
                    nonlocal order
                    key, body = payload[:key_size], payload[key_size:]
                    place = (db, row_hash(key))
                    check(order is None or order <= place, "keys are in order")
                    order = place
                    content[db, key] = (TYPES[kind], expiry, begin_value(kind, flags, body))
                    return content[db, key]
                size = key_size + body_size
            else:
                check(tag == b"r", "a record's tag")
                row_kind = reader.bytes(1)
                suffix_size, value_size = reader.varint(), reader.varint()

                def finish(payload, key, row_kind=row_kind, suffix_size=suffix_size):
                    add_row(key[0], key[2], row_kind, payload[:suffix_size], payload[suffix_size:])
                    return key
                size = suffix_size + value_size
            here = min(size, len(raw) - reader.at)
            payload = reader.bytes(here)
            if here < size:
                cut = (finish, payload, size)
            else:
                current = finish(payload, current)
    check(cut is None, "the last record is whole")
    return content


def begin_value(kind, flags, body):
    if kind == 0:
        return bytearray(struct.unpack("<Q", body)[0]) if flags & 2 else bytearray(body)
    return [] if kind == 1 else {}


SCORES = True  # the stored sample's score rows are made up: they belong to no member


def add_row(name, value, kind, suffix, row):
    if kind == b"c":
        start = struct.unpack(">I", suffix)[0] * 65536
        value[start:start + len(row)] = row
    elif kind == b"i":
        check(struct.unpack(">Q", suffix)[0] == 2**63 + len(value), "items stand without gaps")
        value.append(row)
    elif kind == b"m":
        check(struct.unpack(">Q", suffix[:8])[0] == row_hash(suffix[8:]), "a member under its hash")
        value[suffix[8:]] = struct.unpack("<d", row)[0] if name == "zset" else row
    elif kind == b"s" and SCORES:
        bits = struct.unpack(">Q", suffix[:8])[0]
        bits = bits & (2**63 - 1) if bits >> 63 else bits ^ (2**64 - 1)
        check(struct.unpack("<d", struct.pack("<Q", bits))[0] == value[suffix[8:]], "the score index repeats the score")


# ---- log -----------------------------------------------------------------------------------------------------------

def read_log(directory):
    """The stream's bytes, and the frames, of all segments; every checksum, chain and digest is checked."""
    stream, frames = bytearray(), []
    chain = previous_end = None
    for path in sorted(glob.glob(os.path.join(directory, "*.log"))):
        with open(path, "rb") as file:
            data = file.read()
        check(data[:8] == b"HFLOG\r\n\0", "the segment's magic")
        total = struct.unpack_from("<Q", data, 8)[0]
        check(checksum(data[16:4096]) == total, "the segment header's checksum")
        head = Reader(data, 16)
        version, _flags = head.take("II")
        sequence, incarnation, chain_before, end_before, first, _time = head.take("QQQQQq")
        check(version == 1, "the segment's version")
        check(os.path.basename(path) == f"{sequence:020}-{first:020}.log", "the segment's name")
        check(first == len(stream), "segments follow each other")
        if chain is not None:
            check(chain_before == chain and end_before == previous_end, "the chain over segments")
        chain, at = total, 4096
        while True:
            frame = read_frame(data, at, incarnation, chain)
            if frame is None and at % 4096:  # with log-tail-rewrite no, batches begin at blocks
                after = at + -at % 4096
                if not any(data[at:after]):
                    frame = read_frame(data, after, incarnation, chain)
                    at = after if frame else at
            if frame is None:
                break
            if frame["kind"] == 1:
                check(frame["offset"] == len(stream), "frames follow each other")
                stream += frame["payload"]
            check(frame["digest"] == XXHASH.XXH64(bytes(stream), len(stream), 0), "the history digest")
            frames.append(frame)
            chain = frame["sum"]
            at += (80 + len(frame["payload"]) + 7) // 8 * 8
        previous_end = at
    return bytes(stream), frames


def read_frame(data, at, incarnation, chain):
    if at + 80 > len(data):
        return None
    header = Reader(data, at)
    total, life, before, payload_sum, offset, time_ms, digest, mark = header.take("QQQQQqQQ")
    length, db, kind, part, db_after = header.take("IhBBh")
    if life != incarnation or checksum(data[at + 8:at + 80]) != total:
        return None
    check(before == chain, "the chain")
    check(length <= 1048576 and header.bytes(6) == bytes(6) and mark <= at, "the frame's fields")
    payload = header.bytes(length)
    check(checksum(payload) == payload_sum, "the payload's checksum")
    return {"sum": total, "offset": offset, "time": time_ms, "digest": digest, "db": db, "kind": kind, "part": part,
            "db_after": db_after, "payload": payload}


def commands(stream):
    """RESP arrays of bulk strings."""
    at = 0

    def line():
        nonlocal at
        end = stream.index(b"\r\n", at)
        text = stream[at:end]
        at = end + 2
        return text
    while at < len(stream):
        head = line()
        check(head[:1] == b"*", "an effect")
        words = []
        for _ in range(int(head[1:])):
            size = line()
            check(size[:1] == b"$", "an argument")
            words.append(stream[at:at + int(size[1:])])
            at += int(size[1:]) + 2
        yield words


# ---- the server's answers --------------------------------------------------------------------------------------------

def fill(client, rng):
    for i in range(300):
        client.call("SET", b"string\x00%d" % i, rng.randbytes(rng.randrange(400)))
        client.call("HSET", f"hash{i % 5}", f"field{i}", rng.randbytes(10))
        client.call("RPUSH", f"list{i % 3}", i)
        client.call("LPUSH", f"list{i % 3}", -i)
        client.call("SADD", f"set{i % 3}", i)
        client.call("ZADD", f"zset{i % 3}", str(i - 150.5), f"member{i}")
    client.call("SET", "expiring", "v", "PXAT", 4_000_000_000_000)
    client.call("SETRANGE", "sparse", 250_000, "end")
    client.call("RPUSH", "long", rng.randbytes(1_500_000), "short")
    client.call("SELECT", 3)
    client.call("SET", "elsewhere", "3")
    client.call("SELECT", 0)


def answer(client, kind, key):
    if kind == "string":
        return bytearray(client.call("GET", key))
    if kind == "list":
        return client.call("LRANGE", key, 0, -1)
    if kind == "set":
        return {member: b"" for member in client.call("SMEMBERS", key)}
    flat = client.call("HGETALL", key) if kind == "hash" else client.call("ZRANGE", key, 0, -1, "WITHSCORES")
    pairs = zip(flat[::2], flat[1::2])
    return dict(pairs) if kind == "hash" else {member: float(score) for member, score in pairs}


def main():
    global SCORES
    rng = random.Random(seed_from_environment())
    with Workspace() as workspace:
        server = workspace.server("data", "--log-segment-size", "1mb").start()
        with server.client() as client:
            fill(client, rng)
            client.call("SAVE")
            offset = int(client.info("replication")["master_repl_offset"])
            header, content = read_snapshot(glob.glob(os.path.join(server.directory, "snapshots", "*.hfs"))[0])
            check(header["offset"] == offset, f"the snapshot's offset {header['offset']}, the server's {offset}")
            check(header["id"].decode() == client.info("replication")["master_replid"], "the history's id")
            check(len(content) == client.call("DBSIZE") + 1, "the number of keys")
            for (db, key), (kind, expiry, value) in content.items():
                client.call("SELECT", db)
                check(client.call("TYPE", key) == kind, f"{key}: type")
                check(client.call("PEXPIRETIME", key) == (-1 if expiry is None else expiry), f"{key}: expiry")
                check(value == answer(client, kind, key), f"{key}: value")
            client.call("SELECT", 0)
            client.call("SET", "last", "one")
        server.terminate()
        wal = glob.glob(os.path.join(server.directory, "gen-*", "wal"))[0]
        stream, frames = read_log(wal)
        check(any(frame["part"] == 1 for frame in frames), "no unit was cut into parts")
        check(len(glob.glob(os.path.join(wal, "*.log"))) > 1, "the log has one segment only")
        words = list(commands(stream))
        check([word.upper() if i == 0 else word for i, word in enumerate(words[-1])] == [b"SET", b"last", b"one"],
              f"the log's last effect: {words[-1]}")
        check(sum(word[0].upper() == b"HSET" for word in words) == 300, "effects of HSET")
        check([frame["time"] for frame in frames] == sorted(frame["time"] for frame in frames), "times never go back")
        SCORES = False
        sample = os.path.join(os.environ.get("HOLDFAST_SOURCE", "."), "tests/data/snapshot-version-1.hfs")
        header, content = read_snapshot(sample)
        check(header["offset"] == 123456 and len(content) == 15, "the stored sample")
    print("ok")


if __name__ == "__main__":
    main()
