#!/usr/bin/env python3
"""Full synchronizations that would lose data are refused, visibly; each refusal has an override; none is in the way of a
legitimate failover. And a master that should have data but has none does not pose as one."""

import os
import shutil
import sys

from holdfast_testing import Workspace, check, run_tests, wait_for

OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes")


def info(server, section="everything"):
    with server.client() as client:
        return client.info(section)


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def reads(server, key, value):
    wait_for(lambda: call(server, "GET", key) == value, 60, f"{key} at {server.port}")


def refused(server, text):
    wait_for(lambda: text in info(server, "replication").get("master_link_down_reason", ""), 30, f"refused: {text}")


def wipe(server):
    server.kill()
    shutil.rmtree(server.directory)
    os.makedirs(server.directory)


def put_back(server, copy):
    """What a copy holds, in the same place: by LOCK and the directory's inode it is still the node's own."""
    for name in set(os.listdir(server.directory)) - {"LOCK", "server.log"}:
        path = os.path.join(server.directory, name)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
    for name in set(os.listdir(copy)) - {"LOCK", "server.log"}:
        shutil.move(os.path.join(copy, name), os.path.join(server.directory, name))


def test_an_empty_master_replaces_nothing_until_told_so():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        call(master, "SET", "k", "v")
        reads(replica, "k", b"v")
        wipe(master)
        master.start()
        refused(replica, "is empty")
        check(call(replica, "GET", "k") == b"v", "the data is there")
        check("refused" in replica.log_text(), "and the log says why")
        call(replica, "CONFIG", "SET", "accept-full-sync", "empty")
        call(replica, "REPLICAOF", "NO", "ONE")  # try at once, not after the pause
        call(replica, "REPLICAOF", "127.0.0.1", master.port)
        wait_for(lambda: call(replica, "DBSIZE") == 0, 30, "told so, it follows")


def test_a_master_that_lost_data_replaces_nothing_until_told_so():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        call(master, "SET", "k", "1")
        reads(replica, "k", b"1")
        check(master.terminate() == 0, "a clean stop")
        shutil.copytree(master.directory, master.directory + ".old")
        master.start()
        call(master, "SET", "k", "2")
        call(master, "SET", "more", "x" * 1000)
        reads(replica, "more", b"x" * 1000)
        master.kill()
        put_back(master, master.directory + ".old")
        master.start()
        refused(replica, "lost data")
        check(call(replica, "GET", "k") == b"2", "the data is there")
        call(replica, "CONFIG", "SET", "accept-full-sync", "shorter")
        call(replica, "REPLICAOF", "NO", "ONE")
        call(replica, "REPLICAOF", "127.0.0.1", master.port)
        reads(replica, "k", b"1")


def test_a_master_from_a_copy_has_the_end_of_its_replicas_cut():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        call(master, "SET", "k", "1")
        reads(replica, "k", b"1")
        check(master.terminate() == 0, "a clean stop")
        shutil.copytree(master.directory, master.directory + ".old")
        master.start()
        call(master, "SET", "k", "2")
        reads(replica, "k", b"2")
        master.kill()
        shutil.rmtree(master.directory)
        shutil.move(master.directory + ".old", master.directory)
        # Another inode: it counts as a copy with a history of its own, and the replica goes back to the fork.
        master.start()
        check("goes on here as" in master.log_text(), "taken for a copy")
        wait_for(lambda: info(replica)["holdfast_rewinds"] == "1", 30, "cut back, the tail kept")
        reads(replica, "k", b"1")


def foreign_pair(workspace):
    """A server with data whose master, named by its configuration and not by a person at run time, has others."""
    one = workspace.server("one", *OPTIONS).start()
    call(one, "SET", "k", "mine")
    other = workspace.server("other", *OPTIONS).start()
    call(other, "SET", "k", "other")
    one.kill()
    one.options += ["--replicaof", "127.0.0.1", str(other.port)]
    one.start()
    refused(one, "shares no history")
    return one, other


def test_a_foreign_master_needs_consent():
    with Workspace() as workspace:
        one, _ = foreign_pair(workspace)
        check(call(one, "GET", "k") == b"mine", "the data is there")
        call(one, "CONFIG", "SET", "accept-full-sync", "foreign")
        reads(one, "k", b"other")


def test_replicaof_of_the_same_master_consents():
    with Workspace() as workspace:
        one, other = foreign_pair(workspace)
        check(call(one, "REPLICAOF", "127.0.0.1", other.port) == "OK", "the command is obeyed")
        reads(one, "k", b"other")
        check(call(one, "REPLICAOF", "127.0.0.1", other.port) == "OK Already connected to specified master",
              "nothing is done while the link is well")


def test_what_cannot_be_applied_is_mended_by_a_copy():
    for mend in ("RESYNC", "REPLICAOF"):
        with Workspace() as workspace:
            master = workspace.server("master", *OPTIONS).start()
            replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
            call(master, "SET", "a", "1")
            reads(replica, "a", b"1")
            check(call(replica, "DEBUG", "FORGET", "a") == "OK", "damage")
            call(master, "RENAME", "a", "b")
            refused(replica, "no such key")
            check("REPLICATION STOPPED" in replica.log_text(), "the log says so")
            if mend == "RESYNC":
                check(call(replica, "HOLDFAST", "RESYNC") == "OK", mend)
            else:
                check(call(replica, "REPLICAOF", "127.0.0.1", master.port) == "OK", mend)
            reads(replica, "b", b"1")
            call(master, "SET", "more", "1")
            reads(replica, "more", b"1")
            check(info(master, "stats")["sync_full"] == "2", "copied anew")


def test_a_shorter_but_newer_history_is_legitimate():
    with Workspace() as workspace:
        old = workspace.server("old", *OPTIONS).start()
        new = workspace.server("new", *OPTIONS, "--replicaof", "127.0.0.1", old.port).start()
        call(old, "SET", "k", "1")
        reads(new, "k", b"1")
        call(new, "REPLICAOF", "NO", "ONE")
        for i in range(100):
            call(old, "SET", f"more:{i}", "x" * 100)
        call(old, "SAVE")  # so that there is no way back but a copy
        call(old, "REPLICAOF", "127.0.0.1", new.port)
        wait_for(lambda: call(old, "DBSIZE") == 1, 60, "the longer one follows the shorter one")


def test_a_loop_of_replicas_harms_nothing():
    with Workspace() as workspace:
        nodes = [workspace.server(f"node{i}", *OPTIONS).start() for i in range(3)]
        call(nodes[0], "SET", "k", "v")
        for i in (1, 2):
            call(nodes[i], "REPLICAOF", "127.0.0.1", nodes[i - 1].port)
            reads(nodes[i], "k", b"v")
        call(nodes[0], "REPLICAOF", "127.0.0.1", nodes[2].port)  # the loop is closed
        wait_for(lambda: all(info(node)["role"] == "slave" and info(node)["master_link_status"] == "up"
                             for node in nodes), 60, "each follows the one before it")
        for node in nodes:
            check(call(node, "GET", "k") == b"v", "the data is there")
        # A change of mind, several times.
        for target in (nodes[1].port, nodes[2].port, 1, nodes[1].port):
            call(nodes[0], "REPLICAOF", "127.0.0.1", target)
        check(call(nodes[0], "REPLICAOF", "NO", "ONE") == "OK", "and the loop is opened")
        call(nodes[0], "SET", "k", "w")
        for node in nodes:
            reads(node, "k", b"w")


def test_a_master_that_lacks_the_data_it_should_have_is_no_master():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, "--expect-data", "yes").start(wait=False)
        wait_for(lambda: info(master)["role"] == "master", 30, "it runs")
        for command in (("PING",), ("SET", "k", "v"), ("GET", "k")):
            with master.client() as client:
                answer = str(client.ask(*command))
            check(answer.startswith("NODATA "), f"{command}: {answer}")
        check(info(master, "replication")["role"] == "master", "INFO and the like answer")
        with master.client() as client:
            client.call("REPLCONF", "capa", "psync2", "capa", "holdfast1")
            check(str(client.ask("PSYNC", "?", "-1")).startswith("NOMASTERLINK"), "nobody is given the emptiness")
        # It may get its data from a replica ...
        other = workspace.server("other", *OPTIONS).start()
        call(other, "SET", "k", "v")
        call(master, "REPLICAOF", "127.0.0.1", other.port)
        reads(master, "k", b"v")
        call(master, "REPLICAOF", "NO", "ONE")
        check(call(master, "PING") == "PONG", "and is a master again")
        # ... or a person says that it is to begin empty.
        empty = workspace.server("empty", *OPTIONS, "--expect-data", "yes").start(wait=False)
        wait_for(lambda: info(empty)["role"] == "master", 30, "it runs")
        call(empty, "CONFIG", "SET", "expect-data", "no")
        check(call(empty, "PING") == "PONG" and call(empty, "SET", "k", "v") == "OK", "told so")


def test_config_rewrite_expects_the_data_from_then_on():
    with Workspace() as workspace:
        server = workspace.server("server")
        server.config = server.directory + ".conf"
        with open(server.config, "w", encoding="ascii") as file:
            file.write("# kept\n")
        server.start()
        check(call(server, "CONFIG", "REWRITE") == "OK", "REWRITE")
        with open(server.config, encoding="utf-8") as file:
            check("expect-data" not in file.read(), "without data nothing is expected")
        call(server, "SET", "k", "v")
        check(call(server, "CONFIG", "REWRITE") == "OK", "REWRITE")
        with open(server.config, encoding="utf-8") as file:
            check("expect-data yes" in file.read(), "with data it is")
        server.kill()
        shutil.rmtree(server.directory)
        os.makedirs(server.directory)
        server.start(wait=False)

        def noticed():
            with server.client() as client:
                return str(client.ask("PING")).startswith("NODATA")
        wait_for(noticed, 30, "the loss is noticed")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
