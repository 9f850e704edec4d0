#!/usr/bin/env python3
"""Power cuts: records the file calls of real servers (LMDB's, too) in scripted scenarios, makes directories that a power
cut at any of the calls could have left, recovers each by the server's code, and checks it. See docs/reliability.md.

  crash_states_test.py [--states 20000] [--workers 2] [--rounds 1] [SCENARIO ...]

Of each state: it is not refused, what was acknowledged or read is there and nothing that was never sent, transactions are
whole, as redis-server says they must be; the log keeps its rules, LMDB's file is sound, a second recovery changes nothing.

States of one recording differ from each other. What a short one lacks, the others give; more --rounds record anew, since
one recording has some thousands only.
"""

import argparse
import os
import re
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import sanitized  # noqa: E402  (path above)
from fault_server import CRASH_STATES, SHIM, reference  # noqa: E402
from holdfast_testing import SERVER, Workspace, check, seed_from_environment  # noqa: E402
from scenarios import ALL  # noqa: E402


def memory_directory(workspace):
    """Where states are written: a memory file system, if there is one. Nothing there depends on the disk."""
    path = f"/dev/shm/holdfast-states-{os.getpid()}"
    try:
        os.makedirs(path)
        return path
    except OSError:
        return os.path.join(workspace.path, "states")


def check_states(recording, expected, states, seed, workers, scratch):
    """So many states, or as many as there are. All workers go through the same ones, and each recovers its part."""
    jobs = [subprocess.Popen([CRASH_STATES, recording.path, expected, "--scratch", f"{scratch}/{part}", "--states",
                              str(states), "--seed", str(seed), "--part", str(part), "--parts", str(workers)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for part in range(workers)]
    outputs = [job.communicate()[0] for job in jobs]
    for job, output in zip(jobs, outputs):
        check(job.returncode == 0, f"{recording.name}: {output}")
    counts = [re.search(r"(\d+) different states of (\d+) calls in (\d+) tries", output).groups() for output in outputs]
    return sum(int(count[0]) for count in counts), int(counts[0][1]), int(counts[0][2])


# Syncs without which a scenario must lose something, or the test is blind.
OMISSIONS = {"appending": ("log", "directory"), "checkpoint": ("lmdb", "run"), "full_sync": ("CURRENT",)}


def check_omissions(recording, expected, seed, scratch):
    """A server that left out one kind of sync would be found out."""
    for omission in OMISSIONS.get(recording.name, ()):
        done = subprocess.run([CRASH_STATES, recording.path, expected, "--scratch", f"{scratch}/planted", "--states",
                               "4000", "--seed", str(seed), "--without", omission], capture_output=True, text=True,
                              check=False)
        check(done.returncode == 1 and "VIOLATION" in done.stdout,
              f"{recording.name} without syncs of {omission}: not found ({done.returncode}): {done.stdout[-500:]}")
        found = done.stdout[done.stdout.index("VIOLATION"):].splitlines()[0]
        print(f"planted: {recording.name} without syncs of {omission} is found: {found.partition(': ')[2][:100]}")
    return len(OMISSIONS.get(recording.name, ()))


def one_round(workspace, redis, wanted, seed, options, scratch):
    """States of one recording of each scenario. Returns how many, of how many calls, and planted omissions found."""
    total = planted = calls = tries = 0
    recordings = []
    for scenario in wanted:
        began = time.monotonic()
        recordings += scenario(workspace, seed)
        print(f"{scenario.__name__}: recorded in {time.monotonic() - began:.1f} s", flush=True)
    # The shortest first: what they lack the others give.
    recordings.sort(key=lambda recording: os.path.getsize(recording.path))
    for number, recording in enumerate(recordings):
        began = time.monotonic()
        expected = recording.write_expected(redis)
        share = (options.states // options.rounds - total) // (len(recordings) - number)
        counts = check_states(recording, expected, share, seed, options.workers, scratch)
        total, calls, tries = total + counts[0], calls + counts[1], tries + counts[2]
        if not sanitized(SERVER):
            planted += check_omissions(recording, expected, seed, scratch)
        print(f"{recording.name}: {counts[0]} states of {counts[1]} calls in {time.monotonic() - began:.1f} s", flush=True)
    return total, calls, tries, planted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=int, default=2000 if sanitized(SERVER) else 20000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("scenarios", nargs="*")
    options = parser.parse_args()
    seed = seed_from_environment()
    wanted = [one for one in ALL if not options.scenarios or one.__name__ in options.scenarios]
    check(wanted and os.path.exists(SHIM) and os.path.exists(CRASH_STATES), f"no scenario, {SHIM} or {CRASH_STATES}")
    totals = [0, 0, 0, 0]
    for number in range(options.rounds):
        with Workspace() as workspace:
            redis = reference(workspace.path)
            scratch = memory_directory(workspace)
            failed = True
            try:
                counts = one_round(workspace, redis, wanted, seed + number, options, scratch)
                totals = [sum(pair) for pair in zip(totals, counts)]
                failed = False
            finally:
                redis.stop()
                if not (failed and os.environ.get("HOLDFAST_KEEP")):
                    subprocess.run(["rm", "-rf", scratch], check=True)
    states, calls, tries, planted = totals
    print(f"{states} states after power cuts at {calls} calls ({tries} tries), 0 violations; {planted} planted omissions found")


if __name__ == "__main__":
    sys.exit(main())
