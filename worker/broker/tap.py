"""See events live, without taking them from anybody: `fuma watch`.

A tap is a queue of its own that ends with its connection. What is published while it is away, it never sees.
"""

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import structlog
from amqp.exceptions import AMQPError
from kombu.connection import Connection

from schemas.topics import Topic
from worker.broker.address import BrokerAddress, BrokerUrlError
from worker.broker.failures import ACCESS_REFUSED, describe, reply_code
from worker.broker.kombu_wire import BROKER_ERRORS, BrokerError, connected, stands
from worker.broker.memory_transport import MemoryChannel
from worker.broker.parcel import delivery_of
from worker.broker.port import Delivery
from worker.broker.topology import EXCHANGE, EXCHANGES, event_binding_keys

#: Of a slow watcher the broker keeps this many events and drops the oldest, rather than fill its memory.
LONGEST_QUEUE = 10_000
#: Seconds between attempts to connect again.
RETRY_PAUSE = 2.0

_log = structlog.get_logger()


class Tap:
    """A context manager; connects on entering, and by itself again after a loss."""

    def __init__(self, url: str, topic: Topic | None = None) -> None:
        """Watch one topic, or everything that passes the exchange, requests included."""
        try:
            self._address = BrokerAddress.parse(url)
        except BrokerUrlError as error:
            raise BrokerError(str(error)) from None
        self._keys = ("#",) if topic is None else event_binding_keys(topic)
        self._arrived: deque[Delivery] = deque()
        self._count = 0
        self._resources = contextlib.ExitStack()
        self._connection: Connection | None = None
        self._channel: Any = None
        self._queue = ""

    def __enter__(self) -> Self:
        """Connect. `BrokerError` where there is no way to the broker."""
        self._connect()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Disconnect; the queue goes with it."""
        self._disconnect()

    def next(self, wait: float) -> Delivery | None:
        """Give the next event, waiting up to `wait` seconds. None when none came, also while the broker is away."""
        if self._arrived:
            return self._arrived.popleft()
        if self._connection is None:
            self._connect_again(wait)
            return None
        try:
            self._drain(self._connection, wait)
        except BROKER_ERRORS as error:
            _log.warning("tap-lost", reason=describe(error))
            self._disconnect()
        return self._arrived.popleft() if self._arrived else None

    def _drain(self, connection: Connection, wait: float) -> None:
        if isinstance(self._channel, MemoryChannel):
            message = self._channel.take(self._queue, wait)
            if message is not None:
                self._channel.basic_ack(message.delivery_tag)
                self._arrive(message)
            return
        connection.heartbeat_check()
        with contextlib.suppress(TimeoutError):
            connection.drain_events(timeout=wait)

    def _connect(self) -> None:
        with contextlib.ExitStack() as resources:
            connection = resources.enter_context(connected(self._address))
            try:
                _see_to_exchanges(connection)
                self._begin(connection.channel(), resources)
            except BROKER_ERRORS as error:
                reason = f"the broker {self._address} doesn't let itself be watched: {describe(error)}"
                raise BrokerError(reason) from None
            self._connection = connection
            self._resources = resources.pop_all()

    def _begin(self, channel: Any, resources: contextlib.ExitStack) -> None:  # noqa: ANN401
        self._queue = f"fuma.watch.{uuid4()}"
        channel.queue_declare(
            queue=self._queue,
            exclusive=True,
            auto_delete=True,
            arguments={"x-queue-type": "classic", "x-max-length": LONGEST_QUEUE, "x-overflow": "drop-head"},
        )
        for key in self._keys:
            channel.queue_bind(queue=self._queue, exchange=EXCHANGE, routing_key=key)
        if isinstance(channel, MemoryChannel):
            resources.callback(channel.remove_queue, self._queue, EXCHANGE, self._keys)
        else:
            channel.basic_consume(self._queue, no_ack=True, callback=self._arrive)
        self._channel = channel

    def _connect_again(self, wait: float) -> None:
        time.sleep(min(wait, RETRY_PAUSE))
        try:
            self._connect()
        except BrokerError:
            return
        _log.info("tap-regained")

    def _disconnect(self) -> None:
        self._connection = None
        self._channel = None
        with contextlib.suppress(*BROKER_ERRORS):
            self._resources.close()

    def _arrive(self, message: Any) -> None:  # noqa: ANN401  # of either transport
        self._count += 1
        self._arrived.append(delivery_of(message, self._count))


def _see_to_exchanges(connection: Connection) -> None:
    """Declare the exchanges, so that a watcher may come first; who may not is content with those that stand there."""
    channel: Any = connection.channel()
    try:
        for exchange in EXCHANGES:
            channel.exchange_declare(exchange=exchange.name, type=exchange.kind, durable=True, auto_delete=False)
        channel.close()
    except AMQPError as error:
        if reply_code(error) != ACCESS_REFUSED or not stands(connection, EXCHANGE):
            raise


def tap(url: str, topic: Topic | None = None) -> Iterator[Delivery]:
    """Give events as they come, for ever. `BrokerError` where there is no way to the broker at first."""
    with Tap(url, topic) as events:
        while True:
            event = events.next(wait=1.0)
            if event is not None:
                yield event
