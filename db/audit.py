"""The audit: every invariant, recomputed from the live rows in one snapshot."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from db.invariants import INVARIANTS
from db.number_invariants import Invariant

#: How many offenders of one invariant are named.
MOST_NAMED = 20

#: What is due for longer than this goes on no more. Far beyond every wait of the worker, and beyond an evening
#: without any worker.
_OVERDUE = timedelta(days=1)

#: No lease and no wait of a message in the outbox reaches further ahead.
_LONGEST_LEASE = timedelta(days=1)

_SNAPSHOT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")


@dataclass(frozen=True, slots=True)
class Finding:
    """What the audit found of one invariant."""

    name: str
    says: str
    #: Rows that were judged; where it is 0, nothing was shown.
    checked: int
    broken: int
    #: Identifiers of the first broken rows, at most `MOST_NAMED`.
    offenders: tuple[str, ...]


def audit(connection: Connection, now: datetime) -> list[Finding]:
    """Judge every row of the database by every invariant; changes nothing, and works on a standby too.

    Must be the first work of its transaction: all statements see the same snapshot, however long they take.
    Memory is the server's, bounded by its `work_mem`; only counts and a few identifiers come here.
    """
    connection.execute(_SNAPSHOT)
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    instants = {"overdue_before": now - _OVERDUE, "leased_until": now + _LONGEST_LEASE}
    return [_judge(connection, invariant, instants) for invariant in INVARIANTS]


def _judge(connection: Connection, invariant: Invariant, instants: dict[str, datetime]) -> Finding:
    # The statements are constants of this package: nothing that came from outside is put together here.
    count = text(f"SELECT count(*), count(*) FILTER (WHERE broken) FROM ({invariant.judges}) AS judged")  # noqa: S608
    values = {name: instant for name, instant in instants.items() if f":{name}" in invariant.judges}
    checked, broken = connection.execute(count, values).one()
    if invariant.counts is not None:
        checked = max(checked, connection.execute(text(invariant.counts)).scalar_one())
    offenders: tuple[str, ...] = ()
    if broken:
        named = text(f"SELECT offender FROM ({invariant.judges}) AS judged WHERE broken LIMIT {MOST_NAMED}")  # noqa: S608
        offenders = tuple(connection.execute(named, values).scalars())
    return Finding(invariant.name, invariant.says, checked, broken, offenders)
