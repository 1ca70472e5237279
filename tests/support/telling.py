"""Telling, by hand, of numbers that a test changes by hand: the database commits no change that no event tells of."""

from sqlalchemy import Connection, text

#: Store a message that tells of all that this transaction has changed so far, have it found, and take it back, which
#: only an owner of the server may.
_TELL_ALL = (
    """
    INSERT INTO outbox (message_ids, routing_keys, content_types, events, sizes, body, publish_after, event_ids)
    SELECT ARRAY['by hand'], ARRAY['by hand'], ARRAY['text/plain'], ARRAY[1], ARRAY[0], '', now(), array_agg(event_id)
    FROM untold_changes, unnest(event_ids) AS event_id
    HAVING count(*) > 0
    """,
    "SET CONSTRAINTS change_is_told IMMEDIATE",
    "SET CONSTRAINTS change_is_told DEFERRED",
    "SET LOCAL session_replication_role = replica",
    "DELETE FROM outbox WHERE message_ids = ARRAY['by hand']",
    "SET LOCAL session_replication_role = origin",
)


def tell_all(connection: Connection) -> None:
    """Tell of all that this transaction has changed so far; a schema without this guard doesn't insist."""
    if connection.scalar(text("SELECT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'change_is_told')")):
        for statement in _TELL_ALL:
            connection.execute(text(statement))
