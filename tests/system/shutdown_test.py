#!/usr/bin/env python3
"""The end of a master that has replicas: it waits for them, bounded by shutdown-timeout, unless told otherwise."""

import os
import shutil
import sys
import time

from holdfast_testing import Workspace, check, run_tests, wait_for


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def lagging_pair(workspace, *options):
    """A master and a replica that is stopped and lacks a write."""
    master = workspace.server("master", *options).start()
    replica = workspace.server("replica", "--replicaof", "127.0.0.1", master.port).start()
    call(master, "SET", "k", "1")
    wait_for(lambda: call(replica, "GET", "k") == b"1", 60, "the replica follows")
    replica.freeze()
    call(master, "SET", "k", "2")
    return master, replica


def test_shutdown_waits_can_be_aborted_and_ends_when_replicas_have_all():
    with Workspace() as workspace:
        master, replica = lagging_pair(workspace, "--shutdown-timeout", 60)
        with master.client() as asking, master.client() as other, master.client() as writer:
            check(str(other.ask("SHUTDOWN", "ABORT")) == "ERR No shutdown in progress.", "nothing to abort")
            asking.send("SHUTDOWN")
            wait_for(lambda: master.log_text().count("User requested shutdown") == 1, 30, "it has begun")
            check(other.call("PING") == "PONG", "it waits")
            writer.send("SET", "k", "3")  # waits as well
            check(other.call("GET", "k") == b"2", "reads go on")
            check(other.call("SHUTDOWN", "ABORT") == "OK", "ABORT")
            check(str(asking.read()) == "ERR Errors trying to SHUTDOWN. Check logs.", "and is told")
            check(writer.read() == "OK", "writes go on")
            asking.send("SHUTDOWN")
            wait_for(lambda: master.log_text().count("User requested shutdown") == 2, 30, "it has begun again")
            check(other.call("PING") == "PONG", "it waits again")
            replica.thaw()
            check(master.process.wait(30) == 0, "it ends once the replica has everything")
        check(call(replica, "GET", "k") == b"3", "and it has")


def test_the_timeout_bounds_the_wait():
    with Workspace() as workspace:
        master, replica = lagging_pair(workspace, "--shutdown-timeout", 1)
        began = time.monotonic()
        check(master.terminate() == 0, "SIGTERM ends it")
        check(0.7 < time.monotonic() - began < 15, "after the timeout")
        check("Not all replicas have caught up" in master.log_text(), "and says so")
        replica.thaw()


def test_whoever_asked_is_told_when_it_is_refused():
    with Workspace() as workspace:
        master, replica = lagging_pair(workspace, "--shutdown-timeout", 60)
        # A file stands where the directory of snapshots belongs.
        snapshots = os.path.join(master.directory, "snapshots")
        shutil.rmtree(snapshots, ignore_errors=True)
        with open(snapshots, "w", encoding="ascii"):
            pass
        with master.client() as first, master.client() as second:
            first.send("SHUTDOWN", "SAVE")
            wait_for(lambda: master.log_text().count("User requested shutdown") == 1, 30, "it has begun")
            second.send("SHUTDOWN", "NOW")
            for client in (first, second):
                check(str(client.read()) == "ERR Errors trying to SHUTDOWN. Check logs.", "each is told")
            check(second.call("SET", "k", "3") == "OK", "writes go on")
            # The second one may have more force, or less to wait for, than the first.
            first.send("SHUTDOWN", "SAVE")
            wait_for(lambda: master.log_text().count("User requested shutdown") == 2, 30, "it has begun again")
            second.send("SHUTDOWN", "NOW", "NOSAVE")
            check(master.process.wait(30) == 0, "it ends")
        replica.thaw()


def test_save_waits_for_the_snapshot_under_way():
    with Workspace() as workspace:
        server = workspace.server("server").start()
        with server.client() as client:
            client.call("SET", "k", "1")
            client.send_raw(b"".join(client.encode(*command) for command in
                                     (("BGSAVE",), ("SET", "k", "2"), ("SHUTDOWN", "SAVE"))))
            check([client.read(), client.read()] == ["Background saving started", "OK"], "before it")
            check(server.process.wait(30) == 0, server.log_tail())
        check(server.log_text().count("Snapshot saved to") == 1, "one of its own")


def test_what_was_saved_for_an_aborted_shutdown_does_not_do_for_the_next():
    with Workspace() as workspace:
        server = workspace.server("server").start()
        with server.client() as first, server.client() as second:
            for part in range(10):
                first.pipeline([("SET", f"key:{part}:{i}", os.urandom(1000)) for i in range(4000)])
            first.send("SHUTDOWN", "SAVE")
            snapshots = os.path.join(server.directory, "snapshots")
            wait_for(lambda: os.path.isdir(snapshots) and os.listdir(snapshots), 30, "it is being written", pause=0.001)
            check(second.pipeline([("SHUTDOWN", "ABORT"), ("SET", "k", "2")]) == ["OK", "OK"], "ABORT")
            end = int(second.info("replication")["master_repl_offset"])
            second.send("SHUTDOWN", "SAVE")
            check(server.process.wait(60) == 0, server.log_tail())
        names = os.listdir(snapshots)
        check(any(str(end) in name for name in names), f"a snapshot of offset {end}: {names}")


def test_a_checkpoint_that_fails_does_not_keep_it_waiting():
    """What is to be saved needs a checkpoint; here a file stands where its directory belongs."""
    with Workspace() as workspace:
        server = workspace.server("server").start()
        runs = os.path.join(server.directory, "gen-1", "run")
        shutil.rmtree(runs)
        with open(runs, "w", encoding="ascii"):
            pass
        with server.client() as client:
            client.call("SET", "k", "1")
            check("run" in str(client.ask("SAVE")), "SAVE tells why it failed")
            check(str(client.ask("SHUTDOWN", "SAVE")) == "ERR Errors trying to SHUTDOWN. Check logs.", "SHUTDOWN SAVE")
            check(client.call("GET", "k") == b"1", "the server goes on")
            client.send("SHUTDOWN", "SAVE", "FORCE")
            check(server.process.wait(30) == 0, server.log_tail())
        os.remove(runs)
        server.start()
        check(call(server, "GET", "k") == b"1", "nothing was lost")


def test_now_does_not_wait():
    with Workspace() as workspace:
        master, replica = lagging_pair(workspace, "--shutdown-timeout", 60)
        with master.client() as client:
            client.send("SHUTDOWN", "NOW", "FORCE", "NOSAVE")
            check(master.process.wait(15) == 0, "at once")
        replica.thaw()
        master.start()
        wait_for(lambda: call(replica, "GET", "k") == b"2", 60, "nothing was lost")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
