"""What is stored, as values: read by the queries, decided upon without any SQL at hand."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from msgspec import Struct


class StockKey(NamedTuple):
    """One stock of numbers: a taxpayer's, in one channel mode, for one year of issue dates."""

    taxpayer_id: str
    channel_mode: str
    year: int


class RequestKey(NamedTuple):
    """What identifies an issue request for ever, within the environment."""

    taxpayer_id: str
    issue_request_id: str


@dataclass(frozen=True, slots=True)
class OrganizationChannel:
    """An organisation with the channel that it draws numbers from, and that channel's claim policy."""

    code: str
    taxpayer_id: str
    channel_mode: str
    using_unit_id: str
    automatic_claims: bool
    claim_quantity: int
    claim_sizing: str
    low_threshold: Decimal


@dataclass(frozen=True, slots=True)
class Stock:
    """A stock's row, read under its lock."""

    key: StockKey
    level: str
    episode: int
    paused: bool
    #: The stock counts as low while this many automatic numbers are left, or fewer.
    low_at: int
    last_claimed: int | None
    wanted_by: str | None
    claim_not_before: datetime | None
    claim_at_most: int | None
    failed_claims: int


@dataclass(frozen=True, slots=True)
class Use:
    """How many automatic numbers a taxpayer took in one channel mode in the last seven days (`db.usage`)."""

    busiest_hour: int = 0
    taken: int = 0
    #: The first hour of the seven days in which it took any.
    first_hour: datetime | None = None


@dataclass(frozen=True, slots=True)
class OpenRange:
    """A range that issuing may still take from: the next free sequence and the last."""

    range_id: UUID
    prefix: int
    first_sequence: int
    last_sequence: int
    next_sequence: int


class TakenNumber(Struct, frozen=True):
    """One number to be given to a request: fresh from a range's cursor, or one that has a row already.

    One is made for every invoice: msgspec's are made in a tenth of a frozen dataclass' time.
    """

    range_id: UUID
    prefix: int
    sequence: int
    range_first: int
    range_last: int
    claim_mode: str
    #: Which change of the number this is; 1 for a fresh one.
    step: int = 1

    @property
    def is_fresh(self) -> bool:
        """Whether the number has no row yet."""
        return self.step == 1


@dataclass(frozen=True, slots=True)
class NamedNumber:
    """A number that somebody named, as it stands; `taken` is what taking it would be."""

    taxpayer_id: str
    year: int
    channel_mode: str
    status: str
    holder: str | None
    range_status: str
    taken: TakenNumber

    @property
    def is_manual(self) -> bool:
        """Whether it was split off a manual range, and so waits for a hand."""
        return self.taken.claim_mode == "manual"


@dataclass(frozen=True, slots=True)
class KnownRequest:
    """An issue request as stored, with its number if it holds one."""

    key: RequestKey
    organization: str
    issue_date: date
    kind: str
    named_number: str | None
    status: str
    closed_because: str | None
    prefix: int | None
    sequence: int | None
    range_id: UUID | None
    claim_mode: str | None
    assigned_at: datetime | None
    #: The event that told of the number, and the message that it answered.
    event_id: UUID | None
    message: str | None
    #: Whether the database was restored since the number was given to it, and nobody knows whether it holds it still.
    in_doubt: bool = False


@dataclass(frozen=True, slots=True)
class WaitingRequest:
    """An issue request that waits for stock, with the form in which it wants its answer."""

    key: RequestKey
    organization: str
    channel_mode: str
    issue_date: date
    kind: str
    form: str
    message: str
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class KnownBinding:
    """A binding or unbinding that was done, with the event that told of it."""

    taxpayer_id: str
    binding_id: str
    organization: str
    prefix: int
    sequence: int
    issue_request_id: str
    action: str
    requested_by: str | None
    event_id: UUID
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class KnownOutcome:
    """An outcome that moved its number to the state `became`, with the event that told of it."""

    taxpayer_id: str
    outcome_id: str
    organization: str
    issue_request_id: str
    prefix: int
    sequence: int
    outcome: str
    reuse: bool
    became: str
    event_id: UUID
    answered_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim as stored; quantity and business serial never change, so that a replay is the same call."""

    taxpayer_id: str
    claim_id: str
    claim_mode: str
    organization: str | None
    channel_mode: str
    year: int
    episode: int | None
    quantity: int
    using_unit_id: str
    business_serial: str
    status: str
    reason: str | None
    detail: str | None
    requested_by: str | None
    form: str
    traceparent: str | None
    unknown_outcomes: int
    created_at: datetime
    next_attempt_at: datetime | None
    settled_at: datetime | None

    @property
    def stock_key(self) -> StockKey:
        """The stock that the claim was made for; its grant may belong to another year's."""
        return StockKey(self.taxpayer_id, self.channel_mode, self.year)


@dataclass(frozen=True, slots=True)
class GrantedRange:
    """The range that a claim brought, good or quarantined."""

    range_id: UUID
    year: int
    prefix: int
    first_sequence: int
    last_sequence: int
    status: str


@dataclass(frozen=True, slots=True)
class DirectUnitState:
    """What LeQi's throttle lets the direct unit do, for all workers together."""

    throttled_until: datetime | None
    concurrency_limit: int | None

    def limit_since(self, instant: datetime) -> int | None:
        """Give the limit of calls at once that was named by a throttling whose wait ended after `instant`, if any."""
        if self.throttled_until is None or self.throttled_until < instant:
            return None
        return self.concurrency_limit
