"""The outbox: answers and events, committed with their facts, kept until the broker has confirmed them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, text

_ADD = text("""
    INSERT INTO outbox (message_id, routing_key, content_type, events, body, publish_after)
    SELECT v.message_id, v.routing_key, v.content_type, v.events, v.body, :publish_after
    FROM unnest(CAST(:message_ids AS text[]), CAST(:routing_keys AS text[]), CAST(:content_types AS text[]),
        CAST(:events AS smallint[]), CAST(:bodies AS bytea[]))
        WITH ORDINALITY AS v (message_id, routing_key, content_type, events, body, position)
    ORDER BY v.position
    RETURNING outbox_id
""")

_LEFT_BEHIND = text("""
    UPDATE outbox AS o SET publish_after = :publish_after
    FROM (
        SELECT outbox_id FROM outbox WHERE publish_after <= :now
        ORDER BY outbox_id LIMIT :most FOR UPDATE SKIP LOCKED
    ) AS due
    WHERE o.outbox_id = due.outbox_id
    RETURNING o.outbox_id, o.message_id, o.routing_key, o.content_type, o.events, o.body
""")

_REMOVE = text("DELETE FROM outbox WHERE outbox_id = ANY(CAST(:ids AS bigint[]))")

_GIVE_BACK = text("UPDATE outbox SET publish_after = :now WHERE outbox_id = ANY(CAST(:ids AS bigint[]))")

_AGE = text("SELECT count(*), min(publish_after) FROM outbox")

#: How long a message belongs to the process that committed it, or swept it, before another publishes it too.
LEASE = timedelta(seconds=30)


class OutgoingMessage(NamedTuple):
    """A message to be published once its facts are committed."""

    message_id: str
    routing_key: str
    content_type: str
    events: int
    body: bytes


class StoredMessage(NamedTuple):
    """A message in the outbox."""

    outbox_id: int
    message: OutgoingMessage


def add_messages(
    connection: Connection,
    messages: Sequence[OutgoingMessage],
    *,
    now: datetime,
) -> list[StoredMessage]:
    """Store messages in order; they belong to this process for `LEASE`."""
    if not messages:
        return []
    columns = list(zip(*messages, strict=True))
    ids = connection.execute(
        _ADD,
        {
            "publish_after": now + LEASE,
            "message_ids": list(columns[0]),
            "routing_keys": list(columns[1]),
            "content_types": list(columns[2]),
            "events": list(columns[3]),
            "bodies": list(columns[4]),
        },
    ).scalars()
    return [StoredMessage(outbox_id, message) for outbox_id, message in zip(sorted(ids), messages, strict=True)]


def leave_messages(connection: Connection, messages: Sequence[OutgoingMessage], *, now: datetime) -> None:
    """Store messages that this process will not publish: any worker's next sweep does."""
    add_messages(connection, messages, now=now - LEASE)


def take_left_behind(connection: Connection, *, now: datetime, most: int) -> list[StoredMessage]:
    """Take over messages whose process did not get them confirmed in its time; the oldest first."""
    rows = connection.execute(_LEFT_BEHIND, {"now": now, "publish_after": now + LEASE, "most": most})
    return sorted(StoredMessage(row[0], OutgoingMessage(*row[1:])) for row in rows)


def remove_confirmed(connection: Connection, ids: Sequence[int]) -> None:
    """Remove messages that the broker has confirmed.

    The commit need not be on disk at once: a removal lost in a crash only publishes the same events again.
    """
    connection.execute(text("SET LOCAL synchronous_commit = off"))
    connection.execute(_REMOVE, {"ids": list(ids)})


def give_back(connection: Connection, ids: Sequence[int], *, now: datetime) -> None:
    """Let any process publish these messages from now on: their confirm did not come."""
    connection.execute(_GIVE_BACK, {"ids": list(ids), "now": now})


def backlog(connection: Connection) -> tuple[int, datetime | None]:
    """Count the messages not confirmed yet, and tell since when the oldest has been due or leased."""
    row = connection.execute(_AGE).one()
    return row[0], row[1]
