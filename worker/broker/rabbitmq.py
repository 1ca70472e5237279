"""RabbitMQ, 3.10 to 4.x, over two connections: one consumes, the other publishes.

Two, because a broker under an alarm stops reading from connections that publish; acknowledgements must still get
through. See `rabbitmq_consumer`, `rabbitmq_publisher`.
"""

import time
from collections.abc import Sequence
from concurrent.futures import Future

from schemas.topics import Topic
from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress
from worker.broker.port import Message, Outcome, Subscription
from worker.broker.rabbitmq_consumer import Consumer
from worker.broker.rabbitmq_publisher import Publisher
from worker.broker.rabbitmq_wire import silence_pika

#: Seconds on top of `close`'s timeout for the threads to end after their connection was dropped.
_GRACE = 5.0


class RabbitMQBroker:
    """Implements `worker.broker.port.Broker`."""

    def __init__(self, address: BrokerAddress, environment: Environment, shards: int = 0) -> None:
        """Prepare; nothing connects before `start`."""
        silence_pika()
        self._consumer = Consumer(address, environment, shards)
        self._publisher = Publisher(address, environment, shards)

    def start(self) -> None:
        """See `Broker.start`."""
        self._consumer.thread.start()
        self._publisher.thread.start()

    def subscribe(self, topic: Topic, *, prefetch: int) -> Subscription:
        """See `Broker.subscribe`."""
        return self._consumer.subscribe(topic, prefetch)

    def publish(self, messages: Sequence[Message]) -> Future[list[Outcome]]:
        """See `Broker.publish`. While there is no connection, messages wait for one, up to 30 seconds."""
        return self._publisher.publish(messages)

    @property
    def ready(self) -> bool:
        """See `Broker.ready`."""
        return self.refusal is None and self._consumer.ready and self._publisher.ready

    @property
    def refusal(self) -> str | None:
        """See `Broker.refusal`."""
        return self._consumer.thread.refusal or self._publisher.thread.refusal

    def close(self, timeout: float) -> None:
        """See `Broker.close`."""
        deadline = time.monotonic() + timeout
        self._consumer.close(timeout)
        self._publisher.close(timeout)
        for thread in (self._consumer.thread, self._publisher.thread):
            thread.join(max(0.0, deadline - time.monotonic()) + _GRACE)
        self._publisher.ended()
