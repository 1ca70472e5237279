"""A broker inside the process, for the demo, drills and tests: `memory://name`, over kombu's in-memory transport.

It keeps the port's promises as far as one process can. `MemoryLack` lists what it can't, and the contract suite holds
each entry against RabbitMQ.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from enum import Enum

from kombu.connection import Connection
from kombu.transport import virtual

from schemas.topics import Topic, queue_name
from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress
from worker.broker.kombu_wire import BrokerError, declare_topology, open_connection
from worker.broker.memory_transport import MemoryChannel
from worker.broker.parcel import delivery_of
from worker.broker.port import Delivery, DeliveryBatch, Message, Outcome
from worker.broker.publication import require_publishable


class MemoryLack(Enum):
    """What RabbitMQ does and this broker doesn't."""

    #: Other processes can't reach it, and what is in it ends with the process: "confirmed" means "in the queue".
    OTHER_PROCESSES = "other-processes"
    #: A delivery that comes back again and again is never moved to the dead letters.
    DELIVERY_LIMIT = "delivery-limit"
    #: Queue arguments mean nothing to it, so a conflicting queue isn't noticed and no queue is ever full.
    QUEUE_ARGUMENTS = "queue-arguments"
    #: No user, no password, no permissions.
    ACCESS_CONTROL = "access-control"


class MemorySubscription:
    """Implements `worker.broker.port.Subscription` by taking from the queue when asked; nothing is read ahead."""

    def __init__(self, connection: Connection, queue: str, prefetch: int) -> None:
        """Take from `queue`; the queue must exist before the first batch is asked for."""
        self._channel: MemoryChannel = connection.channel()
        self._queue = queue
        self._prefetch = prefetch
        self._lock = threading.Lock()
        self._out: deque[tuple[int, virtual.Message]] = deque()
        self._last_tag = 0
        self._generation = 1
        self._suspended = False
        self._closed = False

    def next_batch(self, *, size: int, age: float, wait: float) -> DeliveryBatch | None:
        """See `Subscription.next_batch`. A delivery's age counts from its being taken here."""
        give_up = time.monotonic() + wait
        taken: list[Delivery] = []
        generation = self._generation
        while len(taken) < size:
            left = give_up - time.monotonic()
            delivery = self._take(generation, max(0.0, left))
            if self._generation != generation or self._closed:
                return None
            if delivery is not None:
                give_up = give_up if taken else time.monotonic() + age
                taken.append(delivery)
            elif left <= 0:
                break
        return DeliveryBatch(tuple(taken), generation) if taken else None

    def acknowledge(self, batch: DeliveryBatch) -> None:
        """See `Subscription.acknowledge`. One by one: kombu's transport ignores `multiple`."""
        last = batch.deliveries[-1].tag
        with self._lock:
            if batch.generation != self._generation:
                return
            while self._out and self._out[0][0] <= last:
                self._channel.basic_ack(self._out.popleft()[1].delivery_tag)
        self._channel.wake()

    @property
    def shards_served(self) -> int:
        """See `Subscription.shards_served`: there are none."""
        return 0

    def suspend(self) -> None:
        """See `Subscription.suspend`."""
        self._suspended = True
        self._give_back()

    def resume(self) -> None:
        """See `Subscription.resume`."""
        self._suspended = False
        self._channel.wake()

    def close(self) -> None:
        """Give back what is out, and take nothing more."""
        self._closed = True
        self._give_back()

    def _take(self, generation: int, wait: float) -> Delivery | None:
        """Take one message. None when there was none in time, or something changed that is worth another look."""
        with self._channel.arrival:
            if self._suspended or self._closed or len(self._out) >= self._prefetch:
                self._channel.arrival.wait(wait)
                return None
            message = self._channel.take(self._queue, 0)
            if message is None:
                self._channel.arrival.wait(wait)
                return None
            return self._handed_out(generation, message)

    def _handed_out(self, generation: int, message: virtual.Message) -> Delivery | None:
        with self._lock:
            if generation != self._generation:
                self._channel.put_back(self._queue, [message])
                return None
            self._last_tag += 1
            self._out.append((self._last_tag, message))
            return delivery_of(message, self._last_tag)

    def _give_back(self) -> None:
        with self._channel.arrival, self._lock:
            self._generation += 1
            self._channel.put_back(self._queue, [message for _, message in self._out])
            self._out.clear()


class MemoryBroker:
    """Implements `worker.broker.port.Broker`. It has no threads: publishing and taking happen in the caller's."""

    def __init__(self, address: BrokerAddress, environment: Environment) -> None:
        """Open a channel; the topology is declared at `start`."""
        self._address = address
        self._environment = environment
        self._connection = open_connection(address)
        self._channel: MemoryChannel = self._connection.channel()
        self._publishing = threading.Lock()
        self._subscriptions: list[MemorySubscription] = []
        self._running = False
        self._refusal: str | None = None

    def start(self) -> None:
        """See `Broker.start`."""
        try:
            declare_topology(self._connection, self._address, self._environment)
        except BrokerError as error:
            self._refusal = str(error)
        else:
            self._running = True

    def subscribe(self, topic: Topic, *, prefetch: int) -> MemorySubscription:
        """See `Broker.subscribe`."""
        subscription = MemorySubscription(self._connection, queue_name(topic), prefetch)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, messages: Sequence[Message]) -> Future[list[Outcome]]:
        """See `Broker.publish`. The future comes back with its result; `UNKNOWN` before `start` and after `close`."""
        for message in messages:
            require_publishable(message)
        future: Future[list[Outcome]] = Future()
        with self._publishing:
            future.set_result([self._outcome(message) for message in messages])
        return future

    @property
    def ready(self) -> bool:
        """See `Broker.ready`."""
        return self._running

    @property
    def refusal(self) -> str | None:
        """See `Broker.refusal`."""
        return self._refusal

    def close(self, timeout: float) -> None:  # noqa: ARG002  # nothing here takes time
        """See `Broker.close`. What the queues hold stays for the next broker of this name in the process."""
        with self._publishing:
            self._running = False
        for subscription in self._subscriptions:
            subscription.close()
        self._connection.release()

    def _outcome(self, message: Message) -> Outcome:
        if not self._running:
            return Outcome.UNKNOWN
        if not self._channel.routes(message.exchange, message.routing_key):
            return Outcome.UNROUTABLE
        self._channel.basic_publish(
            self._channel.prepare_message(
                message.body,
                content_type=message.content_type,
                content_encoding=message.content_encoding,
                headers=dict(message.headers),
                properties={"delivery_mode": 2, "message_id": message.message_id},
            ),
            exchange=message.exchange,
            routing_key=message.routing_key,
        )
        return Outcome.CONFIRMED
