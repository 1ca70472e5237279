"""Brokers for tests: a private RabbitMQ node for the whole run, and an empty virtual host of it for each test.

Where `FUMA_TEST_BROKER_URL` is set, its virtual host is used instead where a test needs nothing but a URL. It is
emptied of Fuma's queues and exchanges before each test: give it one that holds nothing else.
"""

import os
import uuid
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from schemas.vocabulary import Environment
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.waiting import wait_until
from worker.broker import open_broker
from worker.broker.address import BrokerAddress
from worker.broker.kombu_wire import connected
from worker.broker.port import Broker
from worker.broker.topology import EXCHANGES, QUEUES, environment_exchange

OpenBroker = Callable[..., Broker]


@pytest.fixture(scope="session")
def rabbitmq_node() -> Iterator[PrivateRabbitMQ]:
    """Give the run's own node; it may be killed, if it is started again."""
    with PrivateRabbitMQ() as node:
        yield node


@pytest.fixture
def private_rabbitmq_url(rabbitmq_node: PrivateRabbitMQ) -> Iterator[str]:
    """Give an empty virtual host of the private node, gone after the test."""
    rabbitmq_node.start()
    url = rabbitmq_node.new_vhost()
    yield url
    rabbitmq_node.start()
    rabbitmq_node.set_memory_alarm(on=False)
    rabbitmq_node.delete_vhost(urlsplit(url).path[1:])


@pytest.fixture
def rabbitmq_url(request: pytest.FixtureRequest) -> str:
    """Give an empty virtual host, of the private node or of the broker that the environment names."""
    given = os.environ.get("FUMA_TEST_BROKER_URL")
    if given is None:
        url: str = request.getfixturevalue("private_rabbitmq_url")
        return url
    _empty(given)
    return given


@pytest.fixture
def memory_url() -> str:
    """Give a broker in memory that nobody else has."""
    return f"memory://{uuid.uuid4()}"


@pytest.fixture(params=["rabbitmq", "memory"])
def broker_url(request: pytest.FixtureRequest) -> str:
    """Give each kind of broker in turn: what takes this fixture runs on both."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def connect() -> Iterator[OpenBroker]:
    """Open brokers that are started, ready, and closed after the test."""
    opened: list[Broker] = []

    def open_and_wait(url: str, environment: Environment = Environment.SANDBOX, *, shards: int = 0) -> Broker:
        broker = open_broker(url, environment, shards=shards)
        opened.append(broker)
        broker.start()
        wait_until(lambda: broker.ready, "the broker's readiness")
        return broker

    yield open_and_wait
    for broker in opened:
        broker.close(5.0)


def _empty(url: str) -> None:
    marks = [environment_exchange(environment).name for environment in Environment]
    with connected(BrokerAddress.parse(url)) as connection:
        channel = connection.channel()
        for queue in QUEUES:
            channel.queue_delete(queue.name)
        for exchange in (*(each.name for each in EXCHANGES), *marks):
            channel.exchange_delete(exchange)
