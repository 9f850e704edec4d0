"""What servers do while their file calls are recorded. Each scenario returns the traces, by name, and what is right.

A scenario gets the workspace and a seed, and leaves all its servers stopped.
"""

import contextlib
import os
import random
import subprocess

from fault_server import CRASH_STATES, FaultServer, History
from holdfast_testing import Disconnected, ReplyError, check, wait_for

SMALL = ("--memtable-size", "1mb", "--log-segment-size", "64kb", "--repl-backlog-size", "1mb", "--space-reserve", "0",
         "--enable-debug-command", "yes", "--log-checkpoint-bytes", "1mb")


class Recording:
    """The server that is recorded, its trace, and the histories its data may follow."""

    def __init__(self, workspace, name, *options):
        self.name = name
        self.path = os.path.join(workspace.path, name + ".trace")
        self.configs = []
        directory = os.path.join(workspace.path, name)
        self.server = FaultServer(directory, *SMALL, *options, trace=self.path)
        workspace.servers.append(self.server)
        self.histories = []

    def begin(self, history, base=None):
        self.histories.append(history)
        self.server.mark("begin", history.name, len(history.units) if base is None else base)
        return history

    def only(self, history):
        self.server.mark("only", history.name)

    def write_expected(self, redis):
        """What is right, as crash_states reads it. Returns the file's path."""
        path = self.path + ".expected"
        with open(path, "w", encoding="ascii") as file:
            for history in self.histories:
                file.write("\n".join(history.digests(redis)) + "\n")
            file.write("\n".join(self.configs) + "\n")
        return path


def call(server, *command):
    with server.client() as client:
        return client.call(*command)


def restart(server, clean=False):
    """Recovery is recorded like everything else."""
    if clean:
        check(server.terminate() == 0, "a clean stop")
    else:
        server.kill()
    server.start()


def in_sync(master, replica):
    def equal():
        with master.client() as there, replica.client() as here:
            theirs, ours = there.info("replication"), here.info("replication")
            return (ours["master_link_status"] == "up" and ours["master_replid"] == theirs["master_replid"]
                    and int(ours["slave_repl_offset"]) >= int(theirs["master_repl_offset"]))
    wait_for(equal, 60, "the replica being in sync")


def first_start(workspace, seed):
    one = Recording(workspace, "first_start")
    history = one.begin(History("m", seed))
    one.server.start()
    history.write(one.server, 12)
    restart(one.server, clean=True)
    history.write(one.server, 12)
    one.server.kill()
    return [one]


def appending(workspace, seed):
    one = Recording(workspace, "appending")
    history = one.begin(History("m", seed))
    one.server.start()
    history.write(one.server, 150, depths=(1, 2, 8, 30))
    restart(one.server)
    history.write(one.server, 50, depths=(1, 30))
    one.server.kill()
    return [one]


def padded(workspace, seed):
    """Without rewriting the tail block; with checkpoints."""
    one = Recording(workspace, "padded", "--log-tail-rewrite", "no")
    history = one.begin(History("m", seed))
    one.server.start()
    history.write(one.server, 60)
    call(one.server, "DEBUG", "CHECKPOINT")
    history.write(one.server, 30)
    restart(one.server)
    history.write(one.server, 10)
    one.server.kill()
    return [one]


def rotation(workspace, seed):
    """Segments fill up and are recycled, a unit spans several of them, checkpoints come by themselves."""
    one = Recording(workspace, "rotation", "--repl-backlog-size", "64kb", "--log-checkpoint-bytes", "128kb")
    history = one.begin(History("m", seed))
    one.server.start()
    for _ in range(3):
        history.write(one.server, 40, large=6_000)
        # A unit beyond the largest frame. The key is emptied again, so that digests stay cheap.
        history.units.append([("MULTI",), ("SET", "large", b"x" * 130_000), ("SET", "large", len(history.units)),
                              ("EXEC",)])
        one.server.mark("sent", "m", len(history.units))
        with one.server.client() as client:
            client.pipeline(history.units[-1])
        one.server.mark("acked", "m", len(history.units))
    restart(one.server)
    history.write(one.server, 20)
    one.server.kill()
    return [one]


def checkpoint(workspace, seed):
    one = Recording(workspace, "checkpoint")
    history = one.begin(History("m", seed))
    one.server.start()
    for number in range(4):
        history.write(one.server, 30)
        call(one.server, "DEBUG", "CHECKPOINT")
        if number % 2 == 1:
            restart(one.server, clean=number == 3)
    history.write(one.server, 10)
    one.server.kill()
    return [one]


def recovery(workspace, seed):
    """Starts after kills, one after the other, of which the second finds what the first began."""
    one = Recording(workspace, "recovery")
    history = one.begin(History("m", seed))
    one.server.start()
    for _ in range(5):
        history.write(one.server, 20, depths=(16,))
        restart(one.server)
        restart(one.server)
    one.server.kill()
    return [one]


def recovery_of_cuts(workspace, seed):
    """Starts after power cuts: what they do to a torn tail, a half merged run, an unfinished file; cut in turn."""
    base = Recording(workspace, "cut")
    history = base.begin(History("m", seed))
    base.server.start()
    for _ in range(3):
        history.write(base.server, 20)
        call(base.server, "DEBUG", "CHECKPOINT")
    history.write(base.server, 20)
    base.server.kill()
    states = os.path.join(workspace.path, "cuts")
    os.mkdir(states)
    done = subprocess.run([CRASH_STATES, base.path, "-", "--scratch", states, "--states", "8", "--seed", str(seed),
                           "--export", states], check=True, capture_output=True, text=True)
    recordings = []
    for line in done.stdout.splitlines():
        number, name, acked, sent = line.split()
        check(name == "m", f"an unknown history: {line}")
        one = Recording(workspace, f"recovery_of_cut_{number}")
        one.histories.append(history)
        one.server.put_tree(os.path.join(states, number))
        one.server.mark("begin", name, acked)
        one.server.mark("sent", name, sent)
        one.server.start()
        call(one.server, "DEBUG", "CHECKPOINT")
        restart(one.server)
        one.server.kill()
        recordings.append(one)
    return recordings


def killed(workspace, seed):
    """Killed right behind a call, before what it did is synced; the next start finds it in memory and builds on it."""
    one = Recording(workspace, "killed")
    server = one.server
    rng = random.Random(f"killed-{seed}")
    history = one.begin(History("m", seed))

    def up_or_dead():
        try:
            return server.process.poll() is not None or call(server, "PING") == "PONG"
        except (OSError, Disconnected, ReplyError):
            return False
    server.start()
    for number in range(16):
        history.write(server, 6)
        in_start = number % 4 == 3
        if in_start:
            server.kill()
        server.arm(rng.choice(("write", "rename", "sync", "remove")), "killafter", rng.randrange(1, 9))
        if in_start:
            server.start(wait=False)
            wait_for(up_or_dead, 60, "the start's end")
        else:
            with contextlib.suppress(OSError, Disconnected):
                call(server, "DEBUG", "CHECKPOINT")
        server.disarm()
        restart(server)
    history.write(server, 6)
    server.kill()
    return [one]


def snapshot(workspace, seed):
    one = Recording(workspace, "snapshot")
    history = one.begin(History("m", seed))
    one.server.start()
    history.write(one.server, 40)
    call(one.server, "SAVE")
    history.write(one.server, 20)
    call(one.server, "BGSAVE")
    history.write(one.server, 40)
    with one.server.client() as client:
        wait_for(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == "0", 30, "BGSAVE being done")
    history.write(one.server, 10)
    one.server.kill()
    return [one]


def full_sync(workspace, seed):
    """A replica that is empty, follows, and is killed; then another history takes its place as a whole."""
    master = Recording(workspace, "full_sync_master")
    replica = Recording(workspace, "full_sync")
    history = master.begin(History("m", seed))
    master.server.start()
    history.write(master.server, 60)
    call(master.server, "DEBUG", "CHECKPOINT")
    history.write(master.server, 20)
    own = replica.begin(History("own", seed))
    replica.server.start()
    own.write(replica.server, 20)
    # It gets the last checkpoint, then the log behind it.
    replica.begin(history, base=60)
    replica.server.mark("sent", history.name, len(history.units))
    call(replica.server, "REPLICAOF", "127.0.0.1", master.server.port)
    in_sync(master.server, replica.server)
    replica.only(history)
    history.confirm(master.server, [replica.server])
    history.write(master.server, 40, marked=[master.server, replica.server])
    history.confirm(master.server, [replica.server])
    restart(replica.server)
    history.write(master.server, 20, marked=[master.server, replica.server])
    in_sync(master.server, replica.server)
    history.confirm(master.server, [replica.server])
    replica.server.kill()
    master.server.kill()
    return [replica]


def promotion(workspace, seed):
    master = Recording(workspace, "promotion_master")
    replica = Recording(workspace, "promotion")
    history = master.begin(History("m", seed))
    master.server.start()
    history.write(master.server, 20)
    empty = replica.begin(History("empty", seed))
    replica.begin(history, base=0)
    replica.server.mark("sent", history.name, len(history.units))
    replica.server.options += ["--replicaof", "127.0.0.1", str(master.server.port)]
    replica.server.start()
    in_sync(master.server, replica.server)
    replica.only(history)
    history.confirm(master.server, [replica.server])
    history.write(master.server, 30, marked=[master.server, replica.server])
    history.confirm(master.server, [replica.server])
    call(replica.server, "REPLICAOF", "NO", "ONE")
    master.server.kill()
    history.write(replica.server, 20)
    restart(replica.server)
    check(call(replica.server, "ROLE")[0] == b"master", "a promotion outlives a restart")
    history.write(replica.server, 10)
    replica.server.kill()
    check(not empty.units, "nothing was written before")
    return [replica]


def rewind(workspace, seed):
    """A deposed master goes back to the fork and follows its successor; killed on the way."""
    old = Recording(workspace, "rewind")
    new = Recording(workspace, "rewind_successor")
    history = old.begin(History("old", seed))
    old.server.start()
    history.write(old.server, 30)
    new.server.options += ["--replicaof", "127.0.0.1", str(old.server.port)]
    new.server.start()
    in_sync(old.server, new.server)
    history.confirm(old.server, [new.server])
    fork = len(history.units)
    call(new.server, "REPLICAOF", "NO", "ONE")
    history.write(old.server, 25)
    successor = history.fork("new", seed, fork)
    new.begin(successor)
    successor.write(new.server, 25)
    old.begin(successor, base=fork)
    old.server.mark("sent", "new", len(successor.units))
    call(old.server, "REPLICAOF", "127.0.0.1", new.server.port)
    in_sync(new.server, old.server)
    old.only(successor)
    successor.confirm(new.server, [old.server])
    successor.write(new.server, 10, marked=[new.server, old.server])
    successor.confirm(new.server, [old.server])
    restart(old.server)
    in_sync(new.server, old.server)
    old.server.kill()
    new.server.kill()
    return [old]


def config_rewrite(workspace, seed):
    one = Recording(workspace, "config_rewrite")
    server = one.server
    history = one.begin(History("m", seed))
    server.config = server.put("holdfast.conf", b"# made by hand\nmaxclients 1000\n")
    server.mark("config-sent", 0)

    def version():
        with open(server.config, "rb") as file:
            one.configs.append(f"config {len(one.configs)} {file.read().hex()}")
    version()
    server.start()
    for number in range(1, 9):
        call(server, "CONFIG", "SET", "maxclients", 1000 + number)
        server.mark("config-sent", number)
        call(server, "CONFIG", "REWRITE")
        server.mark("config-acked", number)
        version()
        history.write(server, 3)
        if number == 5:
            restart(server)
    server.kill()
    return [one]


ALL = (first_start, appending, padded, rotation, checkpoint, recovery, recovery_of_cuts, killed, snapshot, full_sync,
       promotion, rewind, config_rewrite)
