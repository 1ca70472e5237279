"""Event ids that the database accepts: that of a change of one number spells which change it is."""

from typing import LiteralString
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5


def of_change(prefix: int, sequence: int, step: int) -> UUID:
    """Make the id of an event that tells of one change of one number."""
    digits = f"{prefix:06}{sequence:014}"
    return UUID(f"{digits[:12]}8{digits[12:15]}8{digits[15:]}{step:04x}{uuid4().hex[:6]}")


def of_range() -> UUID:
    """Make the id of an event that tells of what happened to a range as a whole: each its own."""
    return uuid5(NAMESPACE_OID, str(uuid4()))


def written_of_change(
    *,
    prefix: LiteralString = "prefix",
    sequence: LiteralString = "sequence",
    step: LiteralString = "step",
) -> LiteralString:
    """Write the same as `of_change` in SQL, of columns or other expressions; the last digits are always the same."""
    return (
        f'(to_char({prefix}, \'FM000000\') || to_char({sequence}, \'FM00"-"0000"-8"000"-8"000"-"00\')'
        f" || lpad(to_hex(CAST({step} AS integer)), 4, '0') || 'abcdef')::uuid"
    )
