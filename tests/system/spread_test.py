#!/usr/bin/env python3
"""packaging/spread.py: two masters with replicas behind a nutcracker, under real sentinels. A master is killed, and clients of the
proxy find everything that was acknowledged; a restart of the whole keeps data and roles. Skipped (77) without nutcracker."""

import os
import shutil
import signal
import socket
import subprocess
import sys

from holdfast_testing import SERVER, Client, Disconnected, Workspace, check, free_port, wait_for

SCRIPT = os.path.join(os.environ.get("HOLDFAST_SOURCE", "."), "packaging", "spread.py")
PASSWORD = "123123"
SHARDS, NODES = 2, 3


def port_range(count):
    """The first of `count` free ports."""
    while True:
        first = free_port()
        probes = []
        try:
            for port in range(first, first + count):
                probes.append(socket.socket())
                probes[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for probe in probes:
                probe.close()


class Constellation:
    def __init__(self, workspace):
        self.port = port_range(10 + 10 * SHARDS + NODES)
        self.output = os.path.join(workspace.path, "output")
        self.password_file = os.path.join(workspace.path, "password")
        with open(self.password_file, "w", encoding="ascii") as file:
            file.write(PASSWORD)
        self.directory = os.path.join(workspace.path, "spread")
        self.process = None

    def start(self):
        before = self.said("ready:")
        with open(self.output, "ab") as output:
            # pylint: disable=consider-using-with
            self.process = subprocess.Popen(
                [sys.executable, SCRIPT, self.directory, "--port", str(self.port), "--server", SERVER, "--password-file",
                 self.password_file, "--down-after-ms", "1000", "--restart-after", "3600"], stdout=output, stderr=output)

        def ready():
            check(self.process.poll() is None, "the script ended")
            return self.said("ready:") > before
        wait_for(ready, 120, "the constellation being ready")

    def said(self, text):
        if not os.path.exists(self.output):
            return 0
        with open(self.output, encoding="utf-8") as file:
            return file.read().count(text)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(300)
            except subprocess.TimeoutExpired:
                with open(self.output, encoding="utf-8") as file:
                    sys.stderr.write(file.read())
                subprocess.run(["ps", "-ef", "--forest"], stdout=sys.stderr, check=False)
                raise

    def node(self, shard, node):
        client = Client(self.port + 10 + 10 * shard + node)
        client.call("AUTH", PASSWORD)
        return client

    def masters(self):
        found = []
        for shard in range(SHARDS):
            for node in range(NODES):
                try:
                    with self.node(shard, node) as client:
                        if client.info("replication")["role"] == "master":
                            found.append((shard, node))
                except (OSError, Disconnected):
                    continue
        return found

    def proxy(self):
        client = Client(self.port, timeout=10)
        client.call("AUTH", PASSWORD)
        return client

    def written(self, key, value):
        """Once the proxy and the shard behind it take it."""
        def attempt():
            with self.proxy() as client:
                return client.ask("SET", key, value) == "OK"
        wait_for(attempt, 120, f"a write of {key}")


def verify(constellation, expected):
    def equal():
        with constellation.proxy() as client:
            keys = sorted(expected)
            values = client.call("MGET", *keys)
            wrong = [key for key, value in zip(keys, values) if value != expected[key].encode()]
            check(not wrong, f"{len(wrong)} keys differ: {wrong[:5]}")
            return True
    wait_for(equal, 60, "an answer of the proxy")


def run(workspace):
    constellation = Constellation(workspace)
    expected = {}
    try:
        constellation.start()
        with constellation.proxy() as client:
            for i in range(300):
                check(client.call("SET", f"key:{i}", f"value:{i}") == "OK", "a write")
                expected[f"key:{i}"] = f"value:{i}"
            check(client.call("MSET", "{a}1", "x", "{a}2", "y") == "OK", "of one shard")
        verify(constellation, expected)
        check(constellation.masters() == [(0, 0), (1, 0)], constellation.masters())
        for shard in range(SHARDS):
            with constellation.node(shard, 0) as client:
                check(50 < client.call("DBSIZE") < 300, "keys on each shard")
                check(client.call("CONFIG", "GET", "min-replicas-durable")[1] == b"1", "each write on two disks")
        with constellation.node(0, 0) as client:
            pid = int(client.info("server")["process_id"])
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: constellation.said("shard0: "), 120, "the proxy being sent to another master")
        for i in range(300, 400):
            constellation.written(f"key:{i}", f"value:{i}")
            expected[f"key:{i}"] = f"value:{i}"
        verify(constellation, expected)
        promoted = next(node for shard, node in constellation.masters() if shard == 0)
        check(promoted != 0, constellation.masters())
        constellation.stop()
        constellation.start()
        wait_for(lambda: (0, promoted) in constellation.masters() and len(constellation.masters()) == SHARDS, 60,
                 "the masters of before")
        verify(constellation, expected)
        constellation.written("again", "1")
    except BaseException:
        with open(constellation.output, encoding="utf-8") as file:
            sys.stderr.write(file.read())
        raise
    finally:
        constellation.stop()


def main():
    if not all(map(shutil.which, ("nutcracker", "redis-sentinel", "redis-cli"))):
        print("no nutcracker or no redis-sentinel here: skipped")
        return 77
    with Workspace() as workspace:
        run(workspace)
    print("passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
