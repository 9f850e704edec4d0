#!/usr/bin/env python3
"""MIGRATE: between holdfast-server and redis-server both ways, with passwords, errors word for word as redis-server's,
other clients served meanwhile, and keys that were changed meanwhile kept.

usage: migrate_test.py
"""
import random
import select
import socket
import sys
import threading

from holdfast_testing import ReplyError, Workspace, free_port, wait_for
from rdb_values import commands, compare


def both_ways(work):
    ours = work.server("ours").start()
    theirs = work.redis("theirs", "--requirepass", "secret").start()
    theirs.password = "secret"
    before = work.redis("before").start()
    rng = random.Random(5)
    with ours.client() as here, theirs.client() as there, before.client() as model:
        made = commands(rng, 60)
        here.pipeline(made)
        model.pipeline(made)
        keys = here.call("KEYS", "*")
        assert len(keys) == 60
        assert here.call("MIGRATE", "127.0.0.1", theirs.port, keys[0], 0, 5000, "COPY", "AUTH", "secret") == "OK"
        assert here.call("EXISTS", keys[0]) == there.call("EXISTS", keys[0]) == 1
        # One is busy there: it stays here, the others move.
        reply = here.ask("MIGRATE", "127.0.0.1", theirs.port, "", 0, 5000, "AUTH2", "default", "secret", "KEYS", *keys)
        assert "BUSYKEY" in str(reply), reply
        assert here.call("KEYS", "*") == [keys[0]]
        assert here.call("MIGRATE", "127.0.0.1", theirs.port, keys[0], 0, 5000, "REPLACE", "AUTH", "secret") == "OK"
        assert here.call("DBSIZE") == 0
        compare_without_times(model, there)
        ours.restart()
        with ours.client() as again:
            assert again.call("DBSIZE") == 0, "what was moved came back"
            again.call("CONFIG", "SET", "requirepass", "hidden")
            assert there.call("MIGRATE", "127.0.0.1", ours.port, "", 0, 5000, "AUTH", "hidden", "KEYS", *keys) == "OK"
            assert there.call("DBSIZE") == 0
            compare_without_times(model, again)


def compare_without_times(one, other):
    """Times are sent as what is left of them: they differ by what the way took."""
    for key in one.call("KEYS", "*"):
        a, b = one.call("PEXPIRETIME", key), other.call("PEXPIRETIME", key)
        assert (a == b == -1) or abs(a - b) < 60000, (key, a, b)
    for client in (one, other):
        client.pipeline([["PERSIST", key] for key in client.call("KEYS", "*")])
    compare(one, other, delivery_times=False)


def errors(work):
    ours = work.server("errors-ours").start()
    theirs = work.redis("errors-theirs").start()
    target = work.redis("errors-target", "--requirepass", "secret").start()
    nobody = free_port()
    with ours.client() as a, theirs.client() as b:
        for client in (a, b):
            client.call("SET", "k", "v")
        to = ["127.0.0.1", target.port]
        calls = [to + ["missing", 0, 100], to + ["", 0, 100, "KEYS", "missing", "gone"], to + ["k", 0, 1000],
                 to + ["k", 0, 1000, "AUTH", "wrong"], to + ["k", 99, 1000, "AUTH", "secret"],
                 to + ["k", "x", 1000], to + ["k", 0, "x"], to + ["k", 0, 1000, "nonsense"],
                 to + ["k", 0, 1000, "KEYS", "k"], to + ["k", 0, 1000, "AUTH"], to + ["k", 0, 1000, "AUTH2", "user"],
                 ["127.0.0.1", nobody, "k", 0, 200], to + ["k"]]
        for call in calls:
            mine, real = a.ask("MIGRATE", *call), b.ask("MIGRATE", *call)
            assert mine == real, (call, mine, real)
        for client in (a, b):
            assert client.call("GET", "k") == b"v"
            assert client.call("COMMAND", "GETKEYS", "MIGRATE", "h", 1, "", 0, 1, "AUTH", "KEYS", "KEYS", "x", "y") == [
                b"x", b"y"]
        a.call("MULTI")
        a.call("MIGRATE", *to, "k", 0, 1000)
        assert "not allowed in a transaction" in str(a.call("EXEC")[0])


class SlowTarget:
    """Takes what comes, and confirms it when it is told to."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.may_answer = threading.Event()
        self.received = b""
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        connection, _ = self.listener.accept()
        connection.settimeout(20)
        while self.received.count(b"RESTORE") < 1:
            self.received += connection.recv(65536)
        self.may_answer.wait(20)
        connection.sendall(b"+OK\r\n+OK\r\n")
        connection.recv(1)


def others_go_on(work):
    ours = work.server("slow").start()
    with ours.client() as mover, ours.client() as other:
        for change, stays in ((None, False), (("APPEND", "k", "more"), True), (("PEXPIRE", "k", 100000), True),
                              (("DEL", "k"), False)):
            other.call("SET", "k", "value")
            target = SlowTarget()
            mover.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 10000)
            wait_for(lambda: b"RESTORE" in target.received, what="the payload's arrival")
            assert other.call("PING") == "PONG"
            assert other.call("GET", "k") == b"value"
            if change:
                other.call(*change)
            target.may_answer.set()
            reply = mover.read()
            assert isinstance(reply, ReplyError) == bool(change), reply
            assert other.call("EXISTS", "k") == int(stays), (change, reply)
        # A client that goes does not stop it; and a target that never answers does not stop the server's end.
        target = SlowTarget()
        other.call("SET", "k", "value")
        with ours.client() as leaving:
            leaving.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 10000)
            wait_for(lambda: b"RESTORE" in target.received, what="the payload's arrival")
        target.may_answer.set()
        wait_for(lambda: other.call("EXISTS", "k") == 0, what="the key's deletion")
        silent = SlowTarget()
        other.call("SET", "k", "value")
        mover.send("MIGRATE", "127.0.0.1", silent.port, "k", 0, 3600000)
        wait_for(lambda: b"RESTORE" in silent.received, what="the payload's arrival")
        assert ours.terminate() == 0
    ours.start()
    with ours.client() as client:
        assert client.call("GET", "k") == b"value"


def so_many_at_a_time(work):
    """Eight, of which those count that wait for the disk: all that arrive together are looked at before the first sync."""
    ours = work.server("many").start()
    silent = [SlowTarget() for _ in range(9)]
    with ours.client() as writer:
        writer.call("SET", "k", "value")
        movers = [ours.client() for _ in silent]
        ours.freeze()
        writer.send("SET", "k", "other")
        for mover, target in zip(movers, silent):
            mover.send("MIGRATE", "127.0.0.1", target.port, "k", 0, 20000)
        ours.thaw()
        assert writer.read() == "OK"
        ready, _, _ = select.select([mover.socket for mover in movers], [], [], 30)
        refused = next(mover for mover in movers if mover.socket in ready)
        assert str(refused.read()) == "ERR Too many MIGRATE commands at a time"
        for target in silent:
            target.may_answer.set()
        replies = [str(mover.read()) for mover in movers if mover is not refused]
        assert all(reply == "OK" or reply.startswith("ERR A key was changed") for reply in replies), replies
        writer.call("SET", "k", "value")
        again = SlowTarget()
        again.may_answer.set()
        assert refused.call("MIGRATE", "127.0.0.1", again.port, "k", 0, 20000) == "OK", "a place is free again"
        for mover in movers:
            mover.close()


def main():
    with Workspace() as work:
        errors(work)
        both_ways(work)
        so_many_at_a_time(work)
        others_go_on(work)
    print("keys move")
    return 0


if __name__ == "__main__":
    sys.exit(main())
