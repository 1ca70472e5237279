"""Shards on RabbitMQ: where the requests of a topic that carry a taxpayer id are routed to, and which queues there are.

The number of shards may differ between two workers while a setting is changed. Then the one that connected last decides
where new requests go, and each consumes whatever shards it found, so that nothing stays where it was routed before.
A request that is routed both ways in between is answered twice with the same event: the database tells a repetition.
"""

from collections.abc import Callable, Mapping, Sequence

from schemas.topics import Topic, queue_name
from worker.broker.failures import NOT_FOUND, is_error, reply_code
from worker.broker.rabbitmq_wire import Channel, Connection
from worker.broker.topology import (
    EXCHANGE,
    SHARD_WEIGHT,
    event_binding_keys,
    shard_exchange,
    shard_queue,
    taxpayer_binding_key,
)


def declare_route(channel: Channel, topic: Topic, shards: int) -> None:
    """Lead a topic's requests with a taxpayer id to `shards` queues, or with 0 to the topic's own; others stay there.

    The new way is opened before the old one is closed, so that no request finds none.
    """
    exchange, key = shard_exchange(topic), taxpayer_binding_key(topic)
    _, any_key = event_binding_keys(topic)
    if shards == 0:
        channel.queue_bind(queue_name(topic), EXCHANGE, any_key, callback=_next)
        channel.exchange_unbind(exchange.name, EXCHANGE, key, callback=_next)
        return
    channel.exchange_declare(exchange.name, exchange.kind, durable=True, callback=_next)
    for number in range(1, shards + 1):
        shard = shard_queue(topic, number)
        channel.queue_declare(shard.name, durable=True, arguments=dict(shard.arguments), callback=_next)
        channel.queue_bind(shard.name, exchange.name, SHARD_WEIGHT, callback=_next)
    channel.exchange_bind(exchange.name, EXCHANGE, key, callback=_next)
    channel.queue_unbind(queue_name(topic), EXCHANGE, any_key, callback=_next)


class ShardSearch:
    """Finds the shards that stand: those of this worker's setting, and any beyond that an earlier setting left.

    What is beyond gets nothing new any more, but is consumed all the same. Ends as `TopologyDeclaration` does.
    """

    def __init__(
        self,
        connection: Connection,
        topics: Sequence[Topic],
        shards: int,
        *,
        on_done: Callable[[Mapping[Topic, Sequence[str]]], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        """Prepare it; `begin` sends the first call. The topology must stand."""
        self._connection = connection
        self._topics = list(topics)
        self._shards = shards
        self._on_done = on_done
        self._on_failed = on_failed
        self._found: dict[Topic, list[str]] = {}

    def begin(self) -> None:
        """Look for the shards of one topic after the other."""
        if not self._topics:
            self._on_done(self._found)
            return
        topic = self._topics.pop(0)
        self._found[topic] = [shard_queue(topic, number).name for number in range(1, self._shards + 1)]
        if self._connection.is_open:
            self._connection.channel(on_open_callback=lambda channel: self._look(channel, topic))

    def _look(self, channel: Channel, topic: Topic) -> None:
        """Ask for the next number until there is none: the answer to that closes the channel."""

        def ask() -> None:
            name = shard_queue(topic, len(self._found[topic]) + 1).name
            channel.queue_declare(name, passive=True, callback=lambda _: found(name))

        def found(name: str) -> None:
            self._found[topic].append(name)
            channel.queue_unbind(name, shard_exchange(topic).name, SHARD_WEIGHT, callback=lambda _: ask())

        channel.add_on_close_callback(self._answered)
        ask()

    def _answered(self, _channel: Channel, reason: BaseException) -> None:
        if reply_code(reason) == NOT_FOUND:
            self.begin()
        elif self._connection.is_open and is_error(reason):
            self._on_failed(reason)


def _next(_answer: object) -> None:
    """Let pika send the call that waits behind this answer."""
