#!/usr/bin/env python3
"""Roles and links: whoever was told of a change finds it again after any crash; what is told of links, and what ends them."""

import os
import socket
import sys
import threading

from holdfast_testing import Workspace, check, free_port, run_tests, wait_for


def role_of(server):
    with server.client() as client:
        return client.call("ROLE")[0]


def test_an_answered_change_of_role_survives_a_kill():
    """With appendfsync no the log is written every 20 ms at best: an answer that did not wait would be found out."""
    with Workspace() as workspace:
        server = workspace.server("node", "--appendfsync", "no").start()
        nobody = free_port()
        ids = set()
        for round_number in range(8):
            with server.client() as client:
                client.call("SET", "round", round_number)
                check(client.call("REPLICAOF", "127.0.0.1", nobody) == "OK", "REPLICAOF")
                server.kill()
            server.start()
            check(role_of(server) == b"slave", f"the role of a replica is kept (round {round_number})")
            with server.client() as client:
                # As Sentinel does it.
                check(client.call("MULTI") == "OK", "MULTI")
                for command in (("REPLICAOF", "NO", "ONE"), ("ROLE",), ("INFO", "replication")):
                    check(client.call(*command) == "QUEUED", command)
                replies = client.call("EXEC")
                server.kill()
                check(replies[0] == "OK" and replies[1][0] == b"master", replies)
                told = dict(line.split(":", 1) for line in replies[2].decode().splitlines() if ":" in line)
            server.start()
            with server.client() as client:
                info = client.info("replication")
                check(info["role"] == "master", f"the promotion is kept (round {round_number})")
                check(info["master_replid"] == told["master_replid"], "and so is the name of its history")
                check(told["master_replid"] not in ids, "each promotion begins a new history")
                ids.add(told["master_replid"])


def test_a_role_seen_by_others_survives_a_kill():
    """Another connection that saw the new role (INFO, ROLE, HELLO) saw what a crash cannot undo."""
    with Workspace() as workspace:
        server = workspace.server("node", "--appendfsync", "no").start()
        nobody = free_port()
        for question in (("ROLE",), ("INFO", "replication"), ("HELLO", 2)):
            with server.client() as one, server.client() as other:
                one.send("REPLICAOF", "127.0.0.1", nobody)
                seen = False
                while not seen:
                    answer = str(other.call(*question))
                    seen = "slave" in answer or "replica'" in answer
                server.kill()
            server.start()
            check(role_of(server) == b"slave", question)
            with server.client() as client:
                check(client.call("REPLICAOF", "NO", "ONE") == "OK", "back")


def test_pipelined_commands_behind_a_change_of_role_keep_their_order():
    with Workspace() as workspace:
        server = workspace.server("node").start()
        nobody = free_port()
        with server.client() as client:
            replies = client.pipeline([("SET", "a", "1"), ("REPLICAOF", "127.0.0.1", nobody), ("SET", "a", "2"),
                                       ("GET", "a"), ("REPLICAOF", "NO", "ONE"), ("SET", "a", "3"), ("GET", "a")])
        check(replies[0] == "OK" and replies[1] == "OK", replies)
        check(str(replies[2]).startswith("READONLY"), replies)
        check(replies[3:] == [b"1", "OK", "OK", b"3"], replies)


def test_replicas_stay_attached_when_their_master_is_promoted():
    with Workspace() as workspace:
        top = workspace.server("top").start()
        middle = workspace.server("middle", "--replicaof", "127.0.0.1", top.port).start()
        bottom = workspace.server("bottom", "--replicaof", "127.0.0.1", middle.port).start()

        def reads(server, key, value):
            with server.client() as client:
                return client.call("GET", key) == value
        with top.client() as client:
            client.call("SET", "k", "1")
        wait_for(lambda: reads(bottom, "k", b"1"), 60, "the bottom has it")
        top.kill()
        with middle.client() as client:
            check(client.call("REPLICAOF", "NO", "ONE") == "OK", "promotion")
            client.call("SET", "k", "2")
            new_id = client.info("replication")["master_replid"]
        wait_for(lambda: reads(bottom, "k", b"2"), 60, "the bottom goes on")
        with bottom.client() as client:
            check(client.info("replication")["master_replid"] == new_id, "under the new name")
        with middle.client() as client:
            stats = client.info("stats")
            check(stats["sync_full"] == "1", stats)


def test_a_role_given_after_a_rewrite_of_the_configuration_is_kept():
    """The file wins if it differs from what it was when the role was given, not from what an earlier start read."""
    with Workspace() as workspace:
        first, second = free_port(), free_port()
        path = os.path.join(workspace.path, "node.conf")

        def followed(server):
            with server.client() as client:
                return client.info("replication").get("master_port")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"replicaof 127.0.0.1 {first}\n")
        server = workspace.server("node", config=path).start()
        with server.client() as client:
            check(client.call("REPLICAOF", "NO", "ONE") == "OK", "as a sentinel promotes it")
            check(client.call("CONFIG", "REWRITE") == "OK", "and has it written down")
            check(client.call("REPLICAOF", "127.0.0.1", second) == "OK", "by hand, without a rewrite")
        server.restart()
        check(followed(server) == str(second), f"it follows {followed(server)}")
        server.restart()
        check(followed(server) == str(second), f"once more: {followed(server)}")
        server.kill()
        with open(path, "a", encoding="ascii") as file:
            file.write(f"replicaof 127.0.0.1 {first}\n")
        server.start()
        check(followed(server) == str(first), "a changed file wins")

    # The command line says it again at each start, whatever is written to the file.
    with Workspace() as workspace:
        path = os.path.join(workspace.path, "node.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write("repl-timeout 60\n")
        server = workspace.server("node", "--replicaof", "127.0.0.1", first, config=path).start()
        with server.client() as client:
            check(client.call("REPLICAOF", "127.0.0.1", second) == "OK", "by hand")
            check(client.call("CONFIG", "REWRITE") == "OK", "and written down")
        server.restart()
        check(followed(server) == str(second), "the command line is as it was: the role is kept")


def test_the_offset_sentinels_elect_by_is_on_disk():
    with Workspace() as workspace:
        master = workspace.server("master").start()
        replica = workspace.server("replica", "--appendfsync", "no", "--replicaof", "127.0.0.1", master.port).start()

        def offset():
            with replica.client() as client:
                return int(client.info("replication")["slave_repl_offset"])
        wait_for(lambda: offset() > 0 or link(replica) == "up", 30, "the link")
        ended = threading.Event()

        def write():
            with master.client() as client:
                while not ended.is_set():
                    client.pipeline([("SET", "k", "v" * 1000)] * 50)
        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(5):
                wait_for(lambda: link(replica) == "up", 30, "the link")
                before = offset()
                wait_for(lambda: offset() > before, 30, "the stream")
                with replica.client() as client:
                    told = int(client.info("replication")["slave_repl_offset"])
                    replica.kill()
                master.freeze()  # or it would bring what was lost
                replica.start()
                check(offset() >= told, f"{told} was told, {offset()} are there")
                master.thaw()
        finally:
            master.thaw()
            ended.set()
            writer.join()


def link(server):
    with server.client() as client:
        return client.info("replication")["master_link_status"]


def test_links_are_clients_to_client_list_and_kill():
    with Workspace() as workspace:
        master = workspace.server("master").start()
        replica = workspace.server("replica", "--replicaof", "127.0.0.1", master.port).start()
        with master.client() as above, replica.client() as below:
            def attached():
                return above.info("replication")["connected_slaves"] == "1" and link(replica) == "up"

            def listed(client, kind):
                lines = client.call("CLIENT", "LIST", "TYPE", kind).decode().splitlines()
                return [dict(word.split("=", 1) for word in line.split()) for line in lines]
            wait_for(attached, 30, "the link")
            seen = listed(above, "replica")
            check(len(seen) == 1 and seen[0]["flags"] == "S", seen)
            check(listed(above, "slave")[0]["id"] == seen[0]["id"] and not listed(above, "master"), "one replica")
            up = listed(below, "master")
            check(len(up) == 1 and up[0]["flags"] == "M" and up[0]["addr"] == f"127.0.0.1:{master.port}", up)
            check(below.call("ROLE")[4] > -1, "the offset while the link is up")

            # Each kill ends the link; it comes back with another id, and goes on where it was.
            kills = ((above, "replica", ("TYPE", "replica")), (above, "replica", ("ID", seen[0]["id"])),
                     (below, "master", ("TYPE", "master")))
            for client, kind, filters in kills:
                wait_for(attached, 30, "the link")
                old = listed(client, kind)[0]["id"]
                if filters[0] == "ID":
                    filters = ("ID", old)
                check(client.call("CLIENT", "KILL", *filters) == 1, filters)
                wait_for(lambda: attached() and listed(client, kind) and listed(client, kind)[0]["id"] != old, 30,
                         f"another link after {filters}")
            check(above.call("CLIENT", "KILL", listed(above, "replica")[0]["addr"]) == "OK", "by address")
            check(above.call("CLIENT", "KILL", "TYPE", "normal") == 0, "no link is a normal client")
            wait_for(attached, 30, "the link")
            check(above.info("stats")["sync_full"] == "1", "no second copy")
            master.kill()
            wait_for(lambda: link(replica) == "down", 30, "the end of the link")
            check(below.call("ROLE")[4] == -1 and not listed(below, "master"), "as redis-server tells it")


def test_addresses_of_ipv6():
    """They are told as redis-server tells them, and as they can be connected to."""
    if not has_ipv6():
        return
    with Workspace() as workspace:
        nodes = [workspace.server("master")]
        nodes += [workspace.server(f"replica{i}", "--replicaof", "::1", nodes[0].port) for i in range(2)]
        for node in nodes:
            node.host = "::1"
            node.start()
        master, one, two = nodes

        def fields(server):
            with server.client() as client:
                return client.info("replication")

        def call(server, *command):
            with server.client() as client:
                return client.call(*command)

        def online():
            told = [value for name, value in fields(master).items() if name.startswith("slave") and "online" in value]
            return {value.split(",state")[0] for value in told} == {f"ip=::1,port={node.port}" for node in (one, two)}
        wait_for(online, 30, f"replicas by their addresses: {fields(master)}")
        check([b"::1", str(one.port).encode()] in [entry[:2] for entry in call(master, "ROLE")[2]], "ROLE")
        addresses = {line.split(" addr=")[1].split(" ")[0].rsplit(":", 1)[0]
                     for line in call(master, "CLIENT", "LIST", "TYPE", "replica").decode().splitlines()}
        check(addresses == {"[::1]"}, addresses)

        # A target, members that are asked for promises, nodes that are compared: all of them are connected to.
        check(call(master, "FAILOVER", "TO", "::1", one.port) == "OK", "FAILOVER")
        wait_for(lambda: fields(one)["role"] == "master" and fields(master)["role"] == "slave", 30, "the roles changed")
        call(two, "REPLICAOF", "::1", one.port)
        wait_for(lambda: fields(one)["connected_slaves"] == "2" and "online" in fields(one)["slave0"] and
                 "online" in fields(one)["slave1"], 30, "both follow it")
        call(one, "CONFIG", "SET", "min-replicas-durable", 1)
        call(one, "HOLDFAST", "MEMBERS", "SET", f"::1:{two.port}", f"[::1]:{master.port}")
        wait_for(lambda: fields(one)["holdfast_group_settled"] == "1", 30, "the group is settled")
        check({node[2] for node in call(one, "HOLDFAST", "COMPARE")[2:]} == {b"equal"}, "compared")
        check(call(two, "REPLICAOF", "NO", "ONE") == "OK", "promotion")
        wait_for(lambda: fields(two)["role"] == "master", 30, "behind the barrier: another one promised")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class Relay:
    """A port that leads to a server. half_close() ends the connections on this side only, as a machine that is switched
    off does: the server behind it hears of nothing."""

    def __init__(self, target):
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.target))
            self.pairs.append((near, far))
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    @staticmethod
    def _copy(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass

    def half_close(self):
        for near, _ in self.pairs:
            near.shutdown(socket.SHUT_RDWR)

    def close(self):
        self.listener.close()
        for pair in self.pairs:
            for end in pair:
                end.close()


def test_a_replica_that_came_back_beside_its_dead_link_counts_once():
    with Workspace() as workspace:
        master = workspace.server("master").start()
        relay = Relay(master.port)
        try:
            replica = workspace.server("replica", "--replicaof", "127.0.0.1", relay.port).start()
            wait_for(lambda: link(replica) == "up", 30, "the link")
            with master.client() as client:
                client.call("CONFIG", "SET", "min-replicas-max-lag", 60)
                client.call("SET", "k", "v")
                check(client.call("WAIT", 1, 30000) == 1, "it has it")
                relay.half_close()
                wait_for(lambda: client.info("replication")["connected_slaves"] == "2", 30, "the second link")
                wait_for(lambda: link(replica) == "up", 30, "the link")
                wait_for(lambda: "state=online" in client.info("replication")["slave1"], 30, "both online")
                check(client.call("WAIT", 2, 300) == 1, "one replica has it")
                check(client.call("WAITAOF", 1, 2, 300) == [1, 1], "on one other disk")
                client.call("CONFIG", "SET", "min-replicas-to-write", 2)
                check("NOREPLICAS" in str(client.ask("SET", "k", "w")), "one good replica")
        finally:
            relay.close()


def test_repl_timeout_is_taken_up_by_links_that_stand():
    with Workspace() as workspace:
        master = workspace.server("master").start()
        replica = workspace.server("replica", "--replicaof", "127.0.0.1", master.port).start()

        def replicas():
            with master.client() as client:
                return client.info("replication")["connected_slaves"]
        wait_for(lambda: link(replica) == "up", 30, "the link")
        replica.freeze()
        with master.client() as client:
            client.call("CONFIG", "SET", "repl-timeout", "2")
        wait_for(lambda: replicas() == "0", 30, "a master gives a silent replica up")
        replica.thaw()
        wait_for(lambda: link(replica) == "up", 30, "the link")
        master.freeze()
        with replica.client() as client:
            client.call("CONFIG", "SET", "repl-timeout", "2")
        wait_for(lambda: link(replica) == "down", 30, "a replica gives a silent master up")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
