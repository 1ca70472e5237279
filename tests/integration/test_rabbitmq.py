"""What happens to the way through RabbitMQ when the broker, its connections or its queues fail."""

import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from schemas.topics import Topic, queue_name
from schemas.vocabulary import Environment
from tests.support.broker_calls import ISSUING, KEY, SECONDS, bodies, message, numbered, publish, take
from tests.support.fixtures_rabbitmq import OpenBroker
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.waiting import wait_until
from worker.broker import open_broker, rabbitmq_consumer, rabbitmq_publisher
from worker.broker.address import BrokerAddress
from worker.broker.dead_letters import read_letters
from worker.broker.emit import EmitError, emit
from worker.broker.kombu_wire import connected
from worker.broker.port import Message, Outcome, Subscription
from worker.broker.tap import Tap
from worker.broker.topology import EXCHANGE

QUEUE = queue_name(ISSUING)
MIB = 1024 * 1024


def take_all(subscription: Subscription, expected: set[str]) -> None:
    """Take and acknowledge until each of these came at least once, whatever comes again in between."""
    missing = set(expected)
    while missing:
        batch = subscription.next_batch(size=100, age=0.05, wait=SECONDS)
        assert batch is not None, f"{len(missing)} never came"
        missing -= set(bodies(batch.deliveries))
        subscription.acknowledge(batch)


def on_channel(url: str, act: Callable[..., object]) -> object:
    with connected(BrokerAddress.parse(url)) as connection, closing(connection.channel()) as channel:
        return act(channel)


def ready_messages(url: str) -> int:
    """Count what lies in the queue and is with nobody."""

    def count(channel: object) -> int:
        return int(channel.queue_declare(QUEUE, passive=True).message_count)  # type: ignore[attr-defined]

    counted = on_channel(url, count)
    assert isinstance(counted, int)
    return counted


def vhost(url: str) -> str:
    return urlsplit(url).path[1:]


def test_a_killed_node_loses_nothing_and_is_found_again(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    connect: OpenBroker,
) -> None:
    broker = connect(private_rabbitmq_url)
    subscription = broker.subscribe(ISSUING, prefetch=100)
    assert set(publish(broker, *numbered(50))) == {Outcome.CONFIRMED}
    batch = subscription.next_batch(size=10, age=1.0, wait=SECONDS)
    assert batch is not None

    rabbitmq_node.kill()
    wait_until(lambda: not broker.ready, "the loss to be noticed")
    subscription.acknowledge(batch)
    during = broker.publish(numbered(10, begin=50))
    rabbitmq_node.start()
    wait_until(lambda: broker.ready, "the broker's return", seconds=SECONDS)

    assert broker.refusal is None
    outcomes = during.result(SECONDS)
    again = broker.publish(
        [each for each, outcome in zip(numbered(10, begin=50), outcomes, strict=True) if outcome is Outcome.UNKNOWN],
    )
    assert set(again.result(SECONDS)) <= {Outcome.CONFIRMED}
    take_all(subscription, {str(number) for number in range(60)})
    wait_until(lambda: ready_messages(private_rabbitmq_url) == 0, "the acknowledgements")


def test_a_closed_connection_voids_the_tags_of_what_came_by_it(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    connect: OpenBroker,
) -> None:
    broker = connect(private_rabbitmq_url)
    subscription = broker.subscribe(ISSUING, prefetch=100)
    publish(broker, *numbered(20))
    before = subscription.next_batch(size=5, age=1.0, wait=SECONDS)
    assert before is not None

    rabbitmq_node.close_connections(vhost(private_rabbitmq_url))
    after = subscription.next_batch(size=5, age=1.0, wait=SECONDS)
    while after is not None and after.generation == before.generation:
        after = subscription.next_batch(size=5, age=1.0, wait=SECONDS)

    assert after is not None
    # Its tags mean other deliveries by now, which nobody has handled.
    subscription.acknowledge(before)
    broker.close(5.0)
    again = take(connect(private_rabbitmq_url).subscribe(ISSUING, prefetch=100), 20)
    assert sorted(bodies(again), key=int) == [str(number) for number in range(20)]


def test_a_deleted_queue_is_declared_and_consumed_again(private_rabbitmq_url: str, connect: OpenBroker) -> None:
    broker = connect(private_rabbitmq_url)
    issuing = broker.subscribe(ISSUING, prefetch=100)
    refreshing = broker.subscribe(Topic.REFRESH_REQUESTED, prefetch=100)
    publish(broker, *numbered(5))
    lost = issuing.next_batch(size=5, age=1.0, wait=SECONDS)
    assert lost is not None

    on_channel(private_rabbitmq_url, lambda channel: channel.queue_delete(QUEUE))
    wait_until(lambda: not broker.ready, "the cancellation to be noticed")
    issuing.acknowledge(lost)
    wait_until(lambda: broker.ready, "the queue to be back")

    assert publish(broker, message("new"), message("other", key="refresh-requested")) == [Outcome.CONFIRMED] * 2
    assert bodies(take(issuing, 1)) == ["new"]
    assert bodies(take(refreshing, 1)) == ["other"]


def test_a_deleted_exchange_is_declared_again_and_what_was_under_way_is_unknown(
    private_rabbitmq_url: str,
    connect: OpenBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Known from the closed channel, not from having waited in vain.
    monkeypatch.setattr(rabbitmq_publisher, "CONFIRM_TIMEOUT", 10 * SECONDS)
    broker = connect(private_rabbitmq_url)
    subscription = broker.subscribe(ISSUING, prefetch=100)

    on_channel(private_rabbitmq_url, lambda channel: channel.exchange_delete(EXCHANGE))

    def published_again() -> bool:
        return publish(broker, message("again")) == [Outcome.CONFIRMED]

    assert publish(broker, message("first")) == [Outcome.UNKNOWN]
    wait_until(published_again, "the exchange to be back", seconds=SECONDS)
    assert "again" in bodies(take(subscription, 1))


def test_under_an_alarm_consuming_goes_on_and_publishing_waits(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    connect: OpenBroker,
) -> None:
    broker = connect(private_rabbitmq_url)
    publish(broker, *numbered(30))
    with capture_logs() as logs:
        rabbitmq_node.set_memory_alarm(on=True)
        during = broker.publish(numbered(5, begin=30))
        wait_until(lambda: "broker-blocked" in [line["event"] for line in logs], "the broker to block")

        subscription = broker.subscribe(ISSUING, prefetch=10)
        assert bodies(take(subscription, 30)) == [str(number) for number in range(30)]
        assert not during.done()

        rabbitmq_node.set_memory_alarm(on=False)
        assert during.result(SECONDS) == [Outcome.CONFIRMED] * 5
    assert len(take(subscription, 5)) == 5


def test_closing_under_an_alarm_ends_and_tells_what_is_unknown(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
) -> None:
    threads = set(threading.enumerate())
    broker = open_broker(private_rabbitmq_url, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready, "readiness")
    rabbitmq_node.set_memory_alarm(on=True)
    under_way = broker.publish(numbered(5000))

    broker.close(1.0)

    assert set(threading.enumerate()) <= threads
    assert under_way.done()
    assert Outcome.UNKNOWN in under_way.result(0)


def test_what_has_no_confirm_in_time_is_unknown(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    connect: OpenBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broker = connect(private_rabbitmq_url)
    monkeypatch.setattr(rabbitmq_publisher, "CONFIRM_TIMEOUT", 1.0)
    rabbitmq_node.set_memory_alarm(on=True)

    assert publish(broker, *numbered(3)) == [Outcome.UNKNOWN] * 3

    rabbitmq_node.set_memory_alarm(on=False)
    monkeypatch.undo()
    assert publish(broker, *numbered(3)) == [Outcome.CONFIRMED] * 3


def test_a_full_queue_refuses_and_the_others_are_confirmed(private_rabbitmq_url: str, connect: OpenBroker) -> None:
    broker = connect(private_rabbitmq_url)

    def bind_a_small_queue(channel: object) -> None:
        arguments = {"x-max-length": 2, "x-overflow": "reject-publish"}
        channel.queue_declare("small", durable=True, auto_delete=False, arguments=arguments)  # type: ignore[attr-defined]
        channel.queue_bind("small", EXCHANGE, "small")  # type: ignore[attr-defined]

    on_channel(private_rabbitmq_url, bind_a_small_queue)
    small = [message(str(number), key="small") for number in range(4)]

    outcomes = publish(broker, small[0], small[1], small[2], message("other"), small[3])

    refused = Outcome.UNKNOWN
    assert outcomes == [Outcome.CONFIRMED, Outcome.CONFIRMED, refused, Outcome.CONFIRMED, refused]


def test_every_outcome_is_told_of_its_own_message_however_many_are_under_way(
    private_rabbitmq_url: str,
    connect: OpenBroker,
) -> None:
    broker = connect(private_rabbitmq_url)
    count = 3 * rabbitmq_publisher.WINDOW
    # A third has ids of its own, a third shares one, a third has none; every seventh reaches nobody.
    ids = [None, "shared", "own"]
    messages = [
        Message(
            EXCHANGE,
            "nobody" if number % 7 == 0 else KEY,
            b"{}",
            "application/json",
            # Such a header may come along with a message that is passed on.
            headers={rabbitmq_publisher.TAG_HEADER: 1},
            message_id=f"own-{number}" if ids[number % 3] == "own" else ids[number % 3],
        )
        for number in range(count)
    ]

    outcomes = publish(broker, *messages)

    assert outcomes == [Outcome.UNROUTABLE if number % 7 == 0 else Outcome.CONFIRMED for number in range(count)]
    assert ready_messages(private_rabbitmq_url) == Counter(outcomes)[Outcome.CONFIRMED]


def test_large_messages_are_read_ahead_within_the_bound(
    private_rabbitmq_url: str,
    connect: OpenBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rabbitmq_consumer, "READ_AHEAD_BYTES", 4 * MIB)
    broker = connect(private_rabbitmq_url)
    large = [message(f"{number:06d}" + "x" * MIB) for number in range(30)]
    assert set(publish(broker, *large)) == {Outcome.CONFIRMED}
    with capture_logs() as logs:
        subscription = broker.subscribe(ISSUING, prefetch=1000)
        wait_until(lambda: "broker-read-ahead-narrowed" in [line["event"] for line in logs], "the bound")
        # What is with us now is what fits; all the rest lies in the queue.
        wait_until(lambda: ready_messages(private_rabbitmq_url) >= 26, "the rest to be given back")

        taken = bodies(take(subscription, 30))

    assert sorted(body[:6] for body in taken) == [f"{number:06d}" for number in range(30)]
    small = [str(number) for number in range(3000)]
    publish(broker, *[message(body) for body in small])
    assert bodies(take(subscription, 3000)) == small
    publish(broker, *[message(body) for body in small])
    # Small ones came in between, so as many as ever are read ahead again.
    take(subscription, 500)
    wait_until(lambda: ready_messages(private_rabbitmq_url) <= 1500, "the window to have grown back")


def test_one_message_above_the_bound_is_delivered_all_the_same(
    private_rabbitmq_url: str,
    connect: OpenBroker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rabbitmq_consumer, "READ_AHEAD_BYTES", MIB)
    broker = connect(private_rabbitmq_url)
    subscription = broker.subscribe(ISSUING, prefetch=100)

    publish(broker, *[message(f"{number}" + "x" * 3 * MIB) for number in range(4)])

    assert [body[0] for body in sorted(bodies(take(subscription, 4)))] == ["0", "1", "2", "3"]


def test_a_letter_that_the_broker_moved_can_be_sent_back(private_rabbitmq_url: str) -> None:
    emit(private_rabbitmq_url, message("comes back"))

    def reject(channel: object) -> None:
        delivery = channel.basic_get(QUEUE)  # type: ignore[attr-defined]
        channel.basic_reject(delivery.delivery_tag, requeue=False)  # type: ignore[attr-defined]

    on_channel(private_rabbitmq_url, reject)
    wait_until(lambda: len(read_letters(private_rabbitmq_url)) == 1, "the letter")

    (letter,) = read_letters(private_rabbitmq_url)

    assert letter.reason == "delivery-limit"
    assert letter.topic == "invoice-issuing"
    assert letter.at is not None


def test_a_tap_outlives_the_loss_of_its_connection(rabbitmq_node: PrivateRabbitMQ, private_rabbitmq_url: str) -> None:
    with Tap(private_rabbitmq_url) as tap:
        rabbitmq_node.close_connections(vhost(private_rabbitmq_url))
        wait_until(lambda: tap.next(0.1) is None and _sees(tap, private_rabbitmq_url), "the tap's return")


def _sees(tap: Tap, url: str) -> bool:
    emit(url, message("event", key="refresh-requested"))
    return tap.next(0.2) is not None


def test_emitting_into_a_blocked_broker_fails(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.broker.command_channel.CONFIRM_TIMEOUT", 1.0)
    monkeypatch.setattr("worker.broker.kombu_wire.CONFIRM_TIMEOUT", 1.0)
    rabbitmq_node.set_memory_alarm(on=True)

    with pytest.raises(EmitError, match="may have taken"):
        emit(private_rabbitmq_url, message("blocked"))
