#!/usr/bin/env python3
"""min-replicas-durable: what is acknowledged survives the master, what is not confirmed nobody sees, and a member becomes
master only behind the promotion barrier."""

import os
import select
import shutil
import socket
import sys
import threading

from holdfast_testing import Disconnected, ReplyError, Workspace, check, run_tests, wait_for

EPOCH = 7 << 32
OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes")


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def replication(server):
    with server.client() as client:
        return client.info("replication")


def role(server):
    return replication(server)["role"]


def address(server):
    return f"127.0.0.1:{server.port}"


def node_id(server):
    return replication(server)["holdfast_node_id"]


def promise(member, candidate):
    return call(member, "HOLDFAST", "PROMISE", EPOCH, candidate, node_id(member))


def group(workspace, members, durable, *options):
    """A master and its members, all of whom know of the group."""
    options = OPTIONS + ("--min-replicas-durable-timeout", 60000) + options
    master = workspace.server("master", *options).start()
    replicas = [workspace.server(f"member{i}", *options, "--replicaof", "127.0.0.1", master.port).start()
                for i in range(members)]
    wait_for(lambda: sum("state=online" in str(value) for name, value in replication(master).items()
                         if name.startswith("slave")) == members, 60, "members online")
    call(master, "CONFIG", "SET", "min-replicas-durable", durable)
    call(master, "HOLDFAST", "MEMBERS", "SET", *map(address, replicas))
    settled(master, durable)
    return master, replicas


def settled(master, durable):
    def seen():
        fields = replication(master)
        return fields["holdfast_group_settled"] == "1" and fields["holdfast_group_durable"] == str(durable)
    wait_for(seen, 60, "the group is settled")


def good(master, count):
    wait_for(lambda: replication(master)["holdfast_members_good"] == str(count), 60, f"{count} in good standing")


def frozen(server):
    """Context: the process stands still."""
    class Frozen:
        def __enter__(self):
            server.freeze()

        def __exit__(self, *_):
            server.thaw()
    return Frozen()


def test_refusals_of_the_command():
    with Workspace() as workspace:
        master, (member,) = group(workspace, 1, 1)
        with master.client() as client, member.client() as other:
            for question, answer in (
                    (("HOLDFAST", "MEMBERS", "SET", "127.0.0.1:1"), "ERR No Holdfast replica '127.0.0.1:1' is online"),
                    (("HOLDFAST", "MEMBERS", "SET", address(member), address(member)), "is named twice"),
                    (("HOLDFAST", "DURABLE", "65"), "out of range"),
                    (("HOLDFAST", "DURABLE", "x"), "not an integer"),
                    (("HOLDFAST", "PROMISE", "0", "a" * 40, "b" * 40), "ERR epoch"),
                    (("HOLDFAST", "PROMISE", "9", "a", "b" * 40), "node ids"),
                    (("HOLDFAST", "PROMOTE", "x"), "ERR syntax error"),
                    (("HOLDFAST", "PROMISE", "9", "a" * 40, "b"), "node ids"),
                    (("HOLDFAST", "PROMISE", "9", "a" * 40, node_id(master)), "REFUSED 0 this node is a master")):
                check(answer in str(client.ask(*question)), (question, client.ask(*question)))
            check("this server is a replica" in str(other.ask("HOLDFAST", "MEMBERS", "SET")), "named to the master only")
            states = sorted(state for _, _, state, _ in client.call("HOLDFAST", "MEMBERS"))
            check(states == [b"online", b"self"], states)
            check(len(other.call("HOLDFAST", "MEMBERS")) == 2, "members know of the group")


def test_too_few_members_refuse_writes_before_they_run():
    with Workspace() as workspace:
        master, members = group(workspace, 2, 2, "--min-replicas-max-lag", 30)
        with master.client() as client:
            check(client.call("SET", "a", "1") == "OK", "two of two")
            members[1].kill()
            good(master, 1)
            check(str(client.ask("SET", "a", "2")).startswith("NOREPLICAS Not enough members"), "writes are refused")
            check(client.call("GET", "a") == b"1", "reads of what is confirmed go on")
            check("1 of 2" in str(client.ask("INCR", "a")), "and it says how many there are")
            client.call("MULTI")
            check(str(client.ask("SET", "a", "3")).startswith("NOREPLICAS"), "when they are queued")
            check(str(client.ask("EXEC")).startswith("EXECABORT"), "transactions, too")
            check(client.call("GET", "a") == b"1", "nothing of them ran")
            members[1].start()
            good(master, 2)
            check(client.call("SET", "a", "4") == "OK", "writes go on")
            # Fewer for this connection, then the default again.
            members[1].kill()
            good(master, 1)
            check(str(client.ask("SET", "a", "5")).startswith("NOREPLICAS"), "refused again")
            check(client.call("HOLDFAST", "DURABLE", 1) == "OK" and client.call("HOLDFAST", "DURABLE") == 1, "override")
            check(client.call("SET", "a", "6") == "OK", "one is enough for this connection")
            check(client.call("HOLDFAST", "DURABLE", "DEFAULT") == "OK", "back")
            check(str(client.ask("SET", "a", "7")).startswith("NOREPLICAS"), "two again")


def test_a_frozen_member():
    """The write waits, others do not see it; in the end it is answered that nobody has confirmed it."""
    with Workspace() as workspace:
        master, (member,) = group(workspace, 1, 1, "--min-replicas-max-lag", 600)
        with master.client() as writer, master.client() as reader, master.client() as careless:
            check(writer.call("SET", "a", "old") == "OK", "confirmed")
            with frozen(member):
                writer.send("SET", "a", "new")
                # Another connection that asks for nobody's confirmation sees when it has run.
                careless.call("HOLDFAST", "DURABLE", 0)
                wait_for(lambda: careless.call("GET", "a") == b"new", 30, "the write has run")
                reader.send("GET", "a")
                check(careless.call("SET", "b", "1") == "OK", "writes without confirmation go on")
                check(not select.select([reader.socket, writer.socket], [], [], 0)[0], "nothing was answered")
                check(careless.call("PING") == "PONG" and "role:master" in careless.call("INFO").decode(), "it lives")
                careless.call("CONFIG", "SET", "min-replicas-durable-timeout", 50)
                for client in (writer, reader):
                    answer = str(client.read())
                    check(answer.startswith("NOTCONFIRMED durable here, not confirmed there") and "0 of 1" in answer, answer)
                # A connection goes on behind such an answer, in order.
                answers = writer.pipeline([("PING",), ("GET", "a"), ("PING",)])
                check(answers[0] == answers[2] == "PONG" and "NOTCONFIRMED" in str(answers[1]), answers)
                careless.call("CONFIG", "SET", "min-replicas-durable-timeout", 60000)
                reader.send("GET", "a")
            check(reader.read() == b"new", "confirmed in the end")
            check(writer.call("GET", "a") == b"new", "for everybody")
            check(int(replication(master)["holdfast_replies_not_confirmed"]) == 3, "they are counted")


def test_a_failed_transaction_tells_nothing_unconfirmed():
    """EXEC's null says that a watched key was written, whatever was queued."""
    with Workspace() as workspace:
        master, (member,) = group(workspace, 1, 1, "--min-replicas-max-lag", 600)
        with master.client() as watcher, master.client() as careless:
            check(watcher.call("WATCH", "a") == "OK", "WATCH")
            careless.call("HOLDFAST", "DURABLE", 0)
            with frozen(member):
                careless.call("SET", "a", "new")
                watcher.pipeline([("MULTI",), ("PING",)])
                watcher.send("EXEC")
                check(careless.call("GET", "a") == b"new" and careless.call("PING") == "PONG", "others go on")
                check(not select.select([watcher.socket], [], [], 0.2)[0], "not told before it is confirmed")
            check(watcher.read() is None, "confirmed in the end")


def test_what_a_checkpoint_holds_is_gated_like_all_else():
    """Rows in LMDB do not know their writers."""
    with Workspace() as workspace:
        master, (member,) = group(workspace, 1, 1, "--min-replicas-max-lag", 600)
        with master.client() as careless, master.client() as reader:
            check(reader.call("SET", "a", "old") == "OK", "confirmed")
            careless.call("HOLDFAST", "DURABLE", 0)
            with frozen(member):
                careless.call("SET", "a", "new")
                careless.call("SAVE")
                master.kill()
                master.start()
                # It begins anew: nothing is confirmed before the member has said so.
                check(call(master, "CONFIG", "SET", "min-replicas-durable-timeout", 50) == "OK", "soon")
                with master.client() as first:
                    check(str(first.ask("GET", "a")).startswith("NOTCONFIRMED"), "it is not shown")
                call(master, "CONFIG", "SET", "min-replicas-durable-timeout", 60000)
            check(call(master, "GET", "a") == b"new", "the member has it now")


def writes_until_told_otherwise(server, acknowledged, stop):
    with server.client(timeout=120) as client:
        while not stop.is_set():
            try:
                acknowledged[0] = client.call("INCR", "counter")
            except (ReplyError, Disconnected):
                return


def test_acknowledged_writes_survive_the_master():
    """N = R: any member may be promoted, at once. kill -9 under load, several times."""
    with Workspace() as workspace:
        master, members = group(workspace, 1, 1)
        member = members[0]
        for _ in range(3):
            acknowledged, stop = [0], threading.Event()
            writer = threading.Thread(target=writes_until_told_otherwise, args=(master, acknowledged, stop))
            begun = int(call(master, "GET", "counter") or 0)
            writer.start()
            wait_for(lambda: acknowledged[0] > begun + 100, 60, "writes flow")
            master.kill()
            writer.join(60)
            check(call(member, "REPLICAOF", "NO", "ONE") == "OK", "promotion")
            check(role(member) == "master", "at once")
            # The old master comes back as a member and gives up what was not confirmed.
            master.start()
            call(master, "REPLICAOF", "127.0.0.1", member.port)
            with member.client(timeout=60) as client:
                value = wait_for(lambda: (lambda reply: reply if isinstance(reply, bytes) else None)(
                    client.ask("GET", "counter")), 60, "confirmed under the new master")
                check(int(value) >= acknowledged[0], f"{value} of {acknowledged[0]} acknowledged")
                wait_for(lambda: isinstance(client.ask("INCR", "counter"), int), 60, "writes go on")
            master, member = member, master
        check(int(replication(master)["holdfast_group_epoch"]) == 3, "each promotion is an epoch")


def test_the_barrier_asks_and_fetches():
    """N < R: the member that has less fetches what the other one has, and asks before it is master."""
    with Workspace() as workspace:
        master, (ahead, behind) = group(workspace, 2, 1)
        filling = "x" * 500_000  # more than sockets hold
        with frozen(behind), master.client() as client:
            for i in range(50):
                client.call("SET", f"key{i}", f"{i} {filling}")
            master.kill()
            ahead.kill()
        check(call(behind, "REPLICAOF", "NO", "ONE") == "OK", "it is told to be master")
        fields = wait_for(lambda: (lambda f: f if "nobody listens" in f.get("holdfast_promotion_waits_for", "") else None)(
            replication(behind)), 60, "it says what it waits for")
        check(fields["role"] == "slave", "and is none alone")
        ahead.start()
        wait_for(lambda: role(behind) == "master", 60, "the other member promised and gave what it has")
        call(ahead, "REPLICAOF", "127.0.0.1", behind.port)
        with behind.client(timeout=60) as client:
            wait_for(lambda: str(client.ask("GET", "key49")).startswith("b'49 "), 60, "it is there, and confirmed")
            check(all(client.call("GET", f"key{i}") == f"{i} {filling}".encode() for i in range(50)), "all of it")
            wait_for(lambda: client.ask("SET", "after", "1") == "OK", 60, "writes go on")
        # The old master lives again and does not know: nobody confirms its writes any more.
        master.start()
        with master.client() as client:
            check(str(client.ask("SET", "lost", "1")).startswith("NOREPLICAS"), "the old master is refused its writes")


def test_an_emptied_disk_promises_nothing_in_the_old_name():
    with Workspace() as workspace:
        master, (member, _) = group(workspace, 2, 1)
        old = node_id(member)
        member.kill()
        shutil.rmtree(member.directory)
        os.mkdir(member.directory)
        member.start()
        wait_for(lambda: replication(member)["master_link_status"] == "up", 60, "copied anew")
        answer = call(member, "HOLDFAST", "PROMISE", EPOCH, "c" * 40, old)
        check(f"REFUSED 0 another node is at this address, {node_id(member)} instead of {old}" in answer, answer)


def test_who_promised_acknowledges_no_more():
    with Workspace() as workspace:
        master, (one, two) = group(workspace, 2, 1, "--min-replicas-max-lag", 600, "--min-replicas-durable-timeout", 500)
        candidate = "c" * 40
        with master.client() as client:
            check(client.call("SET", "a", "1") == "OK", "confirmed")
            for member in (one, two):
                answer = promise(member, candidate)
                check(answer.startswith("PROMISED 0 "), answer)
                again = promise(member, candidate)
                check(again.startswith("PROMISED 0 "), again)
                refused = promise(member, "f" * 40)
                check(refused.startswith(f"REFUSED {EPOCH} "), refused)
            other = [m for m in (one, two) if replication(m)["holdfast_promised_epoch"] == "7"]
            check(len(other) == 2, "both have promised")
            wait_for(lambda: str(client.ask("SET", "a", "2")).startswith(("NOREPLICAS", "NOTCONFIRMED")) or None, 90,
                     "no member is in good standing any more")
            # A promise survives a crash.
            two.kill()
            two.start()
            check(replication(two)["holdfast_promised_epoch"] == "7", "kept")
            # The candidate keeps its word by a later epoch.
            check(call(one, "REPLICAOF", "NO", "ONE") == "OK", "promotion")
            wait_for(lambda: role(one) == "master", 60, "it is master")
            check(int(replication(one)["holdfast_group_epoch"]) >= 8, "of a later epoch")
        call(two, "REPLICAOF", "127.0.0.1", one.port)
        with one.client(timeout=60) as client:
            wait_for(lambda: client.ask("SET", "a", "3") == "OK", 60, "and is acknowledged")


class Valve:
    """A way to a server that lets only so many more bytes of its answers through."""

    def __init__(self, server):
        self.server, self.left, self.open = server, sys.maxsize, threading.Event()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def let_through(self, size):
        self.left = size
        self.open.clear()

    def release(self):
        self.left = sys.maxsize
        self.open.set()

    def _accept(self):
        while True:
            try:
                near, _ = self.listening.accept()
                far = socket.create_connection(("127.0.0.1", self.server.port))
            except OSError:
                return
            threading.Thread(target=self._carry, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, True), daemon=True).start()

    def _carry(self, source, destination, counted):
        try:
            while data := source.recv(1 << 16):
                if counted and len(data) > self.left:
                    self.open.wait()
                if counted:
                    self.left -= len(data)
                destination.sendall(data)
        except OSError:
            pass
        for end in (source, destination):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


def test_a_promise_in_the_middle_of_a_long_transaction():
    """The log has no place for it there: what has come of the transaction is dropped, and comes again."""
    size = 8 << 20
    with Workspace() as workspace:
        master, (member,) = group(workspace, 1, 1)
        valve = Valve(master)
        check(call(member, "REPLICAOF", "127.0.0.1", valve.port) == "OK", "by way of the valve")
        good(master, 1)
        check(call(master, "SET", "a", "1") == "OK", "confirmed")
        before = int(replication(member)["master_repl_offset"])
        valve.let_through(size // 2)
        with master.client() as client:
            client.call("HOLDFAST", "DURABLE", 0)
            check(client.call("SET", "long", b"x" * size) == "OK", "on the master's disk")
        # INFO does not wait for the end of the transaction.
        wait_for(lambda: int(replication(member)["master_repl_offset"]) > before + size // 8, 60, "a part of it is there")
        answer = promise(member, "c" * 40).split()
        check(answer[0] == "PROMISED" and int(answer[2]) < before + size // 8, answer)
        check(call(member, "STRLEN", "long") == 0, "it did not happen yet")
        valve.release()
        wait_for(lambda: call(member, "STRLEN", "long") == size, 60, "it came again")


def test_failover_keeps_what_is_acknowledged():
    with Workspace() as workspace:
        master, members = group(workspace, 2, 1)
        acknowledged, stop = [0], threading.Event()
        writer = threading.Thread(target=writes_until_told_otherwise, args=(master, acknowledged, stop))
        writer.start()
        wait_for(lambda: acknowledged[0] > 100, 60, "writes flow")
        check(call(master, "FAILOVER", "TO", "127.0.0.1", members[0].port, "TIMEOUT", 30000) == "OK", "FAILOVER")
        wait_for(lambda: role(members[0]) == "master" and role(master) == "slave", 60, "the roles have changed")
        wait_for(lambda: replication(master)["master_link_status"] == "up", 60, "the old master follows")
        writer.join(60)
        call(members[1], "REPLICAOF", "127.0.0.1", members[0].port)
        with members[0].client(timeout=60) as client:
            value = wait_for(lambda: (lambda reply: reply if isinstance(reply, bytes) else None)(
                client.ask("GET", "counter")), 60, "confirmed")
            check(int(value) >= acknowledged[0], f"{value} of {acknowledged[0]} acknowledged")
            wait_for(lambda: isinstance(client.ask("INCR", "counter"), int), 60, "writes go on")


def test_force_and_the_group_are_kept_over_restarts():
    with Workspace() as workspace:
        master, (one, two) = group(workspace, 2, 1)
        call(master, "SET", "a", "1")
        wait_for(lambda: call(one, "GET", "a") == b"1", 60, "there")
        master.kill()
        two.kill()
        check(call(one, "HOLDFAST", "PROMOTE", "FORCE") == "OK", "forced")
        check(role(one) == "master", "at once")
        one.kill()
        one.start()
        fields = replication(one)
        check(fields["role"] == "master" and fields["holdfast_group_members"] == "2", fields)
        check(call(one, "CONFIG", "GET", "min-replicas-durable")[1] == b"1", "the group's number is in force")
        with one.client() as client:
            check(str(client.ask("SET", "a", "2")).startswith("NOREPLICAS"), "nobody confirms")
            client.call("CONFIG", "SET", "min-replicas-durable", 0)
            check(client.call("SET", "a", "2") == "OK", "asynchronous again")
            wait_for(lambda: replication(one)["holdfast_group_durable"] == "0", 60, "the group is told")


def main():
    return run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
