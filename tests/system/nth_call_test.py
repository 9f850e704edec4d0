#!/usr/bin/env python3
"""A share of tests/faults/nth_call.py: file calls of a real server that fail, or at which it is killed. The commit's hash
says which scenarios and which of their cases, so that all have their turn; under sanitizers they are always the same."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "benchmarks"))
from measuring import sanitized  # noqa: E402  (path above)
from holdfast_testing import SERVER  # noqa: E402


def main():
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout
    seed = os.environ.get("HOLDFAST_SEED") or ("" if sanitized(SERVER) else commit.strip()) or "0"
    # A server that stops at once because of a fault does not wait for its threads.
    os.environ["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "") + ":report_thread_leaks=0"
    share, scenarios = (100, 8) if sanitized(SERVER) else (50, 20)
    print(f"seed {seed} (replay with HOLDFAST_SEED={seed})", flush=True)
    script = os.path.join(HERE, "..", "faults", "nth_call.py")
    # One of these is LMDB's meta page, after whose failure it takes no more writes: the server must stop, not refuse for
    # ever. Always run.
    for nth in (2, 3, 4):
        if subprocess.run([script, "--case", f"write,short,{nth}", "checkpoint"], check=False).returncode != 0:
            return 1
    return subprocess.run([script, "--share", str(share), "--scenarios", str(scenarios), "--seed", seed],
                          check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
