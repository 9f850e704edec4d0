#!/usr/bin/env python3
"""Runs redis-benchmark against holdfast-server and redis-server side by side and prints ratios.

Both servers run on the same file system. Each case runs on one, then on the other, while the one not measured is quiet;
the order turns around with each repetition. The ratio is the median of the paired ratios. Beside throughput stands the
server's CPU time per operation (all threads, from /proc/PID/stat), which is the steadier figure where client and server
share few cores: "run" while redis-benchmark runs, "all" with the background work it leaves behind (checkpoints).

  benchmarks/compare_with_redis.py                                 everything (about 40 minutes)
  benchmarks/compare_with_redis.py --test set --pipeline 1,16 --fsync always
  benchmarks/compare_with_redis.py --keys 100000 --requests 0.2 --repetitions 1      a look

See docs/performance.md.
"""

import argparse
import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile

from measuring import (count_syncs, cpu_us, file_system_of, fill_collection, info_syncs, load, machine, median,
                       version_of, wait_until_quiet)
from holdfast_testing import REDIS_SERVER, SERVER, Client, Server

# name -> (redis-benchmark's arguments, keys written by one operation, does it write?). In arguments of our own, DEEP is
# an index in the middle of the collection.
TESTS = {
    "set": (["-t", "set"], 1, True),
    "get": (["-t", "get"], 1, False),
    "incr": (["-t", "incr"], 1, True),
    "mset": (["-t", "mset"], 10, True),
    "lpush": (["-t", "lpush"], 1, True),
    "rpop": (["-t", "rpop"], 1, True),
    "sadd": (["-t", "sadd"], 1, True),
    "hset": (["-t", "hset"], 1, True),
    "zadd": (["-t", "zadd"], 1, True),
    "xadd": (["XADD", "mystream", "*", "field", "x" * 100], 1, True),
    "spop": (["-t", "spop"], 1, True),
    "srandmember": (["SRANDMEMBER", "myset"], 1, False),
    "hget": (["HGET", "myhash", "element:__rand_int__"], 1, False),
    "lindex": (["LINDEX", "mylist", "DEEP"], 1, False),
    "lrange_100": (["-t", "lrange_100"], 1, False),
    "lrange_deep": (["LRANGE", "mylist", "DEEP", "DEEP+99"], 1, False),
    "zscore": (["ZSCORE", "myzset", "element:__rand_int__"], 1, False),
    "zrank": (["ZRANK", "myzset", "element:__rand_int__"], 1, False),
    "zrange": (["ZRANGE", "myzset", "0", "9"], 1, False),
    "zrange_deep": (["ZRANGE", "myzset", "DEEP", "DEEP+9"], 1, False),
    "zcount": (["ZCOUNT", "myzset", "DEEP", "+inf"], 1, False),
    "zpopmin": (["-t", "zpopmin"], 1, True),
}
# Collections that must be there, with about --keys elements, before a test is measured. Pops find one for each request.
COLLECTIONS = {"hget": "myhash", "hset": "myhash", "sadd": "myset", "spop": "myset", "srandmember": "myset",
               "lpush": "mylist", "rpop": "mylist", "lindex": "mylist", "lrange_100": "mylist", "lrange_deep": "mylist",
               "zadd": "myzset", "zscore": "myzset", "zrank": "myzset", "zrange": "myzset", "zrange_deep": "myzset",
               "zcount": "myzset", "zpopmin": "myzset"}
POPS = ("spop", "rpop", "zpopmin")
GROUPS = {"collections": list(COLLECTIONS),
          "types": ["lpush", "rpop", "sadd", "spop", "hset", "hget", "zadd", "zrange", "zrange_deep", "zrank", "xadd"]}
REQUESTS = {1: 200_000, 16: 1_000_000, 64: 1_500_000}

# (test, fsync, pipeline) -> smallest wanted throughput ratio. docs/performance.md explains them.
TARGETS = {
    ("set", "always", 1): 1.3, ("set", "always", 16): 2.0, ("set", "always", 64): 2.5,
    ("set", "everysec", 1): 1.2, ("set", "everysec", 16): 1.5, ("set", "everysec", 64): 2.0,
    **{("get", fsync, p): ratio for fsync in ("always", "everysec", "no")
       for p, ratio in ((1, 1.1), (16, 1.4), (64, 1.3))},
    **{(test, "always", p): 1.2 for test in ("incr", "mset", "lpush", "rpop", "sadd", "spop", "hset", "zadd", "xadd")
       for p in (1, 16, 64)},
}


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default=SERVER, help="holdfast-server (%(default)s, or $HOLDFAST_SERVER)")
    parser.add_argument("--peer", default=REDIS_SERVER, help="what it is compared with (%(default)s)")
    parser.add_argument("--test", default="set,get,incr,mset",
                        help=f"of {','.join(TESTS)}; 'types': some of each type; 'collections': all on collections "
                             "(%(default)s)")
    parser.add_argument("--pipeline", default="1,16,64", help="commands sent at once (%(default)s)")
    parser.add_argument("--fsync", default="always,everysec,no", help="appendfsync of both (%(default)s)")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--keys", type=int, default=1_000_000, help="key space, loaded before (%(default)s)")
    parser.add_argument("--value-bytes", type=int, default=100)
    parser.add_argument("--requests", type=float, default=1.0, help="factor on the number of requests (%(default)s)")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--dir", default=None, help="where the data goes (default: a temporary directory)")
    parser.add_argument("--server-option", action="append", default=[], metavar="'NAME VALUE'",
                        help="directive for the server only, e.g. 'row-cache-size 0'")
    parser.add_argument("--json", metavar="FILE", help="also write everything measured")
    options = parser.parse_args()
    options.test = GROUPS.get(options.test) or options.test.split(",")
    options.pipeline = [int(p) for p in options.pipeline.split(",")]
    options.fsync = options.fsync.split(",")
    for test in options.test:
        if test not in TESTS:
            parser.error(f"unknown test {test}: choose from {', '.join(TESTS)}")
    return options


def start(binary, directory, fsync, extra=()):
    """A redis-server gets an append-only file that is not rewritten (in its favour); ours always has a log."""
    arguments = ["--appendfsync", fsync]
    if os.path.basename(binary).startswith(("redis", "valkey")):
        arguments += ["--appendonly", "yes", "--save", "", "--auto-aof-rewrite-percentage", "0"]
    for directive in extra:
        name, value = directive.split(None, 1)
        arguments += ["--" + name, value]
    return Server(directory, *arguments, binary=binary).start()


def benchmark(server, test, pipeline, requests, options):
    command = ["redis-benchmark", "-h", "127.0.0.1", "-p", str(server.port), "-c", str(options.clients), "-P",
               str(pipeline), "-n", str(requests), "-r", str(options.keys), "-d", str(options.value_bytes), "--csv"]
    deep = options.keys // 2
    arguments = [re.sub(r"^DEEP(?:\+(\d+))?$", lambda found: str(deep + int(found[1] or 0)), argument)
                 for argument in TESTS[test][0]]
    done = subprocess.run(command + arguments, capture_output=True, text=True, check=False)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    if done.returncode != 0 or not rows:
        raise RuntimeError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}\n{server.log_tail()}")
    return rows[-1]


def measure(server, test, pipeline, options):
    """One run of one case on one server."""
    base = REQUESTS.get(pipeline, 1_000_000 if pipeline > 16 else 200_000)
    requests = max(options.clients * pipeline, int(base * options.requests / (5 if test == "mset" else 1)))
    pid = server.process.pid
    if test in COLLECTIONS:
        fill_collection(server.port, COLLECTIONS[test], requests if test in POPS else options.keys, options.value_bytes)
        wait_until_quiet([pid])
    with Client(server.port) as client:
        syncs_before = info_syncs(client)
        before = cpu_us(pid)
        row = benchmark(server, test, pipeline, requests, options)
        during = cpu_us(pid) - before
        syncs_after = info_syncs(client)
        wait_until_quiet([pid])
        settled = cpu_us(pid) - before
        rps = float(row["rps"])
        syncs_per_op = None
        if syncs_before is not None:
            syncs_per_op = (syncs_after - syncs_before) / requests
    return {"rps": rps, "p50_ms": float(row["p50_latency_ms"]), "p99_ms": float(row["p99_latency_ms"]),
            "max_ms": float(row["max_latency_ms"]), "cpu_us": during / requests, "cpu_all_us": settled / requests,
            "syncs_per_s": None if syncs_per_op is None else syncs_per_op * rps, "requests": requests}


def sync_rate_by_tracing(server, test, pipeline, options):
    """Syncs per operation in a short run of its own, for a server that does not count them itself."""
    requests = 20_000 * min(pipeline, 8)
    syncs = count_syncs(server.process.pid, lambda: benchmark(server, test, pipeline, requests, options))
    return None if syncs is None else syncs / requests


def run_case(servers, test, pipeline, options):
    """All repetitions of one case: {name: [run, ...]}."""
    runs = {name: [] for name in servers}
    for repetition in range(options.repetitions):
        order = list(servers) if repetition % 2 == 0 else list(reversed(servers))
        for name in order:
            runs[name].append(measure(servers[name], test, pipeline, options))
    for name, server in servers.items():
        if TESTS[test][2] and runs[name][0]["syncs_per_s"] is None:
            per_op = sync_rate_by_tracing(server, test, pipeline, options)
            for run in runs[name]:
                run["syncs_per_s"] = None if per_op is None else per_op * run["rps"]
            wait_until_quiet([server.process.pid])
    return runs


def summarise(test, fsync, pipeline, runs):
    ours, peers = runs["ours"], runs["peer"]
    ratios = [a["rps"] / b["rps"] for a, b in zip(ours, peers)]
    cpu_ratios = [a["cpu_us"] / b["cpu_us"] for a, b in zip(ours, peers) if b["cpu_us"] > 0]
    summary = {"test": test, "fsync": fsync, "pipeline": pipeline, "ratio": median(ratios), "ratio_min": min(ratios),
               "ratio_max": max(ratios), "cpu_ratio": median(cpu_ratios),
               "target": TARGETS.get((test, fsync, pipeline)), "runs": runs}
    for side, rows in (("ours", ours), ("peer", peers)):
        for field in ("rps", "p50_ms", "p99_ms", "cpu_us", "cpu_all_us", "syncs_per_s"):
            summary[f"{side}_{field}"] = median([row[field] for row in rows])
    return summary


HEADER = (f"{'test':12}{'fsync':9}{'P':>3}  {'krps':>13}  {'ratio [min-max]':18}{'wanted':>7}  {'p50 ms':>11}  "
          f"{'p99 ms':>13}  {'CPU us/op run':>14}{'ratio':>6}  {'CPU us/op all':>14}  {'syncs/s':>13}")


def pair(summary, field, form):
    values = [summary["ours_" + field], summary["peer_" + field]]
    return "/".join("-" if value is None else format(value, form) for value in values)


def print_row(summary):
    target = summary["target"]
    wanted = "" if target is None else f">={target}" + ("" if summary["ratio"] >= target else " !")
    ratio = f"{summary['ratio']:.2f} [{summary['ratio_min']:.2f}-{summary['ratio_max']:.2f}]"
    krps = f"{summary['ours_rps'] / 1000:.1f}/{summary['peer_rps'] / 1000:.1f}"
    cpu = "-" if summary["cpu_ratio"] is None else f"{summary['cpu_ratio']:.2f}"
    print(f"{summary['test']:12}{summary['fsync']:9}{summary['pipeline']:>3}  {krps:>13}  {ratio:18}{wanted:>7}  "
          f"{pair(summary, 'p50_ms', '.2f'):>11}  {pair(summary, 'p99_ms', '.2f'):>13}  "
          f"{pair(summary, 'cpu_us', '.2f'):>14}{cpu:>6}  {pair(summary, 'cpu_all_us', '.2f'):>14}  "
          f"{pair(summary, 'syncs_per_s', '.0f'):>13}", flush=True)


def run_fsync_mode(fsync, directory, options):
    servers = {}
    summaries = []
    try:
        servers["ours"] = start(options.server, os.path.join(directory, f"ours-{fsync}"), fsync, options.server_option)
        servers["peer"] = start(options.peer, os.path.join(directory, f"peer-{fsync}"), fsync)
        for server in servers.values():
            if any(test not in COLLECTIONS for test in options.test):
                load(server.port, options.keys, options.value_bytes)
        wait_until_quiet([server.process.pid for server in servers.values()])
        for test in options.test:
            for pipeline in options.pipeline:
                summaries.append(summarise(test, fsync, pipeline, run_case(servers, test, pipeline, options)))
                print_row(summaries[-1])
    finally:
        for server in servers.values():
            server.stop()
    return summaries


def main():
    options = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="holdfast-compare-", dir=options.dir) as directory:
        about = machine() | {"file_system": file_system_of(directory), "ours": version_of(options.server),
                             "peer": version_of(options.peer), "clients": options.clients, "keys": options.keys,
                             "value_bytes": options.value_bytes, "repetitions": options.repetitions}
        if about["file_system"]["type"] == "tmpfs":
            print("warning: the data is on tmpfs, where a sync costs nothing; give --dir", file=sys.stderr)
        for name, value in about.items():
            print(f"{name}: {value}")
        print("\nin each pair: holdfast-server / peer; medians of the repetitions; ! = below what is wanted\n")
        print(HEADER)
        summaries = []
        for fsync in options.fsync:
            summaries += run_fsync_mode(fsync, directory, options)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"about": about, "cases": summaries}, file, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
