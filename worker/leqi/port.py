"""What the worker asks of the tax authority, and the closed set of what it may hear."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from schemas.vocabulary import ChannelMode
from worker.leqi.identity import new_business_serial

__all__ = [
    "Answer",
    "Authority",
    "ClaimCall",
    "Granted",
    "ListedRange",
    "ListingError",
    "RangeListing",
    "Refused",
    "Throttled",
    "Unknown",
    "new_business_serial",
]


@dataclass(frozen=True, slots=True)
class ClaimCall:
    """One claim as it is asked for, stored before the call.

    A replay after a lost answer repeats it unchanged: the same `business_serial` and the same
    `quantity` bring the same range (base document 5.1).
    """

    taxpayer_id: str
    channel_mode: ChannelMode
    using_unit_id: str
    quantity: int
    """1 to 5000."""
    business_serial: str


@dataclass(frozen=True, slots=True)
class Granted:
    """LeQi granted one contiguous range: as the wire said it, not checked yet.

    The numbers are printable ASCII of at most 64 characters, and may still be anything else.
    """

    first_number: str
    last_number: str
    quantity: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A definite no: this call granted nothing.

    Of a replay it says nothing about the calls before it.
    """

    code: str
    """LeQi's code; `not-sent` where the call could never be sent as it stands."""
    message: str
    """What happened, for an operator: one line, no payload, no secret."""


@dataclass(frozen=True, slots=True)
class Throttled:
    """Too many calls: wait 5 minutes, then at most `concurrency` at once (None: not said).

    The limit is the direct unit's, so it binds every worker that calls in its name.
    """

    concurrency: int | None
    """At least 1."""
    message: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """A range may have been granted or not: repeat the call unchanged."""

    detail: str
    """What happened and what to look at: one line, no payload, no secret."""


Answer: TypeAlias = Granted | Refused | Throttled | Unknown


class Authority(Protocol):
    """Who grants ranges. Its methods may be called from any thread."""

    def claim(self, call: ClaimCall) -> Answer:
        """Ask once and return what is known then.

        Takes bounded time, and raises for nothing that the network or the answer does.
        """
        ...

    def close(self) -> None:
        """Let go of the connections; no call may follow."""
        ...


@dataclass(frozen=True, slots=True)
class ListedRange:
    """A range as the channel's gateway lists it: both numbers of 20 digits with one prefix."""

    first_number: str
    last_number: str
    quantity: int
    unused: int
    """By the gateway's count, which is of uploads: for people to see, not to compare."""
    claimed_at: str | None
    """In the gateway's own spelling."""
    taxpayer_id: str
    business_serial: str | None
    """Serial of the claim that brought it; None where the gateway knows none."""


class RangeListing(Protocol):
    """A channel that can list claimed ranges, which LeQi itself can't."""

    def ranges(self, taxpayer_id: str) -> list[ListedRange]:
        """Return every range of the taxpayer, each once, in the gateway's order.

        Raises `ListingError` rather than return a part as the whole.
        """
        ...


class ListingError(Exception):
    """The gateway's listing is not to be had, or not to be believed; the text says why."""
