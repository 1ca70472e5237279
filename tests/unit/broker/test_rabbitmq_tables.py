"""Headers that pika can't read cost their message its headers, and nobody the connection."""

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from pika import BasicProperties, data

from worker.broker.rabbitmq_tables import as_headers, as_text, tolerate_unreadable_headers


def table(*members: tuple[bytes, bytes]) -> bytes:
    inside = b"".join(struct.pack("B", len(name)) + name + value for name, value in members)
    return struct.pack(">I", len(inside)) + inside


def nested(depth: int) -> bytes:
    value = b"V"
    for _ in range(depth):
        value = b"A" + struct.pack(">I", len(value)) + value
    return value


UNREADABLE = {
    "an instant beyond every calendar": b"T" + struct.pack(">Q", 2**64 - 1),
    "no number": b"d" + struct.pack(">d", float("nan")),
    "endless": b"f" + struct.pack(">f", float("inf")),
    "a list in a list, a few thousand times": nested(5000),
    "a kind that nobody knows": b"?",
}


@pytest.fixture(autouse=True)
def _tolerant() -> Iterator[None]:
    before = data.decode_table
    tolerate_unreadable_headers()
    tolerate_unreadable_headers()
    yield
    data.decode_table = before


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_stands_behind_unreadable_headers_is_read(name: str) -> None:
    encoded = table((b"good", b"t\x01"), (b"bad", UNREADABLE[name]))
    content_type = b"\x04text"
    message_id = b"\x01m"
    flags = struct.pack(">H", 1 << 15 | 1 << 13 | 1 << 7)
    properties: Any = BasicProperties()
    properties.decode(flags + content_type + encoded + message_id)
    assert (properties.content_type, properties.headers, properties.message_id) == ("text", {}, "m")


def test_headers_that_can_be_read_are() -> None:
    inner = b"F" + table((b"a", b"t\x01"))
    assert data.decode_table(table((b"x", inner), (b"y", b"S\x00\x00\x00\x01z")), 0)[0] == {"x": {"a": True}, "y": "z"}


def test_text_that_is_not_utf_8_is_text_all_the_same() -> None:
    assert [as_text(value) for value in ("a", b"\xff\xfe", None, 7)] == ["a", "\ufffd\ufffd", None, None]
    assert as_headers({b"\xff": 1, "a": b"\xff"}) == {"\ufffd": 1, "a": b"\xff"}
    assert as_headers(None) == {}
