"""Everything that the fake authority remembers, behind one lock.

Each change is in the journal before it counts, so a restart knows all that was ever
answered: grants, how often each was asked, the clock, and the edits of the listing.
Faults are not remembered: a restarted simulator behaves well.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from threading import Lock

from worker.leqi.simulator_clock import SimulatorClock, seconds_ahead
from worker.leqi.simulator_journal import Journal, StateError
from worker.leqi.simulator_ledger import Ledger, Making
from worker.leqi.simulator_listing import (
    foreign_spans,
    listed_ranges,
    unknown_serials,
)
from worker.leqi.simulator_records import (
    Asked,
    ClockSet,
    Grant,
    ListedRange,
    ListingEdits,
    Order,
    Record,
    Shape,
)


class SerialConflictError(Exception):
    """The serial was granted for another taxpayer, quantity, channel or environment."""


class UnknownSerialError(ValueError):
    """Edits of the listing name serials that were never granted."""


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant as `GET /simulator/grants` shows it."""

    taxpayer_id: str
    business_serial: str
    quantity: int
    first_number: str
    last_number: str
    times_asked: int


class AuthorityState:
    """The authority's memory; every method may be called from any thread."""

    def __init__(self, path: Path | None) -> None:
        """Take up the state file; raises `StateError` when it can't be used."""
        self._lock = Lock()
        self._ledger = Ledger()
        self._clock = SimulatorClock()
        self._edits = ListingEdits()
        self._journal = Journal(path)
        try:
            for record in self._journal.recovered:
                self._restore(record)
        except (KeyError, ValueError, OverflowError) as error:
            self._journal.close()
            message = f"state file {path}: its records contradict each other"
            raise StateError(message) from error
        self._journal.recovered.clear()

    def now(self) -> datetime:
        """Return the simulator's present instant, in China's time."""
        with self._lock:
            return self._clock.now()

    def set_clock(self, instant: datetime) -> datetime:
        """Let time flow on from this instant, which must have its offset."""
        with self._lock:
            record = ClockSet(ahead_seconds=seconds_ahead(instant))
            self._store(record)
            return self._clock.now()

    def was_granted(self, business_serial: str) -> bool:
        """Say whether asking with this serial is a replay."""
        with self._lock:
            return self._ledger.find(business_serial) is not None

    def claim(self, order: Order, shape: Shape, fraction: float) -> Grant:
        """Grant a new serial; answer a known one with the range that it has.

        Raises `SerialConflictError` when a known serial asks for something else;
        `StateNotWrittenError` when the grant could not be stored, and so was not made.
        """
        with self._lock:
            known = self._ledger.find(order.business_serial)
            if known is None:
                return self._grant(order, shape, fraction)
            if known.order != order:
                raise SerialConflictError
            self._store(Asked(business_serial=order.business_serial))
            return known

    def grants(self) -> list[GrantRow]:
        """Return every grant ever made, bad ones as they were answered."""
        with self._lock:
            return [self._row(grant) for grant in self._ledger.grants()]

    def listed(self, taxpayer_id: str | None) -> list[ListedRange]:
        """Return what the listing gateway shows; None: of every taxpayer."""
        with self._lock:
            return listed_ranges(self._ledger.grants(), self._edits, taxpayer_id)

    def listing_edits(self) -> ListingEdits:
        """Return the edits in force."""
        with self._lock:
            return self._edits

    def edit_listing(self, edits: ListingEdits) -> None:
        """Replace the edits of the listing; raises `UnknownSerialError`."""
        with self._lock:
            unknown = unknown_serials(self._ledger.grants(), edits)
            if unknown:
                message = f"no grant has the serial {ascii(unknown[0])[:120]}"
                raise UnknownSerialError(message)
            self._store(edits)

    def close(self) -> None:
        """Let go of the state file."""
        with self._lock:
            self._journal.close()

    def _grant(self, order: Order, shape: Shape, fraction: float) -> Grant:
        making = Making(
            shape=shape,
            fraction=fraction,
            now=self._clock.now(),
            avoid=foreign_spans(self._edits),
        )
        grant = self._ledger.draft(order, making)
        self._store(grant)
        return grant

    def _store(self, record: Record) -> None:
        self._journal.append(record)
        self._restore(record)

    def _restore(self, record: Record) -> None:
        match record:
            case Grant():
                self._ledger.enter(record)
            case Asked():
                self._ledger.enter_asked(record.business_serial)
            case ClockSet():
                self._clock.ahead = timedelta(seconds=record.ahead_seconds)
            case ListingEdits():
                self._edits = record

    def _row(self, grant: Grant) -> GrantRow:
        serial = grant.order.business_serial
        return GrantRow(
            taxpayer_id=grant.order.taxpayer_id,
            business_serial=serial,
            quantity=grant.quantity,
            first_number=grant.first_number,
            last_number=grant.last_number,
            times_asked=self._ledger.times_asked(serial),
        )
