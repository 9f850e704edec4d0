#!/usr/bin/env python3
"""Holdfast as a replica of the real redis-server: full sync in both framings, the stream, partial resync after breaks,
kills and restarts, chains of both kinds, promotion and the way back, passwords, and what stops it. Contents are compared
by DEBUG DIGEST, which both compute alike, and by the expiry of every key.

  --commands N   random commands of the load (HOLDFAST_SEED repeats one)
  --rounds N     kills of our replica under load
"""

import argparse
import threading

import redis_replica_test
from holdfast_testing import Client, ReplyError, Workspace, check, seed_from_environment, wait_for
from redis_replica_test import in_sync, ours, same_contents, syncs

# What a client of a master may send here, beside what redis_replica_test's load leaves out.
ALLOWED = {"XREAD", "XREADGROUP"}
# Several effects at once, chance, and relative times: what a master sends of these is not what it was told.
EXTRA = [
    ["EVAL", "redis.call('SET', KEYS[1], ARGV[1]); redis.call('SELECT', 5); redis.call('RPUSH', KEYS[2], ARGV[1], 'x'); "
             "return redis.call('EXPIRE', KEYS[2], 1000)", 2, "script:string", "script:list", "value"],
    ["SADD", "pop", "a", "b", "c", "d", "e", "f", "g"], ["SPOP", "pop", 3], ["SPOP", "pop"],
    ["SET", "counted", "10"], ["INCRBYFLOAT", "counted", "0.1"], ["GETEX", "counted", "EX", 500], ["SETEX", "soon", 100, "x"],
    ["RPUSH", "queue", "1", "2", "3"], ["BLPOP", "queue", 1], ["LMPOP", 1, "queue", "RIGHT"],
    ["ZADD", "scores", 1, "a", 2, "b", 3, "c"], ["BZPOPMIN", "scores", 1], ["ZINCRBY", "scores", 0.1, "c"],
    ["XADD", "log", "MAXLEN", "~", 10, "*", "field", "value"], ["XADD", "log", "*", "field", "value"],
    ["GEOADD", "places", 13.361389, 38.115556, "Palermo", 15.087269, 37.502669, "Catania"],
    ["GEOSEARCHSTORE", "near", "places", "FROMLONLAT", 15, 37, "BYRADIUS", 200, "km"],
    ["SORT", "queue", "ALPHA", "STORE", "sorted"], ["COPY", "sorted", "copied", "REPLACE"], ["SWAPDB", 1, 2],
    ["PFADD", "unique", "a", "b", "c"], ["PFCOUNT", "unique"], ["PFMERGE", "merged", "unique"], ["SETRANGE", "counted", 5, "abc"],
    ["BITOP", "NOT", "inverted", "counted"], ["PUBLISH", "channel", "message"],
    ["PFADD", "grown"] + [f"element {i}" for i in range(500)], ["PFADD", "more"] + [f"element {i}" for i in range(300, 1200)],
    ["PFMERGE", "grown", "more"],
]


class Load(redis_replica_test.Load):
    left_out = redis_replica_test.LEFT_OUT - ALLOWED

    def random_command(self):
        if self.rng.random() < 0.15:
            return [str(part).encode() for part in self.rng.choice(EXTRA)]
        command = super().random_command()
        return None if command and b"BLOCK" in [part.upper() for part in command] else command


def master(workspace, name="redis", *options):
    return workspace.redis(name, "--repl-diskless-sync-delay", "0", "--repl-backlog-size", "64mb",
                           "--repl-ping-replica-period", "1", *options).start()


def following(workspace, name, of, *options):
    replica = ours(workspace, name, "--replicaof", f"127.0.0.1 {of.port}", *options).start()
    in_sync(of, replica)
    return replica


def field(server, name):
    with server.client() as client:
        return client.info("replication").get(name, "")


def run(load, server, count):
    with server.client() as client:
        load.run(client, count)


def test_full_sync_in_both_framings(load, count):
    for diskless in ("yes", "no"):
        with Workspace() as workspace:
            redis = master(workspace, "redis", "--repl-diskless-sync", diskless)
            run(load, redis, count)
            replica = following(workspace, "ours", redis)
            same_contents(redis, replica)
            run(load, redis, count)
            in_sync(redis, replica)
            same_contents(redis, replica)
            for name in ("master_replid", "master_repl_offset"):
                wait_for(lambda name=name: field(redis, name) == field(replica, name), 30, f"the same {name}")
            check(syncs(redis) == (1, 0), f"one full sync expected: {syncs(redis)}")
            with redis.client() as client:
                client.call("SET", "waited", "for")
                check(client.call("WAIT", 1, 10000) == 1, "WAIT does not count our replica")
                check("state=online" in client.info("replication")["slave0"], client.info("replication")["slave0"])


def test_writes_during_a_full_sync(load, count):
    with Workspace() as workspace:
        redis = master(workspace)
        with redis.client() as client:
            client.call("DEBUG", "POPULATE", 200000, "populated", 100)
        stop = threading.Event()

        def write():
            # Not more than a slow build can apply afterwards.
            with redis.client() as client:
                while not stop.wait(0.2):
                    load.run(client, 100)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            replica = ours(workspace, "ours", "--replicaof", f"127.0.0.1 {redis.port}").start()
            wait_for(lambda: field(replica, "master_link_status") == "up", 60, "the link being up")
            run(load, redis, count)
        finally:
            stop.set()
            writer.join()
        in_sync(redis, replica)
        same_contents(redis, replica)
        check(syncs(redis)[0] == 1, f"one full sync expected: {syncs(redis)}")


def test_breaks_kills_and_restarts(load, count, rounds):
    with Workspace() as workspace:
        redis = master(workspace)
        run(load, redis, count)
        replica = following(workspace, "ours", redis)
        with redis.client() as client:
            client.call("CLIENT", "KILL", "TYPE", "replica")
            load.run(client, count)
        in_sync(redis, replica)
        for _ in range(rounds):
            half = load.rng.randrange(count)
            run(load, redis, half)
            replica.kill()
            run(load, redis, count - half)
            replica.start()
        in_sync(redis, replica)
        same_contents(redis, replica)
        check(replica.terminate() == 0, "a clean stop")
        run(load, redis, count)
        replica.start()
        in_sync(redis, replica)
        same_contents(redis, replica)
        check(syncs(redis)[0] == 1, f"everything after the first copy by partial resyncs: {syncs(redis)}")

        with redis.client() as client:  # a restart of redis that kept its data and its offset
            client.call("CONFIG", "SET", "save", "3600 1")
            try:
                client.call("SHUTDOWN", "SAVE")
            except Exception:  # the connection ends
                pass
        redis.process.wait(30)
        redis.start()
        in_sync(redis, replica)
        run(load, redis, count)
        in_sync(redis, replica)
        same_contents(redis, replica)
        check(syncs(redis)[0] == 0, f"a partial resync after the restart of redis: {syncs(redis)}")


def test_an_empty_master_does_not_replace_our_data(load, count):
    with Workspace() as workspace:
        redis = master(workspace)
        run(load, redis, count)
        with redis.client() as client:
            client.call("SET", "kept", "value")
        replica = following(workspace, "ours", redis)
        redis.kill()
        redis.start()  # nothing was saved
        wait_for(lambda: "master is empty" in field(replica, "master_link_down_reason"), 30, "the refusal")
        with replica.client() as client:
            check(client.call("GET", "kept") == b"value", "the data is gone")
            client.call("CONFIG", "SET", "accept-full-sync", "empty")
        in_sync(redis, replica)
        same_contents(redis, replica)


def test_chains_and_promotion(load, count):
    """redis -> ours -> ours, redis -> ours -> redis; the middle is killed and promoted, and follows again."""
    with Workspace() as workspace:
        redis = master(workspace)
        run(load, redis, count)
        middle = following(workspace, "middle", redis)
        below = following(workspace, "below", middle)
        theirs = redis_replica_test.follow(workspace, "theirs", middle)
        run(load, redis, count)
        everybody = (middle, below, theirs)

        def equal(top):
            for server in everybody:
                in_sync(top, server)
            same_contents(top, *everybody)
        equal(redis)
        middle.restart()
        run(load, redis, count)
        equal(redis)
        check(syncs(redis)[0] == 1 and syncs(middle)[0] == 0, f"no copies: {syncs(redis)}, {syncs(middle)}")

        old_id = field(redis, "master_replid")
        with middle.client() as client:
            # A master's PINGs are history, too: after one of its own there is no way back without a copy.
            client.call("CONFIG", "SET", "repl-ping-replica-period", 3600)
            client.call("REPLICAOF", "NO", "ONE")
        check(field(middle, "master_replid2") == old_id, "the old id must stay the second one")
        check(field(middle, "master_replid") != old_id, "a promotion makes a new id")
        same_contents(middle, below)
        with middle.client() as client:  # a mistake: nothing was written, the way back is free
            client.call("REPLICAOF", "127.0.0.1", redis.port)
        run(load, redis, count // 4)
        equal(redis)
        check(syncs(redis)[0] == 1, f"no copies: {syncs(redis)}")

        with middle.client() as client:  # moved
            client.call("REPLICAOF", "NO", "ONE")
            load.run(client, count)
        for server in (below, theirs):
            in_sync(middle, server)
        same_contents(middle, below, theirs)
        with redis.client() as client:
            client.call("REPLICAOF", "127.0.0.1", middle.port)
        in_sync(middle, redis)
        same_contents(middle, redis)
        check(syncs(middle)[0] == 0, f"the old master continues, too: {syncs(middle)}")

        with redis.client() as client:  # and back
            client.call("REPLICAOF", "NO", "ONE")
        with middle.client() as client:
            client.call("REPLICAOF", "127.0.0.1", redis.port)
        run(load, redis, count // 4)
        equal(redis)
        check(syncs(redis)[0] == 1, f"no copies: {syncs(redis)}")


def test_passwords_and_users(load, count):
    with Workspace() as workspace:
        redis = workspace.redis("redis", "--requirepass", "123123", "--repl-diskless-sync-delay", "0")
        redis.password = "123123"
        redis.start()
        with redis.client() as client:
            load.run(client, count)
            client.call("ACL", "SETUSER", "copies", "on", ">456", "+ping", "+psync", "+replconf")
        replica = ours(workspace, "ours", "--replicaof", f"127.0.0.1 {redis.port}").start()
        wait_for(lambda: "masterauth" in field(replica, "master_link_down_reason"), 30, "asking for masterauth")
        with replica.client() as client:
            client.call("CONFIG", "SET", "masterauth", "123123")
        in_sync(redis, replica)
        user = following(workspace, "user", redis, "--masteruser", "copies", "--masterauth", "456")
        run(load, redis, count)
        for server in (replica, user):
            in_sync(redis, server)
        same_contents(redis, replica, user)


def test_what_it_does_not_know_stops_it():
    with Workspace() as workspace:
        redis = master(workspace)
        replica = following(workspace, "ours", redis)
        with redis.client() as client:
            client.call("SET", "before", "1")
            client.call("FUNCTION", "LOAD", "#!lua name=mine\nredis.register_function('f', function() return 1 end)")
            client.call("SET", "behind", "1")
        wait_for(lambda: "FUNCTION" in field(replica, "master_link_down_reason"), 30, "the reason")
        check("REPLICATION STOPPED" in replica.log_text(), "the log must say so")
        with replica.client() as client:
            check(client.call("GET", "before") == b"1" and client.call("GET", "behind") is None, "up to there, no further")
        replica.kill()
        replica.start()
        wait_for(lambda: "FUNCTION" in field(replica, "master_link_down_reason"), 30, "the reason after a restart")
        with replica.client() as client:
            client.call("CONFIG", "SET", "rdb-skip-unsupported", "yes")
            check(client.call("REPLICAOF", "127.0.0.1", redis.port) == "OK", "given again, it tries again")
            in_sync(redis, replica)
            again = client.call("REPLICAOF", "127.0.0.1", redis.port)
            check(again == "OK Already connected to specified master", again)
        replica.options += ["--rdb-skip-unsupported", "yes"]
        same_contents(redis, replica)
        check(syncs(redis)[0] == 1, f"no copies: {syncs(redis)}")
        replica.restart()  # what was let through is in our log
        in_sync(redis, replica)
        same_contents(redis, replica)


def test_resync_copies_everything_anew():
    with Workspace() as workspace:
        redis = master(workspace)
        replica = following(workspace, "ours", redis, "--enable-debug-command", "yes")
        with redis.client() as above, replica.client() as below:
            above.call("SET", "k", "v")
            in_sync(redis, replica)
            check(below.call("DEBUG", "FORGET", "k") == "OK", "damage")
            check(below.call("HOLDFAST", "RESYNC") == "OK", "RESYNC")
            wait_for(lambda: below.call("GET", "k") == b"v", 30, "the copy")
            in_sync(redis, replica)
            same_contents(redis, replica)
            check(syncs(redis)[0] == 2, f"a copy: {syncs(redis)}")


def test_expiry_is_the_masters_and_messages_arrive():
    with Workspace() as workspace:
        redis = master(workspace)
        replica = following(workspace, "ours", redis)
        with redis.client() as client, replica.client() as here, Client(replica.port) as subscriber:
            client.call("DEBUG", "SET-ACTIVE-EXPIRE", 0)
            client.call("SET", "short", "x", "PX", 1)
            in_sync(redis, replica)
            wait_for(lambda: here.call("GET", "short") is None, 30, "the key being hidden")
            check(here.call("DBSIZE") == 1, "a replica never deletes by time")
            wait_for(lambda: client.call("GET", "short") is None, 30, "the key being deleted")
            in_sync(redis, replica)
            check(here.call("DBSIZE") == 0, "the master's DEL")
            subscriber.call("SUBSCRIBE", "news")
            client.call("PUBLISH", "news", "hello")
            check(subscriber.read() == [b"message", b"news", b"hello"], "the message")
            try:
                here.call("SET", "a", "b")
                raise AssertionError("a replica takes no writes")
            except ReplyError as error:
                check(str(error).startswith("READONLY"), str(error))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("only", nargs="?", default="")
    options = parser.parse_args()
    load, count = Load(seed_from_environment()), options.commands
    for test, arguments in ((test_full_sync_in_both_framings, (load, count)),
                            (test_writes_during_a_full_sync, (load, count)),
                            (test_breaks_kills_and_restarts, (load, count, options.rounds)),
                            (test_an_empty_master_does_not_replace_our_data, (load, count)),
                            (test_chains_and_promotion, (load, count)),
                            (test_passwords_and_users, (load, count // 4)),
                            (test_what_it_does_not_know_stops_it, ()),
                            (test_expiry_is_the_masters_and_messages_arrive, ())):
        if options.only in test.__name__:
            test(*arguments)
            print(f"{test.__name__}: ok", flush=True)
    print("passed", flush=True)


if __name__ == "__main__":
    main()
