"""A clock that stands still until a test moves it."""

from datetime import UTC, date, datetime, timedelta

from worker.clock import CHINA, Clock

#: 10:00 in China on an ordinary working day.
ORDINARY_DAY = datetime(2026, 11, 23, 2, 0, tzinfo=UTC)


class HandClock(Clock):
    """Shows what it was last set to."""

    def __init__(self, at: datetime = ORDINARY_DAY) -> None:
        """Begin at `at`, an instant with its zone."""
        super().__init__()
        self._at = at

    def now(self) -> datetime:
        """Tell the instant that was set."""
        return self._at

    def set(self, at: datetime) -> None:
        """Show this instant, which has its zone."""
        self._at = at.astimezone(UTC)

    def advance(self, **span: float) -> None:
        """Go on by a span, in the words of `timedelta`."""
        self._at += timedelta(**span)


def in_china(day: str, time: str = "10:00") -> datetime:
    """Give the instant at which China's clocks show this day and time."""
    return datetime.combine(date.fromisoformat(day), datetime.strptime(time, "%H:%M").time(), CHINA)  # noqa: DTZ007
