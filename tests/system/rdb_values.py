"""Values of every type for the tests of RDB files and payloads, and a comparison of two servers key by key."""
import time


def text(rng, longest=100):
    kind = rng.random()
    if kind < 0.3:
        return str(rng.choice([0, 5, 12, 13, 127, 128, -128, -129, 32767, 40000, 2**23, 2**31 - 1, -2**31, 2**40, 2**63 - 1,
                               rng.getrandbits(rng.randint(1, 62)), -rng.getrandbits(30)])).encode()
    if kind < 0.6:
        return bytes(rng.choice(b"ab") for _ in range(rng.randint(0, longest)))
    return rng.randbytes(rng.randint(0, longest))


def score(rng):
    return rng.choice(["1", "-1.5", "inf", "-inf", "1e300", "0.1", "0", "4503599627370496", "9007199254740993", "5e-324",
                       repr(rng.uniform(-1e6, 1e6)), str(rng.getrandbits(60))])


def stream(rng, key, entries, longest):
    """A stream with entries of the same and of other fields, deleted ones, groups, consumers and pending entries."""
    ids = ["%d-%d" % (1000 + i * rng.choice([1, 1, 50]), i) for i in range(1, entries + 1)]
    ids.sort(key=lambda one: [int(part) for part in one.split("-")])
    made = []
    for one in ids:
        names = ["a", "b"] if rng.random() < 0.8 else [text(rng, 10) for _ in range(rng.randint(1, 3))]
        made.append(["XADD", key, one] + [x for name in names for x in (name, text(rng, longest))])
    for one in rng.sample(ids, len(ids) // 10):
        made.append(["XDEL", key, one])
    if rng.random() < 0.1:
        made.append(["XTRIM", key, "MAXLEN", 0])
    for group in ["g1", b"g\x00" + b"2" * 600][:rng.randint(0, 2)]:
        made.append(["XGROUP", "CREATE", key, group, rng.choice(["0", ids[len(ids) // 2], "$"])])
        for consumer in ["alice", b"b" * 600]:
            made.append(["XREADGROUP", "GROUP", group, consumer, "COUNT", rng.choice([1, 7, 90]), "STREAMS", key, ">"])
        made.append(["XACK", key, group, ids[0], ids[-1]])
        made.append(["XGROUP", "CREATECONSUMER", key, group, "idle"])
        made.append(["XCLAIM", key, group, "carol", 0, ids[-2 % len(ids)]])
    return made


def stream_contents(client, key, delivery_times, counters_kept):
    """All but times that pass: entries, counters, groups, consumers, who has what pending, and how often given."""
    def pending(rows):
        return rows if delivery_times else [row[:-2] + row[-1:] for row in rows]

    info = client.call("XINFO", "STREAM", key, "FULL", "COUNT", 0)
    fields = dict(zip(info[::2], info[1::2]))
    groups = []
    for raw in fields[b"groups"]:
        group = dict(zip(raw[::2], raw[1::2]))
        consumers = [dict(zip(one[::2], one[1::2])) for one in group[b"consumers"]]
        groups.append((group[b"name"], group[b"last-delivered-id"], group[b"entries-read"] if counters_kept else None,
                       group[b"lag"] if counters_kept else None, pending(group[b"pending"]),
                       sorted((one[b"name"], pending(one[b"pending"])) for one in consumers)))
    counters = [fields[name] for name in (b"length", b"last-generated-id", b"max-deleted-entry-id", b"entries-added",
                                          b"recorded-first-entry-id")]
    return client.call("XRANGE", key, "-", "+"), counters if counters_kept else None, sorted(groups)


def commands(rng, keys):
    """Commands that make `keys` keys: strings, lists, sets of integers and others, hashes, sorted sets, streams."""
    made = []
    for i in range(keys):
        key = b"key:%d" % i if rng.random() < 0.95 else b"key\x00\xff:" + b"k" * 600 + b"%d" % i
        count = rng.choice([1, 2, 3, 20, 127, 128, 129, 511, 512, 513, 900])
        longest = rng.choice([20, 64, 65, 120])
        kind = rng.choice(["string", "list", "integers", "set", "hash", "sorted", "stream"])
        if kind == "string":
            size = rng.choice([0, 10, 20, 21, 1000, 16384, 65536, 65537, 300000])
            made.append(["SET", key, text(rng, size) if rng.random() < 0.5 else rng.choice([b"x", b"xyzzy"]) * size])
        elif kind == "list":
            made.append(["RPUSH", key] + [text(rng, longest) for _ in range(count)])
            if rng.random() < 0.2:
                made.append(["LPUSH", key, b"long" * 5000])
        elif kind == "integers":
            bits = rng.choice([8, 15, 31, 62])
            made.append(["SADD", key] + [rng.getrandbits(bits) - 2**(bits - 1) for _ in range(count)])
        elif kind == "set":
            made.append(["SADD", key] + [text(rng, longest) for _ in range(count)])
        elif kind == "hash":
            made.append(["HSET", key] + [text(rng, longest) for _ in range(2 * count)])
        elif kind == "stream":
            made += stream(rng, key, min(count, 250), longest)
        else:
            made.append(["ZADD", key] + [x for _ in range(count) for x in (score(rng), text(rng, longest))])
        if rng.random() < 0.2:
            made.append(["PEXPIREAT", key, int(time.time() * 1000) + rng.randrange(10**7, 10**12)])
    return made


def contents(client, key, delivery_times=True, counters_kept=True):
    """What a key holds, in a form in which two servers can be compared."""
    kind = client.call("TYPE", key)
    expiry = client.call("PEXPIRETIME", key)
    if kind == "string":
        value = client.call("GET", key)
    elif kind == "list":
        value = client.call("LRANGE", key, 0, -1)
    elif kind == "set":
        value = sorted(client.call("SMEMBERS", key))
    elif kind == "hash":
        flat = client.call("HGETALL", key)
        value = sorted(zip(flat[::2], flat[1::2]))
    elif kind == "zset":
        value = client.call("ZRANGE", key, 0, -1, "WITHSCORES")
    elif kind == "stream":
        value = stream_contents(client, key, delivery_times, counters_kept)
    else:
        raise AssertionError("key %r is of type %s" % (key, kind))
    return kind, expiry, value


def compare(one, other, databases=(0,), encodings=False, delivery_times=True, counters_kept=True):
    """Asserts that two servers hold the same; returns how many keys. Without `delivery_times` when the same commands were
    given to two servers; without `counters_kept` when streams came by version 9, which has no counters."""
    count = 0
    for db in databases:
        one.call("SELECT", db)
        other.call("SELECT", db)
        keys = sorted(one.call("KEYS", "*"))
        assert keys == sorted(other.call("KEYS", "*")), "database %d: other keys" % db
        for key in keys:
            a, b = (contents(client, key, delivery_times, counters_kept) for client in (one, other))
            assert a == b, "database %d, key %r:\n%.300r\n%.300r" % (db, key, a, b)
            if encodings and a[0] != "string":
                a, b = one.call("OBJECT", "ENCODING", key), other.call("OBJECT", "ENCODING", key)
                assert a == b, "database %d, key %r is %r and %r" % (db, key, a, b)
        count += len(keys)
    one.call("SELECT", 0)
    other.call("SELECT", 0)
    return count
