"""kombu's connection to any broker, and the topology declared over it: for commands, which may wait for each answer."""

import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from schemas.topics import queue_name
from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress
from worker.broker.failures import (
    ACCESS_REFUSED,
    NOT_FOUND,
    describe,
    refusal_at_login,
    refusal_of_environment,
    refusal_of_topology,
    reply_code,
)
from worker.broker.memory_transport import memory_transport
from worker.broker.topology import (
    EXCHANGES,
    QUEUES,
    SHARDED,
    environment_exchange,
    other_environments,
    shard_exchange,
)

#: Seconds.
CONNECT_TIMEOUT = 10.0
CONFIRM_TIMEOUT = 15.0

#: All that a broker or the way to it may raise in the midst of a call.
BROKER_ERRORS = (AMQPError, MessageNacked, OperationalError, OSError)


class BrokerError(Exception):
    """The broker did not do what a command asked; the message is one line that says why and names no credentials."""


def open_connection(address: BrokerAddress) -> Connection:
    """Make a connection that confirms what it publishes; kombu connects at its first use."""
    if address.in_memory:
        return Connection(transport=memory_transport(address.host))
    return Connection(
        hostname=address.host,
        port=address.port,
        userid=address.username,
        password=address.password,
        virtual_host=address.virtual_host,
        transport="pyamqp",
        connect_timeout=CONNECT_TIMEOUT,
        heartbeat=address.heartbeat,
        ssl=_tls(address) if address.encrypted else False,
        transport_options={"confirm_publish": True, "read_timeout": CONFIRM_TIMEOUT},
    )


@contextmanager
def connected(address: BrokerAddress) -> Iterator[Connection]:
    """Connect, and close at the end. `BrokerError` where there is no way to the broker."""
    with open_connection(address) as connection:
        try:
            connection.connect()
        except BROKER_ERRORS as error:
            reason = refusal_at_login(error, address)
            reason = reason or f"the broker {address} can't be reached: {describe(error)}"
            raise BrokerError(reason) from None
        yield connection


@contextmanager
def translated(address: BrokerAddress, doing: str) -> Iterator[None]:
    """Turn whatever a broker may raise meanwhile into a `BrokerError` that names what was being done."""
    try:
        yield
    except BROKER_ERRORS as error:
        reason = f"the broker {address} failed {doing}: {describe(error)}"
        raise BrokerError(reason) from None


def declare_topology(connection: Connection, address: BrokerAddress, environment: Environment | None) -> None:
    """Declare what a worker declares. Without an environment no mark is made and none is looked for.

    Where a topic's requests go to shards, that stays so: the workers' setting decides it, not a command's.
    A user who may not declare, such as one who may only publish, is content with exchanges that stand there already.
    `BrokerError` where the broker holds something else under one of the names, or the other environment's mark.
    """
    try:
        _require_environment(connection, address, environment)
        try:
            _declare(connection, environment)
        except AMQPError as error:
            if reply_code(error) != ACCESS_REFUSED or not all(stands(connection, each.name) for each in EXCHANGES):
                raise
        _require_environment(connection, address, environment)
    except BROKER_ERRORS as error:
        reason = refusal_of_topology(error, address)
        reason = reason or f"the broker {address} did not declare the topology: {describe(error)}"
        raise BrokerError(reason) from None


def _declare(connection: Connection, environment: Environment | None) -> None:
    marks = () if environment is None else (environment_exchange(environment),)
    sharded = {queue_name(topic) for topic in SHARDED if stands(connection, shard_exchange(topic).name)}
    with closing(connection.channel()) as channel:
        for exchange in (*EXCHANGES, *marks):
            channel.exchange_declare(exchange=exchange.name, type=exchange.kind, durable=True, auto_delete=False)
        for queue in QUEUES:
            channel.queue_declare(
                queue=queue.name,
                durable=True,
                auto_delete=False,
                arguments=dict(queue.arguments),
            )
            for key in () if queue.name in sharded else queue.binding_keys:
                channel.queue_bind(queue=queue.name, exchange=queue.exchange, routing_key=key)


def _require_environment(connection: Connection, address: BrokerAddress, environment: Environment | None) -> None:
    if environment is None:
        return
    for other in other_environments(environment):
        if stands(connection, environment_exchange(other).name):
            raise BrokerError(refusal_of_environment(other.value, address))


def stands(connection: Connection, exchange: str) -> bool:
    """Look whether there is an exchange of this name; whoever may connect may look."""
    channel: Any = connection.channel()
    try:
        channel.exchange_declare(exchange=exchange, type="fanout", passive=True)
    except AMQPError as error:
        if reply_code(error) == NOT_FOUND:
            return False
        raise
    channel.close()
    return True


def _tls(address: BrokerAddress) -> dict[str, object]:
    return {
        "ca_certs": address.cacertfile,
        "certfile": address.certfile,
        "keyfile": address.keyfile,
        "cert_reqs": ssl.CERT_REQUIRED,
        "server_hostname": address.host,
    }
