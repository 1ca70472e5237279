"""Levels: a stock that was taken from comes down to low or runs out; told once for each time (contract, rule 7)."""

from datetime import datetime

from sqlalchemy import Connection

from db.asking import ask_together
from db.numbers import pooled_numbers
from db.ranges import last_taken_number, open_ranges
from db.records import Stock
from db.stocks import exhaust, lower
from db.usage import read_use
from schemas.invoice_number import format_number
from worker.answers import Answer
from worker.clock import start_of_year
from worker.decisions.forecast import foresee
from worker.decisions.shelf import Shelf
from worker.events import EventWriter


def read_shelf(connection: Connection, environment: str, stock: Stock) -> Shelf:
    """Read what the locked stock has to give."""
    ranges, pool = ask_together(
        connection,
        open_ranges(environment, [stock.key]),
        pooled_numbers(environment, [stock.key]),
    )
    return Shelf(stock, ranges[stock.key], pool[stock.key])


def record_crossing(
    connection: Connection,
    environment: str,
    events: EventWriter,
    shelf: Shelf,
    *,
    wanted_by: str | None,
    waiting: int,
    now: datetime,
) -> list[Answer]:
    """Record the level that the stock has come down to, if it is new, and give the event that leads to a claim."""
    stock = shelf.stock
    match shelf.crossing:
        case "exhausted":
            exhaust(connection, environment, stock.key, wanted_by=wanted_by, now=now)
            last = last_taken_number(connection, environment, stock.key)
            event = events.range_exhausted(
                stock.key,
                episode=stock.episode + 1,
                last_number=None if last is None else format_number(*last),
                waiting=waiting,
                now=now,
            )
        case "low":
            lower(connection, environment, stock.key, wanted_by=wanted_by)
            foreseen = foresee(
                shelf.remaining,
                read_use(connection, environment, stock.key, now=now),
                now=now,
                begins=start_of_year(stock.key.year),
                ends=start_of_year(stock.key.year + 1),
            )
            event = events.range_low(
                stock.key,
                episode=stock.episode,
                newest=shelf.newest,
                remaining=shelf.remaining,
                threshold=stock.low_at,
                days_left=foreseen.days_left,
                now=now,
            )
        case _:
            return []
    return [Answer(event)]
