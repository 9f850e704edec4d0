#!/usr/bin/env python3
"""Several Holdfast masters behind one twemproxy (Debian: nutcracker), each with replicas, watched by three redis-sentinels.

    packaging/spread.py DIR [--shards 2] [--replicas 2] [--durable 1] [--port 22121] [--password-file FILE]

Starts all of it under DIR on 127.0.0.1, prints `ready` when the proxy serves, and stays in the foreground: it starts again what
died (after --restart-after seconds, so that sentinels act first), and when the sentinels have made another master of a
shard, it writes the proxy's configuration anew and restarts the proxy. SIGTERM or SIGINT stops everything; the same command
starts it again with the data and the roles it had. What it means and where it ends: docs/operations.md, "Spreading over machines".

Ports: the proxy P, the sentinels P+1 to P+3, the node j of shard i P+10+10i+j. On several machines, the files that this writes
are the ones to take: node.conf, sentinel.conf, nutcracker.yml.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import time

HOST = "127.0.0.1"
SENTINELS = 3


def write_once(path, lines):
    """Sentinels and servers rewrite their configurations: only the first start writes them."""
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        replace(path, lines)


def replace(path, lines):
    with open(path + ".tmp", "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o600)
        file.write("\n".join([*lines, ""]))
    os.replace(path + ".tmp", path)


class Process:
    """One of the constellation's processes."""

    def __init__(self, name, directory, command):
        self.name, self.directory, self.command = name, directory, command
        self.running = self.died = None

    def start(self):
        os.makedirs(self.directory, exist_ok=True)
        with open(os.path.join(self.directory, "output"), "ab") as output:
            self.running = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True)
        self.died = None

    def stop(self):
        if self.running and self.running.poll() is None:
            self.running.terminate()
            try:
                self.running.wait(30)
            except subprocess.TimeoutExpired:
                self.running.kill()
                self.running.wait()

    def care(self, restart_after):
        if self.running.poll() is None:
            return
        if self.died is None:
            print(f"{self.name} ended with status {self.running.returncode}", flush=True)
            self.died = time.monotonic()
        if time.monotonic() - self.died >= restart_after:
            self.start()


class Constellation:
    def __init__(self, options):
        self.options = options
        self.directory = os.path.abspath(options.directory)
        self.password = ""
        if options.password_file:
            with open(options.password_file, encoding="utf-8") as file:
                self.password = file.read().strip()
        self.shards = [f"shard{i}" for i in range(options.shards)]
        self.masters = {}
        self.stopping = False
        self.nodes = [self._node(i, j) for i in range(options.shards) for j in range(options.replicas + 1)]
        self.sentinels = [self._sentinel(number) for number in range(SENTINELS)]
        proxy = os.path.join(self.directory, "proxy")
        self.proxy = Process("the proxy", proxy, [
            "nutcracker", "-c", os.path.join(proxy, "nutcracker.yml"), "-s", str(options.port + 4), "-a", HOST,
            "-o", os.path.join(proxy, "nutcracker.log"), "-p", os.path.join(proxy, "pid")])

    def port(self, shard, node):
        return self.options.port + 10 + 10 * shard + node

    def _node(self, shard, node):
        directory = os.path.join(self.directory, f"shard{shard}", f"node{node}")
        lines = [f"port {self.port(shard, node)}", f"bind {HOST}", f"dir {directory}", f"replica-announce-ip {HOST}"]
        if self.password:
            lines += [f'requirepass "{self.password}"', f'masterauth "{self.password}"']
        if node:
            lines.append(f"replicaof {HOST} {self.port(shard, 0)}")
        config = os.path.join(directory, "node.conf")
        write_once(config, lines)
        return Process(f"shard{shard} node{node}", directory, [self.options.server, config])

    def _sentinel(self, number):
        directory = os.path.join(self.directory, f"sentinel{number}")
        lines = [f"port {self.options.port + 1 + number}", f"bind {HOST}", f"dir {directory}"]
        for shard, name in enumerate(self.shards):
            lines += [f"sentinel monitor {name} {HOST} {self.port(shard, 0)} 2",
                      f"sentinel down-after-milliseconds {name} {self.options.down_after_ms}",
                      f"sentinel failover-timeout {name} 30000",  # more than the promotion barrier's 20 s
                      f"sentinel parallel-syncs {name} {self.options.replicas}"]
            if self.password:
                lines.append(f'sentinel auth-pass {name} "{self.password}"')
        config = os.path.join(directory, "sentinel.conf")
        write_once(config, lines)
        return Process(f"sentinel{number}", directory, ["redis-sentinel", config])

    def ask(self, port, *command, password=""):
        """What redis-cli prints; empty if nobody answers."""
        environment = dict(os.environ, **({"REDISCLI_AUTH": password} if password else {}))
        try:
            done = subprocess.run(["redis-cli", "-h", HOST, "-p", str(port), *map(str, command)], capture_output=True,
                                  text=True, timeout=5, env=environment, check=False)
            return done.stdout.strip() if done.returncode == 0 else ""
        except subprocess.TimeoutExpired:
            return ""

    def until(self, condition, what, timeout=120):
        deadline = time.monotonic() + timeout
        while not condition():
            if self.stopping:
                raise SystemExit(0)
            if time.monotonic() > deadline:
                raise SystemExit(f"error: {what}: not within {timeout} s; see the files named output under {self.directory}")
            time.sleep(0.1)

    def named_by_sentinels(self):
        """{shard: (host, port)} as two sentinels of three say; a shard they do not agree on keeps what it has."""
        masters = dict(self.masters)
        for name in self.shards:
            answers = [self.ask(self.options.port + 1 + number, "SENTINEL", "get-master-addr-by-name", name).split()
                       for number in range(SENTINELS)]
            for answer in answers:
                if len(answer) == 2 and answers.count(answer) >= 2:
                    masters[name] = tuple(answer)
        return masters

    def form_groups(self):
        """min-replicas-durable, once: servers keep it in their logs."""
        for shard in range(self.options.shards):
            first = self.port(shard, 0)

            def settled(first=first):
                return "holdfast_group_settled:1" in self.ask(first, "INFO", "replication", password=self.password)
            replication = self.ask(first, "INFO", "replication", password=self.password)
            if "role:master" not in replication or "holdfast_group_epoch" in replication and settled():
                continue
            members = [f"{HOST}:{self.port(shard, node)}" for node in range(1, self.options.replicas + 1)]
            self.until(lambda first=first: self.ask(first, "INFO", "replication", password=self.password).count(
                "state=online") == self.options.replicas, f"the replicas of shard {shard}")
            self.ask(first, "CONFIG", "SET", "min-replicas-durable", self.options.durable, password=self.password)
            answer = self.ask(first, "HOLDFAST", "MEMBERS", "SET", *members, password=self.password)
            if answer != "OK":
                raise SystemExit(f"error: HOLDFAST MEMBERS SET on port {first}: {answer}")
            self.until(settled, f"the group of shard {shard}")

    def configure_proxy(self):
        lines = ["holdfast:", f"  listen: {HOST}:{self.options.port}", "  redis: true", "  hash: fnv1a_64", "  hash_tag: \"{}\"",
                 "  distribution: ketama", "  auto_eject_hosts: false", "  timeout: 5000", "  preconnect: true"]
        if self.password:
            lines.append(f"  redis_auth: {self.password}")
        # Keys belong to the shard's name, not to the address of its present master.
        lines += ["  servers:", *(f"   - {':'.join(self.masters[name])}:1 {name}" for name in self.shards)]
        replace(os.path.join(self.directory, "proxy", "nutcracker.yml"), lines)

    def proxy_serves(self):
        with socket.socket() as probe:
            return probe.connect_ex((HOST, self.options.port)) == 0

    def start(self):
        for node in self.nodes:
            node.start()
        if self.options.durable:
            self.until(lambda: all(self.ask(self.port(i, 0), "PING", password=self.password) == "PONG"
                                   for i in range(self.options.shards)), "the first nodes")
            self.form_groups()
        for sentinel in self.sentinels:
            sentinel.start()

        def all_named():
            self.masters = self.named_by_sentinels()
            return len(self.masters) == len(self.shards)
        self.until(all_named, "the sentinels naming a master of each shard")
        os.makedirs(self.proxy.directory, exist_ok=True)
        self.configure_proxy()
        self.proxy.start()
        self.until(self.proxy_serves, "the proxy")
        print(f"ready: {HOST}:{self.options.port}", flush=True)

    def watch(self):
        """Until a signal comes."""
        while not self.stopping:
            for process in [*self.nodes, *self.sentinels]:
                process.care(self.options.restart_after)
            self.proxy.care(0)
            masters = self.named_by_sentinels()
            for name in self.shards:
                if masters[name] != self.masters[name]:
                    print(f"{name}: {':'.join(self.masters[name])} -> {':'.join(masters[name])}", flush=True)
            if masters != self.masters:
                self.masters = masters
                self.configure_proxy()
                self.proxy.stop()  # it reads its configuration only once; clients connect again
                self.proxy.start()
            time.sleep(0.2)

    def stop(self):
        for process in [self.proxy, *self.sentinels, *self.nodes]:
            process.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--replicas", type=int, default=2)
    parser.add_argument("--durable", type=int, default=1, help="min-replicas-durable; 0: asynchronous")
    parser.add_argument("--port", type=int, default=22121)
    parser.add_argument("--password-file")
    parser.add_argument("--down-after-ms", type=int, default=3000, help="the sentinels' patience")
    parser.add_argument("--restart-after", type=float, default=10.0)
    parser.add_argument("--server", default=shutil.which("holdfast-server") or "build/release/holdfast-server")
    options = parser.parse_args()
    if not 0 <= options.durable <= options.replicas <= 9 or options.shards < 1:
        parser.error("0 <= durable <= replicas <= 9 and 1 <= shards must hold")
    for program in ("nutcracker", "redis-sentinel", "redis-cli", options.server):
        if not shutil.which(program):
            raise SystemExit(f"error: there is no {program} (Debian: nutcracker, redis-sentinel, redis-tools)")
    constellation = Constellation(options)

    def asked_to_stop(*_):
        # No exception: one that is raised in the wrong place is lost.
        constellation.stopping = True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, asked_to_stop)
    try:
        constellation.start()
        constellation.watch()
    finally:
        constellation.stop()


if __name__ == "__main__":
    main()
