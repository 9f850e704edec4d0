"""Random commands on HyperLogLogs for oracle_test.py."""

HEADER = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\x80"
OUT_OF_DATE = HEADER[8:]


class HyperLogLogs:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key, value):
        self.rng, self.any_key, self.value = rng, any_key, value

    def key(self):
        r = self.rng
        return self.any_key() if r.random() < 0.04 else r.choice(["p1", "p2", "p3", "p4"])

    def element(self):
        return self.value()[:100] if self.rng.random() < 0.1 else "e%d" % self.rng.randint(0, 5000)

    def elements(self):
        r = self.rng
        count = r.choice([0, 1, 1, 1, 2, 5, 10, 50, 300] + [1500] * (r.random() < 0.2))
        return [self.element() for _ in range(count)]

    def some(self, most):
        return [self.key() for _ in range(self.rng.randint(1, most))]

    def not_one(self):
        return self.rng.choice([b"HYLL", HEADER, HEADER[:4] + b"\x02" + HEADER[5:] + b"\x7f\xff", b"", b"17",
                                HEADER[:4] + b"\0" + HEADER[5:] + b"short", b"hyll" + HEADER[4:] + b"\x7f\xff",
                                HEADER[:15] + b"\0" + b"\x7f\xff"])

    def commands(self, in_multi):
        r, k = self.rng, self.key
        return [
            lambda: ["PFADD", k()] + self.elements(), lambda: ["PFADD", k()] + self.elements(),
            lambda: ["PFADD", k()] + self.elements(),
            # In MULTI one key alone would leave a remembered count in Redis that is not ours to make.
            lambda: ["PFCOUNT", k()] + (self.some(2) if in_multi else []), lambda: ["PFCOUNT", k()] + self.some(3),
            lambda: ["PFMERGE"] + self.some(3), lambda: ["GET", k()], lambda: ["STRLEN", k()],
            lambda: ["PFDEBUG", r.choice(["ENCODING", "decode", "encoding", "GETREG", "ToDense", "foo"]), k()],
            lambda: ["SET", k(), self.not_one()] if r.random() < 0.3 else ["DEL", k()],
            lambda: [r.choice(["COPY", "RENAME"]), k(), k()], lambda: ["EXPIRE", k(), "100000"],
            lambda: ["CONFIG", "SET", "hll-sparse-max-bytes", r.choice(["3000", "3000", "100", "0", "16000", "x", "-1"])]
            if r.random() < 0.2 else ["TYPE", k()],
        ]


def forget_count(command, reply, connections):
    """Redis writes the count into the value when it has counted one; here reads do not write. Makes both the same."""
    if command[0].upper() != "PFCOUNT" or len(command) != 2 or not isinstance(reply, int):
        return
    if isinstance(connections[1].command("PFDEBUG", "ENCODING", command[1]), str) and \
            connections[1].command("STRLEN", command[1]) >= 16:
        for connection in connections:
            connection.command("SETRANGE", command[1], "8", OUT_OF_DATE)
