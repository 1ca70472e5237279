"""What stands on the broker: exchanges, queues with their arguments, bindings, and the mark of the environment.

Every name and argument is the contract's, "On the broker". Declaring is idempotent; a broker that holds one of the
names with another argument refuses, and so do we (`Broker.refusal`), since arguments can't be changed afterwards.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from schemas.topics import CONSUMED, Topic, queue_name
from schemas.vocabulary import Environment

#: Requests and events go here.
EXCHANGE = "fuma"
#: What could not be read goes here, ours and the broker's own dead-lettering alike.
DEAD_EXCHANGE = "fuma.dead"
DEAD_LETTERS = "fuma.dead-letters"

#: Topics that bring a message for each invoice: their requests can be spread over shards, each taxpayer in one of them.
SHARDED = (Topic.INVOICE_ISSUING, Topic.INVOICE_OUTCOME)
#: All shards weigh the same: a consistent-hash exchange takes the weight of a queue as its binding key.
SHARD_WEIGHT = "1"

#: Never -1: 3.10 takes it as none allowed, 4.x as unlimited.
DELIVERY_LIMIT = 1_000
#: Looking at dead letters counts as deliveries too: high enough never to move a letter out of its queue.
DEAD_LETTER_DELIVERY_LIMIT = 1_000_000


@dataclass(frozen=True, slots=True)
class ExchangeDeclaration:
    """A durable exchange."""

    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class QueueDeclaration:
    """A durable queue, bound to one exchange with each of its binding keys."""

    name: str
    arguments: Mapping[str, str | int | bool]
    exchange: str
    binding_keys: tuple[str, ...]


def topic_queue(topic: Topic) -> QueueDeclaration:
    """Describe the queue that a topic is consumed from."""
    return QueueDeclaration(
        name=queue_name(topic),
        arguments=MappingProxyType(
            {
                "x-queue-type": "quorum",
                "x-delivery-limit": DELIVERY_LIMIT,
                "x-dead-letter-exchange": DEAD_EXCHANGE,
                "x-dead-letter-strategy": "at-least-once",
                "x-overflow": "reject-publish",
            },
        ),
        exchange=EXCHANGE,
        binding_keys=event_binding_keys(topic),
    )


def event_binding_keys(topic: Topic) -> tuple[str, str]:
    """Give the keys that catch a topic with and without a taxpayer id behind it."""
    return topic.value, f"{topic.value}.#"


def taxpayer_binding_key(topic: Topic) -> str:
    """Give the key that catches a topic only with something behind it: those of its requests that can be sharded."""
    return f"{topic.value}.*.#"


def shard_exchange(topic: Topic) -> ExchangeDeclaration:
    """Describe what spreads a topic's requests by their whole routing key, that is, by taxpayer id.

    The type comes with the plugin `rabbitmq_consistent_hash_exchange`, which RabbitMQ ships and doesn't enable.
    """
    return ExchangeDeclaration(f"{queue_name(topic)}.shards", "x-consistent-hash")


def shard_queue(topic: Topic, number: int) -> QueueDeclaration:
    """Describe a shard, counted from 1: as the topic's queue, but only one of its consumers is served at a time."""
    whole = topic_queue(topic)
    return QueueDeclaration(
        name=f"{_shard_prefix(topic)}{number}",
        arguments=MappingProxyType({**whole.arguments, "x-single-active-consumer": True}),
        exchange=shard_exchange(topic).name,
        binding_keys=(SHARD_WEIGHT,),
    )


def topic_of_queue(name: str) -> Topic | None:
    """Give the topic that is consumed from a queue, from one of its shards too; None for any other queue."""
    for topic in CONSUMED:
        if name == queue_name(topic) or (topic in SHARDED and name.startswith(_shard_prefix(topic))):
            return topic
    return None


def environment_exchange(environment: Environment) -> ExchangeDeclaration:
    """Describe the mark by which a worker records which environment a broker's virtual host serves."""
    return ExchangeDeclaration(f"fuma.environment.{environment.value}", "fanout")


def other_environments(environment: Environment) -> tuple[Environment, ...]:
    """Give the environments whose mark must not be found where this one's worker runs."""
    return tuple(other for other in Environment if other is not environment)


EXCHANGES = (ExchangeDeclaration(EXCHANGE, "topic"), ExchangeDeclaration(DEAD_EXCHANGE, "topic"))

#: The dead letters first: a queue that dead-letters must find where to.
QUEUES = (
    QueueDeclaration(
        name=DEAD_LETTERS,
        arguments=MappingProxyType({"x-queue-type": "quorum", "x-delivery-limit": DEAD_LETTER_DELIVERY_LIMIT}),
        exchange=DEAD_EXCHANGE,
        binding_keys=("#",),
    ),
    *(topic_queue(topic) for topic in CONSUMED),
)


def _shard_prefix(topic: Topic) -> str:
    return f"{queue_name(topic)}.shard-"
