"""A consumer as kombu's documentation teaches it: one message, one transaction, one confirmed publish, one ack.

`ConsumerProducerMixin` keeps one connection to consume and one to publish, both for ever; the publishing channel is in
confirm mode, so `publish` returns when the broker has taken the answer on.
"""

import signal
from collections.abc import Callable
from typing import Any

from kombu.connection import Connection
from kombu.entity import Queue
from kombu.message import Message
from kombu.messaging import Consumer, Producer
from kombu.mixins import ConsumerProducerMixin

from bench.servers import REQUESTS
from bench.wire import EVENTS, STRUCTURED, Request, answer, routing_key

#: Gives a request its number, committed when it returns, and the same one each time that it is asked.
Assign = Callable[[Request], str]


class OneByOne(ConsumerProducerMixin):
    """Consumes until SIGTERM."""

    def __init__(self, broker_url: str, prefetch: int, assign: Assign) -> None:
        """Nothing is connected yet."""
        self.connection = Connection(broker_url, transport_options={"confirm_publish": True})
        self._prefetch = prefetch
        self._assign = assign
        self._answers: Producer | None = None
        signal.signal(signal.SIGTERM, self._stop)

    def work(self) -> None:
        """Consume until SIGTERM."""
        self.run()  # type: ignore[no-untyped-call]

    def get_consumers(self, _consumer: type[Consumer], channel: Any) -> list[Consumer]:  # noqa: ANN401 -- kombu's
        """Consume the requests."""
        queue = Queue(REQUESTS, no_declare=True)
        return [Consumer(channel, [queue], on_message=self._handle, prefetch_count=self._prefetch)]

    def _handle(self, message: Message) -> None:
        """Bring about one message's effect, answer it, then let go of it."""
        request = Request.read(message.body)
        number = self._assign(request)
        if self._answers is None:
            self._answers = self.producer
        self._answers.publish(
            answer(request, number),
            exchange=EVENTS,
            routing_key=routing_key(request),
            content_type=STRUCTURED,
            content_encoding="utf-8",
            delivery_mode=2,
        )
        message.ack()

    def _stop(self, *_: object) -> None:
        self.should_stop = True
