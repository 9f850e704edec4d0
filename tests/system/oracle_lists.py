"""Random commands on lists for oracle_test.py. Those that wait do so for 10 ms at most."""


class Lists:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key, value, small):
        self.rng, self.any_key, self.value, self.small = rng, any_key, value, small

    def list(self):
        return self.any_key() if self.rng.random() < 0.05 else self.rng.choice(["l1", "l2", "l3", "l4"])

    def item(self):
        return self.value() if self.rng.random() < 0.2 else "i%d" % self.rng.randint(0, 9)

    def some(self, make, most):
        return [make() for _ in range(self.rng.randint(1, most))]

    def end(self):
        r = self.rng
        return r.choice(["LEFT", "RIGHT"] * 8 + ["left", "rIght", "middle", ""])

    def timeout(self):
        r = self.rng
        return r.choice(["0.01"] * 8 + ["0.005", "1e-3", "-1", "abc", "", "nan", "inf", "1e30", " 1", "0x0.01p0"])

    def count(self):
        r = self.rng
        return r.choice(["1", "2", "3", "100"] * 3 + ["0", "-1", "abc", "", "9223372036854775807", "1.5"])

    def keys_and_end(self):
        r = self.rng
        keys = self.some(self.list, 3)
        number = str(len(keys)) if r.random() < 0.9 else r.choice(["0", "-1", "abc", "1", "5", ""])
        options = r.choice([[], [], ["COUNT", self.count()], ["count", self.count()], ["COUNT"], ["foo"],
                            ["COUNT", "1", "COUNT", "1"]])
        return [number] + keys + [self.end()] + options

    def position_options(self):
        r, out = self.rng, []
        for _ in range(r.choice([0, 0, 1, 2, 3])):
            name = r.choice(["RANK", "COUNT", "MAXLEN", "rank", "foo"])
            out.append(name)
            if r.random() < 0.95:
                out.append(r.choice(["1", "2", "-1", "-2", "3", "0", "100", "-100"] * 3 +
                                    ["abc", "", "9223372036854775807", "-9223372036854775807"]))
        return out

    def commands(self, in_multi):
        r, l, item, small = self.rng, self.list, self.item, self.small
        pushes = [
            lambda: [r.choice(["LPUSH", "RPUSH"]), l()] + self.some(item, 6),
            lambda: [r.choice(["LPUSH", "RPUSH"]), l()] + [str(i) for i in range(r.choice([5, 100, 300]))],
        ]
        others = [
            lambda: [r.choice(["LPUSHX", "RPUSHX"]), l()] + self.some(item, 3),
            lambda: [r.choice(["LPOP", "RPOP"]), l()], lambda: [r.choice(["LPOP", "RPOP"]), l(), self.count()],
            lambda: ["LLEN", l()], lambda: ["LRANGE", l(), small(), small()], lambda: ["LRANGE", l(), "0", "-1"],
            lambda: ["LINDEX", l(), small()], lambda: ["LSET", l(), small(), item()],
            lambda: ["LINSERT", l(), r.choice(["BEFORE", "AFTER", "after", "beside"]), item(), item()],
            lambda: ["LREM", l(), small(), item()], lambda: ["LTRIM", l(), small(), small()],
            lambda: ["LPOS", l(), item()] + self.position_options(), lambda: ["LMOVE", l(), l(), self.end(), self.end()],
            lambda: ["RPOPLPUSH", l(), l()], lambda: ["LMPOP"] + self.keys_and_end(),
            lambda: [r.choice(["RENAME", "RENAMENX", "COPY"]), l(), l()],
            lambda: ["COPY", l(), l(), "REPLACE"], lambda: ["TYPE", l()], lambda: ["OBJECT", "ENCODING", l()],
            lambda: ["DEBUG", "DIGEST-VALUE", l()], lambda: ["EXPIRE", l(), "100000"],
            lambda: [r.choice(["MOVE"]), l(), r.choice(["1", "2"])], lambda: ["WATCH", l()],
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["LMPOP"] + self.keys_and_end(), ["BLPOP", "a", "b", "0"],
                                                       ["LMOVE", "a", "b", "LEFT", "LEFT"]]),
        ]
        waiting = [
            lambda: [r.choice(["BLPOP", "BRPOP"])] + self.some(l, 3) + [self.timeout()],
            lambda: ["BLMOVE", l(), l(), self.end(), self.end(), self.timeout()],
            lambda: ["BRPOPLPUSH", l(), l(), self.timeout()], lambda: ["BLMPOP", self.timeout()] + self.keys_and_end(),
        ]
        return pushes * 4 + others + waiting * (3 if in_multi else 1)
