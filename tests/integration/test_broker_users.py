"""The broker's users: each may do its work through Fuma's own commands and a plain client, and is refused the rest."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pika
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import ChannelClosedByBroker, ConnectionClosedByBroker, ProbableAuthenticationError

from schemas.topics import CONSUMED, EVENTS, PUBLISHED, REQUESTS, Topic, queue_name
from schemas.vocabulary import Environment
from tests.support.least_privilege import BROKER_PASSWORDS, with_users
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.waiting import wait_until
from worker.broker import open_broker
from worker.broker.dead_letters import Selection, read_letters, redrive
from worker.broker.definitions import USERS, definitions
from worker.broker.emit import EmitError, emit
from worker.broker.kombu_wire import BrokerError
from worker.broker.port import Message
from worker.broker.tap import Tap
from worker.broker.topology import DEAD_EXCHANGE, DEAD_LETTERS, EXCHANGE

Urls = dict[str, str]
FILE = Path(__file__).parents[2] / "deploy/rabbitmq/definitions.json"
REFUSED = 403
TAXPAYER = "91440300587908164C"


@pytest.fixture(scope="module")
def urls(rabbitmq_node: PrivateRabbitMQ) -> Iterator[Urls]:
    """One virtual host with the whole definitions file imported, as each user."""
    rabbitmq_node.start()
    url = rabbitmq_node.new_vhost()
    yield with_users(rabbitmq_node, url, topology=True)
    rabbitmq_node.delete_vhost(urlsplit(url).path[1:])


@contextmanager
def channel_of(url: str) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(url))
    try:
        yield connection.channel()
    finally:
        if connection.is_open:
            connection.close()


def is_refused(url: str, act: Callable[[BlockingChannel], object]) -> bool:
    """Tell whether the broker refuses for want of a permission; whatever else it says fails the test."""
    with channel_of(url) as channel:
        try:
            act(channel)
            # A refused publish closes the channel some time after it.
            channel.basic_qos(prefetch_count=1)
        except ChannelClosedByBroker as error:
            if error.reply_code != REFUSED:
                raise
            return True
    return False


def publishing(exchange: str, key: str) -> Callable[[BlockingChannel], object]:
    def publish(channel: BlockingChannel) -> None:
        channel.confirm_delivery()
        channel.basic_publish(exchange, key, b"{}")

    return publish


def reading(queue: str) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.basic_get(queue)


def having_a_queue(queue: str, key: str) -> Callable[[BlockingChannel], object]:
    def have(channel: BlockingChannel) -> None:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.queue_bind(queue, EXCHANGE, key)
        channel.basic_get(queue)
        channel.queue_delete(queue)

    return have


def deleting(queue: str) -> Callable[[BlockingChannel], object]:
    return lambda channel: channel.queue_delete(queue)


def message(topic: Topic) -> Message:
    return Message(exchange=EXCHANGE, routing_key=topic.value, body=b"{}", content_type="application/json", headers={})


def test_the_file_is_what_the_command_prints_without_passwords() -> None:
    told = json.loads(FILE.read_text(encoding="utf-8"))
    assert told == definitions({}), "write it anew: fuma broker-definitions > deploy/rabbitmq/definitions.json"
    assert {user["password_hash"] for user in told["users"]} == {""}


def test_a_user_without_a_password_does_not_get_in(rabbitmq_node: PrivateRabbitMQ) -> None:
    rabbitmq_node.start()
    vhost = urlsplit(rabbitmq_node.new_vhost()).path[1:]
    told = json.loads(json.dumps(definitions({}, vhost)).replace("fuma-", "unset-"))
    rabbitmq_node.import_definitions(told)
    with pytest.raises((ProbableAuthenticationError, ConnectionClosedByBroker)):
        pika.BlockingConnection(pika.URLParameters(rabbitmq_node.url_of(vhost, user="unset-worker")))
    rabbitmq_node.delete_vhost(vhost)


def test_a_worker_declares_consumes_and_publishes_what_is_its_own(rabbitmq_node: PrivateRabbitMQ) -> None:
    rabbitmq_node.start()
    # Nothing stands there: the worker's user sets it up by itself.
    url = rabbitmq_node.new_vhost()
    worker = with_users(rabbitmq_node, url)["fuma-worker"]
    broker = open_broker(worker, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready, "the broker's readiness")
    broker.close(5.0)
    for topic in CONSUMED:
        assert not is_refused(worker, reading(queue_name(topic)))
    for topic in PUBLISHED:
        assert not is_refused(worker, publishing(EXCHANGE, f"{topic.value}.{TAXPAYER}"))
    assert not is_refused(worker, publishing(DEAD_EXCHANGE, "invoice-issuing"))
    rabbitmq_node.delete_vhost(urlsplit(url).path[1:])


def test_a_worker_is_refused_what_is_others(urls: Urls) -> None:
    worker = urls["fuma-worker"]
    for topic in REQUESTS:
        assert is_refused(worker, publishing(EXCHANGE, topic.value)), "requests are upstream's"
    assert is_refused(worker, publishing("", DEAD_LETTERS))
    assert is_refused(worker, having_a_queue("another", "number-assigned"))
    assert is_refused(worker, having_a_queue("fuma.watch.another", "number-assigned"))
    assert is_refused(worker, lambda channel: channel.exchange_declare("another"))


def test_upstream_publishes_requests_and_nothing_else(urls: Urls) -> None:
    upstream = urls["fuma-upstream"]
    for topic in REQUESTS:
        assert not is_refused(upstream, publishing(EXCHANGE, topic.value))
        assert not is_refused(upstream, publishing(EXCHANGE, f"{topic.value}.{TAXPAYER}"))
        assert is_refused(upstream, reading(queue_name(topic)))
        assert is_refused(upstream, publishing("", queue_name(topic)))
        assert is_refused(upstream, deleting(queue_name(topic)))
    for topic in EVENTS:
        assert is_refused(upstream, publishing(EXCHANGE, f"{topic.value}.{TAXPAYER}"))
    assert is_refused(upstream, publishing(DEAD_EXCHANGE, "invoice-issuing"))
    assert is_refused(upstream, reading(DEAD_LETTERS))
    assert is_refused(upstream, having_a_queue("upstream.answers", "number-assigned.#"))
    # `fuma emit` declares as a worker does; who may not is content with what stands there.
    emit(upstream, message(Topic.REFRESH_REQUESTED), Environment.SANDBOX)


@pytest.mark.parametrize("name", ["downstream", "monitoring"])
def test_who_listens_reads_events_from_queues_of_its_own(urls: Urls, name: str) -> None:
    url = urls[f"fuma-{name}"]
    for topic in EVENTS:
        assert not is_refused(url, having_a_queue(f"{name}.events", f"{topic.value}.#"))
    for key in ("#", "*", *(topic.value for topic in REQUESTS)):
        assert is_refused(url, having_a_queue(f"{name}.requests", key)), key
    for topic in CONSUMED:
        assert is_refused(url, reading(queue_name(topic)))
        assert is_refused(url, deleting(queue_name(topic)))
    other = {"downstream": "monitoring", "monitoring": "downstream"}[name]
    assert is_refused(url, having_a_queue(f"{other}.events", "number-assigned.#"))
    assert is_refused(url, reading(DEAD_LETTERS))
    for topic in (Topic.INVOICE_ISSUING, Topic.NUMBER_ASSIGNED):
        assert is_refused(url, publishing(EXCHANGE, topic.value))
    assert is_refused(url, publishing("", queue_name(Topic.INVOICE_ISSUING)))


def test_monitoring_watches_a_topic_of_events(urls: Urls) -> None:
    with Tap(urls["fuma-monitoring"], Topic.NUMBER_ASSIGNED) as watching:
        assert watching.next(0.1) is None
    with pytest.raises(BrokerError, match="doesn't let itself be watched"), Tap(urls["fuma-monitoring"]):
        pass


def test_an_operator_redrives_dead_letters_watches_and_emits(urls: Urls) -> None:
    operator = urls["fuma-operator"]
    with channel_of(urls["fuma-worker"]) as channel:
        channel.confirm_delivery()
        headers = {"x-fuma-reason": "processing-failed", "x-fuma-topic": "claim-requested"}
        channel.basic_publish(DEAD_EXCHANGE, "claim-requested", b"{}", pika.BasicProperties(headers=headers))
    (letter,) = read_letters(operator)
    with Tap(operator) as watching:
        redriven = redrive(operator, Selection(which=str(letter.position)))
        assert (redriven.sent, redriven.kept) == (1, 0)
        emit(operator, message(Topic.CLAIM_REQUESTED), Environment.SANDBOX)
        seen = watching.next(10.0)
    assert seen is not None
    assert read_letters(operator) == []
    for topic in CONSUMED:
        assert is_refused(operator, reading(queue_name(topic)))
        assert is_refused(operator, deleting(queue_name(topic)))
    assert is_refused(operator, deleting(DEAD_LETTERS))
    assert is_refused(operator, publishing(EXCHANGE, "number-assigned"))


def test_a_user_who_may_only_publish_needs_the_topology_to_stand(rabbitmq_node: PrivateRabbitMQ) -> None:
    rabbitmq_node.start()
    url = rabbitmq_node.new_vhost()
    upstream = with_users(rabbitmq_node, url)["fuma-upstream"]
    with pytest.raises(EmitError, match="doesn't let this user set up its queues"):
        emit(upstream, message(Topic.REFRESH_REQUESTED), Environment.SANDBOX)
    rabbitmq_node.delete_vhost(urlsplit(url).path[1:])


def test_no_users_password_stands_in_its_hash() -> None:
    told = json.dumps(definitions(BROKER_PASSWORDS))
    assert not any(password in told for password in BROKER_PASSWORDS.values())
    assert len({user["password_hash"] for user in definitions(BROKER_PASSWORDS)["users"]}) == len(USERS)
