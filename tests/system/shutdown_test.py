#!/usr/bin/env python3
"""The end of a master that has replicas: it waits for them, bounded by shutdown-timeout, unless told otherwise."""

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
