"""Expiry: old-year ranges end when no invoice of their year can be uploaded any more (domain rules 1 and 5)."""

from datetime import date, datetime, timedelta

from sqlalchemy import Connection

from db.held_ranges import active_ranges_before
from db.issue_requests import count_waiting
from db.stocks import lock_stocks
from schemas.reasons import Reason
from schemas.vocabulary import RangeStatus
from worker.answers import Answer
from worker.clock import Clock, china_date
from worker.ending import End, Ending
from worker.events import EventWriter

#: Ranges that one transaction ends at most.
_MOST_AT_ONCE = 100


class Expiry:
    """Expires ranges of years that are over; `grace` after New Year a late request may still take an old number."""

    def __init__(self, environment: str, clock: Clock, grace: timedelta) -> None:
        self._environment = environment
        self._clock = clock
        self._grace = grace
        self._ending = Ending(environment, EventWriter(environment))

    def expire(self, connection: Connection, taxpayer_id: str | None = None) -> list[Answer]:
        """End the ranges of one taxpayer, or of all, that the year rule ends; their unused numbers end with them.

        So many at a time: where nothing is told, nothing is left.
        """
        now = self._clock.now()
        due = active_ranges_before(
            connection,
            self._environment,
            first_living_year(now, self._grace),
            taxpayer_id=taxpayer_id,
            most=_MOST_AT_ONCE,
        )
        keys = {held.key for held in due}
        lock_stocks(connection, self._environment, keys)
        answers: list[Answer] = []
        for year in sorted({key.year for key in keys}):
            end = End(RangeStatus.EXPIRED, Reason.YEAR_ENDED, f"end of {year}")
            answers += self._ending.end(connection, [held for held in due if held.key.year == year], end, now)
        for key in sorted(keys):
            # Nothing is claimed for an old year: only who still waits for its stock must see that it ran out.
            if count_waiting(connection, self._environment, key):
                answers += self._ending.lower(connection, key, now)
        return answers


def first_living_year(now: datetime, grace: timedelta) -> int:
    """Tell the first year whose ranges still live: the year that China's calendar showed `grace` ago."""
    day: date = china_date(now - grace)
    return day.year
