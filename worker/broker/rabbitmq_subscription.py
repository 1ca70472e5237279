"""One topic's queue, consumed over a channel of its own.

The caller's side (`next_batch`, `acknowledge`, `suspend`, `resume`) touches only the read-ahead and a few flags under a
lock; whatever needs the channel is handed to the connection's thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from worker.broker.failures import describe
from worker.broker.port import Delivery, DeliveryBatch
from worker.broker.rabbitmq_wire import Channel, Connection, Method, Properties
from worker.broker.read_ahead import ReadAhead

#: Weight of the newest body in the running mean of their sizes.
_NEWEST = 1 / 32

_log = structlog.get_logger()


@dataclass(slots=True)
class _Consuming:
    """The present channel, from the call that opens it until it is closed."""

    channel: Channel
    generation: int
    running: bool = False
    #: Deliveries that the broker may have out to us unacknowledged, over all consumers of the channel.
    window: int = 0


class RabbitMQSubscription:
    """Implements `worker.broker.port.Subscription`.

    The read-ahead is bounded in messages by `prefetch`, which the broker keeps, and in bytes by `share`, which it
    doesn't: there is no such limit in RabbitMQ. So when too many bytes wait, the channel is closed, which gives them
    back, and opened again with a window that fits messages of that size. The window grows back with an additional
    consumer on the same channel, which voids nothing.
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        *,
        call: Callable[[Callable[[], None]], None],
        share: Callable[[], int],
        recover: Callable[["RabbitMQSubscription"], None],
    ) -> None:
        """Prepare it.

        `call` runs something on the connection's thread; `share` tells the bytes that may wait here;
        `recover` is told when the broker ended the channel or the consumer, to declare the queue and attach us again.
        """
        self.queue = queue
        self._prefetch = prefetch
        self._call = call
        self._share = share
        self._recover = recover
        self._ahead = ReadAhead()
        self._lock = threading.Lock()
        self._suspended = False
        self._closed = False
        self._pending_ack: tuple[int, int] | None = None
        self._last_ack: tuple[int, int] = (0, 0)
        # From here on: the connection's thread only.
        self._connection: Connection | None = None
        self._consuming: _Consuming | None = None
        self._next_window = prefetch
        self._mean_size = 0.0

    # ------------------------------------------------------------------ the caller's side

    def next_batch(self, *, size: int, age: float, wait: float) -> DeliveryBatch | None:
        """See `Subscription.next_batch`; a batch also closes at 16 MiB of bodies."""
        return self._ahead.take(size=size, age=age, wait=wait)

    def acknowledge(self, batch: DeliveryBatch) -> None:
        """See `Subscription.acknowledge`. Of several that wait for the connection's thread only the last is sent."""
        ack = (batch.generation, batch.deliveries[-1].tag)
        with self._lock:
            if batch.generation != self._ahead.generation or ack <= self._last_ack:
                return
            self._last_ack = ack
            waiting = self._pending_ack is not None
            self._pending_ack = ack
        if not waiting:
            self._call(self._send_ack)

    def suspend(self) -> None:
        """See `Subscription.suspend`."""
        with self._lock:
            self._suspended = True
        self._void(self._ahead.generation)
        self._call(self._settle)

    def resume(self) -> None:
        """See `Subscription.resume`."""
        with self._lock:
            self._suspended = False
        self._call(self._settle)

    def close(self) -> None:
        """Stop consuming for good: whoever waits for a batch gets none. Acknowledgements still pass."""
        self._closed = True
        self._ahead.close()

    @property
    def ready(self) -> bool:
        """Whether it consumes, or rests because it was asked to."""
        consuming = self._consuming
        return self._suspended or (consuming is not None and consuming.running)

    # ------------------------------------------------------------------ the connection's thread

    def attach(self, connection: Connection) -> None:
        """Consume over this connection; the queue exists."""
        self._connection = connection
        self._settle()

    def detach(self) -> None:
        """Forget the connection."""
        self._connection = None
        self._consuming = None
        with self._lock:
            self._ahead.void(self._ahead.generation)
            self._pending_ack = None

    def _settle(self) -> None:
        """Bring the channel to what is wanted: one for the present generation, or none."""
        consuming, connection = self._consuming, self._connection
        if consuming is not None:
            if self._suspended or consuming.generation != self._ahead.generation:
                self._send_ack()
                if consuming.channel.is_open:
                    consuming.channel.close()
        elif connection is not None and connection.is_open and not self._suspended and not self._closed:
            generation = self._ahead.generation
            channel = connection.channel(on_open_callback=lambda _: self._consume(generation))
            self._consuming = _Consuming(channel, generation)

    def _consume(self, generation: int) -> None:
        consuming = self._consuming
        if consuming is None:
            return
        consuming.channel.add_on_close_callback(self._channel_closed)
        consuming.channel.add_on_cancel_callback(self._cancelled_by_broker)
        if generation != self._ahead.generation:
            self._settle()
            return
        self._add_consumer(consuming, self._next_window)

    def _add_consumer(self, consuming: _Consuming, window: int) -> None:
        """Let `window` more deliveries be out. The limit holds for consumers that begin after it was set."""
        consuming.window += window
        generation = consuming.generation

        def delivered(_channel: Channel, method: Method, properties: Properties, body: bytes) -> None:
            self._delivered(generation, method, properties, body)

        def running(_answer: object) -> None:
            consuming.running = True

        channel = consuming.channel
        channel.basic_qos(prefetch_count=window, callback=lambda _: None)
        channel.basic_consume(self.queue, delivered, callback=running)

    def _delivered(self, generation: int, method: Method, properties: Properties, body: bytes) -> None:
        self._mean_size += (len(body) - self._mean_size) * _NEWEST
        waiting_bytes = self._ahead.put(
            generation,
            Delivery(
                tag=method.delivery_tag,
                body=body,
                content_type=properties.content_type,
                content_encoding=properties.content_encoding,
                headers=properties.headers or {},
                routing_key=method.routing_key,
                message_id=properties.message_id,
                redelivered=method.redelivered,
            ),
        )
        if waiting_bytes > self._share():
            self._narrow(waiting_bytes)

    def _narrow(self, waiting_bytes: int) -> None:
        waiting = len(self._ahead)
        consuming = self._consuming
        if consuming is None or waiting <= 1:
            return
        self._mean_size = waiting_bytes / waiting
        self._next_window = max(1, min(consuming.window // 2, self._fitting()))
        _log.warning("broker-read-ahead-narrowed", queue=self.queue, messages=self._next_window)
        self._void(consuming.generation)
        self._settle()

    def _widen(self, consuming: _Consuming) -> None:
        window = min(self._prefetch, self._fitting())
        if consuming.running and window >= 2 * consuming.window:
            self._add_consumer(consuming, window - consuming.window)
            self._next_window = consuming.window

    def _fitting(self) -> int:
        """How many messages of the present size fill half of our share."""
        return int(self._share() / 2 / max(self._mean_size, 1.0))

    def _send_ack(self) -> None:
        with self._lock:
            pending, self._pending_ack = self._pending_ack, None
        consuming = self._consuming
        if pending is None or consuming is None or not consuming.channel.is_open:
            return
        generation, tag = pending
        if generation == consuming.generation:
            consuming.channel.basic_ack(tag, multiple=True)
            if consuming.window < self._prefetch:
                self._widen(consuming)

    def _channel_closed(self, channel: Channel, reason: BaseException) -> None:
        consuming = self._consuming
        if consuming is None or consuming.channel is not channel:
            return
        self._consuming = None
        by_us = not self._void(consuming.generation)
        connection = self._connection
        if connection is None or not connection.is_open:
            return
        if by_us:
            self._settle()
        else:
            _log.warning("broker-channel-closed", queue=self.queue, reason=describe(reason))
            self._recover(self)

    def _cancelled_by_broker(self, _frame: object) -> None:
        """The queue was deleted, or its leader is gone: without a new consumer nothing would come any more."""
        consuming = self._consuming
        if consuming is None:
            return
        _log.warning("broker-consumer-cancelled", queue=self.queue)
        self._consuming = None
        self._void(consuming.generation)
        consuming.channel.close()
        self._recover(self)

    def _void(self, generation: int) -> bool:
        with self._lock:
            return self._ahead.void(generation)
