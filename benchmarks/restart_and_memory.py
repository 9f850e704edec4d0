#!/usr/bin/env python3
"""Restart time after kill -9 and private memory with many keys, beside redis-server.

Loads the same keys into holdfast-server (defaults: every write synced) and redis-server, kills both and measures the
time from exec to the first rightly answered GET: ours from its store and the log behind it, redis-server from an RDB
file. Private memory is anonymous memory of /proc/PID/smaps_rollup: the page cache of mapped files, which the kernel
takes back when it wants, is not in it.

  benchmarks/restart_and_memory.py                     5 million keys of 100 bytes (several minutes)
  benchmarks/restart_and_memory.py --keys 500000       a look

See docs/performance.md.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time

from measuring import (PeakMemory, cpu_us, file_system_of, key_of, load, machine, median, memory_bytes, ready_after,
                       value_of, version_of, wait_until_quiet)
from holdfast_testing import REDIS_SERVER, SERVER, Server

MIB = 1 << 20


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=SERVER, help="holdfast-server (%(default)s, or $HOLDFAST_SERVER)")
    parser.add_argument("--peer", default=REDIS_SERVER)
    parser.add_argument("--keys", type=int, default=5_000_000)
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--repetitions", type=int, default=3, help="restarts of each (%(default)s)")
    parser.add_argument("--drop-caches", action="store_true", help="empty the page cache before each restart (root)")
    parser.add_argument("--dir", default=None, help="where the data goes (default: a temporary directory)")
    parser.add_argument("--json", metavar="FILE")
    return parser.parse_args()


def drop_caches():
    subprocess.run(["sync"], check=True)
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3\n")


def disk_bytes(directory):
    total = 0
    for path, _, files in os.walk(directory):
        total += sum(os.stat(os.path.join(path, name)).st_blocks * 512 for name in files)
    return total


def fill(server, options):
    """Loads and returns figures of loading and memory."""
    began = time.monotonic()
    with PeakMemory(server.process.pid) as peak:
        load(server.port, options.keys, options.value_bytes)
    seconds = time.monotonic() - began
    at_end, _ = memory_bytes(server.process.pid)
    return {"load_s": seconds, "load_cpu_s": cpu_us(server.process.pid) / 1e6, "private_peak": peak.bytes,
            "private_at_end": at_end}


def restarts(server, options, before_kill):
    """Kills and starts again; each restart is followed by `before_kill`, so that all start from the same state."""
    probe = options.keys // 2
    times, cpu = [], []
    for _ in range(options.repetitions):
        before_kill(server)
        server.kill()
        if options.drop_caches:
            drop_caches()
        times.append(ready_after(server, key_of(probe), value_of(probe, options.value_bytes)))
        cpu.append(cpu_us(server.process.pid) / 1e6)
    return {"restart_s": times, "restart_median_s": median(times), "restart_cpu_s": median(cpu)}


def overwrite(server, options):
    """Leaves a log tail behind: a kill right after a checkpoint would flatter us."""
    load(server.port, min(options.keys, 400_000), options.value_bytes)


def save(server):
    with server.client(timeout=600) as client:
        client.call("SAVE")


def measure(server, options, before_kill):
    server.start()
    try:
        result = fill(server, options)
        wait_until_quiet([server.process.pid])
        result["private_quiet"], result["resident_quiet"] = memory_bytes(server.process.pid)
        result |= restarts(server, options, before_kill)
        wait_until_quiet([server.process.pid])
        result["private_after_restart"], _ = memory_bytes(server.process.pid)
        with server.client(timeout=600) as client:
            if client.call("DBSIZE") != options.keys:
                raise RuntimeError(f"DBSIZE is {client.call('DBSIZE')}, not {options.keys}")
        result["disk_bytes"] = disk_bytes(server.directory)
        return result
    finally:
        server.stop()


def report(ours, peer, options):
    rows = [("restart, exec to first GET (s, median)", "restart_median_s", 1, ".3f"),
            ("  of them (s, each)", "restart_s", None, ""),
            ("restart, CPU (s)", "restart_cpu_s", 1, ".2f"),
            ("private memory, peak while loading (MiB)", "private_peak", MIB, ".0f"),
            ("private memory, quiet after loading (MiB)", "private_quiet", MIB, ".0f"),
            ("private memory, after restart (MiB)", "private_after_restart", MIB, ".0f"),
            ("resident with page cache, quiet (MiB)", "resident_quiet", MIB, ".0f"),
            ("private bytes a key, quiet", "private_quiet", options.keys, ".0f"),
            ("disk bytes a key", "disk_bytes", options.keys, ".0f"),
            ("loading (s)", "load_s", 1, ".1f"), ("loading, server CPU (s)", "load_cpu_s", 1, ".1f")]
    print(f"\n{'':44}{'holdfast':>22}{'peer':>22}{'ratio':>8}")
    for title, field, unit, form in rows:
        if unit is None:
            cells = [" ".join(f"{t:.2f}" for t in side[field]) for side in (ours, peer)]
            print(f"{title:44}{cells[0]:>22}{cells[1]:>22}")
            continue
        a, b = ours[field] / unit, peer[field] / unit
        print(f"{title:44}{a:>22{form}}{b:>22{form}}{a / b if b else 0:>8.2f}")
    checks = [("restart < 1 s", ours["restart_median_s"] < 1.0),
              ("restart <= 0.15 of the peer's", ours["restart_median_s"] <= 0.15 * peer["restart_median_s"]),
              ("private memory < 400 MB", max(ours["private_peak"], ours["private_quiet"]) < 400_000_000)]
    print("\nwanted with 5M keys: " + "; ".join(f"{text}: {'yes' if good else 'NO'}" for text, good in checks))


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="holdfast-restart-", dir=options.dir) as directory:
        about = machine() | {"file_system": file_system_of(directory), "ours": version_of(options.server),
                             "peer": version_of(options.peer), "keys": options.keys, "value_bytes": options.value_bytes,
                             "drop_caches": options.drop_caches}
        for name, value in about.items():
            print(f"{name}: {value}")
        redis_options = ["--save", "", "--appendonly", "no"]
        ours_is_redis = os.path.basename(options.server).startswith(("redis", "valkey"))
        ours = measure(Server(os.path.join(directory, "ours"), *(redis_options if ours_is_redis else []),
                              binary=options.server),
                       options, save if ours_is_redis else lambda server: overwrite(server, options))
        peer = measure(Server(os.path.join(directory, "peer"), *redis_options, binary=options.peer), options, save)
    report(ours, peer, options)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "ours": ours, "peer": peer}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
