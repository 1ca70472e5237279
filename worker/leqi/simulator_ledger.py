"""The authority's book of grants, good and deliberately bad ones.

It decides and remembers, and knows neither files, sockets nor the clock.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from worker.leqi.simulator_numbers import NumberSpace, Span, block_end, prefix_of
from worker.leqi.simulator_records import Grant, Order, Shape

CHANNELS: Final = {"202007": "70", "202077": "71", "202076": "72"}
"""Capability (nlbm) to digits 5-6: self-use, on behalf of others, joint."""

YEARS_OFF: Final = 2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Making:
    """How a grant is to be made.

    `fraction` (0 to below 1) settles what a bad shape leaves open: how short, where
    it overlaps, which wrong year or channel.
    """

    shape: Shape
    fraction: float
    now: datetime
    """In China's time: its year is the year of the grant."""
    avoid: Sequence[Span] = ()
    """Ranges that another system claimed."""


class Ledger:
    """Every grant ever made, by serial, and what is still free."""

    def __init__(self) -> None:
        """Begin with no grant."""
        self._grants: dict[str, Grant] = {}
        self._times_asked: dict[str, int] = {}
        self._numbers = NumberSpace()

    def find(self, business_serial: str) -> Grant | None:
        """Return the grant that this serial already brought."""
        return self._grants.get(business_serial)

    def grants(self) -> list[Grant]:
        """Return every grant, oldest first."""
        return list(self._grants.values())

    def times_asked(self, business_serial: str) -> int:
        """Return how often the claim was answered from this book, lost answers too."""
        return self._times_asked[business_serial]

    def draft(self, order: Order, making: Making) -> Grant:
        """Make a grant without entering it.

        A shape that can't be made (one number can't come short, the very first
        grant can't overlap) becomes a whole one.
        """
        shape, span = self._shaped(order, making)
        return Grant(
            order=order,
            first_number=span.first_number,
            last_number=span.last_number,
            quantity=span.last - span.first + 1,
            shape=shape,
            claimed_at=making.now.isoformat(timespec="seconds"),
        )

    def enter(self, grant: Grant) -> None:
        """Remember a grant; only now are its numbers gone."""
        serial = grant.order.business_serial
        self._grants[serial] = grant
        self._times_asked[serial] = 1
        span = Span.between(grant.first_number, grant.last_number)
        if grant.shape is Shape.OVERLAPPING:
            self._numbers.stretch(span)
        else:
            self._numbers.take(grant.order.taxpayer_id, span)

    def enter_asked(self, business_serial: str) -> None:
        """Remember that a grant was asked for again."""
        self._times_asked[business_serial] += 1

    def _shaped(self, order: Order, making: Making) -> tuple[Shape, Span]:
        year, channel, quantity = making.now.year, order.channel, order.quantity
        match making.shape:
            case Shape.OVERLAPPING if self._grants:
                return Shape.OVERLAPPING, self._overlapping(order, making)
            case Shape.SHORT if quantity > 1:
                quantity = 1 + int(making.fraction * (quantity - 1))
                shape = Shape.SHORT
            case Shape.WRONG_YEAR:
                year += _choose((-YEARS_OFF, YEARS_OFF), making.fraction)
                shape = Shape.WRONG_YEAR
            case Shape.WRONG_CHANNEL:
                others = [digits for digits in CHANNELS.values() if digits != channel]
                channel = _choose(others, making.fraction)
                shape = Shape.WRONG_CHANNEL
            case _:
                shape = Shape.WHOLE
        prefix = prefix_of(year, order.taxpayer_id, channel)
        return shape, self._numbers.next_span(prefix, order.taxpayer_id, quantity, making.avoid)

    def _overlapping(self, order: Order, making: Making) -> Span:
        """Begin inside an earlier grant, so that nothing but the overlap is wrong.

        Kept inside the earlier grant's block, so that only numbers behind it in the
        same block are used up by it.
        """
        prefix = prefix_of(making.now.year, order.taxpayer_id, order.channel)
        victim = _choose(self._nearest(order, prefix), making.fraction)
        span = Span.between(victim.first_number, victim.last_number)
        start = span.first + int(making.fraction * (span.last - span.first + 1))
        start = min(start, block_end(span.first) - order.quantity + 1)
        return Span(span.prefix, start, start + order.quantity - 1)

    def _nearest(self, order: Order, prefix: str) -> list[Grant]:
        """Earlier grants to overlap with: the taxpayer's own, then others'."""
        every = self.grants()
        own = [g for g in every if g.order.taxpayer_id == order.taxpayer_id]
        return _with_prefix(own, prefix) or own or _with_prefix(every, prefix) or every


def _with_prefix(grants: Iterable[Grant], prefix: str) -> list[Grant]:
    return [grant for grant in grants if grant.first_number.startswith(prefix)]


def _choose(choices: Sequence[T], fraction: float) -> T:
    return choices[int(fraction * len(choices))]
