#!/usr/bin/env python3
"""What connections are owed beside their replies: CLIENT REPLY and commands that wait, CLIENT PAUSE, what MONITOR and SLOWLOG may
show, requests of browsers, a client that sends no more. What is expected is redis-server's answer; where it is installed each
case of `both` is asked of it, too."""

import socket
import sys
import threading

from holdfast_testing import Client, Disconnected, Workspace, check, has_redis_7_0, run_tests, wait_for


def equal(got, wanted, what):
    check(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def both(case):
    """Runs a case at ours and at redis-server."""
    def test():
        with Workspace() as workspace:
            servers = [workspace.server("ours")]
            if has_redis_7_0():
                servers.append(workspace.redis("redis"))
            for server in servers:
                case(server.start())
    return test


def blocked(client, count):
    wait_for(lambda: client.info("clients")["blocked_clients"] == str(count), what=f"{count} blocked clients")


def silent_commands_stay_silent_when_they_have_waited(server):
    with server.client() as quiet, server.client() as other:
        for mode in ("SKIP", "OFF"):
            quiet.send("CLIENT", "REPLY", mode)
            quiet.send("BLPOP", "queue", "0")
            blocked(other, 1)
            other.call("RPUSH", "queue", "served")
            blocked(other, 0)
            quiet.send("CLIENT", "REPLY", "ON")
            equal(quiet.call("ECHO", mode), "OK", "the answer of REPLY ON")
            equal(quiet.read(), mode.encode(), "and the next one")
            quiet.send("CLIENT", "REPLY", mode)
            quiet.send("BLPOP", "queue", "0.01")
            quiet.send("CLIENT", "REPLY", "ON")
            equal(quiet.read(), "OK", "a timeout is not answered either")
        quiet.send("CLIENT", "REPLY", "SKIP")
        quiet.send("BLPOP", "queue", "0.01")
        equal(quiet.call("ECHO", "heard"), b"heard", "one reply is skipped, not two")


def subscriptions_are_confirmed_whatever_client_reply_says(server):
    with server.client() as listener, server.client() as other:
        listener.send("CLIENT", "REPLY", "OFF")
        listener.send("SUBSCRIBE", "channel")
        equal(listener.read(), [b"subscribe", b"channel", 1], "the confirmation")
        equal(other.call("PUBLISH", "channel", "hello"), 1, "receivers")
        equal(listener.read(), [b"message", b"channel", b"hello"], "the message")
        listener.send("PING")
        listener.send("UNSUBSCRIBE", "channel")
        equal(listener.read(), [b"unsubscribe", b"channel", 0], "PING was not answered")


def an_empty_pattern_is_a_pattern(server):
    with server.client() as listener, server.client() as other:
        equal(listener.call("PSUBSCRIBE", ""), [b"psubscribe", b"", 1], "PSUBSCRIBE")
        equal(other.call("PUBLISH", "", "hello"), 1, "receivers")
        equal(listener.read(), [b"pmessage", b"", b"", b"hello"], "the message")
        equal(listener.call("SUBSCRIBE", "channel"), [b"subscribe", b"channel", 2], "SUBSCRIBE")
        equal(other.call("PUBSUB", "CHANNELS", ""), [], "channels without a name")
        equal(other.call("PUBSUB", "CHANNELS"), [b"channel"], "all")


def a_pause_that_is_over_does_not_make_the_next_one_stricter(server):
    with server.client() as client, server.client() as other:
        client.call("CLIENT", "PAUSE", "1", "ALL")
        wait_for(lambda: other.call("PING") == "PONG", what="its end")
        client.call("CLIENT", "PAUSE", "600000", "WRITE")
        equal(other.call("GET", "k"), None, "reads go on")
        other.send("SET", "k", "v")
        blocked(client, 1)
        client.call("CLIENT", "UNPAUSE")
        equal(other.read(), "OK", "the write")


def messages_wait_while_writes_are_paused(server):
    with server.client() as client, server.client() as publisher, server.client() as shards:
        client.call("CLIENT", "PAUSE", "600000", "WRITE")
        publisher.send("PUBLISH", "channel", "hello")
        shards.send("SPUBLISH", "channel", "hello")
        blocked(client, 2)
        client.call("CLIENT", "UNPAUSE")
        equal([publisher.read(), shards.read()], [0, 0], "receivers")


def shown(line):
    """The words of a line of MONITOR."""
    return line.split("] ", 1)[1]


def monitor_shows_no_passwords_and_exec_behind_what_it_ran(server):
    with server.client() as monitor, server.client() as client:
        equal(monitor.call("MONITOR"), "OK", "MONITOR")
        client.ask("AUTH", "secret")
        client.ask("AUTH", "default", "secret")
        client.ask("MIGRATE", "127.0.0.1", "1", "k", "0", "10", "AUTH", "secret")
        client.ask("MIGRATE", "127.0.0.1", "1", "", "0", "10", "AUTH2", "me", "secret", "KEYS", "k")
        client.pipeline([("MULTI",), ("SET", "k", "v"), ("GET", "k"), ("EXEC",)])
        client.call("SELECT", "3")
        lines = [monitor.read() for _ in range(9)]
        equal([shown(line) for line in lines],
              ['"AUTH" "(redacted)"', '"AUTH" "(redacted)" "(redacted)"',
               '"MIGRATE" "127.0.0.1" "1" "k" "0" "10" "AUTH" "(redacted)"',
               '"MIGRATE" "127.0.0.1" "1" "" "0" "10" "AUTH2" "(redacted)" "(redacted)" "KEYS" "k"',
               '"MULTI"', '"SET" "k" "v"', '"GET" "k"', '"EXEC"', '"SELECT" "3"'], "what is shown")
        check("[3 " in lines[-1], f"SELECT is shown in the database that it chose: {lines[-1]}")


def slowlog_keeps_no_passwords(server):
    with server.client() as client:
        client.call("CONFIG", "SET", "slowlog-log-slower-than", "0")
        client.ask("AUTH", "secret")
        client.ask("MIGRATE", "127.0.0.1", "1", "k", "0", "10", "AUTH", "secret")
        client.ask("HELLO", "2", "AUTH", "default", "secret")
        client.ask("CONFIG", "SET", "masterauth", "secret", "masterauth", "secret")
        client.call("CONFIG", "SET", "slowlog-log-slower-than", "-1")
        entries = [b" ".join(entry[3]) for entry in client.call("SLOWLOG", "GET")]
        check(any(entry.startswith(b"AUTH") for entry in entries), f"AUTH is there: {entries}")
        check(not any(b"secret" in entry for entry in entries), f"a password is shown: {entries}")


def requests_of_browsers_are_cut_off(server):
    for request in (b"POST / HTTP/1.1\r\nHost: here\r\n\r\nSET forged 1\r\n", b"Host: here\r\nSET forged 1\r\n",
                    b"*1\r\n$4\r\npost\r\nSET forged 1\r\n"):
        with Client(server.port) as browser, server.client() as client:
            browser.send_raw(request)
            try:
                reply = browser.read()
                check(False, f"{request!r} was answered: {reply!r}")
            except Disconnected:
                pass
            equal(client.call("EXISTS", "forged"), 0, "what came behind")


test_silent_commands_stay_silent_when_they_have_waited = both(silent_commands_stay_silent_when_they_have_waited)
test_subscriptions_are_confirmed = both(subscriptions_are_confirmed_whatever_client_reply_says)
test_an_empty_pattern_is_a_pattern = both(an_empty_pattern_is_a_pattern)
test_a_pause_that_is_over = both(a_pause_that_is_over_does_not_make_the_next_one_stricter)
test_messages_wait_while_writes_are_paused = both(messages_wait_while_writes_are_paused)
test_monitor_shows_no_passwords = both(monitor_shows_no_passwords_and_exec_behind_what_it_ran)
test_slowlog_keeps_no_passwords = both(slowlog_keeps_no_passwords)
test_requests_of_browsers_are_cut_off = both(requests_of_browsers_are_cut_off)


def test_what_a_client_sent_before_it_closed_its_side_is_run_also_when_writers_are_slowed():
    """As redis-server does; there nothing slows writers."""
    count, value = 60_000, "v" * 400
    data = b"".join(Client.encode("SET", f"key:{i}", value) for i in range(count))
    with Workspace() as workspace:
        server = workspace.server("server", "--memtable-size", "1mb").start()
        for _ in range(3):
            with server.client() as client:
                client.call("FLUSHALL")
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=120)
            replies = []

            def read():
                while data := connection.recv(1 << 16):
                    replies.append(data.count(b"+OK\r\n"))

            reader = threading.Thread(target=read)
            reader.start()
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            reader.join()
            connection.close()
            with server.client() as client:
                equal((sum(replies), client.call("DBSIZE")), (count, count), "replies and keys")


def test_a_transaction_that_makes_the_server_a_replica_writes_no_more():
    with Workspace() as workspace:
        master, other = workspace.server("master").start(), workspace.server("other").start()
        with master.client() as client:
            client.call("SET", "k", "v")
        with other.client() as client:
            replies = client.pipeline([("MULTI",), ("SET", "before", "1"), ("REPLICAOF", "127.0.0.1", master.port),
                                       ("SET", "behind", "1"), ("GET", "before"), ("EXEC",)])[-1]
            equal([replies[0], replies[1], str(replies[2]), replies[3]],
                  ["OK", "OK", "READONLY You can't write against a read only replica.", b"1"], "EXEC")


def test_who_waits_at_a_replica_gets_what_comes_with_a_copy():
    with Workspace() as workspace:
        first, second = workspace.server("first").start(), workspace.server("second").start()
        replica = workspace.server("replica", "--replicaof", "127.0.0.1", first.port).start()
        with first.client() as client:
            client.call("XADD", "stream", "1-1", "f", "v")
        with second.client() as client:
            client.call("XADD", "stream", "5-5", "f", "v")
            client.call("SAVE")  # so that it is in the copy, and not in the stream behind
        with replica.client() as reader, replica.client() as client:
            wait_for(lambda: client.call("EXISTS", "stream"), what="the first entry")
            reader.send("XREAD", "BLOCK", "0", "STREAMS", "stream", "$")
            blocked(client, 1)
            client.call("REPLICAOF", "127.0.0.1", second.port)
            equal(reader.read(), [[b"stream", [[b"5-5", [b"f", b"v"]]]]], "the entry of the copy")


def test_reset_ends_what_holdfast_durable_asked_for():
    with Workspace() as workspace:
        server = workspace.server("server").start()
        with server.client() as client:
            client.call("HOLDFAST", "DURABLE", "1")
            check("NOREPLICAS" in str(client.ask("SET", "k", "v")), "there is no member to confirm")
            equal(client.call("RESET"), "RESET", "RESET")
            equal(client.call("SET", "k", "v"), "OK", "a connection as good as new")


def test_what_clients_watch_and_listen_to_counts_as_theirs():
    with Workspace() as workspace:
        server = workspace.server("server", "--client-query-buffer-limit", "1mb").start()
        for command in ("WATCH", "SUBSCRIBE"):
            with server.client() as client:
                try:
                    for i in range(200):
                        client.send(command, *(f"{command}:{i}:{j}" for j in range(100)))
                    while True:  # a reply for each name: only who reads on sees the end of the connection
                        client.read()
                except Disconnected as ended:
                    check("timed out" not in str(ended), f"20,000 names of {command} cost more than 1 MB: {ended}")
        with server.client() as client:
            # Each of them is looked up, not searched for among all that came before.
            client.call("CONFIG", "SET", "client-query-buffer-limit", "1gb")
            client.call("WATCH", *(f"key:{i}" for i in range(100_000)))
            client.call("UNWATCH")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
