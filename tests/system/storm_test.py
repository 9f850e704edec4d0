#!/usr/bin/env python3
"""A storm of replicas costs a master neither snapshots nor time. Fresh replicas, all at once under write load, are served
from one snapshot; when all are killed and started at once they resume, without any.

The full size, by hand (ten replicas, the replicas in a group of low weight, so that the master is measured and not the
scheduler; prints the server's own histograms, and holds them to 1.5 times and twice the quiet ones at p99):

  HOLDFAST_SERVER=build/dev/holdfast-server tests/system/storm_test.py --full
"""

import argparse
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import PeakMemory, load, sanitized, wait_until_quiet  # noqa: E402
from paced_load import LowWeight, PacedLoad, percentile  # noqa: E402
from holdfast_testing import SERVER, Disconnected, ReplyError, Server, Workspace, check, wait_for  # noqa: E402

MIB = 1 << 20
KINDS = ("command", "turn")  # of which the ratios are held to bounds
MEMORY_GROWTH_MAX = 64 * MIB


def info(server):
    with server.client(timeout=120) as client:
        return client.info("everything")


class Histogram:
    """A histogram of INFO, to be added and subtracted."""

    def __init__(self, text=""):
        pairs = [part.split("=") for part in text.split(",") if part]
        self.counts = {int(bound): int(count) for bound, count in pairs}

    def __add__(self, other):
        return self._combined(other, 1)

    def __sub__(self, other):
        return self._combined(other, -1)

    def _combined(self, other, sign):
        result = Histogram()
        for bound in self.counts.keys() | other.counts.keys():
            result.counts[bound] = self.counts.get(bound, 0) + sign * other.counts.get(bound, 0)
        return result

    def total(self):
        return sum(self.counts.values())

    def percentile(self, fraction):
        """In microseconds, as if durations were spread evenly over their bucket."""
        wanted, seen = fraction * self.total(), 0
        for bound, count in sorted(self.counts.items()):
            if count and seen + count >= wanted:
                width = 1 << max(0, (bound - 1).bit_length() - 3)
                return bound - width + width * (wanted - seen) / count
            seen += count
        return 0.0


def histograms(fields):
    return {kind: Histogram(fields[f"holdfast_{kind}_usec_histogram"]) for kind in KINDS}


class Storm:
    """A master under load with a number of replicas; what happened to it quiet and in storms."""

    def __init__(self, workspace, options, prefix, directory):
        self.workspace, self.options, self.prefix, self.directory = workspace, options, prefix, directory
        small = [] if options.full else ["--memtable-size", "2mb", "--log-segment-size", "2mb", "--row-cache-size", "4mb",
                                         "--log-checkpoint-bytes", "4mb", "--frame-ring-size", "1mb"]
        self.common = ["--repl-ping-replica-period", 1, "--enable-debug-command", "yes"] + small
        self.master = workspace.server("master", *self.common).start()
        load(self.master.port, options.keys)
        wait_until_quiet([self.master.process.pid], timeout=20)
        self.replicas = [self.replica(i) for i in range(options.replicas)]

    def replica(self, number):
        server = Server(os.path.join(self.directory, f"replica-{number}"), *self.common, "--replicaof", "127.0.0.1", self.master.port)
        server.prefix = self.prefix
        self.workspace.servers.append(server)
        return server

    def start_all(self):
        for replica in self.replicas:
            replica.start(wait=False)

    def wait_in_step(self, timeout):
        """All replicas have what the master has now. The master is asked once: its histograms are read."""
        offset = int(info(self.master)["master_repl_offset"])

        def here(replica):
            try:
                fields = info(replica)
            except (OSError, Disconnected, ReplyError):
                check(replica.process.poll() is None, "a replica ended: " + replica.log_tail())
                return False
            return fields["master_link_status"] == "up" and int(fields["slave_repl_offset"]) >= offset
        for replica in self.replicas:
            wait_for(lambda at=replica: here(at), timeout, "all replicas in step", pause=0.05)

    def quiet(self):
        """The histograms of some seconds under load without anything else."""
        before, began = histograms(info(self.master)), time.monotonic()
        wait_for(lambda: time.monotonic() - began >= self.options.seconds, self.options.seconds + 60, "quiet seconds", 0.05)
        after = histograms(info(self.master))
        return {kind: after[kind] - before[kind] for kind in KINDS}, (began, time.monotonic())

    def snapshots(self):
        return self.master.log_text().count("Snapshot for full synchronization made")

    def compared(self, what, bound, quiet, storm, windows, prober):
        """Prints both, and checks their ratio (in full) or a bound that any machine keeps."""
        for kind in KINDS:
            before, during = quiet[kind].percentile(0.99), storm[kind].percentile(0.99)
            print(f"  {kind}: p99 {before:.0f} us quiet ({quiet[kind].total()} of them), {during:.0f} us in the storm "
                  f"({storm[kind].total()}), ratio {during / max(before, 1):.2f}; p99.9 {quiet[kind].percentile(0.999):.0f} "
                  f"and {storm[kind].percentile(0.999):.0f} us", flush=True)
        late = [sorted(sum((prober.late_between(*window) for window in part), [])) for part in windows]
        if all(late):
            quiet_ms, storm_ms = ([percentile(part, fraction) * 1000 for fraction in (0.5, 0.99)] for part in late)
            print(f"  clients: p50 {quiet_ms[0]:.2f} ms quiet, {storm_ms[0]:.2f} ms in the storm; p99 {quiet_ms[1]:.2f} and "
                  f"{storm_ms[1]:.2f} ms", flush=True)
        for kind in KINDS:
            before, during = quiet[kind].percentile(0.99), storm[kind].percentile(0.99)
            if self.options.full:
                check(during <= bound * before, f"{what}: p99 of {kind} {during:.0f} us, {before:.0f} us quiet")
            elif not sanitized(SERVER):
                check(during < 1_000_000, f"{what}: p99 of {kind} {during:.0f} us")

    def restarted(self):
        """All replicas are killed and started again at once: they resume."""
        storm, windows, partial = {kind: Histogram() for kind in KINDS}, [], 0
        with PacedLoad(self.master.port, self.options.keys, rate=self.options.rate) as prober, \
                PacedLoad(self.master.port, self.options.keys, rate=self.options.bulk, batch=20) as writer:
            quiet, window = self.quiet()
            for _ in range(self.options.rounds):
                before, began, written = info(self.master), time.monotonic(), writer.commands
                for replica in self.replicas:
                    replica.kill()
                wait_for(lambda: writer.commands > written + 200, 60, "something is written meanwhile")
                self.start_all()
                self.wait_in_step(self.options.timeout)
                after = info(self.master)
                for kind in KINDS:
                    storm[kind] += histograms(after)[kind] - histograms(before)[kind]
                windows.append((began, time.monotonic()))
                partial += int(after["sync_partial_ok"]) - int(before["sync_partial_ok"])
                check(after["sync_full"] == before["sync_full"], after.get("holdfast_last_full_sync_reason"))
            print(f"  in step after {', '.join(f'{end - begin:.1f}' for begin, end in windows)} s; "
                  f"{partial} partial synchronizations, no full one", flush=True)
        check(partial >= self.options.replicas * self.options.rounds, f"{partial} partial synchronizations")
        self.compared("restarted", 1.5, quiet, storm, ([window], windows), prober)

    def fresh(self):
        """Fresh replicas, all at once: one snapshot for all."""
        with PacedLoad(self.master.port, self.options.keys, rate=self.options.rate) as prober, \
                PacedLoad(self.master.port, self.options.keys, rate=self.options.bulk, batch=20):
            with PeakMemory(self.master.process.pid) as memory:
                quiet, window = self.quiet()
            before, snapshots, began = info(self.master), self.snapshots(), time.monotonic()
            with PeakMemory(self.master.process.pid) as peak:
                self.start_all()
                self.wait_in_step(self.options.timeout)
            after, ended = info(self.master), time.monotonic()
            storm = {kind: histograms(after)[kind] - histograms(before)[kind] for kind in KINDS}
        full, growth = int(after["sync_full"]) - int(before["sync_full"]), peak.bytes - memory.bytes
        print(f"  in step after {ended - began:.1f} s; {full} full synchronizations of {self.snapshots() - snapshots} "
              f"snapshot; private memory of the master at most {memory.bytes / MIB:.0f} MiB quiet, {peak.bytes / MIB:.0f} "
              "MiB in the storm", flush=True)
        check(full >= self.options.replicas, f"{full} full synchronizations")
        check(self.snapshots() - snapshots == 1, f"{self.snapshots() - snapshots} snapshots were made")
        if not sanitized(SERVER):
            check(growth < MEMORY_GROWTH_MAX, f"private memory grew by {growth / MIB:.0f} MiB")
        self.compared("fresh", 2.0, quiet, storm, ([window], [(began, ended)]), prober)

    def check_equal(self):
        self.wait_in_step(self.options.timeout)

        def digest(server):
            with server.client(timeout=300) as client:
                return client.call("DEBUG", "DIGEST")
        wanted = digest(self.master)
        for replica in self.replicas:
            check(digest(replica) == wanted, "equal content")


def run(options, prefix):
    with tempfile.TemporaryDirectory(prefix="holdfast-storm-", dir=options.replica_dir) as directory, \
            Workspace() as workspace:
        storm = Storm(workspace, options, prefix, directory)
        for name, part in (("fresh", storm.fresh), ("restarted", storm.restarted)):
            began = time.monotonic()
            print(f"{options.replicas} replicas {name} at once, {options.keys} keys, load average "
                  f"{os.getloadavg()[0]:.1f}", flush=True)
            part()
            storm.check_equal()
            print(f"{name}: ok, {time.monotonic() - began:.1f} s", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="the full size, and bounds on the ratios")
    parser.add_argument("--replica-dir", help="where the replicas' data goes, e.g. /dev/shm for another disk than the master's")
    options = parser.parse_args()
    if options.full:
        options.replicas, options.keys, options.seconds, options.rounds = 10, 1_000_000, 30, 10
        options.rate, options.bulk, options.timeout = 1000, 4000, 300
        with LowWeight() as group:
            print(f"replicas: {group.means}", flush=True)
            run(options, group.prefix)
    else:
        options.replicas, options.keys, options.seconds, options.rounds = 4, 20_000, 1, 1
        options.rate, options.bulk, options.timeout = 200, 1000, 120
        run(options, [])
    return 0


if __name__ == "__main__":
    sys.exit(main())
