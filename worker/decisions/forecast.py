"""Forecast: how long a stock lasts at the present rate of use, and what of it the year's end will waste.

The rate is that of the last seven days (`db.usage.WINDOW`), weekends included.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from db.records import Use

_DAY = timedelta(days=1)

#: A taxpayer that began within the last seven days is measured from its first hour, by this at the least.
_SHORTEST_MEASURE = _DAY

#: Beyond this many days a forecast says nothing: `datetime` has an end.
_FARTHEST_DAYS = 36_500


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of one stock at the present rate."""

    #: Numbers taken in a day; None where none was taken in seven days.
    per_day: float | None
    #: For how many days from now the stock lasts; None where nothing takes from it.
    days_left: float | None
    empty_at: datetime | None
    #: How many of its numbers nobody will have taken when its year ends.
    wasted: int


def per_day(use: Use, now: datetime) -> float | None:
    """How many numbers are taken in a day; None where none was taken in seven days."""
    if use.taken == 0 or use.first_hour is None:
        return None
    return use.taken / (max(now - use.first_hour, _SHORTEST_MEASURE) / _DAY)


def foresee(remaining: int, use: Use, *, now: datetime, begins: datetime, ends: datetime) -> Forecast:
    """Foresee a stock whose year begins and ends at these instants; next year's is taken from when its year begins."""
    rate = per_day(use, now)
    if rate is None:
        return Forecast(None, None, None, remaining)
    starts = max(now, begins)
    lasting = remaining / rate
    left = lasting + (starts - now) / _DAY
    taken = rate * (max(ends - starts, timedelta()) / _DAY)
    return Forecast(
        round(rate, 2),
        round(left, 2),
        None if left > _FARTHEST_DAYS else now + timedelta(days=left),
        max(0, ceil(remaining - taken)),
    )


def most_needed(use: Use, *, now: datetime, ends: datetime) -> int | None:
    """How many numbers will be taken at most until `ends`; None where the use is not known.

    Days that have begun count whole, for most of a day's use may lie in what is left of it; but no hour takes more
    than the busiest one did.
    """
    rate = per_day(use, now)
    if rate is None:
        return None
    left = max(ends - now, timedelta())
    return ceil(min(rate * ceil(left / _DAY), use.busiest_hour * (left / timedelta(hours=1))))
