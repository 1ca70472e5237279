"""An outage of the database: nothing is given up, nothing spins, and all goes on by itself. Tries are counted."""

import math
import signal
import time
from collections.abc import Iterator
from functools import partial

import pytest
from sqlalchemy import Engine, event, text
from sqlalchemy.exc import OperationalError

from db.engine import DATABASE_ERRORS, is_data_error, open_engine, sqlstate
from tests.support.core.broker import delivery
from tests.support.core.lanes import LaneOfIssuing, body, running
from tests.support.core.world import Core
from tests.support.postgres import PrivatePostgres
from tests.support.waiting import wait_until
from worker.timed import Task, TimedWork


@pytest.fixture
def own_core(own_postgres: PrivatePostgres) -> Iterator[Core]:
    core = Core(own_postgres.new_migrated_database())
    core.register()
    core.fill(100)
    yield core
    core.close()


def counting_connections(engine: Engine) -> list[float]:
    """Note when a connection is asked for, from now on."""
    asked: list[float] = []

    def note(*_: object) -> None:
        asked.append(time.monotonic())

    event.listen(engine, "do_connect", note)
    return asked


def most_tries(seconds: float, first: float, longest: float) -> float:
    """Tell how often waits that double from `first` to `longest`, halved at most, let something be tried."""
    return 2 + math.log2(longest / first) + 2 * seconds / longest


def test_a_lane_and_timed_work_do_not_spin_while_the_database_is_away(
    own_postgres: PrivatePostgres, own_core: Core
) -> None:
    def ask() -> None:
        with own_core.engine.begin() as connection:
            connection.execute(text("SELECT 1"))

    timed = TimedWork([Task(f"task-{n}", 0.01, ask) for n in range(5)])
    with running(LaneOfIssuing(own_core)) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(1)
        timed.start()
        own_postgres.kill()
        asked = counting_connections(own_core.engine)
        began = time.monotonic()
        lane.subscription.put(*[delivery(body(f"R{n}")) for n in range(2, 30)])
        lane.subscription.wait_until_suspended(60)
        trouble = lane.lane.trouble
        assert trouble is not None
        assert "the database" in trouble
        seconds = time.monotonic() - began
        # A try may ask for a connection a second time, where the first was one that the pool held.
        allowed = 2 * (most_tries(seconds, 0.05, 5.0) + most_tries(seconds, 0.1, 5.0)) + 10
        assert len(asked) <= allowed, f"{len(asked)} connections asked for in {seconds:.1f} s"
        own_postgres.start()
        lane.subscription.wait_until_acknowledged(29)
    assert timed.stop(10)

    assert lane.dead == []
    assert set(lane.answered) == {f"R{n}" for n in range(1, 30)}
    assert own_core.value("SELECT count(*) FROM numbers") == 29


def test_a_database_that_stands_still_is_waited_for(own_postgres: PrivatePostgres, own_core: Core) -> None:
    with running(LaneOfIssuing(own_core)) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(1)
        own_postgres.send_signal(signal.SIGSTOP)
        asked = counting_connections(own_core.engine)
        try:
            lane.subscription.put(*[delivery(body(f"R{n}")) for n in range(2, 10)])
            # Nothing can happen meanwhile; a second of it is enough to see a spin.
            time.sleep(1)
            assert len(asked) <= 2
            assert len(lane.subscription.acknowledged) == 1
        finally:
            own_postgres.send_signal(signal.SIGCONT)
        lane.subscription.wait_until_acknowledged(9)

    assert lane.dead == []
    assert set(lane.answered) == {f"R{n}" for n in range(1, 10)}


def test_a_database_that_takes_no_writes_is_waited_for(own_postgres: PrivatePostgres, own_core: Core) -> None:
    """As a standby after a failover, or a server whose disk is nearly full and that somebody made read-only."""
    name = own_core.value("SELECT current_database()")
    administrator = open_engine(own_postgres.url_of("postgres"), application="test")
    with administrator.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        own_core.engine.dispose()
        with running(LaneOfIssuing(own_core)) as lane:
            lane.subscription.put(delivery(body("R1")), delivery(body("R2")))
            value = partial(own_core.metrics.registry.get_sample_value, "fuma_retries_total", {"sqlstate": "25006"})
            wait_until(lambda: (value() or 0) >= 2, "a second try")
            connection.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
            # The sessions that began read-only end as an administrator would end them.
            connection.execute(
                text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"), {"name": name}
            )
            lane.subscription.wait_until_acknowledged(2)
    administrator.dispose()

    assert (lane.dead, set(lane.answered)) == ([], {"R1", "R2"})


def test_what_psycopg_itself_refuses_to_send_is_a_fault_of_the_data(own_core: Core) -> None:
    """Without this a text that can't be stored would be tried for ever, and hold up all behind it."""
    with pytest.raises(DATABASE_ERRORS) as refused, own_core.engine.begin() as connection:
        connection.execute(text("SELECT CAST(:value AS text)"), {"value": "a\x00b"})
    assert sqlstate(refused.value) is None
    assert is_data_error(refused.value)


def test_no_server_at_all_is_no_fault_of_the_data() -> None:
    engine = open_engine("postgresql://nobody@127.0.0.1:1/nothing", application="test")
    with pytest.raises(OperationalError) as refused:
        engine.connect()
    assert not is_data_error(refused.value)
