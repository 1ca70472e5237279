"""The outbox: answers and events, committed with their facts, kept until the broker has confirmed them.

A row is a parcel: the messages that one transaction tells, since a row for each would cost as much as its number's row.
It names its transaction and the events in it: the database commits no change of a number that they don't tell of
(`db.guards`).
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import accumulate, pairwise
from typing import NamedTuple

from sqlalchemy import Connection, text

from db.arrays import integers, texts, uuids
from db.asking import Query, Reply, ask, no_answer

_ADD = text("""
    INSERT INTO outbox (message_ids, routing_keys, content_types, events, sizes, body, publish_after, event_ids)
    VALUES (CAST(:message_ids AS text[]), CAST(:routing_keys AS text[]), CAST(:content_types AS text[]),
        CAST(:events AS smallint[]), CAST(:sizes AS integer[]), :body, :publish_after, CAST(:event_ids AS uuid[]))
    RETURNING outbox_id
""")

_LEFT_BEHIND = text("""
    UPDATE outbox AS o SET publish_after = :publish_after
    FROM (
        SELECT outbox_id FROM outbox WHERE publish_after <= :now
        ORDER BY outbox_id LIMIT :most FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE o.outbox_id = due.outbox_id
    RETURNING o.outbox_id, o.message_ids, o.routing_keys, o.content_types, o.events, o.sizes, o.body
""")

_COMMIT_LATER = text("SET LOCAL synchronous_commit = off")

_REMOVE = text("DELETE FROM outbox WHERE outbox_id = ANY(CAST(:ids AS bigint[]))")

_GIVE_BACK = text("""
    UPDATE outbox
    SET message_ids = CAST(:message_ids AS text[]), routing_keys = CAST(:routing_keys AS text[]),
        content_types = CAST(:content_types AS text[]), events = CAST(:events AS smallint[]),
        sizes = CAST(:sizes AS integer[]), body = :body, publish_after = :publish_after
    WHERE outbox_id = :outbox_id
""")

_AGE = text("SELECT coalesce(sum(cardinality(message_ids)), 0), min(publish_after) FROM outbox")

#: A parcel closes at so many messages, or at so many bytes of bodies unless one message alone has more.
_MOST_MESSAGES, _MOST_BYTES = 1000, 1024 * 1024

#: How long a message belongs to the process that committed it, or swept it, before another publishes it too.
LEASE = timedelta(seconds=30)


class OutgoingMessage(NamedTuple):
    """A message to be published once its facts are committed."""

    message_id: str
    routing_key: str
    content_type: str
    events: int
    body: bytes
    #: Of the events in it; only who stores it knows them.
    event_ids: tuple[str, ...] = ()


class Parcel(NamedTuple):
    """Messages that lie in one row of the outbox."""

    outbox_id: int
    messages: tuple[OutgoingMessage, ...]


def add_messages(
    messages: Sequence[OutgoingMessage],
    *,
    now: datetime,
) -> list[Query[Parcel]]:
    """Store messages in order; they belong to this process for `LEASE`."""
    return [
        Query(
            _ADD,
            {
                **_columns(part),
                "publish_after": now + LEASE,
                "event_ids": uuids([event_id for each in part for event_id in each.event_ids]),
            },
            partial(_parcel, part),
        )
        for part in _parts(messages)
    ]


def leave_messages(connection: Connection, messages: Sequence[OutgoingMessage], *, now: datetime) -> None:
    """Store messages that this process will not publish: any worker's next sweep does."""
    for query in add_messages(messages, now=now - LEASE):
        ask(connection, query)


def take_left_behind(connection: Connection, *, now: datetime, most: int) -> list[Parcel]:
    """Take over at most so many parcels whose process did not get them confirmed in its time; the oldest first."""
    rows = connection.execute(_LEFT_BEHIND, {"now": now, "publish_after": now + LEASE, "most": most})
    return sorted(Parcel(row[0], tuple(_messages(*row[1:]))) for row in rows)


def remove_confirmed(ids: Sequence[int]) -> list[Query[None]]:
    """Remove messages that the broker has confirmed.

    The commit need not be on disk at once: a removal lost in a crash only publishes the same events again.
    """
    return [Query(_COMMIT_LATER, {}, no_answer), Query(_REMOVE, {"ids": list(ids)}, no_answer)] if ids else []


def give_back(left: Sequence[Parcel], *, now: datetime) -> list[Query[None]]:
    """Let any process publish what is left of these parcels from now on: its confirm did not come."""
    return [
        Query(_GIVE_BACK, {**_columns(messages), "publish_after": now, "outbox_id": outbox_id}, no_answer)
        for outbox_id, messages in left
    ]


def backlog(connection: Connection) -> tuple[int, datetime | None]:
    """Count the messages not confirmed yet, and tell since when the oldest has been due or leased."""
    row = connection.execute(_AGE).one()
    return row[0], row[1]


def _parcel(messages: tuple[OutgoingMessage, ...], stored: Reply) -> Parcel:
    ((outbox_id,),) = stored
    return Parcel(outbox_id, messages)


def _columns(messages: Sequence[OutgoingMessage]) -> dict[str, object]:
    ids, keys, content_types, events, bodies, _ = zip(*messages, strict=True)
    return {
        "message_ids": texts(ids),
        "routing_keys": texts(keys),
        "content_types": texts(content_types),
        "events": integers(events),
        "sizes": integers(map(len, bodies)),
        "body": b"".join(bodies),
    }


def _messages(
    ids: Sequence[str],
    keys: Sequence[str],
    content_types: Sequence[str],
    events: Sequence[int],
    sizes: Sequence[int],
    body: bytes,
) -> Iterator[OutgoingMessage]:
    bodies = [body[start:end] for start, end in pairwise(accumulate(sizes, initial=0))]
    return map(OutgoingMessage, ids, keys, content_types, events, bodies)


def _parts(messages: Sequence[OutgoingMessage]) -> Iterator[tuple[OutgoingMessage, ...]]:
    part: list[OutgoingMessage] = []
    size = 0
    for message in messages:
        if part and (len(part) == _MOST_MESSAGES or size + len(message.body) > _MOST_BYTES):
            yield tuple(part)
            part, size = [], 0
        part.append(message)
        size += len(message.body)
    if part:
        yield tuple(part)
