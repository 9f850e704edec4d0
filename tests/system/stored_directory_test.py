#!/usr/bin/env python3
"""A data directory written by an earlier build opens, whole: tests/data/directory-version-1.tar.gz.

A change of a format either keeps reading it, or raises the version and adds another sample. With --write the sample is
made anew (only while no release has the format). The sample is a copied directory, too: started as a master it goes on
under a new replication id, and the old one stays valid for what both share.
"""

import os
import sys
import tarfile

from holdfast_testing import Workspace, check

SAMPLE = os.path.join(os.environ.get("HOLDFAST_SOURCE", "."), "tests/data/directory-version-1.tar.gz")
SMALL = ("--log-segment-size", "1mb", "--enable-debug-command", "yes")
LONG_KEY = b"k" * 700
BIG = b"".join(b"%08d" % i for i in range(20_000))  # above the size at which strings are stored in chunks


def fill(client, stage):
    client.call("SET", f"string:{stage}", f"value {stage}")
    client.call("SET", f"expiring:{stage}", "x", "PXAT", 4102444800000)
    client.call("SET", LONG_KEY + b"%d" % stage, "long")
    client.call("SET", f"big:{stage}", BIG)
    client.call("RPUSH", f"list:{stage}", "a", "b", "c")
    client.call("HSET", f"hash:{stage}", "field", "value", "other", "2")
    client.call("SADD", f"set:{stage}", "one", "two")
    client.call("SELECT", 9)
    client.call("INCR", "counter")
    client.call("SELECT", 0)


def verify(client):
    for stage in (1, 2):
        check(client.call("GET", f"string:{stage}") == f"value {stage}".encode(), "string")
        check(client.call("PEXPIRETIME", f"expiring:{stage}") == 4102444800000, "expiry")
        check(client.call("GET", LONG_KEY + b"%d" % stage) == b"long", "long key")
        check(client.call("GET", f"big:{stage}") == BIG, "string in chunks")
        check(client.call("LRANGE", f"list:{stage}", 0, -1) == [b"a", b"b", b"c"], "list")
        check(client.call("HMGET", f"hash:{stage}", "field", "other") == [b"value", b"2"], "hash")
        check(sorted(client.call("SMEMBERS", f"set:{stage}")) == [b"one", b"two"], "set")
    check(client.call("DBSIZE") == 14, "number of keys")
    client.call("SELECT", 9)
    check(client.call("GET", "counter") == b"2", "database 9")
    client.call("SELECT", 0)


def write_sample(workspace):
    server = workspace.server("node", *SMALL).start()
    with server.client() as client:
        fill(client, 1)
        client.call("DEBUG", "CHECKPOINT")  # the first half in LMDB, the second in the log
        fill(client, 2)
        verify(client)
    server.kill()
    with tarfile.open(SAMPLE, "w:gz") as archive:
        for name in ("CURRENT", "LOCK", "gen-1/lmdb", "gen-1/run", "gen-1/wal"):
            path = os.path.join(server.directory, name)
            if os.path.exists(path):
                archive.add(path, arcname=name, filter=lambda info: None if "unfinished" in info.name or
                            info.name.endswith(".tmp") else info)


def main():
    with Workspace() as workspace:
        if "--write" in sys.argv:
            write_sample(workspace)
            return 0
        server = workspace.server("sample", *SMALL)
        with tarfile.open(SAMPLE) as archive:
            archive.extractall(server.directory)
        server.start()
        with server.client() as client:
            verify(client)
            info = client.info("replication")
            check(info["master_replid2"] != "0" * 40, "a copied directory goes on under a new id")
            check(int(info["second_repl_offset"]) == int(info["master_repl_offset"]) + 1, "the old id stays valid")
            replid = info["master_replid"]
            client.call("SET", "new", "1")
        server.restart()
        with server.client() as client:
            check(client.info("replication")["master_replid"] == replid, "a restart in place keeps the id")
            check(client.call("GET", "new") == b"1", "the write after it")
        print("the stored directory of format version 1 opens")
    return 0


if __name__ == "__main__":
    sys.exit(main())
