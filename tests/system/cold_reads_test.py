#!/usr/bin/env python3
"""Reads that go to the disk are fetched by other threads first: replies stay right and in order, others are not held."""

import contextlib
import os
import random
import shutil
import sys

from holdfast_testing import Disconnected, Workspace, check, run_tests, seed_from_environment

KEYS = 400
RANKED = 10_000  # members of a sorted set that has fence rows


def ranked(i):
    return f"member:{i}"


def fill(server):
    with server.client() as client:
        client.pipeline([("SET", f"s:{i}", f"{i}" * 200) for i in range(KEYS)])
        client.pipeline([("HSET", f"h:{i % 7}", f"f:{i}", f"v:{i}") for i in range(KEYS)])
        client.pipeline([("RPUSH", f"l:{i % 5}", f"{i}") for i in range(KEYS)])
        client.pipeline([("ZADD", f"z:{i % 3}", i, f"m:{i}") for i in range(KEYS)])
        client.pipeline([("ZADD", "ranked", i, ranked(i)) for i in range(RANKED)])
        client.pipeline([("RPUSH", "queue", ranked(i)) for i in range(RANKED)])
        client.call("SET", "big", b"x" * 300_000)
        check(client.call("SAVE") == "OK", "everything is on disk")


def expected(i):
    return [(("GET", f"s:{i}"), (f"{i}" * 200).encode()), (("HGET", f"h:{i % 7}", f"f:{i}"), f"v:{i}".encode()),
            (("LINDEX", f"l:{i % 5}", i // 5), f"{i}".encode()), (("ZSCORE", f"z:{i % 3}", f"m:{i}"), f"{i}".encode()),
            (("GET", f"none:{i}"), None), (("STRLEN", "big"), 300_000)] + expected_of_ranks(i * (RANKED // KEYS))


def expected_of_ranks(i):
    three = [ranked(i + k).encode() for k in range(3)]
    return [(("ZRANK", "ranked", ranked(i)), i), (("ZRANGE", "ranked", i, i + 2), three),
            (("ZRANGE", "ranked", i - RANKED, i + 2 - RANKED), three),
            (("ZREVRANGE", "ranked", RANKED - 3 - i, RANKED - 1 - i), three[::-1]),
            (("ZRANGEBYSCORE", "ranked", i, f"({i + 3}"), three),
            (("ZRANGE", "ranked", i, i + 2, "BYSCORE"), three), (("ZCOUNT", "ranked", "-inf", i), i + 1)]


def fetched(server):
    with server.client() as client:
        return int(client.info()["holdfast_cold_reads_fetched"])


def ask(server, generator, rounds):
    """Pipelines of random length, some of several clients at once, each reply compared."""
    clients = [server.client() for _ in range(5)]
    for _ in range(rounds):
        asked = []
        for client in clients:
            batch = [generator.choice(expected(generator.randrange(KEYS))) for _ in range(generator.randrange(1, 90))]
            client.send_raw(b"".join(client.encode(*command) for command, _ in batch))
            asked.append((client, batch))
        for client, batch in asked:
            for command, wanted in batch:
                reply = client.read()
                check(reply == wanted, f"{command}: {reply!r}, not {wanted!r}")
    for client in clients:
        client.close()


def test_replies_are_the_same_with_and_without():
    generator = random.Random(seed_from_environment())
    with Workspace() as workspace:
        server = workspace.server("server", "--prefetch-cold-reads", "always", "--row-cache-size", 0, "--memtable-size",
                                  "1mb").start()
        fill(server)
        ask(server, generator, 20)
        before = fetched(server)
        check(before > 0, "batches were fetched first")
        with server.client() as client:
            check(client.call("CONFIG", "SET", "prefetch-cold-reads", "no") == "OK", "off")
            # Each tenth of a second it is looked at anew.
            check(client.call("BLPOP", "never", "0.3") is None, "time goes by")
        before = fetched(server)
        ask(server, generator, 3)
        check(fetched(server) == before, "nothing is fetched any more")


def test_pops_are_walked_ahead_of():
    with Workspace() as workspace:
        server = workspace.server("server").start()
        fill(server)
        with server.client() as client:
            walks = lambda: int(client.info()["holdfast_cold_walks"])  # noqa: E731
            for first, last, wanted in [("ZPOPMIN", "ZPOPMAX", lambda i: [ranked(i).encode(), b"%d" % i]),
                                        ("LPOP", "RPOP", lambda i: ranked(i).encode())]:
                before = walks()
                key = "ranked" if first == "ZPOPMIN" else "queue"
                for begin in range(0, 4500, 500):
                    replies = client.pipeline([(command, key) for _ in range(500) for command in (first, last)])
                    check(replies == [wanted(i) for at in range(begin, begin + 500) for i in (at, RANKED - 1 - at)],
                          f"{key} is taken from both ends")
                check(walks() > before, f"rows of {key} were walked over")


def test_transactions_and_writes_go_through():
    with Workspace() as workspace:
        server = workspace.server("server", "--prefetch-cold-reads", "always", "--row-cache-size", 0).start()
        fill(server)
        with server.client() as client:
            replies = client.pipeline([("MULTI",), ("INCR", "s:none"), ("HGET", "h:1", "f:1"), ("EXEC",), ("GET", "s:3")])
            check(replies == ["OK", "QUEUED", "QUEUED", [1, b"v:1"], b"3" * 200], replies)
            replies = client.pipeline([("SET", "s:5", "new"), ("GET", "s:5"), ("DEL", "h:2"), ("HGET", "h:2", "f:2")])
            check(replies == ["OK", b"new", 1, None], replies)
            # Gone in the middle of a fetch.
            for i in range(30):
                other = server.client()
                other.send_raw(b"".join(other.encode(*expected(i)[j][0]) for j in range(4)))
                other.close()
            check(client.call("PING") == "PONG", "and the server lives")


def test_a_data_file_that_cannot_be_read_ends_the_server():
    """A map of a file that was cut, or of a disk that is gone, answers by SIGBUS."""
    with Workspace() as workspace:
        server = workspace.server("one").start()
        fill(server)
        check(server.terminate() == 0, "a clean stop")
        path = os.path.join(server.directory, "gen-1", "lmdb", "data.mdb")
        shutil.copyfile(path, path + ".whole")
        server.start()
        os.truncate(path, 8192)  # the meta pages stay
        with server.client() as client, contextlib.suppress(Disconnected):
            client.pipeline([("GET", f"s:{i}") for i in range(KEYS)])
        check(server.process.wait(60) == 3, f"fail-stop:\n{server.log_tail()}")
        check("FATAL: a page of the data file cannot be read" in server.log_text(), server.log_tail())
        os.replace(path + ".whole", path)
        server.start()
        with server.client() as client:
            check(client.call("GET", "s:7") == b"7" * 200, "with its file it is whole")


if __name__ == "__main__":
    sys.exit(run_tests(globals()))
