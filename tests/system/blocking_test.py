#!/usr/bin/env python3
"""Clients that wait for lists, sorted sets and streams: who is served, when, with what, and what ends a wait otherwise.

Every scenario runs against holdfast-server and, where there is one, against redis-server: what is expected here is what
Redis does. What only Holdfast promises (a pop that was answered is on disk) has scenarios of its own.
"""

import os
import shutil
import sys
import time

import blocking_streams
from holdfast_testing import Client, Disconnected, REDIS_SERVER, ReplyError, Workspace, check, wait_for

NULL = None


class Scene:
    """One server, emptied, and clients that wait on it."""

    def __init__(self, server):
        self.server = server
        self.control = server.client()
        self.control.call("FLUSHALL")
        self.clients = [self.control]

    def client(self):
        self.clients.append(self.server.client())
        return self.clients[-1]

    def do(self, words, expected):
        reply = self.control.ask(*words.split())
        check(reply == expected, f"{words}: {reply!r}, expected {expected!r}")

    def blocked(self):
        return int(self.control.info("clients")["blocked_clients"])

    def wait(self, words, client=None):
        """Sends a command that has to wait; returns when it does."""
        client = client or self.client()
        before = self.blocked()
        client.send(*words.split())
        wait_for(lambda: self.blocked() == before + 1, 20, f"{words} waits")
        return client

    def expect(self, client, expected, what):
        reply = client.read()
        check(reply == expected, f"{what}: {reply!r}, expected {expected!r}")

    def silent(self, client, what):
        client.socket.settimeout(0.05)
        try:
            reply = client.read()
        except (OSError, Disconnected):
            client.socket.settimeout(30)
            return
        raise AssertionError(f"{what} was answered: {reply!r}")

    def close(self):
        for client in self.clients:
            client.close()


def nothing_to_wait_for(scene):
    scene.do("RPUSH l a b c d", 4)
    scene.do("BLPOP none l 0", [b"l", b"a"])
    scene.do("BRPOP l none 0", [b"l", b"d"])
    scene.do("BLMPOP 0 2 none l RIGHT COUNT 5", [b"l", [b"c", b"b"]])
    scene.do("EXISTS l", 0)
    scene.do("RPUSH l a b", 2)
    scene.do("BLMOVE l m LEFT RIGHT 0", b"a")
    scene.do("BRPOPLPUSH l m 0", b"b")
    scene.do("LRANGE m 0 -1", [b"b", b"a"])


def served_in_the_order_of_arrival(scene):
    first, second, third = (scene.wait(f"BLPOP q{i} q 0") for i in range(3))
    scene.do("RPUSH q a b", 2)
    scene.expect(first, [b"q", b"a"], "the first")
    scene.expect(second, [b"q", b"b"], "the second")
    scene.silent(third, "the third")
    scene.do("LLEN q", 0)
    scene.do("LPUSH q c d", 2)
    scene.expect(third, [b"q", b"d"], "the third")
    scene.do("LRANGE q 0 -1", [b"c"])
    check(scene.blocked() == 0, "nobody waits")


def one_client_with_many_keys(scene):
    waiting = scene.wait("BLPOP a b c b 0")
    scene.do("RPUSH b 1", 1)
    scene.expect(waiting, [b"b", b"1"], "the waiter")
    # It waits for none of the others any more.
    scene.do("RPUSH a 1", 1)
    scene.do("RPUSH c 1", 1)
    scene.do("LLEN a", 1)
    again = scene.wait("BRPOP x y 0")
    scene.do("MULTI", "OK")
    scene.do("RPUSH y 1", "QUEUED")
    scene.do("RPUSH x 1", "QUEUED")
    scene.do("EXEC", [1, 1])
    scene.expect(again, [b"y", b"1"], "the key that was touched first")
    scene.do("LLEN x", 1)


def moves_wait_and_wake_others(scene):
    mover = scene.wait("BLMOVE a b LEFT RIGHT 0")
    taker = scene.wait("BLPOP b 0")
    scene.do("RPUSH a x y", 2)
    scene.expect(mover, b"x", "the mover")
    scene.expect(taker, [b"b", b"x"], "who waited for what it moved")
    scene.do("LRANGE a 0 -1", [b"y"])
    around = scene.wait("BRPOPLPUSH c c 0")
    scene.do("RPUSH c 1", 1)
    scene.expect(around, b"1", "a list onto itself")
    scene.do("LRANGE c 0 -1", [b"1"])


def move_to_another_type(scene):
    mover = scene.wait("BLMOVE a s LEFT RIGHT 0")
    behind = scene.wait("BLPOP a 0")
    scene.do("SET s text", "OK")
    scene.do("RPUSH a x", 1)
    reply = mover.read()
    check(isinstance(reply, ReplyError) and str(reply).startswith("WRONGTYPE"), f"the mover got {reply!r}")
    scene.expect(behind, [b"a", b"x"], "who waited behind the mover")


def many_items_at_once(scene):
    waiting = scene.wait("BLMPOP 0 2 a b RIGHT COUNT 2")
    scene.do("RPUSH b 1 2 3", 3)
    scene.expect(waiting, [b"b", [b"3", b"2"]], "BLMPOP")
    scene.do("LRANGE b 0 -1", [b"1"])


def transactions(scene):
    waiting = scene.wait("BLPOP l 0")
    for words, expected in (("MULTI", "OK"), ("RPUSH l a", "QUEUED"), ("LPUSH l b", "QUEUED"), ("LLEN l", "QUEUED"),
                            ("EXEC", [1, 2, 2])):
        scene.do(words, expected)
    scene.expect(waiting, [b"l", b"b"], "served after EXEC")
    scene.do("DEL l", 1)
    waiting = scene.wait("BLPOP l 0")
    for words, expected in (("MULTI", "OK"), ("RPUSH l a", "QUEUED"), ("DEL l", "QUEUED"), ("EXEC", [1, 1])):
        scene.do(words, expected)
    scene.silent(waiting, "who waited for a key that came and went")
    # Inside of EXEC nobody waits.
    for words, expected in (("MULTI", "OK"), ("BLPOP none 0", "QUEUED"), ("BLMOVE none x LEFT LEFT 0", "QUEUED"),
                            ("BRPOPLPUSH none x 0", "QUEUED"), ("BLMPOP 0 1 none LEFT", "QUEUED"),
                            ("EXEC", [NULL, NULL, NULL, NULL])):
        scene.do(words, expected)
    # What a served client takes is a change like another.
    watcher = scene.client()
    check(watcher.call("WATCH", "w") == "OK", "WATCH")
    other = scene.wait("BLPOP w 0")
    scene.do("RPUSH w a", 1)
    scene.expect(other, [b"w", b"a"], "BLPOP")
    check(watcher.call("MULTI") == "OK" and watcher.call("PING") == "QUEUED", "MULTI")
    check(watcher.ask("EXEC") is NULL, "EXEC after a served client changed the watched key")


def keys_that_come_otherwise(scene):
    for words in ("RENAME source q", "COPY source q", "LMOVE source q LEFT LEFT"):
        waiting = scene.wait("BLPOP q 0")
        scene.do("RPUSH source x", 1)
        scene.control.call(*words.split())
        scene.expect(waiting, [b"q", b"x"], words)
        scene.do("DEL source q", 1 if words.startswith("COPY") else 0)
    waiting = scene.wait("BLPOP q 0")
    scene.do("SELECT 1", "OK")
    scene.do("RPUSH q one", 1)
    scene.silent(waiting, "who waits in another database")
    scene.do("MOVE q 0", 1)
    scene.expect(waiting, [b"q", b"one"], "MOVE")
    waiting = scene.wait("BLPOP q 0")
    scene.do("RPUSH q two", 1)
    scene.do("SWAPDB 0 1", "OK")
    scene.expect(waiting, [b"q", b"two"], "SWAPDB")


def other_types_do_not_serve(scene):
    waiting = scene.wait("BLPOP q 0")
    scene.do("SET q text", "OK")
    scene.silent(waiting, "who waits for a list")
    scene.do("DEL q", 1)
    scene.do("RPUSH q a", 1)
    scene.expect(waiting, [b"q", b"a"], "BLPOP")
    scene.do("SET s text", "OK")
    reply = scene.control.ask("BLPOP", "s", "0")
    check(isinstance(reply, ReplyError) and str(reply).startswith("WRONGTYPE"), f"BLPOP of a string: {reply!r}")


def timeouts(scene):
    for words in ("BLPOP q 0.2", "BRPOP q r 0.2", "BLMPOP 0.2 1 q LEFT", "BLMOVE q r LEFT LEFT 0.2",
                  "BRPOPLPUSH q r 0.2"):
        began = time.monotonic()
        scene.do(words, NULL)
        took = time.monotonic() - began
        check(0.19 <= took < 10, f"{words} took {took:.3f} s")
    # Several at once, the longest first: each ends in its own time, and they end in that order.
    clients = [scene.wait(f"BLPOP q {seconds}") for seconds in ("0.6", "0.4")]
    scene.expect(clients[1], NULL, "the shorter one")
    scene.silent(clients[0], "the longer one")
    scene.expect(clients[0], NULL, "the longer one")
    scene.do("RPUSH q a", 1)
    scene.do("LLEN q", 1)


def resp3(scene):
    client = scene.client()
    client.call("HELLO", "3")
    check(client.ask("BLPOP", "none", "0.01") is NULL, "a timeout in RESP3")
    scene.wait("BLPOP q 0", client)
    scene.do("RPUSH q a", 1)
    scene.expect(client, [b"q", b"a"], "BLPOP in RESP3")


def client_unblock(scene):
    client = scene.client()
    number = client.call("CLIENT", "ID")
    scene.do(f"CLIENT UNBLOCK {number}", 0)
    for words in ("", " TIMEOUT"):
        scene.wait("BLPOP q 0", client)
        scene.do(f"CLIENT UNBLOCK {number}{words}", 1)
        scene.expect(client, NULL, f"CLIENT UNBLOCK{words}")
    scene.wait("BLMOVE q r LEFT LEFT 0", client)
    scene.do(f"CLIENT UNBLOCK {number} ERROR", 1)
    scene.expect(client, ReplyError("UNBLOCKED client unblocked via CLIENT UNBLOCK"), "CLIENT UNBLOCK ERROR")
    scene.do("RPUSH q a", 1)
    scene.do("LLEN q", 1)
    check(client.call("PING") == "PONG", "the client goes on")


def clients_that_leave(scene):
    first, second = scene.wait("BLPOP q 0"), scene.wait("BLPOP q 0")
    first.close()
    wait_for(lambda: scene.blocked() == 1, 20, "the first is forgotten")
    scene.do("RPUSH q a", 1)
    scene.expect(second, [b"q", b"a"], "the second")
    third = scene.client()
    number = third.call("CLIENT", "ID")
    scene.wait("BLPOP q 0", third)
    scene.do(f"CLIENT KILL ID {number}", 1)
    wait_for(lambda: scene.blocked() == 0, 20, "the killed one is forgotten")
    scene.do("RPUSH q b", 1)
    scene.do("LRANGE q 0 -1", [b"b"])


def commands_behind_a_wait(scene):
    client = scene.client()
    before = scene.blocked()
    client.send_raw(b"".join(Client.encode(*words.split()) for words in
                             ("SET x 1", "BLPOP q 0", "INCR x", "BLPOP q 0", "INCR x")))
    scene.expect(client, "OK", "SET")
    wait_for(lambda: scene.blocked() == before + 1, 20, "BLPOP waits")
    scene.do("GET x", b"1")
    scene.do("RPUSH q a", 1)
    scene.expect(client, [b"q", b"a"], "the first BLPOP")
    scene.expect(client, 2, "INCR behind it")
    wait_for(lambda: scene.blocked() == before + 1, 20, "the second BLPOP waits")
    scene.do("RPUSH q b", 1)
    scene.expect(client, [b"q", b"b"], "the second BLPOP")
    scene.expect(client, 3, "INCR behind it")


def becoming_a_replica(scene):
    waiting = scene.wait("BLPOP q 0")
    scene.do("REPLICAOF 127.0.0.1 1", "OK")
    scene.expect(waiting, ReplyError("UNBLOCKED force unblock from blocking operation, instance state changed "
                                     "(master -> replica?)"), "the waiter")
    try:
        waiting.socket.settimeout(20)
        check(waiting.socket.recv(1) == b"", "the connection is closed")
    except ConnectionError:
        pass
    reply = scene.client().ask("BLPOP", "q", "0")
    check(isinstance(reply, ReplyError) and str(reply).startswith("READONLY"), f"BLPOP on a replica: {reply!r}")
    scene.do("REPLICAOF NO ONE", "OK")


def sorted_sets(scene):
    scene.do("ZADD z 1 a 2 b 3 c 4 d", 4)
    scene.do("BZPOPMIN none z 0", [b"z", b"a", b"1"])
    scene.do("BZPOPMAX z none 0", [b"z", b"d", b"4"])
    scene.do("BZMPOP 0 2 none z MAX COUNT 5", [b"z", [[b"c", b"3"], [b"b", b"2"]]])
    scene.do("EXISTS z", 0)
    scene.do("BZPOPMIN z 0.01", NULL)
    scene.do("BZMPOP 0.01 1 z MIN", NULL)


def waiting_for_sorted_sets(scene):
    low, high = scene.wait("BZPOPMIN other z 0"), scene.wait("BZPOPMAX z 0")
    both = scene.wait("BZMPOP 0 2 z other MIN COUNT 2")
    waits_on = scene.wait("BZPOPMIN z 0")
    scene.do("RPUSH z x", 1)
    scene.silent(low, "the first, for a list")
    scene.do("DEL z", 1)
    scene.do("ZADD z 1 a 2.5 b 3 c 4 d", 4)
    scene.expect(low, [b"z", b"a", b"1"], "the first")
    scene.expect(high, [b"z", b"d", b"4"], "the second")
    scene.expect(both, [b"z", [[b"b", b"2.5"], [b"c", b"3"]]], "the third")
    scene.silent(waits_on, "the fourth")
    scene.do("SADD s m", 1)
    scene.do("ZUNIONSTORE z 1 s WEIGHTS 7", 1)
    scene.expect(waits_on, [b"z", b"m", b"7"], "the fourth")
    scene.do("EXISTS z", 0)
    check(scene.blocked() == 0, "nobody waits")


def one_kind_of_waiter_beside_another(scene):
    list_waiter, set_waiter = scene.wait("BLPOP k 0"), scene.wait("BZPOPMIN k 0")
    scene.do("ZADD k 1 a", 1)
    scene.expect(set_waiter, [b"k", b"a", b"1"], "who waits for a sorted set")
    scene.do("RPUSH k x", 1)
    scene.expect(list_waiter, [b"k", b"x"], "who waits for a list")


SCENARIOS = [nothing_to_wait_for, served_in_the_order_of_arrival, one_client_with_many_keys, moves_wait_and_wake_others,
             move_to_another_type, many_items_at_once, transactions, keys_that_come_otherwise, other_types_do_not_serve,
             timeouts, resp3, client_unblock, clients_that_leave, commands_behind_a_wait, sorted_sets, waiting_for_sorted_sets,
             one_kind_of_waiter_beside_another, becoming_a_replica]

SCENARIOS += blocking_streams.SCENARIOS


def answered_pops_are_on_disk(workspace):
    """What a waiter was given is gone after a crash, and what nobody was given is still there: nothing twice, nothing
    lost."""
    server = workspace.server("crash").start()
    scene = Scene(server)
    waiters = [scene.wait("BLPOP q 0") for _ in range(3)] + [scene.wait("BLMOVE q moved LEFT RIGHT 0")]
    scene.do("RPUSH q 1 2 3 4 5", 5)
    replies = [waiter.read() for waiter in waiters]
    check(replies == [[b"q", b"1"], [b"q", b"2"], [b"q", b"3"], b"4"], f"the waiters got {replies!r}")
    scene.close()
    server.restart()
    with server.client() as client:
        check(client.call("LRANGE", "q", "0", "-1") == [b"5"], "what nobody took is there")
        check(client.call("LRANGE", "moved", "0", "-1") == [b"4"], "what was moved is there")
    server.stop()


def replicas_have_the_same(workspace):
    debug = ("--enable-debug-command", "yes")
    master = workspace.server("master", *debug).start()
    replica = workspace.server("replica", *debug, "--replicaof", "127.0.0.1", master.port).start()
    scene = Scene(master)
    with replica.client() as other:
        wait_for(lambda: other.info("replication").get("master_link_status") == "up", 60, "the link is up")
        scene.wait("BZPOPMIN z 0")
        scene.do("ZADD z 1 a 2 b 3 c", 3)
        scene.do("ZADD z GT INCR 0.1 b", b"2.1000000000000001")
        waiters = [scene.wait(words) for words in ("BLPOP a 0", "BLMOVE a b RIGHT LEFT 0", "BLMPOP 0 1 a LEFT COUNT 2")]
        scene.do("RPUSH a 1 2 3 4 5 6", 6)
        for waiter in waiters:
            waiter.read()
        scene.do("LINSERT a BEFORE 5 x", 3)
        digest = scene.control.call("DEBUG", "DIGEST")
        wait_for(lambda: other.call("DEBUG", "DIGEST") == digest, 30, "the replica has the same data")
    scene.close()
    replica.stop()
    master.stop()


def main():
    servers = [("holdfast", lambda w: w.server("holdfast", "--enable-debug-command", "yes"))]
    if os.path.exists(REDIS_SERVER) or shutil.which(REDIS_SERVER):
        servers.append(("redis", lambda w: w.redis("redis")))
    for name, make in servers:
        with Workspace() as workspace:
            server = make(workspace).start()
            own = blocking_streams.OWN_SCENARIOS if name == "holdfast" else []
            for scenario in SCENARIOS + own:
                scene = Scene(server)
                try:
                    scenario(scene)
                except Exception as error:
                    raise AssertionError(f"{name}, {scenario.__name__}: {error}") from error
                finally:
                    scene.close()
        print(f"{name}: {len(SCENARIOS)} scenarios", flush=True)
    for test in (answered_pops_are_on_disk, replicas_have_the_same):
        with Workspace() as workspace:
            test(workspace)
        print(test.__name__, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
