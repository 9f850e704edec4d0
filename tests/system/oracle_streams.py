"""Random commands on streams for oracle_test.py. Those that wait do so for 10 ms at most.

Ids are given, because two servers have two clocks: only xfuture, whose ids are ahead of any clock, is added to with "*".
Trims with ~ remove what they want within their law; settle() then trims redis-server's stream to the same length.
"""

FUTURE = 99999999999999
EDGE_IDS = ["0", "0-0", "0-1", "18446744073709551615-18446744073709551615", "18446744073709551615",
            "18446744073709551616", "-", "+", "1-", "-1", "abc", "", "1-2-3", " 1-1", "01-01", "1--1", "(1", "+5", "$", ">",
            "5-*", "*", "1-x", "9" * 130]


class Streams:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key, value, small):
        self.rng, self.any_key, self.value, self.small = rng, any_key, value, small

    def key(self):
        r = self.rng
        return self.any_key() if r.random() < 0.04 else r.choice(["x1", "x2", "x3"])

    def id(self):
        r = self.rng
        if r.random() < 0.04:
            return r.choice(EDGE_IDS)
        return "%d-%d" % (r.randint(0, 40), r.randint(0, 2)) if r.random() < 0.8 else str(r.randint(0, 40))

    def new_id(self):
        """For XADD: mostly above those that are there."""
        r = self.rng
        if r.random() < 0.03:
            return r.choice([one for one in EDGE_IDS if one != "*"])
        return r.choice(["%d-%d" % (r.randint(1, 60), r.randint(0, 2)), "%d-*" % r.randint(1, 60),
                         "%d-*" % r.randint(30, 60), str(r.randint(1, 60))])

    def bound(self):
        r = self.rng
        return r.choice(["-", "+", self.id(), "(" + self.id()])

    def group(self):
        r = self.rng
        return r.choice(["g1", "g1", "g2", "g2", "", "nogroup", "G" * 600]) if r.random() < 0.3 else "g1"

    def consumer(self):
        return self.rng.choice(["c1", "c1", "c2", "c2", "c3", "", "C" * 600])

    def some(self, make, most):
        return [make() for _ in range(self.rng.randint(1, most))]

    def fields(self):
        r = self.rng
        words = [x for _ in range(r.randint(1, 3)) for x in (r.choice(["f", "g", b"\x00\xff"]), self.value()[:300])]
        return words + ["odd"] if r.random() < 0.02 else words

    def count(self):
        return self.rng.choice(["1", "2", "3", "10"] * 3 + ["0", "-1", "abc", "", "9223372036854775807", "100000000000"])

    def idle(self):
        return self.rng.choice(["0", "0", "0", "1000000000", "-1", "abc", ""] if self.rng.random() < .3 else
                               ["0", "1000000000"])

    def trim(self, in_multi):
        r = self.rng
        sign = r.choice([[], ["="], ["="], ["~"], ["~"]])
        if in_multi and sign == ["~"]:
            sign = []
        words = r.choice([["MAXLEN"] + sign + [r.choice(["0", "1", "3", "10", "30", "-1", "abc"])],
                          ["maxlen"] + sign + [r.choice(["5", "20"])], ["MINID"] + sign + [self.id()]])
        if "~" in words and r.random() < 0.5 or r.random() < 0.04:
            words += ["LIMIT", r.choice(["0", "1", "5", "1000", "-1", "x"])]
        if r.random() < 0.03:
            words += r.choice([["MAXLEN", "3"], ["MINID"], ["foo"], ["LIMIT"]])
        return words

    def add(self, in_multi):
        r = self.rng
        options = ["NOMKSTREAM"] if r.random() < 0.1 else []
        if r.random() < 0.3:
            options += self.trim(in_multi)
        if r.random() < 0.05:
            options.append(r.choice(["nomkstream", "foo", "LIMIT", "~"]))
        return ["XADD", self.key()] + options + [self.new_id()] + self.fields()

    def many(self):
        """A batch of entries with ids that follow each other."""
        return ["XADD", self.key(), "%d-%d" % (self.rng.randint(40, 60), self.rng.randint(3, 1000)), "f", "v"]

    def read(self):
        r = self.rng
        keys = self.some(self.key, 3)
        words = r.choice([[], ["COUNT", self.count()]]) + r.choice([[], [], ["BLOCK", self.block()]])
        if r.random() < 0.04:
            words.append(r.choice(["NOACK", "GROUP", "foo", "COUNT", "BLOCK"]))
        ids = [r.choice([self.id, self.id, lambda: "$", lambda: "0"])() for _ in keys]
        if r.random() < 0.03:
            ids = ids[1:]
        return ["XREAD"] + words + [r.choice(["STREAMS", "streams"])] + keys + ids

    def block(self):
        return self.rng.choice(["5", "10", "7", "1"] * 2 + ["-1", "abc", "1.5", ""])

    def read_group(self):
        r = self.rng
        keys = self.some(self.key, 2) if r.random() < 0.3 else [self.key()]
        words = ["GROUP", self.group(), self.consumer()] + r.choice([[], ["COUNT", self.count()]])
        words += r.choice([[], [], ["BLOCK", self.block()]]) + r.choice([[], [], [], ["NOACK"]])
        if r.random() < 0.03:
            words = words[3:]
        ids = [r.choice([">", ">", ">", "0", self.id()]) for _ in keys]
        return ["XREADGROUP"] + words + ["STREAMS"] + keys + ids

    def group_change(self):
        r = self.rng
        k, g = self.key, self.group
        reads = r.choice([[], [], ["ENTRIESREAD", r.choice(["0", "1", "5", "-1", "-2", "abc"])]])
        make = r.choice([[], ["MKSTREAM"], ["mkstream"], ["foo"]] if r.random() < .2 else [[], ["MKSTREAM"]])
        return r.choice([
            lambda: ["XGROUP", "CREATE", k(), g(), r.choice(["0", "$", self.id()])] + make + reads,
            lambda: ["XGROUP", "CREATE", k(), "g1", r.choice(["0", "$"]), "MKSTREAM"],
            lambda: ["XGROUP", "SETID", k(), g(), r.choice(["0", "$", "-", self.id()])] + reads,
            lambda: ["XGROUP", "CREATECONSUMER", k(), g(), self.consumer()],
            lambda: ["XGROUP", "DELCONSUMER", k(), g(), self.consumer()],
            lambda: ["XGROUP", "DESTROY", k(), g()] if r.random() < .3 else ["XGROUP", "foo", k(), g()],
        ])()

    def claim(self):
        r = self.rng
        options = []
        for _ in range(r.choice([0, 0, 1, 1, 2, 3])):
            options += r.choice([["FORCE"], ["JUSTID"], ["IDLE", r.choice(["0", "1000000000", "-5", "abc"])],
                                 ["TIME", r.choice(["0", "5", "-1", "9223372036854775807", "abc"])],
                                 ["RETRYCOUNT", r.choice(["0", "3", "-1", "abc"])], ["LASTID", self.id()], ["force"]])
        if r.random() < 0.03:
            options.append(r.choice(["foo", "IDLE", "LASTID"]))
        return ["XCLAIM", self.key(), self.group(), self.consumer(), self.idle()] + self.some(self.id, 4) + options

    def auto_claim(self):
        r = self.rng
        options = r.choice([[], ["COUNT", self.count()], ["JUSTID"], ["COUNT", "2", "JUSTID"], ["foo"], ["COUNT"]])
        return ["XAUTOCLAIM", self.key(), self.group(), self.consumer(), self.idle(),
                r.choice(["0", "-", self.id(), "(" + self.id()])] + options

    def pending(self):
        r = self.rng
        words = r.choice([[], ["IDLE", self.idle()]]) + [self.bound(), self.bound(), self.count()]
        words += r.choice([[], [], [self.consumer()], [self.consumer(), "extra"]])
        if r.random() < 0.5:
            words = words[:-3] + ["-", "+", "10"]
        return ["XPENDING", self.key(), self.group()] + r.choice([[], words, words])

    def info(self):
        r = self.rng
        return r.choice([
            lambda: ["XINFO", "STREAM", self.key()], lambda: ["XINFO", "GROUPS", self.key()],
            lambda: ["XINFO", "CONSUMERS", self.key(), self.group()],
            lambda: ["XINFO", "STREAM", self.key(), "FULL"] + r.choice([[], [], ["COUNT", self.count()], ["COUNT"], ["x"],
                                                                        ["x", "1"]]),
            lambda: ["XINFO", r.choice(["foo", "stream"]), self.key(), "bar"],
        ])()

    def future(self):
        r = self.rng
        return r.choice([
            lambda: ["XADD", "xfuture", "%d-%d" % (FUTURE + r.randint(0, 9), r.randint(0, 9)), "f", "v"],
            lambda: ["XADD", "xfuture", "NOMKSTREAM", "*", "f", "v"],
            lambda: ["XADD", "xfuture", "NOMKSTREAM", "MAXLEN", "5", "*", "f", "v"],
            lambda: ["XADD", "xfuture", "NOMKSTREAM", "%d-*" % (FUTURE + r.randint(0, 9)), "f", "v"],
        ])()

    def commands(self, in_multi):
        r, k = self.rng, self.key
        adds = [lambda: self.add(in_multi), self.many, lambda: self.add(in_multi), self.group_change, self.read_group,
                self.read_group]
        return adds * 4 + [
            self.future, self.read, self.read, lambda: ["XLEN", k()],
            lambda: ["XRANGE", k(), self.bound(), self.bound()] + r.choice([[], ["COUNT", self.count()], ["COUNT"], ["x"]]),
            lambda: ["XREVRANGE", k(), self.bound(), self.bound()] + r.choice([[], ["COUNT", self.count()]]),
            lambda: ["XRANGE", k(), "-", "+"], lambda: ["XDEL", k()] + self.some(self.id, 3),
            lambda: ["XTRIM", k()] + self.trim(in_multi),
            lambda: ["XSETID", k(), self.id()] + r.choice([[], [], ["ENTRIESADDED", self.count()],
                                                           ["MAXDELETEDID", self.id()], ["foo"], ["MAXDELETEDID"]]),
            lambda: ["XSETID", k(), "%d-0" % r.randint(40, 60)], self.group_change, self.claim, self.claim, self.auto_claim,
            self.auto_claim, lambda: ["XACK", k(), self.group()] + self.some(self.id, 4), self.pending, self.pending,
            self.info, self.info, lambda: ["TYPE", k()], lambda: ["OBJECT", "ENCODING", k()],
            lambda: ["DEBUG", "DIGEST-VALUE", k()], lambda: ["SCAN", "0", "TYPE", "stream", "COUNT", "1000"],
            lambda: [r.choice(["RENAME", "COPY", "RENAMENX"]), k(), k()], lambda: ["COPY", k(), k(), "REPLACE"],
            lambda: ["DEL", k()] if r.random() < .3 else ["WATCH", k()],
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["XREAD", "COUNT", "1", "STREAMS", "a", "b", "0", "0"],
                                                       ["XREADGROUP", "GROUP", "g", "c", "STREAMS", "a", ">"],
                                                       ["XADD", "a", "*", "f", "v"], ["XGROUP", "DESTROY", "a", "g"],
                                                       ["XREAD", "foo", "STREAMS", "a", "0"]]),
        ]


CLOCKS = (b"idle", b"seen-time", b"radix-tree-keys", b"radix-tree-nodes")


def without_clocks(value):
    """Times of delivery, idle times and the shape of a radix tree are each server's own."""
    if isinstance(value, dict):
        return {"map": [(a, 0 if a in CLOCKS else without_clocks(b)) for a, b in value["map"]]}
    if isinstance(value, list):
        return [0 if i > 0 and value[i - 1] in CLOCKS else without_clocks(one) for i, one in enumerate(value)]
    return 0 if isinstance(value, int) and value > 10 ** 11 else value


def without_idle_times(entries):
    def bucket(idle):
        return "short" if idle < 10 ** 6 else "long"
    return [one[:2] + [bucket(one[2])] + one[3:] if isinstance(one, list) and len(one) == 4 else one for one in entries]


def same(command, ours, theirs):
    """True, False, or None if this is no command whose answer may differ."""
    name = command[0].upper() if isinstance(command[0], str) else ""
    if name == "XINFO" and isinstance(ours, (list, dict)):
        if len(command) > 1 and command[1].upper() == "HELP":  # in words of our own
            return isinstance(theirs, list)
        return repr(without_clocks(ours)) == repr(without_clocks(theirs))
    if name == "XGROUP" and len(command) > 1 and command[1].upper() == "HELP":
        return isinstance(ours, list) and isinstance(theirs, list)
    if name == "XPENDING" and len(command) > 3 and isinstance(ours, list) and isinstance(theirs, list):
        return repr(without_idle_times(ours)) == repr(without_idle_times(theirs))
    if name == "XTRIM" and "~" in command and isinstance(ours, int) and isinstance(theirs, int):
        limit = int(command[command.index("LIMIT") + 1]) if "LIMIT" in command else 10000
        return ours >= theirs and (limit == 0 or ours <= limit)
    return None


def settle(command, ours, theirs):
    """After a trim with ~, outside of MULTI: lets both streams have the same entries."""
    if command[0] not in ("XADD", "XTRIM") or "~" not in command:
        return
    lengths = [connection.command("XLEN", command[1]) for connection in (ours, theirs)]
    if isinstance(lengths[0], int) and lengths[0] != lengths[1]:
        assert lengths[0] < lengths[1], "%r left %r entries, and %r in Redis" % (command, lengths[0], lengths[1])
        if "MAXLEN" in [str(word).upper() for word in command[2:]]:
            words = [str(word).upper() for word in command]
            kept = int(command[words.index("MAXLEN") + 2])
            assert lengths[0] >= kept, "%r left %r entries" % (command, lengths[0])
        theirs.command("XTRIM", command[1], "MAXLEN", lengths[0])
