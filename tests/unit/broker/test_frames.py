"""The plain frames are, byte for byte, what pika writes, and are read as pika reads them, however they are cut."""

from collections.abc import Iterator, Sequence
from typing import Any

import pika
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika.adapters.select_connection import IOLoop
from pika.exceptions import InvalidFrameError
from pika.frame import Body, Header, Heartbeat, decode_frame
from pika.frame import Method as MethodFrame
from pika.spec import Basic, BasicProperties, Channel

from worker.broker.port import Delivery, Message
from worker.broker.rabbitmq_connection import PlainConnection
from worker.broker.rabbitmq_frames import Confirm, publish_frames

SHORT = st.text(st.characters(codec="utf-8"), max_size=60)
CHANNELS = st.integers(1, 65_535)
TAGS = st.integers(1, 2**64 - 1)
MOST = 100


def pikas(channel: int, method: Any, properties: BasicProperties, body: bytes, most: int = MOST) -> bytes:  # noqa: ANN401
    """Write a message as pika does."""
    frames = [MethodFrame(channel, method), Header(channel, len(body), properties)]
    frames += [Body(channel, body[start : start + most]) for start in range(0, len(body), most)]
    return b"".join(frame.marshal() for frame in frames)


@given(CHANNELS, SHORT, SHORT, SHORT, SHORT | st.none(), st.binary(max_size=350))
def test_a_message_is_written_as_pika_writes_it(
    channel: int, exchange: str, key: str, content_type: str, message_id: str | None, body: bytes
) -> None:
    message = Message(exchange, key, body, content_type, message_id=message_id)
    properties = BasicProperties(content_type=content_type, delivery_mode=2, message_id=message_id)

    written = publish_frames(channel, message, MOST)

    assert written == pikas(channel, Basic.Publish(0, exchange, key, mandatory=True), properties, body)


class Read(PlainConnection):
    """A connection that nothing is connected to, and what it told."""

    def __init__(self, loop: IOLoop) -> None:
        self.told: list[object] = []
        self.chunks: list[int] = []
        super().__init__(pika.ConnectionParameters(), custom_ioloop=loop, internal_connection_workflow=False)
        self._body_max_length = MOST

    def keep(self, what: Sequence[Delivery | Confirm]) -> None:
        assert what
        self.chunks.append(len(what))
        self.told += what

    def read(self, data: bytes) -> None:
        self._on_data_available(data)

    def _process_frame(self, frame: Any) -> None:  # noqa: ANN401
        self.told.append(frame)


@pytest.fixture(scope="module")
def loop() -> Iterator[IOLoop]:
    """A loop that never runs."""
    made = IOLoop()
    yield made
    made.close()


def as_pika_reads(data: bytes) -> Iterator[Any]:
    """Read frames with pika alone."""
    while data:
        consumed, frame = decode_frame(data)
        assert frame is not None
        yield frame
        data = data[consumed:]


def in_words(told: Sequence[Any]) -> list[str]:
    """Say what was read: a plain delivery as its frames, so that both ways can be compared."""
    said = []
    for each in told:
        match each:
            case Delivery():
                headers = each.headers or None
                said.append(f"deliver {each.tag} {each.redelivered} {each.routing_key!r}")
                said.append(f"{each.content_type!r} {each.content_encoding!r} {headers!r} {each.message_id!r}")
                said.append(repr(each.body))
            case Confirm():
                said.append(f"ack {each.delivery_tag} {each.multiple}")
            case MethodFrame(method=Basic.Deliver() as method):
                said.append(f"deliver {method.delivery_tag} {method.redelivered} {method.routing_key!r}")
            case MethodFrame(method=Basic.Ack() as method):
                said.append(f"ack {method.delivery_tag} {method.multiple}")
            case Header(properties=given):
                headers = given.headers or None
                said.append(f"{given.content_type!r} {given.content_encoding!r} {headers!r} {given.message_id!r}")
            case Body():
                said.append(repr(each.fragment))
            case _:
                said.append(type(getattr(each, "method", each)).__name__)
    return said


PROPERTIES = st.builds(
    BasicProperties,
    content_type=st.none() | SHORT,
    content_encoding=st.none() | SHORT,
    headers=st.none() | st.dictionaries(SHORT, st.integers(-(2**31), 2**31 - 1) | SHORT, min_size=1, max_size=3),
    delivery_mode=st.none() | st.integers(1, 2),
    priority=st.none() | st.integers(0, 9),
    correlation_id=st.none() | SHORT,
    message_id=st.none() | SHORT,
    timestamp=st.none() | st.integers(0, 2**40),
    app_id=st.none() | SHORT,
)
DELIVERIES = st.builds(
    lambda consumer, tag, redelivered, key, properties, body: pikas(
        1, Basic.Deliver(consumer, tag, redelivered, "fuma", key), properties, body
    ),
    st.sampled_from(["ours", "another's"]),
    TAGS,
    st.booleans(),
    SHORT,
    PROPERTIES,
    st.binary(max_size=250),
)
CONFIRMS = st.builds(
    lambda channel, tag, multiple: MethodFrame(channel, Basic.Ack(tag, multiple)).marshal(),
    st.sampled_from([1, 2]),
    TAGS,
    st.booleans(),
)
OTHERS = st.sampled_from(
    [
        Heartbeat().marshal(),
        MethodFrame(2, Basic.Nack(7)).marshal(),
        MethodFrame(1, Channel.Close(404, "gone", 60, 40)).marshal(),
        pikas(2, Basic.Return(312, "NO_ROUTE", "fuma", "k"), BasicProperties(message_id="m"), b"body"),
    ]
)


@given(st.lists(DELIVERIES | CONFIRMS | OTHERS, max_size=12), st.lists(st.integers(1, 200), min_size=1))
def test_whatever_comes_is_read_as_pika_reads_it_in_its_order(
    loop: IOLoop, pieces: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(pieces)
    connection = Read(loop)
    connection.tell_deliveries(1, "ours", connection.keep)
    connection.tell_confirms(2, connection.keep)

    at = 0
    turn = 0
    while at < len(data):
        size = cuts[turn % len(cuts)]
        connection.read(data[at : at + size])
        at, turn = at + size, turn + 1

    assert in_words(connection.told) == in_words(list(as_pika_reads(data)))
    assert connection.bytes_received == len(data)


def delivered(tag: int, body: bytes = b"body", channel: int = 1) -> bytes:
    properties = BasicProperties(content_type="application/json", delivery_mode=2, message_id="m")
    return pikas(channel, Basic.Deliver("ours", tag, False, "fuma", "key"), properties, body)


def test_what_comes_at_once_is_told_at_once_and_without_pika(loop: IOLoop) -> None:
    connection = Read(loop)
    connection.tell_deliveries(1, "ours", connection.keep)

    connection.read(delivered(1) + delivered(2) + delivered(3)[:20])
    connection.read(delivered(3)[20:])

    assert connection.chunks == [2, 1]
    assert connection.told == [
        Delivery(tag, b"body", "application/json", None, {}, "key", "m", redelivered=False) for tag in (1, 2, 3)
    ]


def test_what_is_forgotten_goes_pikas_way(loop: IOLoop) -> None:
    connection = Read(loop)
    connection.tell_deliveries(1, "ours", connection.keep)
    connection.tell_deliveries(2, "ours", connection.keep)
    connection.tell_confirms(1, connection.keep)
    connection.forget(1)

    connection.read(delivered(1) + MethodFrame(1, Basic.Ack(1)).marshal() + delivered(1, channel=2))

    assert connection.chunks == [1]
    assert [type(each) for each in connection.told] == [MethodFrame, Header, Body, MethodFrame, Delivery]


def test_what_is_left_to_pika_goes_its_way_alone(loop: IOLoop) -> None:
    connection = Read(loop)
    connection.tell_deliveries(1, "ours", connection.keep)
    connection.tell_confirms(1, connection.keep)
    connection.leave_to_pika(1, "ours")

    connection.read(delivered(1) + MethodFrame(1, Basic.Ack(1)).marshal())

    assert [type(each) for each in connection.told] == [MethodFrame, Header, Body, Confirm]


def test_a_frame_that_does_not_end_as_it_must_is_left_to_pika_to_refuse(loop: IOLoop) -> None:
    connection = Read(loop)
    connection.tell_deliveries(1, "ours", connection.keep)

    with pytest.raises(InvalidFrameError):
        connection.read(delivered(1)[:-1] + b"x")


def test_a_broker_of_another_protocol_is_told_from_a_frame(loop: IOLoop) -> None:
    connection = Read(loop)

    connection.read(b"AMQP\x00\x00\x09\x01")
    connection.read(Heartbeat().marshal())

    assert [type(each) for each in connection.told] == [Heartbeat]
