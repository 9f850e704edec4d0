"""A client in a process of its own that sets and gets random keys at a steady pace and keeps when each command was due and
how long after that it was answered: a server that stalls is late for every command that was due meanwhile. And a group of
processes that gets the processor only when nobody else wants it, so that a master is measured and not the scheduler."""

import array
import multiprocessing
import os
import random
import time

from measuring import key_of, value_of
from holdfast_testing import Client


def _run(port, keys, value_bytes, rate, batch, stop, written, pipe):
    due_times, late = array.array("d"), array.array("d")
    rng = random.Random(os.getpid())
    error = ""
    try:
        with Client(port, timeout=120) as client:
            begin, number = time.monotonic(), 0
            while not stop.is_set():
                due = begin + number * batch / rate
                pause = due - time.monotonic()
                if pause > 0:
                    time.sleep(pause)
                commands = []
                for _ in range(batch):
                    chosen = rng.randrange(keys)
                    commands.append(("SET", key_of(chosen), value_of(chosen, value_bytes)))
                if batch == 1 and number % 2:
                    commands = [("GET", key_of(rng.randrange(keys)))]
                for reply in client.pipeline(commands):
                    if isinstance(reply, Exception):
                        raise reply
                due_times.append(due)
                late.append(time.monotonic() - due)
                number += 1
                written.value += batch
            # What was due and not even sent is as late as this at least.
            stopped = time.monotonic()
            while begin + number * batch / rate < stopped:
                due_times.append(begin + number * batch / rate)
                late.append(stopped - due_times[-1])
                number += 1
    except Exception as caught:  # pylint: disable=broad-except
        error = repr(caught)
    pipe.send((error, due_times, late))
    pipe.close()


class PacedLoad:
    """`with PacedLoad(port, keys, rate=1000) as load: ...`, then load.late_between(begin, end). With a batch of 1 every other
    command is a GET; else `rate` SETs a second are sent `batch` at a time. Random keys among `keys` that exist."""

    def __init__(self, port, keys, value_bytes=100, rate=1000, batch=1):
        context = multiprocessing.get_context("fork")
        self.stopping, self.counter = context.Event(), context.Value("q", 0)
        self.receiver, sender = context.Pipe(duplex=False)
        self.process = context.Process(
            target=_run, args=(port, keys, value_bytes, rate, batch, self.stopping, self.counter, sender), daemon=True)
        self.sender = sender
        self.samples = []

    @property
    def commands(self):
        return self.counter.value

    def __enter__(self):
        self.process.start()
        self.sender.close()
        return self

    def __exit__(self, kind, *_):
        self.stopping.set()
        try:
            error, due_times, late = self.receiver.recv()
        except EOFError:
            error, due_times, late = "the process ended", [], []
        self.process.join()
        self.samples = list(zip(due_times, late))
        if error and kind is None:
            raise AssertionError(f"the load failed: {error}")

    def late_between(self, begin, end):
        """Seconds, sorted, of the commands that were due between these (time.monotonic())."""
        return sorted(late for due, late in self.samples if begin <= due < end)


def percentile(ordered, fraction):
    return ordered[min(len(ordered) - 1, int(fraction * len(ordered)))] if ordered else None


class LowWeight:
    """Processes started with `prefix` in front get the processor only when others leave it, by the best means there is: a
    cgroup of version 2, of version 1, else nice. `means` tells which."""

    def __init__(self):
        self.path = None
        self.means = "nice 19"
        self.prefix = ["nice", "-n", "19"]
        for kind, mount in self._mounts():
            path = os.path.join(mount, f"holdfast-{os.getpid()}")
            try:
                if kind == "cgroup2":
                    with open(os.path.join(mount, "cgroup.subtree_control"), "w", encoding="ascii") as file:
                        file.write("+cpu")
                os.mkdir(path)
                name, value = ("cpu.weight", "1") if kind == "cgroup2" else ("cpu.shares", "10")
                with open(os.path.join(path, name), "w", encoding="ascii") as file:
                    file.write(value)
            except OSError:
                if os.path.isdir(path):
                    os.rmdir(path)
                continue
            self.path, self.means = path, f"{kind} with {name} {value}"
            self.prefix = ["sh", "-c", f'echo $$ > "{path}/cgroup.procs"; exec "$@"', "sh"]
            return

    @staticmethod
    def _mounts():
        with open("/proc/mounts", encoding="utf-8") as file:
            mounts = [line.split()[:4] for line in file]
        for _, mount, kind, options in sorted(mounts, key=lambda entry: entry[2], reverse=True):
            if kind == "cgroup2" or (kind == "cgroup" and "cpu" in options.split(",")):
                yield kind, mount

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.path:
            os.rmdir(self.path)
