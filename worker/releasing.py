"""Releasing: an operator makes a foreign range usable (`fuma ranges release`)."""

from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection

from db.held_ranges import HeldRange, activate_range, find_range, has_numbers
from db.ranges import overlaps_other_range
from db.stocks import channel_of_stock, lock_stocks, replenish
from worker.answers import Answer
from worker.clock import Clock
from worker.events import EventWriter
from worker.expiry import first_living_year
from worker.stocking import Stocking


class ReleaseRefusedError(Exception):
    """The range can't be released; the text says why."""


class Releasing:
    """Releases foreign ranges."""

    def __init__(self, environment: str, clock: Clock, grace: timedelta) -> None:
        self._environment = environment
        self._clock = clock
        self._grace = grace
        self._stocking = Stocking(environment, EventWriter(environment))

    def release(self, connection: Connection, range_id: UUID, reason: str) -> list[Answer]:
        """Make a foreign range usable; whoever waits is served first.

        Raises `ReleaseRefusedError` unless the range is foreign and nothing of it is used.
        """
        found = find_range(connection, self._environment, range_id)
        if found is None:
            message = f"there is no range {range_id}"
            raise ReleaseRefusedError(message)
        stock = lock_stocks(connection, self._environment, [found.key])[found.key]
        held = find_range(connection, self._environment, range_id)
        self._check(connection, found if held is None else held)
        now = self._clock.now()
        activate_range(connection, self._environment, found, detail=f"released: {reason}")
        replenish(connection, self._environment, found.key, quantity=None, low_at=stock.low_at)
        return self._stocking.serve_waiting(connection, found.key, now)

    def _check(self, connection: Connection, held: HeldRange) -> None:
        refusal: str | None = None
        if held.status != "foreign":
            refusal = f"it is {held.status}, only a foreign range can be released"
        elif held.listed_unused != held.quantity:
            refusal = f"the gateway counts {held.listed_unused} of {held.quantity} numbers as unused, some are used"
        elif has_numbers(connection, self._environment, held):
            refusal = "some of its numbers are known here already"
        elif overlaps_other_range(connection, self._environment, held.range_id):
            refusal = "it overlaps another range"
        elif held.key.year < first_living_year(self._clock.now(), self._grace):
            refusal = f"its year {held.key.year} is over"
        elif channel_of_stock(connection, self._environment, held.key) is None:
            refusal = f"no organisation is registered for {held.key.taxpayer_id} in mode {held.key.channel_mode}"
        if refusal is not None:
            message = f"range {held.range_id} stays as it is: {refusal}"
            raise ReleaseRefusedError(message)
