#!/usr/bin/env python3
"""Private memory stays the same however much data there is on disk.

The full size (5 million keys with default settings) is benchmarks/restart_and_memory.py.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from measuring import PeakMemory, key_of, load, memory_bytes, sanitized, value_of, wait_until_quiet  # noqa: E402
from holdfast_testing import SERVER, Workspace, check  # noqa: E402

STEP = 300_000
STEPS = 4
VALUE_BYTES = 100
MIB = 1 << 20
# 1.2 million keys are 140 MB of keys and values; redis-server needs 260 MB for them.
BOUND = 160 * MIB


def main():
    if sanitized(SERVER):
        print("a sanitizer's memory is not the server's: skipped")
        return 77
    with Workspace() as workspace:
        server = workspace.server("node", "--memtable-size", "4mb", "--row-cache-size", "4mb",
                                  "--frame-ring-size", "1mb", "--log-segment-size", "8mb",
                                  "--log-checkpoint-bytes", "8mb", "--appendfsync", "no")
        server.start()
        pid = server.process.pid
        sizes = []
        with PeakMemory(pid) as peak:
            for step in range(STEPS):
                load(server.port, STEP, VALUE_BYTES, first=step * STEP)
                wait_until_quiet([pid])
                sizes.append(memory_bytes(pid)[0])
                print(f"{(step + 1) * STEP} keys: {sizes[-1] / MIB:.0f} MiB private, peak {peak.bytes / MIB:.0f} MiB",
                      flush=True)
            # Reading everything fills the row cache, but not more than it may hold.
            with server.client() as client:
                for begin in range(0, STEP * STEPS, 1000):
                    replies = client.pipeline([("GET", key_of(number)) for number in range(begin, begin + 1000)])
                    check(replies[0] == value_of(begin, VALUE_BYTES), f"the value of key {begin}")
            read = memory_bytes(pid)[0]
            print(f"after reading all: {read / MIB:.0f} MiB private", flush=True)
            with server.client() as client:
                check(client.call("DBSIZE") == STEP * STEPS, "all keys are there")
                # No thread waits for another one's arena: what the server asks jemalloc for has reached it.
                allocator = client.call("MEMORY", "MALLOC-STATS")
                check(not allocator.startswith(b"jemalloc") or b"arenas 64" in allocator, f"{allocator!r}")
        check(peak.bytes < BOUND, f"private memory reached {peak.bytes / MIB:.0f} MiB")
        # From the second step on: in the first one tables and buffers of all layers still come to their size.
        growth = max(sizes[-1], read) - sizes[1]
        check(growth < 32 * MIB, f"private memory grew by {growth / MIB:.0f} MiB from {2 * STEP} to {STEP * STEPS} keys")
    return 0


if __name__ == "__main__":
    sys.exit(main())
