#!/usr/bin/env python3
"""Streams with their groups on replicas: by the log, by a snapshot, after a kill, after a promotion."""

import os
import random
import shutil
import sys

from holdfast_testing import REDIS_SERVER, Workspace, check, wait_for

DEBUG = ("--enable-debug-command", "yes")


def everything(client):
    """What every stream holds, but for what is no content: when consumers were seen."""
    def plain(value):
        if not isinstance(value, list):
            return value
        return [0 if i > 0 and value[i - 1] == b"seen-time" else plain(one) for i, one in enumerate(value)]
    return {key: plain(client.call("XINFO", "STREAM", key, "FULL", "COUNT", "0")) for key in client.call("KEYS", "*")}


def same_as(master, replica):
    wait_for(lambda: everything(replica) == everything(master), 60, "the replica has the same streams")
    digest = master.call("DEBUG", "DIGEST")
    check(replica.call("DEBUG", "DIGEST") == digest, "the digests are equal")


def link_is_up(replica):
    wait_for(lambda: replica.info("replication").get("master_link_status") == "up", 60, "the link is up")


def work(client, rng, count):
    """Random commands that change streams; what the server says does not matter here."""
    def stream():
        return f"s{rng.randrange(4)}"

    def group():
        return f"g{rng.randrange(3)}"

    def some_id():
        return f"{rng.randrange(1, 60)}-{rng.randrange(3)}"
    commands = []
    for _ in range(count):
        consumer = f"c{rng.randrange(4)}"
        commands.append(rng.choice([
            lambda: ("XADD", stream(), "*", "f", "v" * rng.randrange(200)), lambda: ("XADD", stream(), some_id(), "f", "v"),
            lambda: ("XADD", stream(), "MAXLEN", "~", rng.randrange(40), "*", "f", "v"),
            lambda: ("XGROUP", "CREATE", stream(), group(), "0", "MKSTREAM"),
            lambda: ("XGROUP", "DESTROY", stream(), group()) if rng.random() < .1 else ("XLEN", stream()),
            lambda: ("XREADGROUP", "GROUP", group(), consumer, "COUNT", rng.randrange(1, 9), "STREAMS", stream(), ">"),
            lambda: ("XREADGROUP", "GROUP", group(), consumer, "COUNT", 3, "STREAMS", stream(), "0"),
            lambda: ("XREADGROUP", "GROUP", group(), consumer, "NOACK", "COUNT", 2, "STREAMS", stream(), ">"),
            lambda: ("XAUTOCLAIM", stream(), group(), consumer, "0", "0", "COUNT", 4),
            lambda: ("XCLAIM", stream(), group(), consumer, "0", some_id(), some_id(), "FORCE"),
            lambda: ("XACK", stream(), group(), some_id(), some_id()), lambda: ("XDEL", stream(), some_id(), some_id()),
            lambda: ("XGROUP", "DELCONSUMER", stream(), group(), consumer), lambda: ("XTRIM", stream(), "MAXLEN", 20),
        ])())
    client.pipeline(commands)


def redis_follows(rng):
    """redis-server as a replica of Holdfast: the effects mean the same to it."""
    with Workspace() as workspace:
        master = workspace.server("master", *DEBUG, "--repl-ping-replica-period", "1").start()
        replica = workspace.redis("redis", "--replicaof", f"127.0.0.1 {master.port}").start()
        control, other = master.client(), replica.client()
        link_is_up(other)
        for _ in range(5):
            work(control, rng, 400)
            wait_for(lambda: logical(other) == logical(control), 30, "redis-server has the same streams")
        check(control.call("DEBUG", "DIGEST") == other.call("DEBUG", "DIGEST"), "the digests are equal")


def logical(client):
    """As everything(), without the shape of Redis' radix tree."""
    found = everything(client)
    return {key: [one for i, one in enumerate(value) if i not in (3, 5)] for key, value in found.items()}


def main():
    seed = random.randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    rng = random.Random(seed)
    with Workspace() as workspace:
        master = workspace.server("master", *DEBUG).start()
        follower = workspace.server("follower", *DEBUG, "--replicaof", "127.0.0.1", master.port).start()
        control, other = master.client(), follower.client()
        link_is_up(other)
        work(control, rng, 1000)
        same_as(control, other)
        print("a replica that follows the log", flush=True)

        work(control, rng, 1000)
        late = workspace.server("late", *DEBUG, "--replicaof", "127.0.0.1", master.port).start()
        third = late.client()
        link_is_up(third)
        work(control, rng, 500)
        same_as(control, third)
        print("a replica that began with a snapshot", flush=True)

        control.call("XADD", "wake", "1-1", "f", "v")
        wait_for(lambda: other.call("EXISTS", "wake") == 1, 30, "the replica has the stream")
        other.send("XREAD", "BLOCK", "30000", "STREAMS", "wake", "$")
        watcher = follower.client()
        wait_for(lambda: watcher.info("clients")["blocked_clients"] == "1", 30, "a reader waits on the replica")
        control.call("XADD", "wake", "2-1", "f", "v")
        check(other.read() == [[b"wake", [[b"2-1", [b"f", b"v"]]]]], "a reader that waits on a replica is served")
        print("a reader on a replica", flush=True)

        before = everything(control)
        master.kill()
        master.start()
        control = master.client()
        check(everything(control) == before, "what was answered is there after a kill")
        work(control, rng, 300)
        same_as(control, other)
        print("a master that was killed", flush=True)

        same_as(control, third)  # it comes back in its own time
        before = everything(control)
        late.client().call("REPLICAOF", "NO", "ONE")
        wait_for(lambda: everything(third) == before, 30, "the replica had everything")
        master.stop()
        work(third, rng, 300)
        check(len(everything(third)) > 0, "streams are there after a promotion")
        print("a replica that was promoted", flush=True)
        follower.stop()
        late.stop()
    if os.path.exists(REDIS_SERVER) or shutil.which(REDIS_SERVER):
        redis_follows(rng)
        print("redis-server as a replica", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
