#!/usr/bin/env python3
"""Power cuts: records the file calls of real servers (LMDB's, too) in scripted scenarios, makes directories that a power
cut at any of the calls could have left, recovers each by the server's code, and checks it. See docs/reliability.md.

  crash_states_test.py [--states 20000] [--workers 2] [SCENARIO ...]

Of each state: it is not refused, what was acknowledged is there and nothing that was never sent, transactions are whole,
as redis-server says they must be; the log keeps its rules, LMDB's file is sound, a second recovery changes nothing.
"""

import argparse
import os
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
    jobs = [subprocess.Popen([CRASH_STATES, recording.path, expected, "--scratch", f"{scratch}/{part}", "--states",
                              str(states), "--seed", str(seed), "--part", str(part), "--parts", str(workers)],
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for part in range(workers)]
    outputs = [job.communicate()[0] for job in jobs]
    for job, output in zip(jobs, outputs):
        check(job.returncode == 0, f"{recording.name}: {output}")
    return sum(int(output.splitlines()[-1].split()[0]) for output in outputs)


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


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--states", type=int, default=300 if sanitized(SERVER) else 8000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("scenarios", nargs="*")
    options = parser.parse_args()
    seed = seed_from_environment()
    wanted = [one for one in ALL if not options.scenarios or one.__name__ in options.scenarios]
    check(wanted and os.path.exists(SHIM) and os.path.exists(CRASH_STATES), f"no scenario, {SHIM} or {CRASH_STATES}")
    total = planted = 0
    with Workspace() as workspace:
        redis = reference(workspace.path)
        scratch = memory_directory(workspace)
        failed = True
        try:
            for scenario in wanted:
                began = time.monotonic()
                recordings = scenario(workspace, seed)
                recorded = time.monotonic() - began
                for recording in recordings:
                    expected = recording.write_expected(redis)
                    began = time.monotonic()
                    states = check_states(recording, expected, options.states // len(wanted) // len(recordings), seed,
                                          options.workers, scratch)
                    total += states
                    if not sanitized(SERVER):
                        planted += check_omissions(recording, expected, seed, scratch)
                    print(f"{recording.name}: recorded in {recorded:.1f} s, {states} states in "
                          f"{time.monotonic() - began:.1f} s", flush=True)
            failed = False
        finally:
            redis.stop()
            if not (failed and os.environ.get("HOLDFAST_KEEP")):
                subprocess.run(["rm", "-rf", scratch], check=True)
    print(f"{total} states after power cuts, 0 violations; {planted} planted omissions found")


if __name__ == "__main__":
    sys.exit(main())
