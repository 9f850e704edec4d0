"""Servers whose file calls are recorded, counted, failed or killed (file_faults.cpp), or whose allocations fail
(allocation_faults.cpp), and commands whose every prefix is known.

The two libraries and crash_states lie beside the server that the environment names (HOLDFAST_SERVER).
"""

import mmap
import os
import random
import struct
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "system"))
from holdfast_testing import SERVER, Client, Redis, ReplyError, Server, check, wait_for  # noqa: E402  (path above)

BUILD = os.path.dirname(os.path.abspath(SERVER))
SHIM = os.path.join(BUILD, "libfile_faults.so")
ALLOCATION_SHIM = os.path.join(BUILD, "liballocation_faults.so")
CRASH_STATES = os.path.join(BUILD, "crash_states")

# trace_format.h, fault_control.h
RECORD = struct.Struct("<6I5Q")
MAGIC = 0x48465452
ROOT, CREATE, WRITE, SYNC_BEGIN, SYNC_END, MAKE_DIRECTORY, MARK = 1, 2, 3, 5, 6, 10, 12
CALLS = ("any", "open", "read", "write", "sync", "truncate", "allocate", "rename", "remove", "mkdir", "link", "map",
         "close", "new", "malloc", "large")
EFFECTS = {"EIO": 5, "ENOMEM": 12, "ENOSPC": 28, "EMFILE": 24, "EINTR": 4, "short": 1000, "kill": 1001, "killafter": 1002,
           "lie": 1003, "delay": 1004}
CONTROL = struct.Struct(f"<4IQ2I{len(CALLS)}Q")
HOLD = struct.Struct("<2I")  # behind it


class FaultServer(Server):
    """A server under the preloaded library. With `trace` its calls are recorded; `arm` makes one of them fail."""

    allocations = False  # whether allocations are counted, too, and may fail

    def __init__(self, directory, *options, trace=None, **keywords):
        super().__init__(os.path.realpath(directory), *options, **keywords)
        self.directory = os.path.realpath(self.directory)
        self.log_path = self.directory + ".server.log"
        self.trace_path = trace
        self.trace = None
        if trace:
            self.trace = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            self._append(ROOT, path=self.directory.encode(), inode=os.stat(self.directory).st_ino)
        control = os.open(self.directory + ".control", os.O_RDWR | os.O_CREAT, 0o644)
        os.ftruncate(control, CONTROL.size + HOLD.size)
        self.control = mmap.mmap(control, CONTROL.size + HOLD.size)
        os.close(control)

    def start(self, wait=True, timeout=60.0):
        assert self.process is None or self.process.poll() is not None, "already running"
        self._hold(False)
        environment = dict(os.environ, LD_PRELOAD=f"{ALLOCATION_SHIM} {SHIM}" if self.allocations else SHIM, HOLDFAST_FAULT_ROOT=self.directory,
                           HOLDFAST_FAULT_CONTROL=self.directory + ".control")
        # A gcc build's sanitizer wants to come first among the libraries; it finds what it needs anyway.
        environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"
        if self.trace_path:
            environment["HOLDFAST_FAULT_TRACE"] = self.trace_path
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL,
                                            env=environment)
        if wait:
            self.wait_ready(timeout)
        return self

    def kill(self):
        """If it is recorded, between calls: the trace knows what the next process finds. What is written and not synced yet
        may well be under way."""
        if self.trace is not None and self.process.poll() is None:
            self._hold(True)
            wait_for(lambda: self.process.poll() is not None or HOLD.unpack_from(self.control, CONTROL.size)[1] == 0, 60,
                     "no call being recorded")
        super().kill()

    def _hold(self, hold):
        if hold:
            struct.pack_into("<I", self.control, CONTROL.size, 1)
        else:
            HOLD.pack_into(self.control, CONTROL.size, 0, 0)

    # ---- recording

    def _append(self, kind, path=b"", inode=0, data=b"", size=0, token=0):
        record = RECORD.pack(MAGIC, kind, 0, len(path), 0, 0, inode, 0, size, len(data), token) + path + data
        check(os.write(self.trace, record) == len(record), "a trace has a hole")

    def mark(self, *words):
        if self.trace is not None:
            self._append(MARK, data=" ".join(map(str, words)).encode())

    def put(self, name, content):
        """A file that is there, and durable, before the server starts. Returns its path."""
        path = os.path.join(self.directory, name)
        with open(path, "wb") as file:
            file.write(content)
        inode = os.stat(path).st_ino
        self._append(CREATE, path=path.encode(), inode=inode)
        if content:
            self._append(WRITE, inode=inode, data=content, size=len(content))
        for number in (inode, os.stat(os.path.dirname(path)).st_ino):
            self._append(SYNC_BEGIN, inode=number, token=number)
            self._append(SYNC_END, inode=number, token=number)
        return path

    def put_tree(self, source):
        """A whole directory that is there, and durable, before the server starts."""
        for place, directories, files in os.walk(source):
            below = os.path.relpath(place, source)
            for name in directories:
                path = os.path.normpath(os.path.join(self.directory, below, name))
                os.mkdir(path)
                self._append(MAKE_DIRECTORY, path=path.encode(), inode=os.stat(path).st_ino)
                parent = os.stat(os.path.dirname(path)).st_ino
                self._append(SYNC_BEGIN, inode=parent, token=parent)
                self._append(SYNC_END, inode=parent, token=parent)
            for name in files:
                with open(os.path.join(place, name), "rb") as file:
                    self.put(os.path.normpath(os.path.join(below, name)), file.read())

    # ---- faults

    def arm(self, call=None, effect=None, nth=0, forever=False, delay_ms=0):
        """Counts from now on, and makes the nth `call` have `effect`; without one, only counts."""
        fields = (CALLS.index(call or "any"), EFFECTS.get(effect, 0), int(forever), nth if effect else 0, 0, delay_ms)
        self.control[:CONTROL.size] = CONTROL.pack(0, *fields, *([0] * len(CALLS)))
        self.control[:4] = struct.pack("<I", 1)

    def disarm(self):
        self.control[:4] = struct.pack("<I", 0)

    def fired(self):
        return CONTROL.unpack(self.control[:CONTROL.size])[5] != 0

    def counts(self):
        return dict(zip(CALLS, CONTROL.unpack(self.control[:CONTROL.size])[7:]))

    def stop(self):
        super().stop()
        if self.trace is not None:
            os.close(self.trace)
            self.trace = None


class History:
    """A sequence of units (a command, or MULTI ... EXEC), each changing the data in a way of its own. What the data are
    after each number of units is asked of redis-server, so that nothing of the server under test says what is right."""

    def __init__(self, name, seed, units=()):
        self.name = name
        self.rng = random.Random(f"{name}-{seed}")
        self.units = list(units)
        self.acked = len(self.units)

    def fork(self, name, seed, count):
        """Another history that begins with `count` units of this one."""
        return History(name, seed, self.units[:count])

    def value(self, number, large):
        kind = self.rng.random()
        size = self.rng.randrange(1, 200) if kind < 0.8 or not large else self.rng.randrange(200, large)
        return (b"%d:" % number) + self.rng.randbytes(size // 2).hex().encode()

    def unit(self, large):
        number = len(self.units) + 1
        value = self.value(number, large)
        key = f"k{self.rng.randrange(12)}"
        kind = self.rng.choice(["set", "set", "append", "push", "hash", "sorted", "stream", "multi", "mset", "set+del",
                                "trim", "expire", "setrange", "members"])
        if kind == "set":
            return [("SET", key, value)]
        if kind == "append":
            return [("APPEND", "tokens", b"%d," % number)]
        if kind == "push":
            return [("RPUSH", "list", value)]
        if kind == "hash":
            return [("HSET", "hash", f"f{self.rng.randrange(20)}", value)]
        if kind == "sorted":
            return [("ZADD", "sorted", number, f"m{self.rng.randrange(20)}")]
        if kind == "stream":
            return [("XADD", "stream", f"{number}-1", "field", value)]
        if kind == "mset":
            return [("MSET", *[part for i in range(4) for part in (f"mset:{i}", value)])]
        if kind == "set+del":
            return [("MULTI",), ("DEL", key), ("SET", "deleted", number), ("EXEC",)]
        if kind == "trim":
            return [("MULTI",), ("LTRIM", "list", -20, -1), ("RPUSH", "list", number), ("EXEC",)]
        if kind == "expire":
            return [("SET", f"e{self.rng.randrange(3)}", value, "PXAT", 4000000000000 + number)]
        if kind == "setrange":
            return [("SETRANGE", "ranged", self.rng.randrange(300), b"<%d>" % number)]
        if kind == "members":
            return [("SADD", "members", f"{number % 40}:{number}"), ]
        return [("MULTI",)] + [("SET", f"multi:{i}", value) for i in range(3)] + [("INCRBY", "sum", number), ("EXEC",)]

    def write(self, server, count, marked=None, depths=(1, 1, 4, 16), large=3000, clients=None):
        """Sends `count` more units through `server`, in pipelines, and marks what was sent and what was acknowledged in the
        traces of `marked` (the server's own by default)."""
        marked = [server] if marked is None else marked
        with server.client() as client:
            end = len(self.units) + count
            while len(self.units) < end:
                depth = min(self.rng.choice(depths), end - len(self.units))
                batch = []
                for _ in range(depth):
                    batch.append(self.unit(large))
                    self.units.append(batch[-1])
                for one in marked:
                    one.mark("sent", self.name, len(self.units))
                client.send_raw(b"".join(Client.encode(*command) for unit in batch for command in unit))
                if server in marked and depth > 1:
                    self._read(server)
                for number, unit in enumerate(batch, len(self.units) - depth + 1):
                    for command in unit:
                        reply = client.read()
                        check(not isinstance(reply, ReplyError), f"{command[0]} was refused: {reply}")
                    self.acked = number
                    if server in marked:
                        server.mark("acked", self.name, number)

    def _read(self, server):
        """What somebody else has read is durable, too, whether or not who wrote it has been answered."""
        with server.client() as reader:
            tokens = (reader.call("GETRANGE", "tokens", -24, -1) or b"").split(b",")
        if len(tokens) > 2:
            server.mark("acked", self.name, int(tokens[-2]))

    def confirm(self, master, replicas):
        """One more unit, and waits until the replicas hold everything on disk, which it marks in their traces."""
        self.units.append([("APPEND", "tokens", b"%d," % (len(self.units) + 1))])
        for server in [master, *replicas]:
            server.mark("sent", self.name, len(self.units))
        with master.client() as client:
            # WAIT is about what this connection has written.
            client.call(*self.units[-1][0])
            check(client.call("WAIT", len(replicas), 60_000) == len(replicas), "replicas confirm what they hold")
        for server in [master, *replicas]:
            server.mark("acked", self.name, len(self.units))

    def digests(self, redis):
        """Lines for crash_states: the digest after each number of units."""
        lines = []
        with redis.client() as client:
            client.call("FLUSHALL")
            lines.append(f"{self.name} 0 {client.call('DEBUG', 'DIGEST')}")
            for number, unit in enumerate(self.units, 1):
                replies = client.pipeline([*unit, ("DEBUG", "DIGEST")])
                for reply in replies:
                    check(not isinstance(reply, ReplyError), f"redis-server refuses {unit}: {reply}")
                lines.append(f"{self.name} {number} {replies[-1]}")
        return lines


def reference(workspace):
    """The redis-server that says what is right."""
    return Redis(os.path.join(workspace, "reference")).start()
