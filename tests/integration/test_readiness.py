"""`/readyz` while the database stands still: an answer for whoever asks, and one question to the database at most."""

import signal
import threading

import httpx

from db.engine import open_engine
from tests.support.chaos.proxy import Proxy, Way
from tests.support.core.broker import RecordingBroker
from tests.support.outside.processes import free_port
from tests.support.postgres import PrivatePostgres
from tests.support.waiting import wait_until
from worker.health import Health, serve_health
from worker.metrics import Metrics

_ASKED = 30


class Working:
    """A worker with no trouble of its own."""

    broken = None
    trouble = None

    def lags(self, longest: float) -> None:
        """Nothing lags."""
        del longest


def questions() -> int:
    """Tell how many threads ask the database."""
    return sum(thread.name == "readiness" for thread in threading.enumerate())


def test_a_database_that_stands_still_keeps_nobody_waiting_who_asks_for_readiness(
    own_postgres: PrivatePostgres,
) -> None:
    url = own_postgres.new_migrated_database()
    port = free_port()
    health = Health()

    def page() -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=60)

    def is_ready() -> bool:
        return page().status_code == httpx.codes.OK

    def all_are_told() -> None:
        for _ in range(_ASKED):
            answer = page()
            assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE
            assert answer.text == "the database does not answer\n"
            assert questions() == 1
            assert engine.pool.checkedout() <= 1  # type: ignore[attr-defined]  # of the pool that engines have

    with Proxy(own_postgres.port) as proxy, serve_health(port, health):
        engine = open_engine(url.replace(f":{own_postgres.port}/", f":{proxy.port}/"), application="test", silence=20)
        health.watch(RecordingBroker(), Working(), Metrics(), engine)
        assert is_ready()

        own_postgres.send_signal(signal.SIGSTOP)
        try:
            all_are_told()
        finally:
            own_postgres.send_signal(signal.SIGCONT)
        wait_until(is_ready, "readiness, once the server goes on")

        proxy.stall(Way.DOWN)
        all_are_told()
        proxy.heal()
        wait_until(is_ready, "readiness, once answers pass again")
        engine.dispose()
