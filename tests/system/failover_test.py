#!/usr/bin/env python3
"""FAILOVER: a master and a replica change places; states, refusals and texts as redis-server has them."""

import sys
import threading
import time

from holdfast_testing import Disconnected, ReplyError, Workspace, check, run_tests, wait_for

OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes")


def info(server, section="everything"):
    with server.client() as client:
        return client.info(section)


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def online(master, count=1):
    def seen():
        fields = info(master, "replication")
        return fields["connected_slaves"] == str(count) and all(
            "state=online" in fields[f"slave{i}"] for i in range(count))
    wait_for(seen, 60, f"{count} replicas online")


def pair(workspace, make=None, name=""):
    make = make or workspace.server
    master = make(name + "master", *OPTIONS[:2] if make == workspace.redis else OPTIONS).start()
    replica = make(name + "replica", *OPTIONS[:2] if make == workspace.redis else OPTIONS, "--replicaof", "127.0.0.1",
                   master.port).start()
    online(master)
    return master, replica


def role(server):
    return info(server, "replication")["role"]


def test_refusals_are_those_of_redis():
    questions = [("FAILOVER",), ("FAILOVER", "ABORT"), ("FAILOVER", "TIMEOUT", "0"), ("FAILOVER", "TIMEOUT", "-5"),
                 ("FAILOVER", "TIMEOUT", "x"), ("FAILOVER", "TIMEOUT"), ("FAILOVER", "FORCE"), ("FAILOVER", "TO", "a"),
                 ("FAILOVER", "TO", "127.0.0.1", "1"), ("FAILOVER", "TO", "127.0.0.1", "x"), ("FAILOVER", "bogus"),
                 ("FAILOVER", "ABORT", "TIMEOUT", "5"), ("FAILOVER", "TO", "127.0.0.1", "1", "FORCE"),
                 ("FAILOVER", "TO", "127.0.0.1", "1", "FORCE", "TIMEOUT", "5"), ("FAILOVER", "FORCE", "FORCE"),
                 ("FAILOVER", "TIMEOUT", "5", "TIMEOUT", "6"), ("PSYNC", "x", "1", "FAILOVER")]
    with Workspace() as workspace:
        answers = []
        for make in (workspace.server, workspace.redis):
            alone = make("alone" + str(len(answers))).start()
            master, replica = pair(workspace, make, str(len(answers)))
            got = []
            for question in questions:
                for where, server in (("alone", alone), ("master", master), ("replica", replica)):
                    if question[0] == "PSYNC" and where != "alone":
                        continue
                    if question == ("FAILOVER",) and where == "master":
                        continue  # would succeed
                    with server.client() as client:
                        if question[0] == "PSYNC":
                            client.call("REPLCONF", "capa", "eof", "capa", "psync2")
                            if make == workspace.server:
                                client.call("REPLCONF", "capa", "holdfast1")
                        got.append((question, where, str(client.ask(*question))))
            answers.append(got)
        for ours, theirs in zip(*answers):
            check(ours == theirs, f"ours {ours}, redis-server's {theirs}")


def test_roles_change_without_loss_under_writes():
    with Workspace() as workspace:
        master, replica = pair(workspace)
        acknowledged = [0]
        stop = threading.Event()

        def write():
            with master.client() as client:
                while not stop.is_set():
                    try:
                        acknowledged[0] = client.call("INCR", "counter")
                    except (ReplyError, Disconnected):
                        return  # READONLY: the roles have changed
        writer = threading.Thread(target=write)
        writer.start()
        wait_for(lambda: acknowledged[0] > 500, 30, "writes flow")
        check(call(master, "FAILOVER") == "OK", "FAILOVER")
        wait_for(lambda: role(replica) == "master" and role(master) == "slave", 30, "the roles have changed")
        wait_for(lambda: info(master, "replication")["master_link_status"] == "up", 30, "the old master follows")
        writer.join(30)
        stop.set()
        check(not writer.is_alive(), "the writer was told")
        check(int(call(replica, "GET", "counter")) == acknowledged[0], "every acknowledged write, no more")
        for node in (master, replica):
            check(info(node, "replication")["master_failover_state"] == "no-failover", "it is over")
        check(info(replica)["sync_full"] == "0" and info(master)["holdfast_rewinds"] == "0", "nothing was copied or cut")
        call(replica, "INCR", "counter")
        wait_for(lambda: int(call(master, "GET", "counter")) == acknowledged[0] + 1, 30, "the stream flows back")
        # And back again, to a named target.
        check(call(replica, "FAILOVER", "TO", "127.0.0.1", master.port, "TIMEOUT", 10000) == "OK", "FAILOVER TO")
        wait_for(lambda: role(master) == "master" and role(replica) == "slave", 30, "back")


def test_an_empty_master_hands_over_as_well():
    with Workspace() as workspace:
        master, replica = pair(workspace)
        check(call(master, "FAILOVER") == "OK", "FAILOVER")
        wait_for(lambda: role(replica) == "master" and role(master) == "slave", 30, "the roles have changed")
        wait_for(lambda: info(master, "replication")["master_link_status"] == "up", 30, "the old master follows")
        check(call(replica, "SET", "first", "1") == "OK", "the new master takes writes")
        wait_for(lambda: call(master, "GET", "first") == b"1", 30, "the stream flows back")


def test_a_target_that_does_not_come_up_in_time():
    with Workspace() as workspace:
        master, replica = pair(workspace)
        replica.freeze()
        with master.client() as client, master.client() as writer:
            client.call("SET", "a", "1")
            check(client.call("FAILOVER", "TO", "127.0.0.1", replica.port, "TIMEOUT", 4000) == "OK", "FAILOVER")
            check(client.info("replication")["master_failover_state"] == "waiting-for-sync", "it waits")
            writer.send("SET", "a", "2")
            check(str(client.ask("FAILOVER")) == "ERR FAILOVER already in progress.", "one at a time")
            check(str(client.ask("REPLICAOF", "NO", "ONE")) == "ERR REPLICAOF not allowed while failing over.", "REPLICAOF")
            check(client.call("GET", "a") == b"1", "reads go on, writes wait")
            began = time.monotonic()
            check(writer.read() == "OK", "the write goes on afterwards")
            check(time.monotonic() - began > 0.3, "it waited")
            check(client.info("replication")["master_failover_state"] == "no-failover", "given up")
            # By hand.
            check(client.call("FAILOVER") == "OK", "FAILOVER")
            writer.send("SET", "a", "3")
            check(client.call("FAILOVER", "ABORT") == "OK", "ABORT")
            check(writer.read() == "OK" and client.call("GET", "a") == b"3", "the write goes on")
        replica.thaw()
        wait_for(lambda: call(replica, "GET", "a") == b"3", 30, "the replica catches up")


def test_a_forced_failover_cuts_what_the_target_lacks_and_keeps_it():
    with Workspace() as workspace:
        master, replica = pair(workspace)
        call(master, "SET", "a", "1")
        replica.freeze()
        with master.client() as client:
            # More than the sockets between them hold.
            for i in range(60):
                client.call("SET", f"big:{i}", b"x" * 1_000_000)
            check(client.call("FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", 200) == "OK", "FAILOVER")
            wait_for(lambda: client.info("replication")["master_failover_state"] == "failover-in-progress", 30, "forced")
        replica.thaw()
        wait_for(lambda: role(replica) == "master" and role(master) == "slave", 60, "the roles have changed")
        wait_for(lambda: info(master, "replication")["master_link_status"] == "up", 60, "the old master follows")
        call(replica, "SET", "after", "1")
        wait_for(lambda: call(master, "GET", "after") == b"1", 60, "the stream flows back")
        check(call(master, "DEBUG", "DIGEST") == call(replica, "DEBUG", "DIGEST"), "equal")
        fields = info(master)
        check(fields["holdfast_diverged_files"] == "1", fields)
        check(fields["holdfast_rewinds"] == "1" or fields.get("holdfast_rewind_impossible"), fields)


def test_a_replica_of_redis_kind_is_no_target():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        redis = workspace.redis("redis", "--replicaof", "127.0.0.1", master.port).start()
        online(master)
        with master.client() as client:
            for question in (("FAILOVER",), ("FAILOVER", "TO", "127.0.0.1", redis.port),
                             ("FAILOVER", "TO", "127.0.0.1", redis.port, "FORCE", "TIMEOUT", 50)):
                check("ERR FAILOVER to a replica of Redis' kind is not possible" in str(client.ask(*question)), question)
            check(client.info("replication")["master_failover_state"] == "no-failover", "nothing has begun")
            check(client.call("SET", "a", "1") == "OK", "writers do not wait")
        # Beside one of ours it is passed over.
        ours = workspace.server("ours", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        online(master, 2)
        check(call(master, "FAILOVER") == "OK", "FAILOVER")
        wait_for(lambda: role(ours) == "master" and role(master) == "slave", 60, "the roles have changed")


def test_a_target_that_refuses_makes_the_master_a_master_again():
    with Workspace() as workspace:
        master, replica = pair(workspace)
        # The target is promoted by somebody else in between: it refuses to be asked.
        replica.freeze()
        call(master, "SET", "a", "1")
        with master.client() as client:
            check(client.call("FAILOVER", "TO", "127.0.0.1", replica.port, "FORCE", "TIMEOUT", 100) == "OK", "FAILOVER")
            wait_for(lambda: client.info("replication")["master_failover_state"] == "failover-in-progress", 30, "forced")
            check(client.call("FAILOVER", "ABORT") == "OK", "ABORT")
            check(client.info("replication")["role"] == "master", "master again")
            check(client.call("SET", "a", "2") == "OK", "and it takes writes")
        replica.thaw()


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
