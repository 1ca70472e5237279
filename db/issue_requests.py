"""Issue requests: one row each for ever, and the queue of those that wait."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from typing import NamedTuple

from sqlalchemy import Connection, text

from db.records import KnownRequest, RequestKey, StockKey, WaitingRequest

# A number that is held or used by now was changed since: the event that told of its assignment is in the history.
_FIND = text("""
    SELECT r.taxpayer_id, r.issue_request_id, r.organization, r.issue_date, r.kind, r.named_number, r.status,
           r.closed_because, n.prefix, n.sequence, n.range_id, g.claim_mode, n.assigned_at,
           coalesce(h.event_id, n.event_id), coalesce(h.changed_by, n.changed_by)
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[])) AS k (taxpayer_id, issue_request_id)
    JOIN issue_requests AS r
      ON r.taxpayer_id = k.taxpayer_id AND r.environment = :environment AND r.issue_request_id = k.issue_request_id
    LEFT JOIN numbers AS n
      ON n.taxpayer_id = k.taxpayer_id AND n.environment = :environment
     AND coalesce(n.issue_request_id, n.bound_to) = k.issue_request_id AND n.issue_request_id IS NOT NULL
    LEFT JOIN ranges AS g
      ON g.taxpayer_id = n.taxpayer_id AND g.environment = n.environment AND g.range_id = n.range_id
    LEFT JOIN LATERAL (
        SELECT past.event_id, past.changed_by FROM number_history AS past
        WHERE n.status <> 'assigned' AND past.status = 'assigned'
          AND past.taxpayer_id = n.taxpayer_id AND past.environment = n.environment
          AND past.prefix = n.prefix AND past.sequence = n.sequence
        ORDER BY past.step DESC LIMIT 1
    ) AS h ON true
""")

# A closed request that is asked again is judged anew: its row is taken over.
_ADD = text("""
    INSERT INTO issue_requests AS r (taxpayer_id, environment, issue_request_id, organization, issue_date, kind,
        named_number, channel_mode, status, form, message, traceparent, queue_position, waiting_since)
    SELECT v.taxpayer_id, :environment, v.issue_request_id, v.organization, v.issue_date, v.kind,
        v.named_number, v.channel_mode, v.status, v.form, v.message, v.traceparent,
        CASE WHEN v.status = 'waiting' THEN nextval('queue_positions') END,
        CASE WHEN v.status = 'waiting' THEN CAST(:now AS timestamptz) END
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[]), CAST(:organizations AS text[]),
        CAST(:issue_dates AS date[]), CAST(:kinds AS text[]), CAST(:named_numbers AS text[]),
        CAST(:channel_modes AS text[]), CAST(:statuses AS text[]), CAST(:forms AS text[]),
        CAST(:messages AS text[]), CAST(:traceparents AS text[]))
        WITH ORDINALITY
        AS v (taxpayer_id, issue_request_id, organization, issue_date, kind, named_number, channel_mode, status, form,
              message, traceparent, position)
    ORDER BY v.position
    ON CONFLICT (taxpayer_id, environment, issue_request_id) DO UPDATE
    SET organization = excluded.organization, issue_date = excluded.issue_date, kind = excluded.kind,
        named_number = excluded.named_number, channel_mode = excluded.channel_mode, status = excluded.status,
        closed_because = NULL, form = excluded.form, message = excluded.message,
        traceparent = excluded.traceparent, queue_position = excluded.queue_position,
        waiting_since = excluded.waiting_since
    WHERE r.status = 'closed'
""")

_WAITING = text("""
    SELECT taxpayer_id, issue_request_id, organization, channel_mode, issue_date, kind, form, message, traceparent
    FROM issue_requests
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode
      AND EXTRACT(year FROM issue_date) = :year AND status = 'waiting'
    ORDER BY queue_position
    LIMIT :most
""")

_COUNT_WAITING = text("""
    SELECT count(*) FROM issue_requests
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode
      AND EXTRACT(year FROM issue_date) = :year AND status = 'waiting'
""")

_SERVE = text("""
    UPDATE issue_requests SET status = 'assigned', queue_position = NULL, waiting_since = NULL
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND status = 'waiting'
      AND issue_request_id = ANY(CAST(:ids AS text[]))
""")

_CLOSE = text("""
    UPDATE issue_requests SET status = 'closed', closed_because = :because, queue_position = NULL, waiting_since = NULL
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND status = :status
      AND issue_request_id = ANY(CAST(:ids AS text[]))
""")

_OVERDUE = text("""
    SELECT DISTINCT taxpayer_id, channel_mode, CAST(EXTRACT(year FROM issue_date) AS smallint)
    FROM issue_requests
    WHERE environment = :environment AND status = 'waiting' AND waiting_since < :before
    LIMIT :most
""")

_OVERDUE_OF_STOCK = text("""
    SELECT taxpayer_id, issue_request_id, organization, channel_mode, issue_date, kind, form, message, traceparent
    FROM issue_requests
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode
      AND EXTRACT(year FROM issue_date) = :year AND status = 'waiting' AND waiting_since < :before
    ORDER BY queue_position
    LIMIT :most
""")

_FIND_WAITING = text("""
    SELECT taxpayer_id, issue_request_id, organization, channel_mode, issue_date, kind, form, message, traceparent
    FROM issue_requests
    WHERE environment = :environment AND issue_request_id = :issue_request_id AND status = 'waiting'
      AND (CAST(:taxpayer_id AS text) IS NULL OR taxpayer_id = :taxpayer_id)
""")


_REMEMBER = text("""
    INSERT INTO answered_messages (taxpayer_id, environment, issue_request_id, message)
    SELECT v.taxpayer_id, :environment, v.issue_request_id, v.message
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[]), CAST(:messages AS text[]))
        AS v (taxpayer_id, issue_request_id, message)
    ORDER BY v.taxpayer_id, v.issue_request_id, v.message
    ON CONFLICT DO NOTHING
""")

_REMEMBERED = text("""
    SELECT m.taxpayer_id, m.issue_request_id, m.message
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[])) AS k (taxpayer_id, issue_request_id)
    JOIN answered_messages AS m USING (taxpayer_id, issue_request_id)
    WHERE m.environment = :environment
""")


class NewRequest(NamedTuple):
    """An issue request to be stored for the first time, or anew after it was closed."""

    taxpayer_id: str
    issue_request_id: str
    organization: str
    issue_date: date
    kind: str
    named_number: str | None
    channel_mode: str
    status: str
    form: str
    message: str | None
    traceparent: str | None


class RequestTakenError(Exception):
    """Another transaction stored one of these requests meanwhile; the same work done again sees it."""


def find_requests(
    connection: Connection,
    environment: str,
    keys: Collection[RequestKey],
) -> dict[RequestKey, KnownRequest]:
    """Read what is known of these requests, with the number of each that holds one."""
    rows = connection.execute(
        _FIND,
        {
            "environment": environment,
            "taxpayer_ids": [key.taxpayer_id for key in keys],
            "ids": [key.issue_request_id for key in keys],
        },
    )
    return {(key := RequestKey(row[0], row[1])): KnownRequest(key, *row[2:]) for row in rows}


def add_requests(
    connection: Connection,
    environment: str,
    requests: Sequence[NewRequest],
    *,
    now: datetime,
) -> None:
    """Store requests in the order given, which is the order of the queue for those that wait.

    Raises `RequestTakenError` where one of them is stored already and not closed.
    """
    if not requests:
        return
    columns = list(zip(*requests, strict=True))
    stored = connection.execute(
        _ADD,
        {
            "environment": environment,
            "now": now,
            "taxpayer_ids": list(columns[0]),
            "ids": list(columns[1]),
            "organizations": list(columns[2]),
            "issue_dates": list(columns[3]),
            "kinds": list(columns[4]),
            "named_numbers": list(columns[5]),
            "channel_modes": list(columns[6]),
            "statuses": list(columns[7]),
            "forms": list(columns[8]),
            "messages": list(columns[9]),
            "traceparents": list(columns[10]),
        },
    )
    if stored.rowcount != len(requests):
        raise RequestTakenError


def waiting_requests(connection: Connection, environment: str, key: StockKey, *, most: int) -> list[WaitingRequest]:
    """Read the head of the stock's queue; the stock must be locked."""
    rows = connection.execute(_WAITING, {**key._asdict(), "environment": environment, "most": most})
    return [_waiting(row) for row in rows]


def count_waiting(connection: Connection, environment: str, key: StockKey) -> int:
    """Count the requests that wait for the stock."""
    return int(connection.execute(_COUNT_WAITING, {**key._asdict(), "environment": environment}).scalar_one())


def serve_requests(connection: Connection, environment: str, taxpayer_id: str, ids: Sequence[str]) -> None:
    """Take requests of one taxpayer out of the queue: they hold a number now."""
    served = connection.execute(_SERVE, {"taxpayer_id": taxpayer_id, "environment": environment, "ids": list(ids)})
    if served.rowcount != len(ids):
        raise RequestTakenError


def close_requests(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    ids: Sequence[str],
    *,
    status: str = "waiting",
    because: str,
) -> None:
    """End requests of one taxpayer that wait, or that lost their number; asked again, they are judged anew."""
    closed = connection.execute(
        _CLOSE,
        {
            "taxpayer_id": taxpayer_id,
            "environment": environment,
            "ids": list(ids),
            "status": status,
            "because": because,
        },
    )
    if closed.rowcount != len(ids):
        raise RequestTakenError


def stocks_with_overdue_requests(
    connection: Connection,
    environment: str,
    *,
    before: datetime,
    most: int,
) -> list[StockKey]:
    """List stocks for which a request has waited since `before`; a look without locks."""
    rows = connection.execute(_OVERDUE, {"environment": environment, "before": before, "most": most})
    return [StockKey(*row) for row in rows]


def overdue_requests(
    connection: Connection,
    environment: str,
    key: StockKey,
    *,
    before: datetime,
    most: int,
) -> list[WaitingRequest]:
    """Read the requests that have waited for the locked stock since `before`, the oldest first."""
    rows = connection.execute(
        _OVERDUE_OF_STOCK,
        {**key._asdict(), "environment": environment, "before": before, "most": most},
    )
    return [_waiting(row) for row in rows]


def find_waiting(
    connection: Connection,
    environment: str,
    issue_request_id: str,
    taxpayer_id: str | None,
) -> list[WaitingRequest]:
    """Find the waiting requests of this id, of one taxpayer or of any."""
    rows = connection.execute(
        _FIND_WAITING,
        {"environment": environment, "issue_request_id": issue_request_id, "taxpayer_id": taxpayer_id},
    )
    return [_waiting(row) for row in rows]


def remember_messages(
    connection: Connection,
    environment: str,
    messages: Sequence[tuple[RequestKey, str]],
) -> None:
    """Remember that these messages were answered: once the number is released, a late copy gets no new one."""
    if messages:
        connection.execute(
            _REMEMBER,
            {
                "environment": environment,
                "taxpayer_ids": [key.taxpayer_id for key, _ in messages],
                "ids": [key.issue_request_id for key, _ in messages],
                "messages": [message for _, message in messages],
            },
        )


def remembered_messages(
    connection: Connection,
    environment: str,
    keys: Collection[RequestKey],
) -> set[tuple[RequestKey, str]]:
    """Read the messages that were answered with a number of these requests."""
    if not keys:
        return set()
    rows = connection.execute(
        _REMEMBERED,
        {
            "environment": environment,
            "taxpayer_ids": [key.taxpayer_id for key in keys],
            "ids": [key.issue_request_id for key in keys],
        },
    )
    return {(RequestKey(row[0], row[1]), row[2]) for row in rows}


def _waiting(row: Sequence[object]) -> WaitingRequest:
    return WaitingRequest(RequestKey(row[0], row[1]), *row[2:])  # type: ignore[arg-type]
