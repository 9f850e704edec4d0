"""Random commands on sorted sets for oracle_test.py. Those that wait do so for 10 ms at most.

All members of zlex have score 0: Redis leaves open what ranges by name are over members of different scores.
"""

ALPHABET = "abcdefghij"


class SortedSets:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key, value, small):
        self.rng, self.any_key, self.value, self.small = rng, any_key, value, small

    def key(self):
        r = self.rng
        return self.any_key() if r.random() < 0.05 else r.choice(["z1", "z2", "z3", "z4"])

    def source(self):
        return self.rng.choice(["s1", "s2", "zlex"]) if self.rng.random() < 0.15 else self.key()

    def member(self):
        r = self.rng
        if r.random() < 0.05:
            return self.value()[:400]
        return "m%d" % r.randint(0, 12) if r.random() < 0.7 else r.choice(ALPHABET) * r.randint(1, 3)

    def score(self):
        r = self.rng
        if r.random() < 0.08:
            return r.choice(["abc", "", "nan", " 1", "1 ", "1e400", "-1e400", "1e-400", "0x", "--1", "1.5.5"])
        return r.choice([
            lambda: str(r.randint(-5, 5)), lambda: str(r.randint(-5, 5)), lambda: "%.1f" % r.uniform(-3, 3),
            lambda: repr(r.uniform(-1e3, 1e3)), lambda: repr(r.uniform(-1, 1) * 10 ** r.randint(-30, 30)),
            lambda: r.choice(["inf", "-inf", "+inf", "INF", "infinity", "-0", "0", "1e3", "0x10", "0.1", "0.3", "+5",
                              "4503599627370496", "-4503599627370497", "9007199254740993", "1e17", "1e21", "1e308",
                              "-1e308", "5e-324", "123456789012345678", "3.0", ".5", "5."]),
        ])()

    def bound(self):
        r = self.rng
        if r.random() < 0.05:
            return r.choice(["abc", "(", "((1", "nan", "(nan", "", " 1", "1e400", "[1", "-", "+"])
        return r.choice(["", "", "("]) + r.choice(["-inf", "+inf", "inf", str(r.randint(-5, 5)), str(r.randint(-5, 5)),
                                                   "%.1f" % r.uniform(-3, 3)])

    def name_bound(self):
        r = self.rng
        if r.random() < 0.05:
            return r.choice(["", "a", "-a", "+a", "1", "( ", "]a"])
        return r.choice(["-", "+", "[" + self.lex_member(), "(" + self.lex_member(), "[", "("])

    def lex_member(self):
        r = self.rng
        return "".join(r.choice(ALPHABET) for _ in range(r.randint(1, 3)))

    def some(self, make, most):
        return [make() for _ in range(self.rng.randint(1, most))]

    def pairs(self, most):
        return [x for _ in range(self.rng.randint(1, most)) for x in (self.score(), self.member())]

    def timeout(self):
        r = self.rng
        return r.choice(["0.01"] * 8 + ["0.005", "-1", "abc", "", "nan", "inf", "1e30", " 1"])

    def count(self):
        return self.rng.choice(["1", "2", "3", "100"] * 3 + ["0", "-1", "abc", "", "9223372036854775807", "1.5"])

    def add_options(self):
        r = self.rng
        return [r.choice(["NX", "XX", "GT", "LT", "CH", "INCR", "ch", "gt"])
                for _ in range(r.choice([0, 0, 1, 1, 2, 3]))]

    def limit(self):
        r = self.rng
        if r.random() < 0.6:
            return []
        return r.choice([["LIMIT", self.small(), self.small()], ["limit", "1", "2"], ["LIMIT", "0", "-1"], ["LIMIT", "1"],
                         ["LIMIT", "2", "1", "LIMIT", "0", "2"]])

    def scores(self):
        return self.rng.choice([[], [], ["WITHSCORES"], ["withscores"], ["foo"]] if self.rng.random() < .2 else
                               [[], ["WITHSCORES"]])

    def key_and_range(self):
        words = self.range()
        return [self.key() if "BYLEX" not in words else "zlex"] + words

    def range(self):
        """Bounds and options of ZRANGE."""
        r = self.rng
        kind = r.choice(["", "", "BYSCORE", "BYSCORE", "BYLEX"])
        make = {"": self.small, "BYSCORE": self.bound, "BYLEX": self.name_bound}[kind]
        options = [[kind] if kind else [], ["REV"] if r.random() < 0.4 else [], self.limit(), self.scores()]
        if r.random() < 0.05:
            options.append([r.choice(["BYLEX", "BYSCORE", "REV", "LIMIT"])])
        r.shuffle(options)
        return [make(), make()] + [word for option in options for word in option]

    def keys_and_end(self):
        r = self.rng
        keys = self.some(self.key, 3)
        number = str(len(keys)) if r.random() < 0.9 else r.choice(["0", "-1", "abc", "1", "5", ""])
        options = r.choice([[], [], ["COUNT", self.count()], ["count", self.count()], ["COUNT"], ["foo"],
                            ["COUNT", "1", "COUNT", "1"]])
        return [number] + keys + [r.choice(["MIN", "MAX", "min", "mAx"] * 5 + ["LEFT", ""])] + options

    def sources(self, options):
        r = self.rng
        keys = self.some(self.source, 3)
        number = str(len(keys)) if r.random() < 0.93 else r.choice(["0", "-1", "abc", "1", "5", ""])
        words = [number] + keys
        for _ in range(r.choice([0, 0, 1, 1, 2])):
            option = r.choice(options)
            words.append(option)
            if option == "WEIGHTS":
                words += [r.choice(["1", "2", "-1", "0", "0.5", "inf", "-inf"] * 3 + ["abc", "", "nan"]) for _ in keys]
            elif option == "AGGREGATE":
                words.append(r.choice(["SUM", "MIN", "MAX", "sum", "min", "max"] * 4 + ["avg", ""]))
            elif option == "LIMIT":
                words.append(r.choice(["0", "1", "2", "100", "-1", "abc"]))
        return words

    def lex_keys(self):
        return [x for _ in range(self.rng.choice([3, 10, 60])) for x in ("0", self.lex_member())]

    def many(self):
        """More than what Redis keeps in a listpack."""
        first = self.rng.randint(0, 1000)
        return [x for i in range(self.rng.choice([100, 130, 200]))
                for x in (str((first + i * 7) % 31), "n%d" % (first + i))]

    def commands(self, in_multi):
        r, k, small, member = self.rng, self.key, self.small, self.member
        weighed, plain = ["WEIGHTS", "AGGREGATE"], ["foo"]
        adds = [
            lambda: ["ZADD", k()] + self.pairs(6), lambda: ["ZADD", k()] + self.add_options() + self.pairs(2),
            lambda: ["ZADD", k()] + self.add_options() + self.pairs(1), lambda: ["ZADD", "zlex"] + self.lex_keys(),
            lambda: ["ZINCRBY", k(), self.score(), member()], lambda: ["ZADD", k()] + self.many(),
        ]
        reads = [
            lambda: ["ZCARD", k()], lambda: ["ZSCORE", k(), member()], lambda: ["ZMSCORE", k()] + self.some(member, 4),
            lambda: [r.choice(["ZRANK", "ZREVRANK"]), k(), member()], lambda: ["ZCOUNT", k(), self.bound(), self.bound()],
            lambda: ["ZLEXCOUNT", "zlex", self.name_bound(), self.name_bound()],
            lambda: ["ZRANGE"] + self.key_and_range(), lambda: ["ZRANGE"] + self.key_and_range(),
            lambda: ["ZREVRANGE", k(), small(), small()] + self.scores(), lambda: ["ZRANGE", k(), "0", "-1", "WITHSCORES"],
            lambda: [r.choice(["ZRANGEBYSCORE", "ZREVRANGEBYSCORE"]), k(), self.bound(), self.bound()] + self.limit() +
            self.scores(),
            lambda: [r.choice(["ZRANGEBYLEX", "ZREVRANGEBYLEX"]), "zlex", self.name_bound(), self.name_bound()] +
            self.limit(),
            lambda: ["ZSCAN", k(), "0", "COUNT", "10000"] + r.choice([[], ["MATCH", "m*"], ["NOVALUES"], ["COUNT"]]),
            lambda: ["ZRANDMEMBER", k()] + r.choice([[], [small()], [small(), "WITHSCORES"], ["3", "foo"],
                                                     ["9223372036854775807", "WITHSCORES"], ["1", "WITHSCORES", "x"]]),
            lambda: ["ZUNION"] + self.sources(weighed + ["WITHSCORES"]),
            lambda: ["ZINTER"] + self.sources(weighed + ["WITHSCORES"]),
            lambda: ["ZDIFF"] + self.sources(["WITHSCORES", "WITHSCORES", "AGGREGATE"]),
            lambda: ["ZINTERCARD"] + self.sources(["LIMIT", "LIMIT", "WEIGHTS"]),
            lambda: ["OBJECT", "ENCODING", k()], lambda: ["DEBUG", "DIGEST-VALUE", k()], lambda: ["TYPE", k()],
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["ZUNIONSTORE", "d", "2", "a", "b"], ["ZUNION", "2", "a", "b"],
                                                       ["ZMPOP", "1", "a", "MIN"], ["ZRANGESTORE", "a", "b", "0", "1"],
                                                       ["BZPOPMIN", "a", "b", "0"], ["BZMPOP", "0", "1", "a", "MAX"]]),
        ]
        writes = [
            lambda: ["ZREM", k()] + self.some(member, 4), lambda: ["ZREM", "zlex"] + self.some(self.lex_member, 4),
            lambda: ["ZREMRANGEBYRANK", k(), small(), small()],
            lambda: ["ZREMRANGEBYSCORE", k(), self.bound(), self.bound()],
            lambda: ["ZREMRANGEBYLEX", "zlex", self.name_bound(), self.name_bound()],
            lambda: [r.choice(["ZPOPMIN", "ZPOPMAX"]), k()] + r.choice([[], [], [self.count()], ["1", "2"]]),
            lambda: ["ZMPOP"] + self.keys_and_end(), lambda: ["ZRANGESTORE", k()] + self.key_and_range(),
            lambda: ["ZUNIONSTORE", k()] + self.sources(weighed), lambda: ["ZINTERSTORE", k()] + self.sources(weighed),
            lambda: ["ZDIFFSTORE", k()] + self.sources(plain),
            lambda: ["SADD", r.choice(["s1", "s2"])] + self.some(member, 3),
            lambda: [r.choice(["RENAME", "COPY", "RENAMENX"]), k(), k()], lambda: ["COPY", k(), k(), "REPLACE"],
            lambda: ["EXPIRE", k(), "100000"], lambda: ["WATCH", k()], lambda: ["DEL", "zlex"],
        ]
        waiting = [
            lambda: [r.choice(["BZPOPMIN", "BZPOPMAX"])] + self.some(k, 3) + [self.timeout()],
            lambda: ["BZMPOP", self.timeout()] + self.keys_and_end(),
        ]
        return adds * 5 + reads * 2 + writes + waiting * (3 if in_multi else 1)


def is_list(*values):
    return all(isinstance(value, list) for value in values)


def same(command, ours, theirs):
    """True, False, or None if this is no command whose answer has no order."""
    name = command[0].upper()
    if name == "ZSCAN" and is_list(ours, theirs):
        def pairs(words):
            return sorted(zip(words[::2], words[1::2]))
        if ours[0] != b"0" or theirs[0] != b"0":  # a page of a scan that is not over
            return True
        return len(ours[1]) == len(theirs[1]) and pairs(ours[1]) == pairs(theirs[1])
    if name != "ZRANDMEMBER" or not is_list(ours, theirs) and not isinstance(theirs, bytes):
        return None
    if isinstance(theirs, bytes):
        return isinstance(ours, bytes)
    return is_list(ours) and len(ours) == len(theirs) and [type(a) for a in ours] == [type(b) for b in theirs]


def picks_are_members(command, ours, connection):
    """Whether what ours picked is in the sorted set."""
    have = connection.command("ZRANGE", command[1], "0", "-1")
    picked = ours if is_list(ours) else [ours]
    if len(command) > 3:
        picked = [pair[0] for pair in picked] if picked and is_list(picked[0]) else picked[::2]
    return set(picked) <= set(have) and (len(command) < 3 or int(command[2]) < 0 or len(set(picked)) == len(picked))
