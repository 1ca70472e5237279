"""Hostile messages on a real wire: what of each a client of AMQP can send at all."""

import struct

from pika.data import encode_table
from pika.exceptions import ShortStringTooLong, UnsupportedAMQPFieldException

from tests.support.outside.envelopes import Outgoing
from worker.broker.port import Delivery

#: Bytes of AMQP's short strings.
_SHORT = 255


def sendable(topic: str, hostile: Delivery, message_id: str) -> Outgoing:
    """Give what a sender can put on the wire of it, for its topic's queue, under an id of its own."""
    return Outgoing(
        routing_key=hostile.routing_key if hostile.routing_key.startswith(topic) else topic,
        body=hostile.body,
        content_type=_cut(hostile.content_type),
        content_encoding=_cut(hostile.content_encoding),
        headers={name: value for name, value in hostile.headers.items() if _is_encodable(name, value)},
        message_id=message_id,
    )


def arriving(sent: Outgoing) -> Delivery:
    """Give the delivery that a sent message becomes."""
    return Delivery(
        tag=1,
        body=sent.body,
        content_type=sent.content_type,
        content_encoding=sent.content_encoding,
        headers=sent.headers,
        routing_key=sent.routing_key,
        message_id=sent.message_id,
        redelivered=False,
    )


def _cut(text: str | None) -> str | None:
    return None if text is None else text.encode()[:_SHORT].decode(errors="ignore")


def _is_encodable(name: str, value: object) -> bool:
    try:
        encode_table([], {name: value})
    except (ShortStringTooLong, UnsupportedAMQPFieldException, UnicodeEncodeError, struct.error):
        return False
    return True
