#!/usr/bin/env python3
"""Replication of holdfast-server and redis-server side by side: copying a data set to a fresh replica, catching up after a
break, what replicas cost the master, and how late clients are meanwhile.

Each repetition runs one server, then the other, in turned order; medians, and the median of the paired ratios. In `cost` and
`tail` replicas stand for other machines: they run in a group of low weight (benchmarks/paced_load.py), and their data is on
a file system of its own (--replica-dir). redis-server copies without a disk
on either side (repl-diskless-sync, repl-diskless-load) and keeps no append-only file in `copy` and `catchup`, which is its
fastest; in `cost` and `tail` it keeps one with appendfsync always. Holdfast runs with its defaults: every write is synced.

  benchmarks/compare_replication.py                            1M keys (half an hour)
  benchmarks/compare_replication.py --part copy --keys 10000000 --repetitions 1
  benchmarks/compare_replication.py --keys 100000 --repetitions 1 --seconds 3      a look

See docs/performance.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time

from measuring import (PeakMemory, cpu_us, file_system_of, key_of, load, machine, median, memory_bytes, record_of, value_of,
                       version_of, wait_until_quiet)
from paced_load import LowWeight, PacedLoad, percentile
from holdfast_testing import REDIS_SERVER, SERVER, Client, Disconnected, ReplyError, Server, wait_for

MIB = 1 << 20
TIMEOUT = 1200
PARTS = ("copy", "catchup", "cost", "tail")


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=SERVER, help="holdfast-server (%(default)s, or $HOLDFAST_SERVER)")
    parser.add_argument("--peer", default=REDIS_SERVER)
    parser.add_argument("--part", default=",".join(PARTS), help="of %(default)s")
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=15, help="of the quiet stretch before `tail` (%(default)s)")
    parser.add_argument("--break-mb", type=int, default=200, help="stream to catch up with (%(default)s)")
    parser.add_argument("--dir", default=None, help="where the data goes (default: a temporary directory)")
    parser.add_argument("--replica-dir", default="/dev/shm", help="where replicas' data goes in cost and tail (%(default)s)")
    parser.add_argument("--json", metavar="FILE", help="also write everything measured")
    options = parser.parse_args()
    options.part = options.part.split(",")
    for part in options.part:
        if part not in PARTS:
            parser.error(f"unknown part {part}: choose from {', '.join(PARTS)}")
    return options


class Side:
    """One of the two: its servers, and how it is asked for things."""

    def __init__(self, name, binary, directory, other_directory):
        self.name, self.binary, self.directory, self.other_directory = name, binary, directory, other_directory
        self.redis = os.path.basename(binary).startswith(("redis", "valkey"))
        self.servers = []

    def start(self, name, fsync=False, elsewhere=None):
        """With `elsewhere`, a LowWeight, it stands for another machine."""
        arguments = ["--repl-ping-replica-period", 1]
        if self.redis:
            arguments += ["--save", "", "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", 0,
                          "--repl-diskless-load", "on-empty-db", "--repl-backlog-size", "2gb",
                          "--client-output-buffer-limit", "replica 0 0 0", "--auto-aof-rewrite-percentage", 0]
            arguments += ["--appendonly", "yes", "--appendfsync", "always"] if fsync else ["--appendonly", "no"]
        directory = self.other_directory if elsewhere else self.directory
        server = Server(os.path.join(directory, f"{self.name}-{name}"), *arguments, binary=self.binary)
        server.prefix = elsewhere.prefix if elsewhere else []
        self.servers.append(server)
        return server.start()

    def stop_one(self, server):
        server.stop()
        shutil.rmtree(server.directory)
        self.servers.remove(server)

    def stop(self):
        while self.servers:
            self.stop_one(self.servers[-1])


def info(server):
    with server.client(timeout=TIMEOUT) as client:
        return client.info("everything")


def call(server, *command):
    with server.client(timeout=TIMEOUT) as client:
        return client.call(*command)


def follow(replica, master):
    call(replica, "REPLICAOF", "127.0.0.1", master.port)


class Marks:
    """A key that is written to a master and waited for on its replicas: what came before it is applied there, too."""

    number = 0

    @classmethod
    def set(cls, master):
        cls.number += 1
        call(master, "SET", "mark", cls.number)
        return b"%d" % cls.number

    @staticmethod
    def wait(replica, mark):
        def there():
            try:
                return call(replica, "GET", "mark") == mark
            except (OSError, Disconnected, ReplyError):
                return False
        wait_for(there, TIMEOUT, "the mark on the replica", pause=0.005)


def private_with_children(pid):
    """Private memory of a process and of those it forked: what these do not share any more is counted twice."""
    total = memory_bytes(pid)[0]
    for child in children_of(pid):
        try:
            with open(f"/proc/{child}/smaps_rollup", encoding="ascii") as file:
                for line in file:
                    if line.startswith(("Private_Dirty:", "Private_Clean:")):
                        total += int(line.split()[1]) * 1024
        except OSError:
            continue
    return total


def children_of(pid):
    found = []
    for task in os.listdir(f"/proc/{pid}/task"):
        try:
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                found += map(int, file.read().split())
        except OSError:
            continue
    return found


class PeakWithChildren(PeakMemory):
    def _run(self):
        while not self._stop.is_set():
            try:
                self.bytes = max(self.bytes, private_with_children(self.pid))
            except (OSError, KeyError):
                pass
            self._stop.wait(self.interval)


# ---- parts: each gives the figures of one run of one side -----------------------------------------------------------------


def copy(side, options, _group):
    """A fresh replica takes everything over, the master idle: values that do not compress, then records that do."""
    figures = {}
    for kind, value in (("random", value_of), ("records", record_of)):
        master = side.start(f"master-{kind}")
        load(master.port, options.keys, options.value_bytes, value=value)
        wait_until_quiet([master.process.pid])
        replica = side.start("replica")
        mark, before = Marks.set(master), info(master)
        quiet, cpu = private_with_children(master.process.pid), cpu_us(master.process.pid)
        with PeakWithChildren(master.process.pid) as peak:
            began = time.monotonic()
            follow(replica, master)
            Marks.wait(replica, mark)
            figures[f"{kind}_s"] = time.monotonic() - began
        if call(replica, "DBSIZE") != call(master, "DBSIZE"):
            raise RuntimeError("the replica lacks keys")
        sent = int(info(master)["total_net_repl_output_bytes"]) - int(before["total_net_repl_output_bytes"])
        figures |= {f"{kind}_sent_mb": sent / 1e6, f"{kind}_memory_mb": (peak.bytes - quiet) / MIB,
                    f"{kind}_master_cpu_s": (cpu_us(master.process.pid) - cpu) / 1e6}
        side.stop()
    return figures


def catchup(side, options, _group):
    """A replica was cut off while the master wrote, and follows again: megabytes of stream a second until all is applied."""
    master, replica = side.start("master"), side.start("replica")
    load(master.port, options.keys, options.value_bytes)
    follow(replica, master)
    Marks.wait(replica, Marks.set(master))
    call(replica, "REPLICAOF", "127.0.0.1", 1)
    begin = int(info(master)["master_repl_offset"])
    pass_number = 0
    while int(info(master)["master_repl_offset"]) - begin < options.break_mb * 1_000_000:
        load(master.port, min(options.keys, 200_000), options.value_bytes, seed=pass_number + 2)
        pass_number += 1
    mark = Marks.set(master)
    wait_until_quiet([master.process.pid, replica.process.pid])
    stream = int(info(master)["master_repl_offset"]) - begin
    before = info(master)
    cpu = cpu_us(replica.process.pid)
    began = time.monotonic()
    follow(replica, master)
    Marks.wait(replica, mark)
    took = time.monotonic() - began
    after = info(master)
    if after["sync_full"] != before["sync_full"]:
        raise RuntimeError("a full synchronization")
    return {"catchup_mb_s": stream / 1e6 / took, "catchup_s": took, "stream_mb": stream / 1e6,
            "replica_cpu_us_per_set": (cpu_us(replica.process.pid) - cpu) / (pass_number * min(options.keys, 200_000))}


def cost(side, options, group):
    """CPU of the master for each SET, with no, one and three replicas."""
    master = side.start("master", fsync=True)
    load(master.port, options.keys, options.value_bytes)
    figures, requests = {}, max(100_000, options.keys // 2)
    for replicas in (0, 1, 3):
        while len(side.servers) - 1 < replicas:
            replica = side.start(f"replica-{len(side.servers)}", elsewhere=group)
            follow(replica, master)
            Marks.wait(replica, Marks.set(master))
        pids = [server.process.pid for server in side.servers]
        wait_until_quiet(pids)
        before = cpu_us(master.process.pid)
        began = time.monotonic()
        subprocess.run(["redis-benchmark", "-p", str(master.port), "-c", "50", "-P", "16", "-n", str(requests), "-r",
                        str(options.keys), "-d", str(options.value_bytes), "-t", "set", "-q"], check=True,
                       stdout=subprocess.DEVNULL)
        took = time.monotonic() - began
        mark = Marks.set(master)
        for replica in side.servers[1:]:
            Marks.wait(replica, mark)
        wait_until_quiet(pids)
        figures[f"cpu_us_{replicas}"] = (cpu_us(master.process.pid) - before) / requests
        figures[f"krps_{replicas}"] = requests / took / 1000
    figures["first_us"] = figures["cpu_us_1"] - figures["cpu_us_0"]
    figures["further_us"] = (figures["cpu_us_3"] - figures["cpu_us_1"]) / 2
    return figures


def background(command, flag):
    """A command that works in the background, until it has finished."""
    def run(master):
        began = time.monotonic()
        call(master, *command)
        # It may begin a little later, and be over before anybody has looked.
        wait_for(lambda: info(master)[flag] == "1" or time.monotonic() - began > 1, TIMEOUT, " ".join(command), pause=0.02)
        wait_for(lambda: info(master)[flag] == "0", TIMEOUT, " ".join(command), pause=0.05)
    return run


def tail(side, options, group):
    """How late clients are (1,000 SETs and GETs a second, 4,000 SETs beside them): quiet, and while the server is at work."""
    master = side.start("master", fsync=True)
    load(master.port, options.keys, options.value_bytes)
    wait_until_quiet([master.process.pid])

    def copy_to_a_fresh_replica(master):
        replica = side.start("replica", elsewhere=group)
        follow(replica, master)
        Marks.wait(replica, Marks.set(master))
        side.stop_one(replica)

    works = {"quiet": lambda master: time.sleep(options.seconds),
             "checkpoint": background(("BGREWRITEAOF",), "aof_rewrite_in_progress"),
             "snapshot": background(("BGSAVE",), "rdb_bgsave_in_progress"), "copy": copy_to_a_fresh_replica}
    windows = {}
    with PacedLoad(master.port, options.keys, options.value_bytes, rate=1000) as prober, \
            PacedLoad(master.port, options.keys, options.value_bytes, rate=4000, batch=20):
        for name, work in works.items():
            windows[name] = []
            # Short work several times, so that there is a thousandth of the commands to speak of.
            while len(windows[name]) < 5 and sum(end - begin for begin, end in windows[name]) < options.seconds:
                time.sleep(min(3, options.seconds))
                began = time.monotonic()
                work(master)
                windows[name].append((began, time.monotonic()))
    figures = {}
    for name, found in windows.items():
        late = sorted(sum((prober.late_between(*window) for window in found), []))
        figures[f"{name}_s"] = sum(ended - began for began, ended in found) / len(found)
        for title, fraction in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999), ("max", 1.0)):
            figures[f"{name}_{title}_ms"] = percentile(late, fraction) * 1000
        if name != "quiet":
            figures[f"{name}_p999_to_quiet"] = figures[f"{name}_p999_ms"] / figures["quiet_p999_ms"]
    return figures


# ---- running and telling ----------------------------------------------------------------------------------------------------


def run_part(part, options, directories, group):
    work = {"copy": copy, "catchup": catchup, "cost": cost, "tail": tail}[part]
    runs, loads = {"ours": [], "peer": []}, []
    for repetition in range(options.repetitions):
        for name in ("ours", "peer") if repetition % 2 == 0 else ("peer", "ours"):
            side = Side(name, options.server if name == "ours" else options.peer, *directories)
            loads.append(round(os.getloadavg()[0], 1))
            try:
                runs[name].append(work(side, options, group))
            finally:
                side.stop()
    return {"part": part, "runs": runs, "load_averages": loads}


def report(result):
    ours, peers = result["runs"]["ours"], result["runs"]["peer"]
    print(f"\n{result['part']} (load average before each run: {' '.join(map(str, result['load_averages']))})\n")
    print("| | Holdfast | redis-server | ratio [min-max] |\n|---|---|---|---|")
    for field in ours[0]:
        ratios = [a[field] / b[field] for a, b in zip(ours, peers) if b[field]]
        spread = f"{median(ratios):.2f} [{min(ratios):.2f}-{max(ratios):.2f}]" if ratios else ""
        cells = [median([run[field] for run in side]) for side in (ours, peers)]
        cells = [f"{cell:.3g}" if cell < 100 else f"{cell:.0f}" for cell in cells]
        print(f"| {field} | {cells[0]} | {cells[1]} | {spread} |", flush=True)


def main():
    options = parse_arguments()
    prefix = "holdfast-compare-"
    with tempfile.TemporaryDirectory(prefix=prefix, dir=options.dir) as directory, \
            tempfile.TemporaryDirectory(prefix=prefix, dir=options.replica_dir) as other, LowWeight() as group:
        about = machine() | {"file_system": file_system_of(directory), "ours": version_of(options.server),
                             "peer": version_of(options.peer), "keys": options.keys, "value_bytes": options.value_bytes,
                             "repetitions": options.repetitions, "replicas": group.means}
        for name, value in about.items():
            print(f"{name}: {value}")
        results = []
        for part in options.part:
            results.append(run_part(part, options, (directory, other), group))
            report(results[-1])
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "parts": results}, file, indent=1)


if __name__ == "__main__":
    main()
