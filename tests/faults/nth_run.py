"""One run of a scenario with one fault or none (nth_call.py): the server under test, what was asked of it, and what it
may hold therefore."""

import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault_server import FaultServer  # noqa: E402
from holdfast_testing import Client, Disconnected, ReplyError, check, wait_for  # noqa: E402

SMALL = ("--memtable-size", "1mb", "--log-segment-size", "1mb", "--repl-backlog-size", "1mb", "--space-reserve", "0",
         "--enable-debug-command", "yes")
LARGE = b"x" * 20_000
# Changes are made of these keys in this database; the other is for SWAPDB.
KEYS = ("string", "list", "hash", "set", "zset", "stream", "other")
DATABASE, SECOND_DATABASE = 9, 10


class Units:
    """Units with numbers, and what became of each. A unit pushes its number to a list and sets three keys to it."""

    def __init__(self, prefix=""):
        self.prefix = prefix
        self.last = 0
        self.acked, self.refused, self.unknown = [], [], []

    def write(self, server, count, depth=1, filler=b""):
        """False: the server has gone away."""
        try:
            with server.client(timeout=20) as client:
                for _ in range(0, count, depth):
                    numbers = range(self.last + 1, self.last + depth + 1)
                    self.last += depth
                    self.unknown.extend(numbers)
                    client.send_raw(b"".join(
                        Client.encode("MULTI") + Client.encode("RPUSH", self.prefix + "numbers", n) +
                        Client.encode("SET", self.prefix + "a", n) + Client.encode("SET", self.prefix + "b", n) +
                        Client.encode("SET", f"{self.prefix}filler:{n % 7}", filler + b"%d" % n) +
                        Client.encode("EXEC") for n in numbers))
                    for number in numbers:
                        replies = [client.read() for _ in range(6)]
                        refused = isinstance(replies[-1], ReplyError)
                        check(not refused or all(word in str(replies[-1]) for word in ("EXECABORT",)),
                              f"unit {number} was answered {replies}")
                        self.unknown.remove(number)
                        (self.refused if refused else self.acked).append(number)
            return True
        except (Disconnected, OSError):
            return False

    def verify(self, server):
        with server.client() as client:
            numbers = [int(n) for n in client.call("LRANGE", self.prefix + "numbers", 0, -1)]
            check(numbers == sorted(set(numbers)), f"order is lost or a unit is there twice: {numbers}")
            there = set(numbers)
            check(not set(self.acked) - there, f"acknowledged and lost: {sorted(set(self.acked) - there)}")
            check(not there & set(self.refused), f"refused and there: {sorted(there & set(self.refused))}")
            check(not there - set(self.acked) - set(self.unknown), f"never sent: {sorted(there)}")
            last = numbers[-1] if numbers else None
            for key in ("a", "b"):
                value = client.call("GET", self.prefix + key)
                check((int(value) if value else None) == last, f"{key} is {value}, the last unit is {last}: torn")
            if last:
                check(client.call("GET", f"{self.prefix}filler:{last % 7}").endswith(b"%d" % last), "the last unit is torn")
            # What is known now stays.
            self.acked, self.unknown = numbers, []


class Run:
    """One run of a scenario: a server with one fault or none, and its units and changes.

    A change is a command in DATABASE. The run without a fault tells what the database is after each of them; with one it
    must be as after the last that was answered, or after the one that was not.
    """

    def __init__(self, workspace, case, reference, options=()):
        self.server = FaultServer(os.path.join(workspace.path, "node"), *SMALL, *options)
        self.workspace = workspace
        workspace.servers.append(self.server)
        self.units = Units()
        self.case = case
        self.states = reference  # filled by the run without a fault
        self.changes, self.unanswered, self.refused = 0, False, False
        self.ends = False  # it is told to stop

    def other(self, name, *options):
        """Another server, undisturbed."""
        server = FaultServer(os.path.join(self.workspace.path, name), *SMALL, *options)
        self.workspace.servers.append(server)
        return server.start()

    def start(self):
        """False: it did not come up."""
        self.server.start(wait=False)

        def up():
            if self.server.process.poll() is not None:
                return "gone"
            with Client(self.server.port, timeout=20) as client:
                return client.ask("PING") == "PONG"
        try:
            return wait_for(up, 60, "the server being ready or gone") != "gone"
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.server.log_tail()}") from error

    def gone(self):
        return self.server.process.poll() is not None

    def lasts(self):
        """Whether the fault goes on once it has begun."""
        return self.case is not None and self.case[1].endswith(" on")

    def arm(self):
        if self.case is None:
            self.server.arm()
        else:
            call, effect, nth = self.case
            # "ENOMEM on": from the nth on.
            self.server.arm(call, effect.split()[0], nth, forever=self.lasts())
        return True

    def call(self, *command):
        """A command whose outcome may be anything; False: the server has gone away."""
        try:
            with self.server.client(timeout=30) as client:
                client.ask(*command)
            return True
        except (Disconnected, OSError):
            return False

    def put(self, *command):
        """A command in DATABASE before there are faults."""
        with self.server.client() as client:
            client.call("SELECT", DATABASE)
            client.call(*command)

    def probe(self):
        with self.server.client() as client:
            state = []
            for database in (DATABASE, SECOND_DATABASE):
                client.call("SELECT", database)
                state += [client.call("DBSIZE"), client.call("DEBUG", "DIGEST-VALUE", *KEYS)]
            return state

    def observe(self):
        """The data are as they are now, whatever happens from here on."""
        if self.case is None:
            self.states.append(self.probe())
        return True

    def change(self, *commands):
        """One command, or several in a transaction. False: the server has gone away."""
        if self.refused:
            return True  # what follows would have another outcome
        if self.case is None and not self.states:
            self.states.append(self.probe())
        try:
            with self.server.client(timeout=30) as client:
                client.call("SELECT", DATABASE)
                self.unanswered = True
                if len(commands) == 1:
                    reply = client.ask(*commands[0])
                else:
                    reply = client.pipeline([("MULTI",), *commands, ("EXEC",)])[-1]
                self.unanswered = False
        except (Disconnected, OSError):
            return False
        self.refused = isinstance(reply, ReplyError)
        check(self.case or not self.refused, f"{commands} is refused without a fault: {reply}")
        self.changes += not self.refused
        if self.case is None:
            self.states.append(self.probe())
        return True

    def check_changes(self):
        if not self.states:
            return
        state = self.probe()
        allowed = self.states[self.changes:self.changes + 1 + self.unanswered]
        known = [number for number, one in enumerate(self.states) if one == state]
        check(state in allowed, f"after {self.changes} changes, with {int(self.unanswered)} unanswered, the data are those "
                                f"after {known or 'none of them'}: {state}")
        # Which one it is stays.
        self.changes = self.states.index(state, self.changes)
        self.unanswered = False

    def again(self, up, follows):
        """Within a scenario of several servers: if it has gone away, it comes back without faults, and follows."""
        if up and not self.gone():
            return True
        check(self.case and self.server.fired(), f"it went away without a fault:\n{self.server.log_tail()}")
        check_end(self, self.case[1], False)
        self.server.disarm()
        check(self.start(), f"it does not start after a fault:\n{self.server.log_tail()}")
        check(follows(), f"it does not go on after a fault:\n{self.server.log_tail()}")
        return True


def check_end(run, effect, up):
    """How the process stands after the scenario; it is ended here."""
    process = run.server.process
    if up and process.poll() is None:
        return
    try:
        code = process.wait(30)
    except subprocess.TimeoutExpired:
        code = None
    if effect in ("kill", "killafter"):
        check(code in (-signal.SIGKILL, 0), f"it ended with {code}, not by the kill:\n{run.server.log_tail()}")
        return
    if effect and effect.startswith("ENOMEM"):
        # Who is short of memory has seen no damage.
        check(code in (0, 1, 3, 4), f"it ended with {code}:\n{run.server.log_tail()}")
        check(code != 4 or "# Out of memory: " in run.server.log_text(), f"it does not say why:\n{run.server.log_tail()}")
        return
    check(code in (0, 1, 2, 3), f"it ended with {code}:\n{run.server.log_tail()}")
    if code in (2, 3):
        check(len(run.server.log_text()) > 0, "and said nothing")
