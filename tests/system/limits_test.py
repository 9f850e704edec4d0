#!/usr/bin/env python3
"""Limits on clients: many idle ones, pipelines of any depth in bounded memory, output limits, slow writers, maxclients,
idle timeout, few descriptors, huge arguments, limits before authentication, Unix socket, protected mode.

  limits_test.py --idle 10000 --deep 1000000 --huge 512     the sizes promised
"""

import argparse
import os
import resource
import select
import socket
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import PeakMemory, cpu_us, memory_bytes, sanitized  # noqa: E402  (path above)
from holdfast_testing import (SERVER, Client, Disconnected, ReplyError, Server, Workspace, check,  # noqa: E402
                              wait_for)

MIB = 1 << 20


def check_cost(condition, message):
    """Bounds of memory and CPU time, which do not hold under a sanitizer."""
    check(condition or sanitized(SERVER), message)


def error_of(reply):
    check(isinstance(reply, ReplyError), f"an error was expected, not {reply!r}")
    return str(reply)


def expect_closed(client, what):
    """Reads whatever still comes until the server closes."""
    try:
        while True:
            client.read()
    except Disconnected as error:
        check("timed out" not in str(error), f"{what}: the connection was not closed")


def connected_clients(client):
    return int(client.info("clients")["connected_clients"])


def idle_connections(workspace, options):
    """Thousands of idle connections cost little and slow nobody down."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    check(hard == resource.RLIM_INFINITY or hard > options.idle + 200, f"the descriptor limit {hard} is too low")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    server = workspace.server("idle", "--maxclients", options.idle + 100).start()
    pid = server.process.pid
    with server.client() as client:
        before = memory_bytes(pid)[0]
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(options.idle)]
        try:
            wait_for(lambda: connected_clients(client) == options.idle + 1, what="all connections accepted")
            for number in range(0, options.idle, 10):
                idle[number].sendall(b"PING\r\n")
            for number in range(0, options.idle, 10):
                check(idle[number].recv(100) == b"+PONG\r\n", f"idle connection {number} answers")
            grown = memory_bytes(pid)[0] - before
            print(f"{options.idle} connections: {grown / MIB:.1f} MiB private", flush=True)
            check_cost(grown < 16 * MIB + options.idle * 24 * 1024, f"{grown} bytes for {options.idle} idle connections")
            cpu, began = cpu_us(pid), time.monotonic()
            for _ in range(2000):
                check(client.call("PING") == "PONG", "PING beside idle connections")
            print(f"2000 PINGs took {time.monotonic() - began:.2f} s, {(cpu_us(pid) - cpu) / 2000:.1f} us CPU each")
            check(client.call("SET", "k", "v") == "OK", "SET beside idle connections")
        finally:
            for connection in idle:
                connection.close()
        wait_for(lambda: connected_clients(client) == 1, what="all connections gone")
    server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def send_without_reading(client, data):
    """Sends what the server takes; returns the bytes sent when it took no more for 2 s."""
    client.socket.setblocking(False)
    view, sent = memoryview(data), 0
    while sent < len(data):
        if not select.select([], [client.socket], [], 2.0)[1]:
            break
        try:
            sent += client.socket.send(view[sent:sent + (1 << 18)])
        except BlockingIOError:
            continue
    client.socket.settimeout(60)
    return sent


def deep_pipeline(workspace, options):
    """A million GETs of 1 KB sent without reading a reply: memory stays bounded, and every reply is right."""
    server = workspace.server("deep", "--client-output-buffer-limit", "normal 64mb 0 0").start()
    pid = server.process.pid
    value = bytes(range(256)) * 4
    with server.client(timeout=60) as client, server.client() as other:
        client.call("SET", "k", value)
        before = memory_bytes(pid)[0]
        command = Client.encode("GET", "k")
        data = command * options.deep
        with PeakMemory(pid) as peak:
            sent = send_without_reading(client, data)
            check(other.call("PING") == "PONG", "others are served meanwhile")
            print(f"the server took {sent // len(command)} of {options.deep} commands before replies were read")
            # Now read; what was not taken yet is sent alongside.
            expected = b"$%d\r\n%b\r\n" % (len(value), value)
            remaining, got = memoryview(data)[sent:], 0
            total = len(expected) * options.deep
            pattern = expected * 80
            client.socket.setblocking(False)
            deadline = time.monotonic() + 240
            while got < total:
                check(time.monotonic() < deadline, f"only {got} of {total} bytes of replies came")
                readable, writable, _ = select.select([client.socket], [client.socket] if remaining else [], [], 5)
                if writable:
                    try:
                        remaining = remaining[client.socket.send(remaining[:1 << 18]):]
                    except BlockingIOError:
                        pass
                if readable:
                    chunk = client.socket.recv(1 << 16)
                    check(chunk, f"closed after {got} of {total} bytes")
                    start = got % len(expected)
                    check(pattern[start:start + len(chunk)] == chunk, f"the replies are wrong near byte {got}")
                    got += len(chunk)
        client.socket.settimeout(30)
        check(client.call("PING") == "PONG", "the connection goes on after the pipeline")
        grown = peak.bytes - before
        print(f"deep pipeline: {grown / MIB:.1f} MiB at most for {total / MIB:.0f} MiB of replies", flush=True)
        check_cost(grown < 160 * MIB, f"memory grew by {grown / MIB:.0f} MiB")
    server.stop()


def never_reads(workspace, _):
    """A reply larger than the hard limit closes the client; one that stops reading holds no more than the limit."""
    server = workspace.server("hard", "--client-output-buffer-limit", "normal 4mb 0 0 pubsub 1mb 0 0").start()
    pid = server.process.pid
    with server.client() as other:
        other.call("SET", "big", b"x" * (3 * MIB))
        # One MGET whose reply is 48 MB: it can't be split, so the limit closes the connection.
        client = server.client()
        with PeakMemory(pid) as peak:
            before = memory_bytes(pid)[0]
            client.send("MGET", *["big"] * 16)
            wait_for(lambda: connected_clients(other) == 1, what="the client beyond its output limit being closed")
        check_cost(peak.bytes - before < 160 * MIB, f"memory grew by {(peak.bytes - before) / MIB:.0f} MiB")
        expect_closed(client, "beyond the output limit")
        client.close()
        # A subscriber that never reads.
        subscriber = server.client()
        subscriber.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        subscriber.call("SUBSCRIBE", "news")
        message = b"m" * 100_000

        def closed():
            return other.call("PUBLISH", "news", message) == 0

        wait_for(closed, timeout=60, what="the subscriber that never reads being closed")
        subscriber.close()
        check(other.call("GET", "big") == b"x" * (3 * MIB), "a reply below the limit arrives")
    server.stop()


def byte_by_byte(workspace, _):
    """Commands that arrive in pieces of one byte give the same replies, without quadratic work."""
    server = workspace.server("bytes").start()
    with server.client() as client:
        stream = (Client.encode("SET", "k", b"\r\n$5\r\n\x00") + b"PING\r\n" + Client.encode("GET", "k") +
                  b"set inline \"a b\"\r\n" + Client.encode("GET", "inline") + Client.encode("MGET", "k", "none"))
        for position in range(len(stream)):
            client.send_raw(stream[position:position + 1])
        replies = [client.read() for _ in range(6)]
        check(replies == ["OK", "PONG", b"\r\n$5\r\n\x00", "OK", b"a b", [b"\r\n$5\r\n\x00", None]], f"{replies!r}")
        # 2 MB in small pieces: the parser does not start over at each.
        value = os.urandom(2 * MIB)
        stream = Client.encode("SET", "large", value)
        cpu = cpu_us(server.process.pid)
        for position in range(0, len(stream), 128):
            client.send_raw(stream[position:position + 128])
        check(client.read() == "OK", "a large value in small pieces")
        spent = cpu_us(server.process.pid) - cpu
        print(f"2 MB in pieces of 128 bytes: {spent / 1e6:.2f} s CPU")
        check_cost(spent < 5_000_000, f"{spent / 1e6:.1f} s CPU for 2 MB in small pieces")
        check(client.call("GET", "large") == value, "the large value")
    server.stop()


def max_clients(workspace, _):
    server = workspace.server("max", "--maxclients", "5").start()
    clients = [server.client() for _ in range(5)]
    for client in clients:
        check(client.call("PING") == "PONG", "up to maxclients are served")
    with Client(server.port) as extra:
        check(error_of(extra.read()) == "ERR max number of clients reached", "the text of redis-server")
        expect_closed(extra, "beyond maxclients")
    check(int(clients[0].info("stats")["rejected_connections"]) >= 1, "rejected connections are counted")
    clients.pop().close()
    wait_for(lambda: connected_clients(clients[0]) == 4, what="the closed client being gone")
    with server.client() as client:
        check(client.call("PING") == "PONG", "a place freed is a place given")
    check(clients[0].call("CONFIG", "SET", "maxclients", "50") == "OK", "maxclients can be raised")
    more = [server.client() for _ in range(20)]
    check(all(client.call("PING") == "PONG" for client in more), "clients beyond the old limit")
    for client in clients + more:
        client.close()
    server.stop()


class FewFiles(Server):
    """A server that may open 260 files."""

    def command(self):
        return ["prlimit", "--nofile=260:260", *super().command()]


def few_descriptors(workspace, _):
    """More connections than the process may have descriptors: those that are served go on, the others are turned away,
    and when some leave, others come in. The disk's work has its descriptors: else clients could stop the log."""
    server = FewFiles(os.path.join(workspace.path, "few"), "--maxclients", "10000", "--enable-debug-command", "yes",
                      "--log-segment-size", "1mb")
    workspace.servers.append(server)
    server.start()
    with server.client() as first:
        check(int(first.call("CONFIG", "GET", "maxclients")[1]) < 260, "maxclients is lowered to what is possible")
        others = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(400)]
        try:
            for number in range(60):
                check(first.call("SET", "k", b"%d:" % number + b"v" * 60_000) == "OK", "a client that is served goes on")
            check(first.call("DEBUG", "CHECKPOINT") == "OK" and first.call("SAVE") == "OK", "files can be opened")
        finally:
            for connection in others:
                connection.close()
        wait_for(lambda: connected_clients(first) == 1, timeout=60, what="all others gone")
        with server.client() as late:
            check(late.call("GET", "k").startswith(b"59:"), "a place freed is a place given")
    check(server.terminate() == 0, "a clean stop")


def slow_senders(workspace, _):
    """Clients that send one byte at a time and never finish cost nothing and hold nobody up."""
    server = workspace.server("senders").start()
    command = Client.encode("SET", "slow", b"x" * 50)
    senders = [server.client() for _ in range(100)]
    with server.client() as other:
        cpu = cpu_us(server.process.pid)
        for position in range(len(command) - 1):
            for sender in senders:
                sender.send_raw(command[position:position + 1])
            check(other.call("PING") == "PONG", "others are served")
        check_cost(cpu_us(server.process.pid) - cpu < 10_000_000, "a byte costs little")
        check(other.call("EXISTS", "slow") == 0, "nothing ran before its end")
        for sender in senders[::2]:
            sender.send_raw(command[-1:])
            check(sender.read() == "OK", "the end came")
        for sender in senders:
            sender.close()
        wait_for(lambda: connected_clients(other) == 1, what="all senders gone")
    server.stop()


def huge_argument(workspace, options):
    """One argument of the largest size, whole or given up in the middle; others are served meanwhile."""
    server = workspace.server("huge", "--proto-max-bulk-len", "512mb").start()
    size = options.huge << 20
    piece = b"h" * MIB
    with server.client(timeout=240) as client, server.client() as other:
        given_up = server.client()
        given_up.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\ng\r\n$%d\r\n" % size + piece * 4)
        given_up.close()
        client.send_raw(b"*3\r\n$3\r\nSET\r\n$1\r\nh\r\n$%d\r\n" % size)
        for _ in range(options.huge):
            client.send_raw(piece)
            check(other.call("PING") == "PONG", "others are served")
        client.send_raw(b"\r\n")
        check(client.read() == "OK", "the largest argument")
        check(other.call("STRLEN", "h") == size and other.call("EXISTS", "g") == 0, "it is there as a whole")
        check(other.call("GETRANGE", "h", size - 3, -1) == b"hhh", "to its end")
    server.restart()
    with server.client() as client:
        check(client.call("STRLEN", "h") == size, "after a kill as well")
    server.stop()


def idle_timeout(workspace, _):
    server = workspace.server("timeout", "--timeout", "1").start()
    with server.client() as idle, server.client() as subscriber, server.client() as busy:
        subscriber.call("SUBSCRIBE", "c")
        check(idle.call("PING") == "PONG", "before the timeout")

        def closed():
            busy.call("PING")
            return select.select([idle.socket], [], [], 0)[0]

        wait_for(closed, timeout=20, what="the idle client being closed")
        expect_closed(idle, "idle timeout")
        check(busy.call("PUBLISH", "c", "m") == 1, "subscribers are exempt")
    server.stop()


def before_authentication(workspace, _):
    server = workspace.server("auth", "--requirepass", "secret").start()
    server.password = "secret"

    def refused(data, text):
        with Client(server.port) as client:
            client.send_raw(data)
            reply = error_of(client.read())
            check(reply == text, f"{reply!r} instead of {text!r}")
            expect_closed(client, text)

    refused(b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length")
    refused(b"*1\r\n$16385\r\n", "ERR Protocol error: unauthenticated bulk length")
    refused(b"*-x\r\n", "ERR Protocol error: invalid multibulk length")
    with Client(server.port) as client:
        client.send_raw(b"*10\r\n" + b"$1\r\nx\r\n" * 10)
        check("NOAUTH" in error_of(client.read()) or "unknown" in error_of(client.ask("x")), "10 arguments are allowed")
        for command in (["GET", "k"], ["SET", "k", "v"], ["CONFIG", "GET", "*"], ["MULTI"], ["SUBSCRIBE", "c"]):
            check(error_of(client.ask(*command)) == "NOAUTH Authentication required.", f"{command[0]} before AUTH")
        check("WRONGPASS" in error_of(client.ask("AUTH", "wrong")), "a wrong password")
        check(client.call("AUTH", "secret") == "OK", "the right password")
        check(client.call("SET", "k", b"y" * 100_000) == "OK", "the limits are gone after AUTH")
        check(client.call("MSET", *["a", "b"] * 50) == "OK", "the limits are gone after AUTH")
    # Replies to a client that is not authenticated and does not read are bounded as well.
    client = Client(server.port)
    with PeakMemory(server.process.pid) as peak:
        before = memory_bytes(server.process.pid)[0]
        try:
            send_without_reading(client, Client.encode("GET", "k") * 500_000)
        except OSError:
            pass  # closed meanwhile
    check_cost(peak.bytes - before < 32 * MIB, f"{(peak.bytes - before) / MIB:.0f} MiB for a client without password")
    client.close()
    # A query that never ends.
    with Client(server.port) as client:
        client.send_raw(b"x" * 70_000)
        check(error_of(client.read()) == "ERR Protocol error: too big inline request", "the inline limit")
        expect_closed(client, "too big inline request")
    with server.client() as client:
        check(client.call("PING") == "PONG", "the server goes on")
    server.stop()


def protocol_limits(workspace, _):
    server = workspace.server("protocol", "--proto-max-bulk-len", "1mb").start()
    for data, text in ((b"*1\r\n$1048577\r\n", "ERR Protocol error: invalid bulk length"),
                       (b"*2147483648\r\n", "ERR Protocol error: invalid multibulk length"),
                       (b"*1\r\nx\r\n", "ERR Protocol error: expected '$', got 'x'"),
                       (b"*1\r\n$-5\r\n", "ERR Protocol error: invalid bulk length"),
                       (b"set \"a\r\n", "ERR Protocol error: unbalanced quotes in request")):
        with Client(server.port) as client:
            client.send_raw(data)
            reply = error_of(client.read())
            check(reply == text, f"{data!r}: {reply!r} instead of {text!r}")
            expect_closed(client, text)
    with server.client() as client:
        check(client.call("SET", "k", b"z" * MIB) == "OK", "exactly the limit")
    server.stop()


def memory_budget(workspace, _):
    """maxmemory bounds clients and layers together: layers shrink to fit, requests beyond it are refused, none for ever."""
    server = workspace.server("budget", "--maxmemory", "32mb").start()
    with server.client() as client, server.client() as hoarder:
        memtable = int(client.call("CONFIG", "GET", "memtable-size")[1])
        check(memtable <= 8 << 20, f"memtable-size is {memtable}: two of them and the cache do not fit half of 32mb")
        check("memtable-size is lowered" in server.log_text(), "the log says so")
        hoarder.send_raw(b"*3\r\n$3\r\nSET\r\n$5\r\nhoard\r\n$41943040\r\n" + b"x" * (40 << 20))
        wait_for(lambda: "OOM" in str(client.ask("SET", "key", "value")), what="writes being refused over the budget")
        check(client.call("GET", "key") in (None, b"value"), "reads go on")
        check(client.call("DEL", "key") in (0, 1), "DEL goes on")
    with server.client() as client:
        value = b"v" * (1 << 20)
        for number in range(60):
            wait_for(lambda: client.ask("SET", f"key{number}", value) == "OK", what="a write within the budget")
        check(client.call("STRLEN", "key0") == 1 << 20, "more data than the budget is kept")


def unix_socket(workspace, _):
    path = os.path.join(workspace.path, "sock")
    server = workspace.server("unix", "--unixsocket", path, "--unixsocketperm", "700").start()
    wait_for(lambda: os.path.exists(path), what="the socket file")
    check(os.stat(path).st_mode & 0o777 == 0o700, f"mode {os.stat(path).st_mode & 0o777:o}")
    with Client(path=path) as client:
        check(client.call("SET", "k", "v") == "OK", "SET over the Unix socket")
        check(f"{path}:0" in client.call("CLIENT", "LIST").decode(), "CLIENT LIST shows the path")
    done = subprocess.run(["redis-cli", "-s", path, "GET", "k"], capture_output=True, text=True, check=False)
    check(done.stdout == "v\n", f"redis-cli over the Unix socket: {done.stdout!r}")
    check(server.terminate() == 0, "a clean stop exits with 0")
    check(not os.path.exists(path), "a clean stop removes the socket file")
    server.start()
    server.restart()  # the file of a killed server is in the way
    with Client(path=path) as client:
        check(client.call("GET", "k") == b"v", "after kill and restart")
    server.stop()


def outside_address():
    """An address of this machine that is not loopback, or None."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing
            address = probe.getsockname()[0]
        except OSError:
            return None
    return None if address.startswith("127.") else address


def protected_mode(workspace, _):
    address = outside_address()
    if address is None:
        print("protected mode: this machine has only loopback addresses; not tested")
        return False
    server = workspace.server("protected", "--bind", "*", "--protected-mode", "yes").start()
    with Client(server.port, host=address) as client:
        text = error_of(client.read())
        check(text.startswith("DENIED ") and "protected mode" in text, f"the refusal is {text!r}")
        expect_closed(client, "protected mode")
    with server.client() as client:
        check(client.call("CONFIG", "SET", "protected-mode", "no") == "OK", "protected mode can be switched off")
    with Client(server.port, host=address) as client:
        check(client.call("PING") == "PONG", "without protected mode")
    server.stop()
    return True


def main():
    tests = [idle_connections, deep_pipeline, never_reads, byte_by_byte, max_clients, few_descriptors,
             slow_senders, huge_argument, idle_timeout, before_authentication, protocol_limits, memory_budget, unix_socket,
             protected_mode]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--idle", type=int, default=2000)
    parser.add_argument("--deep", type=int, default=300_000)
    parser.add_argument("--huge", type=int, default=48, help="megabytes of the largest argument, 512 at most")
    parser.add_argument("--only", default=None, help="one of " + ", ".join(test.__name__ for test in tests))
    options = parser.parse_args()
    hold = 0
    for test in tests:
        if options.only in (None, test.__name__):
            began = time.monotonic()
            with Workspace() as workspace:
                hold += test(workspace, options) is not False
            print(f"{test.__name__}: {time.monotonic() - began:.1f} s", flush=True)
    print(f"{hold} of {len(tests)} limits hold")
    return 0


if __name__ == "__main__":
    sys.exit(main())
