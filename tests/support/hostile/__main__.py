"""The long form of the fuzzing, for `make fuzz`: many cases, how long they took, and how much memory."""

import argparse
import faulthandler
import resource
import time
from collections import Counter

from tests.support.hostile.fuzzing import fuzz_answers, fuzz_listings, fuzz_messages

#: Seconds after which a kind that isn't done ends the run, and shows where it stands: a case stalls. In the tests
#: pytest's time limit does the same.
_STALL = 3600
#: Megabytes that the whole run may hold: a leak for each case would pass it.
_MOST_MEGABYTES = 600


def main() -> None:
    """Fuzz, and print a line for each kind; the first case that breaks a promise ends it, with its number."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=220_000, help="cases in all")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    total = 0
    for name, share, fuzz in (
        ("messages", 0.6, fuzz_messages),
        ("answers of LeQi", 0.3, fuzz_answers),
        ("pages of a listing", 0.1, fuzz_listings),
    ):
        faulthandler.dump_traceback_later(_STALL, exit=True)
        since = time.monotonic()
        seen: Counter[str] = fuzz(int(given.cases * share), given.seed)
        cases = seen.pop("cases")
        total += cases
        what = ", ".join(f"{kind} {count:,}" for kind, count in sorted(seen.items()))
        print(f"{cases:>9,} {name} in {time.monotonic() - since:.0f} s: {what}", flush=True)
    faulthandler.cancel_dump_traceback_later()
    # In KiB on Linux.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{total:>9,} cases in {time.monotonic() - began:.0f} s, at most {peak:.0f} MiB; none broke a promise")
    assert peak < _MOST_MEGABYTES, "memory grew"


if __name__ == "__main__":
    main()
