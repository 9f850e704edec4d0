#!/usr/bin/env python3
"""What COMMAND says of every command that is here equals what redis-server 7.0 says: arity, flags, key positions, categories,
tips, key specifications and subcommands; of COMMAND DOCS what is not our own words. What differs on purpose is listed
here with its reason. Then the keys that both find in the same calls.

Exit code 77 (skipped) when there is no redis-server 7.0.
"""

import sys

from holdfast_testing import ReplyError, Workspace, check, has_redis_7_0, run_tests

# Commands of ours that Redis 7.0 does not have.
OURS_ALONE = {"client|no-touch", "client|setinfo", "waitaof", "holdfast", "holdfast|compare", "holdfast|digest",
              "holdfast|durable", "holdfast|help", "holdfast|members", "holdfast|promise", "holdfast|promote",
              "holdfast|resync", "holdfast|verdict"}
# Redis' that are not here: scripts, functions, modules, users, tracking. Names, or beginnings of names.
NOT_HERE = ("eval", "fcall", "function", "script", "module", "client|caching", "client|tracking", "acl|deluser",
            "acl|dryrun", "acl|genpass", "acl|getuser", "acl|load", "acl|log", "acl|save", "acl|setuser")
# (command, field): what differs on purpose.
DIFFERENCES = {
    ("pfcount", "key specifications"),  # reads never write: it does not keep the count it has computed
    # A replica may attach while this node's own master cannot be reached: what it is sent is on disk here.
    ("psync", "flags"),
    ("sync", "flags"),
}
# Redis' DOCS do not know the arguments of these.
MORE_DOCS = {"command|getkeys", "command|getkeysandflags", "debug"}

FIELDS = ("arity", "flags", "first key", "last key", "step", "categories", "tips", "key specifications")


def plain(value):
    """Sets and maps in one order, so that only their content counts."""
    if isinstance(value, (set, frozenset)):
        return sorted(map(plain, value), key=repr)
    if isinstance(value, dict):
        return sorted(((plain(k), plain(v)) for k, v in value.items()), key=repr)
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    return value


def pairs(reply):
    """A map as RESP2 has it."""
    return dict(zip(map(plain, reply[::2]), reply[1::2]))


def specification(words):
    """A key specification without its notes, which are prose."""
    spec = pairs(words)
    spec.pop("notes", None)
    spec["flags"] = sorted(map(plain, spec["flags"]))
    return plain(spec)


def table(client):
    """Name -> what COMMAND says, subcommands included."""
    found = {}

    def take(entry):
        name = plain(entry[0])
        values = [entry[1], sorted(map(plain, entry[2])), *entry[3:6], sorted(map(plain, entry[6])),
                  sorted(map(plain, entry[7])), [specification(words) for words in entry[8]]]
        found[name] = dict(zip(FIELDS, values))
        for sub in entry[9]:
            take(sub)
    for entry in client.call("COMMAND"):
        take(entry)
    return found


def both(test):
    with Workspace() as work:
        with work.server("ours").start().client() as ours, work.redis("redis").start().client() as redis:
            test(ours, redis)


def test_command_info():
    def compare(ours, redis):
        mine, theirs = table(ours), table(redis)
        wrong = []
        for name in sorted(set(mine) - set(theirs) - OURS_ALONE):
            wrong.append(f"{name}: not a command of Redis 7.0")
        wrong += [f"{name}: not here" for name in sorted(set(theirs) - set(mine)) if not name.startswith(NOT_HERE)]
        for name in sorted(set(mine) & set(theirs)):
            for field in FIELDS:
                if mine[name][field] != theirs[name][field] and (name, field) not in DIFFERENCES:
                    wrong.append(f"{name}, {field}: {mine[name][field]} and Redis' {theirs[name][field]}")
        for name, field in DIFFERENCES:
            if mine[name][field] == theirs[name][field]:
                wrong.append(f"{name}, {field}: equal, but listed as different")
        check(not wrong, "\n" + "\n".join(wrong))
    both(compare)


def docs(client):
    """Name -> {field: value} of COMMAND DOCS, subcommands included."""
    found = {}

    def take(words):
        for name, about in pairs(words).items():
            about = pairs(about)
            take(about.pop("subcommands", []))
            found[name] = about
    take(client.call("COMMAND", "DOCS"))
    return found


def test_command_docs():
    def compare(ours, redis):
        mine, theirs = docs(ours), docs(redis)
        wrong = []
        for name in sorted(set(mine) & set(theirs)):
            for field in ("since", "group"):
                if plain(mine[name].get(field)) != plain(theirs[name].get(field)):
                    wrong.append(f"{name}, {field}: {mine[name].get(field)} and Redis' {theirs[name].get(field)}")
            if not mine[name].get("summary"):
                wrong.append(f"{name} has no summary")
            if ("arguments" in mine[name]) != ("arguments" in theirs[name] or name in MORE_DOCS):
                wrong.append(f"{name}: arguments {mine[name].get('arguments')} and Redis' {theirs[name].get('arguments')}")
        check(not wrong, "\n" + "\n".join(wrong))
    both(compare)


CALLS = """
GET a | SET a b | SET a b GET | MSET a 1 b 2 | MSETNX a 1 b 2 c 3 | DEL a b c | BITOP AND d a b | BITFIELD a GET u8 0
SORT a | SORT a BY x GET y LIMIT 0 1 STORE d | SORT a STORE d STORE e | SORT a BY STORE GET d | SORT a LIMIT STORE d STORE e
SORT a store | SORT_RO a BY x | SORT_RO a BY x GET STORE
GEORADIUS a 1 2 3 m | GEORADIUS a 1 2 3 m STORE d | GEORADIUS a 1 2 3 m COUNT 1 STOREDIST d | GEORADIUS a 1 2 3 m STORE d STOREDIST e
GEORADIUSBYMEMBER a m 3 km | GEORADIUSBYMEMBER a m 3 km STORE d | GEORADIUSBYMEMBER a m 3 km ASC COUNT 1 STOREDIST d
GEORADIUS_RO a 1 2 3 m | GEORADIUSBYMEMBER_RO a m 3 km | GEOSEARCH a FROMMEMBER x | GEOSEARCHSTORE d a FROMMEMBER x BYRADIUS 1 m
GEORADIUS a 1 2 3 m STORE | GEORADIUSBYMEMBER a m 3 km storedist
ZUNIONSTORE d 2 a b | ZUNIONSTORE d 2 a b WEIGHTS 1 2 | ZINTERSTORE d 1 a | ZDIFFSTORE d 2 a b | ZUNION 2 a b | ZINTER 1 a WITHSCORES
ZUNIONSTORE d 3 a b | ZUNIONSTORE d x a | ZUNION 0 a | ZUNION -1 a | ZINTERCARD 2 a b LIMIT 1 | ZDIFF 2 a b | SINTERCARD 2 a b LIMIT 1
ZMPOP 2 a b MIN | BZMPOP 0 2 a b MAX COUNT 2 | LMPOP 1 a LEFT | BLMPOP 1 2 a b RIGHT | BLPOP a b 0 | BRPOP a 0 | BZPOPMIN a b c 1
BLMOVE a b LEFT RIGHT 0 | LMOVE a b LEFT RIGHT | RPOPLPUSH a b | BRPOPLPUSH a b 0 | SMOVE a b m | COPY a b | RENAME a b | RENAMENX a b
XREAD STREAMS a b 0 0 | XREAD COUNT 1 BLOCK 0 STREAMS a 0 | XREADGROUP GROUP g c STREAMS a b > > | XREADGROUP GROUP STREAMS c STREAMS a >
XREAD STREAMS | XREAD COUNT 1 a 0 | XREAD STREAMS a b 0 | XGROUP CREATE a g 0 | XGROUP DESTROY a g | XINFO STREAM a | XADD a * f v
XAUTOCLAIM a g c 0 0 | XCLAIM a g c 0 1-1 | XACK a g 1-1 | XSETID a 1-1
MIGRATE h 1 a 0 10 | MIGRATE h 1 "" 0 10 KEYS a b | MIGRATE h 1 "" 0 10 COPY AUTH KEYS KEYS a b | MIGRATE h 1 "" 0 10 | MIGRATE h 1 a 0 10 KEYS b
MIGRATE h 1 "" 0 10 AUTH2 u KEYS KEYS a | RESTORE a 0 x | DUMP a | OBJECT ENCODING a | MEMORY USAGE a | MEMORY USAGE a SAMPLES 1
PFCOUNT a b | PFMERGE d a b | PFADD a x | PFDEBUG ENCODING a | LCS a b | WATCH a b | TOUCH a b | UNLINK a | EXISTS a a | SPUBLISH c m | SSUBSCRIBE c d
SDIFFSTORE d a b | SINTERSTORE d a | SUNION a b | SRANDMEMBER a 1 | ZRANGESTORE d a 0 1 | ZRANGE a 0 1 | LRANGE a 0 1 | HSET a f v | EXPIRE a 1
PING x | MULTI | CONFIG GET x | SUBSCRIBE c | PUBLISH c m | DEBUG OBJECT a | SCAN 0 | KEYS x | SWAPDB 0 1 | nosuch a | GET | GET a b | OBJECT NOSUCH a
OBJECT | XGROUP | CLIENT LIST | SORT | SELECT 1 | RANDOMKEY | WAIT 0 0 | PUBSUB NUMSUB a | ZADD a 1 m | GETEX a EX 10
"""


def test_keys_of_calls():
    def compare(ours, redis):
        wrong = []
        for call in CALLS.replace("\n", "|").split("|"):
            words = [word.strip('"') for word in call.split()]
            if not words or words[0] == "PFCOUNT":
                continue
            for what in ("GETKEYS", "GETKEYSANDFLAGS"):
                mine, theirs = (plain(client.ask("COMMAND", what, *words)) for client in (ours, redis))
                if isinstance(mine, ReplyError) or isinstance(theirs, ReplyError):
                    same = mine == theirs
                elif what == "GETKEYSANDFLAGS":
                    same = [(key, sorted(flags)) for key, flags in mine] == [(key, sorted(f)) for key, f in theirs]
                else:
                    same = mine == theirs
                if not same:
                    wrong.append(f"COMMAND {what} {' '.join(words)}: {mine!r} and Redis' {theirs!r}")
        check(not wrong, "\n" + "\n".join(wrong))
    both(compare)


if __name__ == "__main__":
    sys.exit(run_tests(globals()) if has_redis_7_0() else 77)
