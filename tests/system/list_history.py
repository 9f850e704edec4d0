"""What clients did to lists that only grow, and whether that can have happened: every element is appended once (RPUSH, whose
reply is its place) and reads take the whole list. The list at the end then is the order of all appends, and each operation
has a version: an append its place, a read its length. So the check needs no search:

- an acknowledged append is in the list, in the place that was answered; no element is there twice;
- a read is a beginning of the list: it shows nothing that was taken back;
- an operation that began after another one had ended has no older version (an append: a newer one). That is
  linearizability of each list. Reads made at a node that was being replaced are exempt from this third one only, since
  there nobody promises the newest state.
"""

import threading
import time
from dataclasses import dataclass

from holdfast_testing import check


@dataclass
class Operation:
    key: str
    element: bytes       # of an append; None for a read
    client: str
    node: str
    began: float
    ended: float = None  # None: it may happen at any time, or never
    result: object = None


class History:
    def __init__(self):
        self.lock = threading.Lock()
        self.operations = []

    def begin(self, client, node, key, element=None):
        return Operation(key, element, client, node, time.monotonic())

    def end(self, operation, result):
        """With result None: whether it happened is open."""
        if result is not None:
            operation.result, operation.ended = result, time.monotonic()
        if operation.element is not None or result is not None:
            with self.lock:
                self.operations.append(operation)

    def acknowledged(self, since, nodes=None):
        """The appends acknowledged after `since`, at these nodes."""
        with self.lock:
            return [o for o in self.operations if o.element is not None and o.ended and o.began >= since and
                    (nodes is None or o.node in nodes)]

    def keys(self):
        with self.lock:
            return sorted({operation.key for operation in self.operations})

    def lost(self, key, final):
        """The acknowledged elements that are not in the list."""
        there = set(final)
        with self.lock:
            return [o for o in self.operations if o.key == key and o.element is not None and o.ended and o.element not in there]

    def verify(self, key, final, exempt=()):
        """`exempt` are (node, from, to). Returns how many operations were looked at, and how many exempt reads were stale."""
        place = {element: number + 1 for number, element in enumerate(final)}
        check(len(place) == len(final), f"{key}: elements are there twice")
        with self.lock:
            operations = [operation for operation in self.operations if operation.key == key]
        done = []  # (ended, version)
        for o in operations:
            if o.element is None:
                check(o.result == final[:len(o.result)], f"{key}: read at {o.node} by {o.client} what was taken back: "
                      f"{[e for e in o.result if e not in place]}, or in another order")
                done.append((o.ended, len(o.result)))
            elif o.ended:
                check(place.get(o.element) == o.result,
                      f"{key}: {o.element} was acknowledged by {o.node} as number {o.result}, is {place.get(o.element)}")
                done.append((o.ended, o.result))
        done.sort()
        stale = newest = position = 0
        for o in sorted(operations, key=lambda operation: operation.began):
            while position < len(done) and done[position][0] < o.began:
                newest = max(newest, done[position][1])
                position += 1
            if o.element is not None:
                check(o.element not in place or place[o.element] > newest,
                      f"{key}: {o.element} stands before number {newest}, which had been answered before")
            elif len(o.result) < newest:
                stale += 1
                check(any(o.node == node and begin <= o.began and o.ended <= end for node, begin, end in exempt),
                      f"{key}: read at {o.node} by {o.client} ended at number {len(o.result)}, not {newest}")
        return len(operations), stale
