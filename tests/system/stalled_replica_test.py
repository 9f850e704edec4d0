#!/usr/bin/env python3
"""A replica that is stopped (SIGSTOP) under full write load costs its master log, up to replica-pin-quota, and nothing else:
no memory, and the other replica keeps up. Afterwards it resumes, or is copied anew if the quota said so.

The full size, by hand (a stall of three minutes, with default buffers; prints what it measures):

  HOLDFAST_SERVER=build/dev/holdfast-server tests/system/stalled_replica_test.py --seconds 180
"""

import argparse
import os
import statistics
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import PeakMemory, sanitized  # noqa: E402
from holdfast_testing import SERVER, Disconnected, ReplyError, Workspace, check, wait_for  # noqa: E402

MIB = 1 << 20
OPTIONS = ("--repl-ping-replica-period", 1, "--enable-debug-command", "yes")
SMALL = ("--log-segment-size", "1mb", "--repl-backlog-size", "1mb", "--memtable-size", "1mb", "--log-checkpoint-bytes",
         "1mb", "--row-cache-size", "4mb", "--frame-ring-size", "1mb")
VALUE_BYTES = 4000
KEYS = 2000
BATCH = 50


def info(server):
    with server.client() as client:
        return client.info("everything")


def call(server, *command):
    with server.client(timeout=120) as client:
        return client.call(*command)


def digest(server):
    return call(server, "DEBUG", "DIGEST")


def in_step(master, replica, timeout=120):
    def equal():
        there, here = info(master), info(replica)
        return (here["master_link_status"] == "up" and here["master_replid"] == there["master_replid"]
                and int(here["slave_repl_offset"]) >= int(there["master_repl_offset"]))
    wait_for(equal, timeout, "in step")


def lag_ms(master, replica):
    """How old what the replica lacks is; None while the master does not see it."""
    fields = info(master)
    for i in range(int(fields["connected_slaves"])):
        if f"port={replica.port}," in fields.get(f"slave{i}", ""):
            return int(dict(part.split("=", 1) for part in fields[f"holdfast_slave{i}"].split(","))["ms_behind"])
    return None


class Load:
    """Writes the same keys again and again; `written` in bytes of values. Every 2 MB it waits for so many replicas, so that
    on a slow machine none of them falls out of a small quota; 0: for none."""

    def __init__(self, server, waits_for):
        self.server, self.written, self.stopping = server, 0, threading.Event()
        self.waits_for = waits_for
        self.thread = threading.Thread(target=self.run)

    def run(self):
        with self.server.client(timeout=120) as client:
            at = 0
            while not self.stopping.is_set():
                client.pipeline([("SET", f"k{(at + i) % KEYS}", os.urandom(VALUE_BYTES)) for i in range(BATCH)])
                at += BATCH
                self.written += BATCH * VALUE_BYTES
                if self.waits_for and self.written // (2 * MIB) != (self.written - BATCH * VALUE_BYTES) // (2 * MIB):
                    client.call("WAIT", self.waits_for, 60000)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        self.thread.join(180)


def under_load(label, master, other, megabytes, seconds, waits_for):
    """Writes for so long; the peak of the master's private memory."""
    lags, began = [], time.monotonic()
    with PeakMemory(master.process.pid) as peak, Load(master, waits_for) as load:
        def enough():
            return load.written >= megabytes * MIB and time.monotonic() - began >= seconds
        while not enough():
            check(load.thread.is_alive(), "the writer was refused: " + master.log_tail())
            check(time.monotonic() - began < 120 + seconds, f"only {load.written} bytes were written")
            try:
                lag = lag_ms(master, other)
            except (Disconnected, ReplyError, OSError):
                lag = None
            if lag is not None:
                lags.append(lag)
            time.sleep(0.05)
    took = time.monotonic() - began
    log = int(info(master)["holdfast_log_file_bytes"])
    print(f"  {label}: {took:.0f} s, {load.written / MIB:.0f} MiB written, {load.written / MIB / took:.1f} MiB/s, master's "
          f"private memory at most {peak.bytes / MIB:.0f} MiB, log {log / MIB:.0f} MiB, other replica behind by "
          f"{statistics.median(lags or [0]):.0f} ms, {max(lags or [0])} ms at most", flush=True)
    return peak.bytes


def stall(quota, seconds):
    """`quota` in bytes, None: the log is kept."""
    with Workspace() as workspace:
        options = OPTIONS + (SMALL if seconds == 0 else ())
        if quota is not None:
            options += ("--replica-pin-quota", quota)
        master = workspace.server("master", *options).start()
        other, stalled = [workspace.server(name, *options, "--replicaof", "127.0.0.1", master.port).start()
                          for name in ("other", "stalled")]
        for replica in (other, stalled):
            in_step(master, replica)
        before = under_load("all well", master, other, 24, seconds / 4, 0 if seconds else 2)
        for replica in (other, stalled):
            in_step(master, replica)
        stats = info(master)
        stalled.freeze()
        written = 64
        during = under_load("one stopped", master, other, written, seconds, 0 if seconds else 1)
        in_step(master, other)
        check(digest(other) == digest(master), "the other replica has everything")
        if not sanitized(SERVER):
            # Were it kept in memory, it would be all that was written.
            check(during - before < written * MIB / 2, f"memory grew from {before / MIB:.0f} to {during / MIB:.0f} MiB")
        if quota is None:
            check("The log is no longer kept" not in master.log_text(), "it is kept")
            check(int(info(master)["holdfast_log_file_bytes"]) > written * MIB, "as a file")
        else:
            wait_for(lambda: info(master)["holdfast_pins_dropped"] == "1", 60, "it falls out")
            check(info(master)["holdfast_last_pin_dropped"].endswith(f":{stalled.port}"), "INFO says who")
            check(f"The log is no longer kept for replica 127.0.0.1:{stalled.port}" in master.log_text(), "the log says it")
            call(master, "SAVE")
            # The quota, the backlog and what the last checkpoints need; not what the stopped one lacks.
            bound = quota + (24 if seconds == 0 else 2048) * MIB
            wait_for(lambda: int(info(master)["holdfast_log_file_bytes"]) < bound, 60, "the log is trimmed")
        began = time.monotonic()
        stalled.thaw()
        in_step(master, stalled, 120 + seconds)
        print(f"  in step again after {time.monotonic() - began:.1f} s", flush=True)
        full = int(info(master)["sync_full"]) - int(stats["sync_full"])
        check(full == (0 if quota is None else 1), f"{full} full synchronizations")
        if quota is not None:
            check("the log begins at" in info(stalled)["holdfast_last_full_sync_reason"], "and why")
        check(digest(stalled) == digest(master), "equal")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=0, help="stop the replica for so long (default: a few)")
    seconds = parser.parse_args().seconds
    for name, quota in (("within the quota", None), ("beyond the quota", (8 if seconds == 0 else 256) * MIB)):
        began = time.monotonic()
        print(name, flush=True)
        stall(quota, seconds)
        print(f"{name}: ok, {time.monotonic() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
