"""Publishes requests, as a process of its own: on a schedule that waits for nobody, or so that work is always left.

    python -m bench.generator amqp://… REQUESTS TAXPAYERS SERIES RATE

With a RATE, request n goes out RATE requests a second after the first, whatever became of those before (open loop).
With the RATE 0, the queue is kept filled, which shows how much a worker can sustain with all others at work.
All frames are written before the first goes out: who measures must take as little as it can of the cores that it
shares with those who are measured.
Prints one JSON object: `began`, the monotonic second to which the schedule counts, and `late_ms`, by how much the
generator itself was behind it at most.
"""

import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import pika
from pika.channel import Channel
from pika.frame import Method

from bench.figures import intended
from bench.load import Load
from bench.servers import REQUESTS
from bench.wire import EVENTS, STRUCTURED
from worker.broker.port import Message
from worker.broker.rabbitmq_connection import PlainConnection
from worker.broker.rabbitmq_frames import Confirm, publish_frames

#: Between two looks at what is due, or at the queue.
_TICK = 0.001
_LOOK = 0.02
#: Requests that the queue is kept filled with; sent so many at once.
_FILLED = 3000
_PORTION = 1000


class Generator:
    """One confirming channel; ends when all is sent and confirmed."""

    def __init__(self, url: str, bodies: list[bytes], rate: float) -> None:
        """Connect; `run` does the work."""
        self._bodies = bodies
        self._rate = rate
        self._sent = 0
        self._confirmed = 0
        self._frames: list[bytes] = []
        self._channel: Any = None
        self.began = 0.0
        self.late = 0.0
        self._connection = PlainConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_close_callback=lambda connection, _reason: connection.ioloop.stop(),
        )

    def run(self) -> None:
        """Publish all, and wait for the confirms."""
        self._connection.ioloop.start()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.confirm_delivery(self._refused)
        self._connection.tell_confirms(channel.channel_number, self._confirmed_many)
        messages = (Message(EVENTS, "invoice-issuing", body, STRUCTURED) for body in self._bodies)
        self._frames = [
            publish_frames(channel.channel_number, message, self._connection.body_max_length) for message in messages
        ]
        self.began = time.monotonic() + 0.1
        (self._keep_time if self._rate else self._look)()

    def _keep_time(self) -> None:
        now = time.monotonic()
        due = self._sent
        while due < len(self._bodies) and intended(due, self.began, self._rate) <= now:
            due += 1
        if due > self._sent:
            self.late = max(self.late, now - intended(self._sent, self.began, self._rate))
            self._send(due)
        if self._sent < len(self._bodies):
            self._connection.ioloop.call_later(_TICK, self._keep_time)

    def _look(self) -> None:
        self._channel.queue_declare(REQUESTS, passive=True, callback=self._keep_filled)

    def _keep_filled(self, frame: Method) -> None:
        if frame.method.message_count < _FILLED:
            self._send(min(self._sent + _PORTION, len(self._bodies)))
        if self._sent < len(self._bodies):
            self._connection.ioloop.call_later(_LOOK, self._look)

    def _send(self, until: int) -> None:
        self._connection.write(self._frames[self._sent : until])
        self._sent = until

    def _refused(self, frame: Method) -> None:
        message = f"the broker refused a publication: {frame.method.NAME}"
        raise RuntimeError(message)

    def _confirmed_many(self, confirms: Sequence[Confirm]) -> None:
        self._confirmed = max(self._confirmed, *(confirm.delivery_tag for confirm in confirms))
        if self._confirmed == len(self._bodies):
            self._connection.close()


def main() -> None:
    """Publish a load."""
    url, requests, taxpayers, series, rate = sys.argv[1:]
    generator = Generator(url, list(Load(int(requests), int(taxpayers), series=series).requests()), float(rate))
    generator.run()
    print(json.dumps({"began": generator.began, "late_ms": generator.late * 1000}))  # noqa: T201 -- its result


if __name__ == "__main__":
    main()
