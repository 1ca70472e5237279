"""Stocks are locked in one order by everybody, and whoever holds one reads little and looks past nobody."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text

from db.asking import carry_out
from db.engine import open_engine
from db.ranges import close_used_up_ranges
from db.records import Stock, StockKey
from db.stocks import lock_stocks, lock_stocks_of_taxpayers, stocks_without_claim
from tests.support.event_ids import of_range, written_of_change
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger

ENVIRONMENT = "sandbox"
THIS_YEAR = StockKey(TAXPAYER, "self-use", 2026)
NEXT_YEAR = StockKey(TAXPAYER, "self-use", 2027)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = open_engine(database_url, application="fuma-test")
    yield opened
    opened.dispose()


def test_who_makes_a_stock_and_who_locks_all_of_its_taxpayer_dont_wait_for_each_other(engine: Engine) -> None:
    with engine.begin() as connection:
        ledger = Ledger(connection)
        ledger.channel()
        ledger.stock()

    def lock_all() -> dict[StockKey, Stock]:
        with engine.begin() as connection:
            return lock_stocks_of_taxpayers(connection, ENVIRONMENT, [TAXPAYER])

    with ThreadPoolExecutor(1) as pool:
        with engine.begin() as making:
            lock_stocks(making, ENVIRONMENT, [THIS_YEAR])
            whole = pool.submit(lock_all)
            _wait_for_a_lock(engine)
            lock_stocks(making, ENVIRONMENT, [THIS_YEAR, NEXT_YEAR])
        assert set(whole.result(timeout=30)) == {THIS_YEAR, NEXT_YEAR}


def _wait_for_a_lock(engine: Engine) -> None:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        ends_at = time.monotonic() + 30
        waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
        while connection.execute(waiting).scalar_one() == 0:
            assert time.monotonic() < ends_at, "nobody waits for a lock"
            time.sleep(0.01)


def test_a_stock_that_nobody_draws_from_any_more_hides_no_other_that_needs_a_claim(engine: Engine) -> None:
    first, second = sorted((TAXPAYER, OTHER_TAXPAYER))
    with engine.begin() as connection:
        ledger = Ledger(connection)
        for taxpayer_id in (first, second):
            ledger.channel(taxpayer_id)
            ledger.stock(taxpayer_id, level="exhausted")
        ledger.organization("A", second)
        now = NOW + timedelta(seconds=1)
        found = stocks_without_claim(connection, ENVIRONMENT, [2026], now=now, most=1)
    assert found == [StockKey(second, "self-use", 2026)]


def test_ranges_are_closed_without_a_look_at_each_number_of_the_taxpayer(engine: Engine) -> None:
    with engine.begin() as connection:
        ledger = Ledger(connection)
        ledger.channel()
        ledger.organization("A")
        ledger.stock()
        ledger.claim("manual-1", claim_mode="manual", organization="A", quantity=1000)
        ledger.range(1, taken=1000, quantity=1000, claim_id="manual-1", claim_mode="manual")
        # All but the last were voided since, whose history is of no interest here.
        connection.execute(text("SET LOCAL session_replication_role = replica"))
        connection.execute(
            text(f"""
                INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last,
                    status, changed_at, changed_by, event_id)
                SELECT taxpayer_id, environment, prefix, s, range_id, first_sequence, last_sequence,
                    CASE WHEN s = last_sequence THEN 'available' ELSE 'voided' END, :now, '/tests 1',
                    CASE WHEN s = last_sequence THEN CAST(:split AS uuid)
                         ELSE {written_of_change(sequence="s", step="1")} END
                FROM ranges, generate_series(first_sequence, last_sequence) AS s
            """),  # noqa: S608 -- constants
            {"now": NOW, "split": of_range()},
        )
        connection.execute(text("ANALYZE numbers"))
    with engine.begin() as connection:
        carry_out(connection, close_used_up_ranges(ENVIRONMENT, [TAXPAYER], now=NOW))
        read = connection.execute(
            text("SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'numbers'"),
        ).scalar_one()
        assert connection.execute(text("SELECT status FROM ranges")).scalar_one() == "active"
    assert read < 100
