"""Bad input is noticed, told once each way, and ends by itself; a few bad ones among many are no news."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from schemas.reasons import Reason
from schemas.topics import Topic
from tests.support.core.clock import HandClock
from worker.bad_input import FEW, MANY, QUIET, WINDOW, InputWatch, Judged
from worker.metrics import Metrics

BAD = Reason.MALFORMED


class Told:
    """Keeps what is told; raises what it is told to, once each."""

    def __init__(self) -> None:
        self.judged: list[Judged] = []
        self.raises: list[Exception] = []

    def __call__(self, judged: Judged) -> None:
        if self.raises:
            raise self.raises.pop()
        self.judged.append(judged)


def trouble_of(watch: InputWatch) -> str | None:
    return watch.trouble


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def watch(told: Told, metrics: Metrics) -> InputWatch:
    return InputWatch(Topic.INVOICE_ISSUING, HandClock(), metrics, told)


@pytest.fixture
def pass_seconds(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    now = [1000.0]
    monkeypatch.setattr("worker.bad_input.time.monotonic", lambda: now[0])

    def later(seconds: float) -> None:
        now[0] += seconds

    yield later
    monkeypatch.undo()


def test_a_few_bad_ones_among_many_are_no_news(watch: InputWatch, told: Told) -> None:
    for _ in range(100):
        assert watch.note(450, [BAD] * 50) == 0
    assert (watch.trouble, told.judged) == (None, [])


def test_most_of_the_last_thousand_is_bad_input_and_it_is_told_once(
    watch: InputWatch, told: Told, metrics: Metrics
) -> None:
    watch.note(0, [BAD] * MANY)
    assert watch.trouble is None
    watch.note(0, [Reason.UNKNOWN_TYPE])
    assert "most of the last 1000 messages can't be read" in str(watch.trouble)
    for _ in range(50):
        watch.note(10, [BAD] * 90)
    [judged] = told.judged
    assert (judged.topic, judged.bad, judged.unreadable, judged.of) == (Topic.INVOICE_ISSUING, True, MANY + 1, MANY + 1)
    assert judged.reason is BAD
    gauge = metrics.registry.get_sample_value("fuma_input_degraded", {"topic": "invoice-issuing"})
    assert gauge == 1


def test_only_bad_batches_rest_and_never_for_long(watch: InputWatch) -> None:
    assert watch.note(0, [BAD] * 400) == 0
    assert watch.note(0, [BAD] * 400) == pytest.approx(0.8)
    assert watch.note(0, [BAD] * 100_000) == 1.0
    assert watch.note(100, []) == 0
    assert watch.note(100, [BAD]) == pytest.approx(0.002)


def test_it_ends_when_few_are_bad_and_that_is_told_once(watch: InputWatch, told: Told, metrics: Metrics) -> None:
    watch.note(0, [BAD] * WINDOW)
    watch.note(WINDOW - FEW, [])
    assert watch.trouble is not None, "between many and few nothing changes, so that it doesn't flicker"
    watch.note(1, [])
    assert trouble_of(watch) is None
    watch.note(300, [])
    assert [judged.bad for judged in told.judged] == [True, False]
    assert metrics.registry.get_sample_value("fuma_input_degraded", {"topic": "invoice-issuing"}) == 0


def test_it_ends_too_when_nothing_comes_any_more(
    watch: InputWatch, told: Told, pass_seconds: Callable[[float], None]
) -> None:
    watch.note(0, [BAD] * WINDOW)
    pass_seconds(QUIET)
    watch.look()
    assert watch.trouble is not None
    pass_seconds(0.1)
    watch.look()
    assert trouble_of(watch) is None
    assert [judged.bad for judged in told.judged] == [True, False]


def test_a_batch_larger_than_the_window_counts_by_its_shares(watch: InputWatch) -> None:
    watch.note(6000, [BAD] * 4000)
    assert watch.trouble is None
    watch.note(4000, [BAD] * 6000)
    assert watch.trouble is not None


def test_what_the_database_does_not_take_is_told_later_and_in_order(
    watch: InputWatch, told: Told, pass_seconds: Callable[[float], None]
) -> None:
    told.raises = [psycopg.OperationalError(), psycopg.OperationalError()]
    watch.note(0, [BAD] * WINDOW)
    watch.note(WINDOW, [])
    assert (watch.trouble, told.judged, len(told.raises)) == (None, [], 1)
    pass_seconds(6)
    watch.look()
    pass_seconds(6)
    watch.look()
    assert [judged.bad for judged in told.judged] == [True, False]
