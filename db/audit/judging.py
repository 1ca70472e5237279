"""The audit's work: every row of the database is judged by every invariant, in one snapshot."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from db.audit.invariant import Invariant
from db.audit.invariants import INVARIANTS

#: How many offenders of one invariant are named.
MOST_NAMED = 20

#: What is due for longer than this goes on no more. Far beyond every wait of the worker, and beyond an evening
#: without any worker.
_OVERDUE = timedelta(days=1)

#: No lease, no wait of a message in the outbox and of a stock's next claim reaches further ahead.
_LONGEST_LEASE = timedelta(days=1)

# One moment for all statements, and what a server with other work to do can spare: one process, a bounded memory for
# each sort and hash, the rest in temporary files. It takes no lock but the one that keeps tables from being altered.
_TERMS = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL work_mem = '64MB'",
    "SET LOCAL max_parallel_workers_per_gather = 0",
    "SET LOCAL jit = off",
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the worker lets things wait before it tells of them or ends them; its settings say otherwise."""

    waiting: timedelta = timedelta(hours=24)
    outcome: timedelta = timedelta(hours=40)
    claim: timedelta = timedelta(days=7)


USUAL = Limits()


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


def audit(
    connection: Connection,
    now: datetime,
    limits: Limits = USUAL,
    *,
    begins: Callable[[Invariant], None] = lambda _: None,
) -> list[Finding]:
    """Judge every row of the database by every invariant; changes nothing, and works on a standby too.

    Must be the first work of its transaction: all statements see the same snapshot, however long they take.
    Memory is the server's, bounded by its `work_mem`; only counts and a few identifiers come here.
    `begins` is told of each invariant before its rows are judged.
    """
    for term in _TERMS:
        connection.execute(text(term))
    values = instants(now, limits)
    findings = []
    for invariant in INVARIANTS:
        begins(invariant)
        findings.append(_judge(connection, invariant, values))
    return findings


def instants(now: datetime, limits: Limits = USUAL) -> dict[str, datetime]:
    """Give the instants that the statements ask for by name."""
    return {
        "now": now,
        "overdue_before": now - _OVERDUE,
        "leased_until": now + _LONGEST_LEASE,
        "waiting_before": now - limits.waiting - _OVERDUE,
        "outcome_before": now - limits.outcome - _OVERDUE,
        "given_up_before": now - limits.claim - _OVERDUE,
    }


def _judge(connection: Connection, invariant: Invariant, values: dict[str, datetime]) -> Finding:
    # The statements are constants of this package: nothing that came from outside is put together here.
    count = text(f"SELECT count(*), count(*) FILTER (WHERE broken) FROM ({invariant.judges}) AS judged")  # noqa: S608
    asked = {name: instant for name, instant in values.items() if f":{name}" in invariant.judges}
    checked, broken = connection.execute(count, asked).one()
    if invariant.counts is not None:
        checked = max(checked, connection.execute(text(invariant.counts)).scalar_one())
    offenders: tuple[str, ...] = ()
    if broken:
        named = text(f"SELECT offender FROM ({invariant.judges}) AS judged WHERE broken LIMIT {MOST_NAMED}")  # noqa: S608
        offenders = tuple(connection.execute(named, asked).scalars())
    return Finding(invariant.name, invariant.says, checked, broken, offenders)
