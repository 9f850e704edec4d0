#!/usr/bin/env python3
"""Real power cuts: a file system on a loop device is shut down under a loaded server (EXT4_IOC_SHUTDOWN and XFS' twin,
without flushing its log), mounted again, and recovered.

  power_cuts.py [--cuts 20] [--seconds S] [--seed S] [--file-system ext4|xfs]

What a cut leaves is what was synced; all else, names included, may be gone. Only acknowledgements that were seen before
the cut count. After each: every acknowledged unit is there and whole, in order, nothing that was never sent, `holdfast
verify` finds no damage. Needs root, loop devices and mkfs; exit code 77 where they are not to be had.
"""

import argparse
import fcntl
import os
import random
import shutil
import struct
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault_server import BUILD  # noqa: E402
from nth_run import Units  # noqa: E402
from holdfast_testing import Server, Workspace, check, wait_for  # noqa: E402

SKIPPED = 77
# _IOR('X', 125, uint32): the same number for ext4 and XFS; 2: do not flush the journal.
SHUTDOWN = 0x8004587D
NO_LOG_FLUSH = 2
OPTIONS = ("--memtable-size", "1mb", "--log-segment-size", "1mb", "--repl-backlog-size", "1mb", "--space-reserve", "0",
           "--enable-debug-command", "yes")


class LoopDisk:
    """A file system in a file, mounted."""

    def __init__(self, workspace, kind, megabytes):
        self.kind = kind
        self.image = os.path.join(workspace.path, f"disk.{kind}")
        self.path = os.path.join(workspace.path, f"mount-{kind}")
        self.mounted = False
        os.makedirs(self.path)
        with open(self.image, "wb") as file:
            file.truncate(megabytes << 20)
        make = ["mkfs.ext4", "-q", "-F"] if kind == "ext4" else ["mkfs.xfs", "-q", "-f"]
        self.usable = (os.geteuid() == 0 and shutil.which(make[0]) is not None
                       and subprocess.run([*make, self.image], capture_output=True, check=False).returncode == 0
                       and self.mount())

    def mount(self):
        done = subprocess.run(["mount", "-o", "loop", self.image, self.path], capture_output=True, check=False)
        self.mounted = done.returncode == 0
        return self.mounted

    def unmount(self):
        if self.mounted:
            def gone():
                return subprocess.run(["umount", self.path], capture_output=True, check=False).returncode == 0
            wait_for(gone, 60, f"{self.path} being unmounted")
            self.mounted = False

    def cut_power(self):
        directory = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(directory, SHUTDOWN, struct.pack("I", NO_LOG_FLUSH))
        finally:
            os.close(directory)


def cut_once(disk, server, units, rng):
    """Load of several depths until the power goes; then what is there."""
    server.start()
    for one in units:
        one.verify(server)

    def load(one, random_of_thread):
        while one.write(server, 40, depth=random_of_thread.choice([1, 4, 20]),
                        filler=b"x" * random_of_thread.choice([0, 300, 9000])):
            pass

    def checkpoints():
        try:
            while True:
                with server.client() as client:
                    client.call("DEBUG", "CHECKPOINT")
        except Exception:  # noqa: BLE001  (the server is gone: whatever the socket says)
            return

    seen = []
    threads = [threading.Thread(target=load, args=(one, random.Random(rng.random()))) for one in units]
    if rng.random() < 0.5:
        threads.append(threading.Thread(target=checkpoints))
    for thread in threads:
        thread.start()
    # The moment of the cut is what is random here, not something to wait for.
    time.sleep(rng.choice([0.02, 0.1, 0.3]) * (0.5 + rng.random()))
    # What was acknowledged when the cut began: copied before it.
    seen = [list(one.acked) for one in units]
    disk.cut_power()
    for thread in threads:
        thread.join()
    code = server.process.wait(60)
    check(code in (1, 3), f"exit code {code} on a disk that is gone:\n{server.log_tail()}")
    for one, acked in zip(units, seen):
        # A reply that left after the cut was still true to the kernel of that machine, not of the next.
        one.unknown = sorted(set(one.unknown) | (set(one.acked) - set(acked)))
        one.acked = acked
    disk.unmount()
    check(disk.mount(), "the disk cannot be mounted again")
    return sum(len(acked) for acked in seen)


def run(kind, cuts, seconds, seed):
    """Returns how many cuts were made and how many acknowledged units they met, or None."""
    rng = random.Random(f"{seed}-{kind}")
    with Workspace() as workspace:
        disk = LoopDisk(workspace, kind, 64 if kind == "ext4" else 320)
        if not disk.usable:
            return None
        try:
            server = Server(os.path.join(disk.path, "data"), *OPTIONS)
            server.log_path = os.path.join(workspace.path, "server.log")
            workspace.servers.append(server)
            units = [Units(f"u{number}") for number in range(3)]
            acked, made, deadline = 0, 0, time.monotonic() + seconds
            while made < cuts and time.monotonic() < deadline:
                acked += cut_once(disk, server, units, rng)
                made += 1
                if made % 5 == 0:
                    verified = subprocess.run([os.path.join(BUILD, "holdfast"), "log", "verify", server.directory],
                                              capture_output=True, text=True, check=False)
                    check(verified.returncode == 0, f"cut {made}: {verified.stdout}{verified.stderr}")
            server.start()
            for one in units:
                one.verify(server)
            check(server.terminate() == 0, "a clean stop")
            return made, acked
        finally:
            server.stop()
            disk.unmount()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1e9)
    parser.add_argument("--seed", default=os.environ.get("HOLDFAST_SEED") or str(random.SystemRandom().randrange(1 << 48)))
    parser.add_argument("--file-system", choices=["ext4", "xfs"])
    options = parser.parse_args()
    print(f"seed {options.seed} (replay with HOLDFAST_SEED={options.seed})", flush=True)
    ran = 0
    for kind in [options.file_system] if options.file_system else ["ext4", "xfs"]:
        began = time.monotonic()
        done = run(kind, options.cuts, options.seconds, options.seed)
        if done is None:
            print(f"{kind}: skipped (no root, no loop device, or no mkfs.{kind})", flush=True)
            continue
        ran += 1
        print(f"{kind}: {done[0]} power cuts in {time.monotonic() - began:.1f} s, {done[1]} units acknowledged before "
              f"them, none lost", flush=True)
    return 0 if ran else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
