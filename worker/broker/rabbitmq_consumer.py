"""The consuming connection: the topology first, then a channel for each subscription."""

from collections.abc import Mapping, Sequence

import structlog

from schemas.topics import Topic
from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress
from worker.broker.failures import describe, refusal_of_environment, refusal_of_topology
from worker.broker.rabbitmq_shards import ShardSearch
from worker.broker.rabbitmq_subscription import RabbitMQSubscription
from worker.broker.rabbitmq_thread import ConnectionThread
from worker.broker.rabbitmq_topology import TopologyDeclaration
from worker.broker.rabbitmq_wire import Connection
from worker.broker.topology import SHARDED

#: Bytes of bodies that may wait to be taken, over all subscriptions.
READ_AHEAD_BYTES = 64 * 1024 * 1024
#: Seconds before a queue that the broker took from us is declared and consumed again.
RECOVERY_PAUSE = 1.0

_log = structlog.get_logger()


class Consumer:
    """Owns the subscriptions and the connection that they consume over."""

    def __init__(self, address: BrokerAddress, environment: Environment, shards: int) -> None:
        """Prepare; nothing connects before `thread.start`."""
        self._address = address
        self._environment = environment
        self._shards = shards
        self.thread = ConnectionThread(address, "consuming", self)
        self._subscriptions: list[RabbitMQSubscription] = []
        self._found: Mapping[Topic, Sequence[str]] = {}
        self._connection: Connection | None = None
        self._declared = False

    @property
    def ready(self) -> bool:
        """Whether the topology stands and every subscription consumes or rests."""
        return self._declared and all(subscription.ready for subscription in self._subscriptions)

    def subscribe(self, topic: Topic, prefetch: int) -> RabbitMQSubscription:
        """Add a subscription, consuming as soon as there is a connection."""
        subscription = RabbitMQSubscription(
            topic,
            prefetch,
            call=self.thread.call,
            share=self._share,
            recover=self._recover,
        )
        self._subscriptions.append(subscription)
        self.thread.call(lambda: self._attach(subscription))
        return subscription

    def close(self, timeout: float) -> None:
        """Stop consuming, and let the acknowledgements out before the connection closes. Returns at once."""
        for subscription in self._subscriptions:
            subscription.close()
        self.thread.stop(timeout)

    # ------------------------------------------------------------------ the connection's thread

    def connected(self, connection: Connection) -> None:
        """Declare, then consume."""
        self._connection = connection
        self._declare(connection)

    def disconnected(self) -> None:
        """All channels are gone."""
        self._connection = None
        self._declared = False
        for subscription in self._subscriptions:
            subscription.detach()

    def tick(self) -> None:
        """Nothing here waits with a limit."""

    def ended(self) -> None:
        """Nothing will come any more."""
        for subscription in self._subscriptions:
            subscription.close()

    def _declare(self, connection: Connection) -> None:
        TopologyDeclaration(
            connection,
            self._environment,
            self._shards,
            on_done=lambda: self._search(connection),
            on_foreign=lambda other: self.thread.refuse(refusal_of_environment(other.value, self._address)),
            on_failed=self._not_declared,
        ).begin()

    def _search(self, connection: Connection) -> None:
        ShardSearch(
            connection,
            SHARDED,
            self._shards,
            on_done=self._consume,
            on_failed=self._not_declared,
        ).begin()

    def _consume(self, found: Mapping[Topic, Sequence[str]]) -> None:
        self._found = found
        self._declared = True
        for subscription in self._subscriptions:
            self._attach(subscription)

    def _attach(self, subscription: RabbitMQSubscription) -> None:
        if self._declared and self._connection is not None:
            subscription.attach(self._connection, self._found.get(subscription.topic, ()))

    def _not_declared(self, reason: BaseException) -> None:
        refusal = refusal_of_topology(reason, self._address)
        if refusal is None:
            _log.warning("broker-topology-failed", reason=describe(reason))
            self.thread.drop("the topology could not be declared")
        else:
            self.thread.refuse(refusal)

    def _recover(self, _subscription: RabbitMQSubscription) -> None:
        connection = self._connection
        if connection is not None:
            self._declared = False
            connection.ioloop.call_later(RECOVERY_PAUSE, lambda: self._declare_again(connection))

    def _declare_again(self, connection: Connection) -> None:
        if connection is self._connection and connection.is_open and not self._declared:
            self._declare(connection)

    def _share(self) -> int:
        return READ_AHEAD_BYTES // max(1, len(self._subscriptions))
