"""The figures of `/metrics`: what the database holds, the worst first, and never more than is said."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text

from db.engine import open_engine
from tests.support.ledger import OTHER_TAXPAYER, TAXPAYER, Ledger
from worker.clock import Clock
from worker.metrics import Figures, Metrics
from worker.watching import MOST_SHOWN, Watching, figures

NOW = datetime(2026, 6, 15, 4, 0, tzinfo=UTC)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on a database of the test's own."""
    engine = open_engine(database_url, application="fuma-test-watching")
    yield engine
    engine.dispose()


def seen(engine: Engine, now: datetime = NOW) -> Figures:
    with engine.begin() as connection:
        return figures(connection, "sandbox", Clock(now))


def test_an_empty_database_has_nothing_to_show(engine: Engine) -> None:
    found = seen(engine)
    assert found.stocks == ()
    assert (found.waiting, found.outbox, found.claims_open, found.claims_unresolved) == (0, 0, 0, 0)
    assert (found.waiting_oldest, found.outbox_oldest, found.claims_unresolved_oldest) == (0.0, 0.0, 0.0)
    assert not found.throttled


def test_what_waits_is_counted_with_its_age(engine: Engine) -> None:
    with engine.begin() as connection:
        ledger = Ledger(connection)
        ledger.channel()
        ledger.organization("A")
        ledger.stock()
        ledger.request("waiting", "A", status="waiting")
        ledger.claim("asked", status="open")
        ledger.claim("lost", status="unresolved")
        ledger.message()
        connection.execute(
            text("UPDATE issue_requests SET waiting_since = :then"), {"then": NOW - timedelta(minutes=3)}
        )
        connection.execute(text("UPDATE claims SET created_at = :then"), {"then": NOW - timedelta(hours=2)})
        connection.execute(text("UPDATE outbox SET created_at = now() - interval '90 seconds'"))
        connection.execute(
            text("INSERT INTO direct_units VALUES ('sandbox', 'D', :until, 3)"), {"until": NOW + timedelta(minutes=1)}
        )
    found = seen(engine)
    assert (found.waiting, found.outbox, found.claims_open, found.claims_unresolved) == (1, 1, 1, 1)
    assert found.waiting_oldest == pytest.approx(180, abs=5)
    assert found.claims_unresolved_oldest == pytest.approx(7200, abs=5)
    assert found.outbox_oldest == pytest.approx(90, abs=30)
    assert found.throttled
    assert not seen(engine, NOW + timedelta(minutes=2)).throttled


def test_stocks_come_worst_first_and_not_without_end(engine: Engine) -> None:
    with engine.begin() as connection:
        ledger = Ledger(connection)
        for taxpayer in (TAXPAYER, OTHER_TAXPAYER):
            ledger.channel(taxpayer)
            ledger.stock(taxpayer)
        ledger.organization("B", OTHER_TAXPAYER)
        ledger.range(1, quantity=1000)
        ledger.request("waiting", "B", status="waiting", taxpayer_id=OTHER_TAXPAYER)
        connection.execute(
            text("""
                INSERT INTO stocks (taxpayer_id, environment, channel_mode, year)
                SELECT 'T' || n, 'sandbox', 'self-use', 2026 FROM generate_series(1, 300) AS n
            """)
        )
    found = seen(engine)
    assert found.stocks_in_all == 302
    assert len(found.stocks) == MOST_SHOWN
    assert (found.stocks[0].taxpayer_id, found.stocks[0].waiting, found.stocks[0].remaining) == (OTHER_TAXPAYER, 1, 0)


def test_a_database_that_is_away_leaves_the_last_figures_and_no_fault(engine: Engine) -> None:
    metrics = Metrics()
    Watching(engine, "sandbox", Clock(NOW), metrics, lambda: None).look()
    ready, before = metrics.ready, metrics.figures
    assert ready
    assert before is not None
    away = open_engine("postgresql://nobody@127.0.0.1:1/nothing", application="fuma-test-away")
    Watching(away, "sandbox", Clock(NOW), metrics, lambda: "the database does not answer").look()
    assert not metrics.ready
    assert metrics.figures is before
    away.dispose()
