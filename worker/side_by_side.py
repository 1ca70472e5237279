"""Side by side: a large batch is handled in two transactions at once, each with the requests of some taxpayers.

While one waits for the database the other decides, so that neither the worker's processor nor the database's stands
idle. A taxpayer is on one side only: its stocks are never waited for, and a batch message is still answered by one
message for each taxpayer.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from worker.decoding import Item
from worker.halving import EverythingFailsError, Halving, Spoiled

#: Requests of a batch for which a second transaction is worth its round trips. Measured on two cores, a third at once
#: brings no more, and costs processor time.
WORTH_IT = 200

#: Tells whose each request is, None where nobody knows.
Owners = Callable[[Sequence[Item]], Sequence[str | None]]


class SideBySide:
    """Handles the requests of one batch; each side remembers its failures over the batches, as `Halving` does."""

    def __init__(self, attempt: Callable[[Sequence[Item]], str | None], owners: Owners | None, *, name: str) -> None:
        """Handle by `attempt`, on two threads at once where `owners` tells the requests apart; see `Halving`."""
        self._owners = owners
        self._whole, self._mine, self._other = Halving(attempt), Halving(attempt), Halving(attempt)
        self._name = name

    def handle(self, items: Sequence[Item]) -> list[Spoiled]:
        """Handle requests, and give those that fail by themselves; returns or raises once both sides have ended.

        Raises what a side raises. What the other committed is committed all the same: where it comes again, it is
        answered again.
        """
        if self._owners is None or len(items) < WORTH_IT:
            return self._whole.handle(items)
        mine, others = part_by_owner(items, self._owners(items))
        if not others:
            return self._whole.handle(items)
        sides: tuple[Future[list[Spoiled]], Future[list[Spoiled]]] = (Future(), Future())
        # A daemon: a worker that ends waits no longer for the database than it waits for its lanes.
        other = threading.Thread(target=_settle, args=(sides[1], self._other, others), name=self._name, daemon=True)
        other.start()
        _settle(sides[0], self._mine, mine)
        failures = [failure for side in sides if (failure := side.exception()) is not None]
        if len(failures) == 1 and isinstance(failures[0], EverythingFailsError):
            # A side may be one taxpayer's, whose fault must not hold up the others: it is judged over all of them.
            return self._whole.handle(items)
        return [each for side in sides for each in side.result()]


def _settle(side: "Future[list[Spoiled]]", halving: Halving, items: Sequence[Item]) -> None:
    try:
        side.set_result(halving.handle(items))
    except BaseException as failure:  # noqa: BLE001 -- raised again, by the lane's own thread
        side.set_exception(failure)


def part_by_owner(items: Sequence[Item], owners: Sequence[str | None]) -> tuple[list[Item], list[Item]]:
    """Part requests so that nobody's are on both sides, each side in the order given and about as large as the other.

    The second is empty where all are one owner's.
    """
    sides: tuple[list[Item], list[Item]] = ([], [])
    sizes = [0, 0]
    side_of: dict[str | None, int] = {}
    for owner, requests in Counter(owners).most_common():
        side_of[owner] = sizes.index(min(sizes))
        sizes[side_of[owner]] += requests
    for item, owner in zip(items, owners, strict=True):
        sides[side_of[owner]].append(item)
    return sides
