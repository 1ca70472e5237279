"""Declares the topology on a thread that must not wait: each answer of the broker leads to the next call."""

from collections.abc import Callable

from schemas.topics import queue_name
from schemas.vocabulary import Environment
from worker.broker.failures import NOT_FOUND, is_error, reply_code
from worker.broker.rabbitmq_shards import declare_route
from worker.broker.rabbitmq_wire import Channel, Connection
from worker.broker.topology import (
    EXCHANGES,
    QUEUES,
    SHARDED,
    environment_exchange,
    event_binding_keys,
    other_environments,
)


class TopologyDeclaration:
    """Sets up everything of `worker.broker.topology` once, and ends in exactly one of three ways.

    `on_done`; `on_foreign` with the other environment that the broker serves; `on_failed` with what closed the channel.
    None of them where the connection itself is lost: its user hears of that anyway.

    The mark of the other environment is looked for before ours is made, so that a worker with a wrong setting leaves
    no mark behind, and again afterwards, so that of two first workers at once at least one notices.
    """

    def __init__(
        self,
        connection: Connection,
        environment: Environment,
        shards: int,
        *,
        on_done: Callable[[], None],
        on_foreign: Callable[[Environment], None],
        on_failed: Callable[[BaseException], None],
    ) -> None:
        """Prepare it; `begin` sends the first call."""
        self._connection = connection
        self._environment = environment
        self._shards = shards
        self._on_done = on_done
        self._on_foreign = on_foreign
        self._on_failed = on_failed

    def begin(self) -> None:
        """Look for marks, declare, look again."""
        self._look_for_marks(lambda: self._declare(lambda: self._look_for_marks(self._on_done)))

    def _look_for_marks(self, then: Callable[[], None]) -> None:
        steps = then
        for other in other_environments(self._environment):
            steps = self._looking_for(other, steps)
        steps()

    def _looking_for(self, other: Environment, then: Callable[[], None]) -> Callable[[], None]:
        mark = environment_exchange(other)

        def look(channel: Channel) -> None:
            channel.add_on_close_callback(answered)
            channel.exchange_declare(mark.name, mark.kind, passive=True, callback=lambda _: self._on_foreign(other))

        def answered(channel: Channel, reason: BaseException) -> None:
            if reply_code(reason) == NOT_FOUND:
                then()
            else:
                self._refused(channel, reason)

        return lambda: self._open(look)

    def _declare(self, then: Callable[[], None]) -> None:
        # Whether a request with a taxpayer id goes to its topic's queue or to a shard is `declare_route`'s to say.
        routed = {(queue_name(topic), event_binding_keys(topic)[1]) for topic in SHARDED}

        def declare(channel: Channel) -> None:
            channel.add_on_close_callback(self._refused)
            for exchange in (*EXCHANGES, environment_exchange(self._environment)):
                channel.exchange_declare(exchange.name, exchange.kind, durable=True, callback=_next)
            for queue in QUEUES:
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments), callback=_next)
                for key in queue.binding_keys:
                    if (queue.name, key) not in routed:
                        channel.queue_bind(queue.name, queue.exchange, key, callback=_next)
            for topic in SHARDED:
                declare_route(channel, topic, self._shards)
            # The calls wait for each other, so the answer to this one comes after all of theirs.
            channel.basic_qos(prefetch_count=1, callback=lambda _: declared(channel))

        def declared(channel: Channel) -> None:
            channel.close()
            then()

        self._open(declare)

    def _refused(self, _channel: Channel, reason: BaseException) -> None:
        if self._connection.is_open and is_error(reason):
            self._on_failed(reason)

    def _open(self, then: Callable[[Channel], None]) -> None:
        if self._connection.is_open:
            self._connection.channel(on_open_callback=then)


def _next(_answer: object) -> None:
    """Let pika send the call that waits behind this answer."""
