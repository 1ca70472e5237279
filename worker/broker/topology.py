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
    arguments: Mapping[str, str | int]
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
