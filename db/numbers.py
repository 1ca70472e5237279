"""Numbers: a row each, from the moment that they are assigned or split off a manual range, with their present state.

The state before each change is kept by the database itself (`db.guards`).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Connection, text

from db.arrays import dates, integers, of_requests, of_stocks, texts, uuids
from db.asking import Query, Reply, no_answer
from db.records import NamedNumber, RequestKey, StockKey, TakenNumber

_ADD_ASSIGNED = text("""
    INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last,
        status, issue_request_id, issue_date, assigned_at, changed_at, changed_by, event_id)
    SELECT v.taxpayer_id, :environment, v.prefix, v.sequence, v.range_id, v.range_first, v.range_last,
        'assigned', v.issue_request_id, v.issue_date, :now, :now, v.message, v.event_id
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[]),
        CAST(:range_ids AS uuid[]), CAST(:range_firsts AS bigint[]), CAST(:range_lasts AS bigint[]),
        CAST(:ids AS text[]), CAST(:issue_dates AS date[]), CAST(:messages AS text[]), CAST(:event_ids AS uuid[]))
        AS v (taxpayer_id, prefix, sequence, range_id, range_first, range_last, issue_request_id, issue_date,
              message, event_id)
""")

_ASSIGN_STORED = text("""
    UPDATE numbers AS n
    SET status = 'assigned', issue_request_id = v.issue_request_id, bound_to = NULL, issue_date = v.issue_date,
        assigned_at = :now, step = v.step, changed_at = :now, changed_by = v.message, requested_by = NULL,
        event_id = v.event_id
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[]),
        CAST(:steps AS smallint[]), CAST(:ids AS text[]), CAST(:issue_dates AS date[]), CAST(:messages AS text[]),
        CAST(:event_ids AS uuid[]))
        AS v (taxpayer_id, prefix, sequence, step, issue_request_id, issue_date, message, event_id)
    WHERE n.taxpayer_id = v.taxpayer_id AND n.environment = :environment
      AND n.prefix = v.prefix AND n.sequence = v.sequence AND n.step = v.step - 1
""")

_POOLED = text("""
    SELECT r.taxpayer_id, r.channel_mode, r.year,
           n.range_id, n.prefix, n.sequence, n.range_first, n.range_last, r.claim_mode, n.step + 1
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:channel_modes AS text[]), CAST(:years AS smallint[]))
        AS k (taxpayer_id, channel_mode, year)
    JOIN ranges AS r USING (taxpayer_id, channel_mode, year)
    JOIN numbers AS n
      ON n.taxpayer_id = r.taxpayer_id AND n.environment = r.environment AND n.range_id = r.range_id
     AND n.status = 'available'
    WHERE r.environment = :environment AND r.status = 'active' AND r.claim_mode = 'automatic'
    ORDER BY n.taxpayer_id, n.prefix, n.sequence
""")

_NAMED = """
    SELECT n.taxpayer_id, r.year, r.channel_mode, n.status, coalesce(n.issue_request_id, n.bound_to) AS holder,
           r.status AS range_status, n.range_id, n.prefix, n.sequence, n.range_first, n.range_last, r.claim_mode,
           n.step + 1 AS following_step
    FROM numbers AS n
    JOIN ranges AS r USING (taxpayer_id, environment, range_id)
"""

# One key after the other, for the reason given in `db.issue_requests`.
_BOUND = text(f"""
    SELECT b.*
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[])) AS k (taxpayer_id, issue_request_id)
    CROSS JOIN LATERAL (
        {_NAMED}
        WHERE n.taxpayer_id = k.taxpayer_id AND n.environment = :environment AND n.bound_to = k.issue_request_id
          AND n.status = 'bound'
        LIMIT 1
    ) AS b
""")  # noqa: S608 -- constants of this file

_FIND = text(f"""
    {_NAMED}
    JOIN unnest(CAST(:taxpayer_ids AS text[]), CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[]))
        AS k (taxpayer_id, prefix, sequence)
      ON n.taxpayer_id = k.taxpayer_id AND n.prefix = k.prefix AND n.sequence = k.sequence
    WHERE n.environment = :environment
""")

_OWNERS = text("""
    SELECT k.prefix, k.sequence, r.taxpayer_id
    FROM unnest(CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[])) AS k (prefix, sequence)
    JOIN ranges AS r ON r.prefix = k.prefix AND k.sequence BETWEEN r.first_sequence AND r.last_sequence
    WHERE r.environment = :environment AND r.status <> 'quarantined'
""")

_CHANGE = text("""
    UPDATE numbers AS n
    SET status = v.status, bound_to = v.bound_to,
        issue_request_id = CASE WHEN v.keeps_holder THEN n.issue_request_id END,
        issue_date = CASE WHEN v.keeps_holder THEN n.issue_date END,
        assigned_at = CASE WHEN v.keeps_holder THEN n.assigned_at END,
        step = v.step, changed_at = :now, changed_by = v.message, requested_by = v.requested_by, event_id = v.event_id
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:prefixes AS integer[]), CAST(:sequences AS bigint[]),
        CAST(:steps AS smallint[]), CAST(:statuses AS text[]), CAST(:keep_holders AS boolean[]),
        CAST(:bound_to AS text[]), CAST(:messages AS text[]), CAST(:requested_by AS text[]),
        CAST(:event_ids AS uuid[]))
        AS v (taxpayer_id, prefix, sequence, step, status, keeps_holder, bound_to, message, requested_by, event_id)
    WHERE n.taxpayer_id = v.taxpayer_id AND n.environment = :environment
      AND n.prefix = v.prefix AND n.sequence = v.sequence AND n.step = v.step - 1
""")

_SPLIT_RANGE = text("""
    INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last, status,
        changed_at, changed_by, requested_by, event_id)
    SELECT taxpayer_id, environment, prefix, generate_series(first_sequence, last_sequence),
        range_id, first_sequence, last_sequence, 'available', :now, :message, :requested_by, :event_id
    FROM ranges
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND range_id = :range_id
""")

_HOLDERS = ("assigned", "held", "used")


class ChangedMeanwhileError(Exception):
    """Another transaction changed one of these numbers meanwhile; the same work done again sees it."""


class AssignedNumber(NamedTuple):
    """A number given to an issue request, with the message that asked and the event that tells."""

    taxpayer_id: str
    taken: TakenNumber
    issue_request_id: str
    issue_date: date
    message: str
    event_id: str


class NumberChange(NamedTuple):
    """A change of a number's state, with what the history keeps of it; `number` is as it was read."""

    number: NamedNumber
    status: str
    message: str
    event_id: UUID
    requested_by: str | None = None
    bound_to: str | None = None


def assign_numbers(environment: str, numbers: Sequence[AssignedNumber], *, now: datetime) -> list[Query[None]]:
    """Store that requests hold these numbers now; a number or a request that stands already is refused by its key.

    Raises `ChangedMeanwhileError` where a stored number is not as it was read.
    """
    queries = []
    fresh = [number for number in numbers if number.taken.is_fresh]
    if fresh:
        extents = [number.taken for number in fresh]
        parameters = {
            **_assignments(environment, fresh, now),
            "range_ids": uuids([taken.range_id for taken in extents]),
            "range_firsts": integers([taken.range_first for taken in extents]),
            "range_lasts": integers([taken.range_last for taken in extents]),
        }
        queries.append(Query(_ADD_ASSIGNED, parameters, no_answer))
    stored = [number for number in numbers if not number.taken.is_fresh]
    if stored:

        def read(changed: Reply) -> None:
            if changed.rowcount != len(stored):
                raise ChangedMeanwhileError

        steps = integers([number.taken.step for number in stored])
        queries.append(Query(_ASSIGN_STORED, {**_assignments(environment, stored, now), "steps": steps}, read))
    return queries


def pooled_numbers(environment: str, keys: Collection[StockKey]) -> Query[Mapping[StockKey, list[TakenNumber]]]:
    """Read the released numbers of these locked stocks; they are taken before a range's cursor moves on."""
    return Query(_POOLED, of_stocks(environment, keys), _pooled_by_stock)


def bound_numbers(environment: str, keys: Collection[RequestKey]) -> Query[dict[RequestKey, NamedNumber]]:
    """Read the numbers that are bound to these requests."""
    return Query(_BOUND, of_requests(environment, keys), _bound_by_request)


def find_numbers(
    connection: Connection,
    environment: str,
    numbers: Collection[tuple[str, int, int]],
) -> dict[tuple[str, int, int], NamedNumber]:
    """Read numbers by taxpayer, prefix and sequence; one without a row is left out."""
    if not numbers:
        return {}
    rows = connection.execute(
        _FIND,
        {
            "environment": environment,
            "taxpayer_ids": [number[0] for number in numbers],
            "prefixes": [number[1] for number in numbers],
            "sequences": [number[2] for number in numbers],
        },
    )
    found = [_named(row) for row in rows]
    return {(number.taxpayer_id, number.taken.prefix, number.taken.sequence): number for number in found}


def owners_of_numbers(
    connection: Connection,
    environment: str,
    numbers: Collection[tuple[int, int]],
) -> dict[tuple[int, int], str]:
    """Tell whose range each number (prefix, sequence) lies in; one of no range that is held is left out."""
    if not numbers:
        return {}
    rows = connection.execute(
        _OWNERS,
        {
            "environment": environment,
            "prefixes": [number[0] for number in numbers],
            "sequences": [number[1] for number in numbers],
        },
    )
    return {(row[0], row[1]): row[2] for row in rows}


def change_numbers(
    connection: Connection,
    environment: str,
    changes: Sequence[NumberChange],
    *,
    now: datetime,
) -> None:
    """Move numbers of locked stocks to other states; who holds one keeps it only in a state that has a holder.

    Each number stands among them once.
    Raises `ChangedMeanwhileError` where one is not as it was read.
    """
    if not changes:
        return
    taken = [change.number.taken for change in changes]
    changed = connection.execute(
        _CHANGE,
        {
            "environment": environment,
            "now": now,
            "taxpayer_ids": [change.number.taxpayer_id for change in changes],
            "prefixes": [each.prefix for each in taken],
            "sequences": [each.sequence for each in taken],
            "steps": [each.step for each in taken],
            "statuses": [change.status for change in changes],
            "keep_holders": [change.status in _HOLDERS for change in changes],
            "bound_to": [change.bound_to for change in changes],
            "messages": [change.message for change in changes],
            "requested_by": [change.requested_by for change in changes],
            "event_ids": [change.event_id for change in changes],
        },
    )
    if changed.rowcount != len(changes):
        raise ChangedMeanwhileError


def split_range(  # noqa: PLR0913 -- what the history keeps of a change
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    range_id: UUID,
    *,
    now: datetime,
    message: str,
    requested_by: str | None,
    event_id: UUID,
) -> int:
    """Split a manual range into its single numbers (拆分), all available; gives their count."""
    split = connection.execute(
        _SPLIT_RANGE,
        {
            "taxpayer_id": taxpayer_id,
            "environment": environment,
            "range_id": range_id,
            "now": now,
            "message": message,
            "requested_by": requested_by,
            "event_id": event_id,
        },
    )
    return split.rowcount


def _assignments(environment: str, numbers: Sequence[AssignedNumber], now: datetime) -> dict[str, object]:
    return {
        "environment": environment,
        "now": now,
        "taxpayer_ids": texts([number.taxpayer_id for number in numbers]),
        "prefixes": integers([number.taken.prefix for number in numbers]),
        "sequences": integers([number.taken.sequence for number in numbers]),
        "ids": texts([number.issue_request_id for number in numbers]),
        "issue_dates": dates([number.issue_date for number in numbers]),
        "messages": texts([number.message for number in numbers]),
        "event_ids": uuids([number.event_id for number in numbers]),
    }


def _pooled_by_stock(rows: Reply) -> Mapping[StockKey, list[TakenNumber]]:
    found: dict[StockKey, list[TakenNumber]] = defaultdict(list)
    for row in rows:
        found[StockKey(row[0], row[1], row[2])].append(TakenNumber(*row[3:]))
    return found


def _bound_by_request(rows: Reply) -> dict[RequestKey, NamedNumber]:
    found = map(_named, rows)
    return {RequestKey(number.taxpayer_id, number.holder or ""): number for number in found}


def _named(row: Sequence[Any]) -> NamedNumber:
    """Read a row of `_NAMED`."""
    taxpayer_id, year, channel_mode, status, holder, range_status, *taken = row
    return NamedNumber(taxpayer_id, year, channel_mode, status, holder, range_status, TakenNumber(*taken))
