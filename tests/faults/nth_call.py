#!/usr/bin/env python3
"""Every file call of a real server fails once, in every way, or the server is killed before or after it.

  nth_call.py [--share 20] [--scenarios 10] [--seed S] [SCENARIO ...]
  nth_call.py --case write,EIO,7 SCENARIO
  nth_call.py --allocations 10 [--scenarios 10] [--seed S] [SCENARIO ...]
  nth_call.py --list

A scenario (nth_scenarios.py) runs once undisturbed, which counts its file calls of each kind and notes what the data are
after each change. Then it runs again for each kind, each effect that this kind can have, and each N up to that count:
the Nth call has the effect, whatever the server does then is checked, and it is started again without faults.

  - a unit that was acknowledged is there, one that was refused is not, one without an answer is there as a whole or not
    at all; their order is that of sending; nothing else is there; the same for changes
  - the process ends by no signal but the one that the fault sends, and with a code that docs/operations.md names; after
    it has stopped with code 3 nothing was acknowledged
  - it starts again, by itself, and the offline tool finds no damage

--share 20: every 20th case, beginning with one that the seed names; --scenarios 10: so many of them, chosen by the seed
(CI gives the commit's hash, so that all have their turn). Prints how many cases ran and how many fired.

--allocations 10: instead of file calls allocations fail, ten of each kind chosen by the seed: operator new, malloc (LMDB,
zstd, the C library) and large ones of both, these once or from then on. There are tens of thousands in a scenario. The server may
end with the code for want of memory, and says so.
"""

import argparse
import hashlib
import os
import random
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from fault_server import BUILD, FaultServer  # noqa: E402
from holdfast_testing import Workspace, check  # noqa: E402
from nth_run import Run, check_end  # noqa: E402
from nth_scenarios import SCENARIOS  # noqa: E402

WRITES = ("EIO", "ENOSPC", "short", "EINTR", "kill", "killafter")
EFFECTS_OF = {
    "open": ("EIO", "EMFILE", "EINTR", "kill", "killafter"),
    "read": ("EIO", "short", "EINTR", "kill"),
    "write": WRITES,
    "sync": ("EIO", "ENOSPC", "kill", "killafter"),
    "truncate": ("EIO", "EINTR", "kill", "killafter"),
    "allocate": ("ENOSPC", "kill"),
    "rename": ("EIO", "ENOSPC", "kill", "killafter"),
    "remove": ("EIO", "kill", "killafter"),
    "mkdir": ("EIO", "ENOSPC", "kill", "killafter"),
    "link": ("EIO", "kill"),
    "map": ("EIO", "kill"),
    "close": ("EIO", "kill"),
}
ALLOCATIONS = (("new", "ENOMEM"), ("malloc", "ENOMEM"), ("large", "ENOMEM"), ("large", "ENOMEM on"))


def run_case(name, case, reference):
    """Returns the counts of calls, and whether the fault fired. Without a case it fills the reference."""
    scenario, options = SCENARIOS[name]
    with Workspace() as workspace:
        run = Run(workspace, case, reference, options)
        effect = case[1] if case else None
        try:
            up = scenario(run)
            counts, fired = run.server.counts(), run.server.fired()
            check_end(run, effect, up)
            check(fired or case is None or up or run.ends, f"it went away without a fault:\n{run.server.log_tail()}")
            run.server.disarm()
            if run.server.process.poll() is None:
                run.server.kill()
            check(run.start(), f"it does not start again:\n{run.server.log_tail()}")
            run.units.verify(run.server)
            run.check_changes()
            run.call("REPLICAOF", "NO", "ONE")
            check(run.units.write(run.server, 2) and len(run.units.acked) >= 2, "writes are accepted again")
            check(not run.units.refused or run.units.refused[-1] < run.units.acked[-1], "writes are refused for ever")
            run.units.verify(run.server)
            run.check_changes()
            check(run.server.terminate() == 0, f"a clean stop:\n{run.server.log_tail()}")
            verified = subprocess.run([os.path.join(BUILD, "holdfast"), "verify", run.server.directory],
                                      capture_output=True, text=True, check=False)
            check(verified.returncode == 0, f"verify: {verified.stdout}{verified.stderr}")
        except AssertionError as error:
            raise AssertionError(f"{name} {case}: {error}") from error
        return counts, fired


def cases_of(counts):
    for call, effects in EFFECTS_OF.items():
        for effect in effects:
            for nth in range(1, counts[call] + 1):
                yield (call, effect, nth)


def allocations_of(counts, each, rng):
    for call, effect in ALLOCATIONS:
        for nth in sorted(rng.sample(range(1, counts[call] + 1), min(each, counts[call]))):
            yield (call, effect, nth)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--share", type=int, default=1)
    parser.add_argument("--scenarios", type=int, help="so many, chosen by the seed")
    parser.add_argument("--seed", default="0")
    parser.add_argument("--case", help="one case of one scenario: call,effect,nth")
    parser.add_argument("--allocations", type=int, help="so many allocations of each kind fail, not file calls")
    parser.add_argument("--list", action="store_true", help="the scenarios' names")
    parser.add_argument("names", nargs="*", metavar="SCENARIO")
    options = parser.parse_args()
    if options.list:
        print("\n".join(SCENARIOS))
        return 0
    turn = int(hashlib.sha256(options.seed.encode()).hexdigest(), 16)
    names = options.names or list(SCENARIOS)
    if options.scenarios:
        names = random.Random(turn).sample(names, min(options.scenarios, len(names)))
    FaultServer.allocations = bool(options.allocations or options.case and options.case.startswith(("new", "malloc", "large")))
    total = all_fired = known = 0
    for name in names:
        began, ran, fired, reference = time.monotonic(), 0, 0, []
        counts, _ = run_case(name, None, reference)
        if options.case:
            call, effect, nth = options.case.split(",")
            print(run_case(name, (call, effect, int(nth)), reference))
            continue
        cases = (allocations_of(counts, options.allocations, random.Random(f"{turn} {name}")) if options.allocations
                 else cases_of(counts))
        for number, case in enumerate(cases):
            known += 1
            if not options.allocations and (number + turn) % options.share:
                continue
            fired += run_case(name, case, reference)[1]
            ran += 1
        total += ran
        all_fired += fired
        print(f"{name}: {ran} cases, {fired} fired, {time.monotonic() - began:.1f} s", flush=True)
    if options.case:
        return 0
    print(f"{total} of {known} cases ran in {len(names)} of {len(SCENARIOS)} scenarios, {all_fired} fired, 0 violations")
    return 0


if __name__ == "__main__":
    sys.exit(main())
