"""The invoice number: 20 digits, a string on every wire, two integers in memory and in the database.

20 digits don't fit a 64-bit integer, their two parts do: the prefix (digits 1-6: year, region, channel), which all
numbers of one range share, and the sequence (digits 7-20), which arithmetic happens on.
Source: the domain, "The number".
"""

from dataclasses import dataclass
from typing import Self

from schemas.vocabulary import ChannelMode

#: How many digits a number has.
LENGTH = 20
_PREFIX_DIGITS = 6
_SEQUENCE_DIGITS = 14
#: The largest sequence there is: 14 nines.
MAX_SEQUENCE = 10**_SEQUENCE_DIGITS - 1
_MAX_PREFIX = 10**_PREFIX_DIGITS - 1
_CENTURY = 2000


class InvoiceNumberError(ValueError):
    """A text that is no invoice number, or arithmetic past the numbers there are. Never quotes the text."""


@dataclass(frozen=True, slots=True, order=True)
class InvoiceNumber:
    """One number. Sorts as its 20 digits do."""

    #: Digits 1-6 as an integer, 0 to 999999.
    prefix: int
    #: Digits 7-20 as an integer, 0 to 99999999999999.
    sequence: int

    def __post_init__(self) -> None:
        """Refuse parts that have too many digits."""
        if not 0 <= self.prefix <= _MAX_PREFIX:
            msg = f"the prefix of an invoice number has {_PREFIX_DIGITS} digits"
            raise InvoiceNumberError(msg)
        if not 0 <= self.sequence <= MAX_SEQUENCE:
            msg = f"the sequence of an invoice number has {_SEQUENCE_DIGITS} digits"
            raise InvoiceNumberError(msg)

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a number from its 20 digits; anything else raises `InvoiceNumberError`.

        Only ASCII digits in a text count, without sign, space or separator: an integer or a float is refused too.
        Region and channel are not judged: new codes appear, and the authority's word is taken for them.
        """
        if not isinstance(text, str) or len(text) != LENGTH or not (text.isascii() and text.isdigit()):
            msg = f"an invoice number is a text of exactly {LENGTH} digits"
            raise InvoiceNumberError(msg)
        return cls(int(text[:_PREFIX_DIGITS]), int(text[_PREFIX_DIGITS:]))

    def __str__(self) -> str:
        """Write the 20 digits."""
        return format_number(self.prefix, self.sequence)

    @property
    def year(self) -> int:
        """The calendar year that the number is for, 2000 to 2099."""
        return _CENTURY + self.prefix // 10_000

    @property
    def region(self) -> str:
        """Digits 3 and 4, the province or planned city; not derivable from the taxpayer id."""
        return f"{self.prefix // 100 % 100:02}"

    @property
    def channel_mode(self) -> ChannelMode | None:
        """What digits 5 and 6 say; None where they are none of the known pairs."""
        return ChannelMode.from_digits(f"{self.prefix % 100:02}")

    def distance_to(self, other: Self) -> int:
        """Count the steps from this number up to the other: 0 for the same, negative when the other is lower.

        Raises `InvoiceNumberError` where the prefixes differ: between two ranges of numbers there is no distance.
        """
        if self.prefix != other.prefix:
            msg = "there is no distance between invoice numbers of different year, region or channel"
            raise InvoiceNumberError(msg)
        return other.sequence - self.sequence

    def plus(self, steps: int) -> Self:
        """Give the number that many steps up (down if negative); raises `InvoiceNumberError` past the sequence."""
        return type(self)(self.prefix, self.sequence + steps)


def format_number(prefix: int, sequence: int) -> str:
    """Write the 20 digits of a number whose parts are known to be sound, as those in the database are."""
    return f"{prefix:06}{sequence:014}"
