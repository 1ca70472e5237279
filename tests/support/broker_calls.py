"""What tests of a broker do again and again: publish numbered messages, take a number of deliveries."""

from collections.abc import Sequence

from schemas.topics import Topic
from worker.broker.port import Broker, Delivery, Message, Outcome, Subscription
from worker.broker.topology import EXCHANGE

ISSUING = Topic.INVOICE_ISSUING
KEY = "invoice-issuing.91350100M000100Y43"
#: Long enough for a broker that has to come back first.
SECONDS = 60.0


def message(body: str = "{}", *, key: str = KEY, message_id: str | None = None, exchange: str = EXCHANGE) -> Message:
    return Message(exchange, key, body.encode(), "application/cloudevents+json", message_id=message_id)


def publish(broker: Broker, *messages: Message) -> list[Outcome]:
    return broker.publish(messages).result(SECONDS)


def numbered(count: int, *, begin: int = 0) -> list[Message]:
    return [message(str(number), message_id=f"id-{number}") for number in range(begin, begin + count)]


def take(subscription: Subscription, count: int, *, acknowledge: bool = True) -> list[Delivery]:
    """Take exactly `count` deliveries, in as many batches as it needs."""
    taken: list[Delivery] = []
    while len(taken) < count:
        batch = subscription.next_batch(size=count - len(taken), age=0.05, wait=SECONDS)
        assert batch is not None, f"{len(taken)} of {count} deliveries came"
        taken.extend(batch.deliveries)
        if acknowledge:
            subscription.acknowledge(batch)
    return taken


def bodies(deliveries: Sequence[Delivery]) -> list[str]:
    return [delivery.body.decode() for delivery in deliveries]


def nothing_comes(subscription: Subscription) -> bool:
    return subscription.next_batch(size=10, age=0.0, wait=0.3) is None
