#!/usr/bin/env python3
"""The offline tool and the server together.

  point in time  a random workload with FLUSHALL in the middle; restored from backup and from the data directory at random
                 offsets and times, and before the FLUSHALL: equals the model each time
  beside         verify, log tail and get beside a server that is written to: no false alarm, what was acknowledged is there
  backup         grows by what is new, survives a check, and damage is found
  round trip     server -> snapshot -> RDB -> redis-server -> its RDB -> data directory -> server: the same digest
  diff           says what a workload changed
  archive        a restore reaches back to what the log no longer holds
  repair         check finds a damaged store, repair builds it anew, the server starts from it; a damaged CURRENT is
                 named again; compact gives space back

HOLDFAST_TOOL_POINTS: how many offsets and times (default 8; docs/tool.md has the full size).
HOLDFAST_TOOL_KEYS: how many more keys of all types go round (default 0; docs/tool.md has the full size).
HOLDFAST_TOOL_ONLY: one part, of the names above with _ (default: all).
"""

import json
import os
import random
import shutil
import subprocess
import threading
import time

from holdfast_testing import TOOL, Workspace, check, seed_from_environment, wait_for

POINTS = int(os.environ.get("HOLDFAST_TOOL_POINTS", "8"))
KEYS = int(os.environ.get("HOLDFAST_TOOL_KEYS", "0"))
ONLY = os.environ.get("HOLDFAST_TOOL_ONLY", "")


def run(*arguments, status=0, stdin=None):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, check=False, input=stdin, timeout=240)
    check(done.returncode == status,
          f"holdfast {' '.join(map(str, arguments))}: status {done.returncode}, not {status}\n"
          f"{done.stdout.decode(errors='replace')[-3000:]}{done.stderr.decode(errors='replace')[-3000:]}")
    return done.stdout.decode("utf-8", "surrogateescape")


def lines(*arguments, status=0):
    return [json.loads(line) for line in run(*arguments, "--json", status=status).split("\n") if line]


def content(path):
    """All keys of an input as {(db, key): (type, value)}; sets and hashes as dicts, so that order does not count."""
    keys = {}
    for line in lines("scan", path):
        value = line["value"]
        if line["type"] == "set":
            value = {json.dumps(member): None for member in value}
        if line["type"] in ("hash", "zset"):
            value = {json.dumps(field): value for field, value in value}
        keys[line["db"], json.dumps(line["key"])] = (line["type"], value)
    return keys


class Model:
    """What a random workload makes. Each step is one command that changes something: one unit of the log."""

    def __init__(self, rng):
        self.rng = rng
        self.keys = {}

    def step(self, flush=False):
        rng = self.rng
        if flush:
            self.keys = {}
            return ["FLUSHALL"]
        key = f"{rng.choice(['user', 'item', 'queue'])}:{rng.randrange(40)}"
        name = (0, json.dumps(key))
        kind, value = self.keys.get(name, (None, None))
        if kind and rng.random() < 0.1:
            del self.keys[name]
            return ["DEL", key]
        kind = kind or rng.choice(["string", "hash", "list", "set", "zset"])
        number = str(rng.randrange(1 << 40))
        if kind == "string":
            self.keys[name] = (kind, number)
            return ["SET", key, number]
        if kind == "list":
            self.keys[name] = (kind, (value or []) + [number])
            return ["RPUSH", key, number]
        value = dict(value or {})
        field = "f" + number
        self.keys[name] = (kind, value)
        if kind == "hash":
            value[json.dumps(field)] = number
            return ["HSET", key, field, number]
        if kind == "set":
            value[json.dumps(field)] = None
            return ["SADD", key, field]
        value[json.dumps(field)] = int(number[:6])
        return ["ZADD", key, number[:6], field]


def point_in_time(workspace, rng):
    server = workspace.server("pit", "--log-segment-size", "1mb", "--memtable-size", "1mb").start()
    model = Model(rng)
    states = [{}]
    backup = os.path.join(workspace.path, "backup")
    with server.client() as client:
        for i in range(600):
            client.call(*model.step(flush=i == 350))
            states.append(dict(model.keys))
            if i == 200:
                client.call("SAVE")
            if i in (250, 500):
                run("backup", server.directory, backup)
    run("backup", server.directory, backup)
    run("backup", "verify", backup)
    effects = lines("log", "print", os.path.join(server.directory))
    effects = [effect for effect in effects if "command" in effect]
    check(len(effects) == 600, f"{len(effects)} effects in the log, 600 commands were run")
    ends = [0] + [effect["unit_end"] for effect in effects]
    times = [0] + [effect["time_ms"] for effect in effects]
    server.terminate()

    def restored(name, expected, *options, source=backup):
        target = os.path.join(workspace.path, name)
        answer = lines("restore", source, target, *options)[0]
        check(content(target) == expected, f"restore {options} of {source} is not the model's state")
        return target, answer

    # A backup reaches back to its first snapshot, the directory to the history's beginning.
    for number in range(POINTS):
        i = rng.randrange(251, 601)
        restored(f"o{number}", states[i], "--offset", ends[i] + rng.choice([0, 1, 5]) if i < 600 else ends[i])
        i = rng.randrange(1, 601)
        restored(f"d{number}", states[i], "--offset", ends[i], source=server.directory)
        i = rng.randrange(251, 601)
        last = max(j for j in range(601) if times[j] <= times[i])
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(times[i] // 1000)) + ".%03dZ" % (times[i] % 1000)
        restored(f"t{number}", states[last], "--at", stamp)
    target, answer = restored("before", states[350], "--before-command", "flushall")
    check(answer["skipped_units"] == 250, f"skipped: {answer}")
    check("FLUSHALL" in answer["first_skipped"], f"skipped: {answer}")
    run("restore", backup, target, status=2)  # not empty
    run("verify", target)
    again = workspace.server("before").start()
    with again.client() as client:
        check(client.call("DBSIZE") == len(states[350]), "the restored directory has other keys in the server")
        client.call("SET", "new", "value")
    again.terminate()
    run("verify", target)
    return server, ends, states


def beside(workspace):
    server = workspace.server("live", "--log-segment-size", "1mb", "--memtable-size", "1mb", "--repl-backlog-size",
                              "2mb").start()
    stop = threading.Event()
    written = []

    def write():
        with server.client() as client:
            i = 0
            while not stop.wait(0.01):  # a segment a second at most: a slow build has to keep up with what is trimmed
                client.pipeline([("SET", f"key{(i + j) % 5000}", "x" * 200) for j in range(50)] +
                                [("HSET", f"hash{i % 50}", f"f{i % 300}", i)])
                i += 50
                written.append(i)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for(lambda: written and written[-1] > 2000, what="writes")
        with server.client() as client:
            for i in range(6):
                run("verify", server.directory)
                client.call("SET", "acknowledged", f"value{i}")
                got = lines("get", server.directory, "acknowledged")[0]
                check(got["value"] == f"value{i}", f"an acknowledged value is not seen: {got}")
                tail = lines("log", "tail", server.directory, "-n", "50")
                offsets = [line["offset"] for line in tail]
                check(len(offsets) == 50 and offsets == sorted(offsets), f"tail: {offsets}")
                run("stats", server.directory)
                run("inspect", server.directory)
        # A busy machine: the server gets no turn to mark what it has just acknowledged as durable.
        with server.client() as client:
            client.call("SET", "acknowledged", "before it stood still")
            server.freeze()
            get = subprocess.Popen([TOOL, "get", server.directory, "acknowledged", "--json"], stdout=subprocess.PIPE)
            time.sleep(0.3)  # not waiting for anything: any moment will do
            server.thaw()
            got = json.loads(get.communicate(timeout=60)[0])
            check(got["value"] == "before it stood still", f"an acknowledged value is not seen: {got}")
        follow = subprocess.Popen([TOOL, "log", "tail", "-f", server.directory, "--key", "marker", "--limit", "1",
                                   "-n", "0", "--json"], stdout=subprocess.PIPE)
        with server.client() as client:
            deadline = time.monotonic() + 30
            while follow.poll() is None and time.monotonic() < deadline:
                client.call("SET", "marker", "here")
                time.sleep(0.05)
        line = json.loads(follow.communicate(timeout=5)[0])
        check(line["command"] == "SET" and line["arguments"] == ["marker", "here"], f"tail -f: {line}")
    finally:
        stop.set()
        writer.join()
    with server.client() as client:
        size = client.call("DBSIZE")
    check(len(run("keys", server.directory).splitlines()) == size, "keys of the live directory are not all there")
    backup = os.path.join(workspace.path, "live-backup")
    run("backup", server.directory, backup)
    server.terminate()
    run("verify", server.directory, backup)
    run("diff", server.directory, os.path.join(backup, "snapshots", os.listdir(os.path.join(backup, "snapshots"))[0]))


def backups(workspace):
    server = workspace.server("source").start()
    backup = os.path.join(workspace.path, "grows")
    with server.client() as client:
        client.call("SET", "first", 1)
        made = lines("backup", server.directory, backup)[0]
        check(made["new_snapshot"], f"{made}")
        client.call("SET", "second", 2)
        made = lines("backup", server.directory, backup)[0]
        check(not made["new_snapshot"] and made["segments_copied"] == 1, f"{made}")
        made = lines("backup", server.directory, backup)[0]
        check(made["segments_copied"] <= 1, f"{made}")
    run("backup", "verify", backup)
    server.terminate()
    target = os.path.join(workspace.path, "from-backup")
    run("restore", backup, target)
    check(content(target) == content(server.directory), "the backup is not what the server holds")
    wal = os.path.join(backup, "wal")
    segment = os.path.join(wal, os.listdir(wal)[0])
    with open(segment, "r+b") as file:
        file.seek(4200)
        byte = file.read(1)
        file.seek(4200)
        file.write(bytes([byte[0] ^ 4]))
    findings = lines("verify", backup, status=1)
    check(any(finding["file"] == segment for part in findings for finding in part["findings"]), f"{findings}")


def fill(client, rng):
    for i in range(200):
        client.call("SET", b"bin\x00\xff%d" % i, rng.randbytes(rng.randrange(300)))
        client.call("SET", f"expiring{i}", i, "PX", 1 << 40)
        client.call("HSET", f"hash{i % 7}", rng.randbytes(8), rng.randbytes(20))
        client.call("RPUSH", f"list{i % 5}", rng.randbytes(rng.randrange(100)), i)
        client.call("SADD", f"set{i % 5}", i, rng.randbytes(6))
        client.call("ZADD", f"zset{i % 5}", str(rng.random() * 1e9), rng.randbytes(5))
    client.call("SADD", "numbers", *range(100))
    client.call("ZADD", "infinite", "inf", "a", "-inf", "b", "0", "c")
    client.call("ZADD", "ranked", *[word for i in range(3000) for word in (i * 7 % 1000, f"member{i}")])
    client.call("HSET", "large", *[word for i in range(2000) for word in (f"field{i}", "v" * 30)])
    for i in range(50):
        client.call("XADD", "stream", f"{i + 1}-1", "field", rng.randbytes(6), "n", i)
    client.call("SETRANGE", "sparse", 300000, "end")
    client.call("SELECT", 5)
    client.call("SET", "other", "database")
    client.call("SELECT", 0)


def fill_more(client, rng, count):
    """`count` small keys of all types, some with expiries, with bytes of all kinds in names and values."""
    noise = rng.randbytes(1 << 16)
    batch = []
    for i in range(count):
        some = noise[i * 31 % 65000:][:i % 60]
        name = b"more:%d:" % (i % 100) + noise[i * 17 % 65000:][:4] + b"%d" % i
        batch += [[("SET", name, some)], [("SET", name, some, "PXAT", 4000000000000 + i)],
                  [("HSET", name, some, b"v", b"\x00\r\n", some)], [("RPUSH", name, some, i)],
                  [("SADD", name, i, some)], [("ZADD", name, f"{i}.25", some)],
                  [("XADD", name, f"{i + 1}-1", some, b"v")]][i % 7]
        if len(batch) >= 1000:
            client.pipeline(batch)
            batch = []
    client.pipeline(batch)


def round_trip(workspace, rng):
    source = workspace.server("rt-source", "--enable-debug-command", "yes").start()
    with source.client(timeout=240) as client:
        fill(client, rng)
        fill_more(client, rng, KEYS)
        client.call("SAVE")
        client.call("ZREM", "ranked", "member7")
        client.call("ZADD", "ranked", 1, "member7")
        client.call("ZADD", "ranked", 49, "member7")
        digest = client.call("DEBUG", "DIGEST")
    source.terminate()
    run("verify", source.directory)
    snapshots = os.path.join(source.directory, "snapshots")
    snapshot = os.path.join(snapshots, os.listdir(snapshots)[0])
    redis = workspace.redis("rt-redis", "--dbfilename", "dump.rdb")
    rdb = os.path.join(redis.directory, "dump.rdb")
    run("convert", snapshot, rdb)
    run("convert", snapshot, rdb, status=2)  # nothing is overwritten
    run("diff", snapshot, rdb)
    redis.start()
    with redis.client(timeout=240) as client:
        client.call("SAVE")
        size = client.call("DBSIZE")
    check(subprocess.run(["redis-check-rdb", rdb], capture_output=True, check=False).returncode == 0, "redis-check-rdb")
    run("verify", rdb)
    run("diff", rdb, snapshot)
    check(lines("stats", rdb)[0]["types"] == lines("stats", snapshot)[0]["types"], "stats of RDB and snapshot differ")
    check(lines("get", rdb, "infinite")[0]["elements"] == 3, "get from an RDB")
    target = workspace.server("rt-target", "--enable-debug-command", "yes")
    os.rmdir(target.directory)
    run("convert", rdb, target.directory, "--to", "directory")
    run("verify", target.directory)
    target.start()
    with target.client(timeout=240) as client:
        check(client.call("DBSIZE") == size, "another number of keys after the round trip")
        check(client.call("DEBUG", "DIGEST") == digest, "another digest after the round trip")
        check(client.info()["holdfast_appended_offset"] != "0", "a history without length has nothing to lose")
        client.call("SAVE")
        client.call("SET", "behind", "the snapshot")
    target.terminate()
    # A snapshot of a history that was given up, further on than the log.
    shutil.copy(snapshot, os.path.join(target.directory, "snapshots"))
    again = os.path.join(workspace.path, "rt-again")
    run("restore", target.directory, again)
    check(content(again) == content(target.directory), "the log's own history is what is restored")
    # As commands for redis-cli --pipe.
    resp = os.path.join(workspace.path, "all.resp")
    run("convert", snapshot, resp)
    piped = workspace.server("rt-piped", "--enable-debug-command", "yes").start()
    with open(resp, "rb") as file:
        done = subprocess.run(["redis-cli", "-p", str(piped.port), "--pipe"], stdin=file, capture_output=True, check=False)
    check(b"errors: 0" in done.stdout, done.stdout.decode())
    with piped.client(timeout=240) as client:
        client.call("SAVE")
    snapshots = os.path.join(piped.directory, "snapshots")
    run("diff", snapshot, os.path.join(snapshots, os.listdir(snapshots)[0]), "--summary")
    # An AOF of Redis, multi-part with an RDB in front.
    redis.terminate()
    aof = workspace.redis("rt-aof", "--appendonly", "yes")
    os.makedirs(aof.directory, exist_ok=True)
    aof.start()
    with aof.client() as client:
        fill(client, random.Random(1))
        client.call("BGREWRITEAOF")
        wait_for(lambda: client.info("persistence")["aof_rewrite_in_progress"] == "0" and
                 client.info("persistence")["aof_rewrite_scheduled"] == "0", what="the rewrite")
        client.call("SET", "after", "the rewrite")
        client.call("BGSAVE")
        wait_for(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == "0", what="the save")
    run("diff", os.path.join(aof.directory, "appendonlydir"), os.path.join(aof.directory, "dump.rdb"))
    page = os.path.join(workspace.path, "report.html")
    run("report", snapshot, page)
    with open(page, encoding="utf-8") as file:
        html = file.read()
    check("<svg" in html and "http://" not in html and "https://" not in html, "the report is not complete in itself")
    csv = run("convert", snapshot, "-", "--to", "csv")
    check(csv.startswith("db,type,key,expires_at_ms,field,value\r\n"), "no CSV")


def differences(workspace, server, ends, states):
    answer = lines("diff", f"{server.directory}@{ends[100]}", f"{server.directory}@{ends[140]}", "--summary", status=1)[-1]
    before, after = states[100], states[140]
    check(answer["added"] == len(after.keys() - before.keys()), f"{answer}")
    check(answer["removed"] == len(before.keys() - after.keys()), f"{answer}")
    check(answer["changed"] == sum(before[key] != after[key] for key in before.keys() & after.keys()), f"{answer}")
    run("diff", f"{server.directory}@{ends[100]}", f"{server.directory}@{ends[100]}")
    # Who changed this key, and when.
    key = next(iter(after))[1]
    effects = lines("log", "print", server.directory, "--key", json.loads(key))
    check(any(effect["command"] == "FLUSHALL" for effect in effects), "a FLUSHALL changes every key")
    check(all(effect["command"] == "FLUSHALL" or json.loads(key) in effect["arguments"] for effect in effects), "--key")
    statistics = lines("log", "stats", server.directory)[0]
    check(statistics["effects"] == 600, f"{statistics}")


def archive(workspace):
    root = os.path.join(workspace.path, "archive")
    server = workspace.server("archived", "--log-archive-dir", root, "--log-segment-size", "1mb", "--memtable-size", "1mb",
                              "--log-checkpoint-bytes", "1mb", "--repl-backlog-size", "1kb",
                              "--enable-debug-command", "yes").start()
    with server.client() as client:
        for i in range(400):
            client.call("SET", f"key{i}", str(i) * 5000)
        wait_for(lambda: int(client.info("holdfast")["holdfast_log_first_offset"]) > 0, what="trimming of the log")
        digest = client.call("DEBUG", "DIGEST")
        told = client.info("persistence")
    check(told["holdfast_log_archive_status"] == "ok" and int(told["holdfast_log_archive_segments"]) > 0, f"{told}")
    directory = told["holdfast_log_archive_directory"]
    check(os.path.dirname(directory) == root, directory)
    server.terminate()
    run("log", "verify", directory)
    # The directory alone knows where the archive is; without it the beginning is gone.
    offset = lines("log", "print", directory, "--key", "key57")[0]["unit_end"]
    early = os.path.join(workspace.path, "early")
    run("restore", server.directory, early, "--offset", offset)
    check(len(run("keys", early).splitlines()) == 58, "the archive does not lead back to the 58th key")
    named = os.path.join(workspace.path, "named")
    run("restore", root, named, "--offset", offset)
    run("diff", early, named)
    # A second start goes on in the same directory.
    server.start()
    with server.client() as client:
        client.call("SET", "after", "restart")
        digest = client.call("DEBUG", "DIGEST")
    server.terminate()
    run("check", server.directory)
    run("repair", server.directory, "--rebuild", "--yes")
    server.start()
    with server.client() as client:
        check(client.call("DEBUG", "DIGEST") == digest, "the store was rebuilt to something else")
    server.terminate()


def repairs(workspace):
    server = workspace.server("damaged", "--enable-debug-command", "yes").start()
    with server.client() as client:
        client.pipeline([("SET", f"key{i}", f"value-{i}-" + "x" * 100) for i in range(3000)])
        client.call("HSET", "hash", *[word for i in range(1000) for word in (f"field{i}", f"hashed-{i}")])
        client.call("SAVE")
        client.pipeline([("DEL", f"key{i}") for i in range(2500)])
        client.call("SET", "later", "logged")
        digest = client.call("DEBUG", "DIGEST")
        run("check", server.directory, status=2)
        run("repair", server.directory, "--rebuild", "--yes", status=2)
        run("compact", server.directory, status=2)
    server.terminate()
    run("check", server.directory)
    store = os.path.join(server.directory, "gen-1", "lmdb", "data.mdb")
    with open(store, "r+b") as file:
        data = file.read()
        at = data.find(b"value-2900-")
        while at >= 0:
            file.seek(at + 20)
            file.write(b"y")
            at = data.find(b"value-2900-", at + 1)
    found = run("check", server.directory, status=1)
    check(f"holdfast repair {server.directory} --rebuild" in found, found)
    run("compact", server.directory, status=1)
    check(run("get", "--raw", server.directory, "key2901").startswith("value-2901-"), "a good key beside a damaged one")
    run("repair", server.directory, "--rebuild", status=2)  # nobody answers
    run("repair", server.directory, "--rebuild", stdin=b"y\n")
    run("check", server.directory)
    check(any(name.startswith("kept-") for name in os.listdir(server.directory)), "the damaged generation was not kept")
    server.start()
    with server.client() as client:
        check(client.call("DEBUG", "DIGEST") == digest, "the repaired directory holds something else")
        client.call("SAVE")
    server.terminate()
    with open(os.path.join(server.directory, "CURRENT"), "w", encoding="ascii") as file:
        file.write("gen-2\n")  # without its checksum
    run("check", server.directory, status=1)
    run("repair", server.directory, "--current", "--yes")
    server.start()
    with server.client() as client:
        check(client.call("DEBUG", "DIGEST") == digest, "another generation is in force")
    server.terminate()
    store = os.path.join(server.directory, "gen-2", "lmdb", "data.mdb")
    before = os.path.getsize(store)
    answer = lines("compact", server.directory)[0]
    check(answer["bytes_before"] == before and answer["bytes_after"] < before, f"{answer}")
    server.start()
    with server.client() as client:
        check(client.call("DEBUG", "DIGEST") == digest, "the compacted store holds something else")
    server.terminate()
    run("check", server.directory)


def main():
    rng = random.Random(seed_from_environment())

    def point_in_time_and_diff(workspace):
        server, ends, states = point_in_time(workspace, rng)
        differences(workspace, server, ends, states)

    parts = {"point_in_time": point_in_time_and_diff, "backup": backups, "beside": beside, "archive": archive,
             "repair": repairs, "round_trip": lambda workspace: round_trip(workspace, rng)}
    check(not ONLY or ONLY in parts, f"HOLDFAST_TOOL_ONLY is none of {', '.join(parts)}")
    for name, part in parts.items():
        if name == (ONLY or name):
            with Workspace() as workspace:
                part(workspace)
    print("ok")


if __name__ == "__main__":
    main()
