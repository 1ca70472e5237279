"""The time, as everything in the worker asks for it: nothing else looks at the machine's clock."""

import time
from datetime import UTC, date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")
"""Dates and years of invoices are China's (domain rule 1), whatever zone the server stands in."""


class _Flow(NamedTuple):
    """From which instant on, since which nanosecond of the machine, how fast and how far the time flows."""

    instant: datetime
    since: int
    pace: float
    until: datetime | None = None


class Clock:
    """The present instant; started at another instant, it flows on from there, at the usual pace unless told."""

    def __init__(self, starts_at: datetime | None = None) -> None:
        """Begin at `starts_at` (with its offset, as `FUMA_CLOCK` gives it), or follow the machine's clock."""
        if starts_at is not None and starts_at.tzinfo is None:
            message = "an instant needs its offset from UTC"
            raise ValueError(message)
        self._flow = None if starts_at is None else _Flow(starts_at.astimezone(UTC), time.monotonic_ns(), 1.0)

    def now(self) -> datetime:
        """Tell the present instant, in UTC."""
        flow = self._flow
        if flow is None:
            return datetime.now(UTC)  # noqa: TID251 -- the one place that looks
        passed = (time.monotonic_ns() - flow.since) / 1e9 * flow.pace
        now = datetime.fromtimestamp(flow.instant.timestamp() + passed, UTC)
        return now if flow.until is None else min(now, flow.until)

    def flow_on(self, *, at: datetime | None = None, pace: float = 1.0, until: datetime | None = None) -> None:
        """For drills: flow on from an instant (from now), `pace` times as fast as the machine's.

        With `until` it stands still from that instant on, however late somebody looks.
        Time never flows back: an instant that has passed is now.
        """
        now = self.now()
        begins = now if at is None else max(now, at.astimezone(UTC))
        ends = None if until is None else max(begins, until.astimezone(UTC))
        self._flow = _Flow(begins, time.monotonic_ns(), pace, ends)

    def today(self) -> date:
        """Tell the present day in China."""
        return china_date(self.now())

    def year(self) -> int:
        """Tell the present year in China."""
        return self.today().year


def china_date(instant: datetime) -> date:
    """Tell on which day of China's calendar an instant lies."""
    return instant.astimezone(CHINA).date()


def start_of_day(day: date) -> datetime:
    """Tell the instant, in UTC, at which a day begins in China."""
    return datetime(day.year, day.month, day.day, tzinfo=CHINA).astimezone(UTC)


def start_of_year(year: int) -> datetime:
    """Tell the instant, in UTC, at which a year begins in China."""
    return start_of_day(date(year, 1, 1))
