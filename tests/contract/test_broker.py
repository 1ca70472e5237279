"""What every broker does: one suite, run on RabbitMQ and on the broker in memory."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from schemas.topics import Topic
from tests.support.broker_calls import ISSUING, KEY, SECONDS, bodies, message, nothing_comes, numbered, publish, take
from tests.support.fixtures_rabbitmq import OpenBroker
from tests.support.waiting import wait_until
from worker.broker.port import Message, Outcome, Subscription
from worker.broker.topology import DEAD_EXCHANGE, EXCHANGE


def test_a_message_arrives_as_it_was_published(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=10)
    body = '{"名": "发票"}'.encode() + bytes(range(256))
    sent = Message(
        EXCHANGE,
        KEY,
        body,
        "application/json; charset=utf-8",
        headers={"ce-id": "a", "ce-数": "b", "attempt": 3},
        message_id="m-1",
        content_encoding="gzip",
    )

    assert publish(broker, sent) == [Outcome.CONFIRMED]

    (delivery,) = take(subscription, 1)
    assert delivery.body == body
    assert delivery.content_type == "application/json; charset=utf-8"
    assert delivery.content_encoding == "gzip"
    assert {name: delivery.headers[name] for name in sent.headers} == sent.headers
    assert delivery.message_id == "m-1"
    assert delivery.routing_key == KEY
    assert delivery.redelivered is False


def test_a_message_may_be_empty_and_say_nothing_of_itself(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=10)

    assert publish(broker, Message(EXCHANGE, KEY, b"", "text/plain")) == [Outcome.CONFIRMED]

    (delivery,) = take(subscription, 1)
    assert delivery.body == b""
    assert delivery.message_id is None
    assert delivery.content_encoding is None


def test_messages_come_in_their_order_and_a_batch_closes_at_its_size(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    assert set(publish(broker, *numbered(250))) == {Outcome.CONFIRMED}
    subscription = broker.subscribe(ISSUING, prefetch=200)

    seen: list[str] = []
    while len(seen) < 250:
        batch = subscription.next_batch(size=50, age=60.0, wait=SECONDS)
        assert batch is not None
        assert len(batch.deliveries) == 50
        seen += bodies(batch.deliveries)
        subscription.acknowledge(batch)

    assert seen == [str(number) for number in range(250)]


def test_a_batch_closes_when_its_oldest_delivery_is_old_enough(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=100)
    publish(broker, *numbered(3))

    assert bodies(take(subscription, 3)) == ["0", "1", "2"]
    batch = subscription.next_batch(size=100, age=0.2, wait=0.2)

    assert batch is None
    publish(broker, message("later"))
    batch = subscription.next_batch(size=100, age=0.2, wait=SECONDS)
    assert batch is not None
    assert bodies(batch.deliveries) == ["later"]


def test_tags_count_up_and_the_generation_stays(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=100)
    publish(broker, *numbered(20))

    first = subscription.next_batch(size=5, age=1.0, wait=SECONDS)
    second = subscription.next_batch(size=5, age=1.0, wait=SECONDS)

    assert first is not None
    assert second is not None
    assert first.generation == second.generation
    tags = [delivery.tag for delivery in (*first.deliveries, *second.deliveries)]
    assert tags == list(range(1, 11))


def test_a_topic_is_reached_with_and_without_a_taxpayer_id_and_no_other(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    issuing = broker.subscribe(ISSUING, prefetch=10)
    refreshing = broker.subscribe(Topic.REFRESH_REQUESTED, prefetch=10)

    publish(
        broker,
        message("bare", key="invoice-issuing"),
        message("one word", key="invoice-issuing.91350100M000100Y43"),
        message("two words", key="invoice-issuing.91350100M000100Y43.again"),
        message("refresh", key="refresh-requested"),
    )

    assert bodies(take(issuing, 3)) == ["bare", "one word", "two words"]
    assert bodies(take(refreshing, 1)) == ["refresh"]
    assert nothing_comes(issuing)
    assert nothing_comes(refreshing)


def test_each_message_of_a_list_has_its_own_outcome(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    nobody = "number-assigned.91350100M000100Y43"
    keys = [KEY, nobody, KEY, nobody, nobody, KEY]

    # All under one id: which of them came back can't be told from that.
    outcomes = publish(broker, *[message(key, key=key, message_id="same") for key in keys])

    expected = [Outcome.CONFIRMED if key == KEY else Outcome.UNROUTABLE for key in keys]
    assert outcomes == expected


def test_dead_letters_have_a_queue_whatever_their_routing_key(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)

    outcomes = publish(
        broker, message(key="any.thing", exchange=DEAD_EXCHANGE), message(key="", exchange=DEAD_EXCHANGE)
    )

    assert outcomes == [Outcome.CONFIRMED, Outcome.CONFIRMED]


def test_nothing_to_publish_is_done_at_once(broker_url: str, connect: OpenBroker) -> None:
    assert publish(connect(broker_url)) == []


@pytest.mark.parametrize(
    "unpublishable",
    [
        message(key="k" * 256),
        message(key="\ud800"),
        message(message_id="票" * 86),
        Message(EXCHANGE, KEY, b"", "t", headers={"n": 2**63}),
        Message(EXCHANGE, KEY, b"", "t", headers={"n": "\ud800"}),
        Message(EXCHANGE, KEY, b"", "t", headers={"n": "x" * 200_000}),
    ],
    ids=["long key", "no text", "long id", "large number", "header no text", "long headers"],
)
def test_what_amqp_cannot_carry_is_refused_before_it_harms_others(
    broker_url: str,
    connect: OpenBroker,
    unpublishable: Message,
) -> None:
    broker = connect(broker_url)

    with pytest.raises(ValueError, match=r"key|id|header"):
        broker.publish([message(), unpublishable])

    assert publish(broker, message()) == [Outcome.CONFIRMED]


def test_threads_may_publish_at_once(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=500)

    def publish_some(thread: int) -> list[Outcome]:
        return publish(
            broker, *[message(f"{thread}-{number}", message_id=f"{thread}-{number}") for number in range(300)]
        )

    with ThreadPoolExecutor(4) as pool:
        outcomes = [outcome for some in pool.map(publish_some, range(4)) for outcome in some]

    assert Counter(outcomes) == {Outcome.CONFIRMED: 1200}
    assert set(bodies(take(subscription, 1200))) == {f"{thread}-{n}" for thread in range(4) for n in range(300)}


def test_what_was_acknowledged_never_comes_again_and_the_rest_does(broker_url: str, connect: OpenBroker) -> None:
    first = connect(broker_url)
    publish(first, *numbered(10))
    subscription = first.subscribe(ISSUING, prefetch=10)
    take(subscription, 2, acknowledge=False)
    # Covers the two before it as well.
    take(subscription, 3, acknowledge=True)
    take(subscription, 4, acknowledge=False)
    first.close(5.0)

    second = connect(broker_url)
    again = take(second.subscribe(ISSUING, prefetch=10), 5)

    assert bodies(again) == ["5", "6", "7", "8", "9"]
    assert [delivery.redelivered for delivery in again[:4]] == [True] * 4
    assert nothing_comes(second.subscribe(ISSUING, prefetch=10))


def test_no_more_is_handed_out_unacknowledged_than_prefetch(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=4)
    publish(broker, *numbered(10))

    held = take(subscription, 4, acknowledge=False)

    assert bodies(held) == ["0", "1", "2", "3"]
    assert nothing_comes(subscription)
    elsewhere = connect(broker_url).subscribe(ISSUING, prefetch=10)
    assert bodies(take(elsewhere, 6)) == ["4", "5", "6", "7", "8", "9"]


def test_acknowledging_makes_room_for_more(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=4)
    publish(broker, *numbered(50))

    assert bodies(take(subscription, 50)) == [str(number) for number in range(50)]


def test_an_acknowledgement_that_comes_late_or_twice_changes_nothing(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    subscription = broker.subscribe(ISSUING, prefetch=40)
    publish(broker, *numbered(80))
    generations: set[int] = set()

    for _ in range(20):
        older = subscription.next_batch(size=2, age=1.0, wait=SECONDS)
        newer = subscription.next_batch(size=2, age=1.0, wait=SECONDS)
        assert older is not None
        assert newer is not None
        generations |= {older.generation, newer.generation}
        for batch in (newer, newer, older):
            subscription.acknowledge(batch)

    assert len(generations) == 1
    broker.close(5.0)
    assert nothing_comes(connect(broker_url).subscribe(ISSUING, prefetch=100))


def test_subscriptions_share_a_queue(broker_url: str, connect: OpenBroker) -> None:
    subscriptions = [connect(broker_url).subscribe(ISSUING, prefetch=20) for _ in range(2)]
    publish(connect(broker_url), *numbered(200))
    seen: Counter[str] = Counter()

    def consume(subscription: Subscription) -> None:
        while (batch := subscription.next_batch(size=10, age=0.05, wait=2.0)) is not None:
            seen.update(bodies(batch.deliveries))
            subscription.acknowledge(batch)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(consume, subscriptions))

    assert seen == {str(number): 1 for number in range(200)}


def test_suspending_gives_everything_back_and_resuming_takes_it_again(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    publish(broker, *numbered(6))
    subscription = broker.subscribe(ISSUING, prefetch=10)
    wait_until(lambda: broker.ready, "consuming")
    batch = subscription.next_batch(size=3, age=1.0, wait=SECONDS)
    assert batch is not None

    subscription.suspend()

    assert nothing_comes(subscription)
    assert broker.ready
    # Its deliveries were given back, so this must have no effect.
    subscription.acknowledge(batch)
    subscription.resume()
    again = subscription.next_batch(size=6, age=60.0, wait=SECONDS)
    assert again is not None
    assert bodies(again.deliveries) == [str(number) for number in range(6)]
    assert again.generation > batch.generation


def test_what_a_suspended_worker_gave_back_another_gets(broker_url: str, connect: OpenBroker) -> None:
    suspended, other = connect(broker_url), connect(broker_url)
    publish(other, *numbered(6))
    subscription = suspended.subscribe(ISSUING, prefetch=10)
    take(subscription, 6, acknowledge=False)

    subscription.suspend()

    assert sorted(bodies(take(other.subscribe(ISSUING, prefetch=10), 6))) == [str(number) for number in range(6)]
    subscription.resume()
    assert nothing_comes(subscription)


def test_an_acknowledgement_just_before_suspending_counts(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    publish(broker, *numbered(4))
    subscription = broker.subscribe(ISSUING, prefetch=10)
    batch = subscription.next_batch(size=2, age=1.0, wait=SECONDS)
    assert batch is not None

    subscription.acknowledge(batch)
    subscription.suspend()
    subscription.resume()

    assert bodies(take(subscription, 2)) == ["2", "3"]
    assert nothing_comes(subscription)


def test_suspending_and_resuming_in_any_rhythm_loses_nothing(broker_url: str, connect: OpenBroker) -> None:
    broker = connect(broker_url)
    publish(broker, *numbered(100))
    subscription = broker.subscribe(ISSUING, prefetch=20)
    seen: set[str] = set()

    for turn in range(10):
        subscription.suspend()
        subscription.suspend()
        subscription.resume()
        if turn % 3 == 0:
            subscription.resume()
        seen |= set(bodies(take(subscription, 5)))

    while len(seen) < 100:
        seen |= set(bodies(take(subscription, 1)))
    assert nothing_comes(subscription)
