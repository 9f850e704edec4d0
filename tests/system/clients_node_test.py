#!/usr/bin/env python3
"""ioredis, fetched by npm into a temporary directory, works as it does against Redis (tests/clients/node_smoke.js). Exit
code 77 (skipped) without node and npm, or when npm cannot fetch it."""

import os
import shutil
import subprocess
import sys

from holdfast_testing import Workspace, check

PACKAGE = "ioredis@5"
SCRIPT = os.path.join(os.environ.get("HOLDFAST_SOURCE", "."), "tests", "clients", "node_smoke.js")


def fetch(directory):
    """What went wrong, or None."""
    os.makedirs(directory)
    try:
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--no-save", "--prefix", directory,
                               "--cache", os.path.join(directory, "cache"), PACKAGE],
                              capture_output=True, text=True, timeout=120, check=False, cwd=directory)
    except subprocess.TimeoutExpired:
        return "npm did not answer for two minutes"
    return None if done.returncode == 0 else done.stderr[-500:]


def main():
    if shutil.which("node") is None or shutil.which("npm") is None:
        print("no node or npm here: skipped")
        return 77
    with Workspace() as workspace:
        modules = os.path.join(workspace.path, "node")
        wrong = fetch(modules)
        if wrong is not None:
            print(f"npm could not fetch {PACKAGE}: skipped: {wrong}")
            return 77
        server = workspace.server("server").start()
        done = subprocess.run(["node", SCRIPT, str(server.port)], capture_output=True, text=True, timeout=120, check=False,
                              env={**os.environ, "NODE_PATH": os.path.join(modules, "node_modules")})
        check(done.returncode == 0, f"ioredis: {done.stderr}")
    print(f"{PACKAGE} works")
    return 0


if __name__ == "__main__":
    sys.exit(main())
