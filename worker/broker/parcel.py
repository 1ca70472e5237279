"""A message as kombu's transports hand it over, in one form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kombu.transport import virtual

from worker.broker.port import Delivery


@dataclass(frozen=True, slots=True)
class Parcel:
    """A message's body and what describes it, as it came and as it goes."""

    body: bytes
    content_type: str | None
    content_encoding: str | None
    headers: Mapping[str, object]
    message_id: str | None


def parcel_of(message: Any) -> Parcel:  # noqa: ANN401  # py-amqp's message, or kombu's own for what is in memory
    """Unpack a message. Its body stays as it is: kombu would decompress it where a header asks for that."""
    properties = message.properties
    in_memory = isinstance(message, virtual.Message)
    return Parcel(
        body=bytes(message.body),
        content_type=message.content_type if in_memory else properties.get("content_type"),
        content_encoding=message.content_encoding if in_memory else properties.get("content_encoding"),
        headers=(message.headers if in_memory else properties.get("application_headers")) or {},
        message_id=properties.get("message_id"),
    )


def delivery_of(message: Any, tag: int) -> Delivery:  # noqa: ANN401  # as above
    """Unpack a message into what a subscription hands over."""
    parcel = parcel_of(message)
    redelivered = message.properties if isinstance(message, virtual.Message) else message.delivery_info
    return Delivery(
        tag=tag,
        body=parcel.body,
        content_type=parcel.content_type,
        content_encoding=parcel.content_encoding,
        headers=parcel.headers,
        routing_key=message.delivery_info["routing_key"],
        message_id=parcel.message_id,
        redelivered=bool(redelivered.get("redelivered")),
    )
