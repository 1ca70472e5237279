"""A channel for commands: one message at a time, published with its confirm or taken with an acknowledgement."""

from dataclasses import dataclass
from typing import Any

from amqp import spec
from amqp.exceptions import MessageNacked
from kombu.connection import Connection

from worker.broker.kombu_wire import CONFIRM_TIMEOUT
from worker.broker.memory_transport import MemoryChannel
from worker.broker.parcel import Parcel, parcel_of
from worker.broker.port import Outcome

_PERSISTENT = 2


@dataclass(frozen=True, slots=True)
class Taken:
    """A message that was taken and is neither acknowledged nor given back yet."""

    parcel: Parcel
    #: How many were left in the queue when this one was taken.
    left: int
    tag: Any


class CommandChannel:
    """Wraps kombu's channel, whichever transport it belongs to. Whatever kombu raises passes through."""

    def __init__(self, connection: Connection) -> None:
        """Open a channel on an established connection."""
        self._channel: Any = connection.channel()
        self._returned = False
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

    def take(self, queue: str) -> Taken | None:
        """Take the next message of a queue; None when it is empty."""
        message = self._channel.basic_get(queue, no_ack=False)
        if message is None:
            return None
        delivery_info = message.delivery_info
        in_memory = isinstance(self._channel, MemoryChannel)
        if in_memory:
            self._out[message.delivery_tag] = message
        return Taken(
            parcel=parcel_of(message),
            left=self._channel.waiting(queue) if in_memory else delivery_info["message_count"],
            tag=message.delivery_tag if in_memory else delivery_info["delivery_tag"],
        )

    def acknowledge(self, taken: Taken) -> None:
        """Remove a taken message from its queue."""
        self._channel.basic_ack(taken.tag)
        self._out.pop(taken.tag, None)

    def close(self, queue: str) -> None:
        """Give back what was taken from `queue` and not acknowledged, in its old place."""
        if isinstance(self._channel, MemoryChannel):
            self._channel.put_back(queue, self._out.values())
        else:
            # Closing alone gives back too, but only some time after the answer to it: the next to look at the queue
            # would find some of it missing.
            self._channel.basic_recover(requeue=True)
            self._channel.wait(spec.Basic.RecoverOk, timeout=CONFIRM_TIMEOUT)
        self._channel.close()

    def _note_return(self, *_arguments: object) -> None:
        self._returned = True


def _id_property(message_id: str | None) -> dict[str, str]:
    return {} if message_id is None else {"message_id": message_id}
