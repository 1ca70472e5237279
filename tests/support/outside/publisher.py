"""A plain pika publisher: persistent, mandatory, with pipelined confirms."""

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.exchange_type import ExchangeType
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from tests.support.outside.envelopes import Outgoing

_WINDOW = 1000


@dataclass
class _Run:
    """One call of `publish`: what is still to be sent, what is on its way, what came back."""

    waiting: list[Outgoing]
    in_flight: dict[int, Outgoing] = field(default_factory=dict)
    returned: list[Outgoing] = field(default_factory=list)
    nacked: list[Outgoing] = field(default_factory=list)
    by_message_id: dict[str, Outgoing] = field(default_factory=dict)
    done: threading.Event = field(default_factory=threading.Event)


class Publisher:
    """A confirming channel on a thread of its own. `publish` may be called from one thread at a time."""

    def __init__(self, url: str) -> None:
        """Connect, and declare the exchange `fuma` as the contract has it."""
        self._ready = threading.Event()
        self._trouble: BaseException | str | None = None
        self._channel: Any = None
        self._run: _Run | None = None
        self._next_tag = 1
        self._connection = SelectConnection(
            pika.URLParameters(url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=lambda _connection, error: self._fail(error),
            on_close_callback=lambda _connection, reason: self._closed(reason),
        )
        self._thread = threading.Thread(target=self._connection.ioloop.start, name="outside-publisher", daemon=True)
        self._thread.start()
        if not self._ready.wait(20) or self._trouble:
            message = f"the outside publisher has no channel: {self._trouble}"
            raise AssertionError(message)

    def publish(self, messages: Iterable[Outgoing], *, within: float = 120) -> list[Outgoing]:
        """Publish all in order and wait for every confirm; give back those that no queue is bound for.

        Raises AssertionError where the broker refused one, or did not confirm all within the seconds given.
        """
        run = _Run(waiting=list(messages)[::-1])
        if not run.waiting:
            return []
        self._run = run
        self._connection.ioloop.add_callback_threadsafe(self._pump)
        confirmed = run.done.wait(within)
        self._run = None
        assert self._trouble is None, f"the publishing channel closed: {self._trouble}"
        assert confirmed, f"{len(run.in_flight) + len(run.waiting)} messages not confirmed within {within} s"
        assert not run.nacked, f"{len(run.nacked)} messages refused by the broker"
        return run.returned

    def send(self, *messages: Outgoing) -> None:
        """Publish, and insist that each was routed to a queue."""
        returned = self.publish(messages)
        assert not returned, f"no queue is bound for {[message.routing_key for message in returned]}"

    def close(self) -> None:
        """Disconnect and end the thread."""
        if self._thread.is_alive():
            self._connection.ioloop.add_callback_threadsafe(self._begin_close)
            self._thread.join(10)
        if not self._thread.is_alive():
            self._connection.ioloop.close()

    def _begin_close(self) -> None:
        if self._connection.is_open:
            self._connection.close()
        else:
            self._connection.ioloop.stop()

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _channel, reason: self._fail(reason))
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed)
        channel.exchange_declare("fuma", ExchangeType.topic, durable=True, callback=lambda _frame: self._ready.set())

    def _closed(self, reason: BaseException) -> None:
        if not self._ready.is_set():
            self._fail(reason)
        self._connection.ioloop.stop()

    def _fail(self, reason: BaseException | str) -> None:
        if "Normal shutdown" not in str(reason):
            self._trouble = reason
        self._ready.set()
        if self._run:
            self._run.done.set()

    def _pump(self) -> None:
        run = self._run
        if run is None:
            return
        while run.waiting and len(run.in_flight) < _WINDOW:
            message = run.waiting.pop()
            run.in_flight[self._next_tag] = message
            run.by_message_id[message.message_id] = message
            self._next_tag += 1
            self._channel.basic_publish(
                message.exchange,
                message.routing_key,
                message.body,
                BasicProperties(
                    content_type=message.content_type,
                    content_encoding=message.content_encoding,
                    headers=dict(message.headers) or None,
                    message_id=message.message_id,
                    delivery_mode=2,
                ),
                mandatory=True,
            )

    def _returned(self, _channel: Channel, _method: Basic.Return, properties: BasicProperties, _body: bytes) -> None:
        if self._run and properties.message_id in self._run.by_message_id:
            self._run.returned.append(self._run.by_message_id[properties.message_id])

    def _confirmed(self, frame: Method) -> None:
        run = self._run
        if run is None:
            return
        tag = frame.method.delivery_tag
        tags = [each for each in run.in_flight if each <= tag] if frame.method.multiple else [tag]
        for each in tags:
            message = run.in_flight.pop(each)
            if frame.method.NAME != "Basic.Ack":
                run.nacked.append(message)
        if run.waiting:
            self._pump()
        elif not run.in_flight:
            run.done.set()
