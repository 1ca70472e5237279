"""One thing that must hold of what the demo brought, and how it was found."""

from collections.abc import Iterable
from dataclasses import dataclass

#: How many offenders of one check are named.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: how many were looked at, and which of them don't hold."""

    name: str
    checked: int
    broken: int
    #: Identifiers of the first broken ones.
    offenders: tuple[str, ...] = ()
    #: Whether this run had anything to show for it; then nothing checked is no success.
    expected: bool = True

    @property
    def holds(self) -> bool:
        """Whether it was shown to hold."""
        return self.broken == 0 and (self.checked > 0 or not self.expected)


def check_of(name: str, checked: int, wrong: Iterable[str], *, expected: bool = True) -> Check:
    """Give the check with the offenders that were found."""
    offenders = sorted(wrong)
    return Check(name, checked, len(offenders), tuple(offenders[:MOST_NAMED]), expected)
