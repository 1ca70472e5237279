"""A channel for commands: one message at a time, published with its confirm or taken with an acknowledgement."""

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import MessageNacked
from kombu.connection import Connection

from worker.broker.kombu_wire import CONFIRM_TIMEOUT
from worker.broker.memory_transport import MemoryChannel
from worker.broker.parcel import Parcel, parcel_of
from worker.broker.port import Outcome

_PERSISTENT = 2
#: Seconds without a message after which others have taken the rest.
_SILENCE = 5.0
#: Messages that the first consumer of a queue may hold; what each later one may at least, and at most, for AMQP has no
#: larger number.
_FIRST_SHARE, _SMALLEST_SHARE, _LARGEST_SHARE = 500, 16, 65_535
#: Bytes that may be on their way to a consumer: the broker has them ready in its memory.
_MOST_ON_THE_WAY = 64 * 1024 * 1024
#: Seconds between the looks whether all is back, and how long they go on.
_STEP, _LONGEST_RETURN = 0.02, 5.0


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken and is neither acknowledged nor given back yet."""

    parcel: Parcel
    tag: Any


@dataclass(slots=True)
class _Share:
    """What one consumer was sent."""

    tag: str
    #: How many more it may be sent, and how many of them it holds.
    room: int
    held: int = 0


class _Consumers:
    """Takes a queue's messages in their order, by one consumer after the other.

    A quorum queue lets a consumer hold 2,000 messages, or up to 65,535 where it says so, and sends no more to it: so
    the next consumer begins where one is full. What comes back comes behind what never was taken: so all is taken,
    also by who looks at the first ones only. When the channel ends, RabbitMQ gives back what each consumer holds, in
    the order of their names (of up to 32: some millions of small messages).
    Who is killed before all was taken, and more than the first share, leaves that behind the rest.
    """

    def __init__(self, connection: Connection, channel: Any, queue: str, messages: int) -> None:  # noqa: ANN401  # py-amqp's
        """Take the first so many messages of the queue."""
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._wanted = messages
        self._arrived: deque[Any] = deque()
        self._shares: list[_Share] = []
        self._sent = self._bytes = 0

    def next(self) -> Any | None:  # noqa: ANN401  # py-amqp's message
        """Give the next message; None where it was the last, or others have taken the rest meanwhile."""
        while not self._arrived:
            if self._sent == self._wanted or not self._wait():
                return None
        return self._arrived.popleft()

    def acknowledge(self, tag: int) -> None:
        """Remove the message that was given last from its queue."""
        self._channel.basic_ack(tag)
        self._shares[-1].held -= 1
        self._shares[-1].room += 1

    def give_up(self) -> int:
        """Have no more sent, so that the channel can end and all come back in its order; tells how many are held."""
        while self._sent < self._wanted and self._wait():
            self._arrived.clear()
        for share in self._shares:
            self._channel.basic_cancel(share.tag)
        return sum(share.held for share in self._shares)

    def _wait(self) -> bool:
        """Wait for what comes next; False where nothing does."""
        if not self._shares or not self._shares[-1].room:
            self._begin()
        try:
            self._connection.drain_events(timeout=_SILENCE)
        except TimeoutError:
            return False
        return True

    def _begin(self) -> None:
        """Begin with another consumer: of large messages it may be sent fewer."""
        if self._shares:
            by_size = _MOST_ON_THE_WAY * self._sent // max(self._bytes, 1)
            room = min(max(min(self._sent, by_size), _SMALLEST_SHARE), _LARGEST_SHARE)
        else:
            room = _FIRST_SHARE
        share = _Share(f"fuma-{len(self._shares):06}", room)
        self._shares.append(share)
        self._channel.basic_qos(prefetch_size=0, prefetch_count=room, a_global=False)
        self._channel.basic_consume(self._queue, consumer_tag=share.tag, callback=self._keep)

    def _keep(self, message: Any) -> None:  # noqa: ANN401  # py-amqp's message
        share = self._shares[-1]
        share.room -= 1
        share.held += 1
        self._sent += 1
        self._bytes += len(message.body)
        self._arrived.append(message)


class CommandChannel:
    """Wraps kombu's channel, whichever transport it belongs to. Whatever kombu raises passes through."""

    def __init__(self, connection: Connection) -> None:
        """Open a channel on an established connection."""
        self._connection = connection
        self._channel: Any = connection.channel()
        self._returned = False
        self._consumers: _Consumers | None = None
        #: RabbitMQ itself remembers what is out, and takes it back when the channel closes.
        self._out: dict[Any, Any] = {}
        self._channel.events["basic_return"].add(self._note_return)

    def publish(self, exchange: str, routing_key: str, parcel: Parcel) -> Outcome:
        """Publish, persistent and mandatory, and wait for the confirm. `UNKNOWN` where the broker refused it."""
        channel = self._channel
        if isinstance(channel, MemoryChannel) and not channel.routes(exchange, routing_key):
            return Outcome.UNROUTABLE
        self._returned = False
        message = channel.prepare_message(
            parcel.body,
            content_type=parcel.content_type,
            content_encoding=parcel.content_encoding,
            headers=dict(parcel.headers),
            properties={"delivery_mode": _PERSISTENT, **_id_property(parcel.message_id)},
        )
        try:
            channel.basic_publish(
                message,
                exchange=exchange,
                routing_key=routing_key,
                mandatory=True,
                confirm_timeout=CONFIRM_TIMEOUT,
            )
        except MessageNacked:
            return Outcome.UNKNOWN
        return Outcome.UNROUTABLE if self._returned else Outcome.CONFIRMED

    def take_all(self, queue: str) -> Iterator[Taken]:
        """Take what lies in a queue now, in its order, each once; ends early where others take some of it meanwhile.

        Nothing else may be done with this channel's connection until the end but to acknowledge.
        """
        if isinstance(self._channel, MemoryChannel):
            yield from self._take_from_memory(self._channel, queue)
            return
        there = self._channel.queue_declare(queue, passive=True).message_count
        # As a consumer: what many single gets hold comes back in no order.
        self._consumers = _Consumers(self._connection, self._channel, queue, there)
        while (message := self._consumers.next()) is not None:
            yield Taken(parcel_of(message), message.delivery_info["delivery_tag"])

    def _take_from_memory(self, channel: MemoryChannel, queue: str) -> Iterator[Taken]:
        for _ in range(channel.waiting(queue)):
            message = channel.basic_get(queue, no_ack=False)
            if message is None:
                return
            self._out[message.delivery_tag] = message
            yield Taken(parcel_of(message), message.delivery_tag)

    def acknowledge(self, taken: Taken) -> None:
        """Remove the message that was taken last from its queue."""
        if self._consumers is not None:
            self._consumers.acknowledge(taken.tag)
        else:
            self._channel.basic_ack(taken.tag)
            self._out.pop(taken.tag, None)

    def close(self, queue: str) -> None:
        """Give back what was taken from `queue` and not acknowledged, in its old place."""
        if isinstance(self._channel, MemoryChannel):
            self._channel.put_back(queue, self._out.values())
        held = 0 if self._consumers is None else self._consumers.give_up()
        self._channel.close()
        if held > 0:
            self._wait_for_return(queue, held)

    def _wait_for_return(self, queue: str, held: int) -> None:
        """RabbitMQ gives back some time after a channel's end: the next to look would find some of it missing."""
        channel: Any = self._connection.channel()
        ends_at = time.monotonic() + _LONGEST_RETURN
        while channel.queue_declare(queue, passive=True).message_count < held and time.monotonic() < ends_at:
            time.sleep(_STEP)
        channel.close()

    def _note_return(self, *_arguments: object) -> None:
        self._returned = True


def _id_property(message_id: str | None) -> dict[str, str]:
    return {} if message_id is None else {"message_id": message_id}
