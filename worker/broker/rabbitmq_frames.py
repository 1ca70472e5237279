"""The frames of the plain case, written and read without pika: they come by the thousand.

pika makes several objects of each, which took more of the worker's time than anything else.

Plain is a message of at most one body frame whose properties are those that nearly all have, and a single confirm.
Whatever else there is, pika reads and writes; what is written here is byte for byte what pika would have written.
Source of the layouts: AMQP 0-9-1, sections 2.3.5 and 4.2.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple

from worker.broker.port import Delivery, Message

_METHOD, _HEADER, _BODY = 1, 2, 3
_END = b"\xce"
#: Bytes of a frame besides its payload.
FRAME_OVERHEAD = 8

_FRAME = Struct(">BHI")
_CONFIRM = Struct(">BHIIQBB")
_DELIVERY = Struct(">QB")
_CONTENT = Struct(">BHIHHQH")
#: Of the content header: class, weight, size of the body, flags of the properties that follow.
_CONTENT_FIXED = 14

_BASIC_PUBLISH = bytes.fromhex("003c0028")
_BASIC_DELIVER = 0x003C003C
_BASIC_ACK = 0x003C0050
_BASIC = 0x3C

#: Which properties follow, in this order.
_CONTENT_TYPE, _DELIVERY_MODE, _MESSAGE_ID = 0x8000, 0x1000, 0x0080
_PLAIN_PROPERTIES = _CONTENT_TYPE | _DELIVERY_MODE | _MESSAGE_ID
_PERSISTENT = 2
_MANDATORY = 1

_NO_HEADERS: Mapping[str, object] = MappingProxyType({})


class Confirm(NamedTuple):
    """The broker's word on a published message, or on all up to it: it has them."""

    delivery_tag: int
    multiple: bool


class Arrival(NamedTuple):
    """A delivery, with the consumer that it is for and where its last frame ends."""

    consumer_tag: bytes
    delivery: Delivery
    end: int


def is_plain(message: Message) -> bool:
    """Whether `publish_frames` can write the message."""
    return not message.headers and message.content_encoding is None


def publish_frames(channel: int, message: Message, most: int) -> bytes:
    """Write the frames that publish a plain message, persistent and mandatory; bodies are cut at `most` bytes."""
    body = message.body
    properties = _short(message.content_type) + b"\x02"
    flags = _CONTENT_TYPE | _DELIVERY_MODE
    if message.message_id is not None:
        properties += _short(message.message_id)
        flags |= _MESSAGE_ID
    header = _CONTENT.pack(_HEADER, channel, _CONTENT_FIXED + len(properties), _BASIC, 0, len(body), flags)
    parts = [_publish_frame(channel, message.exchange, message.routing_key), header, properties, _END]
    for start in range(0, len(body), most):
        piece = body[start : start + most]
        parts += [_FRAME.pack(_BODY, channel, len(piece)), piece, _END]
    return b"".join(parts)


def frame_end(buffer: bytes, at: int) -> int | None:
    """Tell where the frame that begins at `at` ends; None where the rest of it has not come yet."""
    if len(buffer) < at + _FRAME.size:
        return None
    size: int = _FRAME.unpack_from(buffer, at)[2]
    end = at + size + FRAME_OVERHEAD
    return end if end <= len(buffer) else None


def read_confirm(buffer: bytes, at: int, end: int) -> tuple[int, Confirm] | None:
    """Read the frame as a confirm, with its channel; None where it is none."""
    if end - at != _CONFIRM.size:
        return None
    kind, channel, _, method, tag, bits, last = _CONFIRM.unpack_from(buffer, at)
    if kind != _METHOD or method != _BASIC_ACK or last != _END[0]:
        return None
    return channel, Confirm(tag, bool(bits & 1))


def is_delivery(buffer: bytes, at: int, end: int) -> bool:
    """Whether the frame begins a delivery."""
    return buffer[at] == _METHOD and end - at > FRAME_OVERHEAD + 4 and buffer[at + 7 : at + 11] == b"\x00\x3c\x00\x3c"


def channel_of(buffer: bytes, at: int) -> int:
    """Tell which channel the frame is for."""
    channel: int = _FRAME.unpack_from(buffer, at)[1]
    return channel


def read_delivery(buffer: bytes, at: int, end: int, most: int) -> Arrival | int | None:
    """Read a delivery whose first frame lies between `at` and `end`.

    None where it is not plain, so that pika must read it.
    Where more bytes have to come before anything can be told: how many there must be in the buffer.
    """
    after = len(buffer)
    if after < end + _CONTENT.size:
        return end + _CONTENT.size
    content: tuple[int, int, int, int, int, int, int] = _CONTENT.unpack_from(buffer, end)
    kind, channel, size, _, _, body_size, flags = content
    body_at = end + size + FRAME_OVERHEAD
    complete = body_at + body_size + FRAME_OVERHEAD
    if kind != _HEADER or not 0 < body_size <= most or flags & ~_PLAIN_PROPERTIES:
        return None
    if after < complete:
        return complete
    body_kind, body_channel, piece = _FRAME.unpack_from(buffer, body_at)
    ends_well = buffer[end - 1] == buffer[body_at - 1] == buffer[complete - 1] == _END[0]
    if (body_kind, body_channel, piece) != (_BODY, channel, body_size) or not ends_well:
        return None
    try:
        return _delivery(buffer, at, end, flags, body_at, complete)
    except (UnicodeDecodeError, IndexError):
        return None


def _delivery(buffer: bytes, at: int, end: int, flags: int, body_at: int, complete: int) -> Arrival:
    place = at + 12
    consumer_tag = buffer[place : place + buffer[place - 1]]
    place += len(consumer_tag)
    tag, bits = _DELIVERY.unpack_from(buffer, place)
    place += _DELIVERY.size
    place += 1 + buffer[place]
    routing_key = _text(buffer[place + 1 : place + 1 + buffer[place]])
    content_type = message_id = None
    place = end + _CONTENT.size
    if flags & _CONTENT_TYPE:
        content_type = _text(buffer[place + 1 : place + 1 + buffer[place]])
        place += 1 + buffer[place]
    if flags & _DELIVERY_MODE:
        place += 1
    if flags & _MESSAGE_ID:
        message_id = buffer[place + 1 : place + 1 + buffer[place]].decode()
    body = buffer[body_at + 7 : complete - 1]
    return Arrival(
        consumer_tag,
        Delivery(tag, body, content_type, None, _NO_HEADERS, routing_key, message_id, bool(bits & 1)),
        complete,
    )


@lru_cache(maxsize=4096)
def _publish_frame(channel: int, exchange: str, routing_key: str) -> bytes:
    payload = b"".join([_BASIC_PUBLISH, b"\x00\x00", _short(exchange), _short(routing_key), bytes([_MANDATORY])])
    return _FRAME.pack(_METHOD, channel, len(payload)) + payload + _END


def _short(text: str) -> bytes:
    encoded = text.encode()
    return bytes([len(encoded)]) + encoded


@lru_cache(maxsize=4096)
def _text(encoded: bytes) -> str:
    return encoded.decode()
