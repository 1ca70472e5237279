"""Shards by their names and arguments, and what they must never differ in from the contract's queues."""

from datetime import UTC, datetime

import pytest

from schemas.topics import CONSUMED, Topic, queue_name
from worker.broker.letters import read_letter
from worker.broker.parcel import Parcel
from worker.broker.topology import (
    QUEUES,
    SHARDED,
    event_binding_keys,
    shard_exchange,
    shard_queue,
    taxpayer_binding_key,
    topic_of_queue,
    topic_queue,
)


def matches(key: str, routing_key: str) -> bool:
    """Match as a topic exchange does: `*` is one word, `#` any number of them."""

    def match(pattern: list[str], words: list[str]) -> bool:
        if not pattern:
            return not words
        if pattern[0] == "#":
            return any(match(pattern[1:], words[at:]) for at in range(len(words) + 1))
        return bool(words) and pattern[0] in {"*", words[0]} and match(pattern[1:], words[1:])

    return match(key.split("."), routing_key.split("."))


@pytest.mark.parametrize("topic", SHARDED)
def test_a_shard_is_the_topics_queue_but_for_its_single_consumer(topic: Topic) -> None:
    shard = shard_queue(topic, 3)

    assert shard.name == f"fuma.{topic.value}.shard-3"
    assert shard.exchange == shard_exchange(topic).name == f"fuma.{topic.value}.shards"
    assert shard.arguments == {**topic_queue(topic).arguments, "x-single-active-consumer": True}


@pytest.mark.parametrize("topic", SHARDED)
def test_each_request_has_one_way_with_shards(topic: Topic) -> None:
    exact, any_key = event_binding_keys(topic)
    sharded = taxpayer_binding_key(topic)

    for routing_key in (f"{topic.value}.91350100M000100Y43", f"{topic.value}.a.b"):
        assert matches(sharded, routing_key)
        assert not matches(exact, routing_key)
        assert matches(any_key, routing_key)
    assert not matches(sharded, topic.value)
    assert matches(exact, topic.value)
    assert not matches(sharded, f"{topic.value}-other.X")


def test_a_queue_tells_its_topic() -> None:
    assert topic_of_queue("fuma.invoice-issuing") is Topic.INVOICE_ISSUING
    assert topic_of_queue("fuma.invoice-outcome.shard-12") is Topic.INVOICE_OUTCOME
    assert topic_of_queue("fuma.range-low.shard-1") is None
    assert topic_of_queue("fuma.dead-letters") is None
    assert all(topic_of_queue(queue_name(topic)) is topic for topic in CONSUMED)


def test_what_the_broker_took_out_of_a_shard_goes_back_to_the_topics_own_queue() -> None:
    died = {
        "queue": "fuma.invoice-issuing.shard-2",
        "reason": "delivery_limit",
        "time": datetime(2026, 1, 2, tzinfo=UTC),
    }

    letter = read_letter(1, Parcel(b"{}", None, None, {"x-death": [died]}, "id-1"))

    assert letter.topic == "invoice-issuing"
    assert letter.reason == "delivery-limit"
    assert letter.queue == "fuma.invoice-issuing"


def test_the_contracts_queues_are_those_without_shards() -> None:
    assert not [queue.name for queue in QUEUES if "shard" in queue.name]
