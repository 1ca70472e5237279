"""Which number comes next: region, prefix and the 14-digit sequence.

The sequence of each prefix (year, region, channel) is cut into blocks, and a block
belongs to one taxpayer: its grants follow one another, and never meet another's.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from worker.leqi.simulator_records import BLOCK_SIZE

PREFIX_DIGITS: Final = 6
SEQUENCE_DIGITS: Final = 14
BLOCKS: Final = 10**SEQUENCE_DIGITS // BLOCK_SIZE
USCI_LENGTH: Final = 18

PROVINCES: Final = (
    *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34"),
    *("35", "36", "37", "41", "42", "43", "44", "45", "46", "50", "51", "52"),
    *("53", "54", "61", "62", "63", "64", "65"),
)
"""GB/T 2260."""

PLANNED_CITIES: Final = {"3302": "93", "3502": "94", "4403": "95"}
"""Ningbo, Xiamen, Shenzhen; which of 91 and 92 is Dalian's is not proven."""


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Consecutive numbers of one prefix, both ends included."""

    prefix: str
    first: int
    last: int

    @classmethod
    def between(cls, first_number: str, last_number: str) -> "Span":
        """Read a span from its two 20-digit ends of one prefix."""
        return cls(
            first_number[:PREFIX_DIGITS],
            int(first_number[PREFIX_DIGITS:]),
            int(last_number[PREFIX_DIGITS:]),
        )

    @property
    def first_number(self) -> str:
        """The first number in 20 digits."""
        return f"{self.prefix}{self.first:0{SEQUENCE_DIGITS}d}"

    @property
    def last_number(self) -> str:
        """The last number in 20 digits."""
        return f"{self.prefix}{self.last:0{SEQUENCE_DIGITS}d}"

    def meets(self, other: "Span") -> bool:
        """Say whether the two share a number."""
        return self.prefix == other.prefix and self.first <= other.last and other.first <= self.last


def prefix_of(year: int, taxpayer_id: str, channel: str) -> str:
    """Digits 1-6 of a taxpayer's numbers."""
    return f"{year % 100:02d}{region_of(taxpayer_id)}{channel}"


def region_of(taxpayer_id: str) -> str:
    """Digits 3-4, the same for ever for one taxpayer.

    Taken from the administrative division in the tax id; an id without one gets
    some province, so that clients can't rely on any relation between the two.
    """
    start = 2 if len(taxpayer_id) == USCI_LENGTH else 0
    division = taxpayer_id[start : start + 4]
    if division in PLANNED_CITIES:
        return PLANNED_CITIES[division]
    if division[:2] in PROVINCES:
        return division[:2]
    return PROVINCES[_spread(taxpayer_id, len(PROVINCES))]


def block_end(sequence: int) -> int:
    """Return the last sequence of the block that holds this one."""
    return sequence // BLOCK_SIZE * BLOCK_SIZE + BLOCK_SIZE - 1


class NumberSpace:
    """Which blocks are taken by whom, and how far each is used."""

    def __init__(self) -> None:
        """Begin with every number free."""
        self._next_free: dict[tuple[str, int], int] = {}
        self._newest_block: dict[tuple[str, str], int] = {}

    def next_span(self, prefix: str, taxpayer_id: str, quantity: int, avoid: Iterable[Span]) -> Span:
        """Find the taxpayer's next numbers without taking them.

        They begin where its last grant ended, unless the block is full or `avoid`
        is in the way.
        """
        taken = sorted(span for span in avoid if span.prefix == prefix)
        candidates = (
            _first_fit(Span(prefix, start, start + quantity - 1), taken) for start in self._starts(prefix, taxpayer_id)
        )
        return next(span for span in candidates if span is not None)

    def take(self, taxpayer_id: str, span: Span) -> None:
        """Make the span, and the block around it, the taxpayer's."""
        block = span.first // BLOCK_SIZE
        self._newest_block[span.prefix, taxpayer_id] = block
        self._use_up_to(span)

    def stretch(self, span: Span) -> None:
        """Keep later grants off a span that overlaps earlier ones."""
        self._use_up_to(span)

    def _use_up_to(self, span: Span) -> None:
        key = span.prefix, span.first // BLOCK_SIZE
        self._next_free[key] = max(self._next_free.get(key, 0), span.last + 1)

    def _starts(self, prefix: str, taxpayer_id: str) -> Iterator[int]:
        own = self._newest_block.get((prefix, taxpayer_id))
        if own is not None and self._next_free[prefix, own] // BLOCK_SIZE == own:
            yield self._next_free[prefix, own]
        home = _spread(taxpayer_id, BLOCKS)
        for step in range(BLOCKS):
            block = (home + step) % BLOCKS
            if (prefix, block) not in self._next_free:
                yield block * BLOCK_SIZE + 1


def _first_fit(span: Span, taken: Sequence[Span]) -> Span | None:
    """Move the span behind what is in its way; None when it leaves its block."""
    end, length = block_end(span.first), span.last - span.first
    for obstacle in taken:
        if span.meets(obstacle):
            start = obstacle.last + 1
            span = Span(span.prefix, start, start + length)
    return span if span.last <= end else None


def _spread(text: str, places: int) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % places
