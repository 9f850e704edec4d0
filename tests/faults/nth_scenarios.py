"""What a server does while its file calls fail one by one (nth_call.py). A scenario takes a Run, prepares, arms the
fault, and returns whether the server still stands."""

import glob
import os
import signal
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from holdfast_testing import Disconnected, check, free_port, wait_for  # noqa: E402
from nth_run import DATABASE, LARGE, SECOND_DATABASE  # noqa: E402

SCENARIOS = {}  # by name: (scenario, options of the server)


def scenario(*options):
    def register(function):
        SCENARIOS[function.__name__] = (function, options)
        return function
    return register


def changes(name, *steps, prepare=(), options=(), checkpoint=False):
    """A scenario of changes, one after the other. A step is a command or a list of commands for one transaction."""
    def run_them(run):
        run.start()
        run.units.write(run.server, 2)
        for command in prepare:
            run.put(*command)
        if checkpoint:
            run.call("DEBUG", "CHECKPOINT")
        run.arm()
        for step in steps:
            if not run.change(*([step] if isinstance(step, tuple) else step)):
                return False
        return run.units.write(run.server, 2)
    SCENARIOS[name] = (run_them, options)


# ---- starts and stops


@scenario()
def first_start(run):
    run.arm()
    return run.start() and run.units.write(run.server, 3)


@scenario()
def restart(run):
    run.start()
    run.units.write(run.server, 20, depth=5)
    run.server.kill()
    run.arm()
    return run.start() and run.units.write(run.server, 3)


@scenario()
def restart_twice(run):
    """The second start finds what the first began."""
    run.start()
    run.units.write(run.server, 10, depth=5)
    run.server.kill()
    run.arm()
    if not run.start():
        return False
    run.server.kill()
    return run.start() and run.units.write(run.server, 3)


@scenario()
def restart_with_torn_tail(run):
    run.start()
    run.units.write(run.server, 10)
    run.server.kill()
    path = sorted(glob.glob(os.path.join(run.server.directory, "gen-*", "wal", "*.log")))[-1]
    with open(path, "r+b") as file:
        end = len(file.read().rstrip(b"\0"))
        file.seek((end + 4095) // 4096 * 4096)
        file.write(b"torn" * 300)
    run.arm()
    return run.start() and run.units.write(run.server, 3)


@scenario()
def restart_after_a_clean_stop(run):
    run.start()
    run.units.write(run.server, 10)
    check(run.server.terminate() == 0, "a clean stop")
    run.arm()
    return run.start() and run.units.write(run.server, 3)


@scenario()
def start_with_run_file(run):
    """Replays into a store that has been merged before, and merges behind the start."""
    run.start()
    run.units.write(run.server, 10)
    run.call("DEBUG", "CHECKPOINT")
    run.units.write(run.server, 10, filler=LARGE)
    run.server.kill()
    run.arm()
    return run.start() and run.call("DEBUG", "CHECKPOINT") and run.units.write(run.server, 3)


@scenario()
def clean_stop(run):
    run.start()
    run.units.write(run.server, 5)
    run.arm()
    run.ends = True
    run.server.process.send_signal(signal.SIGTERM)
    run.server.process.wait(30)
    return False


@scenario()
def shutdown_with_snapshot(run):
    run.start()
    run.units.write(run.server, 5)
    run.arm()
    run.ends = True
    # It answers only if it does not go.
    return run.call("SHUTDOWN", "SAVE")


# ---- writes


@scenario()
def writing(run):
    run.start()
    run.arm()
    return run.units.write(run.server, 5) and run.units.write(run.server, 40, depth=10)


@scenario("--log-tail-rewrite", "no")
def writing_padded(run):
    run.start()
    run.arm()
    return run.units.write(run.server, 5) and run.units.write(run.server, 40, depth=10)


changes("big_value", ("SET", "string", b"s" * 3_000_000), ("SET", "string", "small"))
changes("big_transaction",
        [("SET", "string", b"s" * 600_000), ("RPUSH", "list", *range(300)), ("SET", "other", b"o" * 600_000),
         ("HSET", "hash", "field", b"h" * 300_000)],
        [("DEL", "string"), ("RPUSH", "list", "last")])
changes("many_keys", ("MSET", *(word for i in range(3000) for word in (f"key:{i}", i))),
        ("MSET", "string", 1, "other", 2))
changes("long_string", ("APPEND", "string", b"b" * 150_000), ("SETRANGE", "string", 70_000, "in the middle"),
        ("SETBIT", "string", 4_000_000, 1), ("GETDEL", "string"),
        prepare=[("SET", "string", b"a" * 200_000)], checkpoint=True)
changes("lists", ("LPUSH", "list", "first"), ("LINSERT", "list", "BEFORE", "500", "new"), ("LTRIM", "list", 1, 700),
        ("LMOVE", "list", "other", "LEFT", "RIGHT"), prepare=[("RPUSH", "list", *range(1000))], checkpoint=True)
changes("hashes_and_sets", ("HSET", "hash", "a", 1, "b", b"v" * 3000), ("HINCRBY", "hash", "a", 5),
        ("SADD", "set", *range(200)), ("SREM", "set", *range(50)), ("SINTERSTORE", "other", "set", "set"))
changes("sorted_sets", ("ZADD", "zset", *(word for i in range(500) for word in (i, f"member:{i}"))),
        ("ZINCRBY", "zset", 1000, "member:7"), ("ZPOPMIN", "zset", 20), ("ZREMRANGEBYRANK", "zset", 0, 99))
changes("streams", ("XADD", "stream", "1-1", "field", "value"), ("XGROUP", "CREATE", "stream", "group", "0"),
        ("XADD", "stream", "2-1", "field", b"v" * 5000), ("XTRIM", "stream", "MAXLEN", 1),
        ("XGROUP", "DESTROY", "stream", "group"))
changes("rename_and_copy", ("RENAME", "string", "other"), ("COPY", "list", "set"), ("MOVE", "list", SECOND_DATABASE),
        prepare=[("SET", "string", b"s" * 100_000), ("RPUSH", "list", *range(100))], checkpoint=True)
changes("expiry_times", ("PEXPIREAT", "string", 4_000_000_000_000), ("PERSIST", "string"),
        ("SET", "other", 1, "PXAT", 4_000_000_000_000), ("PEXPIREAT", "string", 1), prepare=[("SET", "string", "value")])
changes("delete_big_collection", ("DEL", "list"), ("UNLINK", "hash"), ("SET", "string", 1),
        prepare=[("RPUSH", "list", *range(5000)), ("HSET", "hash", *range(5000))], checkpoint=True)
changes("flush_database", ("FLUSHDB",), ("SET", "string", "new"),
        prepare=[("MSET", *range(1000)), ("RPUSH", "list", *range(100))], checkpoint=True)
changes("swap_databases", ("SWAPDB", DATABASE, SECOND_DATABASE), ("SET", "string", "new"),
        ("SWAPDB", SECOND_DATABASE, DATABASE), prepare=[("RPUSH", "list", *range(100))], checkpoint=True)


@scenario()
def flush_all(run):
    run.start()
    run.put("MSET", *range(1000))
    run.call("DEBUG", "CHECKPOINT")
    run.arm()
    return run.change(("FLUSHALL",)) and run.units.write(run.server, 3) and run.call("DEBUG", "CHECKPOINT")


@scenario()
def restore(run):
    run.start()
    run.put("RPUSH", "list", *range(2000))
    with run.server.client() as client:
        client.call("SELECT", DATABASE)
        payload = client.call("DUMP", "list")
    run.arm()
    return (run.change(("RESTORE", "other", 0, payload)) and run.change(("RESTORE", "list", 0, payload, "REPLACE"))
            and run.units.write(run.server, 2))


@scenario()
def active_expiry(run):
    """What the active cycle deletes, it deletes by the log."""
    run.start()
    run.units.write(run.server, 2)
    with run.server.client() as client:
        client.call("SELECT", DATABASE)
        client.pipeline([("SET", f"key:{i}", "value", "PX", 100 + i) for i in range(50)])
    run.arm()

    def empty():
        if run.gone():
            return "gone"
        try:
            with run.server.client() as client:
                client.call("SELECT", DATABASE)
                return client.call("DBSIZE") == 0
        except Disconnected:
            return False
    return wait_for(empty, 30, "all being expired") != "gone" and run.units.write(run.server, 3)


# ---- the log's files


@scenario()
def rotation(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    return run.units.write(run.server, 60, depth=4, filler=LARGE)


@scenario()
def recycled_segment(run):
    """Old segments go, and one of them becomes the next one."""
    run.start()
    run.units.write(run.server, 160, depth=20, filler=LARGE)
    run.call("DEBUG", "CHECKPOINT")
    run.arm()
    for _ in range(2):
        if not (run.units.write(run.server, 60, depth=20, filler=LARGE) and run.call("DEBUG", "CHECKPOINT")):
            return False
    return run.units.write(run.server, 3)


@scenario()
def log_archive(run):
    # Its directory is one of those whose calls count.
    run.server.options += ["--log-archive-dir", os.path.join(run.server.directory, "archive")]
    run.start()
    run.units.write(run.server, 30, depth=10, filler=LARGE)
    run.arm()
    return (run.units.write(run.server, 80, depth=20, filler=LARGE) and run.call("DEBUG", "CHECKPOINT")
            and run.units.write(run.server, 40, depth=20, filler=LARGE))


# ---- checkpoints and snapshots


@scenario()
def checkpoint(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    return run.call("DEBUG", "CHECKPOINT") and run.units.write(run.server, 3)


@scenario()
def checkpoint_over_another(run):
    """Pages of LMDB that an earlier one freed are used again."""
    run.start()
    for _ in range(3):
        run.units.write(run.server, 10, filler=LARGE)
        run.call("DEBUG", "CHECKPOINT")
    run.units.write(run.server, 10)
    run.arm()
    return run.call("DEBUG", "CHECKPOINT") and run.units.write(run.server, 3) and run.call("DEBUG", "CHECKPOINT")


@scenario()
def checkpoint_of_dead_rows(run):
    run.start()
    run.put("RPUSH", "list", *range(5000))
    run.call("DEBUG", "CHECKPOINT")
    run.put("DEL", "list")
    run.units.write(run.server, 3)
    run.arm()
    return run.call("DEBUG", "CHECKPOINT") and run.call("DEBUG", "CHECKPOINT") and run.units.write(run.server, 3)


@scenario()
def reload(run):
    """A start of a new generation's store inside of the process."""
    run.start()
    run.units.write(run.server, 5, filler=LARGE)
    run.arm()
    return run.call("DEBUG", "RELOAD") and run.units.write(run.server, 3)


@scenario()
def snapshot(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    return run.call("SAVE") and run.units.write(run.server, 3)


@scenario()
def snapshot_in_background(run):
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    if not (run.call("BGSAVE") and run.units.write(run.server, 10)):
        return False

    def done():
        if run.gone():
            return "gone"
        try:
            with run.server.client() as client:
                return client.info("persistence")["rdb_bgsave_in_progress"] == "0"
        except Disconnected:
            return False
    return wait_for(done, 60, "BGSAVE being done") != "gone" and run.units.write(run.server, 2)


@scenario("--snapshot-keep", 1)
def snapshots_kept(run):
    """An older one goes when a newer one is there."""
    run.start()
    run.units.write(run.server, 3, filler=LARGE)
    run.call("SAVE")
    run.units.write(run.server, 3)
    run.arm()
    up = run.call("SAVE") and run.units.write(run.server, 2) and run.call("SAVE")
    kept = glob.glob(os.path.join(run.server.directory, "snapshots", "*.hfs"))
    check(kept, "no snapshot is left")
    return up and run.units.write(run.server, 2)


@scenario()
def import_of_rdb(run):
    """An empty server loads the RDB file that lies in its directory, as a whole or not."""
    def text(value):
        return bytes([len(value)]) + value
    values = b"".join(b"\0" + text(b"key:%d" % i) + text(b"value") for i in range(300))
    with open(os.path.join(run.server.directory, "dump.rdb"), "wb") as file:
        file.write(b"REDIS0009" + b"\xfe" + bytes([DATABASE]) + values + b"\0" + text(b"string") + text(b"value") +
                   b"\xff" + bytes(8))
    run.arm()
    if not run.start():
        return False
    # Loaded, now or by the next start.
    return run.observe() and run.units.write(run.server, 3)


# ---- configuration


def rewrite_times(run, times):
    config = os.path.join(run.server.directory, "holdfast.conf")
    with open(config, "w", encoding="ascii") as file:
        file.write("maxclients 1000\n")
    run.server.config = config
    run.start()
    up, number = True, 1000
    run.arm()
    for _ in range(times):
        number += 1
        up = up and run.call("CONFIG", "SET", "maxclients", number) and run.call("CONFIG", "REWRITE")
        with open(config, encoding="utf-8") as file:
            text = file.read()
        check(any(f"maxclients {known}\n" in text for known in range(1000, number + 1)),
              f"the file is neither old nor new:\n{text}")
    return up and run.units.write(run.server, 3)


@scenario()
def rewrite(run):
    return rewrite_times(run, 1)


@scenario()
def rewrite_again(run):
    return rewrite_times(run, 4)


@scenario()
def config_set(run):
    run.start()
    run.arm()
    for directive, value in (("appendfsync", "everysec"), ("appendfsync", "always"), ("repl-backlog-size", "2mb"),
                             ("maxmemory", "1gb"), ("save", "3600 1")):
        if not (run.call("CONFIG", "SET", directive, value) and run.call("PING")):
            return False
    return run.units.write(run.server, 5)


# ---- replication: the other servers are undisturbed


def follows(replica, master, run):
    """Waits until the replica holds everything, or the server under test has gone away."""
    def there():
        if run.gone():
            return "gone"
        try:
            with replica.client() as client, master.client() as other:
                # Memory that is short for ever is refused for ever, with the reason; then there is some again.
                reason = client.info("replication").get("master_link_down_reason", "")
                if replica is run.server and run.lasts() and "Cannot allocate memory" in reason:
                    run.server.disarm()
                return client.ask("LRANGE", "numbers", 0, -1) == other.ask("LRANGE", "numbers", 0, -1) and "same"
        except Disconnected:
            return False
    return wait_for(there, 60, "the replica being equal or gone") == "same"


def ask(server, *command):
    with server.client() as client:
        return client.call(*command)


def filled_master(run):
    master = run.other("master")
    run.units.write(master, 10, filler=LARGE)
    ask(master, "DEBUG", "CHECKPOINT")
    run.units.write(master, 5)
    return master


def replicate(run, master):
    """The server under test follows, or goes away, and then follows when it is back."""
    def follow():
        return run.call("REPLICAOF", "127.0.0.1", master.port) and follows(run.server, master, run)
    return run.again(follow(), follow)


@scenario()
def full_sync(run):
    master = filled_master(run)
    run.start()
    run.arm()
    return replicate(run, master)


@scenario()
def full_sync_over_data(run):
    """Its own data give way to the master's as a whole."""
    master = filled_master(run)
    run.start()
    ask(run.server, "MSET", *range(200))
    run.call("DEBUG", "CHECKPOINT")
    run.arm()
    return replicate(run, master)


@scenario()
def full_sync_of_another(run):
    """The server under test is the master."""
    run.start()
    run.units.write(run.server, 10, filler=LARGE)
    replica = run.other("replica")
    run.arm()
    ask(replica, "REPLICAOF", "127.0.0.1", run.server.port)
    return (run.again(follows(replica, run.server, run), lambda: follows(replica, run.server, run))
            and run.units.write(run.server, 3))


@scenario()
def partial_sync(run):
    master = filled_master(run)
    run.start()
    check(replicate(run, master), "it follows")
    run.arm()
    ask(master, "CLIENT", "KILL", "TYPE", "replica")
    run.units.write(master, 10, filler=LARGE)
    return run.again(follows(run.server, master, run), lambda: follows(run.server, master, run))


@scenario()
def partial_sync_of_another(run):
    """What the replica has missed comes out of the master's files."""
    run.start()
    replica = run.other("replica", "--replicaof", "127.0.0.1", run.server.port)
    run.units.write(run.server, 5)
    check(follows(replica, run.server, run), "it follows")
    replica.kill()
    run.units.write(run.server, 30, depth=10, filler=LARGE)
    run.arm()
    replica.start()
    return (run.again(follows(replica, run.server, run), lambda: follows(replica, run.server, run))
            and run.units.write(run.server, 3))


@scenario()
def restart_of_replica(run):
    master = filled_master(run)
    run.server.options += ["--replicaof", "127.0.0.1", str(master.port)]
    run.start()
    check(follows(run.server, master, run), "it follows")
    run.server.kill()
    run.units.write(master, 10, filler=LARGE)
    run.arm()
    return run.again(run.start() and follows(run.server, master, run), lambda: follows(run.server, master, run))


@scenario()
def stream(run):
    """A replica takes what the master's clients write, and checkpoints."""
    master = filled_master(run)
    run.start()
    check(replicate(run, master), "it follows")
    run.arm()
    run.units.write(master, 20, depth=5, filler=LARGE)
    run.call("DEBUG", "CHECKPOINT")
    run.units.write(master, 5)
    return run.again(follows(run.server, master, run), lambda: follows(run.server, master, run))


@scenario()
def replica_of_replica(run):
    """The server under test is the one in the middle."""
    master = filled_master(run)
    run.server.options += ["--replicaof", "127.0.0.1", str(master.port)]
    run.start()
    check(follows(run.server, master, run), "it follows")
    leaf = run.other("leaf")
    run.arm()
    ask(leaf, "REPLICAOF", "127.0.0.1", run.server.port)
    run.units.write(master, 5)

    def both():
        return follows(run.server, master, run) and follows(leaf, run.server, run)
    return run.again(both(), both)


@scenario()
def promotion(run):
    master = filled_master(run)
    run.start()
    check(replicate(run, master), "it follows")
    run.arm()
    return run.call("REPLICAOF", "NO", "ONE") and run.units.write(run.server, 3)


@scenario()
def replica_of_nobody(run):
    """Nothing is dropped for a master that does not answer."""
    run.start()
    run.units.write(run.server, 5)
    run.arm()
    return (run.call("REPLICAOF", "127.0.0.1", free_port()) and run.call("PING") and run.call("REPLICAOF", "NO", "ONE")
            and run.units.write(run.server, 3))


@scenario()
def rewind(run):
    """A deposed master goes back to the fork, and follows."""
    run.start()
    run.units.write(run.server, 10)
    successor = run.other("successor", "--replicaof", "127.0.0.1", run.server.port)
    check(follows(successor, run.server, run), "it follows")
    ask(successor, "REPLICAOF", "NO", "ONE")
    run.put("SET", "string", "goes")
    run.units.write(successor, 10, filler=LARGE)
    run.arm()
    return replicate(run, successor)


@scenario()
def rewind_of_another(run):
    """The server under test is the successor."""
    old = run.other("old")
    run.units.write(old, 10)
    run.server.options += ["--replicaof", "127.0.0.1", str(old.port)]
    run.start()
    check(follows(run.server, old, run), "it follows")
    run.call("REPLICAOF", "NO", "ONE")
    ask(old, "SET", "string", "goes")
    run.units.write(run.server, 10, filler=LARGE)
    run.arm()
    ask(old, "REPLICAOF", "127.0.0.1", run.server.port)

    def there():
        return run.call("REPLICAOF", "NO", "ONE") and follows(old, run.server, run)
    return run.again(follows(old, run.server, run), there) and run.units.write(run.server, 3)


@scenario()
def migrate(run):
    """The key goes when the other server has it."""
    target = run.other("target")
    run.start()
    run.put("RPUSH", "list", *range(2000))
    run.arm()
    return (run.change(("MIGRATE", "127.0.0.1", target.port, "list", DATABASE, 20_000, "REPLACE"))
            and run.units.write(run.server, 3))
