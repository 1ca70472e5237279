"""The authority's clock: the machine's, so many seconds ahead."""

from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

SHANGHAI: Final = ZoneInfo("Asia/Shanghai")
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2099


class ClockError(ValueError):
    """The text is no instant that the clock can be set to; says what it must be."""


class SimulatorClock:
    """China's time, which flows on from whatever instant it was set to."""

    def __init__(self) -> None:
        """Begin at the machine's time."""
        self.ahead = timedelta()

    def now(self) -> datetime:
        """Return the present instant in Asia/Shanghai."""
        return (_machine_time() + self.ahead).astimezone(SHANGHAI)


def seconds_ahead(instant: datetime) -> float:
    """Return how far an instant lies ahead of the machine's time."""
    return (instant - _machine_time()).total_seconds()


def read_instant(text: object) -> datetime:
    """Read an ISO instant with offset; raises `ClockError`.

    Two-digit year prefixes mean 2000 to 2099, so it must lie in those years.
    """
    message = 'now must be an ISO instant with its offset, as "2027-01-01T00:00:00+08:00"'
    if not isinstance(text, str):
        raise ClockError(message)
    try:
        instant = datetime.fromisoformat(text)
    except ValueError as error:
        raise ClockError(message) from error
    if instant.tzinfo is None:
        raise ClockError(message)
    if not FIRST_YEAR < instant.year < LAST_YEAR:
        message = f"now must lie between the years {FIRST_YEAR} and {LAST_YEAR}"
        raise ClockError(message)
    return instant


def _machine_time() -> datetime:
    return datetime.now(UTC)  # noqa: TID251 -- the authority's clock is not the worker's
