"""The small part of pika that we use, with types: pika has none that a checker sees.

Everything here except `IOLoop.add_callback_threadsafe` belongs to the thread that runs the loop.
"""
# ruff: noqa: D102  # the methods are pika's, and described there

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import pika
from pika.adapters.select_connection import IOLoop as PikaIOLoop
from pika.exceptions import AMQPError
from pika.spec import Basic

from worker.broker.address import BrokerAddress
from worker.broker.port import Delivery, Message
from worker.broker.rabbitmq_connection import PlainConnection
from worker.broker.rabbitmq_frames import Confirm
from worker.broker.rabbitmq_tables import as_headers, as_text, tolerate_unreadable_headers

#: Seconds for TCP, TLS and AMQP together until an attempt to connect counts as failed.
CONNECT_TIMEOUT = 15.0
#: Seconds that a connection may stand blocked (an alarm of the broker) before it is given up and made anew.
BLOCKED_TIMEOUT = 300.0

PERSISTENT = 2


class Method(Protocol):
    """The fields of the methods that reach our callbacks."""

    delivery_tag: int
    multiple: bool
    redelivered: bool
    routing_key: str
    consumer_count: int


class Frame(Protocol):
    """A frame that carries a method."""

    method: Method


class Properties(Protocol):
    """What a message says about its body."""

    content_type: str | None
    content_encoding: str | None
    headers: dict[str, object] | None
    message_id: str | None


#: What is called with the broker's answer.
Answered = Callable[[object], object]


class Channel(Protocol):
    """A channel; its calls are sent in order, and those that have an answer wait for each other's."""

    @property
    def is_open(self) -> bool: ...

    @property
    def channel_number(self) -> int: ...

    def close(self) -> None: ...

    def add_on_close_callback(self, callback: Callable[["Channel", BaseException], None]) -> None: ...

    def add_on_cancel_callback(self, callback: Answered) -> None: ...

    def add_on_return_callback(
        self,
        callback: Callable[["Channel", Method, Properties, bytes], None],
    ) -> None: ...

    def exchange_declare(
        self,
        exchange: str,
        exchange_type: str = "direct",
        *,
        passive: bool = False,
        durable: bool = False,
        callback: Answered,
    ) -> None: ...

    def exchange_bind(self, destination: str, source: str, routing_key: str, *, callback: Answered) -> None: ...

    def exchange_unbind(self, destination: str, source: str, routing_key: str, *, callback: Answered) -> None: ...

    def queue_declare(
        self,
        queue: str,
        *,
        passive: bool = False,
        durable: bool = False,
        arguments: dict[str, str | int | bool] | None = None,
        callback: Callable[[Frame], object],
    ) -> None: ...

    def queue_bind(self, queue: str, exchange: str, routing_key: str, *, callback: Answered) -> None: ...

    def queue_unbind(self, queue: str, exchange: str, routing_key: str, *, callback: Answered) -> None: ...

    def basic_qos(self, *, prefetch_count: int, callback: Answered) -> None: ...

    def basic_consume(
        self,
        queue: str,
        on_message_callback: Callable[["Channel", Method, Properties, bytes], None],
        *,
        callback: Answered,
    ) -> str: ...

    def basic_cancel(self, consumer_tag: str, *, callback: Answered) -> None: ...

    def basic_ack(self, delivery_tag: int, *, multiple: bool) -> None: ...

    def basic_publish(
        self,
        exchange: str,
        routing_key: str,
        body: bytes,
        properties: Properties,
        *,
        mandatory: bool,
    ) -> None: ...

    def confirm_delivery(self, ack_nack_callback: Callable[[Frame], None], callback: Answered) -> None: ...


class IOLoop(Protocol):
    """What runs a connection's callbacks, one after the other."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...

    def call_later(self, delay: float, callback: Callable[[], None]) -> object: ...

    def add_callback_threadsafe(self, callback: Callable[[], None]) -> None: ...


class Connection(Protocol):
    """One connection, opening, open or closed."""

    @property
    def is_open(self) -> bool: ...

    @property
    def is_closing(self) -> bool: ...

    @property
    def is_closed(self) -> bool: ...

    @property
    def ioloop(self) -> IOLoop: ...

    def close(self) -> None: ...

    @property
    def body_max_length(self) -> int: ...

    def channel(self, *, on_open_callback: Callable[[Channel], None]) -> Channel: ...

    def tell_deliveries(
        self, channel: int, consumer_tag: str, delivered: Callable[[Sequence[Delivery]], None]
    ) -> None: ...

    def leave_to_pika(self, channel: int, consumer_tag: str) -> None: ...

    def tell_confirms(self, channel: int, confirmed: Callable[[Sequence[Confirm]], None]) -> None: ...

    def forget(self, channel: int) -> None: ...

    def write(self, frames: Sequence[bytes]) -> None: ...

    def add_on_connection_blocked_callback(self, callback: Callable[..., object]) -> None: ...

    def add_on_connection_unblocked_callback(self, callback: Callable[..., object]) -> None: ...


def silence_pika() -> None:
    """Keep pika's own lines out of the log: eight for each failed attempt to connect, where ours is one.

    It also warns of each channel that the broker closes, the normal answer to our looking for an exchange among them.
    """
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # noqa: TID251  # to set its level, not to log


def new_loop() -> IOLoop:
    """Make the loop for one connection."""
    tolerate_unreadable_headers()
    return cast("IOLoop", PikaIOLoop())


def connect(
    address: BrokerAddress,
    loop: IOLoop,
    *,
    name: str,
    on_open: Callable[[Connection], None],
    on_end: Callable[[BaseException], None],
) -> Connection:
    """Begin to connect. Ends with `on_end`, once: never opened, closed by a side, or lost."""
    parameters = pika.ConnectionParameters(
        host=address.host,
        port=address.port,
        virtual_host=address.virtual_host,
        credentials=pika.PlainCredentials(address.username, address.password),
        heartbeat=address.heartbeat,
        blocked_connection_timeout=BLOCKED_TIMEOUT,
        socket_timeout=CONNECT_TIMEOUT,
        stack_timeout=CONNECT_TIMEOUT,
        ssl_options=pika.SSLOptions(address.tls_context(), address.host) if address.encrypted else None,
        client_properties={"connection_name": name},
    )
    return cast(
        "Connection",
        PlainConnection(
            parameters,
            on_open_callback=on_open,
            on_open_error_callback=lambda _connection, error: on_end(error),
            on_close_callback=lambda _connection, error: on_end(error),
            custom_ioloop=loop,
        ),
    )


def abort(connection: Connection, reason: str) -> None:
    """Drop a connection without the closing handshake, which a blocked or dead broker never answers.

    pika does this itself after missed heartbeats and has no public name for it.
    """
    connection._terminate_stream(AMQPError(reason))  # type: ignore[attr-defined]  # noqa: SLF001


def is_confirmed(frame: Frame) -> bool:
    """Tell a confirm (`basic.ack`) from a refusal (`basic.nack`)."""
    return isinstance(frame.method, Basic.Ack)


def properties_of(message: Message, extra_headers: Mapping[str, str | int]) -> Properties:
    """Describe a message for the wire: persistent, with its headers and ours."""
    headers = {**message.headers, **extra_headers}
    return cast(
        "Properties",
        pika.BasicProperties(
            content_type=message.content_type,
            content_encoding=message.content_encoding,
            headers=headers or None,
            delivery_mode=PERSISTENT,
            message_id=message.message_id,
        ),
    )


def delivery_of(method: Method, properties: Properties, body: bytes) -> Delivery:
    """Give what pika read as a delivery."""
    return Delivery(
        tag=method.delivery_tag,
        body=body,
        content_type=as_text(properties.content_type),
        content_encoding=as_text(properties.content_encoding),
        headers=as_headers(properties.headers),
        routing_key=as_text(method.routing_key) or "",
        message_id=as_text(properties.message_id),
        redelivered=method.redelivered,
    )
