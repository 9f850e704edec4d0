#!/usr/bin/env python3
"""The real redis-server as a replica of Holdfast: full sync by RDB, the stream, partial resync after breaks and after a
kill -9 of the master, chains of both kinds, WAIT, and what redis-cli does as a replica. Contents are compared by
DEBUG DIGEST, which both compute alike, and by the expiry of every key.

  --commands N   random commands of the load (HOLDFAST_SEED repeats one)
"""

import argparse
import os
import random
import shutil
import subprocess
import threading

import oracle_test
from holdfast_testing import Client, ReplyError, Workspace, check, seed_from_environment, wait_for

REDIS_CLI = shutil.which("redis-cli")
# What the generator may not send to a master that is compared with its replicas: it changes connections and settings.
LEFT_OUT = {"MULTI", "EXEC", "DISCARD", "WATCH", "AUTH", "HELLO", "RESET", "CONFIG", "CLIENT", "SUBSCRIBE", "QUIT",
            "BLPOP", "BRPOP", "BLMOVE", "BLMPOP", "BRPOPLPUSH", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "WAIT", "DEBUG", "XREAD", "XREADGROUP",
            "MIGRATE"}


def differs_in_redis_itself(command):
    """SORT ... STORE travels as it is, and two redis-servers need not execute it alike: what compares equal is stored in the
    order in which a set's table has it, another one in each process; and sorting by numbers fails where errno still says
    that some number of an earlier command overflowed."""
    words = [part.upper() for part in command]
    return words[0] == b"SORT" and b"STORE" in words


class Load:
    """Random commands of every kind, some of them in transactions, over all databases."""

    left_out = LEFT_OUT

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.generator = oracle_test.Generator(self.rng)

    def random_command(self):
        """One the master may be sent, or nothing."""
        command = [part if isinstance(part, bytes) else str(part).encode("utf-8", "surrogateescape")
                   for part in self.generator.make()]
        if not command or not command[0] or differs_in_redis_itself(command):
            return None
        return None if command[0].decode("latin-1").upper() in self.left_out else command

    def commands(self, count):
        commands = []
        while len(commands) < count:
            command = self.random_command()
            if command:
                commands.append(command)
        return commands

    def run(self, client, count):
        commands = self.commands(count)
        for begin in range(0, count, 20):
            chunk = commands[begin:begin + 20]
            if self.rng.random() < 0.2:
                chunk = [["MULTI"]] + chunk + [["EXEC"]]
            client.pipeline(chunk)


class SteadyWrites:
    """Some 100 KB at a time, while the block runs."""

    def __init__(self, server, pause):
        self.server = server
        self.pause = pause
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.write)

    def write(self):
        with self.server.client() as client:
            while not self.stop.wait(self.pause):
                client.pipeline([("SET", "busy", os.urandom(5000)) for _ in range(20)])

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join(60)


def offset_of(server):
    with server.client() as client:
        return int(client.info("replication")["master_repl_offset"])


def in_sync(master, replica):
    """The replica has everything the master has logged."""
    def condition():
        with replica.client() as client:
            fields = client.info("replication")
        return (fields["role"] == "slave" and fields["master_link_status"] == "up" and
                int(fields["slave_repl_offset"]) == offset_of(master))
    wait_for(condition, 60, f"the replica on port {replica.port} having what port {master.port} has")


def contents(server):
    """The digest of everything, and of every key its own digest and its time of expiry."""
    with server.client() as client:
        digest = client.call("DEBUG", "DIGEST")
        each = {}
        for db in range(16):
            client.call("SELECT", db)
            keys = sorted(client.call("KEYS", "*"))
            digests = client.call("DEBUG", "DIGEST-VALUE", *keys) if keys else []
            for key, value, expiry in zip(keys, digests, client.pipeline([("PEXPIRETIME", key) for key in keys])):
                each[db, key] = value, expiry
    return digest, each


def dumped(server, key):
    with server.client() as client:
        client.call("SELECT", key[0])
        return client.call("TYPE", key[1]), client.call("DUMP", key[1])


def differences(servers):
    """What the others hold differently from the first, as text."""
    first, *others = [contents(server) for server in servers]
    lines = []
    for server, (digest, each) in zip(servers[1:], others):
        lines.append(f"port {servers[0].port}: {first[0]}, port {server.port}: {digest}")
        for key in sorted(first[1].keys() | each.keys()):
            if first[1].get(key) != each.get(key):
                lines.append(f"  db {key[0]} {key[1]}: {first[1].get(key)} {dumped(servers[0], key)} / {each.get(key)} "
                             f"{dumped(server, key)}")
    return "\n".join(lines)


def same_contents(*servers):
    def equal():
        found = [contents(server) for server in servers]
        return all(each == found[0] for each in found)
    # A key may expire between two looks; nothing else may differ.
    try:
        wait_for(equal, 20, f"equal contents on ports {[server.port for server in servers]}")
    except AssertionError as error:
        raise AssertionError(f"{error}\n{differences(servers)}") from error


def syncs(server):
    with server.client() as client:
        stats = client.info("stats")
    return int(stats["sync_full"]), int(stats["sync_partial_ok"])


def ours(workspace, name, *options):
    return workspace.server(name, "--enable-debug-command", "yes", "--repl-ping-replica-period", "1", *options)


def follow(workspace, name, master, *options):
    replica = workspace.redis(name, "--replicaof", f"127.0.0.1 {master.port}", "--repl-ping-replica-period", "1",
                              *options)
    replica.start()
    in_sync(master, replica)
    return replica


def test_full_sync_stream_and_restarts(load, count):
    with Workspace() as workspace:
        master = ours(workspace, "master").start()
        with master.client() as client:
            load.run(client, count)
        replica = follow(workspace, "redis", master)
        same_contents(master, replica)
        check(syncs(master) == (1, 0), f"one full sync expected: {syncs(master)}")
        with master.client() as client:
            load.run(client, count)
            check(client.call("WAIT", 1, 10000) == 1, "WAIT does not count a replica of Redis' kind")
            check(client.call("WAITAOF", 1, 1, 200) == [1, 0], "WAITAOF counts acks of what is in memory only")
            fields = client.info("replication")
            check(f"port={replica.port},state=online" in fields["slave0"], fields["slave0"])
        in_sync(master, replica)
        same_contents(master, replica)

        with replica.client() as client:  # a broken link
            client.call("CLIENT", "KILL", "TYPE", "master")
        with master.client() as client:
            load.run(client, count // 4)
        in_sync(master, replica)
        same_contents(master, replica)
        check(syncs(master) == (1, 1), f"a partial resync after the break expected: {syncs(master)}")

        master.kill()
        master.start()
        in_sync(master, replica)
        with master.client() as client:
            load.run(client, count // 4)
        in_sync(master, replica)
        same_contents(master, replica)
        check(syncs(master) == (0, 1), f"a partial resync after kill -9 expected: {syncs(master)}")


def test_chains(load, count):
    """Holdfast -> Holdfast -> redis-server -> redis-server, and a promotion in the middle."""
    with Workspace() as workspace:
        top = ours(workspace, "top").start()
        middle = ours(workspace, "middle", "--replicaof", f"127.0.0.1 {top.port}").start()
        in_sync(top, middle)
        third = follow(workspace, "third", middle)
        fourth = follow(workspace, "fourth", third)
        with top.client() as client:
            load.run(client, count)
        for replica in (middle, third, fourth):
            in_sync(top, replica)
        same_contents(top, middle, third, fourth)
        before = syncs(middle)

        with middle.client() as client:
            client.call("REPLICAOF", "NO", "ONE")
            load.run(client, count // 4)
        for replica in (third, fourth):
            in_sync(middle, replica)
        same_contents(middle, third, fourth)
        check(syncs(middle) == (before[0], before[1] + 1), f"the new id must come by a partial resync: {syncs(middle)}")
        with third.client() as client, middle.client() as master:
            check(client.info("replication")["master_replid"] == master.info("replication")["master_replid"],
                  "the replica did not learn the new id")


def test_redis_cli_as_a_replica(load, count):
    with Workspace() as workspace:
        master = ours(workspace, "master").start()
        with master.client() as client:
            load.run(client, count)
            client.call("SELECT", 3)
            client.call("SET", "seen", "by everybody")
        path = os.path.join(workspace.path, "copy.rdb")
        done = subprocess.run([REDIS_CLI, "-p", str(master.port), "--rdb", path], capture_output=True, text=True, timeout=60,
                              check=False)
        check(done.returncode == 0 and "Transfer finished with success" in done.stdout + done.stderr,
              f"redis-cli --rdb: {done.stdout} {done.stderr}")
        done = subprocess.run(["redis-check-rdb", path], capture_output=True, text=True, timeout=60, check=False)
        check(done.returncode == 0, f"redis-check-rdb: {done.stdout}")
        os.makedirs(os.path.join(workspace.path, "loaded"))
        shutil.copy(path, os.path.join(workspace.path, "loaded", "dump.rdb"))
        loaded = workspace.redis("loaded")
        loaded.start()
        same_contents(master, loaded)

        path = os.path.join(workspace.path, "functions.rdb")
        done = subprocess.run([REDIS_CLI, "-p", str(master.port), "--functions-rdb", path], capture_output=True, text=True,
                              timeout=60, check=False)
        check(done.returncode == 0 and os.path.getsize(path) < 400, f"--functions-rdb: {done.stdout} {done.stderr}")

        with SteadyWrites(master, pause=0):  # the newest are not on disk
            for _ in range(5):
                done = subprocess.run([REDIS_CLI, "-p", str(master.port), "--functions-rdb", path], capture_output=True,
                                      text=True, timeout=60, check=False)
                check(done.returncode == 0 and os.path.getsize(path) < 400, f"{done.stdout} {done.stderr}")

        stream = subprocess.Popen([REDIS_CLI, "-p", str(master.port), "--replica"], stdout=subprocess.PIPE,
                                  stderr=subprocess.DEVNULL)
        try:
            with master.client() as client:
                wait_for(lambda: "state=online" in client.info("replication").get("slave0", ""), 30, "redis-cli online")
                client.call("SELECT", 5)
                client.call("SET", "streamed", "value")
            lines = []
            wait_for(lambda: lines.append(stream.stdout.readline()) or b"streamed" in lines[-1], 30, "the streamed SET")
            check(any(b'"SELECT","5"' in line for line in lines), f"no SELECT before it: {lines}")
        finally:
            stream.kill()
            stream.wait()
            stream.stdout.close()


def test_full_sync_ends_under_steady_writes():
    """The log grows by many backlogs while the RDB file is made."""
    with Workspace() as workspace:
        master = ours(workspace, "busy", "--repl-backlog-size", "16kb", "--appendfsync", "no").start()
        with master.client() as client:
            for begin in range(0, 20000, 1000):
                client.pipeline([("SET", f"key:{i}", os.urandom(2000)) for i in range(begin, begin + 1000)])
            client.call("SAVE")
        replica = workspace.redis("redis", "--replicaof", f"127.0.0.1 {master.port}", "--repl-ping-replica-period", "1")
        with SteadyWrites(master, pause=0.01):
            replica.start()

            def linked():
                with replica.client() as client:
                    return client.info("replication")["master_link_status"] == "up"
            wait_for(linked, 120, "the end of the full synchronization")
        check(syncs(master)[0] == 1, f"one full sync expected: {syncs(master)}")
        in_sync(master, replica)
        same_contents(master, replica)


def test_min_replicas_and_passwords():
    with Workspace() as workspace:
        master = ours(workspace, "master", "--requirepass", "123123", "--min-replicas-to-write", "1")
        master.password = "123123"
        master.start()
        with master.client() as client:
            try:
                client.call("SET", "a", "b")
                raise AssertionError("a write was accepted without a replica")
            except ReplyError as error:
                check(str(error).startswith("NOREPLICAS"), str(error))
        replica = workspace.redis("redis", "--replicaof", f"127.0.0.1 {master.port}", "--masterauth", "123123")
        replica.start()
        in_sync(master, replica)

        def accepted():
            with master.client() as client:
                return client.call("SET", "a", "b") == "OK"
        wait_for(accepted, 30, "an accepted write")
        in_sync(master, replica)
        same_contents(master, replica)
        with Client(replica.port) as client:
            client.call("REPLICAOF", "NO", "ONE")  # moved out
            check(client.call("GET", "a") == b"b" and client.call("SET", "a", "c") == "OK", "the copy does not stand alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commands", type=int, default=800)
    options = parser.parse_args()
    load = Load(seed_from_environment())
    test_full_sync_stream_and_restarts(load, options.commands)
    test_chains(load, options.commands)
    test_redis_cli_as_a_replica(load, options.commands // 2)
    test_full_sync_ends_under_steady_writes()
    test_min_replicas_and_passwords()
    print("passed", flush=True)


if __name__ == "__main__":
    main()
