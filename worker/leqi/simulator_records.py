"""What the fake authority remembers: each a line of its state file."""

from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

BLOCK_SIZE: Final = 10**8
"""Numbers in one taxpayer's block of a prefix, and the longest range listed."""

Count = Annotated[int, Field(ge=0, le=BLOCK_SIZE)]
InvoiceNumber = Annotated[str, Field(pattern=r"^[0-9]{20}$")]


class Shape(StrEnum):
    """How a grant was made; only `WHOLE` is what a caller may use."""

    WHOLE = "whole"
    SHORT = "short"
    OVERLAPPING = "overlapping"
    WRONG_YEAR = "wrong-year"
    WRONG_CHANNEL = "wrong-channel"


class Form(BaseModel):
    """Common rules: strict types, no unknown fields, never changed."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)


class Order(Form):
    """A claim as it was understood; the serial is its key."""

    environment: Literal["production", "sandbox"]
    channel: str
    """Digits 5-6 that belong to the capability asked."""
    taxpayer_id: str
    quantity: int
    business_serial: str


class Grant(Form):
    """A range given away for ever."""

    kind: Literal["grant"] = "grant"
    order: Order
    first_number: InvoiceNumber
    last_number: InvoiceNumber
    quantity: int
    """As answered: fewer than ordered for a short grant."""
    shape: Annotated[Shape, Field(strict=False)]
    claimed_at: str
    """ISO instant in China's time, by the simulator's clock."""


class Asked(Form):
    """The serial of a grant was asked once more."""

    kind: Literal["asked"] = "asked"
    business_serial: str


class ClockSet(Form):
    """The clock was set; from then on it runs so far ahead of the machine's."""

    kind: Literal["clock"] = "clock"
    ahead_seconds: float


class ListedRange(Form):
    """One item of the listing gateway, with the contract's names."""

    first_number: InvoiceNumber
    last_number: InvoiceNumber
    quantity: Count
    unused: Count
    claimed_at: str | None = None
    taxpayer_id: Annotated[str, Field(min_length=1, max_length=20)]
    business_serial: Annotated[str, Field(max_length=100)] | None = None

    @model_validator(mode="after")
    def _one_range(self) -> "ListedRange":
        """Only the ends must make sense; a wrong `quantity` is a test's right."""
        if self.first_number[:6] != self.last_number[:6]:
            message = "first_number and last_number differ in digits 1-6"
            raise ValueError(message)
        if not 0 <= int(self.last_number) - int(self.first_number) < BLOCK_SIZE:
            message = "last_number is before first_number or too far behind it"
            raise ValueError(message)
        return self


class ListedChange(Form):
    """What the listing says of a grant instead of the truth."""

    last_number: InvoiceNumber | None = None
    quantity: Count | None = None
    unused: Count | None = None


class ListingEdits(Form):
    """Everything in which the listing differs from the grants.

    `add` are ranges that another system claimed: no later grant touches them.
    `change` and `hide` name grants by their business serial.
    """

    kind: Literal["listing"] = "listing"
    add: Annotated[tuple[ListedRange, ...], Field(strict=False)] = ()
    change: dict[str, ListedChange] = {}
    hide: Annotated[tuple[str, ...], Field(strict=False)] = ()


Record = Grant | Asked | ClockSet | ListingEdits

RECORD: Final[TypeAdapter[Record]] = TypeAdapter(Annotated[Record, Field(discriminator="kind")])
"""Reads one line of the state file."""
