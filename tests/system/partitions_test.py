#!/usr/bin/env python3
"""A replication group under three real redis-sentinels, on a network that is cut: what was acknowledged stays.

A master and two members, three sentinels, and two clients that append to lists and read them, one of which stays with the
master that it has as long as that answers. Each round disturbs this, waits until all is well again, and looks at the whole
history (list_history.py): with `min-replicas-durable 1` no acknowledged write is lost, no read showed what was taken back, and
beyond the node that was being replaced all is linearizable. With --durable 0 nothing holds but this: every acknowledged write
that is not in the data is in the old master's file in diverged/, and nothing in that file is in the data.

  --rounds KIND,...   which rounds (see ROUNDS below; default: a short choice), --repeat N of them
  --durable N         min-replicas-durable; 2 is N = R: no promotion barrier, and no writes until the node that was away is back
  --network namespaces   real network namespaces in place of wires in this process (root)
  --peer redis        redis-server in place of Holdfast, for comparison: what is lost is counted
"""

import argparse
import glob
import os
import random
import re
import sys
import threading
import time

from holdfast_testing import Client, Disconnected, ReplyError, Workspace, check, seed_from_environment, wait_for
from list_history import History
from networks import Namespaces, Wires
from sentinel_test import NAME, PASSWORD, Sentinel

NODES = ["node0", "node1", "node2"]
SENTINELS = ["sentinel0", "sentinel1", "sentinel2"]
CLIENTS = ["left", "right"]
NOT_EXECUTED = ("NOREPLICAS", "READONLY", "LOADING", "MASTERDOWN", "NOAUTH", "NODATA")
LISTS = 4
PATIENCE_S = 120
PAUSE_S = 0.05  # between questions to many processes at once


class Deployment:
    def __init__(self, workspace, network, options):
        self.network, self.options = network, options
        for name in NODES + SENTINELS + CLIENTS:
            if name not in CLIENTS or options.network == "namespaces":
                network.add(name)
        self.nodes = {name: self._node(workspace, name) for name in NODES}
        for node in self.nodes.values():
            node.start()
        self.in_step("node0")
        if options.durable and options.peer == "holdfast":
            self._form_group()
        self.sentinels = []
        for number, name in enumerate(SENTINELS):
            host, port = network.address("node0")
            announced = network.address(name)
            self.sentinels.append(Sentinel(
                workspace, number, port, host, network.own(name), network.command(name),
                # Longer than a member may wait at the promotion barrier: else it is master late, when another one is, too.
                [f"sentinel failover-timeout {NAME} 30000", f"sentinel announce-ip {announced[0]}",
                 f"sentinel announce-port {announced[1]}"]))
            network.runs(name, lambda process=self.sentinels[-1].process: process.pid)
        self.content()

    def _node(self, workspace, name):
        network = self.network
        host, port = network.address(name)
        make = workspace.redis if self.options.peer == "redis" else workspace.server
        settings = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-ping-replica-period", 1, "--repl-timeout", 5,
                    "--replica-announce-ip", host, "--replica-announce-port", port]
        if self.options.peer == "redis":
            settings += ["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"]
            if self.options.durable:
                settings += ["--min-replicas-to-write", self.options.durable, "--min-replicas-max-lag", 3]
        else:
            settings += ["--min-replicas-durable-timeout", 1000, "--min-replicas-max-lag", 3]
        node = make(name, *settings, port=network.own(name)[1])
        node.host, node.prefix, node.password = network.own(name)[0], network.command(name), PASSWORD
        node.config = os.path.join(node.directory, "node.conf")
        with open(node.config, "w", encoding="ascii") as file:
            if name != "node0":
                file.write("replicaof {} {}\n".format(*network.address("node0")))
        network.runs(name, lambda: node.process.pid if node.process and node.process.poll() is None else None)
        return node

    def _form_group(self):
        with self.nodes["node0"].client() as client:
            client.call("CONFIG", "SET", "min-replicas-durable", self.options.durable)
            client.call("HOLDFAST", "MEMBERS", "SET", *("{}:{}".format(*self.network.address(name)) for name in NODES[1:]))
            wait_for(lambda: client.info("replication")["holdfast_group_settled"] == "1", PATIENCE_S, "the group is settled")

    def info(self, name, section="replication"):
        with self.nodes[name].client(timeout=5) as client:
            return client.info(section)

    def synchronizations(self):
        """Full and partial ones that all nodes granted, and rewinds they made, by their logs, which survive restarts."""
        marks = ((r"Synchronization with replica .* succeeded", r"Partial resynchronization request from .* accepted", "$.^")
                 if self.options.peer == "redis" else
                 (r"Full synchronization of replica", r"Partial resynchronization request from .* accepted",
                  r"going back from offset"))
        text = "".join(node.log_text() for node in self.nodes.values())
        return [len(re.findall(mark, text)) for mark in marks]

    def called(self, address):
        return next(name for name in NODES if self.network.address(name) == address)

    def in_step(self, master):
        """The two others follow it and have what it has."""
        def condition():
            ours = self.info(master)
            if ours["role"] != "master" or ours["connected_slaves"] != "2":
                return False
            for name in NODES:
                fields = self.info(name) if name != master else None
                if fields and (fields["role"] != "slave" or fields["master_link_status"] != "up" or
                               (fields["master_host"], int(fields["master_port"])) != self.network.address(master) or
                               fields["slave_repl_offset"] != ours["master_repl_offset"]):
                    return False
            return True
        wait_for(condition, PATIENCE_S, f"both others in step with {master}", PAUSE_S)

    def agreed(self, other_than=None):
        """The master all sentinels name."""
        named = {self.called(sentinel.master_address()) for sentinel in self.sentinels}
        return named.pop() if len(named) == 1 and other_than not in named else None

    def content(self):
        wait_for(lambda: all(sentinel.knows(2, 2) for sentinel in self.sentinels), PATIENCE_S, "sentinels that know everybody",
                 PAUSE_S)

    def stop(self):
        for sentinel in self.sentinels:
            sentinel.stop()


class AppendingClient(threading.Thread):
    """Appends and reads, one at a time. `held` is the name of the only node it may go to, while it is set."""

    def __init__(self, deployment, name, history, seed):
        super().__init__(daemon=True)
        self.deployment, self.called, self.history = deployment, name, history
        self.rng = random.Random(seed)
        self.held = None
        self.round = 0      # goes into the lists' names
        self.resting = threading.Event()
        self.rest = threading.Event()
        self.rest_over = threading.Event()
        self.ended = False
        self.count = 0
        self.node = self.connection = None

    def run(self):
        while not self.ended:
            if self.rest.is_set():
                self.resting.set()
                self.rest_over.wait()
            try:
                self._operation()
            except (OSError, Disconnected, ReplyError):
                self._leave()
                time.sleep(0.05)

    def pause(self):
        self.rest_over.clear()
        self.resting.clear()
        self.rest.set()
        check(self.resting.wait(PATIENCE_S), f"{self.called} does not come to rest")

    def go_on(self):
        self.rest.clear()
        self.rest_over.set()

    def _leave(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def _connect(self):
        self.node = self.held
        if not self.node:
            sentinel = self.rng.choice(self.deployment.sentinels)
            self.node = self.deployment.called(sentinel.master_address())
        self.connection = Client(connected=self.deployment.network.connect(self.called, self.node, 3))
        self.connection.call("AUTH", PASSWORD)

    def _operation(self):
        if self.held and self.node != self.held:
            self._leave()
        if not self.connection:
            self._connect()
        key, element = f"list:{self.round}:{self.rng.randrange(LISTS)}", None
        if self.rng.random() < 0.7:
            self.count += 1
            element = b"%s:%d;" % (self.called.encode(), self.count)
        operation = self.history.begin(self.called, self.node, key, element)
        try:
            reply = self.connection.ask("RPUSH", key, element) if element else self.connection.ask("LRANGE", key, 0, -1)
        except (OSError, Disconnected):
            self.history.end(operation, None)
            raise
        if not isinstance(reply, ReplyError):
            self.history.end(operation, reply)
            time.sleep(0.001)
            return
        if not str(reply).startswith(NOT_EXECUTED):
            check(str(reply).startswith(("NOTCONFIRMED", "UNBLOCKED")), f"{self.called}: {reply}")
            self.history.end(operation, None)
        if str(reply).startswith(("READONLY", "NOREPLICAS")):  # a replaced master is told so by sentinels only after 10 s
            self._leave()
        time.sleep(0.02)


class Rounds:
    """The disturbances. Each leaves the network whole and every process running; it returns the node that was replaced."""

    def __init__(self, deployment, clients, history, rng):
        self.deployment, self.network = deployment, deployment.network
        self.left, self.right = clients
        self.history, self.rng = history, rng

    def _replaced(self, old, begun, mend):
        """Waits for a new master that answers writes, and mends: before that, if writes need every node."""
        wait_for(lambda: self.deployment.agreed(other_than=old), PATIENCE_S, f"another master than {old}", PAUSE_S)
        needs_all = self.deployment.options.durable == len(NODES) - 1
        if needs_all:
            mend()
        first = wait_for(lambda: self.history.acknowledged(begun, set(NODES) - {old}), PATIENCE_S, "writes answered by it")
        if not needs_all:
            mend()
        return min(operation.ended for operation in first) - begun

    def kill(self, old):
        begun = time.monotonic()
        self.deployment.nodes[old].kill()
        return self._replaced(old, begun, self.deployment.nodes[old].start)

    def stop(self, old, seconds=0):
        begun = time.monotonic()
        self.deployment.nodes[old].freeze()

        def mend():
            if seconds:  # a length of the disturbance itself, not a wait for something
                time.sleep(max(0.0, begun + seconds - time.monotonic()))
            self.deployment.nodes[old].thaw()
        return self._replaced(old, begun, mend)

    def stop60(self, old):
        return self.stop(old, 60)

    def planned(self, old):
        begun = time.monotonic()
        wait_for(lambda: self.deployment.sentinels[0].ask("failover", NAME) == "OK", PATIENCE_S, "SENTINEL FAILOVER")
        return self._replaced(old, begun, self.network.heal)

    def kill_all(self, old):
        """The master and a member."""
        begun = time.monotonic()
        other = self.rng.choice([name for name in NODES if name != old])
        for name in (old, other):
            self.deployment.nodes[name].kill()
        for name in (other, old):
            self.deployment.nodes[name].start()
        wait_for(lambda: self.history.acknowledged(begun), PATIENCE_S, "writes")
        return min(operation.ended for operation in self.history.acknowledged(begun)) - begun

    def _apart(self, one_side, other_side, back_too=True):
        for a in one_side:
            for b in other_side:
                self.network.cut(a, b)
                if back_too:
                    self.network.cut(b, a)

    def _hold_left(self, old):
        self.left.held = old
        self.right.held = None

    def partition(self, old):
        """The master and a client of its on one side."""
        self._hold_left(old)
        wait_for(lambda: self.left.node == old, PATIENCE_S, "the client being with its master")
        begun = time.monotonic()
        self._apart([old, "left"], [name for name in NODES + SENTINELS + ["right"] if name != old])
        return self._replaced(old, begun, self.network.heal)

    def blind(self, old):
        """Sentinels lose sight of a master that its client and one member still see. Which member they take is chance."""
        self._hold_left(old)
        near, far = self.rng.sample([name for name in NODES if name != old], 2)
        chosen = self.rng.choice([near, far])
        for name in (near, far):
            with self.deployment.nodes[name].client() as client:
                client.call("CONFIG", "SET", "replica-priority", 10 if name == chosen else 100)
        wait_for(lambda: self.left.node == old, PATIENCE_S, "the client being with its master")
        begun = time.monotonic()
        self._apart([old], SENTINELS + ["right", far])
        self._apart(["left"], [near, far])
        return self._replaced(old, begun, self.network.heal)

    def deaf(self, old):
        """What the others send does not reach the master; they hear it."""
        self._hold_left(old)
        begun = time.monotonic()
        self._apart([name for name in NODES + SENTINELS + ["right"] if name != old], [old], back_too=False)
        return self._replaced(old, begun, self.network.heal)

    def mute(self, old):
        """What the master sends reaches nobody but its client."""
        self._hold_left(old)
        begun = time.monotonic()
        self._apart([old], [name for name in NODES + SENTINELS + ["right"] if name != old], back_too=False)
        return self._replaced(old, begun, self.network.heal)

    def bad(self, old):
        """Delay, loss, resets and one-way cuts between two nodes at a time; whether there is a failover is chance."""
        begun = time.monotonic()
        for _ in range(self.rng.randrange(4, 12)):
            self.network.delay_s, self.network.loss = self.rng.choice([0, 0.005, 0.05]), self.rng.choice([0, 0.01, 0.1])
            one, other = self.rng.sample(NODES + SENTINELS, 2)
            self.network.cut(one, other)
            time.sleep(self.rng.random())
            if self.rng.random() < 0.5:
                self.network.reset()
            if self.rng.random() < 0.5:
                self.network.heal()
        self.network.heal()
        wait_for(lambda: self.history.acknowledged(begun), PATIENCE_S, "writes")
        return max([0.0] + _gaps(self.history.acknowledged(begun)))


def _gaps(operations):
    ends = sorted(operation.ended for operation in operations)
    return [later - earlier for earlier, later in zip(ends, ends[1:])]


ROUNDS = ["kill", "stop", "stop60", "planned", "kill_all", "partition", "blind", "deaf", "mute", "bad"]


class Campaign:
    def __init__(self, deployment, options, seed):
        self.deployment, self.options = deployment, options
        self.history = History()
        self.clients = [AppendingClient(deployment, name, self.history, seed + i) for i, name in enumerate(CLIENTS)]
        self.rounds = Rounds(deployment, self.clients, self.history, random.Random(seed))
        self.acknowledged = self.lost = self.stale = 0
        self.synchronizations = deployment.synchronizations()
        self.outages = []
        self.number = 0

    def run(self, kinds):
        for client in self.clients:
            client.start()
        for number, kind in enumerate(kinds):
            self.one_round(kind, number + 1 < len(kinds))
        for client in self.clients:
            client.ended = True
        for client in self.clients:
            client.join(PATIENCE_S)
            check(not client.is_alive(), "a client that does not end")

    def one_round(self, kind, others_follow):
        deployment = self.deployment
        old = wait_for(deployment.agreed, PATIENCE_S, "a master", PAUSE_S)
        begun = time.monotonic()
        files = self._diverged()
        wait_for(lambda: len(self.history.acknowledged(begun)) > 100, PATIENCE_S, "writes flow")
        outage = getattr(self.rounds, kind)(old)
        deployment.network.heal()
        for client in self.clients:
            client.held = None
        if others_follow and kind != "kill_all":
            deployment.content()
        master = wait_for(deployment.agreed, PATIENCE_S, "one master", PAUSE_S)
        over = time.monotonic()
        wait_for(lambda: len(self.history.acknowledged(over, {master})) > 20, PATIENCE_S, "writes flow again")
        for client in self.clients:
            client.pause()
        deployment.in_step(master)
        self._verify(kind, old, begun, master, outage, files)
        for client in self.clients:
            client.round += 1
            client.go_on()
        self.number += 1

    def _diverged(self):
        return {path for node in self.deployment.nodes.values()
                for path in glob.glob(os.path.join(node.directory, "diverged", "*.log"))}

    def _verify(self, kind, old, begun, master, outage, files):
        contents = {}
        for name, node in self.deployment.nodes.items():
            with node.client() as client:
                for key in self.history.keys():
                    contents.setdefault(key, {})[name] = client.call("LRANGE", key, 0, -1)
        acknowledged = len(self.history.acknowledged(0))
        operations = stale = 0
        lost = [operation for key, lists in contents.items() for operation in self.history.lost(key, lists[master])]
        for key, lists in contents.items():
            check(all(each == lists[master] for each in lists.values()), f"{key} differs between the nodes")
            if self.options.durable and self.options.peer == "holdfast":
                found = self.history.verify(key, lists[master], [(old, begun, time.monotonic())])
                operations, stale = operations + found[0], stale + found[1]
        if self.options.peer == "holdfast":
            self._verify_diverged(lost, contents, master, self._diverged() - files)
        self.acknowledged += acknowledged
        self.lost += len(lost)
        self.stale += stale
        self.outages.append(outage)
        before, self.synchronizations = self.synchronizations, self.deployment.synchronizations()
        full, partial, rewinds = (now - then for now, then in zip(self.synchronizations, before))
        print(f"round {self.number} {kind}: {old} -> {master}, {outage:.2f} s without writes; {acknowledged} acknowledged, "
              f"{len(lost)} of them lost, {operations} operations in order, {stale} stale reads at {old}; "
              f"{full} full and {partial} partial synchronizations, {rewinds} rewinds", flush=True)
        self.history.operations.clear()

    def _verify_diverged(self, lost, contents, master, new_files):
        kept = set()
        for path in new_files:
            with open(path, "rb") as file:
                file.seek(4096)  # the segment's header shows the bytes before the fork
                kept |= set(re.findall(rb"(?:left|right):\d+;", file.read()))
        there = {element for lists in contents.values() for element in lists[master]}
        for operation in lost:
            check(operation.element in kept, f"{operation.element} was acknowledged by {operation.node}, is not in the data and "
                  f"not in {sorted(new_files)}")
        check(not kept & there, f"in a file of what was given up, and in the data: {sorted(kept & there)[:10]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", default="blind,kill")
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--durable", type=int, default=1)
    parser.add_argument("--network", choices=["wires", "namespaces"], default="wires")
    parser.add_argument("--peer", choices=["holdfast", "redis"], default="holdfast")
    options = parser.parse_args()
    kinds = options.rounds.split(",") * options.repeat
    check(set(kinds) <= set(ROUNDS), f"rounds are {ROUNDS}")
    seed = seed_from_environment()
    network = (Namespaces if options.network == "namespaces" else Wires)(seed)
    try:
        with Workspace() as workspace:
            deployment = Deployment(workspace, network, options)
            try:
                campaign = Campaign(deployment, options, seed)
                first = campaign.synchronizations
                campaign.run(kinds)
                full, partial, rewinds = (now - then for now, then in zip(deployment.synchronizations(), first))
            except BaseException:
                for sentinel in deployment.sentinels:
                    sentinel.show_log()
                raise
            finally:
                deployment.stop()
    finally:
        network.stop()
    print(f"passed: {len(kinds)} rounds, {campaign.acknowledged} acknowledged writes, {campaign.lost} of them lost, "
          f"{campaign.stale} stale reads at replaced nodes; {full} full and {partial} partial synchronizations, {rewinds} rewinds; "
          f"{sum(campaign.outages) / len(kinds):.2f} s without writes on average, {max(campaign.outages):.2f} at most", flush=True)


if __name__ == "__main__":
    main()
