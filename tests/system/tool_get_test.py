#!/usr/bin/env python3
"""`get` replays of the log's tail only what concerns the keys it is asked for: for every key, database and kind of command
(those that make keys from others, take them to another database, clear databases, transactions) it answers what reading everything shows."""

import json
import os
import random
import subprocess

from holdfast_testing import TOOL, Workspace, check, run_tests, seed_from_environment

KEYS = [f"k{i}" for i in range(10)]


def call(*arguments, statuses=(0,)):
    done = subprocess.run([TOOL, *map(str, arguments), "--json"], capture_output=True, check=False, timeout=240)
    check(done.returncode in statuses, f"holdfast {arguments}: {done.returncode} {done.stderr[-2000:]}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def command(rng):
    """Mostly of one type for each key, so that most of them do something."""
    number = rng.randrange(len(KEYS))
    key, other, word = KEYS[number], KEYS[(number + 5 * rng.randrange(2)) % 10], f"w{rng.randrange(6)}"
    common = [["DEL", key], ["RENAME", key, other], ["COPY", key, rng.choice(KEYS), "REPLACE"], ["MOVE", key, rng.randrange(3)],
              ["COPY", key, other, "DB", rng.randrange(3), "REPLACE"], ["PEXPIRE", key, 100_000_000]]
    own = [
        [["SET", key, word * 30], ["APPEND", key, word], ["INCRBY", key, 3], ["SETRANGE", key, 5, word]],
        [["RPUSH", key, word, word], ["LPOP", key], ["LMOVE", key, other, "LEFT", "RIGHT"], ["LREM", key, 1, word]],
        [["SADD", key, word, word * 2], ["SMOVE", key, other, word], ["SUNIONSTORE", rng.choice(KEYS), key, other], ["SPOP", key]],
        [["HSET", key, word, rng.randrange(99)], ["HDEL", key, word], ["HINCRBY", key, "n", 2]],
        [["ZADD", key, rng.randrange(99), word], ["ZUNIONSTORE", other, 2, key, other], ["ZREM", key, word]],
    ][number % 5]
    return rng.choice(common) if rng.random() < 0.25 else rng.choice(own)


def fill(client, rng, steps, filler):
    for step in range(steps):
        batch = [("SELECT", rng.randrange(3)), *(command(rng) for _ in range(rng.randrange(1, 6)))]
        if rng.random() < 0.1:
            batch.append(rng.choice([["FLUSHDB"], ["SWAPDB", rng.randrange(3), rng.randrange(3)], ["FLUSHALL"]])
                         if rng.random() < 0.2 else ["XADD", "stream", "*", "step", step])
        if rng.random() < 0.2:
            batch = [("MULTI",), *batch, ("EXEC",)]
        batch.append(("SET", f"filler{step % 50}", "x" * filler))
        for each in batch:
            client.send(*map(str, each))
        for _ in batch:
            client.read()


def compare(directory):
    everything = {(line["db"], line["key"]): line for line in call("scan", directory)}
    shown = 0
    for db in range(3):
        names = [*KEYS, "stream", "filler7", "nothing"]
        together = call("get", directory, *names, "--db", db, statuses=(0, 1))
        for name, answer in zip(names, together):
            want = everything.get((db, name), {"db": db, "key": name, "type": "none"})
            check(answer == want, f"db {db} {name}: get says {answer}, scan {want}")
            check(call("get", directory, name, "--db", db, statuses=(0, 1)) == [want], f"db {db} {name} alone is not {want}")
            shown += want["type"] != "none"
    return shown


def test_get_is_what_scan_shows():
    rng = random.Random(seed_from_environment())
    with Workspace() as workspace:
        server = workspace.server("tail", "--log-segment-size", "1mb").start()
        shown = 0
        for _ in range(4):
            with server.client() as client:
                fill(client, rng, 150, 100)
                client.call("SAVE")  # a checkpoint: what follows is the tail
                fill(client, rng, 150, 20_000)  # over several segments
            server.kill()
            generation = os.path.join(server.directory, "gen-1", "wal")
            check(len([name for name in os.listdir(generation) if name.endswith(".log")]) > 2, "one segment alone")
            shown += compare(server.directory)
            server.start()
        server.kill()
        check(shown > 20, f"only {shown} keys were there")


if __name__ == "__main__":
    run_tests(globals())
