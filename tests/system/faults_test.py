#!/usr/bin/env python3
"""Faults of the disk under a running server: full, failing, slow.

  full     writes are refused with a reason before the disk is full, DEL and reads go on, a kill loses nothing, and writes
           are accepted again by themselves once there is space
  failing  a failed write of the log ends the server with exit code 3; nothing is acknowledged after it; a restart is whole
  slow     while a sync hangs, PING and reads of durable data are answered at once, and the write is not; a replica does
           not tell of changes and messages that it does not have on disk

Failing and slow disks are made with strace's fault injection, a full one with a small tmpfs; both need rights that not
every place gives, and are skipped where they are missing.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from holdfast_testing import Disconnected, ReplyError, Workspace, check, wait_for

SKIPPED = 77


def can_mount(path):
    os.makedirs(path, exist_ok=True)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", path], capture_output=True,
                      check=False).returncode != 0:
        return False
    subprocess.run(["umount", path], check=True)
    return True


def full_disk(workspace):
    path = os.path.join(workspace.path, "small")
    if not can_mount(path):
        print("skipped: full disk (cannot mount a tmpfs here)")
        return False
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=160m", "none", path], check=True)
    try:
        server = workspace.server("small", "--log-segment-size", "4mb", "--memtable-size", "4mb",
                                  "--repl-backlog-size", "4mb", "--space-reserve", "24mb")
        server.log_path = os.path.join(workspace.path, "small.log")
        server.start()
        written = {}
        with server.client() as client:
            filler = os.path.join(path, "filler")
            refusal = None
            number = 0
            deadline = time.monotonic() + 60
            with open(filler, "wb", buffering=0) as file:
                while refusal is None:
                    check(time.monotonic() < deadline, "the disk is full and writes are still accepted")
                    if shutil.disk_usage(path).free > 10 << 20:
                        file.write(b"x" * (1 << 20))
                    reply = client.ask("SET", f"key{number % 50}", b"v" * 10000 + b"%d" % number)
                    if isinstance(reply, ReplyError):
                        refusal = str(reply)
                    else:
                        written[f"key{number % 50}"] = number
                        number += 1
            check(refusal.startswith("MISCONF"), f"refused, but with: {refusal}")
            check("reserve" in refusal or "space" in refusal, f"the refusal does not say why: {refusal}")
            check(client.call("GET", "key0") is not None, "reads go on")
            check(client.call("DEL", "key0") == 1, "DEL goes on")
            del written["key0"]
            check(client.call("CONFIG", "GET", "dir") is not None, "CONFIG goes on")
            server.kill()
        server.start()
        with server.client() as client:
            for key, value in written.items():
                check(client.call("GET", key).endswith(b"v%d" % value), f"{key} lost its last acknowledged value")
            check(client.call("EXISTS", "key0") == 0, "the acknowledged DEL is lost")
            wait_for(lambda: "MISCONF" in str(client.ask("SET", "probe", "1")), what="refusal after the restart")
            os.unlink(filler)
            wait_for(lambda: client.ask("SET", "probe", "2") == "OK", what="writes being accepted by themselves")
            check(client.call("GET", "probe") == b"2", "the write after it is there")
        check(server.terminate() == 0, "clean stop")
    finally:
        server.stop()
        subprocess.run(["umount", "-l", path], check=True)
    return True


def descriptors(server, pattern):
    """The server's descriptors whose file matches."""
    directory = f"/proc/{server.process.pid}/fd"
    found = []
    for name in os.listdir(directory):
        try:
            target = os.readlink(os.path.join(directory, name))
        except OSError:
            continue
        if re.search(pattern, target):
            found.append(int(name))
    return found


class Injection:
    """strace attached to a running server, tampering with writes to its log."""

    def __init__(self, server, what):
        generation = sorted((name for name in os.listdir(server.directory) if re.fullmatch(r"gen-\d+", name)),
                            key=lambda name: int(name[4:]))[-1]
        wal = os.path.join(server.directory, generation, "wal")
        path = sorted(name for name in os.listdir(wal) if name.endswith(".log") and re.match(r"\d{20}-", name))[-1]
        self.process = subprocess.Popen(
            ["strace", "-f", "-q", "-p", str(server.process.pid), "-o", "/dev/null",
             "-P", os.path.join(wal, path),
             "-e", "trace=pwrite64,fdatasync", "-e", f"inject=pwrite64,fdatasync:{what}"], stderr=subprocess.PIPE)
        wait_for(lambda: self.traced(server) or self.process.poll() is not None, what="strace being attached")
        self.works = self.process.poll() is None

    @staticmethod
    def traced(server):
        tasks = f"/proc/{server.process.pid}/task"
        for task in os.listdir(tasks):
            with open(os.path.join(tasks, task, "status"), encoding="ascii") as status:
                if "TracerPid:\t0\n" in status.read():
                    return False
        return True

    def detach(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()


def failing_disk(workspace):
    if shutil.which("strace") is None:
        print("skipped: failing disk (no strace)")
        return False
    server = workspace.server("failing").start()
    acked = 0
    with server.client() as client:
        for number in range(100):
            client.call("SET", "counter", number)
            acked = number
        injection = Injection(server, "error=EIO")
        # An idle server writes a durable mark: it may have met the error already.
        if not injection.works and server.process.poll() is None:
            print("skipped: failing disk (strace may not attach here)")
            return False
        sent = acked
        try:
            while True:
                client.send("SET", "counter", sent + 1)
                sent += 1
                reply = client.read()
                check(reply == "OK", f"a write on a failing disk was answered {reply}")
                acked = sent
                check(sent < 10000, "writes go on being acknowledged although the disk fails")
        except Disconnected:
            pass
    status = server.process.wait(30)
    injection.process.wait(30)
    check(status == 3, f"exit code {status} instead of 3:\n{server.log_tail()}")
    check("log could not be written" in server.log_text(), "the message does not name the log")
    server.start()
    with server.client() as client:
        now = int(client.call("GET", "counter"))
        check(acked <= now <= sent, f"after the restart the counter is {now}; acknowledged {acked}, sent {sent}")
    return True


def slow_disk(workspace):
    if shutil.which("strace") is None:
        print("skipped: slow disk (no strace)")
        return False
    server = workspace.server("slow").start()
    with server.client() as writer, server.client() as other, server.client() as closer:
        writer.call("SET", "durable", "1")
        hang_ms = 1500
        injection = Injection(server, f"delay_enter={hang_ms * 1000}")
        if not injection.works:
            print("skipped: slow disk (strace may not attach here)")
            return False
        try:
            done = threading.Event()
            began = time.monotonic()
            writer.send("SET", "slow", "1")
            closer.send("SET", "closing", "1")
            closer.socket.shutdown(socket.SHUT_WR)
            took = {}

            def read():
                took["write"] = (writer.read(), time.monotonic() - began)
                done.set()
            reader = threading.Thread(target=read)
            reader.start()
            slowest = 0.0
            asked = 0
            while not done.is_set() and time.monotonic() - began < hang_ms / 1000 * 0.8:
                before = time.monotonic()
                check(other.call("PING") == "PONG", "PING")
                check(other.call("GET", "durable") == b"1", "a durable value is readable")
                slowest = max(slowest, time.monotonic() - before)
                asked += 1
            reader.join()
            check(took["write"][0] == "OK", f"the slow write was answered {took['write'][0]}")
            check(closer.read() == "OK", "a client that has closed its sending side gets its answer")
            check(took["write"][1] >= hang_ms / 1000 * 0.9, "the write was acknowledged before its sync had ended")
            check(asked > 10, f"only {asked} PINGs in a hang of {hang_ms} ms")
            check(slowest < hang_ms / 1000 / 3, f"a PING took {slowest * 1000:.0f} ms during a sync that hangs")
            print(f"slow disk: {asked} PINGs during a hang of {hang_ms} ms, the slowest {slowest * 1000:.1f} ms")
        finally:
            injection.detach()
        check(writer.call("SET", "after", "1") == "OK", "writes go on afterwards")
    return True


def slow_disk_of_a_redis_replica(workspace):
    """As a replica of redis-server, whose stream is applied before it is appended."""
    if shutil.which("redis-server") is None:
        print("skipped: slow disk of a replica of redis-server (not installed)")
        return False
    return slow_disk_below(workspace, workspace.redis("redis", "--repl-diskless-sync-delay", "0").start())


def slow_disk_of_a_replica(workspace):
    return slow_disk_below(workspace, workspace.server("master").start())


def slow_disk_below(workspace, master):
    if shutil.which("strace") is None:
        print("skipped: slow disk of a replica (no strace)")
        return False
    replica = workspace.server("behind", "--replicaof", "127.0.0.1", master.port, "--notify-keyspace-events", "KEA")
    replica.start()
    with master.client() as writer, replica.client() as reader, replica.client() as listener:
        wait_for(lambda: reader.info("replication")["master_link_status"] == "up", 60, "the replica's link")
        for channel in ("__keyevent@0__:set", "news"):
            listener.call("SUBSCRIBE", channel)
        hang_ms = 1000
        injection = Injection(replica, f"delay_enter={hang_ms * 1000}")
        if not injection.works:
            print("skipped: slow disk of a replica (strace may not attach here)")
            return False
        try:
            for command, message in ((("SET", "key", "1"), [b"message", b"__keyevent@0__:set", b"key"]),
                                     (("PUBLISH", "news", "text"), [b"message", b"news", b"text"])):
                began = time.monotonic()
                writer.call(*command)
                check(listener.read() == message, f"{message} is told")
                took = time.monotonic() - began
                check(took >= hang_ms / 1000 * 0.9, f"{message} was told after {took:.3f} s, before it was on disk")
        finally:
            injection.detach()
    return True


def main():
    ran = 0
    for test in (full_disk, failing_disk, slow_disk, slow_disk_of_a_replica, slow_disk_of_a_redis_replica):
        with Workspace() as workspace:
            ran += bool(test(workspace))
    print(f"{ran} of 5 faults tested")
    return 0 if ran else SKIPPED


if __name__ == "__main__":
    sys.exit(main())
