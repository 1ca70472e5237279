"""Expiry: old-year ranges end when no invoice of their year can be uploaded any more (domain rules 1 and 5)."""

from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from db.held_ranges import active_ranges_before, end_range
from db.stocks import lock_stocks
from schemas.reasons import Reason
from schemas.topics import Topic
from worker.answers import Answer
from worker.clock import Clock, china_date
from worker.events import EventWriter

_MOST_AT_ONCE = 100


class Expiry:
    """Expires ranges of years that are over; `grace` after New Year a late request may still take an old number."""

    def __init__(self, environment: str, clock: Clock, grace: timedelta) -> None:
        self._environment = environment
        self._clock = clock
        self._grace = grace
        self._events = EventWriter(environment)

    def expire(self, connection: Connection, taxpayer_id: str | None = None) -> list[Answer]:
        """End the ranges of one taxpayer, or of all, that the year rule ends; their unused numbers end with them."""
        now = self._clock.now()
        due = active_ranges_before(
            connection,
            self._environment,
            first_living_year(now, self._grace),
            taxpayer_id=taxpayer_id,
            most=_MOST_AT_ONCE,
        )
        lock_stocks(connection, self._environment, {held.key for held in due})
        answers: list[Answer] = []
        for held in due:
            fact = (held.key.taxpayer_id, str(held.range_id))
            unused = end_range(
                connection,
                self._environment,
                held,
                "expired",
                now=now,
                message=f"end of {held.key.year}",
                event_id=self._events.fact_id(Topic.RANGE_EXPIRED, fact),
            )
            if unused is None:
                continue
            event = self._events.range_ended(
                Topic.RANGE_EXPIRED,
                held.key.taxpayer_id,
                held.as_granted(),
                unused=unused,
                reason=Reason.YEAR_ENDED,
                now=now,
            )
            answers.append(Answer(event))
        return answers


def first_living_year(now: datetime, grace: timedelta) -> int:
    """Tell the first year whose ranges still live: the year that China's calendar showed `grace` ago."""
    day: date = china_date(now - grace)
    return day.year
