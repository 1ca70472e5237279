"""What an invariant is, and the pieces of SQL that several have in common.

A statement gives every row that it judges, as `offender` (identifiers, never contents) and `broken` (never null).
It relies on no constraint and no copied column: where the constraint that forbids an offence was lost, or the row
came in past it, the statement still sees it.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule with the statement that judges rows by it."""

    name: str
    #: The rule in words, as an operator reads it.
    says: str
    #: May use the instants of `db.audit.judging`, such as `:overdue_before`, as parameters.
    judges: str
    #: Counts what was checked, where that is more than the rows still there.
    counts: str | None = None


#: How offenders are named: numbers as their 20 digits, whatever else by its keys.
NUMBER = "lpad(n.prefix::text, 6, '0') || lpad(n.sequence::text, 14, '0')"
RANGE = "r.taxpayer_id || ' ' || r.range_id::text"
REQUEST = "q.taxpayer_id || ' ' || q.issue_request_id"
CLAIM = "c.taxpayer_id || ' ' || c.claim_id"
STOCK = "s.taxpayer_id || ' ' || s.channel_mode || ' ' || s.year::text"

#: States in which a number has a request, and those in which nobody holds it but somebody may.
HELD = "('assigned', 'held', 'used')"
FREE = "('available', 'bound')"

#: Quarantined and foreign ranges are withheld: shown, counted, never issued from.
WITHHELD = "('quarantined', 'foreign')"
#: Ranges that are out of use for ever.
ENDED = "('expired', 'retired', 'quarantined')"
