"""Whether a grant may be used: the checks of the domain page, before any number of it is."""

from dataclasses import dataclass

from schemas.invoice_number import InvoiceNumber, InvoiceNumberError
from schemas.vocabulary import ChannelMode


@dataclass(frozen=True, slots=True)
class GoodGrant:
    """A grant that passed every check that needs no look at other ranges."""

    first: InvoiceNumber
    last: InvoiceNumber


@dataclass(frozen=True, slots=True)
class BadGrant:
    """A grant of which no number may be used; the extent is given where it can be read at all."""

    detail: str
    first: InvoiceNumber | None = None
    last: InvoiceNumber | None = None


def check_grant(  # noqa: PLR0911 -- one return for each rule of the page reads best
    first_number: str,
    last_number: str,
    quantity: int,
    *,
    asked: int,
    channel_mode: ChannelMode,
    present_year: int,
) -> GoodGrant | BadGrant:
    """Check a grant against what was asked, at China's `present_year`.

    Overlap with ranges held is checked where those are known.
    """
    try:
        first, last = InvoiceNumber.parse(first_number), InvoiceNumber.parse(last_number)
    except InvoiceNumberError:
        return BadGrant("the first or last number is not 20 digits")
    if first.prefix != last.prefix:
        return BadGrant("the first and last number differ in their first six digits")
    if last.sequence < first.sequence:
        return BadGrant("the last number lies before the first")
    count = first.distance_to(last) + 1
    if count != quantity:
        return BadGrant(f"the answer names {quantity} numbers, its range has {count}", first, last)
    if count != asked:
        return BadGrant(f"{asked} numbers were asked for, {count} granted", first, last)
    if abs(first.year - present_year) > 1:
        return BadGrant(f"the numbers are of {first.year}, the present year is {present_year}", first, last)
    if first.channel_mode is not channel_mode:
        return BadGrant(f"digits 5-6 are not {channel_mode.digits}, those of {channel_mode}", first, last)
    return GoodGrant(first, last)
