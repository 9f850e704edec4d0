#!/usr/bin/env python3
"""HOLDFAST COMPARE: nodes that hold the same say so at the same offset, under writes; one that differs is found, is told,
and can be copied anew."""

import os
import sys
import threading

from holdfast_testing import ReplyError, Workspace, check, has_redis_7_0, run_tests, wait_for

OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes", "--databases", 4)


def call(server, *command):
    with server.client(timeout=240) as client:
        return client.call(*command)


def refused(server, *command):
    try:
        return f"no error: {call(server, *command)}"
    except ReplyError as error:
        return str(error)


def replication(server):
    with server.client() as client:
        return client.info("replication")


def online(master, count):
    wait_for(lambda: sum("state=online" in str(value) for name, value in replication(master).items()
                         if name.startswith("slave")) == count, 60, f"{count} replicas online")


def compare(master):
    """The digest, and of each replica: outcome, offset, detail."""
    offset, digest, *nodes = call(master, "HOLDFAST", "COMPARE", "TIMEOUT", 200000)
    check(offset.startswith(b"offset ") and digest.startswith(b"digest "), (offset, digest))
    return digest.split()[1], {address: (outcome.decode(), at, detail.decode()) for _, address, outcome, at, detail in nodes}


def outcomes(master, *servers):
    _, nodes = compare(master)
    return [nodes.get(address(server), ("not listed",))[0] for server in servers]


def address(server):
    return f"127.0.0.1:{server.port}".encode()


def follower(workspace, name, master, *options):
    return workspace.server(name, *OPTIONS, "--replicaof", "127.0.0.1", master.port, *options)


class InBackground:
    """A command whose reply is waited for later."""

    def __init__(self, server, *command):
        self.client = server.client(timeout=240)
        self.client.send(*command)

    def reply(self):
        with self.client:
            return self.client.read()


class Writers:
    """Clients that write until they are stopped."""

    def __init__(self, server, clients=1, batch=1, size=10):
        self.stopping, self.counts = threading.Event(), [0] * clients
        self.threads = [threading.Thread(target=self.write, args=(server, i, batch, size)) for i in range(clients)]

    def write(self, server, number, batch, size):
        with server.client(timeout=120) as client:
            while not self.stopping.is_set():
                at = self.counts[number]
                client.pipeline([("SET", f"w{number}:{(at + i) % 5000}", os.urandom(size)) for i in range(batch)])
                self.counts[number] = at + batch

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        wait_for(lambda: all(self.counts), 60, "writes flow")
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join(120)


def fill(master):
    with master.client() as client:
        client.pipeline([("SET", f"key{i}", f"value{i}") for i in range(3000)])
        client.pipeline([("HSET", f"hash{i}", "f", i, "g", "x" * 100) for i in range(100)])
        client.call("SELECT", 3)
        client.pipeline([("ZADD", "scores", i, f"member{i}") for i in range(1000)])
        client.call("SET", "mortal", "soon", "PX", 100000000)
        client.call("XADD", "stream", "*", "field", "value")


def test_equal_under_writes_with_a_password_a_chain_and_redis():
    with Workspace() as workspace:
        secret = ("--requirepass", "123123", "--masterauth", "123123")
        master = workspace.server("master", *OPTIONS, *secret)
        middle = follower(workspace, "middle", master, *secret)
        leaf = follower(workspace, "leaf", middle, *secret)
        for server in (master, middle, leaf):
            server.password = "123123"
            server.start()
        below = []
        if has_redis_7_0():
            below = [workspace.redis(f"redis{i}", "--replicaof", "127.0.0.1", above.port, "--masterauth", "123123").start()
                     for i, above in enumerate((master, middle))]
        fill(master)
        online(master, 1 + bool(below))
        online(middle, 1 + bool(below))
        with Writers(master) as writers:
            for _ in range(3):
                before = sum(writers.counts)
                _, nodes = compare(master)
                check(sum(writers.counts) > before, "writes went on")
                for server in (middle, leaf):
                    outcome, offset, detail = nodes[address(server)]
                    check((outcome, detail) == ("equal", "") and offset > 0, nodes)
                check(all(nodes[address(redis)][0] == "not comparable" for redis in below), nodes)
        for server in (middle, leaf):
            check("holdfast_differs_from_master" not in replication(server), "nothing to say")
            check(replication(server)["holdfast_compared_digest"] == replication(master)["holdfast_compared_digest"],
                  "what it digested")
        # Without writes: the same again, and another one after a write.
        first, _ = compare(master)
        check(compare(master)[0] == first, "the same content")
        call(master, "SET", "key1", "other")
        check(compare(master)[0] != first, "other content")


def test_equal_while_checkpoints_follow_one_another():
    """With write buffers so small that each node makes one checkpoint after the other."""
    with Workspace() as workspace:
        small = ("--memtable-size", "1mb", "--log-checkpoint-bytes", "4mb")
        master = workspace.server("master", *OPTIONS, *small).start()
        replicas = [follower(workspace, f"replica{i}", master, *small).start() for i in range(2)]
        online(master, 2)
        with Writers(master, clients=2, batch=50, size=1000):
            for _ in range(2):
                check(outcomes(master, *replicas) == ["equal", "equal"], master.log_tail(60))


def test_a_replica_that_differs_is_found_and_copied_anew():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = follower(workspace, "replica", master).start()
        other = follower(workspace, "other", master).start()
        fill(master)
        online(master, 2)
        check(outcomes(master, replica, other) == ["equal", "equal"], "as it should be")
        with replica.client() as client:
            client.call("SELECT", 3)
            client.call("DEBUG", "FORGET", "scores")
            wait_for(lambda: client.call("EXISTS", "scores") == 0, 60, "gone here")
        call(master, "SET", "another", "1")  # a checkpoint stands for an offset, and nothing else moves that
        _, nodes = compare(master)
        check(nodes[address(other)][0] == "equal", nodes)
        outcome, _, detail = nodes[address(replica)]
        check(outcome == "different" and detail.startswith("database 3, keys from SCAN cursor "), nodes)
        # The range is that of the key.
        words = detail.split()
        first, last = int(words[-3]), int(words[-1])
        with master.client() as client:
            client.call("SELECT", 3)
            cursor, found = first, []
            while True:
                cursor, keys = client.call("SCAN", cursor, "COUNT", 1)
                found += keys
                cursor = int(cursor)
                if cursor == 0 or cursor > last:
                    break
            check(b"scores" in found, (found, first, last))
        # It was told before the answer came.
        check(replication(replica)["holdfast_differs_from_master"].startswith(detail), replication(replica))
        check("DIFFERS FROM ITS MASTER" in replica.log_text(), "and in its log")
        check("is a master" in refused(master, "HOLDFAST", "RESYNC"), "RESYNC of a master")
        check(call(replica, "HOLDFAST", "RESYNC") == "OK", "RESYNC")
        wait_for(lambda: "holdfast_differs_from_master" not in replication(replica), 60, "a new copy")
        online(master, 2)
        check(outcomes(master, replica, other) == ["equal", "equal"], "equal again")
        with replica.client() as client:
            client.call("SELECT", 3)
            check(client.call("ZCARD", "scores") == 1000, "it is back")


def test_injected_damage_needs_the_debug_command():
    with Workspace() as workspace:
        server = workspace.server("server").start()
        call(server, "SET", "key", "value")
        check("DEBUG command not allowed" in refused(server, "DEBUG", "FORGET", "key"), "not by default")
        check(call(server, "GET", "key") == b"value", "still there")


def test_refusals_and_what_bytes_from_anybody_do():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = follower(workspace, "replica", master).start()
        online(master, 1)
        unknown = "0123456789abcdef"
        for server, command, answer in (
                (replica, ("COMPARE",), "this server is a replica"), (master, ("COMPARE", "TIMEOUT", 0), "out of range"),
                (master, ("COMPARE", "x"), "syntax error"), (master, ("COMPARE", "TIMEOUT"), "syntax error"),
                (replica, ("DIGEST", "nothing"), "16 hex digits")):
            check(answer in refused(server, "HOLDFAST", *command), (command, refused(server, "HOLDFAST", *command)))
        check(call(replica, "HOLDFAST", "DIGEST", unknown).startswith("UNKNOWN "), "no such comparison")
        check(call(master, "HOLDFAST", "DIGEST", unknown) == "AWAY", "a master follows nobody")
        check(call(replica, "HOLDFAST", "VERDICT", unknown, "you are wrong") == "OK", "not heard")
        check("holdfast_differs_from_master" not in replication(replica), "of no comparison")
        call(replica, "REPLICAOF", "127.0.0.1", 1)
        check(call(replica, "HOLDFAST", "DIGEST", unknown, "PREPARE").startswith("AWAY"), "its master is gone")


def test_one_at_a_time_and_a_replica_that_is_silent_for_a_while():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = follower(workspace, "replica", master).start()
        online(master, 1)
        replica.freeze()
        running = InBackground(master, "HOLDFAST", "COMPARE")
        wait_for(lambda: "holdfast_comparison_in_progress" in replication(master), 60, "it is under way")
        check("under way already" in refused(master, "HOLDFAST", "COMPARE"), "one at a time")
        check(call(master, "SET", "meanwhile", "1") == "OK", "the master goes on")
        replica.thaw()
        check(running.reply()[2][2] == b"equal", "it came back")
        # And one that comes back as another process.
        replica.freeze()
        running = InBackground(master, "HOLDFAST", "COMPARE")
        wait_for(lambda: "holdfast_comparison_in_progress" in replication(master), 60, "it is under way")
        replica.kill()
        replica.start()
        check(running.reply()[2][2] == b"equal", "it was started again")


def test_a_replica_that_stays_away_is_given_up():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica, dead = [follower(workspace, name, master).start() for name in ("replica", "dead")]
        online(master, 2)
        dead.freeze()
        with master.client(timeout=240) as client:
            result = client.ask("HOLDFAST", "COMPARE", "TIMEOUT", 4000)
        if isinstance(result, list):
            nodes = {node[1]: node for node in result[2:]}
            check(nodes[address(dead)][2] == b"failed" and b"compared in time" in nodes[address(dead)][4], result)
        else:  # so slow is this machine
            check("in time" in str(result), result)
        call(master, "CONFIG", "SET", "repl-timeout", 2)
        result = call(master, "HOLDFAST", "COMPARE")
        failed = [node for node in result[2:] if node[1] == address(dead)]
        # Whether the link or the question is noticed first.
        check(all(node[2] == b"failed" for node in failed), result)
        check("given up after 2 s" in master.log_text() or not failed, result)
        dead.kill()


def test_one_that_is_being_copied_is_named():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, "--full-sync-bandwidth", "100kb").start()
        replica = follower(workspace, "replica", master).start()
        online(master, 1)
        with master.client() as client:
            client.pipeline([("SET", f"k{i}", os.urandom(10_000)) for i in range(300)])
        fresh = follower(workspace, "fresh", master).start()
        wait_for(lambda: "send_bulk" in str(replication(master)), 60, "a copy is under way")
        _, nodes = compare(master)
        check(nodes[address(replica)][0] == "equal", nodes)
        check(nodes[address(fresh)][0] == "failed" and "being synchronized" in nodes[address(fresh)][2], nodes)
        call(master, "CONFIG", "SET", "full-sync-bandwidth", "0")
        online(master, 2)
        check(outcomes(master, replica, fresh) == ["equal", "equal"], "all of them")


def main():
    return run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
