#!/usr/bin/env python3
"""RDB files of redis-server 7.0 in every encoding it can be configured to write, loaded by an empty holdfast-server:
equal key by key. What is refused, and what a kill in the middle leaves.

usage: rdb_load_test.py [--seed N] [--keys N]
"""
import argparse
import os
import random
import shutil
import struct
import sys
import time

from holdfast_testing import Workspace, wait_for
from payload_test import CONFIGURATIONS, fill
from rdb_values import compare

DATABASES = (0, 3, 15)


def save(redis, client):
    client.call("SAVE")
    return os.path.join(redis.directory, "dump.rdb")


def files_of_redis(work, rng, keys):
    """A file for each configuration, loaded once by finding it and once by --import."""
    configurations = dict(CONFIGURATIONS)
    configurations["no checksum"] = ["--rdbchecksum", "no", "--maxmemory-policy", "allkeys-lfu", "--maxmemory", "1gb"]
    configurations["access times"] = ["--maxmemory-policy", "allkeys-lru", "--maxmemory", "1gb"]
    for name, options in configurations.items():
        label = name.replace(" ", "-")
        redis = work.redis(label, *options).start()
        with redis.client() as theirs:
            for db in DATABASES:
                theirs.call("SELECT", db)
                fill(theirs, rng, keys)
            theirs.call("SET", "over soon", "v", "PX", 1)
            path = save(redis, theirs)
            time.sleep(0.01)
            found = work.server(label + "-found")
            shutil.copy(path, found.directory)
            imported = work.server(label + "-imported", "--import", path)
            for server in (found, imported):
                server.start()
                with server.client() as ours:
                    compare(theirs, ours, DATABASES)
                    assert ours.info("replication")["master_replid2"] == "0" * 40
                    assert int(ours.info("replication")["master_repl_offset"]) > 0, "looks like an empty server"
                assert "Loaded %d keys" % sum(count_keys(theirs)) in server.log_text(), server.log_text()
        redis.stop()
        for server in (found, imported):
            server.stop()
    return found, path


def count_keys(client):
    for db in range(16):
        client.call("SELECT", db)
        yield client.call("DBSIZE")
    client.call("SELECT", 0)


def goes_on(work, found):
    """What was loaded is there after kill -9, also without the file, and a replica gets it."""
    os.rename(os.path.join(found.directory, "dump.rdb"), os.path.join(found.directory, "moved.rdb"))
    found.start()
    replica = work.server("replica", "--replicaof", "127.0.0.1", found.port).start()
    with found.client() as ours, replica.client() as copy:
        before = list(count_keys(ours))
        assert sum(before) > 0
        wait_for(lambda: copy.info("replication")["master_link_status"] == "up", what="the replica's link")
        ours.call("SET", "after", "v")
        assert ours.call("WAIT", 1, 20000) == 1
        compare(ours, copy, DATABASES)
    found.restart()
    with found.client() as ours:
        assert ours.call("GET", "after") == b"v"


def exit_of(server, code, *texts):
    """Starts a server that must refuse to run, with these words."""
    server.start(wait=False)
    assert server.process.wait(30) == code, server.log_text()
    for text in texts:
        assert text in server.log_text(), "%r is missing in:\n%s" % (text, server.log_text())
    assert not os.path.exists(os.path.join(server.directory, "CURRENT")) or code == 1


def refusals(work, found, path):
    found.stop()
    again = work.server(os.path.basename(found.directory), "--import", path)
    exit_of(again, 1, "already holds data, nothing was imported")
    missing = work.server("missing", "--import", path + ".no")
    exit_of(missing, 1, "there is no file")
    with open(path, "rb") as file:
        whole = file.read()
    cases = {
        "cut": (whole[:len(whole) // 2], 2, "byte ", "nothing was imported"),
        "flipped": (whole[:-1] + bytes([whole[-1] ^ 1]), 2, "the checksum does not fit"),
        "followed": (whole + b"*1\r\n$4\r\nPING\r\n", 2, "14 bytes follow the end of the RDB data"),
        "future": (b"REDIS0099" + whole[9:], 2, "RDB version 99 of Redis"),
        "nothing": (b"hello, this is no RDB", 1, "not an RDB file"),
        "function": (b"REDIS0010\xf5\x15#!lua name=mylib\ncode" + b"\xff" + bytes(8), 2, "the library 'mylib'",
                     "rdb-skip-unsupported"),
        "databases": (b"REDIS0010\xfe\x14\x00\x01k\x01v\xff" + bytes(8), 1, "'databases' is 16: set it to at least 21"),
    }
    for name, (data, code, *texts) in cases.items():
        server = work.server("refused-" + name)
        with open(os.path.join(server.directory, "dump.rdb"), "wb") as file:
            file.write(data)
        exit_of(server, code, "dump.rdb", *texts)
        # Nothing is left behind that a good file could stumble over.
        with open(os.path.join(server.directory, "dump.rdb"), "wb") as file:
            file.write(b"REDIS0010\x00\x01k\x01v\xff" + bytes(8))
        server.start()
        with server.client() as client:
            assert client.call("GET", "k") == b"v"
        server.stop()
    skipping = work.server("skipping", "--rdb-skip-unsupported", "yes")
    with open(os.path.join(skipping.directory, "dump.rdb"), "wb") as file:
        file.write(b"REDIS0010\xf5\x15#!lua name=mylib\ncode\x00\x01k\x01v\xff" + bytes(8))
    skipping.start()
    with skipping.client() as client:
        assert client.call("KEYS", "*") == [b"k"]
    assert "left out functions of the library 'mylib'" in skipping.log_text()
    skipping.stop()


def functions_of_redis(work):
    """A function library, as redis-server itself writes it, is refused by name."""
    redis = work.redis("functions").start()
    with redis.client() as theirs:
        theirs.call("FUNCTION", "LOAD", "#!lua name=lib7\nredis.register_function('f', function() return 1 end)")
        path = save(redis, theirs)
    redis.stop()
    exit_of(work.server("functions-refused", "--import", path), 2, "functions of the library 'lib7'")


def killed_while_loading(work):
    """Nothing or all: a server killed at any moment of the load starts again and then has everything."""
    count = 200000
    body = b"".join(b"\x00\x0b%011d\xc2%s" % (i, struct.pack("<i", i)) for i in range(count))
    killed = 0
    for delay in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5):
        server = work.server("killed-%d" % (delay * 1000))
        with open(os.path.join(server.directory, "dump.rdb"), "wb") as file:
            file.write(b"REDIS0010\xfe\x00" + body + b"\xff" + bytes(8))
        server.start(wait=False)
        time.sleep(delay)  # not waiting for anything: any moment will do
        if server.process.poll() is None:
            server.kill()
        killed += not os.path.exists(os.path.join(server.directory, "CURRENT"))
        server.start()
        with server.client() as client:
            assert client.call("DBSIZE") == count
            assert client.call("GET", b"%011d" % (count - 1)) == b"%d" % (count - 1)
        server.stop()
    assert killed > 0, "no kill came in the middle of a load"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=int(os.environ.get("HOLDFAST_SEED", "20261122")))
    parser.add_argument("--keys", type=int, default=40)
    options = parser.parse_args()
    print("seed %d" % options.seed)
    with Workspace() as work:
        found, path = files_of_redis(work, random.Random(options.seed), options.keys)
        goes_on(work, found)
        refusals(work, found, path)
        functions_of_redis(work)
        killed_while_loading(work)
    print("RDB files load")
    return 0


if __name__ == "__main__":
    sys.exit(main())
