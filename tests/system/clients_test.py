#!/usr/bin/python3
"""Applications' clients work as they do against Redis: redis-py (Debian's python3-redis) and hiredis (libhiredis-dev,
tests/clients/hiredis_smoke.cpp) use each type, transactions, pub/sub and blocking pops. The Node client has a test of its
own. Exit code 77 (skipped) when a client is not installed."""

import os
import subprocess
import sys
import threading

from holdfast_testing import Workspace, check

try:
    import redis
except ImportError:
    redis = None

HIREDIS = os.environ.get("HOLDFAST_HIREDIS", os.path.join(os.path.dirname(os.environ.get("HOLDFAST_SERVER", "")),
                                                          "hiredis_smoke"))


def equal(got, wanted):
    check(got == wanted, f"got {got!r}, wanted {wanted!r}")


def strings(client):
    equal(client.set("py:s", b"\x00\xff", ex=1000), True)
    equal(client.get("py:s"), b"\x00\xff")
    check(990 < client.ttl("py:s") <= 1000, "no TTL")
    equal(client.mset({"py:a": "1", "py:b": "2"}), True)
    equal(client.incrbyfloat("py:a", 0.5), 1.5)
    equal(client.setbit("py:bits", 7, 1), 0)
    equal(client.bitcount("py:bits"), 1)
    equal(client.bitfield("py:bits").set("u8", 8, 255).get("u8", 8).execute(), [0, 255])


def collections(client):
    equal(client.hset("py:h", mapping={"f": "1", "g": "2"}), 2)
    equal(client.hgetall("py:h"), {b"f": b"1", b"g": b"2"})
    equal(client.hincrby("py:h", "f", 5), 6)
    equal(dict(client.hscan_iter("py:h")), {b"f": b"6", b"g": b"2"})
    equal(client.rpush("py:l", "a", "b", "c"), 3)
    equal(client.lrange("py:l", 0, -1), [b"a", b"b", b"c"])
    equal(client.lmove("py:l", "py:l2", "LEFT", "RIGHT"), b"a")
    equal(client.sadd("py:set", "x", "y"), 2)
    equal(client.smembers("py:set"), {b"x", b"y"})
    equal(client.sinter("py:set", "py:set"), {b"x", b"y"})
    equal(client.zadd("py:z", {"one": 1, "two": 2.5}), 2)
    equal(client.zrange("py:z", 0, -1, withscores=True), [(b"one", 1.0), (b"two", 2.5)])
    equal(client.zrangebyscore("py:z", "(1", "+inf"), [b"two"])
    equal(client.zincrby("py:z", 2, "one"), 3.0)
    equal(client.sort("py:set", alpha=True, desc=True), [b"y", b"x"])
    equal(sorted(client.scan_iter("py:l*")), [b"py:l", b"py:l2"])


def rest_of_types(client):
    equal(client.pfadd("py:p", "a", "b", "c"), 1)
    equal(client.pfcount("py:p"), 3)
    equal(client.geoadd("py:g", [13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"]), 2)
    equal(client.geodist("py:g", "Palermo", "Catania", unit="km"), 166.2742)
    equal(client.geosearch("py:g", longitude=15, latitude=37, radius=200, unit="km", sort="ASC"),
          [b"Catania", b"Palermo"])


def streams(client):
    first = client.xadd("py:x", {"f": "1"})
    client.xadd("py:x", {"f": "2"})
    equal(client.xlen("py:x"), 2)
    equal(client.xrange("py:x")[0], (first, {b"f": b"1"}))
    equal(client.xgroup_create("py:x", "group", id="0"), True)
    [(name, entries)] = client.xreadgroup("group", "me", {"py:x": ">"}, count=10)
    equal((name, len(entries)), (b"py:x", 2))
    equal(client.xack("py:x", "group", first), 1)
    equal(client.xpending("py:x", "group")["pending"], 1)


def transactions(client):
    with client.pipeline() as pipe:
        pipe.incr("py:n").incr("py:n").get("py:n")
        equal(pipe.execute(), [1, 2, b"2"])
    with client.pipeline() as pipe:
        pipe.watch("py:n")
        client.set("py:n", "changed")
        pipe.multi()
        pipe.set("py:n", "lost")
        try:
            pipe.execute()
            check(False, "a transaction on a changed key went through")
        except redis.WatchError:
            pass

    def change(pipe):
        pipe.multi()
        pipe.set("py:n", "10")
    equal(client.transaction(change, "py:n"), [True])


def messages(client):
    pubsub = client.pubsub()
    pubsub.subscribe("py:channel")
    pubsub.psubscribe("py:pat*")
    for _ in range(2):
        check(pubsub.get_message(timeout=10)["type"].endswith("subscribe"), "no confirmation")
    equal(client.publish("py:channel", "hello"), 1)
    message = pubsub.get_message(timeout=10)
    equal((message["type"], message["data"]), ("message", b"hello"))
    equal(client.publish("py:pattern", "all"), 1)
    equal(pubsub.get_message(timeout=10)["pattern"], b"py:pat*")
    client.config_set("notify-keyspace-events", "KEA")
    pubsub.psubscribe("__keyspace@0__:py:told")
    pubsub.get_message(timeout=10)
    client.set("py:told", "1")
    equal(pubsub.get_message(timeout=10)["data"], b"set")
    client.config_set("notify-keyspace-events", "")
    pubsub.close()


def waiting(client, port):
    got = []
    waiter = threading.Thread(target=lambda: got.append(redis.Redis(port=port).blpop(["py:none", "py:queue"], 20)))
    waiter.start()
    while client.info("clients")["blocked_clients"] == 0:
        check(waiter.is_alive(), "BLPOP returned at once")
    client.rpush("py:queue", "job")
    waiter.join(20)
    equal(got, [(b"py:queue", b"job")])


def redis_py(port):
    client = redis.Redis(port=port)
    for part in (strings, collections, rest_of_types, transactions, messages):
        part(client)
    waiting(client, port)
    if "xadd" in client.command():
        streams(client)
    client.flushall()


def main():
    missing = []
    with Workspace() as workspace:
        server = workspace.server("server").start()
        if redis is None:
            missing.append("redis-py (python3-redis)")
        else:
            redis_py(server.port)
        if os.access(HIREDIS, os.X_OK):
            done = subprocess.run([HIREDIS, str(server.port)], capture_output=True, text=True, timeout=60, check=False)
            check(done.returncode == 0, f"hiredis: {done.stderr}")
        else:
            missing.append(f"hiredis (libhiredis-dev, {HIREDIS})")
    if missing:
        print("not here, and so not tried: " + ", ".join(missing))
        return 77
    print("redis-py and hiredis work")
    return 0


if __name__ == "__main__":
    sys.exit(main())
