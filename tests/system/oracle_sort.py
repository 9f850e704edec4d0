"""Random SORT and SORT_RO for oracle_test.py.

What Redis leaves to chance is not asked for: the order of elements that compare equal, which only BY with ALPHA makes of
different ones, is that of a list and stays so only without LIMIT; and that of a set that is not to be sorted.
"""

ELEMENTS = ["1", "2", "3", "10", "-5", "2.5", "1e2", "007", " 4", "0x10", "11", "12", "13", "-0.5", "42"]


class Sorting:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key, small):
        self.rng, self.any_key, self.small = rng, any_key, small

    def key(self, kinds="lsz"):
        r = self.rng
        if len(kinds) > 1 and r.random() < 0.03:
            return r.choice(["h1", "k1", "none"])
        return "t%s%d" % (r.choice(kinds), r.randint(1, 2))

    def element(self):
        r = self.rng
        return r.choice(ELEMENTS) if r.random() < 0.97 else r.choice(["abc", "", "1a", "nan", "inf", "1e999"])

    def elements(self):
        return [self.element() for _ in range(self.rng.choice([1, 3, 8]))]

    def words(self, may_store):
        """A key and options."""
        r, options = self.rng, []
        key, alpha, by = self.key(), r.random() < 0.35, r.random()
        store = may_store and r.random() < 0.4
        limit = r.random() < 0.35
        if by < 0.2 and not alpha:
            options.append(["BY", r.choice(["w_*", "o_*->f", "o_*->", "*", "x*y", "o_*->nothing"])])
        elif by < 0.3 and alpha and not limit:
            key = self.key("l")
            options.append(["by", r.choice(["w_*", "o_*->f", "a_*"])])
        elif by < 0.4 and not (key.startswith("ts") and not store):
            options.append(["BY", r.choice(["nosort", "constant", "w_1"])])
        if alpha:
            options.append(["ALPHA"])
        if limit:
            options.append(["LIMIT", self.small(), self.small()])
        options += [["GET", r.choice(["#", "w_*", "o_*->f", "o_*->g", "nothing", "*"])]
                    for _ in range(r.choice([0, 0, 0, 1, 2]))]
        if r.random() < 0.5:
            options.append([r.choice(["ASC", "DESC", "desc"])])
        if store:
            options.append(["STORE", r.choice(["td1", "td2", self.key("lsz"), "w_1"])])
        if r.random() < 0.03 and not key.startswith("ts"):  # a set's own order is nobody's business
            options.append([r.choice(["foo", "LIMIT", "BY", "GET", "STORE", "LIMIT 1"])])
        r.shuffle(options)
        return [key] + [word for option in options for word in option]

    def commands(self):
        r = self.rng
        return [
            lambda: ["RPUSH", self.key("l")] + self.elements(), lambda: ["SADD", self.key("s")] + self.elements(),
            lambda: ["ZADD", self.key("z")] + [x for e in self.elements() for x in (str(r.randint(1, 9)), e)],
            lambda: ["DEL", self.key("lsz")] if r.random() < 0.5 else ["TYPE", self.key()],
            lambda: ["SET", "w_" + self.element(), self.element()], lambda: ["SET", "a_" + self.element(), self.element()],
            lambda: ["HSET", "o_" + self.element(), r.choice(["f", "g"]), self.element()],
            lambda: ["SORT"] + self.words(True), lambda: ["SORT"] + self.words(True), lambda: ["SORT"] + self.words(True),
            lambda: ["SORT_RO"] + self.words(False), lambda: ["LRANGE", r.choice(["td1", "td2"]), "0", "-1"],
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["SORT", "a", "STORE", "b"], ["SORT", "a", "BY", "store", "GET", "x"],
                                                       ["SORT", "a", "STORE", "b", "STORE", "c"], ["SORT_RO", "a"]]),
        ]


def forget_overflow(redis):
    """Redis forgets to reset errno: once a number overflowed anywhere, SORT by numbers may fail. What reads a score does."""
    redis.command("ZADD", "no such key", "XX", "1", "a")


def asks_for_chance(command, redis):
    """Whether this sorts a set in no order: what comes first is then nobody's."""
    words = [word.upper() if isinstance(word, str) else word for word in command[2:]]
    unordered = any(word == "BY" and "*" not in str(command[at + 3:at + 4]) for at, word in enumerate(words))
    return unordered and "STORE" not in words and redis.command("TYPE", command[1]) == "set"
