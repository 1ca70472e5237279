"""Publish one message from a command: `fuma emit`."""

from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress, BrokerUrlError
from worker.broker.command_channel import CommandChannel
from worker.broker.kombu_wire import BrokerError, connected, declare_topology, translated
from worker.broker.parcel import Parcel
from worker.broker.port import Message, Outcome
from worker.broker.publication import require_publishable


class EmitError(BrokerError):
    """The message was not published, or nobody knows; one line that says why."""


def emit(url: str, message: Message, environment: Environment | None = None) -> None:
    """Declare the topology as a worker does, publish, and return once the broker has confirmed.

    With an environment the broker's mark is made, or checked, too. `EmitError` for everything that went wrong; only
    its "may have" says that the message may stand in a queue all the same.
    """
    try:
        require_publishable(message)
        address = BrokerAddress.parse(url)
        outcome = _published(address, message, environment)
    except (BrokerError, BrokerUrlError, ValueError) as error:
        raise EmitError(str(error)) from None
    if outcome is Outcome.UNROUTABLE:
        reason = f"the broker {address} has no queue for {message.exchange!r} with {message.routing_key!r}"
        raise EmitError(reason)
    if outcome is Outcome.UNKNOWN:
        reason = f"the broker {address} refused the message: is the queue at its limit?"
        raise EmitError(reason)


def _published(address: BrokerAddress, message: Message, environment: Environment | None) -> Outcome:
    parcel = Parcel(
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        headers=message.headers,
        message_id=message.message_id,
    )
    with connected(address) as connection:
        declare_topology(connection, address, environment)
        with translated(address, "to confirm the message, which it may have taken all the same"):
            return CommandChannel(connection).publish(message.exchange, message.routing_key, parcel)
