#!/usr/bin/env python3
"""What a master keeps for its replicas and what it says of them: log within a quota, transfers that are bounded and go on
after a break, lag in bytes and milliseconds."""

import os
import sys
import time

from holdfast_testing import Workspace, check, run_tests, wait_for

OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes")
SMALL_LOG = ("--log-segment-size", "1mb", "--repl-backlog-size", "1mb", "--memtable-size", "1mb",
             "--log-checkpoint-bytes", "1mb")


def info(server, section="everything"):
    with server.client() as client:
        return client.info(section)


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def write(server, megabytes, prefix="k"):
    with server.client() as client:
        for i in range(megabytes):
            client.pipeline([("SET", f"{prefix}:{i}:{j}", os.urandom(10_000)) for j in range(100)])



def in_step(master, replica, timeout=60):
    def equal():
        there, here = info(master, "replication"), info(replica, "replication")
        return (here["master_link_status"] == "up" and here["master_replid"] == there["master_replid"]
                and int(here["slave_repl_offset"]) >= int(there["master_repl_offset"]))
    wait_for(equal, timeout, "in step")


def view(master, index=0):
    fields = info(master, "replication")[f"holdfast_slave{index}"]
    return dict(part.split("=", 1) for part in fields.split(","))


def test_lag_is_shown_in_bytes_and_milliseconds():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS).start()
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        call(master, "SET", "k", "v")
        in_step(master, replica)
        wait_for(lambda: view(master)["bytes_behind"] == "0" and view(master)["ms_behind"] == "0", 30, "no lag")
        check(int(info(replica, "replication")["holdfast_bytes_behind_master"]) == 0, "nor seen from below")
        replica.freeze()
        began = time.monotonic()
        call(master, "SET", "k", "w" * 1000)
        wait_for(lambda: int(view(master)["ms_behind"]) > 500, 30, "the age of what it lacks grows")
        check(int(view(master)["ms_behind"]) <= (time.monotonic() - began) * 1000 + 50, view(master))
        check(int(view(master)["bytes_behind"]) > 1000, view(master))
        replica.thaw()
        wait_for(lambda: view(master)["ms_behind"] == "0", 30, "no lag")
        check(int(info(replica, "replication")["holdfast_ms_behind_master"]) < 2000, "nor seen from below")


def test_the_log_is_kept_for_a_replica_seen_lately():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, *SMALL_LOG).start()
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        write(master, 1)
        in_step(master, replica)
        wait_for(lambda: info(master)["holdfast_replicas_seen"] == "1", 30, "it was seen")
        replica.kill()
        write(master, 12, "away")
        call(master, "SAVE")
        replica.start()
        in_step(master, replica)
        stats = info(master)
        check(stats["sync_full"] == "1" and stats["sync_partial_ok"] == "1", stats)
        # Once it has everything the log is short again.
        wait_for(lambda: int(info(master)["holdfast_log_segments"]) < 8, 30, "the log is trimmed")


def test_beyond_the_quota_the_log_goes_and_it_is_said():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, *SMALL_LOG, "--replica-pin-quota", "3mb").start()
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        write(master, 1)
        in_step(master, replica)
        wait_for(lambda: info(master)["holdfast_replicas_seen"] == "1", 30, "it was seen")
        replica.kill()
        write(master, 12, "away")
        call(master, "SAVE")
        wait_for(lambda: info(master)["holdfast_pins_dropped"] == "1", 30, "it falls out")
        check(info(master)["holdfast_last_pin_dropped"].endswith(f":{replica.port}"), "and INFO says who")
        check("The log is no longer kept for replica" in master.log_text(), "and the log why")
        wait_for(lambda: int(info(master)["holdfast_log_segments"]) < 8, 30, "the log is trimmed")
        replica.start()
        in_step(master, replica)
        check(info(master)["sync_full"] == "2", "it is copied anew")
        for node in (master, replica):
            reason = info(node)["holdfast_last_full_sync_reason"]
            check("the log begins at" in reason, reason)
        check(call(master, "DEBUG", "DIGEST") == call(replica, "DEBUG", "DIGEST"), "equal")


def test_one_snapshot_and_bounded_transfers():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, "--full-sync-max-transfers", 1,
                                  "--full-sync-bandwidth", "300kb").start()
        write(master, 4)
        call(master, "SAVE")
        replicas = [workspace.server(f"replica{i}", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
                    for i in range(3)]
        wait_for(lambda: any(0 < int(view(master, i)["snapshot_sent"]) < int(view(master, i)["snapshot_bytes"])
                             for i in range(int(info(master, "replication")["connected_slaves"]))), 30, "progress is shown")
        wait_for(lambda: "full synchronizations are running (full-sync-max-transfers)" in master.log_text(), 30,
                 "one at a time")
        call(master, "CONFIG", "SET", "full-sync-bandwidth", "0")
        for replica in replicas:
            in_step(master, replica)
        log = master.log_text()
        check(log.count("Snapshot for full synchronization made") == 1, "one snapshot for all")
        digests = {call(node, "DEBUG", "DIGEST") for node in [master] + replicas}
        check(len(digests) == 1, "equal")


def test_transfers_share_a_small_bandwidth():
    """One that got nothing for repl-timeout would be given up, by a replica of Redis' kind."""
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, "--full-sync-bandwidth", "500kb").start()
        write(master, 6)
        call(master, "SAVE")
        for name in ("one", "two", "three"):
            workspace.server(name, *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()

        def sent():
            return [int(view(master, i)["snapshot_sent"])
                    for i in range(int(info(master, "replication")["connected_slaves"]))]
        wait_for(lambda: sum(sent()) > 3_000_000, 60, "half a file's bytes")
        check(len(sent()) == 3 and min(sent()) > 300_000, f"each has its share: {sent()}")


def test_a_transfer_goes_on_after_a_break():
    with Workspace() as workspace:
        master = workspace.server("master", *OPTIONS, "--full-sync-bandwidth", "1mb").start()
        write(master, 6)
        call(master, "SAVE")
        replica = workspace.server("replica", *OPTIONS, "--replicaof", "127.0.0.1", master.port).start()
        for _ in range(2):
            before = int(info(replica, "replication").get("master_sync_read_bytes", 0))
            wait_for(lambda: int(info(replica, "replication").get("master_sync_read_bytes", 0)) > before + 1_000_000, 30,
                     "bytes come")
            call(replica, "REPLICAOF", "127.0.0.1", 1)
            call(replica, "REPLICAOF", "127.0.0.1", master.port)
            check(info(replica, "replication")["slave_priority"] in ("0", "100"), "priority")
        call(master, "CONFIG", "SET", "full-sync-bandwidth", "0")
        in_step(master, replica)
        check(replica.log_text().count("going on at byte") == 2, "it went on twice")
        check(master.log_text().count("Snapshot for full synchronization made") == 1, "of one snapshot")
        check(call(master, "DEBUG", "DIGEST") == call(replica, "DEBUG", "DIGEST"), "equal")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
