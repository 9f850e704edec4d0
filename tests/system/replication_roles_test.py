#!/usr/bin/env python3
"""Changes of role: whoever was told of one finds it again after any crash."""

import sys

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


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
