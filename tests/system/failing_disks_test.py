#!/usr/bin/env python3
"""Disks that fill up, freeze or go away: a 64 MB ext4 on a loop device, a limit on file sizes, a frozen file system, one
whose space was only promised. What cannot be made here is counted and skipped; exit code 77 if nothing could be made.

After each: writes are refused or the server stops as docs/operations.md says, reads go on while it runs, nothing that was
acknowledged is missing on the disk (read past the page cache, after mounting it again).
"""

import os
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "faults"))
from holdfast_testing import Client, ReplyError, Server, Workspace, check, wait_for  # noqa: E402
from nth_run import Units  # noqa: E402  (path above)
from power_cuts import LoopDisk  # noqa: E402

SMALL = ("--log-segment-size", "1mb", "--memtable-size", "1mb", "--repl-backlog-size", "1mb")


def loop_disk(workspace, megabytes):
    """A mounted ext4, or None."""
    disk = LoopDisk(workspace, "ext4", megabytes)
    return disk if disk.usable else None


def on_disk(workspace, disk, *options):
    server = Server(os.path.join(disk.path, "data"), *SMALL, *options)
    server.log_path = os.path.join(workspace.path, "server.log")
    workspace.servers.append(server)
    return server


def check_survivors(server, disk, units):
    """After a start from the disk itself, not from the page cache."""
    server.stop()
    disk.unmount()
    check(disk.mount(), "the disk can be mounted again")
    server.start()
    units.verify(server)


def full_ext4(workspace):
    """Refused with a reason before the disk is full; reads and DEL go on; by itself well again when there is space."""
    disk = loop_disk(workspace, 64)
    if disk is None:
        return False
    try:
        server = on_disk(workspace, disk, "--space-reserve", "12mb").start()
        units = Units()
        check(units.write(server, 5), "writes are accepted")
        filler = os.path.join(disk.path, "filler")
        with open(filler, "wb", buffering=0) as file:
            # The mark is 5% of the disk, if that is less.
            while shutil.disk_usage(disk.path).free > 2 << 20:
                file.write(b"x" * (1 << 18))
        with server.client() as client:
            def refused():
                reply = client.ask("SET", "probe", "v")
                return isinstance(reply, ReplyError) and str(reply)
            text = wait_for(refused, 60, "writes being refused")
            check(text.startswith("MISCONF") and "free" in text, f"refused without the reason: {text}")
            check(units.write(server, 3), "the server goes on")
            check(len(units.refused) == 3, "transactions are refused as well")
            check(client.call("LLEN", "numbers") == 5 and client.call("DEL", "filler:1") == 1, "reads and DEL go on")
            # All that is left is taken away: what must be written fits into what was reserved, or the server stops.
            with open(filler, "ab", buffering=0) as file:
                try:
                    while True:
                        file.write(b"y" * 65536)
                except OSError:
                    pass
            reply = client.ask("GET", "a")
            check(reply == b"5", f"reads on a full disk: {reply}")
            os.unlink(filler)
            wait_for(lambda: client.ask("SET", "probe", "2") == "OK", 60, "writes being accepted by themselves")
        check(units.write(server, 5), "writes go on")
        check_survivors(server, disk, units)
        check(server.terminate() == 0, "a clean stop")
    finally:
        for server in workspace.servers:
            server.stop()
        disk.unmount()
    return True


def truly_full(workspace):
    """No reserve at all: the log itself meets ENOSPC, or a checkpoint does. It stops or refuses, and loses nothing."""
    disk = loop_disk(workspace, 64)
    if disk is None:
        return False
    try:
        server = on_disk(workspace, disk, "--space-reserve", "0").start()
        units = Units()
        filler = os.path.join(disk.path, "filler")
        with open(filler, "wb", buffering=0) as file:
            while shutil.disk_usage(disk.path).free > 3 << 20:
                file.write(b"x" * (1 << 18))
        deadline = time.monotonic() + 60
        while units.write(server, 20, depth=4, filler=b"z" * 20_000) and not units.refused:
            check(time.monotonic() < deadline, "a full disk takes no end of writes")
        if server.process.poll() is None and not units.refused:
            server.process.wait(30)
        code = server.process.poll()
        check(code in (None, 3), f"exit code {code} on a full disk:\n{server.log_tail()}")
        os.unlink(filler)
        check_survivors(server, disk, units)
        check(units.write(server, 5, filler=b"z" * 20_000) and units.acked, "writes are accepted again")
        check(server.terminate() == 0, "a clean stop")
    finally:
        for server in workspace.servers:
            server.stop()
        disk.unmount()
    return True


def freeze(workspace):
    """A disk that hangs for two seconds: others are answered, nothing is acknowledged meanwhile."""
    disk = loop_disk(workspace, 64)
    if disk is None:
        return False
    frozen = False
    try:
        server = on_disk(workspace, disk, "--space-reserve", "0").start()
        with server.client() as writer, server.client() as other:
            writer.call("SET", "durable", "1")
            if subprocess.run(["fsfreeze", "-f", disk.path], capture_output=True, check=False).returncode != 0:
                return False
            frozen = True
            writer.send("SET", "waiting", "1")
            answered = threading.Event()
            reply = []

            def read():
                reply.append(writer.read())
                answered.set()
            reader = threading.Thread(target=read)
            reader.start()
            slowest, asked, until = 0.0, 0, time.monotonic() + 2
            while time.monotonic() < until:
                began = time.monotonic()
                check(other.call("PING") == "PONG" and other.call("GET", "durable") == b"1", "others are answered")
                slowest, asked = max(slowest, time.monotonic() - began), asked + 1
            check(not answered.is_set(), "acknowledged while the disk was frozen")
            subprocess.run(["fsfreeze", "-u", disk.path], check=True)
            frozen = False
            reader.join(60)
            check(reply == ["OK"], f"the write after the freeze: {reply}")
            check(asked > 10, f"{asked} answers in 2 s, the slowest after {slowest:.2f} s")
            print(f"freeze: {asked} answers in 2 s, the slowest after {slowest * 1000:.1f} ms")
        check(server.terminate() == 0, "a clean stop")
    finally:
        if frozen:
            subprocess.run(["fsfreeze", "-u", disk.path], check=False)
        for server in workspace.servers:
            server.stop()
        disk.unmount()
    return True


def promised_space(workspace):
    """A disk that promises more than there is behind it: writeback fails. What was acknowledged is on the disk."""
    if os.geteuid() != 0:
        return False
    backing = os.path.join(workspace.path, "backing")
    os.makedirs(backing)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=40m", "none", backing], capture_output=True,
                      check=False).returncode != 0:
        return False
    disk = None
    try:
        inner = type("Inner", (), {"path": backing})
        disk = LoopDisk(inner, "ext4", 64)
        if not disk.usable:
            return False
        server = on_disk(workspace, disk, "--space-reserve", "0").start()
        units = Units()
        deadline = time.monotonic() + 60
        number = 0
        # Large values of many keys: checkpoints and the log together outgrow what there is.
        while server.process.poll() is None and not units.refused and time.monotonic() < deadline:
            if not units.write(server, 10, depth=2, filler=b"z" * 50_000):
                break
            number += 1
            # Foreign files take the rest.
            try:
                with open(os.path.join(disk.path, f"filler{number}"), "wb", buffering=0) as file:
                    file.write(os.urandom(1 << 20))
                    os.fsync(file.fileno())
            except OSError:
                pass
        check(server.process.poll() is not None or units.refused or units.acked, "the load did something")
        if server.process.poll() is None and not units.refused:
            try:
                server.process.wait(10)
            except subprocess.TimeoutExpired:
                pass
        code = server.process.poll()
        check(code in (None, 1, 3), f"exit code {code} on a disk without space behind it:\n{server.log_tail()}")
        # More behind it: what was acknowledged is there.
        server.stop()
        subprocess.run(["mount", "-o", "remount,size=120m", backing], check=True)
        disk.unmount()
        check(disk.mount(), "the disk can be mounted again")
        for name in os.listdir(disk.path):
            if name.startswith("filler"):
                os.unlink(os.path.join(disk.path, name))
        server.start()
        units.verify(server)
        check(server.terminate() == 0, "a clean stop")
    finally:
        for server in workspace.servers:
            server.stop()
        if disk is not None:
            disk.unmount()
        subprocess.run(["umount", "-l", backing], check=True)
    return True


class LimitedServer(Server):
    """One that may not write files beyond a size."""

    limit = None

    def start(self, wait=True, timeout=60.0):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        if self.limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.limit, before[1]))
        try:
            return super().start(wait, timeout)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


def file_size_limit(workspace):
    """RLIMIT_FSIZE: the limit is an error like others, not a signal that ends the process."""
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        server = LimitedServer(os.path.join(workspace.path, "limited"), *SMALL)
        server.log_path = os.path.join(workspace.path, "limited.log")
        workspace.servers.append(server)
        units = Units()
        server.start()
        units.write(server, 5)
        server.stop()
        server.limit = 1536 << 10
        server.start()
        deadline = time.monotonic() + 60
        while units.write(server, 20, depth=4, filler=b"z" * 50_000) and not units.refused:
            check(time.monotonic() < deadline, "files grow beyond their limit")
            with server.client() as client:
                for number in range(20):
                    client.ask("SET", f"other:{units.last}:{number}", b"o" * 50_000)
        code = server.process.poll() if units.refused else server.process.wait(30)
        check(code in (None, 3), f"exit code {code} at the limit of file sizes:\n{server.log_tail()}")
        if code is None:
            with server.client() as client:
                check(int(client.call("GET", "a")) > 0, "reads go on")
        server.stop()
        server.limit = None
        server.start()
        units.verify(server)
        check(units.write(server, 3), "writes are accepted again")
        check(server.terminate() == 0, "a clean stop")
    finally:
        signal.signal(signal.SIGXFSZ, previous)
    return True


def main():
    tests = (full_ext4, truly_full, freeze, promised_space, file_size_limit)
    wanted = [test for test in tests if not sys.argv[1:] or test.__name__ in sys.argv[1:]]
    skipped = []
    for test in wanted:
        began = time.monotonic()
        with Workspace() as workspace:
            if not test(workspace):
                skipped.append(test.__name__)
                continue
        print(f"{test.__name__}: ok, {time.monotonic() - began:.1f} s", flush=True)
    print(f"{len(wanted) - len(skipped)} of {len(wanted)} disks failed as they should; skipped: {skipped or 'none'}")
    return 0 if len(skipped) < len(wanted) else 77


if __name__ == "__main__":
    sys.exit(main())
