"""One topic's queue and its shards, consumed over a channel of its own.

The caller's side (`next_batch`, `acknowledge`, `suspend`, `resume`) touches only the read-ahead and a few flags under a
lock; whatever needs the channel is handed to the connection's thread.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog

from schemas.topics import Topic, queue_name
from worker.broker.failures import describe
from worker.broker.port import Delivery, DeliveryBatch
from worker.broker.rabbitmq_wire import Answered, Channel, Connection, Frame, Method, Properties, delivery_of
from worker.broker.read_ahead import ReadAhead

#: Weight of the newest body in the running mean of their sizes.
_NEWEST = 1 / 32

#: Deliveries that may be out before any was seen: a queue of large messages must not flood us at the start, since
#: giving them back means that what is in work is answered twice.
_FIRST_WINDOW = 64

#: Seconds between two looks at how the shards are spread over the processes.
SPREADING_PAUSE = 5.0

_log = structlog.get_logger()


@dataclass(slots=True)
class _Consuming:
    """The present channel, from the call that opens it until it is closed."""

    channel: Channel
    generation: int
    running: bool = False
    #: Deliveries that the broker may have out to us unacknowledged, of each queue.
    window: int = 0
    #: Our consumer's tag at each shard, and the newest at the queue itself.
    tags: dict[str, str] = field(default_factory=dict)
    #: Shards that brought a delivery since the last look: those of which this process is the one consumer served.
    served: set[str] = field(default_factory=set)
    #: How many of them this process kept, when it last looked.
    kept: int = 0


class RabbitMQSubscription:
    """Implements `worker.broker.port.Subscription`.

    The read-ahead is bounded in messages by `prefetch`, which the broker keeps, and in bytes by `share`, which it
    doesn't: there is no such limit in RabbitMQ. So when too many bytes wait, the channel is closed, which gives them
    back, and opened again with a window that fits messages of that size. The window grows back with an additional
    consumer on the same channel, which voids nothing. So it does at the beginning, too: the first window is small,
    since nobody knows yet how large messages are.

    Of a shard's consumers RabbitMQ serves one, and it goes on with that one when others come. So that a process that
    started later is served too, whoever has more than its share of the shards hands the rest on: it cancels its
    consumer there and stands behind those who wait. What it has in hand it still finishes.
    """

    def __init__(
        self,
        topic: Topic,
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
        self.topic = topic
        self.queue = queue_name(topic)
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
        self._shards: tuple[str, ...] = ()
        self._consuming: _Consuming | None = None
        self._next_window = min(prefetch, _FIRST_WINDOW)
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

    @property
    def shards_served(self) -> int:
        """See `Subscription.shards_served`."""
        consuming = self._consuming
        return 0 if consuming is None else consuming.kept

    # ------------------------------------------------------------------ the connection's thread

    def attach(self, connection: Connection, shards: Sequence[str]) -> None:
        """Consume over this connection; the queue and these shards of it exist."""
        self._connection = connection
        self._shards = tuple(shards)
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
        consuming.window = self._next_window
        for shard in self._shards:
            self._consume_shard(consuming, shard, lambda _: None)
        self._add_consumer(consuming, consuming.window)
        if self._shards:
            self._spread_later(consuming)

    def _add_consumer(self, consuming: _Consuming, window: int) -> None:
        """Let `window` more deliveries be out. The limit holds for consumers that begin after it was set."""

        def running(_answer: object) -> None:
            consuming.running = True

        consuming.channel.basic_qos(prefetch_count=window, callback=lambda _: None)
        delivered = partial(self._delivered, consuming.generation)
        consuming.tags[self.queue] = self._begin_consumer(consuming, self.queue, delivered, running)

    def _consume_shard(self, consuming: _Consuming, shard: str, then: Answered) -> None:
        """Stand at a shard, or at the queue itself, behind those who stand there already."""

        def delivered(deliveries: Sequence[Delivery]) -> None:
            consuming.served.add(shard)
            self._delivered(consuming.generation, deliveries)

        consuming.channel.basic_qos(prefetch_count=consuming.window, callback=lambda _: None)
        consuming.tags[shard] = self._begin_consumer(consuming, shard, delivered, then)

    def _begin_consumer(
        self,
        consuming: _Consuming,
        queue: str,
        delivered: Callable[[Sequence[Delivery]], None],
        then: Answered,
    ) -> str:
        """Consume a queue: what is plain comes many at once, anything else by pika, one by one. Gives its tag."""

        def by_pika(_channel: Channel, method: Method, properties: Properties, body: bytes) -> None:
            delivered([delivery_of(method, properties, body)])

        tag = consuming.channel.basic_consume(queue, by_pika, callback=then)
        if self._connection is not None:
            self._connection.tell_deliveries(consuming.channel.channel_number, tag, delivered)
        return tag

    def _stand_behind(self, consuming: _Consuming, shards: Sequence[str]) -> None:
        """Let the next one who waits at a shard be served; us again, with the present window, where nobody waits.

        One shard after the other: until the broker has answered, what still comes is given back at once.
        """
        if not shards or consuming is not self._consuming or not consuming.channel.is_open:
            return
        tag = consuming.tags[shards[0]]
        if self._connection is not None:
            self._connection.leave_to_pika(consuming.channel.channel_number, tag)
        # Or two processes that widened one after the other would both count it as theirs, and both hand it on.
        consuming.served.discard(shards[0])
        consuming.channel.basic_cancel(tag, callback=lambda _: None)
        self._consume_shard(consuming, shards[0], lambda _: self._stand_behind(consuming, shards[1:]))

    def _spread_later(self, consuming: _Consuming) -> None:
        if self._connection is not None:
            self._connection.ioloop.call_later(SPREADING_PAUSE, lambda: self._spread(consuming))

    def _spread(self, consuming: _Consuming) -> None:
        """Hand on the shards beyond our share. Each process consumes the queue itself once: its consumers tell."""

        def counted(frame: Frame) -> None:
            processes = max(1, frame.method.consumer_count)
            share = -(-len(self._shards) // processes)
            served, consuming.served = sorted(consuming.served & set(self._shards)), set()
            consuming.kept = min(len(served), share)
            self._stand_behind(consuming, served[share:])
            if len(served) > share:
                _log.info("broker-shards-handed-on", queue=self.queue, shards=len(served) - share, processes=processes)
            self._spread_later(consuming)

        if consuming is self._consuming and consuming.channel.is_open:
            consuming.channel.queue_declare(self.queue, passive=True, callback=counted)

    def _delivered(self, generation: int, deliveries: Sequence[Delivery]) -> None:
        mean = sum(len(delivery.body) for delivery in deliveries) / len(deliveries)
        self._mean_size += (mean - self._mean_size) * min(1.0, len(deliveries) * _NEWEST)
        waiting_bytes = self._ahead.put(generation, deliveries)
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
            added = window - consuming.window
            self._next_window = consuming.window = window
            if self._shards:
                # The queue's consumers tell how many processes there are: an additional one would count as another.
                self._stand_behind(consuming, (self.queue, *self._shards))
            else:
                self._add_consumer(consuming, added)

    def _fitting(self) -> int:
        """How many messages of the present size, of each queue, fill half of our share."""
        return int(self._share() / 2 / max(self._mean_size, 1.0) / (1 + len(self._shards)))

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
        if connection is not None:
            connection.forget(channel.channel_number)
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
