#!/usr/bin/env python3
"""A server that runs out of memory ends by rule, and nothing acknowledged is lost.

  allocations    one of operator new, of malloc (LMDB, zstd, the C library) or of the large ones fails, or all from then on:
                 a share of tests/faults/nth_call.py --allocations, which the commit's hash chooses
  address space  a limit (ulimit -v) at start, and under load with an argument of 512 MB: exit code 4, and a line that says so
  cgroup         the same in a memory cgroup, which kills; and within it the data may be many times the limit

Not under sanitizers, whose memory is another; cgroups only where they can be made (root), else counted as skipped.
"""

import os
import resource
import signal
import subprocess
import sys
import threading

HERE = os.path.dirname(os.path.abspath(__file__))
for folder in (os.path.join(HERE, "..", "..", "benchmarks"), os.path.join(HERE, "..", "faults")):
    sys.path.insert(0, folder)
from measuring import sanitized  # noqa: E402  (path above)
from nth_run import Units  # noqa: E402
from holdfast_testing import SERVER, Disconnected, ReplyError, Workspace, check, wait_for  # noqa: E402

MIB = 1 << 20
NO_MEMORY = 4
ARGUMENT = 512 * MIB
OPTIONS = ("--memtable-size", "4mb", "--row-cache-size", "4mb", "--frame-ring-size", "1mb", "--log-segment-size", "4mb",
           "--repl-backlog-size", "4mb", "--space-reserve", "0")


def allocations(workspace):
    del workspace
    commit = subprocess.run(["git", "-C", HERE, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout
    seed = os.environ.get("HOLDFAST_SEED") or commit.strip() or "0"
    print(f"seed {seed} (replay with HOLDFAST_SEED={seed})", flush=True)
    done = subprocess.run([os.path.join(HERE, "..", "faults", "nth_call.py"), "--allocations", "1", "--scenarios", "8",
                           "--seed", seed], check=False)
    check(done.returncode == 0, "an allocation that failed did harm")
    return True


def limited_start(workspace):
    """With less and less address space: it serves, or ends with a code and says why."""
    outcomes = []
    for megabytes in (2000, 500, 250, 150, 110, 80):
        server = workspace.server(f"limited-{megabytes}", *OPTIONS)
        server.prefix = ["prlimit", f"--as={megabytes * MIB}"]
        server.start(wait=False)

        def up():
            if server.process.poll() is not None:
                return "gone"
            with server.client(timeout=20) as client:
                return client.ask("PING") == "PONG"
        if wait_for(up, 60, "the server being ready or gone") != "gone":
            outcomes.append(f"{megabytes} MB: serves")
            server.stop()
            continue
        code = server.process.returncode
        # 127: the loader itself had too little for the libraries.
        check(code in (1, NO_MEMORY, 127), f"with {megabytes} MB of address space it ended with {code}:\n{server.log_tail()}")
        check("emory" in server.log_tail(2), f"it does not say why:\n{server.log_tail()}")
        outcomes.append(f"{megabytes} MB: exit code {code}")
    print("started with " + ", ".join(outcomes), flush=True)
    check("serves" in outcomes[0], "2 GB of address space are enough")
    return True


def starve(server, limit, codes):
    """Writes of several clients while an argument comes that does not fit. Returns whether the server ended."""
    units = [Units(f"u{number}") for number in range(3)]
    stopping = threading.Event()

    def load(one):
        while not stopping.is_set() and one.write(server, 20, depth=5, filler=b"x" * 2000):
            pass

    for one in units:
        check(one.write(server, 40, depth=10), "writes before the limit")
    threads = [threading.Thread(target=load, args=(one,)) for one in units]
    limit()
    for thread in threads:
        thread.start()
    try:
        with server.client(timeout=120) as client:
            client.send_raw(b"*3\r\n$3\r\nSET\r\n$3\r\nbig\r\n$%d\r\n" % ARGUMENT)
            piece = b"y" * MIB
            for _ in range(ARGUMENT // MIB):
                client.send_raw(piece)
            client.send_raw(b"\r\n")
            reply = client.read()
            check(isinstance(reply, ReplyError), f"{ARGUMENT} bytes were taken by a server that has no room for them: {reply}")
    except (Disconnected, OSError):
        pass
    # Refused, it goes on.
    stopping.set()
    for thread in threads:
        thread.join()
    ended = wait_for(lambda: server.process.poll() is not None or server.client().call("PING") == "PONG", 60,
                     "the server being gone or well") and server.process.poll() is not None
    if ended:
        check(server.process.returncode in codes, f"it ended with {server.process.returncode}:\n{server.log_tail()}")
    else:
        server.kill()
    server.start()
    for one in units:
        one.verify(server)
    with server.client() as client:
        check(client.call("EXISTS", "big") == 0, "what was not acknowledged, and cannot have been written whole, is there")
    check(server.terminate() == 0, "a clean stop")
    print(f"{sum(len(one.acked) for one in units)} units acknowledged, none lost; the server "
          f"{'ended' if ended else 'went on'}", flush=True)
    return ended


def address_space(workspace):
    server = workspace.server("address-space", *OPTIONS).start()

    def limit():
        with open(f"/proc/{server.process.pid}/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
        resource.prlimit(server.process.pid, resource.RLIMIT_AS, (used + 48 * MIB, used + 48 * MIB))

    if starve(server, limit, (NO_MEMORY,)):
        check("# Out of memory: " in server.log_text(), f"it does not say why:\n{server.log_tail()}")
    return True


class MemoryGroup:
    """A cgroup with a limit on memory, of version 1 or 2; `path` is None where none can be made."""

    def __init__(self, limit):
        self.path = None
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[:4] for line in file]
        for _, mount, kind, options in mounts:
            if kind != "cgroup2" and not (kind == "cgroup" and "memory" in options.split(",")):
                continue
            path = os.path.join(mount, f"holdfast-memory-{os.getpid()}-{limit}")
            try:
                if kind == "cgroup2":
                    self._set(os.path.join(mount, "cgroup.subtree_control"), "+memory")
                os.mkdir(path)
                self._set(os.path.join(path, "memory.max" if kind == "cgroup2" else "memory.limit_in_bytes"), limit)
                self.path = path
                return
            except OSError:
                if os.path.isdir(path):
                    os.rmdir(path)

    @staticmethod
    def _set(path, value):
        with open(path, "w", encoding="ascii") as file:
            file.write(str(value))

    def take(self, server):
        self._set(os.path.join(self.path, "cgroup.procs"), server.process.pid)

    def remove(self):
        def gone():
            try:
                os.rmdir(self.path)
            except OSError:
                return False
            return True
        wait_for(gone, 30, "the cgroup being empty")


def cgroup(workspace):
    group = MemoryGroup(128 * MIB)
    if group.path is None:
        print("cgroup: skipped (no memory cgroup can be made here)", flush=True)
        return False
    server = workspace.server("cgroup", *OPTIONS)
    server.prefix = ["sh", "-c", f'echo $$ > "{group.path}/cgroup.procs"; exec "$@"', "sh"]
    try:
        server.start()
        with server.client(timeout=120) as client:
            for number in range(0, 3000, 50):
                replies = client.pipeline([("SET", f"key:{i}", b"v" * 100_000 + b"%d" % i) for i in range(number, number + 50)])
                check(replies == ["OK"] * 50, f"within the limit, {replies[0]}")
            for number in range(0, 3000, 100):
                check(client.call("GET", f"key:{number}").endswith(b"v%d" % number), f"key {number} is another")
        print(f"{3000 * 100_000 // MIB} MB of values were written in a cgroup of 128 MB", flush=True)
        starve(server, lambda: None, (NO_MEMORY, -signal.SIGKILL))
    finally:
        server.stop()
        group.remove()
    return True


def main():
    if sanitized(SERVER):
        print("a sanitizer's memory is not the server's: skipped")
        return 77
    tests = [limited_start, address_space, cgroup, allocations]
    wanted = [test for test in tests if len(sys.argv) < 2 or test.__name__ in sys.argv[1:]]
    done = 0
    for test in wanted:
        with Workspace() as workspace:
            done += test(workspace)
    print(f"{done} of {len(wanted)} shortages of memory were made")
    return 0


if __name__ == "__main__":
    sys.exit(main())
