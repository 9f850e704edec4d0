#!/usr/bin/env python3
"""Failover by the real redis-sentinel: three sentinels watch one master and two replicas. In every round a client finds
the master by asking a sentinel and writes; then the master is killed, or stopped for longer than the sentinels wait, or a
planned `SENTINEL FAILOVER` is asked for. What must hold after each: one master all sentinels agree on, writes answered
by it, every write the replicas had confirmed (WAIT) still there, the old master back as a replica, and all three nodes
with the same content.

  --rounds N     rounds; kills, stops and planned failovers take turns (3)
  --peer redis   the same with redis-server in place of Holdfast, for comparing times
"""

import argparse
import os
import shutil
import subprocess
import sys
import time

from holdfast_testing import (Client, Disconnected, ReplyError, Workspace, check, free_port, wait_for)

NAME = "holdfast-test"
PASSWORD = "123123"


def fields_of(flat):
    return dict(zip(flat[::2], flat[1::2]))


class Sentinel:
    """A redis-sentinel process that watches the master at `port` of `host`. It listens at `own`, another host and port."""

    def __init__(self, workspace, number, port, host="127.0.0.1", own=None, prefix=(), extra=()):
        self.directory = os.path.join(workspace.path, f"sentinel{number}")
        os.makedirs(self.directory)
        self.host, self.port = own or ("127.0.0.1", free_port())
        self.log_path = os.path.join(self.directory, "sentinel.log")
        config = os.path.join(self.directory, "sentinel.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write("\n".join([
                f"port {self.port}", f"bind {self.host}", f"dir {self.directory}", f"logfile {self.log_path}",
                f"sentinel monitor {NAME} {host} {port} 2", f"sentinel auth-pass {NAME} {PASSWORD}",
                f"sentinel down-after-milliseconds {NAME} 1000", f"sentinel failover-timeout {NAME} 6000",
                f"sentinel parallel-syncs {NAME} 2", *extra, ""]))
        binary = shutil.which("redis-sentinel") or shutil.which("redis-server")
        self.process = subprocess.Popen([*prefix, binary, config, "--sentinel"], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def show_log(self):
        """Its end, to standard error."""
        with open(self.log_path, encoding="utf-8") as log:
            sys.stderr.write(f"--- {self.log_path}\n" + "".join(log.readlines()[-25:]))

    def ask(self, *arguments):
        with Client(self.port, self.host, timeout=5) as client:
            return client.call("SENTINEL", *arguments)

    def master_address(self):
        host, port = self.ask("get-master-addr-by-name", NAME)
        return host.decode(), int(port)

    def master_port(self):
        return self.master_address()[1]

    def knows(self, replicas, sentinels):
        fields = fields_of(self.ask("master", NAME))
        # A sentinel that still remembers a replica as the master it was would demote it after the next failover.
        seen = [fields_of(replica) for replica in self.ask("replicas", NAME)]
        return (int(fields[b"num-slaves"]) == replicas and int(fields[b"num-other-sentinels"]) == sentinels and
                fields[b"flags"] == b"master" and
                all(replica[b"role-reported"] == b"slave" and replica[b"flags"] == b"slave" for replica in seen))

    def stop(self):
        self.process.kill()
        self.process.wait()


class Deployment:
    def __init__(self, workspace, peer):
        make = workspace.redis if peer == "redis" else workspace.server
        common = ["--requirepass", PASSWORD, "--masterauth", PASSWORD, "--repl-ping-replica-period", "1"]
        if peer == "redis":
            common += ["--appendonly", "yes", "--appendfsync", "always", "--repl-diskless-sync-delay", "0"]
        self.nodes = []
        for number in range(3):
            port = free_port()
            directory = os.path.join(workspace.path, f"node{number}")
            os.makedirs(directory)
            # Sentinel changes the role by CONFIG REWRITE: a configuration file is part of the deployment.
            config = os.path.join(directory, "node.conf")
            with open(config, "w", encoding="ascii") as file:
                if number:
                    file.write(f"replicaof 127.0.0.1 {self.nodes[0].port}\n")
            node = make(f"node{number}", *common, port=port)
            node.config = config
            node.password = PASSWORD
            self.nodes.append(node)
        for node in self.nodes:
            node.start()
        self.settled(self.nodes[0].port)
        self.sentinels = [Sentinel(workspace, number, self.nodes[0].port) for number in range(3)]
        wait_for(lambda: all(s.knows(2, 2) for s in self.sentinels), 60, "sentinels that know each other and the replicas")

    def node(self, port):
        return next(node for node in self.nodes if node.port == port)

    def info(self, node):
        with node.client(timeout=5) as client:
            return client.info("replication")

    def settled(self, first=None):
        """The port of the master that all sentinels name (`first` before there are any), when the other two follow it and
        have what it has. On a busy machine sentinels may elect twice: which one it is, is known only then."""
        def condition():
            port = first or self.agreed_master()
            if port is None:
                return False
            master = self.info(self.node(port))
            if master["role"] != "master" or master["connected_slaves"] != "2":
                return False
            for node in self.nodes:
                if node.port == port:
                    continue
                fields = self.info(node)
                if (fields["role"] != "slave" or fields["master_port"] != str(port) or
                        fields["master_link_status"] != "up" or
                        fields["slave_repl_offset"] != master["master_repl_offset"]):
                    return False
            return port
        return wait_for(condition, 90, "both others following the master")

    def agreed_master(self, not_port=None):
        ports = {sentinel.master_port() for sentinel in self.sentinels}
        return ports.pop() if len(ports) == 1 and not_port not in ports else None

    def stop(self):
        for sentinel in self.sentinels:
            sentinel.stop()


class Writer:
    """A client that goes where a sentinel sends it. `confirmed` are the writes both replicas had acknowledged."""

    def __init__(self, deployment):
        self.deployment = deployment
        self.confirmed = {}
        self.count = 0

    def write(self, replicas=2):
        """One write through whoever is master now; True when it was answered."""
        self.count += 1
        key, value = f"key:{self.count % 500}", f"value:{self.count}"
        self.confirmed.pop(key, None)
        try:
            port = self.deployment.sentinels[0].master_port()
            with self.deployment.node(port).client(timeout=2) as client:
                client.call("SET", key, value)
                if client.call("WAIT", replicas, 1000) == 2:
                    self.confirmed[key] = value
            return True
        except (OSError, Disconnected, ReplyError):
            return False

    def burst(self, count):
        port = self.deployment.sentinels[0].master_port()
        with self.deployment.node(port).client() as client:
            for _ in range(count):
                self.count += 1
                key, value = f"key:{self.count % 500}", f"value:{self.count}"
                check(client.call("SET", key, value) == "OK", "a write was refused")
                self.confirmed[key] = value
            check(client.call("WAIT", 2, 10000) == 2, "the replicas did not confirm")

    def verify(self, node):
        keys = sorted(self.confirmed)
        with node.client() as client:
            values = client.pipeline([("GET", key) for key in keys])
        for key, value in zip(keys, values):
            check(value == self.confirmed[key].encode(), f"{key} on port {node.port}: {value}, not {self.confirmed[key]}")


def one_round(deployment, writer, number):
    kind = ("kill", "planned", "stop")[number % 3]
    old_port = deployment.agreed_master()
    old = deployment.node(old_port)
    writer.burst(200)
    begin = time.monotonic()
    if kind == "kill":
        old.kill()
    elif kind == "stop":
        old.freeze()
    else:
        wait_for(lambda: deployment.sentinels[0].ask("failover", NAME) == "OK", 30, "SENTINEL FAILOVER")
    wait_for(lambda: deployment.agreed_master(not_port=old_port), 60, "another master")
    wait_for(lambda: writer.write(replicas=0 if kind != "planned" else 1), 60, "an answered write after the failover")
    outage = time.monotonic() - begin
    if kind == "kill":
        old.start()
    elif kind == "stop":
        old.thaw()
    new_port = deployment.settled()
    writer.burst(50)
    for node in deployment.nodes:
        writer.verify(node)
    wait_for(lambda: all(s.knows(2, 2) for s in deployment.sentinels), 60, "sentinels content again")
    with open(old.config, encoding="utf-8") as file:
        text = file.read()
    follows = f"replicaof 127.0.0.1 {new_port}" in text or f'replicaof "127.0.0.1" {new_port}' in text
    check(follows or new_port == old_port, f"CONFIG REWRITE did not reach the old master's file:\n{text}")
    with deployment.node(new_port).client() as client:
        stats = client.info("stats")
    print(f"round {number} {kind}: {outage:.2f} s without writes; new master: sync_full {stats['sync_full']}, "
          f"sync_partial_ok {stats['sync_partial_ok']}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", choices=["holdfast", "redis"], default="holdfast")
    options = parser.parse_args()
    with Workspace() as workspace:
        deployment = Deployment(workspace, options.peer)
        try:
            writer = Writer(deployment)
            for number in range(options.rounds):
                one_round(deployment, writer, number)
        except BaseException:
            for sentinel in deployment.sentinels:
                sentinel.show_log()
            raise
        finally:
            deployment.stop()
    print(f"passed: {options.rounds} rounds, {writer.count} writes", flush=True)


if __name__ == "__main__":
    main()
