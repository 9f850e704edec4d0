#!/usr/bin/env python3
"""A deposed master goes back to where its successor's history parts from its own, keeps what it cuts in a file, and goes
on by partial resynchronization; killed at any moment, too."""

import os
import shutil
import subprocess
import sys
import time

from holdfast_testing import TOOL, Workspace, check, run_tests, seed_from_environment, wait_for

import random

OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes", "--repl-timeout", 10)


def info(server, section="everything"):
    with server.client() as client:
        return client.info(section)


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def fill(server, prefix, count, size=100):
    with server.client() as client:
        for start in range(0, count, 500):
            replies = client.pipeline([("SET", f"{prefix}:{i}", f"{i}:" + "v" * size)
                                       for i in range(start, min(start + 500, count))])
            check(all(reply == "OK" for reply in replies), "writes are accepted")


def in_sync(master, replica, timeout=60):
    def equal():
        there, here = info(master, "replication"), info(replica, "replication")
        return (here["master_link_status"] == "up" and here["master_replid"] == there["master_replid"]
                and int(here["slave_repl_offset"]) >= int(there["master_repl_offset"]))
    wait_for(equal, timeout, f"{replica.port} in sync with {master.port}")


def equal_data(one, other):
    wait_for(lambda: call(one, "DEBUG", "DIGEST") == call(other, "DEBUG", "DIGEST"), 30, "equal digests")


def tails(server):
    directory = os.path.join(server.directory, "diverged")
    return [os.path.join(directory, name) for name in sorted(os.listdir(directory))] if os.path.isdir(directory) else []


def check_tail(workspace, server, *texts):
    """The newest tail is a whole segment for the offline tool, and holds the texts."""
    path = tails(server)[-1]
    alone = os.path.join(workspace.path, f"tail-{os.path.basename(path)}")
    os.makedirs(alone, exist_ok=True)
    first = os.path.basename(path).split("-")[1]
    shutil.copy(path, os.path.join(alone, f"{1:020}-{first}.log"))
    done = subprocess.run([TOOL, "log", "verify", alone], capture_output=True, text=True, timeout=60, check=False)
    check(done.returncode == 0, f"{done.stdout} {done.stderr}")
    with open(path, "rb") as file:
        content = file.read()
    for text in texts:
        check(text.encode() in content, f"{text} is in {path}")


def deposed(workspace, *options, name="old"):
    """A master with a replica that was promoted behind its back; both wrote on."""
    old = workspace.server(name, *OPTIONS, *options).start()
    new = workspace.server("new-of-" + name, *OPTIONS, "--replicaof", "127.0.0.1", old.port).start()
    fill(old, "shared", 2000)
    in_sync(old, new)
    check(call(new, "REPLICAOF", "NO", "ONE") == "OK", "promotion")
    fill(old, "lost", 3000)
    fill(new, "kept", 1000)
    call(new, "SET", "shared:1", "overwritten")
    call(old, "SET", "shared:1", "overwritten differently")
    return old, new


def check_rewound(workspace, old, new):
    in_sync(new, old)
    equal_data(old, new)
    check(call(old, "GET", "lost:7") is None and call(old, "GET", "kept:7") is not None, "the successor's data")
    check(info(new)["sync_full"] == "0", "no full synchronization")
    check(info(old)["holdfast_diverged_files"] == "1", info(old, "replication"))
    check_tail(workspace, old, "lost:0", "lost:2999", "overwritten differently")


def test_a_deposed_master_with_more_rejoins_by_partial_resynchronization():
    with Workspace() as workspace:
        old, new = deposed(workspace)
        check(call(old, "REPLICAOF", "127.0.0.1", new.port) == "OK", "REPLICAOF")
        check_rewound(workspace, old, new)
        check(info(old)["holdfast_rewinds"] == "1", "counted")
        check("is kept in" in old.log_text(), "and said")
        # It is a replica like any other, and a restart finds it so.
        old.kill()
        call(new, "SET", "while", "away")
        old.start()
        in_sync(new, old)
        check(call(old, "GET", "while") == b"away" and info(new)["sync_full"] == "0", "resumed")
        # And it can be promoted again.
        check(call(old, "REPLICAOF", "NO", "ONE") == "OK", "back")
        call(new, "REPLICAOF", "127.0.0.1", old.port)
        call(old, "SET", "again", "master")
        in_sync(old, new)
        equal_data(old, new)


def test_a_deposed_master_that_was_killed_rejoins_so_too():
    with Workspace() as workspace:
        old, new = deposed(workspace)
        old.kill()
        old.start()
        check(call(old, "REPLICAOF", "127.0.0.1", new.port) == "OK", "REPLICAOF")
        check_rewound(workspace, old, new)


def test_a_fork_below_the_checkpoint_is_a_full_synchronization_and_the_tail_is_kept_all_the_same():
    with Workspace() as workspace:
        old, new = deposed(workspace)
        check(call(old, "SAVE") == "OK", "SAVE makes a checkpoint")
        check(call(old, "REPLICAOF", "127.0.0.1", new.port) == "OK", "REPLICAOF")
        in_sync(new, old)
        equal_data(old, new)
        check(info(new)["sync_full"] == "1", "a full synchronization")
        check("checkpoint" in info(old)["holdfast_rewind_impossible"], info(old, "replication"))
        check_tail(workspace, old, "lost:0", "lost:2999")


def test_what_follows_a_deposed_master_goes_back_with_it():
    with Workspace() as workspace:
        old, new = deposed(workspace)
        below = workspace.server("below", *OPTIONS, "--replicaof", "127.0.0.1", old.port).start()
        in_sync(old, below)
        fill(old, "lost-below", 100)
        in_sync(old, below)
        call(old, "REPLICAOF", "127.0.0.1", new.port)
        in_sync(new, old)
        in_sync(new, below)
        for node in (old, below):
            equal_data(new, node)
        check(info(new)["sync_full"] == "0", "the old master rewound")
        check(call(below, "GET", "lost-below:1") is None, "and so did what follows it, by one way or the other")
        check(info(below)["holdfast_diverged_files"] == "1", info(below, "replication"))


def test_a_replica_ahead_of_the_promoted_one_goes_back():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        one = workspace.server("one", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        two = workspace.server("two", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        fill(master, "shared", 500)
        in_sync(master, one)
        in_sync(master, two)
        one.kill()  # misses what comes now
        fill(master, "ahead", 300)
        in_sync(master, two)
        master.kill()
        one.start()
        check(call(one, "REPLICAOF", "NO", "ONE") == "OK", "the one with less is promoted")
        fill(one, "after", 200)
        check(call(two, "REPLICAOF", "127.0.0.1", one.port) == "OK", "REPLICAOF")
        in_sync(one, two)
        equal_data(one, two)
        check(info(one)["sync_full"] == "0", "no full synchronization")
        check_tail(workspace, two, "ahead:0", "ahead:299")
        # The dead master comes back with more, too.
        master.start()
        call(master, "REPLICAOF", "127.0.0.1", one.port)
        in_sync(one, master)
        equal_data(one, master)
        check(info(one)["sync_full"] == "0", "no full synchronization")


def test_killed_at_any_moment_of_a_rewind():
    rng = random.Random(seed_from_environment())
    for round_number in range(5):
        with Workspace() as workspace:
            old, new = deposed(workspace, name=f"old{round_number}")
            check(call(old, "REPLICAOF", "127.0.0.1", new.port) == "OK", "REPLICAOF")
            for _ in range(3):
                time.sleep(rng.random() * 0.08)
                old.kill()
                old.start()
            check_rewound(workspace, old, new)


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
