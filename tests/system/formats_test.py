#!/usr/bin/env python3
"""A second reader of the formats, from their descriptions alone: docs/formats-snapshot.md and docs/formats-log.md.

A server is filled; its snapshot and log are read by formats_reader.py and compared with what the server answers. Every type,
kind of row, block and segment flag, kind and part of frame that the descriptions name is met, but for the order of a rewind
and diverged tails (tests/system/rewind_test.py).
"""

import glob
import os
import random
import re

import formats_reader
from formats_reader import DigestState, commands, read_lineage, read_log, read_snapshot, read_text_record
from holdfast_testing import Workspace, check, run_tests, seed_from_environment, wait_for


def fill(client, rng):
    for i in range(300):
        client.call("SET", b"string\x00%d" % i, rng.randbytes(rng.randrange(400)))
        client.call("HSET", f"hash{i % 5}", f"field{i}", rng.randbytes(10))
        client.call("RPUSH", f"list{i % 3}", i)
        client.call("LPUSH", f"list{i % 3}", -i)
        client.call("SADD", f"set{i % 3}", i)
        client.call("ZADD", f"zset{i % 3}", str(i - 150.5), f"member{i}")
        client.call("XADD", f"stream{i % 3}", f"{i + 1}-{i % 7}", "field", rng.randbytes(i), b"", b"x" * (i % 2 * 200))
    client.call("SET", "expiring", "v", "PXAT", 4_000_000_000_000)
    client.call("SETRANGE", "sparse", 250_000, "end")
    client.call("RPUSH", "long", rng.randbytes(3_000_000), "short")
    client.call("HSET", b"k" * 700, b"m" * 700, "row keys that the store folds")
    fill_groups(client)
    client.call("SELECT", 3)
    client.call("SET", "elsewhere", "3")
    client.call("SELECT", 0)


def fill_groups(client):
    client.call("XGROUP", "CREATE", "stream0", "g" * 600, "0")
    for name, start in (("first", "0"), ("second", "$"), ("none", "50-0")):
        client.call("XGROUP", "CREATE", "stream1", name, start)
    for consumer, count in (("a", 5), ("b", 40), ("a", 3)):
        client.call("XREADGROUP", "GROUP", "first", consumer, "COUNT", count, "STREAMS", "stream1", ">")
    client.call("XREADGROUP", "GROUP", "g" * 600, "c" * 600, "COUNT", 9, "STREAMS", "stream0", ">")
    client.call("XACK", "stream1", "first", "2-1")
    client.call("XDEL", "stream1", "5-4", "299-4")
    client.call("XGROUP", "CREATECONSUMER", "stream1", "second", "idle")
    client.call("XADD", "empty", "7-7", "a", "b")
    client.call("XDEL", "empty", "7-7")


def pairs(flat):
    return {name.decode(): value for name, value in zip(flat[::2], flat[1::2])}


def check_stream(client, key, value):
    """Every field against XINFO STREAM FULL."""
    told = pairs(client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0))
    for name in ("last-generated-id", "recorded-first-entry-id", "max-deleted-entry-id"):
        check(told[name].decode() == value[name], f"{key}: {name}")
    check(told["entries-added"] == value["entries-added"] and told["entries"] == value["entries"], f"{key}: entries")
    groups = {group["name"]: group for group in map(pairs, told["groups"])}
    check(value["number of groups"] == len(value["groups"]) == len(groups), f"{key}: groups")
    check(all(number < value["next group"] for number in value["groups"]), f"{key}: numbers of groups")
    for group in value["groups"].values():
        theirs = groups[group["name"]]
        check(theirs["last-delivered-id"].decode() == group["last"], f"{key}: last id of a group")
        check((-1 if theirs["entries-read"] is None else theirs["entries-read"]) == group["read"], f"{key}: entries read")
        check(theirs["pel-count"] == group["count"] == len(group["pel"]), f"{key}: what is pending")
        check({name.decode(): (who, at, times) for name, who, at, times in theirs["pending"]} == group["pel"], f"{key}: pending")
        consumers = {consumer["name"]: consumer for consumer in map(pairs, theirs["consumers"])}
        check(len(consumers) == group["consumer count"] == len(group["consumers"]), f"{key}: consumers")
        check(all(number < group["following"] for number in group["consumers"]), f"{key}: numbers of consumers")
        for consumer in group["consumers"].values():
            other = consumers[consumer["name"]]
            check(consumer["seen"] == other["seen-time"], f"{key}: when a consumer was seen")
            check(consumer["count"] == other["pel-count"] == len(consumer["owned"]), f"{key}: what a consumer has")
            check(consumer["owned"] == [entry[0].decode() for entry in other["pending"]], f"{key}: which entries it has")


def answer(client, kind, key):
    if kind == "string":
        return bytearray(client.call("GET", key))
    if kind == "list":
        return client.call("LRANGE", key, 0, -1)
    if kind == "set":
        return {member: b"" for member in client.call("SMEMBERS", key)}
    flat = client.call("HGETALL", key) if kind == "hash" else client.call("ZRANGE", key, 0, -1, "WITHSCORES")
    named = zip(flat[::2], flat[1::2])
    return dict(named) if kind == "hash" else {member: float(score) for member, score in named}


def check_snapshot(server, client):
    client.call("SAVE")
    offset = int(client.info("replication")["master_repl_offset"])
    header, content = read_snapshot(glob.glob(os.path.join(server.directory, "snapshots", "*.hfs"))[0])
    check(header["offset"] == offset, f"the snapshot's offset {header['offset']}, the server's {offset}")
    check(header["id"].decode() == client.info("replication")["master_replid"], "the history's id")
    check(read_lineage(header["lineage"])[-1][0] == header["id"].decode(), "the lineage ends with the history")
    check(len(content) == header["keys"] == client.call("DBSIZE") + 1, "the number of keys")
    sizes = []
    for (db, key), (kind, expiry, value) in content.items():
        client.call("SELECT", db)
        check(client.call("TYPE", key) == kind, f"{key}: type")
        check(client.call("PEXPIRETIME", key) == (-1 if expiry is None else expiry), f"{key}: expiry")
        if kind == "stream":
            check_stream(client, key, value)
            sizes.append(len(value["entries"]))
            continue
        check(value == answer(client, kind, key), f"{key}: value")
        if kind != "string":
            sizes.append(len(value))
    client.call("SELECT", 0)
    check(sizes == formats_reader.counts, "the formats_reader.counts in the keys' bodies")
    missing = formats_reader.ROW_KINDS - formats_reader.met_kinds
    check(not missing, f"kinds of rows that were not met: {missing}")
    check(formats_reader.met_flags == {"compressed", "raw", "inside a key", "at a key"}, f"blocks met: {formats_reader.met_flags}")
    return header


def wal_of(server):
    return glob.glob(os.path.join(server.directory, "gen-*", "wal"))[0]


def test_a_snapshot_and_the_log_from_its_beginning():
    rng = random.Random(seed_from_environment())
    with Workspace() as workspace:
        server = workspace.server("data", "--log-segment-size", "1mb").start()
        with server.client() as client:
            fill(client, rng)
            header = check_snapshot(server, client)
            client.call("SET", "last", "one")
        server.terminate()
        stream, frames, headers = read_log(wal_of(server))
        check({frame["part"] for frame in frames} == {0, 1, 2, 3}, "not all parts of units were met")
        check(any(head["flags"] & 2 for head in headers), "no segment begins inside a unit")
        digest = DigestState()
        digest.update(stream[:header["offset"]])
        check(header["digest"] == digest.bytes(), "the state of the digest in the snapshot")
        words = list(commands(stream))
        check([word.upper() if i == 0 else word for i, word in enumerate(words[-1])] == [b"SET", b"last", b"one"],
              f"the log's last effect: {words[-1]}")
        check(sum(word[0].upper() == b"HSET" for word in words) == 301, "effects of HSET")
    formats_reader.SCORES = False
    sample = os.path.join(os.environ.get("HOLDFAST_SOURCE", "."), "tests/data/snapshot-version-1.hfs")
    header, content = read_snapshot(sample)
    check(header["offset"] == 123456 and len(content) == 15, "the stored sample")


def test_every_kind_of_frame():
    options = ("--log-segment-size", "1mb", "--repl-ping-replica-period", 1, "--enable-debug-command", "yes")
    with Workspace() as workspace:
        master = workspace.server("master", *options).start()
        with master.client(timeout=240) as client:
            client.call("REPLICAOF", "127.0.0.1", 1)  # nobody is there: a role, and after it a new history
            client.call("REPLICAOF", "NO", "ONE")
            client.call("SELECT", 5)
            client.call("SET", "key", "value")
            member = workspace.server("member", *options, "--replicaof", "127.0.0.1", master.port).start()
            wait_for(lambda: "state=online" in str(client.info("replication").get("slave0")), 60, "the member is online")
            client.call("CONFIG", "SET", "min-replicas-durable", 1)
            client.call("HOLDFAST", "MEMBERS", "SET", f"127.0.0.1:{member.port}")
            wait_for(lambda: client.info("replication")["holdfast_group_settled"] == "1", 60, "the group is settled")
            client.call("HOLDFAST", "COMPARE", "TIMEOUT", 60000)
            client.call("SET", "after", "all")
            ids = client.info("replication")["master_replid"]
        member.terminate()
        master.terminate()
        _, frames, _ = read_log(wal_of(master))
        missing = set(formats_reader.FRAME_KINDS) - {frame["kind"] for frame in frames}
        check(not missing, f"kinds of frames that were not met: {missing}")
        lineages = [read_lineage(frame["payload"]) for frame in frames if frame["kind"] == 2]
        check(lineages[-1][-1][0] == ids, "the newest history")
        groups = [read_text_record(frame["payload"], "group") for frame in frames if frame["kind"] == 4]
        check(groups[-1]["settled"] == ["yes"] and groups[-1]["durable"] == ["1"] and len(groups[-1]["node"]) == 2, groups[-1])
        roles = [read_text_record(frame["payload"], "role")["role"][0] for frame in frames if frame["kind"] == 3]
        check("follow 1 127.0.0.1" in roles and roles[-1] == "master", f"roles: {roles}")
        check_copy(member, frames)


def check_copy(member, masters):
    """The member's log, which begins where it was copied: the history's fields are those of the master's log."""
    _, frames, _ = read_log(wal_of(member))
    fields = ("kind", "offset", "time", "digest", "db", "db_after", "part", "payload")
    wanted = {tuple(frame[field] for field in fields) for frame in masters if frame["kind"] == 1}
    data = [tuple(frame[field] for field in fields) for frame in frames if frame["kind"] == 1]
    check(data and set(data) <= wanted, "the same frames on both")


def test_a_trimmed_log_and_its_archive():
    with Workspace() as workspace:
        archive = os.path.join(workspace.path, "archive")
        os.mkdir(archive)
        server = workspace.server("data", "--log-segment-size", "256kb", "--log-tail-rewrite", "no", "--repl-backlog-size", "256kb",
                                  "--log-archive-dir", archive, "--enable-debug-command", "yes").start()

        def write(count):
            with server.client() as client:
                for i in range(count):
                    client.call("SET", f"key{i}", os.urandom(20_000))

        def trimmed():
            write(40)
            with server.client() as client:
                client.call("DEBUG", "CHECKPOINT")
            return not glob.glob(os.path.join(wal_of(server), f"{1:020}-*.log"))
        wait_for(trimmed, 60, "the log's first segment being gone")
        server.terminate()
        server.start()  # it does not know what was in the file that is ready to be the next segment
        write(20)
        server.terminate()
        stream, _, headers = read_log(wal_of(server))
        check(headers[0]["first"] > 0 and any(head["flags"] & 1 for head in headers), "the log was trimmed, files recycled")
        (directory,) = os.listdir(archive)
        check(re.fullmatch(r"\d{8}T\d{6}\.\d{3}Z-[0-9a-f]{16}", directory), f"the archive's directory: {directory}")
        with open(os.path.join(os.path.dirname(wal_of(server)), "log-archive"), encoding="utf-8") as file:
            check(file.read() == os.path.join(archive, directory) + "\n", "the generation names its archive")
        old, _, archived = read_log(os.path.join(archive, directory))
        check(archived[0]["first"] == 0 and len(old) > headers[0]["first"], "the archive goes on into the log")
        end = min(len(old), headers[0]["first"] + len(stream))
        check(old[headers[0]["first"]:end] == stream[:end - headers[0]["first"]], "the same stream in both")


if __name__ == "__main__":
    run_tests(globals())
