"""Consumes the answers, as a process of its own, and writes down when each came.

Its queue is a durable quorum queue, as an invoicing system's would be: an answer has come when the broker has it on
disk and has delivered it. Acknowledged many at a time, and read when none comes: who measures must take as little as
it can of the cores that it shares with those who are measured.

    python -m bench.subscriber amqp://… ANSWERS

Ends when the answers to so many requests have come, or at SIGTERM. Prints one JSON object: `arrived`, for each request
id the monotonic second at which its first answer came, and `numbers`, each request's number.
"""

import json
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import pika
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from bench.servers import ANSWERS
from worker.broker.port import Delivery
from worker.broker.rabbitmq_connection import PlainConnection

_PREFETCH = 1000
_ACK_SECONDS = 0.02


class Subscriber:
    """One consuming channel."""

    def __init__(self, url: str, expected: int) -> None:
        """Connect; `run` does the work."""
        self._expected = expected
        self._last_tag = 0
        self._acknowledged = 0
        #: What has come and is not read yet, with the second of its arrival.
        self._unread: list[tuple[float, bytes]] = []
        self._channel: Any = None
        self.arrived: dict[str, float] = {}
        self.numbers: dict[str, str] = {}
        self._connection = PlainConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def run(self) -> None:
        """Consume until all has come or SIGTERM."""
        signal.signal(signal.SIGTERM, lambda *_: self._connection.ioloop.add_callback_threadsafe(self._end))
        self._connection.ioloop.start()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.basic_qos(prefetch_count=_PREFETCH)
        tag = channel.basic_consume(ANSWERS, self._take)
        self._connection.tell_deliveries(channel.channel_number, tag, self._take_many)
        self._acknowledge()

    def _take(self, _channel: Channel, how: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        self._last_tag = how.delivery_tag
        self._unread.append((time.monotonic(), body))

    def _take_many(self, deliveries: Sequence[Delivery]) -> None:
        now = time.monotonic()
        self._last_tag = deliveries[-1].tag
        self._unread += [(now, delivery.body) for delivery in deliveries]

    def _read(self) -> None:
        for at, body in self._unread:
            read: Any = json.loads(body)
            for event in read if isinstance(read, list) else [read]:
                data = event["data"]
                self.arrived.setdefault(data["issue_request_id"], at)
                self.numbers[data["issue_request_id"]] = data["invoice_number"]
        self._unread = []

    def _acknowledge(self) -> None:
        if self._last_tag > self._acknowledged:
            self._channel.basic_ack(self._last_tag, multiple=True)
            self._acknowledged = self._last_tag
        elif self._unread:
            self._read()
        if len(self.arrived) >= self._expected:
            self._end()
            return
        self._connection.ioloop.call_later(_ACK_SECONDS, self._acknowledge)

    def _end(self) -> None:
        if self._connection.is_open:
            if self._last_tag > self._acknowledged:
                self._channel.basic_ack(self._last_tag, multiple=True)
                self._acknowledged = self._last_tag
            self._read()
            self._connection.close()


def main() -> None:
    """Write down arrivals."""
    subscriber = Subscriber(sys.argv[1], int(sys.argv[2]))
    subscriber.run()
    print(json.dumps({"arrived": subscriber.arrived, "numbers": subscriber.numbers}))  # noqa: T201 -- its result


if __name__ == "__main__":
    main()
