"""What the system tests share: servers on free ports in temporary directories, a small RESP client, waiting.

The servers under test are named by the environment: HOLDFAST_SERVER, HOLDFAST_TOOL; redis-server is found on PATH.
Nothing here sleeps and hopes: wait_for() polls a condition until a deadline and fails with what it saw last.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

SERVER = os.environ.get("HOLDFAST_SERVER", "build/release/holdfast-server")
TOOL = os.environ.get("HOLDFAST_TOOL", "build/release/holdfast")
REDIS_SERVER = shutil.which("redis-server") or "/usr/bin/redis-server"


class ReplyError(Exception):
    """An error reply. Equal to another of the same text, so that replies can be compared."""

    def __eq__(self, other):
        return isinstance(other, ReplyError) and self.args == other.args

    def __hash__(self):
        return hash(self.args)


class Disconnected(Exception):
    """The connection ended; `sent` commands may or may not have been executed."""


class Push(list):
    """A RESP3 push."""


class Verbatim(bytes):
    """A RESP3 verbatim string, with its three-letter format in front."""


def free_port():
    """A TCP port nobody listens on. Below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    rng = random.SystemRandom()
    while True:
        port = rng.randrange(10000, 30000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def wait_for(condition, timeout=30.0, what="condition", pause=0.01):
    """Polls until condition() is truthy and returns that; raises with the last value or error after `timeout`."""
    deadline = time.monotonic() + timeout
    last = None
    while True:
        try:
            last = condition()
            if last:
                return last
        except (OSError, Disconnected, ReplyError) as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come true in {timeout} s; last: {last!r}")
        time.sleep(pause)


class Client:
    """A RESP2/RESP3 client. Arguments may be str, bytes or int."""

    def __init__(self, port=None, host="127.0.0.1", path=None, timeout=30.0, connected=None):
        if connected:
            self.socket = connected
        elif path:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(path)
        else:
            self.socket = socket.create_connection((host, port), timeout=timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.position = 0

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def encode(*arguments):
        parts = [b"*%d\r\n" % len(arguments)]
        for argument in arguments:
            if isinstance(argument, int):
                argument = b"%d" % argument
            elif isinstance(argument, str):
                argument = argument.encode()
            parts.append(b"$%d\r\n%s\r\n" % (len(argument), argument))
        return b"".join(parts)

    def send(self, *arguments):
        self.send_raw(self.encode(*arguments))

    def send_raw(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Disconnected(str(error)) from error

    def call(self, *arguments):
        """Sends a command and returns its reply; raises ReplyError for an error reply."""
        self.send(*arguments)
        reply = self.read()
        if isinstance(reply, ReplyError):
            raise reply
        return reply

    def ask(self, *arguments):
        """As call, but an error reply is returned, not raised."""
        self.send(*arguments)
        return self.read()

    def pipeline(self, commands):
        """Sends all, then reads all replies (errors are returned as values)."""
        self.send_raw(b"".join(self.encode(*command) for command in commands))
        return [self.read() for _ in commands]

    def info(self, section="everything"):
        fields = {}
        for line in self.call("INFO", section).decode().splitlines():
            if ":" in line and not line.startswith("#"):
                name, value = line.split(":", 1)
                fields[name] = value
        return fields

    def _fill(self):
        try:
            data = self.socket.recv(1 << 16)
        except socket.timeout as error:
            raise Disconnected("timed out waiting for a reply") from error
        except OSError as error:
            raise Disconnected(str(error)) from error
        if not data:
            raise Disconnected("the server closed the connection")
        self.buffer = self.buffer[self.position:] + data
        self.position = 0

    def _line(self):
        while True:
            end = self.buffer.find(b"\r\n", self.position)
            if end >= 0:
                line = self.buffer[self.position:end]
                self.position = end + 2
                return line
            self._fill()

    def _bytes(self, count):
        while len(self.buffer) - self.position < count + 2:
            self._fill()
        data = self.buffer[self.position:self.position + count]
        self.position += count + 2
        return data

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("latin-1")
        if kind == b"-":
            return ReplyError(rest.decode("latin-1"))
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._bytes(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        if kind == b"%":
            return {_hashable(self.read()): self.read() for _ in range(int(rest))}
        if kind == b"~":
            return {_hashable(self.read()) for _ in range(int(rest))}
        if kind == b">":
            return Push([self.read() for _ in range(int(rest))])
        if kind == b"_":
            return None
        if kind == b",":
            return float(rest)
        if kind == b"#":
            return rest == b"t"
        if kind == b"(":
            return int(rest)
        if kind == b"=":
            return Verbatim(self._bytes(int(rest)))
        raise AssertionError(f"not RESP: {line!r}")


def _hashable(value):
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


class Server:
    """A server process with its own directory. kill() is SIGKILL; start() again keeps directory and port."""

    def __init__(self, directory, *options, port=None, binary=None, config=None):
        self.directory = str(directory)
        os.makedirs(self.directory, exist_ok=True)
        self.host = "127.0.0.1"
        self.prefix = []  # what runs the binary, if anything does
        self.port = port or free_port()
        self.options = [str(option) for option in options]
        self.binary = binary or SERVER
        self.config = config
        self.process = None
        self.log_path = os.path.join(self.directory, "server.log")
        self.password = None

    def command(self):
        command = self.prefix + [self.binary]
        if self.config:
            command.append(self.config)
        return command + ["--port", str(self.port), "--bind", self.host, "--dir", self.directory] + self.options

    def start(self, wait=True, timeout=60.0):
        assert self.process is None or self.process.poll() is not None, "already running"
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        if wait:
            self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=60.0):
        def ready():
            assert self.process.poll() is None, f"the server exited with {self.process.returncode}:\n{self.log_tail()}"
            with Client(self.port, self.host, timeout=5) as client:
                reply = client.ask("PING")
                return reply == "PONG" or "NOAUTH" in str(reply)
        wait_for(ready, timeout, f"server on port {self.port} being ready ({self.log_path})")

    def client(self, **options):
        client = Client(self.port, self.host, **options)
        if self.password:
            client.call("AUTH", self.password)
        return client

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def terminate(self, timeout=30.0):
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def freeze(self):
        freeze(self.process)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def restart(self):
        self.kill()
        self.start()

    def log_text(self):
        with open(self.log_path, "rb") as log:
            return log.read().decode("utf-8", "replace")

    def log_tail(self, lines=30):
        return "\n".join(self.log_text().splitlines()[-lines:])

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.kill()


class Redis(Server):
    """The real redis-server, for comparison."""

    def __init__(self, directory, *options, port=None):
        super().__init__(directory, "--save", "", "--enable-debug-command", "yes", *options, port=port,
                         binary=REDIS_SERVER)


class Workspace:
    """A temporary directory and the servers in it; everything is gone at the end. The directory is kept on failure when
    HOLDFAST_KEEP is set."""

    def __init__(self):
        self.path = tempfile.mkdtemp(prefix="holdfast-test-")
        self.servers = []

    def __enter__(self):
        return self

    def server(self, name, *options, **keywords):
        server = Server(os.path.join(self.path, name), *options, **keywords)
        self.servers.append(server)
        return server

    def redis(self, name, *options, **keywords):
        server = Redis(os.path.join(self.path, name), *options, **keywords)
        self.servers.append(server)
        return server

    def __exit__(self, kind, error, _trace):
        for server in self.servers:
            if error is not None and os.path.exists(server.log_path):
                sys.stderr.write(f"--- {server.log_path}\n{server.log_tail()}\n")
            server.stop()
        if error is not None and os.environ.get("HOLDFAST_KEEP"):
            sys.stderr.write(f"kept: {self.path}\n")
        else:
            shutil.rmtree(self.path, ignore_errors=True)


def check(condition, message):
    """An assertion that also works under python -O."""
    if not condition:
        raise AssertionError(message)


def freeze(process):
    """SIGSTOP, and waits until every thread has stopped: the signal's sender goes on before its target stands."""
    process.send_signal(signal.SIGSTOP)

    def stands(task):
        with open(f"/proc/{process.pid}/task/{task}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "T"

    wait_for(lambda: all(stands(task) for task in os.listdir(f"/proc/{process.pid}/task")), 30, "the process stands")


def has_redis_7_0():
    """Whether there is a redis-server to compare with; says so if not. Exit code 77 then marks a test as skipped."""
    found = shutil.which("redis-server")
    if found and "v=7.0" in subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout:
        return True
    print("no redis-server 7.0 here: skipped")
    return False


def run_tests(scope):
    """Runs what is called test_... in `scope` (globals()), in order; names on the command line select. For main()."""
    wanted = sys.argv[1:]
    for name, test in list(scope.items()):
        if name.startswith("test_") and (not wanted or name in wanted):
            began = time.monotonic()
            test()
            print(f"{name}: ok, {time.monotonic() - began:.1f} s", flush=True)
    return 0


def seed_from_environment():
    """The seed of a random test: HOLDFAST_SEED; else HOLDFAST_FIXED_SEED, which CI sets, so that each run does the same;
    else a fresh one. Printed, so that a failure can be replayed."""
    seed = int(os.environ.get("HOLDFAST_SEED") or os.environ.get("HOLDFAST_FIXED_SEED") or
               random.SystemRandom().randrange(1 << 48))
    print(f"seed {seed} (replay with HOLDFAST_SEED={seed})", flush=True)
    return seed
