"""Halving: finds the request that spoils its batch, and notices when it is not the requests that are at fault.

One poisonous request is found in some twenty tries, and the others of its batch succeed.
Where requests fail one after the other, and none chosen at random from the rest succeeds, something else is broken: a
fault of ours, a schema that another program changed. Then nothing is given up, however many wait in the queue.
"""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from worker.decoding import Item

#: Requests that fail one after the other before the others are looked at for one that succeeds.
MOST_IN_A_ROW = 10
#: How many are looked at, each by itself: few enough to bound the work while everything fails.
SAMPLES = 5


class Spoiled(NamedTuple):
    """A request that fails by itself, with its fault."""

    item: Item
    fault: str


class EverythingFailsError(Exception):
    """Requests fail one after the other and none succeeds: the fault is not theirs."""


class Halving:
    """Handles requests together, by halves where that fails; remembers over batches how many failed in a row."""

    def __init__(self, attempt: Callable[[Sequence[Item]], str | None]) -> None:
        """Handle by `attempt`: all or none of what it is given; it gives the fault where it fails for good."""
        self._attempt = attempt
        self._in_a_row = 0

    def handle(self, items: Sequence[Item]) -> list[Spoiled]:
        """Handle requests, and give those that fail by themselves, in their order.

        Raises `EverythingFailsError` where nothing succeeds; then none is to be given up. What succeeded before is
        committed all the same.
        """
        spoiled: list[Spoiled] = []
        left = [items]
        while left:
            if self._in_a_row >= MOST_IN_A_ROW:
                left = self._find_one_that_succeeds(left)
                continue
            part = left.pop()
            fault = self._attempt(part)
            if fault is None:
                self._in_a_row = 0
            elif len(part) == 1:
                self._in_a_row += 1
                spoiled.append(Spoiled(part[0], fault))
                if not left and self._in_a_row >= MOST_IN_A_ROW:
                    raise EverythingFailsError(fault)
            else:
                middle = len(part) // 2
                left += [part[middle:], part[:middle]]
        return spoiled

    def _find_one_that_succeeds(self, left: list[Sequence[Item]]) -> list[Sequence[Item]]:
        """Try some of what is left one by one, and give the parts without the one that succeeded."""
        fault = ""
        places = [(part, place) for part, items in enumerate(left) for place in range(len(items))]
        for part, place in random.sample(places, min(SAMPLES, len(places))):
            fault = self._attempt([left[part][place]]) or ""
            if not fault:
                self._in_a_row = 0
                rest = [*left[part][:place], *left[part][place + 1 :]]
                return [items for items in (*left[:part], rest, *left[part + 1 :]) if items]
        raise EverythingFailsError(fault)
