"""How every broker ends: by being closed, or by refusing to begin."""

import threading
from collections import Counter

import pytest

from schemas.vocabulary import Environment
from tests.support.broker_calls import ISSUING, SECONDS, message, numbered, publish
from tests.support.fixtures_rabbitmq import OpenBroker
from tests.support.waiting import wait_until
from worker.broker import BrokerUrlError, open_broker
from worker.broker.port import Outcome


def test_closing_ends_a_wait_and_leaves_no_thread(broker_url: str) -> None:
    before = set(threading.enumerate())
    broker = open_broker(broker_url, Environment.SANDBOX)
    broker.start()
    subscription = broker.subscribe(ISSUING, prefetch=10)
    wait_until(lambda: broker.ready, "readiness")
    batches: list[object] = []
    waiting = threading.Thread(
        target=lambda: batches.append(subscription.next_batch(size=1, age=1.0, wait=600.0)),
    )
    waiting.start()

    broker.close(5.0)
    waiting.join(SECONDS)

    assert batches == [None]
    assert set(threading.enumerate()) <= before
    assert not broker.ready
    assert broker.refusal is None


def test_publishing_after_the_end_is_unknown_at_once(broker_url: str) -> None:
    broker = open_broker(broker_url, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready, "readiness")
    broker.close(5.0)

    assert publish(broker, message(), message()) == [Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_closing_waits_for_the_confirms_under_way(broker_url: str) -> None:
    broker = open_broker(broker_url, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready, "readiness")

    published = broker.publish(numbered(3000))
    broker.close(SECONDS)

    assert Counter(published.result(0)) == {Outcome.CONFIRMED: 3000}


def test_a_worker_of_the_other_environment_is_refused(broker_url: str, connect: OpenBroker) -> None:
    connect(broker_url, Environment.SANDBOX)
    stranger = open_broker(broker_url, Environment.PRODUCTION)

    stranger.start()
    wait_until(lambda: stranger.refusal is not None, "the refusal")
    stranger.close(5.0)

    assert not stranger.ready
    assert stranger.refusal is not None
    assert "'sandbox'" in stranger.refusal
    assert "FUMA_ENVIRONMENT" in stranger.refusal
    # And left no mark of its own behind.
    connect(broker_url, Environment.SANDBOX)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://user:secret@host/", "must begin with"),
        ("amqp://user:secret@host:port/", "can't be read"),
        ("amqp://user:secret@host/?verify=none", "'verify'"),
        ("amqp://user:secret@host/?heartbeat=0", "heartbeat"),
        ("amqps://user:secret@host/?cacertfile=/no/such/file", "certificate"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(url: str, says: str) -> None:
    with pytest.raises(BrokerUrlError, match=says) as refused:
        open_broker(url, Environment.SANDBOX)

    assert "secret" not in str(refused.value)
    assert "user" not in str(refused.value)
