"""The publishing connection: messages out in order, confirms back in any, many under way at once."""

import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

import structlog

from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress
from worker.broker.failures import describe, refusal_of_environment, refusal_of_topology
from worker.broker.port import Message, Outcome
from worker.broker.publication import Publication, require_publishable
from worker.broker.rabbitmq_frames import Confirm, is_plain, publish_frames
from worker.broker.rabbitmq_thread import ConnectionThread
from worker.broker.rabbitmq_topology import TopologyDeclaration
from worker.broker.rabbitmq_wire import (
    Channel,
    Connection,
    Frame,
    Method,
    Properties,
    is_confirmed,
    properties_of,
)

#: Messages, and bytes of their bodies, sent and not yet confirmed; the rest waits here.
WINDOW = 2_000
WINDOW_BYTES = 8 * 1024 * 1024
#: Bytes that may wait or be under way; a publication that would go beyond is `UNKNOWN` at once, unless it is alone.
WAITING_BYTES = 64 * 1024 * 1024
#: Seconds from `publish` until what has no outcome yet is `UNKNOWN`.
CONFIRM_TIMEOUT = 30.0
#: Tells returned messages apart where their `message_id` can't.
TAG_HEADER = "x-fuma-tag"

#: Sending a few hundred at once is cheaper than one for each confirm.
_REFILL_AT = WINDOW * 3 // 4
_NO_HEADERS: Mapping[str, str | int] = {}

_log = structlog.get_logger()


class Publisher:
    """Owns what is to be published and the connection that it goes out by."""

    def __init__(self, address: BrokerAddress, environment: Environment, shards: int) -> None:
        """Prepare; nothing connects before `thread.start`."""
        self._address = address
        self._environment = environment
        self._shards = shards
        self.thread = ConnectionThread(address, "publishing", self)
        self._lock = threading.Lock()
        self._settled = threading.Condition(self._lock)
        # Under the lock.
        self._incoming: deque[Publication] = deque()
        self._open_publications = 0
        self._open_bytes = 0
        self._woken = False
        self._over = False
        # The connection's thread only.
        self._connection: Connection | None = None
        self._channel: Channel | None = None
        self._blocked = False
        self._queue: deque[Publication] = deque()
        self._oldest_first: deque[Publication] = deque()
        self._flight = _Flight()
        self._progress = 0.0

    @property
    def ready(self) -> bool:
        """Whether a message would go out now."""
        return self._channel is not None

    def publish(self, messages: Sequence[Message]) -> Future[list[Outcome]]:
        """See `Broker.publish`. Raises ValueError for what AMQP can't carry at all."""
        for message in messages:
            require_publishable(message)
        publication = Publication(messages, time.monotonic() + CONFIRM_TIMEOUT)
        with self._lock:
            fits = self._open_bytes + publication.size <= WAITING_BYTES or not self._open_publications
            accepted = fits and not self._over
            if accepted and messages:
                self._open_publications += 1
                self._open_bytes += publication.size
                self._incoming.append(publication)
                asleep, self._woken = not self._woken, True
            else:
                asleep = False
        if not accepted or not messages:
            publication.give_up()
        elif asleep:
            self.thread.call(self._pump)
        return publication.future

    def close(self, timeout: float) -> None:
        """Wait for the confirms under way, then let the connection close. What has no outcome by then is `UNKNOWN`."""
        deadline = time.monotonic() + timeout
        with self._settled:
            self._settled.wait_for(lambda: not self._open_publications, timeout)
        self.thread.stop(max(0.0, deadline - time.monotonic()))

    # ------------------------------------------------------------------ the connection's thread

    def connected(self, connection: Connection) -> None:
        """Declare, then open the channel."""
        self._connection = connection
        connection.add_on_connection_blocked_callback(self._block)
        connection.add_on_connection_unblocked_callback(self._unblock)
        TopologyDeclaration(
            connection,
            self._environment,
            self._shards,
            on_done=self._open_channel,
            on_foreign=lambda other: self.thread.refuse(refusal_of_environment(other.value, self._address)),
            on_failed=self._not_declared,
        ).begin()

    def disconnected(self) -> None:
        """What was under way has an unknown outcome; what waits goes on waiting."""
        self._connection = None
        self._channel = None
        self._blocked = False
        for publication, index in self._flight.drain():
            self._settle(publication, index, Outcome.UNKNOWN)

    def tick(self) -> None:
        """Give up what has waited too long, and a connection over which nothing moves."""
        now = time.monotonic()
        self._take_incoming()
        self._give_up_older_than(now)
        if self._flight and not self._blocked and now - self._progress > CONFIRM_TIMEOUT:
            _log.warning("broker-confirms-missing", messages=len(self._flight))
            self.thread.drop("no confirm in time")

    def ended(self) -> None:
        """Give every future its result; from now on publishing is `UNKNOWN` at once."""
        with self._lock:
            self._over = True
        self._give_up_older_than(float("inf"))

    def _not_declared(self, reason: BaseException) -> None:
        refusal = refusal_of_topology(reason, self._address)
        if refusal is None:
            _log.warning("broker-topology-failed", reason=describe(reason))
            self.thread.drop("the topology could not be declared")
        else:
            self.thread.refuse(refusal)

    def _open_channel(self) -> None:
        if self._connection is not None:
            self._connection.channel(on_open_callback=self._confirm_channel)

    def _confirm_channel(self, channel: Channel) -> None:
        def begin(_answer: object) -> None:
            self._channel = channel
            self._flight = _Flight()
            self._pump()

        channel.add_on_close_callback(self._channel_closed)
        channel.add_on_return_callback(self._returned)
        channel.confirm_delivery(self._confirmed_or_refused, begin)
        if self._connection is not None:
            self._connection.tell_confirms(channel.channel_number, self._confirmed)

    def _channel_closed(self, _channel: Channel, reason: BaseException) -> None:
        """An exchange is gone, or a message was beyond the broker's limit: a new connection declares anew."""
        self._channel = None
        connection = self._connection
        if connection is not None and connection.is_open:
            _log.warning("broker-channel-closed", queue="", reason=describe(reason))
            self.thread.drop("the publishing channel was closed")

    def _block(self, *_arguments: object) -> None:
        """An alarm of the broker: nothing more is written, so that nothing grows in the socket."""
        self._blocked = True
        _log.warning("broker-blocked")

    def _unblock(self, *_arguments: object) -> None:
        self._blocked = False
        self._progress = time.monotonic()
        _log.info("broker-unblocked")
        self._pump()

    def _take_incoming(self) -> None:
        with self._lock:
            self._woken = False
            incoming, self._incoming = self._incoming, deque()
        self._queue.extend(incoming)
        self._oldest_first.extend(incoming)

    def _pump(self) -> None:
        """Send what waits, as far as the window lets."""
        self._take_incoming()
        connection, channel = self._connection, self._channel
        if connection is None or channel is None or self._blocked or not channel.is_open or not self._queue:
            return
        if not self._flight:
            self._progress = time.monotonic()
        written: list[bytes] = []
        while self._queue and self._flight.has_room():
            publication = self._queue[0]
            index = publication.next_to_send()
            if index is None:
                self._queue.popleft()
            else:
                self._send(connection, channel, publication, index, written)
        connection.write(written)

    def _send(
        self,
        connection: Connection,
        channel: Channel,
        publication: Publication,
        index: int,
        written: list[bytes],
    ) -> None:
        """Add a message's frames to what is written, or send that and then, by pika, the message."""
        message = publication.messages[index]
        needs_header = self._flight.add(publication, index)
        if is_plain(message) and not needs_header:
            written.append(publish_frames(channel.channel_number, message, connection.body_max_length))
            return
        connection.write(written)
        written.clear()
        channel.basic_publish(
            message.exchange,
            message.routing_key,
            message.body,
            properties_of(message, {TAG_HEADER: self._flight.last_tag} if needs_header else _NO_HEADERS),
            mandatory=True,
        )

    def _confirmed(self, confirms: Sequence[Confirm]) -> None:
        for tag, multiple in confirms:
            self._answered(tag, Outcome.CONFIRMED, multiple=multiple)
        if self._queue and len(self._flight) <= _REFILL_AT:
            self._pump()

    def _confirmed_or_refused(self, frame: Frame) -> None:
        outcome = Outcome.CONFIRMED if is_confirmed(frame) else Outcome.UNKNOWN
        self._answered(frame.method.delivery_tag, outcome, multiple=frame.method.multiple)
        if self._queue and len(self._flight) <= _REFILL_AT:
            self._pump()

    def _answered(self, tag: int, outcome: Outcome, *, multiple: bool) -> None:
        self._progress = time.monotonic()
        for publication, index, returned in self._flight.take(tag, multiple=multiple):
            unroutable = returned and outcome is Outcome.CONFIRMED
            self._settle(publication, index, Outcome.UNROUTABLE if unroutable else outcome)

    def _returned(self, _channel: Channel, _method: Method, properties: Properties, _body: bytes) -> None:
        """The broker sends a message back that it could route nowhere, and its confirm afterwards."""
        tag = (properties.headers or {}).get(TAG_HEADER)
        self._flight.mark_returned(tag if isinstance(tag, int) else None, properties.message_id)

    def _settle(self, publication: Publication, index: int, outcome: Outcome) -> None:
        if publication.settle(index, outcome):
            self._finish(publication)

    def _finish(self, publication: Publication) -> None:
        with self._settled:
            self._open_publications -= 1
            self._open_bytes -= publication.size
            self._settled.notify_all()

    def _give_up_older_than(self, deadline: float) -> None:
        self._take_incoming()
        while self._oldest_first and (self._oldest_first[0].done or self._oldest_first[0].deadline <= deadline):
            publication = self._oldest_first.popleft()
            if publication.give_up():
                self._finish(publication)
        while self._queue and self._queue[0].done:
            self._queue.popleft()


class _Flight:
    """The messages sent over one channel and not yet confirmed, by their delivery tag."""

    def __init__(self) -> None:
        self.last_tag = 0
        self._oldest = 1
        self._bytes = 0
        #: With the message id where it alone tells the message from all others under way.
        self._by_tag: dict[int, tuple[Publication, int, str | None]] = {}
        self._tag_of_id: dict[str, int] = {}
        self._returned: set[int] = set()

    def __len__(self) -> int:
        return len(self._by_tag)

    def has_room(self) -> bool:
        return len(self._by_tag) < WINDOW and self._bytes < WINDOW_BYTES

    def add(self, publication: Publication, index: int) -> bool:
        """Number the next message. True where its id doesn't tell it from another under way."""
        self.last_tag += 1
        message = publication.messages[index]
        self._bytes += len(message.body)
        message_id = message.message_id
        if message_id is None or message_id in self._tag_of_id:
            self._by_tag[self.last_tag] = (publication, index, None)
            return True
        self._by_tag[self.last_tag] = (publication, index, message_id)
        self._tag_of_id[message_id] = self.last_tag
        return False

    def mark_returned(self, tag: int | None, message_id: str | None) -> None:
        """Note which message came back. Our header counts only where we set it: messages may bring one along."""
        numbered = None if tag is None else self._by_tag.get(tag)
        if tag is not None and numbered is not None and numbered[2] is None:
            self._returned.add(tag)
        elif message_id in self._tag_of_id:
            self._returned.add(self._tag_of_id[message_id])

    def take(self, tag: int, *, multiple: bool) -> list[tuple[Publication, int, bool]]:
        """Remove one message, or all up to it; tell of each whether it was returned."""
        if not multiple:
            return self._remove([tag])
        tags = range(self._oldest, (tag or self.last_tag) + 1)
        self._oldest = max(self._oldest, tags.stop)
        return self._remove(tags)

    def drain(self) -> list[tuple[Publication, int]]:
        """Remove everything."""
        return [(publication, index) for publication, index, _ in self._remove(list(self._by_tag))]

    def _remove(self, tags: Sequence[int]) -> list[tuple[Publication, int, bool]]:
        removed = []
        for tag in tags:
            found = self._by_tag.pop(tag, None)
            if found is None:
                continue
            publication, index, message_id = found
            self._bytes -= len(publication.messages[index].body)
            if message_id is not None:
                del self._tag_of_id[message_id]
            removed.append((publication, index, tag in self._returned))
        if self._returned:
            self._returned.difference_update(tags)
        return removed
