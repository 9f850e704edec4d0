"""Scenarios of blocking_test.py: clients that wait for streams."""

from holdfast_testing import ReplyError, check

NULL = None
ENTRY = [b"f", b"v"]


def refused(scene, client, code, what):
    reply = client.read()
    check(isinstance(reply, ReplyError) and str(reply).startswith(code), f"{what} got {reply!r}, expected {code}")


def readers_of_streams(scene):
    for words in ("XADD s 1-1 f v", "XADD s 2-1 f v"):
        scene.control.call(*words.split())
    scene.do("XREAD BLOCK 0 STREAMS none s 0 1", [[b"s", [[b"1-1", ENTRY], [b"2-1", ENTRY]]]])
    readers = [scene.wait(f"XREAD BLOCK 0 STREAMS {keys}") for keys in ("s $", "other s 0 2-1", "s s 5-5 5-6")]
    scene.do("XADD s 3-1 f v", b"3-1")
    for reader in readers[:2]:
        scene.expect(reader, [[b"s", [[b"3-1", ENTRY]]]], "a reader")
    scene.silent(readers[2], "who waits behind a later id")
    scene.do("XADD s 6-1 f v", b"6-1")
    scene.expect(readers[2], [[b"s", [[b"6-1", ENTRY]]]], "who waited behind a later id")
    check(scene.blocked() == 0, "nobody waits")
    waiting = scene.wait("XREAD BLOCK 0 COUNT 2 STREAMS s $")
    for words, expected in (("MULTI", "OK"), ("XADD s 7-1 f v", "QUEUED"), ("XADD s 8-1 f v", "QUEUED"),
                            ("XADD s 9-1 f v", "QUEUED"), ("EXEC", [b"7-1", b"8-1", b"9-1"])):
        scene.do(words, expected)
    scene.expect(waiting, [[b"s", [[b"7-1", ENTRY], [b"8-1", ENTRY]]]], "who asked for two")


def readers_are_not_given_nothing(scene):
    """Redis answers with an empty list of entries."""
    waiting = scene.wait("XREAD BLOCK 0 STREAMS s $")
    for words, expected in (("MULTI", "OK"), ("XADD s 1-1 f v", "QUEUED"), ("XDEL s 1-1", "QUEUED"), ("EXEC", [b"1-1", 1])):
        scene.do(words, expected)
    scene.silent(waiting, "who waits for an entry that went")
    scene.do("XADD s 2-1 f v", b"2-1")
    scene.expect(waiting, [[b"s", [[b"2-1", ENTRY]]]], "the reader")


def streams_that_are_not_yet(scene):
    waiting = scene.wait("XREAD BLOCK 0 STREAMS s $")
    scene.do("RPUSH s x", 1)
    scene.silent(waiting, "who waits for a stream while there is a list")
    scene.do("DEL s", 1)
    scene.do("XADD s 2-1 f v", b"2-1")
    scene.expect(waiting, [[b"s", [[b"2-1", ENTRY]]]], "the reader")


def consumers_of_one_group(scene):
    scene.do("XGROUP CREATE s g $ MKSTREAM", "OK")
    first = scene.wait("XREADGROUP GROUP g a COUNT 1 BLOCK 0 STREAMS s >")
    second = scene.wait("XREADGROUP GROUP g b BLOCK 0 NOACK STREAMS s >")
    reader = scene.wait("XREAD BLOCK 0 STREAMS s $")
    scene.do("XADD s 1-1 f v", b"1-1")
    scene.expect(first, [[b"s", [[b"1-1", ENTRY]]]], "the first consumer")
    scene.expect(reader, [[b"s", [[b"1-1", ENTRY]]]], "a reader of no group")
    scene.silent(second, "the second consumer")
    scene.do("XPENDING s g", [1, b"1-1", b"1-1", [[b"a", b"1"]]])
    scene.do("XADD s 2-1 f v", b"2-1")
    scene.expect(second, [[b"s", [[b"2-1", ENTRY]]]], "the second consumer")
    scene.do("XPENDING s g", [1, b"1-1", b"1-1", [[b"a", b"1"]]])
    # A consumer's own entries are there at once, and an empty list of them is an answer.
    scene.do("XREADGROUP GROUP g b BLOCK 0 STREAMS s 0", [[b"s", []]])
    scene.do("XREADGROUP GROUP g a BLOCK 0 STREAMS s 0", [[b"s", [[b"1-1", ENTRY]]]])


def groups_that_go(scene):
    scene.do("XGROUP CREATE s g $ MKSTREAM", "OK")
    waiting = scene.wait("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
    scene.do("XGROUP DESTROY s g", 1)
    refused(scene, waiting, "NOGROUP", "who waited in a group that went")
    for words, expected in (("DEL s", 1), ("SET s text", "OK"), ("RENAME s t", "OK"), ("FLUSHALL", "OK"),
                            ("PEXPIREAT s 1", 1)):
        scene.control.call("DEL", "s", "t")
        scene.do("XGROUP CREATE s g $ MKSTREAM", "OK")
        waiting = scene.wait("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
        also = scene.wait("XREADGROUP GROUP g d BLOCK 0 STREAMS s >")
        scene.do(words, expected)
        refused(scene, waiting, "UNBLOCKED the stream key no longer exists", f"who waited before {words}")
        refused(scene, also, "UNBLOCKED the stream key no longer exists", f"who waited, too, before {words}")
    for words, expected in (("DEL s t", 1), ("XGROUP CREATE s g $ MKSTREAM", "OK")):
        scene.control.call(*words.split())
    waiting = scene.wait("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")
    for words, expected in (("MULTI", "OK"), ("DEL s", "QUEUED"), ("SADD s e", "QUEUED"), ("EXEC", [1, 1])):
        scene.do(words, expected)
    refused(scene, waiting, "UNBLOCKED", "who waited for what became a set")


def waits_for_streams_that_end(scene):
    scene.do("XREAD BLOCK 20 STREAMS none $", NULL)
    scene.do("XGROUP CREATE s g $ MKSTREAM", "OK")
    scene.do("XREADGROUP GROUP g c BLOCK 20 STREAMS s >", NULL)
    for words, expected in (("MULTI", "OK"), ("XREAD BLOCK 0 STREAMS none $", "QUEUED"),
                            ("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", "QUEUED"), ("EXEC", [NULL, NULL])):
        scene.do(words, expected)
    waiting = scene.client()
    identity = waiting.call("CLIENT", "ID")
    scene.wait("XREADGROUP GROUP g c BLOCK 0 STREAMS s >", waiting)
    scene.do(f"CLIENT UNBLOCK {identity}", 1)
    scene.expect(waiting, NULL, "who was unblocked")
    scene.wait("XREAD BLOCK 0 STREAMS s $", waiting)
    scene.do(f"CLIENT UNBLOCK {identity} ERROR", 1)
    refused(scene, waiting, "UNBLOCKED", "who was unblocked with an error")


SCENARIOS = [readers_of_streams, streams_that_are_not_yet, consumers_of_one_group, groups_that_go,
             waits_for_streams_that_end]
OWN_SCENARIOS = [readers_are_not_given_nothing]
