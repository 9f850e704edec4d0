#!/usr/bin/env python3
"""AOFs that redis-server reads: the tool finds in them what redis-server finds, in the same databases."""

import json
import os
import subprocess
import sys

from holdfast_testing import TOOL, Client, Workspace, check, run_tests, wait_for

SELECT_3 = Client.encode("SELECT", 3)


def set_key(key):
    return Client.encode("SET", key, "value")


def in_redis(redis):
    with redis.client() as client:
        found = {}
        for db in range(16):
            client.call("SELECT", db)
            for key in client.call("KEYS", "*"):
                found.setdefault(db, set()).add(key.decode())
        return found


def in_tool(path):
    done = subprocess.run([TOOL, "keys", "--json", path], capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0, done.stderr)
    found = {}
    for line in done.stdout.splitlines():
        row = json.loads(line)
        if "key" in row:
            found.setdefault(row["db"], set()).add(row["key"])
    return found


def test_each_part_begins_in_database_0():
    with Workspace() as workspace:
        redis = workspace.redis("redis", "--appendonly", "yes")
        directory = os.path.join(redis.directory, "appendonlydir")
        os.mkdir(directory)
        parts = (("appendonly.aof.1.base.aof", "b", set_key("no select") + SELECT_3 + set_key("in 3")),
                 ("appendonly.aof.1.incr.aof", "i", set_key("no select again") + SELECT_3 + set_key("in 3 again")),
                 ("appendonly.aof.2.incr.aof", "i", Client.encode("MULTI") + set_key("in a transaction") + Client.encode("EXEC")))
        with open(os.path.join(directory, "appendonly.aof.manifest"), "w", encoding="ascii") as manifest:
            for name, kind, content in parts:
                manifest.write(f"file {name} seq {name.split('.')[2]} type {kind}\n")
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(content)
        ours = in_tool(directory)
        redis.start()
        check(ours == in_redis(redis), f"redis-server has {in_redis(redis)}, the tool {ours}")
        check(ours == {0: {"no select", "no select again", "in a transaction"}, 3: {"in 3", "in 3 again"}}, ours)


def inspected(path, status=0):
    done = subprocess.run([TOOL, "inspect", "--json", path], capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == status, f"{done.returncode}: {done.stdout} {done.stderr}")
    return json.loads(done.stdout)


def test_inspect_tells_the_parts():
    with Workspace() as workspace:
        redis = workspace.redis("redis", "--appendonly", "yes").start()
        with redis.client() as client:
            client.call("SET", "k", "value")
            client.call("BGREWRITEAOF")
            wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == "0", 30, "rewritten")
            client.call("SET", "l", "value")
        redis.terminate()
        directory = os.path.join(redis.directory, "appendonlydir")
        found = inspected(directory)
        check([part["begins_with"] for part in found["parts"]] == ["RDB", "commands"], found)
        sizes = [os.path.getsize(part["path"]) for part in found["parts"]]
        check([part["file_bytes"] for part in found["parts"]] == sizes and found["file_bytes"] == sum(sizes), found)
        check(found["rdb"]["fields"]["redis-ver"].startswith("7.") and found["rdb"]["first_key"]["key"] == "k", found)
        manifest = os.path.join(directory, "appendonly.aof.manifest")
        check(inspected(manifest)["parts"] == found["parts"], "by its manifest")
        alone = inspected(found["parts"][1]["path"])
        check(alone["parts"] == found["parts"][1:] and "rdb" not in alone, alone)
        os.remove(found["parts"][1]["path"])
        found = inspected(directory, 1)
        check(len(found["parts"]) == 1 and "incr.aof" in found["damage"][0], found)


def make_streams(client):
    for number in range(300):
        client.call("XADD", "long", f"{number + 1}-{number % 3}", "field", f"value {number}", b"odd\x00\r\n", "")
    client.call("XDEL", "long", "300-2", "7-0")
    client.call("XGROUP", "CREATE", "long", "readers", "0")
    client.call("XGROUP", "CREATE", "long", "later", "5-1")
    client.call("XREADGROUP", "GROUP", "readers", "one", "COUNT", 20, "STREAMS", "long", ">")
    client.call("XREADGROUP", "GROUP", "readers", "two", "COUNT", 5, "STREAMS", "long", ">")
    client.call("XREADGROUP", "GROUP", "readers", "two", "COUNT", 2, "STREAMS", "long", "0")  # delivered twice
    client.call("XACK", "long", "readers", "2-1", "3-2")
    client.call("XGROUP", "CREATECONSUMER", "long", "later", "idle")
    client.call("XADD", "empty", "5-5", "a", "b")
    client.call("XDEL", "empty", "5-5")
    client.call("XGROUP", "CREATE", "new", "group", "$", "MKSTREAM")
    client.call("XADD", "expiring", "*", "a", "b")
    client.call("PEXPIREAT", "expiring", 4102444800000)


def all_of_streams(client):
    """What XINFO tells, but for the tree's nodes and when consumers were last seen."""
    def plain(info):
        if isinstance(info, list):
            names = info[::2] if len(info) % 2 == 0 and all(isinstance(each, bytes) for each in info[::2]) else []
            if b"radix-tree-keys" in names or b"seen-time" in names:
                left_out = (b"radix-tree-keys", b"radix-tree-nodes", b"seen-time", b"active-time")
                return [(name, plain(value)) for name, value in zip(names, info[1::2]) if name not in left_out]
            return [plain(each) for each in info]
        return info
    return {key: (plain(client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)), client.call("PEXPIRETIME", key))
            for key in ("long", "empty", "new", "expiring")}


def test_streams_as_commands():
    with Workspace() as workspace:
        redis = workspace.redis("redis").start()
        with redis.client() as client:
            make_streams(client)
            expected = all_of_streams(client)
            client.call("SAVE")
        rdb, resp = os.path.join(redis.directory, "dump.rdb"), os.path.join(workspace.path, "streams.resp")
        for arguments in (["convert", rdb, resp], ["diff", rdb, resp]):
            done = subprocess.run([TOOL, *arguments], capture_output=True, text=True, timeout=60, check=False)
            check(done.returncode == 0, f"{arguments}: {done.stdout} {done.stderr}")
        for other in (workspace.redis("other"), workspace.server("ours")):
            other.start()
            with open(resp, "rb") as file:
                done = subprocess.run(["redis-cli", "-p", str(other.port), "--pipe"], stdin=file, capture_output=True, check=False)
            check(b"errors: 0" in done.stdout, done.stdout.decode())
            with other.client() as client:
                found = all_of_streams(client)
            for key, value in expected.items():
                check(found[key] == value, f"{key}: {found[key]}\nnot {value}")


def test_behind_an_rdb_comes_database_0():
    with Workspace() as workspace:
        redis = workspace.redis("redis", "--appendonly", "no").start()
        with redis.client() as client:
            client.call("SELECT", 3)
            client.call("SET", "in 3", "value")
            client.call("SAVE")
        redis.terminate()
        with open(os.path.join(redis.directory, "dump.rdb"), "rb") as file:
            content = file.read() + set_key("behind it")
        path = os.path.join(redis.directory, "appendonly.aof")
        with open(path, "wb") as file:
            file.write(content)
        ours = in_tool(path)
        again = workspace.redis("again", "--appendonly", "yes")
        os.rename(path, os.path.join(again.directory, "appendonly.aof"))  # of before Redis 7: it is taken as the base
        again.start()
        check(ours == in_redis(again), f"redis-server has {in_redis(again)}, the tool {ours}")
        check(ours == {0: {"behind it"}, 3: {"in 3"}}, ours)


def main():
    return run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
