"""While no broker answers, each connection tries less and less often; tries are counted, not timed."""

import math
import time

from structlog.testing import capture_logs

from schemas.vocabulary import Environment
from tests.support.waiting import wait_until
from worker.broker import open_broker
from worker.broker.rabbitmq_thread import FIRST_PAUSE, LONGEST_PAUSE


def test_a_broker_that_is_away_is_not_asked_all_the_time() -> None:
    broker = open_broker("amqp://nobody:nothing@127.0.0.1:1/", Environment.SANDBOX)
    with capture_logs() as logs:
        began = time.monotonic()
        broker.start()
        wait_until(lambda: len(logs) >= 6, "three tries of each connection")
        seconds = time.monotonic() - began
        tries = [each for each in logs if each["event"] == "broker-unreachable"]
        broker.close(5.0)
    # Waits double from the first, and are halved at most.
    most = 2 + math.log2(2 * seconds / FIRST_PAUSE + 1) + 2 * seconds / LONGEST_PAUSE
    for connection in ("consuming", "publishing"):
        assert len([each for each in tries if each["connection"] == connection]) <= most
    assert not broker.ready
