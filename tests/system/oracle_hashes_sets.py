"""Random commands on hashes and sets for oracle_test.py, and how their replies are compared."""

INCREMENTS = ["1", "-1", "5", "100", "9223372036854775807", "-9223372036854775808", "abc", "", "1.5", " 1", "01"]
FLOATS = ["1", "0.1", "-2.5", "1e5", "3.0e-3", "abc", "inf", "-inf", "nan", "", " 1", "0x10", "1e400", "1e4931"]
COUNTS = ["0", "1", "2", "3", "5", "100", "-1", "-3", "-20"]
BAD_COUNTS = ["abc", "", "1.5", "9223372036854775808", "-9223372036854775808"]


class HashesAndSets:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key, value):
        self.rng, self.any_key, self.value = rng, any_key, value

    def hash(self):
        return self.any_key() if self.rng.random() < 0.08 else self.rng.choice(["h1", "h2", "h3"])

    def set(self):
        return self.any_key() if self.rng.random() < 0.05 else self.rng.choice(["s1", "s2", "s3", "s4", "s5"])

    def field(self):
        r = self.rng
        return r.choice([lambda: "f%d" % r.randint(0, 12), lambda: "f%d" % r.randint(0, 12), lambda: "counter",
                         lambda: "float", lambda: "", lambda: "field\r\n", lambda: "x" * r.choice([63, 64, 65]),
                         lambda: "long" * 150 + str(r.randint(0, 2)), lambda: str(r.randint(0, 800))])()

    def member(self):
        r = self.rng
        if r.random() < 0.6:
            return str(r.randint(-5, 30))
        return r.choice([lambda: "m%d" % r.randint(0, 20), lambda: "", lambda: r.choice(["01", "-0", "1.0", " 1"]),
                         lambda: "9223372036854775807", lambda: "9223372036854775808", lambda: "\x00\r\n",
                         lambda: "long" * 150 + str(r.randint(0, 2)), lambda: str(r.randint(0, 100000))])()

    def some(self, make, most):
        return [make() for _ in range(self.rng.randint(1, most))]

    def pairs(self):
        r = self.rng
        pairs = [x for _ in range(r.randint(1, 4)) for x in (self.field(), self.value())]
        return pairs[:-1] if r.random() < 0.05 else pairs

    def count(self):
        return self.rng.choice(BAD_COUNTS if self.rng.random() < 0.1 else COUNTS)

    def scan(self, values):
        r = self.rng
        options = [["COUNT", "100000"], ["COUNT", "100000"], ["MATCH", "*", "COUNT", "100000"],
                   ["MATCH", "f*", "COUNT", "100000"], ["MATCH", "[1-3]*", "count", "100000"], ["COUNT", "0"], ["COUNT"],
                   ["COUNT", "x"], ["MATCH"], ["TYPE", "hash"], ["foo"]]
        return [r.choice(["0", "0", "0", "00", "x", " 0", ""])] + r.choice(options)

    def many_fields(self):
        return ["HSET", self.hash()] + [x for i in range(self.rng.choice([100, 300, 600])) for x in ("n%d" % i, str(i))]

    def many_members(self):
        r = self.rng
        start = r.randint(0, 1000)
        return ["SADD", self.set()] + [str(i) for i in range(start, start + r.choice([100, 300, 600]))]

    def hash_commands(self):
        r, h, f, v = self.rng, self.hash, self.field, self.value
        return [
            lambda: ["HSET", h()] + self.pairs(), lambda: ["HSET", h()] + self.pairs(), lambda: ["HMSET", h()] + self.pairs(),
            lambda: ["HSETNX", h(), f(), v()], lambda: ["HGET", h(), f()], lambda: ["HMGET", h()] + self.some(f, 4),
            lambda: ["HGETALL", h()], lambda: ["HKEYS", h()], lambda: ["HVALS", h()], lambda: ["HLEN", h()],
            lambda: ["HEXISTS", h(), f()], lambda: ["HSTRLEN", h(), f()], lambda: ["HDEL", h()] + self.some(f, 5),
            lambda: ["HDEL", h()] + ["f%d" % i for i in range(13)],
            lambda: ["HINCRBY", h(), r.choice([f(), "counter"]), r.choice(INCREMENTS)],
            lambda: ["HINCRBYFLOAT", h(), r.choice([f(), "float", "counter"]), r.choice(FLOATS)],
            lambda: ["HRANDFIELD", h()], lambda: ["HRANDFIELD", h(), self.count()],
            lambda: ["HRANDFIELD", h(), self.count(), r.choice(["WITHVALUES", "withvalues", "foo"])],
            lambda: ["HRANDFIELD", h(), "9223372036854775807", "WITHVALUES"],
            lambda: ["HSCAN", h()] + self.scan(True), lambda: ["OBJECT", "ENCODING", h()], lambda: ["TYPE", h()],
            lambda: ["COPY", h(), h()] + r.choice([[], ["REPLACE"]]), lambda: ["RENAME", h(), h()],
            lambda: ["DEL", h()] if r.random() < 0.3 else ["HLEN", h()],
            lambda: self.many_fields() if r.random() < 0.2 else ["HLEN", h()], lambda: ["MOVE", h(), r.choice(["1", "2"])],
            lambda: ["PEXPIREAT", h(), r.choice(["4102444800000", "4102444900000", "1"])] if r.random() < .5 else ["PERSIST", h()],
            lambda: ["DEBUG", "DIGEST-VALUE", h()], lambda: ["MEMORY", "USAGE", "no such key"],
        ]

    def set_commands(self):
        r, s, m = self.rng, self.set, self.member
        sets = lambda: self.some(s, 4)  # noqa: E731
        return [
            lambda: ["SADD", s()] + self.some(m, 6), lambda: ["SADD", s()] + self.some(m, 6), lambda: ["SADD", s(), m()],
            lambda: ["SREM", s()] + self.some(m, 6), lambda: ["SMEMBERS", s()], lambda: ["SISMEMBER", s(), m()],
            lambda: ["SMISMEMBER", s()] + self.some(m, 4), lambda: ["SCARD", s()], lambda: ["SPOP", s()],
            lambda: ["SPOP", s(), self.count()], lambda: ["SPOP", s(), "1", "2"], lambda: ["SRANDMEMBER", s()],
            lambda: ["SRANDMEMBER", s(), self.count()], lambda: ["SRANDMEMBER", s(), "1", "2"],
            lambda: ["SMOVE", s(), s(), m()], lambda: ["SMOVE", s(), s(), m()], lambda: ["SINTER"] + sets(),
            lambda: ["SUNION"] + sets(), lambda: ["SDIFF"] + sets(), lambda: ["SINTERSTORE", s()] + sets(),
            lambda: ["SUNIONSTORE", s()] + sets(), lambda: ["SDIFFSTORE", s()] + sets(),
            lambda: ["SDIFFSTORE", s()] + sets(),
            lambda: ["SINTERCARD", r.choice(["1", "2", "2", "3", "0", "-1", "x"])] + self.some(s, 3) +
            r.choice([[], [], ["LIMIT", r.choice(["0", "1", "3", "-1", "x"])], ["LIMIT"], ["foo"]]),
            lambda: ["SSCAN", s()] + self.scan(False), lambda: ["OBJECT", "ENCODING", s()], lambda: ["TYPE", s()],
            lambda: ["COPY", s(), s()] + r.choice([[], ["REPLACE"]]), lambda: ["RENAME", s(), s()],
            lambda: ["DEL", s()] if r.random() < 0.3 else ["SCARD", s()],
            lambda: self.many_members() if r.random() < 0.2 else ["SCARD", s()],
            lambda: ["PEXPIREAT", s(), r.choice(["4102444800000", "4102444900000", "1"])] if r.random() < .5 else ["PERSIST", s()],
            lambda: ["DEBUG", "DIGEST-VALUE", s()], lambda: ["SCAN", "0", "COUNT", "1000", "TYPE", r.choice(["set", "hash"])],
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["SINTERCARD", "2", "a", "b", "LIMIT", "1"], ["SINTERCARD", "9", "a"],
                     ["SUNIONSTORE", "d", "a", "b"], ["HSET", "h", "a", "b"], ["SMOVE", "a", "b", "c"]]),
        ]


# ---- laws ------------------------------------------------------------------------------------------------------------

UNORDERED = {"SMEMBERS", "SINTER", "SUNION", "SDIFF", "HKEYS", "HVALS"}


def as_pairs(flat):
    return sorted(zip(flat[::2], flat[1::2]))


def is_list(*values):
    return all(isinstance(value, list) for value in values)


def same_kind(a, b):
    return type(a) is type(b)


def same_picks(command, ours, theirs):
    """Random picks: as many of the same form; all there are when all are asked for is left to the caller's laws."""
    if not same_kind(ours, theirs):
        return False
    if not is_list(ours):
        return isinstance(ours, bytes)
    if len(ours) != len(theirs):
        return False
    if len(command) < 3 or int(command[2]) < 0:
        return all(same_kind(a, b) for a, b in zip(ours, theirs))
    if len(command) > 3:
        ours = [pair[0] for pair in ours] if is_list(*ours) else ours[::2]
    return len(set(ours)) == len(ours)


def is_page(ours, theirs):
    """Of a scan that is not over: what is on it is not comparable."""
    return ours[0] != b"0" or theirs[0] != b"0"


def same(command, ours, theirs):
    """True, False, or None if this is no command of hashes and sets."""
    name = command[0].upper()
    if name in UNORDERED and is_list(ours, theirs):
        return same_kind(ours, theirs) and sorted(ours) == sorted(theirs)
    if name == "HGETALL" and is_list(ours, theirs):
        return as_pairs(ours) == as_pairs(theirs)
    if name in ("HSCAN", "SSCAN") and is_list(ours, theirs):
        if is_page(ours, theirs):
            return True
        return as_pairs(ours[1]) == as_pairs(theirs[1]) if name == "HSCAN" else sorted(ours[1]) == sorted(theirs[1])
    if name == "SPOP" and is_list(ours, theirs):  # only when all are popped; else see pop()
        return same_kind(ours, theirs) and sorted(ours) == sorted(theirs)
    if name in ("HRANDFIELD", "SRANDMEMBER"):
        return same_picks(command, ours, theirs)
    return None


def picks_are_members(command, ours, connection):
    """Whether what ours picked is in the collection."""
    name, key = command[0].upper(), command[1]
    if name == "SRANDMEMBER":
        have = set(connection.command("SMEMBERS", key))
        return set(ours if is_list(ours) else [ours]) <= have
    reply = connection.command("HGETALL", key)
    have = dict(reply["map"] if isinstance(reply, dict) else zip(reply[::2], reply[1::2]))
    if not is_list(ours):
        return ours in have
    if len(command) < 4:
        return set(ours) <= set(have)
    pairs = ours if ours and is_list(ours[0]) else zip(ours[::2], ours[1::2])
    return all(have.get(field) == value for field, value in pairs)


def pops_at_random(command, theirs):
    """The number of members to be popped if chance decides which, else None."""
    if command[0].upper() != "SPOP" or len(command) not in (2, 3):
        return None
    size = theirs.command("SCARD", command[1])
    try:
        count = 1 if len(command) == 2 else int(command[2])
    except ValueError:
        return None
    return count if isinstance(size, int) and 0 < count < size else None


def pop(command, count, ours, theirs):
    """Pops from ours and removes the same from theirs. Returns what is wrong, or None."""
    popped = ours.command(*command)
    members = [popped] if isinstance(popped, bytes) else popped
    if not is_list(members) or len(members) != count or len(set(members)) != count:
        return "popped %r, expected %d members" % (popped, count)
    if (len(command) == 2) != isinstance(popped, bytes):
        return "the reply is of the wrong form: %r" % (popped,)
    removed = theirs.command("SREM", command[1], *members)
    return None if removed == count else "popped %r, only %r of which were members" % (popped, removed)
