#!/usr/bin/env python3
"""HRANDFIELD, SRANDMEMBER, ZRANDMEMBER and SPOP, with counts of either sign: every element has the same chance, whether it
lies on disk or in memory, also after others came and went. A chance below one in a million to fail without a reason."""

import math
import sys
from collections import Counter

from holdfast_testing import Workspace, check

SIZES = (3, 50, 130, 700)
PICKS = 20_000


def check_fair(what, counts, elements, picks):
    expected = picks / len(elements)
    check(set(counts) <= set(elements), f"{what}: unknown elements {set(counts) - set(elements)}")
    square = sum((counts.get(one, 0) - expected) ** 2 / expected for one in elements)
    bound = len(elements) - 1 + 5.5 * math.sqrt(2 * len(elements)) + 12
    check(square < bound, f"{what}: chi square {square:.1f} of {len(elements)} elements, expected at most {bound:.1f}")


class Kind:
    def __init__(self, name):
        self.name = name
        self.add_command = {"hash": "HSET", "set": "SADD", "zset": "ZADD"}[name]
        self.remove_command = {"hash": "HDEL", "set": "SREM", "zset": "ZREM"}[name]
        self.pick_command = {"hash": "HRANDFIELD", "set": "SRANDMEMBER", "zset": "ZRANDMEMBER"}[name]

    def add(self, client, elements):
        words = []
        for number, one in enumerate(elements):
            words += {"hash": [one, "value"], "set": [one], "zset": [number, one]}[self.name]
        client.call(self.add_command, self.name, *words)

    def remove(self, client, elements):
        check(client.call(self.remove_command, self.name, *elements) == len(elements), "all were there")


def pick_all_ways(client, kind, elements, moment):
    what = f"{kind.pick_command} of {len(elements)} {moment}"
    single = Counter(client.pipeline([(kind.pick_command, kind.name)] * (PICKS // 4)))
    check_fair(what, single, elements, PICKS // 4)
    repeated = Counter()
    for _ in range(20):
        repeated.update(client.call(kind.pick_command, kind.name, -(PICKS // 20)))
    check_fair(what + ", negative count", repeated, elements, PICKS)
    for wanted in sorted({1, 2, len(elements) // 8, len(elements) // 2}):
        if wanted == 0:
            continue
        several = Counter()
        rounds = max(200, 6000 // wanted)
        for reply in client.pipeline([(kind.pick_command, kind.name, wanted)] * rounds):
            check(len(set(reply)) == wanted, f"{what}: {len(reply)} elements, {len(set(reply))} different ones")
            several.update(reply)
        check_fair(f"{what}, count {wanted}", several, elements, rounds * wanted)
    check(set(client.call(kind.pick_command, kind.name, 10 ** 6)) == set(elements), "a large count gives all")


def check_pops(client, size):
    elements = [b"m%d" % i for i in range(size)]
    first, several = Counter(), Counter()
    rounds, wanted = 1500, max(1, size // 10)
    for _ in range(rounds):
        client.call("SADD", "pop", *elements)
        first.update([client.call("SPOP", "pop")])
        client.call("SADD", "pop", *elements)
        several.update(client.call("SPOP", "pop", wanted))
    check_fair(f"SPOP of {size}", first, elements, rounds)
    check_fair(f"SPOP of {size}, count {wanted}", several, elements, rounds * wanted)
    client.call("DEL", "pop")


def main():
    with Workspace() as workspace:
        server = workspace.server("node", "--appendfsync", "no", "--enable-debug-command", "yes").start()
        with server.client(timeout=60) as client:
            for kind in (Kind("hash"), Kind("set"), Kind("zset")):
                for size in SIZES:
                    elements = [b"m%d" % i for i in range(size)]
                    on_disk = elements[:size // 2] + [b"gone%d" % i for i in range(size // 2)]
                    kind.add(client, on_disk)
                    client.call("DEBUG", "CHECKPOINT")
                    kind.remove(client, on_disk[size // 2:])
                    kind.add(client, elements[size // 2:])
                    pick_all_ways(client, kind, elements, "in two layers")
                    # What was found out by these picks must hold for what comes and goes now.
                    kind.remove(client, elements[::3])
                    more = [b"more%d" % i for i in range(size)]
                    kind.add(client, more)
                    pick_all_ways(client, kind, [one for i, one in enumerate(elements) if i % 3] + more, "changed")
                    client.call("DEL", kind.name)
            for size in (20, 200):
                check_pops(client, size)
    print("all picks are fair")
    return 0


if __name__ == "__main__":
    sys.exit(main())
