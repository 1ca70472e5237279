"""What must hold whatever arrives: an answerable request, or a dead letter with its reason that every broker takes."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime

from pydantic import BaseModel

from schemas.reasons import DEAD_LETTER_REASONS, Reason
from schemas.topics import Topic
from schemas.vocabulary import Environment
from worker.broker.port import Delivery
from worker.broker.publication import require_publishable
from worker.decoding import Decoded, Item, dead_letter, decode, reject

_NOW = datetime(2026, 11, 25, tzinfo=UTC)
_LONGEST_DETAIL = 2000


def check_message(topic: str, delivery: Delivery) -> Decoded:
    """Read one message as a lane does, and insist on what is promised. Raises whatever the reader raises."""
    queue = Topic(topic)
    decoded = decode(queue, Environment.SANDBOX, [delivery])
    for rejected in decoded.rejected:
        # The last net is there for what nobody thought of: here it would hide a fault.
        assert rejected.reason is not Reason.PROCESSING_FAILED, rejected.detail
        assert rejected.reason in DEAD_LETTER_REASONS
        assert 0 < len(rejected.detail) < _LONGEST_DETAIL
        assert rejected.detail.isprintable(), rejected.detail
        letter = dead_letter(queue, rejected, _NOW)
        require_publishable(letter)
        assert letter.headers["x-fuma-reason"] == rejected.reason.value
        if rejected.place is None:
            assert letter.body == delivery.body
            assert len(decoded.rejected) == 1
            assert not decoded.items
    for item in decoded.items:
        _check_request(item)
    for item in decoded.items[:1]:
        # It may yet be put aside as poisonous, and then must be fit for its way.
        require_publishable(dead_letter(queue, reject(item, Reason.PROCESSING_FAILED, "a fault"), _NOW))
    places = [item.place for item in decoded.items] + [
        each.place for each in decoded.rejected if each.place is not None
    ]
    assert sorted(places) == sorted(set(places)), "each element is read once"
    return decoded


def _check_request(item: Item) -> None:
    for text in (*_texts(item.request), item.event.id, item.event.source, item.event.traceparent or ""):
        assert "\x00" not in text, "PostgreSQL refuses it"
        text.encode()


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _texts(getattr(value, name))
    elif isinstance(value, tuple):
        for member in value:
            yield from _texts(member)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _texts(getattr(value, field.name))
