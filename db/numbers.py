"""Numbers: a row each, from the moment that they are assigned or split off a manual range."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

_ADD_ASSIGNED = text("""
    INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last,
        status, issue_request_id, issue_date, assigned_at)
    SELECT v.taxpayer_id, :environment, v.prefix, v.sequence, v.range_id, v.range_first, v.range_last,
        'assigned', v.issue_request_id, v.issue_date, :now
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[]),
        CAST(:range_ids AS uuid[]), CAST(:range_firsts AS bigint[]), CAST(:range_lasts AS bigint[]),
        CAST(:ids AS text[]), CAST(:issue_dates AS date[]))
        AS v (taxpayer_id, prefix, sequence, range_id, range_first, range_last, issue_request_id, issue_date)
""")

_SPLIT_RANGE = text("""
    INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last, status)
    SELECT taxpayer_id, environment, prefix, generate_series(first_sequence, last_sequence),
        range_id, first_sequence, last_sequence, 'available'
    FROM ranges
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND range_id = :range_id
""")


class AssignedNumber(NamedTuple):
    """A number taken from a range, for one issue request."""

    taxpayer_id: str
    prefix: int
    sequence: int
    range_id: UUID
    range_first: int
    range_last: int
    issue_request_id: str
    issue_date: date


def add_assigned_numbers(
    connection: Connection,
    environment: str,
    numbers: Sequence[AssignedNumber],
    *,
    now: datetime,
) -> None:
    """Store the numbers just taken; a number or a request that stands already is refused by its key."""
    if not numbers:
        return
    columns = list(zip(*numbers, strict=True))
    connection.execute(
        _ADD_ASSIGNED,
        {
            "environment": environment,
            "now": now,
            "taxpayer_ids": list(columns[0]),
            "prefixes": list(columns[1]),
            "sequences": list(columns[2]),
            "range_ids": list(columns[3]),
            "range_firsts": list(columns[4]),
            "range_lasts": list(columns[5]),
            "ids": list(columns[6]),
            "issue_dates": list(columns[7]),
        },
    )


def split_range(connection: Connection, environment: str, taxpayer_id: str, range_id: UUID) -> int:
    """Split a manual range into its single numbers (拆分), all available; gives their count."""
    split = connection.execute(
        _SPLIT_RANGE,
        {"taxpayer_id": taxpayer_id, "environment": environment, "range_id": range_id},
    )
    return split.rowcount
