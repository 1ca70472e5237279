"""What the worker asks of a broker, whichever it is.

One `Broker` serves one process: it consumes some topics, publishes to the exchanges, and keeps itself connected.
Its methods may be called from any thread; none of them runs the caller's code on a thread of its own.

Delivery is at least once.
What is not acknowledged comes again, perhaps to another worker, perhaps with `redelivered` false: only a key in the
database tells a repetition from a first time.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType
from typing import NamedTuple, Protocol

from schemas.topics import Topic


class Delivery(NamedTuple):
    """One message as the broker handed it over; nothing of it was looked into."""

    #: Counts up from 1 on the channel that `DeliveryBatch.generation` names.
    tag: int
    body: bytes
    content_type: str | None
    content_encoding: str | None
    headers: Mapping[str, object]
    routing_key: str
    message_id: str | None
    #: The broker handed it out before: a hint for the log, never a proof.
    redelivered: bool


@dataclass(frozen=True, slots=True)
class DeliveryBatch:
    """Deliveries of one topic in the order of their queue, at least one."""

    deliveries: tuple[Delivery, ...]
    #: The channel they came by. Once it is gone their tags mean nothing, and the deliveries come again.
    generation: int


class Message(NamedTuple):
    """One message to publish: always persistent and always `mandatory`."""

    exchange: str
    routing_key: str
    body: bytes
    content_type: str
    headers: Mapping[str, str | int] = MappingProxyType({})
    message_id: str | None = None
    #: Only for a body that goes on as it came.
    content_encoding: str | None = None


class Outcome(Enum):
    """What became of one published message."""

    #: The broker has taken it over, on disk, in every queue that it was routed to.
    CONFIRMED = auto()
    #: No queue is bound for its routing key: the broker threw it away.
    UNROUTABLE = auto()
    #: Refused (a full queue), or the connection closed, or no answer in time. It may stand in a queue all the same,
    #: so it must be published again under the same `message_id`.
    UNKNOWN = auto()


class Subscription(Protocol):
    """The deliveries of one topic's queue. One thread at a time may take batches from it."""

    def next_batch(self, *, size: int, age: float, wait: float) -> DeliveryBatch | None:
        """Give what has come, waiting up to `wait` seconds for a first delivery.

        A batch closes at `size` deliveries, or when its oldest has been here for `age` seconds.
        None when nothing came, and while it is suspended or closed.
        """
        ...

    def acknowledge(self, batch: DeliveryBatch) -> None:
        """Tell the broker that this batch, and every batch taken before it, is done.

        Returns at once. Without effect where the batch's channel is gone: its deliveries come again.
        """
        ...

    @property
    def shards_served(self) -> int:
        """At how many of the topic's shards this process is the one consumer that is served; looked at now and then."""
        ...

    def suspend(self) -> None:
        """Stop consuming, and give back every delivery that is not acknowledged. Returns at once."""
        ...

    def resume(self) -> None:
        """Consume again after `suspend`."""
        ...


class Broker(Protocol):
    """A connection to a broker that heals itself."""

    def start(self) -> None:
        """Begin to connect, in the background and for ever. Returns at once."""
        ...

    def subscribe(self, topic: Topic, *, prefetch: int) -> Subscription:
        """Consume a topic's queue, with at most `prefetch` deliveries not acknowledged. Before or after `start`."""
        ...

    def publish(self, messages: Sequence[Message]) -> Future[list[Outcome]]:
        """Publish them in this order, and tell in the same order what became of each.

        The future comes to its result when every outcome is known, and never to an exception: whatever goes wrong with
        the connection is `Outcome.UNKNOWN`.
        """
        ...

    @property
    def ready(self) -> bool:
        """Whether it is connected, with its topology declared and every subscription consuming or suspended."""
        ...

    @property
    def refusal(self) -> str | None:
        """Why waiting can't help, in one line that says what to do; None as long as it can.

        Wrong credentials, a queue with other arguments, the other environment's broker. The process should end with it.
        """
        ...

    def close(self, timeout: float) -> None:
        """Stop consuming, wait up to `timeout` seconds for acknowledgements and confirms under way, and disconnect.

        Afterwards no thread of the broker is left, and every future has its result.
        """
        ...
