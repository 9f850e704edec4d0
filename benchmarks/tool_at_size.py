#!/usr/bin/env python3
"""How long the offline tool takes for a snapshot, a data directory and an RDB file that are there: inspect and get, with the files
in memory and not, and stats, verify and convert beside redis-check-rdb.

  benchmarks/tool_at_size.py --rdb dump.rdb --snapshot made.hfs --directory /var/lib/holdfast --key user:17

Make a large RDB file with redis-server (benchmarks/rdb_at_size.py shows how), the other two with `holdfast convert`. HOLDFAST_TOOL:
the binary. Files are dropped from memory by posix_fadvise: nobody may have them mapped. See docs/tool.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))

from holdfast_testing import TOOL, check  # pylint: disable=wrong-import-position


def drop(path):
    """Out of the page cache."""
    names = [os.path.join(folder, name) for folder, _, files in os.walk(path) for name in files] or [path]
    for name in names:
        with open(name, "rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def milliseconds(command, times, path=None):
    taken = []
    for _ in range(times):
        if path:
            drop(path)
        time.sleep(0.1)  # a start by itself: right behind another one some of the kernel's answers are faster
        began = time.perf_counter()
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        taken.append((time.perf_counter() - began) * 1e3)
        check(done.returncode == 0, f"{command}: {done.returncode}")
    return f"{min(taken):6.1f} {sorted(taken)[times // 2]:6.1f} ms"


def short(what, arguments, times):
    command = [TOOL, *arguments]
    path = arguments[1]
    print(f"{what:24} in memory {milliseconds(command, times)}   not in memory {milliseconds(command, times, path)}", flush=True)


def long(what, command):
    """Wall, processor; memory of its own and all that was resident, which counts mapped pages of the file, too."""
    began, own, resident = time.perf_counter(), 0, 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            with open(f"/proc/{process.pid}/status", encoding="ascii") as file:
                fields = dict(line.split(":", 1) for line in file)
            own = max(own, int(fields.get("RssAnon", "0 kB").split()[0]))
            resident = max(resident, int(fields.get("VmHWM", "0 kB").split()[0]))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    check(process.returncode == 0, f"{command}: {process.returncode}")
    print(f"{what:24} {seconds:6.2f} s, processor {usage.ru_utime + usage.ru_stime:6.2f} s, own memory {own / 1024:6.1f} MiB, "
          f"resident {resident / 1024:8.1f} MiB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("--rdb", "--snapshot", "--directory", "--key"):
        parser.add_argument(name, required=True)
    parser.add_argument("--times", type=int, default=15)
    options = parser.parse_args()
    print(f"--version                {milliseconds([TOOL, '--version'], options.times)}")
    for what, path in (("snapshot", options.snapshot), ("directory", options.directory)):
        short("inspect " + what, ["inspect", path], options.times)
        short("get " + what, ["get", path, options.key], options.times)
    for what, path in (("snapshot", options.snapshot), ("RDB", options.rdb), ("directory", options.directory)):
        long("stats " + what, [TOOL, "stats", path])
    long("verify snapshot", [TOOL, "verify", options.snapshot])
    with tempfile.TemporaryDirectory() as scratch:
        long("convert snapshot to RDB", [TOOL, "convert", options.snapshot, os.path.join(scratch, "made.rdb")])
    long("redis-check-rdb", ["redis-check-rdb", options.rdb])
    return 0


if __name__ == "__main__":
    sys.exit(main())
