"""The closed sets of words that stand on the wire and in the database."""

from enum import StrEnum
from typing import Self


class Environment(StrEnum):
    """Which of the authority's two worlds; part of every key, since a sandbox number is worthless in production."""

    PRODUCTION = "production"
    SANDBOX = "sandbox"


class ChannelMode(StrEnum):
    """For whom the company's line to the authority issues; digits 5 and 6 of a number (the domain, "The number")."""

    SELF_USE = "self-use"
    ON_BEHALF = "on-behalf"
    JOINT = "joint"

    @property
    def digits(self) -> str:
        """The two digits that numbers of this mode have at places 5 and 6."""
        return _DIGITS[self]

    @classmethod
    def from_digits(cls, digits: str) -> Self | None:
        """Give the mode of two digits; None for a pair that the domain doesn't know."""
        return next((mode for mode in cls if _DIGITS[mode] == digits), None)


_DIGITS: dict[ChannelMode, str] = {
    ChannelMode.SELF_USE: "70",
    ChannelMode.ON_BEHALF: "71",
    ChannelMode.JOINT: "72",
}


class ClaimMode(StrEnum):
    """How a range was claimed. Issuing never takes a manual number by itself."""

    AUTOMATIC = "automatic"
    MANUAL = "manual"


class RangeStatus(StrEnum):
    """What may be done with a range; only an active one gives numbers."""

    ACTIVE = "active"
    USED_UP = "used-up"
    EXPIRED = "expired"
    RETIRED = "retired"
    QUARANTINED = "quarantined"
    #: Claimed by another system, or by us before a restore: shown, never issued from until released by hand.
    FOREIGN = "foreign"


class ClaimStatus(StrEnum):
    """How far a claim has come. Its outcome is unknown while it is open or unresolved."""

    OPEN = "open"
    UNRESOLVED = "unresolved"
    GRANTED = "granted"
    REFUSED = "refused"
    QUARANTINED = "quarantined"
    ABANDONED = "abandoned"


class InvoiceKind(StrEnum):
    """An invoice (blue) or a credit note (red); both take numbers from the same stock."""

    BLUE = "blue"
    RED = "red"


class BindingAction(StrEnum):
    """What a `number-binding-requested` asks for."""

    BIND = "bind"
    UNBIND = "unbind"


class UploadOutcome(StrEnum):
    """What became of an invoice's upload, as `invoice-outcome` reports it."""

    UPLOADED = "uploaded"
    FAILED = "failed"
    UNKNOWN = "unknown"
