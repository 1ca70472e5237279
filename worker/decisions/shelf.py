"""A shelf: one stock's open ranges in memory, from which numbers are taken in order."""

from collections.abc import Sequence
from uuid import UUID

from db.records import OpenRange, Stock, TakenNumber


class Shelf:
    """One locked stock, with its released numbers and the ranges that it may issue from, the oldest first.

    Taking changes only the shelf; `cursors` tells what is to be stored.
    """

    def __init__(self, stock: Stock, ranges: Sequence[OpenRange], pool: Sequence[TakenNumber] = ()) -> None:
        self.stock = stock
        self._pool = list(reversed(pool))
        self._ranges = list(ranges)
        self._at = 0
        self._next = ranges[0].next_sequence if ranges else 0
        self._moved: dict[UUID, int] = {}
        #: How many numbers are left.
        self.remaining = len(pool) + sum(held.last_sequence - held.next_sequence + 1 for held in ranges)
        #: How many were taken.
        self.taken = 0

    def take(self) -> TakenNumber | None:
        """Take the next number, a released one before a fresh one; None when none is left."""
        if self._pool:
            self.taken += 1
            self.remaining -= 1
            return self._pool.pop()
        while self._at < len(self._ranges):
            current = self._ranges[self._at]
            if self._next <= current.last_sequence:
                sequence = self._next
                self._next += 1
                self.remaining -= 1
                self.taken += 1
                self._moved[current.range_id] = self._next
                return TakenNumber(
                    current.range_id,
                    current.prefix,
                    sequence,
                    current.first_sequence,
                    current.last_sequence,
                    "automatic",
                )
            self._at += 1
            if self._at < len(self._ranges):
                self._next = self._ranges[self._at].next_sequence
        return None

    @property
    def cursors(self) -> list[tuple[str, UUID, int]]:
        """The ranges that were taken from: taxpayer, range, next free sequence."""
        return [(self.stock.key.taxpayer_id, range_id, following) for range_id, following in self._moved.items()]

    @property
    def newest(self) -> UUID | None:
        """The range that came last of those that have numbers; None where no range has any."""
        return self._ranges[-1].range_id if self._ranges else None

    @property
    def crossing(self) -> str | None:
        """The level that the stock has come down to, where it is another than before: `low` or `exhausted`."""
        if self.remaining == 0:
            return None if self.stock.level == "exhausted" else "exhausted"
        if self.stock.level == "ok" and self.remaining <= self.stock.low_at:
            return "low"
        return None
