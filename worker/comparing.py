"""Comparing: a gateway's list of ranges against ours; every difference is told, nothing is deleted (contract, rule 11).

`unused` is not compared: gateways count uploads, we count assignments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection

from db.claims import change_claim, find_claim_of_serial
from db.fence import recovered_at
from db.held_ranges import HeldRange, note_listed_unused, ranges_of_taxpayer
from db.ranges import add_range, overlaps_held_range
from db.records import Claim, StockKey
from db.stocks import lock_stocks
from schemas.events import DifferenceKind
from schemas.invoice_number import InvoiceNumber, InvoiceNumberError, format_number
from worker.abandoning import NEVER_OURS
from worker.answers import Answer
from worker.leqi.port import Granted, ListedRange
from worker.settling import Settling

#: Claims that ended without a range; a listed range with the serial of one shows that LeQi granted it after all.
_ENDED_WITHOUT_RANGE = ("refused", "abandoned")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which the gateway's list and ours differ."""

    kind: DifferenceKind
    first_number: str | None
    last_number: str | None
    quantity_here: int | None
    quantity_there: int | None

    def as_data(self) -> Mapping[str, object]:
        """Give the difference as the event has it."""
        return {
            "kind": self.kind.value,
            "first_number": self.first_number,
            "last_number": self.last_number,
            "quantity_here": self.quantity_here,
            "quantity_there": self.quantity_there,
        }


@dataclass(slots=True)
class Compared:
    """What a comparison found, and what it changed."""

    differences: list[Difference] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)


class Comparing:
    """Compares one taxpayer's ranges, whose stocks are locked, with a list."""

    def __init__(self, environment: str, settling: Settling) -> None:
        self._environment = environment
        self._settling = settling

    def compare(
        self,
        connection: Connection,
        taxpayer_id: str,
        listed: Sequence[ListedRange],
        now: datetime,
    ) -> Compared:
        """Settle claims that the list settles, keep unknown ranges as foreign, and tell every difference."""
        compared = Compared()
        restored = recovered_at(connection)
        for each in listed:
            compared.answers += self._settle(connection, taxpayer_id, each, restored)
        held = {(one.prefix, one.first_sequence): one for one in self._held(connection, taxpayer_id)}
        there: set[tuple[int, int]] = set()
        for each in listed:
            extent = _extent(each)
            if extent is None:
                continue
            first, last = extent
            there.add((first.prefix, first.sequence))
            here = held.get((first.prefix, first.sequence))
            if here is None:
                compared.differences += self._keep_as_foreign(connection, taxpayer_id, each, first, last, now)
                continue
            note_listed_unused(connection, self._environment, here, each.unused)
            compared.differences += _compare(here, each, last)
        compared.differences += [
            Difference(DifferenceKind.MISSING_THERE, *_numbers(one), one.quantity, None)
            for at, one in held.items()
            if at not in there and one.status in {"active", "used-up"}
        ]
        return compared

    def _settle(
        self,
        connection: Connection,
        taxpayer_id: str,
        listed: ListedRange,
        restored: datetime | None,
    ) -> list[Answer]:
        """Settle the claim of ours that brought this range, if its outcome was not known here.

        Not a claim that was given up since its range must not be used, nor one from before a restore: its range may
        have been used since the backup. Like any range of others it is kept as foreign.
        """
        claim = self._claim_of(connection, taxpayer_id, listed)
        if claim is None or claim.status in {"granted", "quarantined"} or claim.reason in NEVER_OURS:
            return []
        if restored is not None and claim.created_at <= restored:
            return []
        if claim.status in _ENDED_WITHOUT_RANGE:
            change_claim(
                connection,
                self._environment,
                claim,
                status="unresolved",
                settled_at=None,
                next_attempt_at=claim.created_at,
            )
        granted = Granted(listed.first_number, listed.last_number, listed.quantity)
        return self._settling.settle(connection, claim, granted)

    def _claim_of(self, connection: Connection, taxpayer_id: str, listed: ListedRange) -> Claim | None:
        if listed.business_serial is None:
            return None
        return find_claim_of_serial(connection, self._environment, taxpayer_id, listed.business_serial)

    def _held(self, connection: Connection, taxpayer_id: str) -> list[HeldRange]:
        """Read the taxpayer's ranges, quarantined ones first: of two with one first number, the one we hold counts."""
        ranges = ranges_of_taxpayer(connection, self._environment, taxpayer_id)
        return sorted(ranges, key=lambda one: one.status != "quarantined")

    def _keep_as_foreign(
        self,
        connection: Connection,
        taxpayer_id: str,
        listed: ListedRange,
        first: InvoiceNumber,
        last: InvoiceNumber,
        now: datetime,
    ) -> list[Difference]:
        """Store a range that another system claimed: its numbers may stand on invoices, so none is issued."""
        numbers = (str(first), str(last))
        mode = first.channel_mode
        overlapping = overlaps_held_range(connection, self._environment, first.prefix, first.sequence, last.sequence)
        if overlapping or mode is None:
            return [Difference(DifferenceKind.OVERLAP, *numbers, None, listed.quantity)]
        key = StockKey(taxpayer_id, mode.value, first.year)
        lock_stocks(connection, self._environment, [key])
        add_range(
            connection,
            self._environment,
            key,
            range_id=uuid4(),
            prefix=first.prefix,
            first_sequence=first.sequence,
            last_sequence=last.sequence,
            next_sequence=first.sequence,
            claim_mode="automatic",
            status="foreign",
            listed_serial=listed.business_serial,
            listed_unused=listed.unused,
            detail="listed by the gateway, claimed by none of our claims",
            created_at=now,
        )
        return [Difference(DifferenceKind.MISSING_HERE, *numbers, None, listed.quantity)]


def _compare(here: HeldRange, listed: ListedRange, last: InvoiceNumber) -> list[Difference]:
    if here.last_sequence == last.sequence and here.quantity == listed.quantity:
        return []
    return [Difference(DifferenceKind.OTHER_QUANTITY, *_numbers(here), here.quantity, listed.quantity)]


def _extent(listed: ListedRange) -> tuple[InvoiceNumber, InvoiceNumber] | None:
    try:
        return InvoiceNumber.parse(listed.first_number), InvoiceNumber.parse(listed.last_number)
    except InvoiceNumberError:
        return None


def _numbers(held: HeldRange) -> tuple[str, str]:
    return format_number(held.prefix, held.first_sequence), format_number(held.prefix, held.last_sequence)
