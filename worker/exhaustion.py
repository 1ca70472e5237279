"""Exhaustion: a stock ran out, which is recorded and told once for each time (contract, rule 7)."""

from datetime import datetime

from sqlalchemy import Connection

from db.ranges import last_taken_number
from db.stocks import exhaust
from schemas.invoice_number import format_number
from worker.answers import Answer
from worker.decisions.shelf import Shelf
from worker.events import EventWriter


def record_exhaustion(
    connection: Connection,
    environment: str,
    events: EventWriter,
    shelf: Shelf,
    *,
    wanted_by: str | None,
    waiting: int,
    now: datetime,
) -> Answer:
    """Begin the stock's next episode, and give the event that leads to a claim."""
    stock = shelf.stock
    exhaust(connection, environment, stock.key, wanted_by=wanted_by, now=now)
    last = last_taken_number(connection, environment, stock.key)
    event = events.range_exhausted(
        stock.key,
        episode=stock.episode + 1,
        last_number=None if last is None else format_number(*last),
        waiting=waiting,
        now=now,
    )
    return Answer(event)
