"""The time, as everything in the worker asks for it: nothing else looks at the machine's clock."""

import time
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

CHINA = ZoneInfo("Asia/Shanghai")
"""Dates and years of invoices are China's (domain rule 1), whatever zone the server stands in."""


class Clock:
    """The present instant; started at another instant, it flows on from there at the usual pace."""

    def __init__(self, starts_at: datetime | None = None) -> None:
        """Begin at `starts_at` (with its offset, as `FUMA_CLOCK` gives it), or follow the machine's clock."""
        if starts_at is not None and starts_at.tzinfo is None:
            message = "an instant needs its offset from UTC"
            raise ValueError(message)
        self._offset_from = None if starts_at is None else (starts_at.astimezone(UTC), time.monotonic_ns())

    def now(self) -> datetime:
        """Tell the present instant, in UTC."""
        if self._offset_from is None:
            return datetime.now(UTC)  # noqa: TID251 -- the one place that looks
        starts_at, began = self._offset_from
        return datetime.fromtimestamp(starts_at.timestamp() + (time.monotonic_ns() - began) / 1e9, UTC)

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
