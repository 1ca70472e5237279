"""The ceiling of the wire: consumes and publishes again, confirmed, and does nothing else.

Written as pika's documentation advises for speed: `SelectConnection`, all on one thread, publishes pipelined, a
delivery acknowledged when the broker has confirmed what was published for it, many of them by one `multiple`.

    python -m bench.relay amqp://…
"""

import signal
import sys
from collections.abc import Callable
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from bench.servers import REQUESTS
from worker.broker.topology import EXCHANGE

ROUTING_KEY = "number-assigned.91440300587908164C"
PREFETCH = 2000
#: Deliveries acknowledged by one call at most; fewer when nothing more is under way.
ACK_EVERY = 200

#: Makes the answer to a request.
Answer = Callable[[bytes], bytes]


class Relay:
    """One connection: deliveries in, publications out."""

    def __init__(self, url: str, answer: Answer) -> None:
        """Connect; `run` does the work."""
        self._answer = answer
        self._published = 0
        self._confirmed = 0
        #: Confirmed one by one, with others before them still under way.
        self._ahead: set[int] = set()
        self._acknowledged = 0
        self._properties = BasicProperties(content_type="application/cloudevents+json", delivery_mode=2)
        self._channel: Any = None
        self._connection = SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
        )

    def run(self) -> None:
        """Relay until SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._connection.ioloop.add_callback_threadsafe(self._stop))
        self._connection.ioloop.start()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.confirm_delivery(self._settled)
        channel.basic_qos(prefetch_count=PREFETCH)
        channel.basic_consume(REQUESTS, self._delivered)

    def _delivered(self, channel: Channel, _how: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        # Deliveries and publications are numbered alike: one channel, one publication for each delivery, in order.
        channel.basic_publish(EXCHANGE, ROUTING_KEY, self._answer(body), self._properties)
        self._published += 1

    def _settled(self, frame: Method) -> None:
        if not isinstance(frame.method, Basic.Ack):
            message = "the broker refused a publication"
            raise RuntimeError(message)  # noqa: TRY004 -- no mistake of types: the broker said no
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            self._confirmed = max(self._confirmed, tag)
        else:
            self._ahead.add(tag)
        while self._confirmed + 1 in self._ahead:
            self._confirmed += 1
            self._ahead.remove(self._confirmed)
        waiting = self._confirmed - self._acknowledged
        if waiting >= ACK_EVERY or (waiting and self._confirmed == self._published):
            self._channel.basic_ack(self._confirmed, multiple=True)
            self._acknowledged = self._confirmed

    def _stop(self) -> None:
        self._connection.add_on_close_callback(lambda *_: self._connection.ioloop.stop())
        self._connection.close()


def main() -> None:
    """Relay each request as it is."""
    Relay(sys.argv[1], lambda body: body).run()


if __name__ == "__main__":
    main()
