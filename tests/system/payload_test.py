#!/usr/bin/env python3
"""DUMP and RESTORE: payloads go between holdfast-server and redis-server both ways, for every type and in every encoding
that redis-server can be configured to write; what was restored survives kill -9 and reaches replicas.

usage: payload_test.py [--seed N] [--keys N]
"""
import argparse
import os
import random
import sys

from holdfast_testing import Workspace, wait_for
from rdb_values import commands, compare, contents, stream

# How a redis-server packs what it holds, and so what its payloads look like.
CONFIGURATIONS = {
    "defaults": [],
    "nothing packed": ["--hash-max-listpack-entries", 0, "--zset-max-listpack-entries", 0, "--set-max-intset-entries", 0,
                       "--list-max-listpack-size", 1],
    "all packed": ["--hash-max-listpack-entries", 100000, "--hash-max-listpack-value", 100000,
                   "--zset-max-listpack-entries", 100000, "--zset-max-listpack-value", 100000,
                   "--set-max-intset-entries", 100000, "--list-max-listpack-size", -5, "--rdbcompression", "no"],
    "compressed lists": ["--list-max-listpack-size", 7, "--list-compress-depth", 1],
}


def fill(client, rng, keys):
    for reply in client.pipeline(commands(rng, keys)):
        assert not isinstance(reply, Exception), reply


def move_all(source, target, *options):
    for key in source.call("KEYS", "*"):
        ttl = source.call("PEXPIRETIME", key)
        payload = source.call("DUMP", key)
        reply = target.ask("RESTORE", key, max(ttl, 0), payload, "ABSTTL", *options)
        assert reply == "OK", (key, source.call("TYPE", key), source.call("OBJECT", "ENCODING", key), payload[:200], reply)


def exchange(work, rng, keys):
    holdfast = work.server("holdfast", "--enable-debug-command", "yes").start()
    plain = work.redis("plain").start()
    with holdfast.client() as ours, plain.client() as target:
        for name, options in CONFIGURATIONS.items():
            redis = work.redis(name.replace(" ", "-"), *options).start()
            with redis.client() as theirs:
                for client in (ours, target):
                    client.call("FLUSHALL")
                fill(theirs, rng, keys)
                move_all(theirs, ours)
                compare(theirs, ours)
                # What was restored is what the same commands would have made: a default redis-server's encodings.
                for version in (10, 9):
                    ours.call("CONFIG", "SET", "rdb-version", version)
                    target.call("FLUSHALL")
                    move_all(ours, target)
                    assert compare(target, ours, encodings=True, counters_kept=version > 9) > 0
            redis.stop()
        digest = ours.call("DEBUG", "DIGEST")
    replica = work.server("replica", "--replicaof", "127.0.0.1", holdfast.port, "--enable-debug-command", "yes").start()
    holdfast.restart()
    with holdfast.client() as ours, replica.client() as copy:
        assert ours.call("DEBUG", "DIGEST") == digest, "the restored data changed over a restart"
        wait_for(lambda: copy.info("replication")["master_link_status"] == "up", what="the replica's link")
        ours.call("CONFIG", "SET", "rdb-version", 10)
        ours.call("FLUSHALL")
        ours.pipeline(commands(rng, keys))
        for key in ours.call("KEYS", "*"):
            ours.call("RESTORE", b"copy of " + key, 0, ours.call("DUMP", key))
        assert ours.call("WAIT", 1, 20000) == 1
        assert copy.call("DEBUG", "DIGEST") == ours.call("DEBUG", "DIGEST"), "the replica holds something else"


def streams(work, rng):
    """From a redis-server through holdfast-server, and a restart of it, to another redis-server, as payload and as file."""
    holdfast = work.server("streams").start()
    one = work.redis("streams-one", "--stream-node-max-entries", 20).start()
    other = work.redis("streams-other").start()
    with one.client() as theirs, other.client() as target:
        for i in range(30):
            made = stream(rng, "stream:%d" % i, rng.choice([1, 2, 20, 100, 101, 250]), rng.choice([20, 5000]))
            for reply in theirs.pipeline(made):
                assert not isinstance(reply, Exception), reply
        theirs.call("SAVE")
        with holdfast.client() as ours:
            move_all(theirs, ours)
        holdfast.restart()
        loaded = work.server("streams-loaded", "--import", os.path.join(one.directory, "dump.rdb")).start()
        for server in (holdfast, loaded):
            target.call("FLUSHALL")
            with server.client() as ours:
                move_all(ours, target)
            for key in theirs.call("KEYS", "*"):
                assert contents(theirs, key) == contents(target, key), key
            assert theirs.call("DBSIZE") == target.call("DBSIZE")
            # An older form, which has no counters: the entries and who has what pending must be there.
            with server.client() as ours:
                ours.call("CONFIG", "SET", "rdb-version", 9)
                move_all(ours, target, "REPLACE")
            for key in theirs.call("KEYS", "*"):
                before, after = contents(theirs, key)[2], contents(target, key)[2]
                assert before[0] == after[0], key
                assert [(g[0], g[1], g[4:]) for g in before[2]] == [(g[0], g[1], g[4:]) for g in after[2]], key


def refusals(work):
    """Word for word as redis-server, in its order."""
    holdfast = work.server("refusing").start()
    redis = work.redis("redis-refusing").start()
    with holdfast.client() as ours, redis.client() as theirs:
        theirs.call("SET", "k", "value")
        payload = theirs.call("DUMP", "k")
        theirs.call("DEL", "k")
        for client in (ours, theirs):
            client.call("SET", "busy", "1")
        truncated = payload[:-11] + payload[-10:]
        calls = [("free", 0, payload), ("busy", 0, payload), ("busy", "abc", payload), ("free2", "abc", payload),
                 ("free2", -1, payload), ("free2", -1, b"junk"), ("free2", 0, b"junk"), ("free2", 0, b""),
                 ("free2", 0, payload[:-1] + b"\x00"), ("free2", 0, truncated), ("busy", 0, b"junk", "REPLACE"),
                 ("free2", 0, payload, "FREQ"), ("free2", 0, payload, "FREQ", "256"), ("free2", 0, payload, "FREQ", "x"),
                 ("free2", 0, payload, "IDLETIME", "-1"), ("free2", 0, payload, "IDLETIME", "5", "FREQ", "5"),
                 ("free2", 0, payload, "nonsense"), ("free3", 5000, payload, "IDLETIME", "5", "replace"),
                 ("busy", 1, payload, "ABSTTL", "REPLACE"), ("free4", 0, payload, "FREQ", "255", "absttl")]
        for call in calls:
            assert ours.ask("RESTORE", *call) == theirs.ask("RESTORE", *call), (call, ours.ask("RESTORE", *call))
        assert sorted(ours.call("KEYS", "*")) == sorted(theirs.call("KEYS", "*")) == [b"free", b"free3", b"free4"]
        assert 0 < ours.call("PTTL", "free3") <= 5000
        assert ours.ask("DUMP", "missing") is None
        assert str(ours.ask("RESTORE", "free5", 0, payload[:-10] + b"\x10\x00" + b"\x00" * 8)) == str(
            theirs.ask("RESTORE", "free5", 0, payload[:-10] + b"\x10\x00" + b"\x00" * 8)), "a version of the future"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("HOLDFAST_SEED", "20261122")))
    parser.add_argument("--keys", type=int, default=80)
    options = parser.parse_args()
    print("seed %d" % options.seed)
    with Workspace() as work:
        refusals(work)
        streams(work, random.Random(options.seed))
        exchange(work, random.Random(options.seed), options.keys)
    print("payloads go both ways")
    return 0


if __name__ == "__main__":
    sys.exit(main())
