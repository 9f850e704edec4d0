"""What the benchmark scripts share: loading keys, CPU time and memory of a process, system calls, the machine."""

import os
import platform
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "system"))
from holdfast_testing import Client, wait_for  # noqa: E402  (path above)

TICK_US = 1_000_000 // os.sysconf("SC_CLK_TCK")


def cpu_us(pid):
    """CPU time of all threads, ended ones included, in microseconds (to one clock tick)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) * TICK_US


def wait_until_quiet(pids, timeout=60.0):
    """Waits until the processes use next to no CPU: checkpoints, rewrites and freeing of memory are over."""
    deadline = time.monotonic() + timeout
    before = [cpu_us(pid) for pid in pids]
    while time.monotonic() < deadline:
        time.sleep(0.4)
        now = [cpu_us(pid) for pid in pids]
        if all(b - a <= 2 * TICK_US for a, b in zip(before, now)):
            return True
        before = now
    return False


def memory_bytes(pid):
    """(private, resident): anonymous memory, and all of it with the page cache of mapped files."""
    fields = {}
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        for line in file.readlines()[1:]:
            name, value = line.split(":", 1)
            fields[name] = int(value.split()[0]) * 1024
    return fields["Anonymous"] + fields.get("Swap", 0), fields["Rss"]


def sanitized(binary):
    """Built with a sanitizer: its memory and time say nothing about the product's."""
    with open(binary, "rb") as file:
        content = file.read()
    return b"__asan_init" in content or b"__tsan_init" in content


class PeakMemory:
    """Samples private memory in the background: `with PeakMemory(pid) as peak: ...; peak.bytes`."""

    def __init__(self, pid, interval=0.05):
        self.pid = pid
        self.interval = interval
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.is_set():
            try:
                self.bytes = max(self.bytes, memory_bytes(self.pid)[0])
            except (OSError, KeyError):
                return
            self._stop.wait(self.interval)


def value_pool(size=1 << 20, seed=1):
    """Incompressible bytes to cut values from."""
    return random.Random(seed).randbytes(size)


POOL = value_pool()


def value_of(number, size):
    """The value that load() gives to key `number`."""
    start = (number * 7919) % (len(POOL) - size)
    return POOL[start:start + size]


def key_of(number):
    """redis-benchmark's names."""
    return b"key:%012d" % number


def record_of(number, size):
    """A value that compresses as records of applications do."""
    text = b'{"id":%d,"name":"user %d","mail":"user%d@example.org","group":"%s","active":true,"visits":%d}' % (
        number, number, number, (b"staff", b"guests", b"partners")[number % 3], number * 7919 % 10007)
    return text.ljust(size)[:size]


def load(port, keys, value_bytes=100, first=0, shuffled=True, seed=1, value=value_of):
    """Sets `keys` keys, each once, in random order by a full-period step, with a bounded pipeline."""
    step = 1
    if shuffled and keys > 2:
        step = int(keys * 0.6180339887) | 1
        while _gcd(step, keys) != 1:
            step += 2
    number = seed % keys if keys else 0
    chunk = 1000
    header = b"*3\r\n$3\r\nSET\r\n$16\r\n%b\r\n$" + b"%d" % value_bytes + b"\r\n%b\r\n"
    pending = []
    with Client(port, timeout=120) as client:
        for begin in range(0, keys, chunk):
            count = min(chunk, keys - begin)
            parts = []
            for _ in range(count):
                parts.append(header % (key_of(first + number), value(first + number, value_bytes)))
                number = (number + step) % keys
            client.send_raw(b"".join(parts))
            pending.append(count)
            if len(pending) > 4:
                _expect_ok(client, pending.pop(0))
        for count in pending:
            _expect_ok(client, count)


def fill_collection(port, key, elements, value_bytes=100):
    """Makes one of redis-benchmark's collections (mylist, myset, myhash, myzset) at least `elements` large, with its
    names of elements; sorted set members get their number as score."""
    size, add = {"mylist": ("LLEN", b"LPUSH"), "myset": ("SCARD", b"SADD"), "myhash": ("HLEN", b"HSET"),
                 "myzset": ("ZCARD", b"ZADD")}[key]
    step = max(1, int(elements * 0.6180339887)) | 1
    while _gcd(step, elements) != 1:
        step += 2
    with Client(port, timeout=120) as client:
        if client.ask(size, key) >= elements:
            return
        number = 0
        for begin in range(0, elements, 500):
            words = [add, key.encode()]
            for _ in range(begin, min(elements, begin + 500)):
                name = b"element:%012d" % number
                words += {"mylist": [value_of(number, value_bytes)], "myset": [name],
                          "myhash": [name, value_of(number, value_bytes)], "myzset": [b"%d" % number, name]}[key]
                number = (number + step) % elements
            reply = client.ask(*words)
            if not isinstance(reply, int):
                raise AssertionError(f"{add.decode()} answered {reply!r}")


def _gcd(a, b):
    while b:
        a, b = b, a % b
    return a


def _expect_ok(client, count):
    for _ in range(count):
        reply = client.read()
        if reply != "OK":
            raise AssertionError(f"SET answered {reply!r}")


def count_syncs(pid, run):
    """Runs `run()` while counting fsync and fdatasync calls of the process; None where neither perf nor strace may."""
    if shutil.which("perf"):
        events = "syscalls:sys_enter_fdatasync,syscalls:sys_enter_fsync"
        command = ["perf", "stat", "-x", ",", "-e", events, "-p", str(pid)]
        text = _attached(command, run)
        counts = re.findall(r"^(\d+),", text, re.MULTILINE)
        if counts:
            return sum(map(int, counts))
    if shutil.which("strace"):
        text = _attached(["strace", "-c", "-f", "-e", "trace=fdatasync,fsync", "-p", str(pid)], run)
        counts = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s.*\bf(?:data)?sync$", text, re.MULTILINE)
        if counts:
            return sum(map(int, counts))
    return None


def _attached(command, run):
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as tracer:
        time.sleep(0.3)  # until it has attached; there is nothing to wait for
        if tracer.poll() is None:
            run()
            tracer.send_signal(signal.SIGINT)
        return tracer.communicate(timeout=30)[1]


def info_syncs(client):
    """Durable writes of the log so far, from INFO; None for a server without that field."""
    value = client.info().get("holdfast_log_syncs")
    return None if value is None else int(value)


def file_system_of(path):
    """Type and device of the file system that holds `path`."""
    best = ("", "unknown", "unknown")
    path = os.path.realpath(path)
    with open("/proc/mounts", encoding="utf-8") as file:
        for line in file:
            device, mount, kind = line.split()[:3]
            if (path + "/").startswith(mount.rstrip("/") + "/") and len(mount) >= len(best[0]):
                best = (mount, kind, device)
    return {"type": best[1], "device": best[2]}


def machine():
    """What a figure means nothing without."""
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        found = re.search(r"^model name\s*:\s*(.*)$", file.read(), re.MULTILINE)
        if found:
            model = found.group(1)
    with open("/proc/meminfo", encoding="ascii") as file:
        memory_kb = int(file.readline().split()[1])
    return {"date": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()), "cpus": os.cpu_count(), "cpu": model,
            "memory_gib": round(memory_kb / (1 << 20), 1), "kernel": platform.release(),
            "load_average": round(os.getloadavg()[0], 2), "command": " ".join(sys.argv)}


def version_of(binary):
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else binary


def median(values):
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def ready_after(server, key, value, timeout=600.0):
    """Starts the server; seconds from exec until the first GET is answered rightly."""
    began = time.monotonic()
    server.start(wait=False)

    def answered():
        if server.process.poll() is not None:
            raise RuntimeError(f"the server exited with {server.process.returncode}:\n{server.log_tail()}")
        with Client(server.port, timeout=timeout) as client:
            reply = client.ask("GET", key)
            if isinstance(reply, Exception):
                return None
            if reply != value:
                raise RuntimeError(f"GET {key!r} answered {reply!r} after the restart")
            return time.monotonic() - began

    return wait_for(answered, timeout, "the first GET after a restart")
