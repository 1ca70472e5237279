"""Hunger: what a stock has, who waits for it and how fast it is used, read for the decision on its next claim."""

from datetime import datetime

from sqlalchemy import Connection

from db.claims import last_latencies
from db.issue_requests import count_waiting
from db.ranges import count_remaining
from db.records import StockKey
from db.usage import read_use
from worker.clock import start_of_year
from worker.decisions.claims import Hunger, refill_seconds

#: How many of the last claims tell how long the next one takes.
_CLAIMS_MEASURED = 5


def read_hunger(connection: Connection, environment: str, key: StockKey, *, now: datetime) -> Hunger:
    """Read the hunger of a locked stock."""
    latencies = last_latencies(connection, environment, key.taxpayer_id, key.channel_mode, most=_CLAIMS_MEASURED)
    return Hunger(
        count_remaining(connection, environment, key),
        count_waiting(connection, environment, key),
        read_use(connection, environment, key, now=now),
        refill_seconds(latencies),
        start_of_year(key.year),
        start_of_year(key.year + 1),
    )
