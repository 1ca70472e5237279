"""Properties and headers as any sender may have set them: nothing in them ends the connection, or the lane behind it.

RabbitMQ hands on what is well formed as AMQP: text that isn't UTF-8, instants beyond every calendar, lists a thousand
deep. pika raises on some of it in the midst of reading a frame, which ends the connection for everybody's messages;
the message comes again, and ends the next one.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any

import structlog
from pika import data

_log = structlog.get_logger()

_Decode = Callable[[bytes, int], tuple[dict[Any, Any], int]]

_LENGTH = struct.Struct(">I")


def tolerate_unreadable_headers() -> None:
    """Let pika, in this process, read headers that it can't read as none at all. Doing it again has no effect."""
    if not isinstance(data.decode_table, _Tolerant):
        data.decode_table = _Tolerant(data.decode_table)


class _Tolerant:
    def __init__(self, decode: _Decode) -> None:
        self._decode = decode

    def __call__(self, encoded: bytes, offset: int) -> tuple[dict[Any, Any], int]:
        try:
            return self._decode(encoded, offset)
        except Exception:  # noqa: BLE001 -- whatever is in it, its length stands before it
            _log.warning("broker-headers-unreadable")
            (length,) = _LENGTH.unpack_from(encoded, offset)
            return {}, offset + _LENGTH.size + length


def as_text(value: object) -> str | None:
    """Give a property as text; what isn't UTF-8 in it, pika hands over as bytes, is replaced."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else None


def as_headers(headers: Mapping[Any, object] | None) -> dict[str, object]:
    """Give headers with texts as their names; their values stay as they came."""
    return {as_text(name) or "": value for name, value in (headers or {}).items()}
