"""The clock: China's days and years, and a start that is set."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest

from worker.clock import Clock, china_date, start_of_day

LAST_SECOND = datetime.fromisoformat("2026-12-31T23:59:59+08:00")
NEW_YEAR = datetime.fromisoformat("2027-01-01T00:00:00+08:00")


def test_it_follows_the_machine() -> None:
    before = datetime.fromtimestamp(time.time(), UTC)
    now = Clock().now()
    assert before <= now <= datetime.fromtimestamp(time.time(), UTC)
    assert now.utcoffset() == timedelta(0)


def test_it_starts_where_it_is_told_and_flows_on(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([5_000_000_000, 6_500_000_000, 6_500_000_000])
    monkeypatch.setattr("worker.clock.time.monotonic_ns", lambda: next(ticks))
    clock = Clock(LAST_SECOND)
    assert clock.now() == LAST_SECOND + timedelta(seconds=1.5)
    assert clock.year() == 2027


def test_an_instant_without_its_offset_is_none() -> None:
    with pytest.raises(ValueError, match="offset"):
        Clock(datetime(2027, 1, 1))  # noqa: DTZ001 -- what is refused


@pytest.mark.parametrize(
    ("instant", "day"),
    [
        (LAST_SECOND, date(2026, 12, 31)),
        (NEW_YEAR, date(2027, 1, 1)),
        (datetime(2026, 12, 31, 15, 59, 59, tzinfo=UTC), date(2026, 12, 31)),
        (datetime(2026, 12, 31, 16, tzinfo=UTC), date(2027, 1, 1)),
    ],
)
def test_days_are_chinas(instant: datetime, day: date) -> None:
    assert china_date(instant) == day
    assert Clock(instant).today() == day
    assert Clock(instant).year() == day.year


def test_a_day_begins_at_its_midnight_in_china() -> None:
    assert start_of_day(date(2027, 1, 1)) == NEW_YEAR
    assert start_of_day(date(2027, 1, 1)).utcoffset() == timedelta(0)


def test_a_drills_time_flows_at_its_pace_stands_still_and_never_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = 0
    monkeypatch.setattr("worker.clock.time.monotonic_ns", lambda: machine)
    clock = Clock(LAST_SECOND - timedelta(minutes=1))

    clock.flow_on(pace=40)
    machine = 1_000_000_000
    assert clock.now() == LAST_SECOND - timedelta(seconds=20)
    clock.flow_on(pace=40, until=LAST_SECOND)
    machine = 9_000_000_000
    assert clock.now() == LAST_SECOND
    clock.flow_on(at=NEW_YEAR)
    machine = 10_000_000_000
    assert clock.now() == NEW_YEAR + timedelta(seconds=1)
    clock.flow_on(at=LAST_SECOND)
    assert clock.now() == NEW_YEAR + timedelta(seconds=1)
