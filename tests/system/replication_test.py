#!/usr/bin/env python3
"""The usual deployment: one master and two replicas from three configuration files, driven by the real redis-cli; then
the same with passwords and min-slaves; then kills and restarts, which must end in partial resynchronization."""

import os
import shutil
import signal
import subprocess
import sys
import time

from holdfast_testing import SERVER, Client, Workspace, check, free_port, run_tests, wait_for

REDIS_CLI = shutil.which("redis-cli")


class Node:
    """A daemonized server started from a configuration file, as an init script would."""

    def __init__(self, workspace, name, master=None, *extra, port=None):
        self.directory = os.path.join(workspace.path, name)
        os.makedirs(self.directory, exist_ok=True)
        self.port = port or free_port()
        self.log_path = os.path.join(self.directory, "holdfast.log")
        self.pidfile = os.path.join(self.directory, "holdfast.pid")
        self.config = os.path.join(self.directory, "holdfast.conf")
        self.password = None
        self.last_pid = None
        lines = ["bind 127.0.0.1", f"port {self.port}", "daemonize yes", f"pidfile {self.pidfile}", "loglevel notice",
                 f'logfile "{self.log_path}"', f"dir {self.directory}", "repl-ping-replica-period 1"]
        if master:
            lines.append(f"slaveof 127.0.0.1 {master.port}")
        for line in extra:
            lines.append(line)
            if line.startswith("requirepass "):
                self.password = line.split()[1]
        with open(self.config, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")

    def start(self):
        done = subprocess.run([SERVER, self.config], capture_output=True, text=True, timeout=60, check=False)
        check(done.returncode == 0, f"start failed: {done.stdout} {done.stderr}\n{self.log_tail()}")
        wait_for(lambda: self.cli("PING") == "PONG", 60, f"{self.config} answers PING")
        return self

    def cli(self, *arguments):
        command = [REDIS_CLI, "-p", str(self.port)]
        if self.password:
            command += ["--no-auth-warning", "-a", self.password]
        done = subprocess.run(command + [str(a) for a in arguments], capture_output=True, text=True, timeout=60,
                              check=False)
        return (done.stdout + done.stderr).strip()

    def info(self, section="everything"):
        fields = {}
        for line in self.cli("INFO", section).splitlines():
            if ":" in line and not line.startswith("#"):
                name, value = line.strip().split(":", 1)
                fields[name] = value
        return fields

    def client(self):
        client = Client(self.port)
        if self.password:
            client.call("AUTH", self.password)
        return client

    def pid(self):
        try:
            with open(self.pidfile, encoding="ascii") as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    def alive(self):
        # The pidfile goes a moment before the process does.
        self.last_pid = pid = self.pid() or self.last_pid
        if pid is None:
            return False
        # A first thread that has ended is shown while others still end, and hold the directory's lock.
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                ended = file.read().rsplit(")", 1)[1].split()[0] == "Z"
            return not ended or len(os.listdir(f"/proc/{pid}/task")) > 1
        except OSError:
            return False

    def kill(self):
        pid = self.pid()
        check(pid is not None, f"{self.pidfile} is missing")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not self.alive(), 30, "the killed server is gone")

    def stop(self):
        if self.alive():
            self.kill()

    def log_tail(self, lines=25):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as file:
                return "".join(file.readlines()[-lines:])
        except OSError:
            return ""


class Nodes:
    """Stops what was started, and shows the logs when something failed."""

    def __init__(self):
        self.all = []

    def __enter__(self):
        return self

    def add(self, *arguments, **keywords):
        node = Node(*arguments, **keywords)
        self.all.append(node)
        return node.start()

    def __exit__(self, kind, error, trace):
        for node in self.all:
            if error is not None:
                sys.stderr.write(f"--- {node.log_path}\n{node.log_tail()}\n")
            node.stop()


def online(master, count):
    def seen():
        info = master.info("replication")
        return info.get("connected_slaves") == str(count) and all(
            "state=online" in info.get(f"slave{i}", "") for i in range(count))
    wait_for(seen, 60, f"{count} replicas online at {master.port}")


def in_step(master, *replicas):
    """All replicas acknowledged everything the master has. PINGs move the offset on, so it is asked anew each time."""
    def equal():
        offset = int(master.info("replication")["master_repl_offset"])
        return all(int(replica.info("replication")["slave_repl_offset"]) >= offset for replica in replicas)
    wait_for(equal, 60, "replicas are in step")


def has(node, key, value):
    wait_for(lambda: node.cli("GET", key) == value, 30, f"{key} at {node.port}")


def three_nodes(nodes, workspace, *extra):
    master = nodes.add(workspace, "master", None, *extra)
    return master, nodes.add(workspace, "replica1", master, *extra), nodes.add(workspace, "replica2", master, *extra)


def test_usual_deployment():
    with Workspace() as workspace, Nodes() as nodes:
        master, one, two = three_nodes(nodes, workspace)
        online(master, 2)
        info = master.info("replication")
        check(info["role"] == "master", info)
        ports = set()
        for i in range(2):
            fields = dict(part.split("=") for part in info[f"slave{i}"].split(","))
            check(fields["ip"] == "127.0.0.1" and int(fields["offset"]) >= 0 and int(fields["lag"]) <= 2, fields)
            ports.add(int(fields["port"]))
        check(ports == {one.port, two.port}, ports)
        check(master.cli("SET", "name", "yingges") == "OK", "SET at the master")
        for replica in (one, two):
            has(replica, "name", "yingges")
            view = replica.info("replication")
            check(view["role"] == "slave" and view["master_link_status"] == "up", view)
            check(view["master_replid"] == master.info("replication")["master_replid"], view)
            reply = replica.cli("SET", "name2", "redis")
            check(reply == "READONLY You can't write against a read only replica.", reply)
        with master.client() as client:
            client.call("SET", "waited", "1")
            check(client.call("WAIT", 2, 10000) == 2, "WAIT counts both replicas")
            check(client.call("WAITAOF", 1, 2, 10000) == [1, 2], "WAITAOF")
            role = client.call("ROLE")
            check(role[0] == b"master" and len(role[2]) == 2, role)
        with one.client() as client:
            role = client.call("ROLE")
            check(role[0] == b"slave" and role[2] == master.port and role[3] == b"connected", role)


def test_passwords_and_min_slaves():
    with Workspace() as workspace, Nodes() as nodes:
        master, one, two = three_nodes(nodes, workspace, "requirepass 123123", "masterauth 123123",
                                       "min-slaves-to-write 2", "min-slaves-max-lag 10")
        online(master, 2)
        check(master.cli("SET", "a", "1") == "OK", "a write with two good replicas")
        has(one, "a", "1")
        has(two, "a", "1")
        check(two.alive(), "the replica runs")
        two.cli("SHUTDOWN")
        wait_for(lambda: not two.alive(), 30, "SHUTDOWN ends the replica")
        check(not os.path.exists(two.pidfile), "a clean end removes the pidfile")
        wait_for(lambda: master.cli("SET", "b", "2") == "NOREPLICAS Not enough good replicas to write.", 30, "NOREPLICAS")
        check(master.cli("GET", "a") == "1", "reads go on")
        two.start()
        online(master, 2)
        wait_for(lambda: master.cli("SET", "b", "2") == "OK", 30, "writes are accepted again")
        has(two, "b", "2")


def test_master_killed_and_restarted():
    with Workspace() as workspace, Nodes() as nodes:
        master, one, two = three_nodes(nodes, workspace)
        online(master, 2)
        with master.client() as client:
            client.pipeline([("SET", f"key:{i}", f"value:{i}") for i in range(2000)])
            client.call("MULTI")
            client.call("SET", "in", "multi")
            client.call("INCR", "counter")
            client.call("EXEC")
        in_step(master, one, two)
        before = master.info("replication")
        master.kill()
        wait_for(lambda: one.info("replication")["master_link_status"] == "down", 30, "the replica sees the link down")
        check(one.cli("GET", "key:7") == "value:7", "a replica without master serves its data")
        master.start()
        online(master, 2)
        check(master.info("replication")["master_replid"] == before["master_replid"], "the history keeps its name")
        with master.client() as client:
            replies = client.pipeline([("GET", f"key:{i}") for i in range(2000)])
            check(replies == [b"value:%d" % i for i in range(2000)], "every key is there after SIGKILL")
        stats = master.info("stats")
        check(stats["sync_full"] == "0" and stats["sync_partial_ok"] == "2", stats)
        master.cli("SET", "after", "restart")
        for replica in (one, two):
            has(replica, "after", "restart")
            check(replica.cli("GET", "in") == "multi" and replica.cli("GET", "counter") == "1", "the transaction")


def test_replica_killed_and_restarted():
    with Workspace() as workspace, Nodes() as nodes:
        master, one, _ = three_nodes(nodes, workspace)
        online(master, 2)
        in_step(master, one)
        one.kill()
        master.cli("SET", "while", "away")
        one.start()
        has(one, "while", "away")
        stats = master.info("stats")
        check(stats["sync_full"] == "2" and stats["sync_partial_ok"] == "1", stats)


def test_chain_with_the_middle_killed():
    with Workspace() as workspace, Nodes() as nodes:
        top = nodes.add(workspace, "top")
        middle = nodes.add(workspace, "middle", top)
        online(top, 1)
        bottom = nodes.add(workspace, "bottom", middle)
        online(middle, 1)
        top.cli("SET", "first", "1")
        has(bottom, "first", "1")
        middle.kill()
        top.cli("SET", "second", "2")
        middle.start()
        has(bottom, "second", "2")
        check(middle.info("stats")["sync_full"] == "0", "the bottom resumed")
        check(top.info("stats")["sync_full"] == "1", "the middle resumed")
        in_step(top, middle, bottom)


def test_promotion_and_return_of_the_old_master():
    with Workspace() as workspace, Nodes() as nodes:
        master, one, two = three_nodes(nodes, workspace)
        online(master, 2)
        master.cli("SET", "k", "1")
        in_step(master, one, two)
        old_id = master.info("replication")["master_replid"]
        master.kill()
        check(one.cli("REPLICAOF", "NO", "ONE") == "OK", "promotion")
        view = one.info("replication")
        check(view["role"] == "master" and view["master_replid2"] == old_id and view["master_replid"] != old_id, view)
        two.cli("REPLICAOF", "127.0.0.1", one.port)
        wait_for(lambda: one.cli("SET", "k", "2") == "OK", 10, "the new master takes writes")
        has(two, "k", "2")
        master.start()
        master.cli("REPLICAOF", "127.0.0.1", one.port)
        has(master, "k", "2")
        check(one.info("stats")["sync_full"] == "0", "both came by partial resynchronization")
        # A role given at run time survives a restart.
        one.kill()
        one.start()
        check(one.info("replication")["role"] == "master", "the promotion survives a restart")


def test_replicaof_harms_nothing():
    with Workspace() as workspace, Nodes() as nodes:
        node = nodes.add(workspace, "alone")
        node.cli("SET", "k", "v")
        node.cli("REPLICAOF", "127.0.0.1", node.port)  # itself
        wait_for(lambda: "cannot follow itself" in node.info("replication").get("master_link_down_reason", ""), 30,
                 "following itself is refused")
        check(node.cli("GET", "k") == "v", "the data is there")
        node.cli("REPLICAOF", "127.0.0.1", free_port())  # nobody
        empty = nodes.add(workspace, "empty")
        node.cli("REPLICAOF", "127.0.0.1", empty.port)
        wait_for(lambda: "is empty" in node.info("replication").get("master_link_down_reason", ""), 30,
                 "an empty master does not replace data")
        check(node.cli("REPLICAOF", "NO", "ONE") == "OK", "back to master")
        check(node.cli("GET", "k") == "v" and node.cli("SET", "k", "w") == "OK", "and writable")


def test_full_sync_of_data_under_writes():
    with Workspace() as workspace, Nodes() as nodes:
        master = nodes.add(workspace, "master")
        with master.client() as client:
            for start in range(0, 20000, 2000):
                client.pipeline([("SET", f"key:{i}", f"value:{i}" * 10) for i in range(start, start + 2000)])
            client.call("SET", "big", b"x" * 3_000_000)  # a unit of several frames
            client.call("SELECT", 5)
            client.call("SET", "other", "database")
            check(client.call("SAVE") == "OK", "SAVE checkpoints")
            client.call("SET", "after", "the checkpoint")
            client.call("SELECT", 0)
            replica = Node(workspace, "replica", master)
            nodes.all.append(replica)
            replica.start()
            written = 0
            deadline = time.monotonic() + 60
            while "state=online" not in master.info("replication").get("slave0", ""):
                client.pipeline([("SET", f"during:{written + i}", "w") for i in range(100)])
                written += 100
                check(time.monotonic() < deadline, "the replica did not come online within 60 s")
            client.call("SET", "big2", b"y" * 3_000_000)
            check(client.call("WAIT", 1, 30000) == 1, "the replica caught up")
        stats = master.info("stats")
        check(stats["sync_full"] == "1", stats)
        in_step(master, replica)
        check(replica.cli("DBSIZE") == master.cli("DBSIZE"), "the same number of keys")
        check(replica.cli("GET", "key:19999") == "value:19999" * 10, "a key of the snapshot")
        check(replica.cli("-n", 5, "GET", "other") == "database", "another database")
        check(replica.cli("-n", 5, "GET", "after") == "the checkpoint", "the stream after the snapshot")
        check(replica.cli("STRLEN", "big") == "3000000" and replica.cli("STRLEN", "big2") == "3000000", "big values")
        # The copy survives a restart and resumes.
        replica.kill()
        master.cli("SET", "one", "more")
        replica.start()
        has(replica, "one", "more")
        check(master.info("stats")["sync_full"] == "1", "resumed by partial resynchronization")


def test_a_replica_that_cannot_merge_holds_the_stream_back():
    """A replica whose checkpoints do not get on keeps what it cannot take in the master's log, not in its memory."""
    with Workspace() as workspace, Nodes() as nodes:
        master = nodes.add(workspace, "master")
        replica = nodes.add(workspace, "replica", master, "memtable-size 1mb", "repl-timeout 5")
        online(master, 1)
        in_step(master, replica)
        with open(os.path.join(replica.directory, "CURRENT"), encoding="ascii", errors="replace") as file:
            generation = file.read().split()[0]
        run = os.path.join(replica.directory, generation, "run")
        os.rename(run, run + ".away")
        with open(run, "w", encoding="ascii"):
            pass  # a file where the directory belongs: no run can be written
        with master.client() as client:
            for start in range(0, 60000, 2000):
                client.pipeline([("SET", f"key:{i}", "v" * 1000) for i in range(start, start + 2000)])
        largest = 0
        deadline = time.monotonic() + 8  # beyond repl-timeout: it is not the master that is silent
        while time.monotonic() < deadline:
            largest = max(largest, int(replica.info("everything")["holdfast_memtable_bytes"]))
            time.sleep(0.1)
        check(1_000_000 < largest < 30_000_000, f"{largest} bytes in the memtable")
        check(replica.info("replication")["master_link_status"] == "up", replica.info("replication"))
        os.remove(run)
        os.rename(run + ".away", run)
        in_step(master, replica)
        check(replica.cli("DBSIZE") == master.cli("DBSIZE"), "the same number of keys")
        stats = master.info("stats")
        check(stats["sync_full"] == "1" and stats["sync_partial_ok"] == "0", f"no other link: {stats}")


def main():
    if REDIS_CLI is None:
        print("redis-cli is not installed (Debian: redis-tools)")
        return 77
    return run_tests(globals())


if __name__ == "__main__":
    sys.exit(main())
