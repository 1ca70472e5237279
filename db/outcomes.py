"""Outcomes of uploads: which moved a number, and which numbers have waited too long for one."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import Connection, select, text, update

from db.records import KnownOutcome, RequestKey
from db.tables import deployment

_FIND = text("""
    SELECT o.taxpayer_id, o.outcome_id, o.organization, o.issue_request_id, o.prefix, o.sequence, o.outcome, o.reuse,
           o.became, o.event_id, o.answered_at
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[])) AS k (taxpayer_id, outcome_id)
    JOIN invoice_outcomes AS o USING (taxpayer_id, outcome_id)
    WHERE o.environment = :environment
""")

_ADD = text("""
    INSERT INTO invoice_outcomes (taxpayer_id, environment, outcome_id, organization, issue_request_id, prefix,
        sequence, outcome, reuse, became, event_id, answered_at)
    SELECT v.taxpayer_id, :environment, v.outcome_id, v.organization, v.issue_request_id, v.prefix,
        v.sequence, v.outcome, v.reuse, v.became, v.event_id, v.answered_at
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[]), CAST(:organizations AS text[]),
        CAST(:issue_request_ids AS text[]), CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[]),
        CAST(:outcomes AS text[]), CAST(:reuses AS boolean[]), CAST(:becames AS text[]), CAST(:event_ids AS uuid[]),
        CAST(:answered_ats AS timestamptz[]))
        AS v (taxpayer_id, outcome_id, organization, issue_request_id, prefix, sequence, outcome, reuse, became,
              event_id, answered_at)
""")

# Numbers that were assigned at the same instant are looked at together, for the mark stands at an instant.
_OVERDUE = text("""
    WITH late AS MATERIALIZED (
        SELECT taxpayer_id, environment, issue_request_id, prefix, sequence, assigned_at
        FROM numbers
        WHERE environment = :environment AND status IN ('assigned', 'held')
          AND assigned_at > CAST(:after AS timestamptz) AND assigned_at <= :until
        ORDER BY assigned_at
        FETCH FIRST :most ROWS WITH TIES
    )
    SELECT late.taxpayer_id, late.issue_request_id, q.organization, late.prefix, late.sequence, late.assigned_at
    FROM late
    JOIN issue_requests AS q USING (taxpayer_id, environment, issue_request_id)
    ORDER BY late.assigned_at
""")

_BEGINNING = datetime.fromisoformat("2000-01-01T00:00:00+00:00")


class OverdueNumber(NamedTuple):
    """A number that has been assigned or held for long, without a definite outcome."""

    key: RequestKey
    organization: str
    prefix: int
    sequence: int
    assigned_at: datetime


def find_outcomes(
    connection: Connection,
    environment: str,
    keys: Collection[tuple[str, str]],
) -> dict[tuple[str, str], KnownOutcome]:
    """Read the outcomes of these keys (taxpayer, outcome id) that moved a number."""
    rows = connection.execute(
        _FIND,
        {
            "environment": environment,
            "taxpayer_ids": [taxpayer_id for taxpayer_id, _ in keys],
            "ids": [outcome_id for _, outcome_id in keys],
        },
    )
    return {(row[0], row[1]): KnownOutcome(*row) for row in rows}


def add_outcomes(connection: Connection, environment: str, outcomes: Sequence[KnownOutcome]) -> None:
    """Store outcomes that move a number now; one of the same id is refused by its key."""
    if outcomes:
        connection.execute(
            _ADD,
            {
                "environment": environment,
                "taxpayer_ids": [each.taxpayer_id for each in outcomes],
                "ids": [each.outcome_id for each in outcomes],
                "organizations": [each.organization for each in outcomes],
                "issue_request_ids": [each.issue_request_id for each in outcomes],
                "prefixes": [each.prefix for each in outcomes],
                "sequences": [each.sequence for each in outcomes],
                "outcomes": [each.outcome for each in outcomes],
                "reuses": [each.reuse for each in outcomes],
                "becames": [each.became for each in outcomes],
                "event_ids": [each.event_id for each in outcomes],
                "answered_ats": [each.answered_at for each in outcomes],
            },
        )


def take_overdue_numbers(
    connection: Connection,
    environment: str,
    *,
    until: datetime,
    most: int,
) -> list[OverdueNumber]:
    """Take numbers without a definite outcome that were assigned at `until` or before, the oldest first, each once.

    About `most`; nothing where another worker takes them just now.
    A mark in the database tells how far the look has come, so that a number is looked at once for each assignment.
    """
    marked = connection.execute(select(deployment.c.overdue_until).with_for_update(skip_locked=True)).one_or_none()
    if marked is None:
        return []
    after = marked[0] or _BEGINNING
    if until <= after:
        return []
    rows = connection.execute(
        _OVERDUE,
        {"environment": environment, "after": after, "until": until, "most": most},
    ).all()
    taken = [OverdueNumber(RequestKey(row[0], row[1]), *row[2:]) for row in rows]
    reached = taken[-1].assigned_at if len(taken) >= most else until
    connection.execute(update(deployment).values(overdue_until=reached))
    return taken
