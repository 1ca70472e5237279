"""Real locks in the way of a lane: what PostgreSQL ends for a lock's sake is tried again, and nobody is put aside."""

import psycopg
from sqlalchemy import Engine, event

from tests.support.core.broker import delivery
from tests.support.core.lanes import LaneOfIssuing, body, running
from tests.support.core.world import Core
from tests.support.waiting import wait_until


def impatient(engine: Engine) -> None:
    """Let the engine's new connections wait for a lock for half a second, not for ten."""

    def shorten(connection: psycopg.Connection, _record: object) -> None:
        connection.execute("SET lock_timeout = '500ms'")
        connection.commit()

    event.listen(engine, "connect", shorten)
    engine.dispose()


def waiting_for_a_lock(core: Core) -> bool:
    return bool(core.value("SELECT count(*) FROM pg_locks WHERE NOT granted"))


def retried(core: Core, state: str) -> float:
    return core.metrics.registry.get_sample_value("fuma_retries_total", {"sqlstate": state}) or 0.0


def test_a_lock_that_is_held_for_too_long_is_waited_for_by_trying_again(core: Core) -> None:
    core.fill(10)
    impatient(core.engine)
    with running(LaneOfIssuing(core)) as lane:
        with psycopg.connect(core.url) as holder:
            holder.execute("SELECT FROM stocks FOR UPDATE")
            lane.subscription.put(delivery(body("R1")), delivery(body("R2")))
            wait_until(lambda: retried(core, "55P03") >= 2, "two tries in vain")
            assert lane.subscription.acknowledged == []
        lane.subscription.wait_until_acknowledged(2)

    assert (lane.dead, set(lane.answered)) == ([], {"R1", "R2"})


def test_the_victim_of_a_deadlock_is_tried_again(core: Core) -> None:
    """Somebody by hand who locks in the wrong order: PostgreSQL ends the worker's transaction, and it comes again."""
    core.fill(10)
    with running(LaneOfIssuing(core)) as lane:
        with psycopg.connect(core.url) as holder:
            # Who looks first is the victim: the other one never looks.
            holder.execute("SET deadlock_timeout = '1h'")
            holder.execute("SELECT FROM ranges FOR UPDATE")
            lane.subscription.put(delivery(body("R1")), delivery(body("R2")))
            wait_until(lambda: waiting_for_a_lock(core), "the lane at the range, with the stock in its hand")
            holder.execute("SELECT FROM stocks FOR UPDATE")
            wait_until(lambda: retried(core, "40P01") >= 1, "the end of the lane's transaction")
        lane.subscription.wait_until_acknowledged(2)

    assert (lane.dead, set(lane.answered)) == ([], {"R1", "R2"})
    assert core.value("SELECT count(*) FROM numbers") == 2
