"""Issue requests: one row each for ever, and the queue of those that wait."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from itertools import groupby
from typing import NamedTuple

import psycopg
from sqlalchemy import Connection, text

from db.arrays import dates, of_requests, texts, texts_or_nulls
from db.asking import Query, Reply, no_answer
from db.records import KnownRequest, RequestKey, StockKey, WaitingRequest

# A number that is held or used by now was changed since: the event that told of its assignment is in the history.
# Since a restore put its range out of use, nobody knows of a number that isn't used whether it was released after the
# backup and given to another request, until an operator says so.
# Each key is looked up by itself (`LIMIT 1`): joined as a whole, a thousand keys are held for reason enough to read a
# table of some hundred thousand rows, and before its first analysis any plan is possible. For the same reason a
# number's environment is compared as an expression: the primary key seemed as good as that of a request's number, and
# led through all numbers of the taxpayer.
_FIND = text("""
    SELECT k.taxpayer_id, k.issue_request_id, r.organization, r.issue_date, r.kind, r.named_number, r.status,
           r.closed_because, n.prefix, n.sequence, n.range_id, g.claim_mode, n.assigned_at,
           coalesce(h.event_id, n.event_id), coalesce(h.changed_by, n.changed_by),
           coalesce(g.status = 'quarantined' AND g.confirmed_at IS NULL AND n.status <> 'used', false)
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[])) AS k (taxpayer_id, issue_request_id)
    CROSS JOIN LATERAL (
        SELECT * FROM issue_requests AS found
        WHERE found.taxpayer_id = k.taxpayer_id AND found.environment = :environment
          AND found.issue_request_id = k.issue_request_id
        LIMIT 1
    ) AS r
    LEFT JOIN LATERAL (
        SELECT * FROM numbers AS held
        WHERE held.taxpayer_id = k.taxpayer_id AND held.environment || '' = :environment
          AND coalesce(held.issue_request_id, held.bound_to) = k.issue_request_id AND held.issue_request_id IS NOT NULL
        LIMIT 1
    ) AS n ON true
    LEFT JOIN LATERAL (
        SELECT claim_mode, status, confirmed_at FROM ranges
        WHERE taxpayer_id = n.taxpayer_id AND environment = n.environment AND range_id = n.range_id
        LIMIT 1
    ) AS g ON true
    LEFT JOIN LATERAL (
        SELECT past.event_id, past.changed_by FROM number_history AS past
        WHERE n.status <> 'assigned' AND past.status = 'assigned'
          AND past.taxpayer_id = n.taxpayer_id AND past.environment = n.environment
          AND past.prefix = n.prefix AND past.sequence = n.sequence
        ORDER BY past.step DESC LIMIT 1
    ) AS h ON true
""")

_ASKED = """
    SELECT v.taxpayer_id, :environment AS environment, v.issue_request_id, v.organization, v.issue_date, v.kind,
        v.named_number, v.channel_mode, v.status, v.form, v.message, v.traceparent,
        CASE WHEN v.status = 'waiting' THEN nextval('queue_positions') END AS queue_position,
        CASE WHEN v.status = 'waiting' THEN CAST(:now AS timestamptz) END AS waiting_since
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[]), CAST(:organizations AS text[]),
        CAST(:issue_dates AS date[]), CAST(:kinds AS text[]), CAST(:named_numbers AS text[]),
        CAST(:channel_modes AS text[]), CAST(:statuses AS text[]), CAST(:forms AS text[]),
        CAST(:messages AS text[]), CAST(:traceparents AS text[]))
        WITH ORDINALITY
        AS v (taxpayer_id, issue_request_id, organization, issue_date, kind, named_number, channel_mode, status, form,
              message, traceparent, position)
    ORDER BY v.position
"""

# No `ON CONFLICT`: what it spares who comes second costs everyone another way down the largest index.
_ADD = text(f"""
    INSERT INTO issue_requests (taxpayer_id, environment, issue_request_id, organization, issue_date, kind,
        named_number, channel_mode, status, form, message, traceparent, queue_position, waiting_since)
    {_ASKED}
""")

# Materialized: the queue's positions are drawn once, in the order asked, however the rows are found.
_TAKE_OVER = text(f"""
    WITH v AS MATERIALIZED ({_ASKED})
    UPDATE issue_requests AS r
    SET organization = v.organization, issue_date = v.issue_date, kind = v.kind, named_number = v.named_number,
        channel_mode = v.channel_mode, status = v.status, closed_because = NULL, form = v.form, message = v.message,
        traceparent = v.traceparent, queue_position = v.queue_position, waiting_since = v.waiting_since
    FROM v
    WHERE r.taxpayer_id = v.taxpayer_id AND r.environment = v.environment
      AND r.issue_request_id = v.issue_request_id AND r.status = 'closed'
""")  # noqa: S608 -- constants of this file

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

# Whoever repeated the request while it waited is answered by its number too.
_SERVE = text("""
    WITH answered AS (
        UPDATE answered_messages SET answered = true
        WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND NOT answered
          AND issue_request_id = ANY(CAST(:ids AS text[])))
    UPDATE issue_requests SET status = 'assigned', queue_position = NULL, waiting_since = NULL
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND status = 'waiting'
      AND issue_request_id = ANY(CAST(:ids AS text[]))
""")

# A refusal is not remembered: what repeated a request that waited in vain is judged anew when it comes again.
_CLOSE = text("""
    WITH refused AS (
        DELETE FROM answered_messages
        WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND NOT answered
          AND issue_request_id = ANY(CAST(:ids AS text[])))
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
    INSERT INTO answered_messages (taxpayer_id, environment, issue_request_id, message, answered)
    SELECT v.taxpayer_id, :environment, v.issue_request_id, v.message, :answered
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[]), CAST(:messages AS text[]))
        AS v (taxpayer_id, issue_request_id, message)
    ORDER BY v.taxpayer_id, v.issue_request_id, v.message
    ON CONFLICT DO NOTHING
""")

_REMEMBERED = text("""
    SELECT m.taxpayer_id, m.issue_request_id, m.message
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:ids AS text[])) AS k (taxpayer_id, issue_request_id)
    CROSS JOIN LATERAL (
        SELECT * FROM answered_messages AS found
        WHERE found.taxpayer_id = k.taxpayer_id AND found.environment = :environment
          AND found.issue_request_id = k.issue_request_id AND found.answered
        OFFSET 0
    ) AS m
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


def find_requests(environment: str, keys: Collection[RequestKey]) -> Query[dict[RequestKey, KnownRequest]]:
    """Read what is known of these requests, with the number of each that holds one."""
    return Query(_FIND, of_requests(environment, keys), _known)


def add_requests(
    environment: str,
    requests: Sequence[NewRequest],
    closed: Collection[RequestKey],
    *,
    now: datetime,
) -> list[Query[None]]:
    """Store requests in the order given, which is the order of the queue for those that wait.

    `closed` are those that were asked before and closed: asked again they are judged anew, and their row is taken over.
    Raises `RequestTakenError` where one of them is stored already, or is not closed.
    """
    # Run by run: those that wait line up in the order given, whether they are new or were closed.
    runs = groupby(requests, lambda each: RequestKey(each.taxpayer_id, each.issue_request_id) in closed)
    return [
        _take_over(environment, list(run), now) if again else _add(environment, list(run), now) for again, run in runs
    ]


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
    environment: str,
    messages: Sequence[tuple[RequestKey, str]],
    *,
    answered: bool = True,
) -> list[Query[None]]:
    """Remember messages that were answered: once the number is released, a late copy gets no new one.

    `answered` is false for those of requests that wait: they are answered when their request is.
    """
    if not messages:
        return []
    parameters = {
        **of_requests(environment, [key for key, _ in messages]),
        "messages": texts([message for _, message in messages]),
        "answered": answered,
    }
    return [Query(_REMEMBER, parameters, no_answer)]


def remembered_messages(
    connection: Connection,
    environment: str,
    keys: Collection[RequestKey],
) -> set[tuple[RequestKey, str]]:
    """Read the messages that were answered with a number of these requests."""
    if not keys:
        return set()
    rows = connection.execute(_REMEMBERED, of_requests(environment, keys))
    return {(RequestKey(row[0], row[1]), row[2]) for row in rows}


def _add(environment: str, new: Sequence[NewRequest], now: datetime) -> Query[None]:
    return Query(_ADD, _columns(environment, new, now), no_answer, {psycopg.errors.UniqueViolation: RequestTakenError})


def _take_over(environment: str, again: Sequence[NewRequest], now: datetime) -> Query[None]:
    def read(taken_over: Reply) -> None:
        if taken_over.rowcount != len(again):
            raise RequestTakenError

    return Query(_TAKE_OVER, _columns(environment, again, now), read)


def _columns(environment: str, requests: Sequence[NewRequest], now: datetime) -> dict[str, object]:
    columns = list(zip(*requests, strict=True))
    return {
        "environment": environment,
        "now": now,
        "taxpayer_ids": texts(columns[0]),
        "ids": texts(columns[1]),
        "organizations": texts(columns[2]),
        "issue_dates": dates(columns[3]),
        "kinds": texts(columns[4]),
        "named_numbers": texts_or_nulls(columns[5]),
        "channel_modes": texts(columns[6]),
        "statuses": texts(columns[7]),
        "forms": texts(columns[8]),
        "messages": texts_or_nulls(columns[9]),
        "traceparents": texts_or_nulls(columns[10]),
    }


def _known(rows: Reply) -> dict[RequestKey, KnownRequest]:
    return {(key := RequestKey(row[0], row[1])): KnownRequest(key, *row[2:]) for row in rows}


def _waiting(row: Sequence[object]) -> WaitingRequest:
    return WaitingRequest(RequestKey(row[0], row[1]), *row[2:])  # type: ignore[arg-type]
