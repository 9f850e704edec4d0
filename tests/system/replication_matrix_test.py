#!/usr/bin/env python3
"""The matrix: what every kind of interruption costs a replica, idle and under writes. For each case the kind of
resynchronization used, the time until all nodes are in step, equal content, and whether acknowledged writes were lost.

    replication_matrix_test.py [CASE ...] [--all] [--redis] [--failovers N] [--keys N] [--table]

Without arguments the cases run small and once each; --all runs each idle and under writes. --redis runs redis-server beside
it; --failovers N is the length of the last case (100 by hand), --keys N the size of the data set, --table prints
docs/replication.md's table.
"""

import argparse
import os
import re
import shutil
import signal
import sys
import threading
import time

from holdfast_testing import Disconnected, ReplyError, Workspace, check, wait_for


class Cluster:
    """A chain of servers, the first one the master, and what happened to them."""

    def __init__(self, workspace, redis, keys):
        self.workspace = workspace
        self.redis = redis
        self.keys = keys
        self.nodes = []

    def add(self, name, master=None, *options):
        make = self.workspace.redis if self.redis else self.workspace.server
        common = ["--repl-ping-replica-period", 1, "--repl-timeout", 10]
        if self.redis:
            # Durable and with history over restarts, as far as redis-server can: what an operator would set.
            common += ["--appendonly", "no", "--save", "3600", "1", "--repl-diskless-sync-delay", 0,
                       "--repl-backlog-size", "64mb"]
        else:
            common += ["--enable-debug-command", "yes"]
        follow = ["--replicaof", "127.0.0.1", master.port] if master else []
        node = make(name, *common, *follow, *options)
        self.nodes.append(node)
        return node.start()

    @staticmethod
    def call(node, *command):
        with node.client() as client:
            return client.call(*command)

    @staticmethod
    def info(node, section="everything"):
        with node.client() as client:
            return client.info(section)

    def fill(self, node, prefix, count):
        with node.client() as client:
            for start in range(0, count, 1000):
                client.pipeline([("SET", f"{prefix}:{i}", f"{i}:" + "v" * 64)
                                 for i in range(start, min(count, start + 1000))])

    def in_step(self, master, replicas, timeout=90):
        def equal():
            there = self.info(master, "replication")
            for replica in replicas:
                here = self.info(replica, "replication")
                if here["master_link_status"] != "up" or here["master_replid"] != there["master_replid"]:
                    return False
                if int(here["slave_repl_offset"]) < int(there["master_repl_offset"]):
                    return False
            return True
        began = time.monotonic()
        wait_for(equal, timeout, "all nodes in step")
        return time.monotonic() - began

    def equal_content(self, nodes):
        """Of nodes in step. Only where a key expires or a command is on its way can digests differ for a moment."""
        try:
            wait_for(lambda: len({self.call(node, "DEBUG", "DIGEST") for node in nodes}) == 1, 60, "equal digests")
        except AssertionError:
            check(self.redis, "digests differ: " + ", ".join(node.log_path for node in nodes))
            return False
        return True

    def missing(self, node, keys):
        with node.client() as client:
            return sum(reply != 1 for start in range(0, len(keys), 1000)
                       for reply in client.pipeline([("EXISTS", key) for key in keys[start:start + 1000]]))

    def counts(self):
        """Per node: (full, partial) synchronizations it granted and rewinds it made, by its log, which survives restarts."""
        marks = ((r"Synchronization with replica .* succeeded", r"Partial resynchronization request from .* accepted", "$.^")
                 if self.redis else
                 (r"Full synchronization of replica", r"Partial resynchronization request from .* accepted",
                  r"going back from offset"))
        found = {}
        for node in self.nodes:
            text = node.log_text() if os.path.exists(node.log_path) else ""
            found[node.port] = tuple(len(re.findall(mark, text)) for mark in marks)
        return found

    def since(self, before):
        """What happened after counts() gave `before`. A log that is shorter now began anew."""
        total = [0, 0, 0]
        for port, now in self.counts().items():
            earlier = before.get(port, (0, 0, 0))
            for i in range(3):
                total[i] += now[i] - earlier[i] if now[i] >= earlier[i] else now[i]
        return tuple(total)


class Load:
    """Writes to a node as fast as one client can, until told to stop; goes over to another node when told."""

    def __init__(self, on, node):
        self.node = node
        self.running = on
        self.written = 0
        self.thread = threading.Thread(target=self._run, daemon=True)
        if on:
            self.thread.start()

    def goes_on(self):
        """Some more is written, if anything is."""
        if self.running:
            target = self.written + 500
            wait_for(lambda: self.written >= target, 60, "the load goes on")

    def _run(self):
        client = None
        while self.running:
            try:
                if client is None:
                    client = self.node.client(timeout=5)
                    port = self.node.port
                if port != self.node.port:
                    client.close()
                    client = None
                    continue
                replies = client.pipeline([("SET", f"load:{self.written + i}", "w" * 100) for i in range(50)])
                if any(isinstance(reply, ReplyError) for reply in replies):
                    time.sleep(0.01)
                else:
                    self.written += 50
            except (OSError, Disconnected):
                client = None
                time.sleep(0.01)

    def stop(self):
        if self.running:
            self.running = False
            self.thread.join(30)

    def acknowledged(self):
        return [f"load:{i}" for i in range(self.written)]


def stop_cleanly(node):
    check(node.terminate(60) == 0, "a clean stop")


# ---- cases: each disturbs a running cluster and returns (master, replicas) as they should be afterwards ------------------

def link_cut(cluster, master, replicas, load):
    cluster.call(replicas[0], "REPLICAOF", "127.0.0.1", 1)
    load.goes_on()
    cluster.call(replicas[0], "REPLICAOF", "127.0.0.1", master.port)
    return master, replicas


def replica_killed(cluster, master, replicas, load):
    replicas[0].kill()
    load.goes_on()
    replicas[0].start()
    return master, replicas


def replica_restarted(cluster, master, replicas, load):
    stop_cleanly(replicas[0])
    replicas[0].start()
    return master, replicas


def master_killed(cluster, master, replicas, load):
    master.kill()
    master.start()
    return master, replicas


def master_restarted(cluster, master, replicas, load):
    stop_cleanly(master)
    master.start()
    return master, replicas


def both_killed(cluster, master, replicas, load):
    master.kill()
    replicas[0].kill()
    master.start()
    replicas[0].start()
    return master, replicas


def middle_of_a_chain_killed(cluster, master, replicas, load):
    below = cluster.add("below", replicas[0])
    cluster.in_step(master, replicas + [below])
    cluster.before = cluster.counts()
    replicas[0].kill()
    replicas[0].start()
    return master, replicas + [below]


def promote(cluster, node, others):
    cluster.call(node, "REPLICAOF", "NO", "ONE")
    for other in others:
        cluster.call(other, "REPLICAOF", "127.0.0.1", node.port)


def promotion_without_a_lost_tail(cluster, master, replicas, load):
    load.stop()
    cluster.in_step(master, replicas)
    master.kill()
    promote(cluster, replicas[0], replicas[1:])
    return replicas[0], replicas[1:]


def promotion_with_a_lost_tail(cluster, master, replicas, load):
    """The other replica has more than the promoted one."""
    replicas[0].freeze()
    cluster.fill(master, "ahead", 300)
    wait_for(lambda: cluster.call(replicas[1], "EXISTS", "ahead:299") == 1, 30, "the other one has it")
    load.stop()
    replicas[0].process.send_signal(signal.SIGKILL)
    replicas[0].process.wait()
    master.kill()
    replicas[0].start()
    promote(cluster, replicas[0], replicas[1:])
    return replicas[0], replicas[1:]


def old_master_with_more(cluster, master, replicas, load):
    promote(cluster, replicas[0], replicas[1:])
    cluster.fill(master, "lost", 500)
    load.node = replicas[0]
    cluster.fill(replicas[0], "kept", 200)
    master.kill()
    master.start()
    cluster.call(master, "REPLICAOF", "127.0.0.1", replicas[0].port)
    return replicas[0], replicas[1:] + [master]


def old_master_with_less(cluster, master, replicas, load):
    load.stop()
    cluster.in_step(master, replicas)
    master.kill()
    promote(cluster, replicas[0], replicas[1:])
    cluster.fill(replicas[0], "kept", 200)
    master.start()
    cluster.call(master, "REPLICAOF", "127.0.0.1", replicas[0].port)
    return replicas[0], replicas[1:] + [master]


def old_master_empty(cluster, master, replicas, load):
    load.stop()
    cluster.in_step(master, replicas)
    master.kill()
    promote(cluster, replicas[0], replicas[1:])
    load.node = replicas[0]
    shutil.rmtree(master.directory)
    os.makedirs(master.directory)
    master.start()
    cluster.call(master, "REPLICAOF", "127.0.0.1", replicas[0].port)
    return replicas[0], replicas[1:] + [master]


def write_burst_during_a_full_sync(cluster, master, replicas, load):
    fresh = cluster.add("fresh", master)
    for round_number in range(3):
        cluster.fill(master, f"burst{round_number}", 5000)
    return master, replicas + [fresh]


def failovers_in_a_row(cluster, master, replicas, load):
    nodes = [master] + replicas
    for round_number in range(cluster.failovers):
        old, new = nodes[0], nodes[1]
        cluster.call(old, "FAILOVER", "TO", "127.0.0.1", new.port, "TIMEOUT", 30000)
        wait_for(lambda: cluster.info(new, "replication")["role"] == "master", 60, "the target is master")
        wait_for(lambda: cluster.info(old, "replication")["role"] == "slave", 60, "the old one is not")
        load.node = new
        for other in nodes[2:]:
            cluster.call(other, "REPLICAOF", "127.0.0.1", new.port)
        cluster.in_step(new, [old] + nodes[2:])
        nodes = [new] + nodes[2:] + [old]
    return nodes[0], nodes[1:]


# name -> (what happens, full syncs at most, rewinds at least, must every acknowledged write of the load be kept)
CASES = {
    "link cut": (link_cut, 0, 0, True),
    "replica SIGKILL": (replica_killed, 0, 0, True),
    "replica clean restart": (replica_restarted, 0, 0, True),
    "master SIGKILL": (master_killed, 0, 0, True),
    "master clean restart": (master_restarted, 0, 0, True),
    "both SIGKILL": (both_killed, 0, 0, True),
    "middle of a chain SIGKILL": (middle_of_a_chain_killed, 0, 0, True),
    "promotion, no tail lost": (promotion_without_a_lost_tail, 0, 0, True),
    "promotion, tail lost": (promotion_with_a_lost_tail, 0, 1, False),
    "old master back with more": (old_master_with_more, 0, 1, False),
    "old master back with less": (old_master_with_less, 0, 0, True),
    "old master back empty": (old_master_empty, 1, 0, True),
    "write burst during a full sync": (write_burst_during_a_full_sync, 1, 0, True),
    "failovers in a row": (failovers_in_a_row, 0, 0, True),
}


def run(name, busy, arguments, redis):
    """The cells of a row of the table."""
    action, full_max, rewinds_min, kept = CASES[name]
    with Workspace() as workspace:
        cluster = Cluster(workspace, redis, arguments.keys)
        cluster.failovers = arguments.failovers
        master = cluster.add("a")
        cluster.fill(master, "key", arguments.keys)
        replicas = [cluster.add("b", master), cluster.add("c", master)]
        cluster.in_step(master, replicas)
        load = Load(busy, master)
        if busy:
            wait_for(lambda: load.written > 200, 30, "the load runs")
        cluster.before = cluster.counts()
        began = time.monotonic()
        try:
            master, replicas = action(cluster, master, replicas, load)
            load.goes_on()
        finally:
            load.stop()
        cluster.in_step(master, replicas)
        took = time.monotonic() - began
        full, partial, rewinds = cluster.since(cluster.before)
        equal = cluster.equal_content([master] + replicas)
        missing = cluster.missing(master, load.acknowledged())
        if not redis:
            reasons = [line for node in cluster.nodes for line in node.log_text().splitlines()
                       if "Full synchronization of replica" in line]
            check(full <= full_max, f"{name}: {full} full synchronizations: {reasons}")
            check(rewinds >= rewinds_min, f"{name}: {rewinds} rewinds")
            check(not kept or missing == 0, f"{name}: {missing} of {load.written} acknowledged writes are lost")
        used = f"{full}, {partial}" + ("" if redis else f", {rewinds}")
        return (used, f"{took:.1f}", "equal" if equal else "DIFFER", f"{missing} of {load.written}" if busy else "-")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--redis", action="store_true")
    parser.add_argument("--failovers", type=int, default=3)
    parser.add_argument("--keys", type=int, default=2000)
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--all", action="store_true")
    arguments = parser.parse_args()
    if arguments.table:
        print("| case | load | Holdfast: full, partial, rewinds | s | digests | lost |" +
              (" redis-server: full, partial | s | digests | lost |" if arguments.redis else ""))
        print("|---|---|---|---|---|---|" + ("---|---|---|---|" if arguments.redis else ""))
    for number, name in enumerate(arguments.cases or CASES):
        # In CI each case runs once, every other one under writes.
        for busy in (False, True) if arguments.all or arguments.table else (number % 2 == 1,):
            cells = (name, "writes" if busy else "idle") + run(name, busy, arguments, False)
            if arguments.redis:
                try:
                    cells += run(name, busy, arguments, True)
                except AssertionError as error:
                    cells += (str(error)[:60], "-", "-", "-")
            print(f"| {' | '.join(cells)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
