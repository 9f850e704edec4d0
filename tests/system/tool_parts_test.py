#!/usr/bin/env python3
"""The offline tool on parts of a data directory (a generation, its log, one segment) that a server writes to meanwhile:
no false alarm, what was acknowledged is there, and what is damaged in a finished segment is still found. Beside a server the tool steps back."""

import contextlib
import json
import os
import subprocess
import sys
import threading

from holdfast_testing import TOOL, Workspace, check, run_tests, wait_for


def run(*arguments, folder=None):
    done = subprocess.run([TOOL, *map(str, arguments)], capture_output=True, check=False, timeout=240, cwd=folder)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def good(*arguments, folder=None):
    status, out, err = run(*arguments, folder=folder)
    check(status == 0, f"holdfast {' '.join(map(str, arguments))}: status {status}\n{out[-3000:]}{err[-3000:]}")
    return out


def generation_of(server):
    names = [name for name in os.listdir(server.directory) if name.startswith("gen-")]
    check(len(names) == 1, f"generations: {names}")
    return os.path.join(server.directory, names[0])


def segments_of(generation):
    log = os.path.join(generation, "wal")
    return [os.path.join(log, name) for name in sorted(os.listdir(log)) if name.endswith(".log")]


@contextlib.contextmanager
def loaded(workspace, segments, *options):
    """A server with so many segments, and a client that writes until the end; slower then, for slow builds."""
    server = workspace.server("live", *options).start()
    stop = threading.Event()
    pause = [0.005]

    def write():
        with server.client() as client:
            i = 0
            while not stop.wait(pause[0]):
                client.pipeline([("SET", f"key{(i + j) % 5000}", "x" * 200) for j in range(20)] +
                                [("HSET", f"hash{i % 50}", f"f{i % 300}", i)])
                i += 20

    writer = threading.Thread(target=write)
    writer.start()
    try:
        wait_for(lambda: len(segments_of(generation_of(server))) >= segments, 120, "segments")
        pause[0] = 0.02
        yield server
    finally:
        stop.set()
        writer.join()


def test_parts_beside_a_server():
    """Every command that takes a generation, a log directory or a segment."""
    with Workspace() as workspace, loaded(workspace, 3, "--log-segment-size", "1mb", "--memtable-size", "1mb",
                                          "--repl-backlog-size", "64mb") as server:
        generation = generation_of(server)
        log = os.path.join(generation, "wal")
        with server.client() as client:
            for i in range(3):
                newest = segments_of(generation)[-1]
                for path in (generation, log, newest, segments_of(generation)[0]):
                    told = good("verify", path)
                    check("torn" not in told, f"a moving end is told as torn: {told}")
                    good("log", "verify", path)
                    good("inspect", path)
                    good("log", "list", path)
                    good("log", "print", path, "--limit", 100)
                    good("log", "stats", path)
                    told = good("log", "tail", path, "-n", 5)
                    # The newest segment may have begun just now.
                    check(path == newest or len(told.splitlines()) == 5, f"tail of {path}: {told}")
                good("verify", "wal", folder=generation)
                good("verify", ".", folder=log)
                client.call("SET", "acknowledged", f"value{i}")
                got = good("get", "--raw", generation, "acknowledged")
                check(got.strip() == f"value{i}", f"an acknowledged value is not seen: {got}")
                good("stats", generation)
                good("keys", generation)
                check("running" in good("inspect", generation), "inspect does not tell that a server runs")
            status, _, err = run("check", "--quick", generation)
            check(status == 2 and "in use" in err, f"check of a generation in use: {status} {err}")
        good("backup", generation, os.path.join(workspace.path, "backup"))
        good("restore", log, os.path.join(workspace.path, "restored"))


def test_a_server_that_stands_still():
    """What it leaves between a write and its mark stays there for as long as one looks."""
    with Workspace() as workspace:
        server = workspace.server("live").start()
        with server.client() as client:
            client.pipeline([("SET", f"key{i}", "x" * 200) for i in range(2000)])
        generation = generation_of(server)
        last = segments_of(generation)[-1]
        server.freeze()
        with open(last, "r+b") as file:  # a write that is under way, as far as a reader can tell
            data = file.read()
            end = len(data.rstrip(b"\0"))
            frame = data[4096:4096 + 3000]
            check(len(data) - end > 16384, f"no room behind byte {end} of {len(data)}")
            file.seek((end + 4095) // 4096 * 4096)
            file.write(frame)
        for path in (generation, os.path.join(generation, "wal"), last):
            told = good("verify", path)
            check("torn" not in told, f"{path}: {told}")
        server.kill()


def test_damage_beside_a_server():
    """In the middle and in the last frame of a finished segment."""
    with Workspace() as workspace, loaded(workspace, 4, "--log-segment-size", "1mb", "--repl-backlog-size",
                                          "64mb") as server:
        generation = generation_of(server)
        first = segments_of(generation)[0]
        frames = [json.loads(line) for line in good("log", "list", first, "--frames", "--json").splitlines()]
        frames = [frame["position"] for frame in frames if "position" in frame]
        check(len(frames) > 10, f"frames: {frames}")
        for at in (frames[len(frames) // 2] + 20, frames[-1] + 20):
            with open(first, "r+b") as file:
                data = file.read()
                file.seek(at)
                file.write(bytes([data[at] ^ 1]))
                file.flush()
                try:
                    for path in (generation, os.path.join(generation, "wal"), first):
                        status, out, err = run("verify", path)
                        check(status == 1, f"{path}, byte {at}: status {status}\n{out}{err}")
                        check(os.path.basename(first) in out, f"{path}: which file? {out}")
                finally:
                    file.seek(at)
                    file.write(data[at:at + 1])
            good("verify", first)


def priorities(process, directory):
    """Nice value and I/O priority of a command that has begun to read the log."""
    def reads():
        check(process.poll() is None, f"status {process.returncode}")
        folder = f"/proc/{process.pid}/fd"
        with contextlib.suppress(FileNotFoundError):
            return any(os.readlink(os.path.join(folder, each)).startswith(directory) for each in os.listdir(folder))
        return False

    wait_for(reads, 60, "the command reads")
    io = subprocess.run(["ionice", "-p", str(process.pid)], capture_output=True, check=True, text=True).stdout.strip()
    return os.getpriority(os.PRIO_PROCESS, process.pid), io


def test_it_steps_back():
    """Beside a server only, and not if it is told so."""
    with Workspace() as workspace:
        server = workspace.server("live").start()
        with server.client() as client:
            client.call("SET", "key", "value")
        log = os.path.join(generation_of(server), "wal")

        def seen(*options):
            with subprocess.Popen([TOOL, "log", "tail", "-f", *options, server.directory],
                                  stdout=subprocess.DEVNULL) as process:
                try:
                    return priorities(process, log)
                finally:
                    process.kill()

        own = os.getpriority(os.PRIO_PROCESS, 0)
        nice, io = seen()
        check(nice == max(own, 10), f"nice {nice}")
        check(io in ("best-effort: prio 7", "idle"), f"I/O priority: {io}")
        nice, io = seen("--full-speed")
        check(nice == own, f"nice {nice} in spite of --full-speed")
        server.terminate()
        nice, io = seen()
        check(nice == own, f"nice {nice} with a stopped server")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
