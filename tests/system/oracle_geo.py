"""Random geo commands for oracle_test.py."""

CITIES = [(13.361389, 38.115556), (15.087269, 37.502669), (2.35, 48.85), (-0.1, 51.5), (179.9, 10.0), (-179.9, 10.1),
          (0.0, 0.0), (25.0, 84.5), (-70.0, -84.9), (139.7, 35.7), (-122.4, 37.8)]


class Geo:
    """`any_key` makes a key that may hold anything."""

    def __init__(self, rng, any_key):
        self.rng, self.any_key = rng, any_key

    def key(self):
        r = self.rng
        return self.any_key() if r.random() < 0.04 else r.choice(["geo1", "geo2", "geo3"])

    def member(self):
        return "m%d" % self.rng.randint(0, 60)

    def position(self):
        r = self.rng
        if r.random() < 0.04:
            # At the edges, but not at one place: the order of members at the same place is nobody's.
            edge = repr(180 - r.uniform(0, 0.01))
            return r.choice([["181", "0"], ["0", "86"], ["-" + edge, "-85.05112878"], [edge, "85.05112878"], ["abc", "1"],
                             ["1", ""], ["nan", "0"], ["-180.0001", "0"], ["inf", "0"]])
        longitude, latitude = r.choice(CITIES)
        spread = r.choice([0.05, 0.1, 3, 40])
        longitude = (longitude + r.uniform(-spread, spread) + 180) % 360 - 180
        latitude = max(-85.05, min(85.05, latitude + r.uniform(-spread, spread)))
        return [repr(longitude), repr(latitude)]

    def unit(self):
        r = self.rng
        return r.choice(["m", "km", "mi", "ft", "KM"]) if r.random() < 0.97 else r.choice(["", "yd", "meters"])

    def length(self):
        r = self.rng
        if r.random() < 0.04:
            return r.choice(["-1", "abc", "", "nan", "0", "inf"])
        return repr(r.choice([1, 10, 200, 1000, 5000, 20000, 40000]) * r.uniform(0.1, 2))

    def count(self):
        r = self.rng
        return r.choice(["1", "3", "10", "100"]) if r.random() < 0.93 else r.choice(["0", "-1", "abc", "1.5"])

    def options(self, words, target):
        """Options in random order; `words` are flags, `target` makes those of a form that stores."""
        r, out = self.rng, []
        for word in words:
            if r.random() < 0.3:
                out.append([word])
        if r.random() < 0.5:
            out.append([r.choice(["ASC", "DESC", "asc"])])
        if r.random() < 0.4:
            out.append(["COUNT", self.count()] + (["ANY"] if r.random() < 0.4 else []))
        if target and r.random() < 0.5:
            out.append(target())
        if r.random() < 0.04:
            out.append([r.choice(["ANY", "foo", "COUNT", "STORE", "BYBOX", "FROMMEMBER", "STOREDIST"])])
        r.shuffle(out)
        return [word for option in out for word in option]

    def search(self, words, target=None):
        r = self.rng
        parts = [["FROMMEMBER", self.member()] if r.random() < 0.4 else ["FROMLONLAT"] + self.position(),
                 ["BYRADIUS", self.length(), self.unit()] if r.random() < 0.6 else
                 ["BYBOX", self.length(), self.length(), self.unit()], self.options(words, target)]
        if r.random() < 0.04:
            parts.append(r.choice([["FROMLONLAT"] + self.position(), ["BYBOX", "1", "1", "km"], ["FROMMEMBER", "m1"]]))
        if r.random() < 0.03:
            parts.pop(0)
        r.shuffle(parts)
        return [word for part in parts for word in part]

    def target(self):
        return [self.rng.choice(["STORE", "STOREDIST"]), self.key()]

    def commands(self):
        r, k, m = self.rng, self.key, self.member
        withs = ["WITHDIST", "WITHHASH", "WITHCOORD"]

        def add():
            places = [word for _ in range(r.choice([1, 3, 20])) for word in self.position() + [m()]]
            flags = [r.choice(["NX", "XX", "CH", "ch"]) for _ in range(r.choice([0, 0, 0, 1, 2]))]
            return ["GEOADD", k()] + flags + places

        radius = [
            lambda read: ["GEORADIUS" + read, k()] + self.position() + [self.length(), self.unit()],
            lambda read: ["GEORADIUSBYMEMBER" + read, k(), m(), self.length(), self.unit()],
        ]
        return [
            add, add, add, lambda: ["GEOPOS", k(), m(), m()], lambda: ["GEOHASH", k(), m(), m()],
            lambda: ["GEODIST", k(), m(), m()] + r.choice([[], [self.unit()], [self.unit(), "x"]]),
            lambda: ["GEOSEARCH", k()] + self.search(withs), lambda: ["GEOSEARCH", k()] + self.search(withs),
            lambda: ["GEOSEARCHSTORE", k(), k()] + self.search([], lambda: ["STOREDIST"]),
            lambda: r.choice(radius)("") + self.options([], self.target),
            lambda: r.choice(radius)("") + self.options(withs, None),
            lambda: r.choice(radius)("_RO") + self.options(withs, self.target if r.random() < 0.05 else None),
            lambda: ["ZRANGE", k(), "0", "-1", "WITHSCORES"], lambda: ["ZREM", k(), m()],
            lambda: ["GEOPOS", r.choice(["z1", "z2"]), r.choice(["a", "m1", "m2"])],
            lambda: ["GEOHASH", r.choice(["z1", "z2"]), r.choice(["a", "m1", "m2"])],
            lambda: ["COMMAND", "GETKEYS"] + r.choice([["GEORADIUS", "a", "1", "2", "3", "km", "STORE", "b"],
                                                       ["GEORADIUSBYMEMBER", "a", "m", "3", "km", "STOREDIST", "b"],
                                                       ["GEOSEARCHSTORE", "a", "b", "c", "d", "e", "f", "g"]]),
        ]
