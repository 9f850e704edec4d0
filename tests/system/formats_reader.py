"""Readers of snapshots and logs, from their descriptions alone: docs/formats-snapshot.md and docs/formats-log.md.

Nothing of Holdfast's code is used. XXH3, XXH64 and zstd come from their libraries; the rest is here. Every checksum, order
and repeated field is checked.
"""

import ctypes
import ctypes.util
import glob
import os
import re
import struct

from holdfast_testing import check

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


PRIMES = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F)
MASK = 2**64 - 1
START = struct.pack("<Q4Q32x", 0, (PRIMES[0] + PRIMES[1]) & MASK, PRIMES[1], 0, -PRIMES[0] & MASK)


class DigestState:
    """XXH64 on the way: what the 72 bytes in headers say, made from the stream's bytes."""

    def __init__(self, state=START):
        self.length, *self.lanes = struct.unpack("<5Q", state[:40])
        self.rest = state[40:40 + self.length % 32]

    def update(self, data):
        self.length += len(data)
        data = self.rest + bytes(data)
        whole = len(data) // 32 * 32
        a, b, c, d = self.lanes
        for words in struct.iter_unpack("<4Q", data[:whole]):
            a, b, c, d = (lane + word * PRIMES[1] & MASK for lane, word in zip((a, b, c, d), words))
            a, b, c, d = ((lane << 31 | lane >> 33) * PRIMES[0] & MASK for lane in (a, b, c, d))
        self.lanes, self.rest = [a, b, c, d], data[whole:]

    def bytes(self):
        return struct.pack("<5Q", self.length, *self.lanes) + self.rest.ljust(32, b"\0")


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
ROW_KINDS = {b"c", b"e", b"g", b"i", b"m", b"o", b"p", b"q", b"s"}
met_kinds, met_flags = set(), set()


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
        check(1 <= raw_length <= 4 << 20 and stored_length <= raw_length, "the block's lengths")
        met_flags.update(("compressed" if flags & 1 else "raw", "inside a key" if flags & 2 else "at a key"))
        stored_sum, header_sum = block.take("QQ")
        check(checksum(data[at:at + 64], seed) == header_sum, "the block header's checksum")
        stored = block.bytes(stored_length)
        check(checksum(stored) == stored_sum, "the stored bytes' checksum")
        raw.append((db, continued, unzstd(stored, raw_length) if flags & 1 else stored))
        inside = continued > 0 or raw[-1][2][:1] == b"r"
        check(flags & ~3 == 0 and bool(flags & 2) == inside, "the block's flags")
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
    check(flags & ~3 == 0, "key flags")
    if kind == 0:
        return bytearray(struct.unpack("<Q", body)[0]) if flags & 2 else bytearray(body)
    counts.append(struct.unpack_from("<Q", body)[0])
    if kind == 5:
        return begin_stream(Reader(body, 8))
    check(not SCORES or len(body) == (8 if kind == 1 else 9) and (kind == 1 or body[8] <= 1), "a collection's body")
    return [] if kind == 1 else {}


counts = []  # of elements, as announced by the keys that have any


def stream_id(reader, order="<"):
    return "%d-%d" % struct.unpack(order + "QQ", reader.bytes(16))


def begin_stream(reader):
    """As XINFO STREAM FULL tells it; groups by number until the end."""
    value = {"last-generated-id": stream_id(reader), "recorded-first-entry-id": stream_id(reader),
             "max-deleted-entry-id": stream_id(reader), "entries-added": reader.take("Q"), "entries": [], "groups": {}}
    value["number of groups"], value["next group"] = reader.take("QQ")
    check(reader.at == len(reader.data) == 80, "a stream's body")
    return value


def add_stream_row(value, kind, suffix, row):
    key, reader = Reader(suffix), Reader(row)
    if kind == b"e":
        fields = []
        while reader.at < len(row):
            fields.append(reader.bytes(reader.varint()))
        value["entries"].append([stream_id(key, ">").encode(), fields])
    elif kind == b"g":
        number = reader.take("Q")
        last = stream_id(reader)
        read, pending, consumers, following = reader.take("qQQQ")
        value["groups"][number] = {"name": suffix, "last": last, "read": read, "count": pending, "consumers": {}, "pel": {},
                                   "consumer count": consumers, "following": following}
    else:
        group = value["groups"][struct.unpack(">Q", key.bytes(8))[0]]
        if kind == b"o":
            number, seen, pending = reader.take("QqQ")
            group["consumers"][number] = {"name": suffix[8:], "seen": seen, "count": pending, "owned": []}
        elif kind == b"p":
            at, deliveries = reader.take("qQ")
            group["pel"][stream_id(key, ">")] = (row[16:], at, deliveries)
            reader.at = len(row)
        else:
            owner = group["consumers"][struct.unpack(">Q", key.bytes(8))[0]]
            owner["owned"].append(stream_id(key, ">"))
            check(group["pel"][owner["owned"][-1]][0] == owner["name"], "both rows of a pending entry name its consumer")
    check(reader.at == len(row), "a row of a stream goes on")


SCORES = True  # the stored sample is made up: its score rows belong to no member, its bodies have no shape


def add_row(name, value, kind, suffix, row):
    met_kinds.add(kind)
    if kind in (b"e", b"g", b"o", b"p", b"q"):
        add_stream_row(value, kind, suffix, row)
    elif kind == b"c":
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

FRAME_KINDS = {1: "data", 2: "lineage", 3: "role", 4: "membership", 5: "digest marker", 6: "durable mark"}


def read_segment_header(data, path):
    check(data[:8] == b"HFLOG\r\n\0", "the segment's magic")
    head = Reader(data, 8)
    header = {"checksum": head.take("Q")}
    check(checksum(data[16:4096]) == header["checksum"], "the segment header's checksum")
    header |= zip(("version", "flags", "sequence", "incarnation", "chain", "end before", "first", "time", "db"),
                  head.take("IIQQQQQqi"))
    header["digest"] = head.bytes(72)
    header |= {name: head.prefixed() for name in ("lineage", "role", "membership")}
    check(header["version"] == 1 and header["flags"] & ~3 == 0, "the segment's version and flags")
    check(os.path.basename(path) == f"{header['sequence']:020}-{header['first']:020}.log", "the segment's name")
    check(not any(data[head.at:4096]), "zeros behind the segment's header")
    return header


def read_lineage(table):
    reader = Reader(table)
    entries = [(reader.bytes(20).hex(), *reader.take("Qq")) for _ in range(reader.take("I"))]
    check(reader.at == len(table) and len(entries) <= 64, "the lineage table's length")
    check([entry[1] for entry in entries] == sorted(entry[1] for entry in entries), "the lineage's offsets ascend")
    return entries


def read_text_record(payload, name):
    """{first word: [rest of the line, ...]} of a role or membership record."""
    *lines, last = payload.decode().splitlines(keepends=True)
    check(last == f"checksum {checksum(''.join(lines).encode()):016x}\n", f"the {name} record's checksum")
    check(lines[0] == f"holdfast-{name} 1\n", f"the {name} record's first line")
    record = {}
    for line in lines[1:]:
        word, _, rest = line.rstrip("\n").partition(" ")
        record.setdefault(word, []).append(rest)
    return record


def check_control(frame):
    payload = frame["payload"]
    if frame["kind"] == 2:
        read_lineage(payload)
    elif frame["kind"] == 3:
        record = read_text_record(payload, "role")
        check(set(record) <= {"role", "configured", "consent", "made-here", "promise", "durable", "copied-up-to"}, record)
        (role,), (configured,), (consent,) = record["role"], record["configured"], record["consent"]
        check(role == "master" or re.fullmatch(r"follow \d+ \S+", role), f"role {role}")
        check(re.fullmatch("[0-9a-f]{16}", configured) and consent in ("yes", "no"), record)
    elif frame["kind"] == 4:
        record = read_text_record(payload, "group")
        check(set(record) <= {"epoch", "since", "durable", "settled", "durable-before", "node", "joins", "left"}, record)
        check(re.fullmatch(r"\d+ behind \d+ before \d+ behind \d+", record["epoch"][0]), record)
        (since,), (settled,) = record["since"], record["settled"]
        offset = frame["offset"]
        check(int(since) <= offset and (settled == "yes" or int(since) == offset), f"{record} at {offset}")
        check(("durable-before" in record or "joins" in record or "left" in record) <= (settled == "no"), record)
    elif frame["kind"] == 5:
        check(re.fullmatch(b"[0-9a-f]{16}", payload), f"a digest marker's name {payload}")
    elif frame["kind"] == 6:
        check(payload == b"", "a durable mark's payload")


def read_log(directory):
    """The stream's bytes from the log's first offset on, the frames, and the headers of all segments; every checksum, chain,
    digest and repeated field is checked."""
    stream, frames, headers = bytearray(), [], []
    previous_end = None
    for path in sorted(glob.glob(os.path.join(directory, "*.log"))):
        with open(path, "rb") as file:
            data = file.read()
        head = read_segment_header(data, path)
        if not headers:
            base, digest = head["first"], DigestState(head["digest"])
            newest = {2: head["lineage"], 3: head["role"], 4: head["membership"]}
            db, last_time, inside = head["db"], head["time"], bool(head["flags"] & 2)
        else:
            check((head["chain"], head["end before"]) == (chain, previous_end), "the chain over segments")
        check(head["first"] == base + len(stream), "segments follow each other")
        check(head["digest"] == digest.bytes(), "the state of the digest in the header")
        check({2: head["lineage"], 3: head["role"], 4: head["membership"]} == newest, "the newest records in the header")
        check((head["db"], bool(head["flags"] & 2)) == (db, inside), "the header's database, whether it is inside a unit")
        read_lineage(head["lineage"])
        headers.append(head)
        chain, at = head["checksum"], 4096
        while True:
            frame = read_frame(data, at, head["incarnation"], chain)
            if frame is None and at % 4096:  # with log-tail-rewrite no, batches begin at blocks
                after = at + -at % 4096
                if not any(data[at:after]):
                    frame = read_frame(data, after, head["incarnation"], chain)
                    at = after if frame else at
            if frame is None:
                break
            check(frame["offset"] == base + len(stream) and frame["time"] >= last_time, "frames follow each other")
            if frame["kind"] == 1:
                check(inside == (frame["part"] in (2, 3)), "parts of a unit follow each other")
                check(inside or frame["db"] == db, "the database where a unit begins")
                stream += frame["payload"]
                digest.update(frame["payload"])
                inside = frame["part"] in (1, 2)
                db = frame["db_after"]
            else:
                check(frame["part"] == 0 and (not inside or frame["kind"] == 6), "a control frame inside a unit")
                check_control(frame)
                if frame["kind"] in newest:
                    newest[frame["kind"]] = frame["payload"]
            if base == 0:
                check(frame["digest"] == XXHASH.XXH64(bytes(stream), len(stream), 0), "the history digest")
            frames.append(frame)
            chain, last_time = frame["sum"], frame["time"]
            at += (80 + len(frame["payload"]) + 7) // 8 * 8
        previous_end = at
    return bytes(stream), frames, headers


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
    check(at % 8 == 0 and kind in FRAME_KINDS and part <= 3, "the frame's place, kind and part")
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
