"""The messages of the demo, written as an invoicing system that is not ours would write them."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from schemas.cloudevents import BATCH, MAX_BODY, STRUCTURED
from schemas.topics import Topic, event_type, routing_key
from schemas.vocabulary import Environment
from worker.broker.port import Message
from worker.broker.topology import EXCHANGE
from worker.demo.traffic import Sent, Unreadable

_Each = TypeVar("_Each")

_SOURCE = "/demo/invoicing"

#: How the messages are written, and how often each way is chosen. A batch holds many events, so few are enough.
_FORMS = ("structured", "binary", "batch")
_WEIGHTS = (30, 30, 1)
#: Who reports uploads collects them, so that more of them come in batches.
_COLLECTED = (4, 4, 1)
_SMALLEST_BATCH, _LARGEST_BATCH = 20, 200

#: Kinds of unreadable messages that are not even an event, and so can't stand in a batch.
_WHOLE = frozenset({"no-json", "torn-batch", "too-large"})


def write_messages(what: Sequence[Sent | Unreadable], dice: random.Random) -> Iterator[Message]:
    """Write all of it, in its order, as single structured and binary messages and as batches."""
    for form, taken in _portions(what, dice, _WEIGHTS):
        for each in taken:
            if isinstance(each, Unreadable) and each.kind in _WHOLE:
                yield _not_an_event(each)
        events = [_event_of(each) for each in taken if isinstance(each, Sent) or each.kind not in _WHOLE]
        if form == "batch" and events:
            yield _message(_json(events), BATCH)
        elif events:
            yield _binary(events[0]) if form == "binary" else _message(_json(events[0]), STRUCTURED)


def write_requests(
    topic: Topic,
    requests: Sequence[tuple[str, Mapping[str, object]]],
    dice: random.Random,
) -> Iterator[Message]:
    """Write requests of one topic, each an event id and its data, in all forms."""
    for form, taken in _portions(requests, dice, _COLLECTED):
        events = [_event(topic, event_id, data) for event_id, data in taken]
        match form:
            case "batch":
                yield _message(_json(events), BATCH, topic)
            case "binary":
                yield _binary(events[0], topic)
            case _:
                yield _message(_json(events[0]), STRUCTURED, topic)


def write_request(topic: Topic, event_id: str, data: Mapping[str, object]) -> Message:
    """Write one request as a structured message."""
    return _message(_json(_event(topic, event_id, data)), STRUCTURED, topic)


def _portions(
    what: Sequence[_Each],
    dice: random.Random,
    weights: Sequence[int],
) -> Iterator[tuple[str, Sequence[_Each]]]:
    """Cut it into messages, each with its form."""
    place = 0
    while place < len(what):
        form = dice.choices(_FORMS, weights)[0]
        size = dice.randint(_SMALLEST_BATCH, _LARGEST_BATCH) if form == "batch" else 1
        taken = what[place : place + size]
        place += len(taken)
        yield form, taken


def _event_of(what: Sent | Unreadable) -> dict[str, object]:
    if isinstance(what, Sent):
        return _event(Topic.INVOICE_ISSUING, what.event_id, what.asked.as_data())
    data: dict[str, object] = {
        "issue_request_id": what.name,
        "organization": "NOBODY",
        "issue_date": "2026-01-31",
        "kind": "blue",
    }
    match what.kind:
        case "unknown-field":
            data["amount"] = "100.00"
        case "impossible-date":
            data["issue_date"] = "2026-02-30"
        case "wrong-environment":
            data["environment"] = Environment.PRODUCTION.value
        case "missing-field":
            del data["issue_date"]
        case _:
            return {**_event(Topic.INVOICE_ISSUING, what.name, data), "type": "fuma.invoice-printing.v1"}
    return _event(Topic.INVOICE_ISSUING, what.name, data)


def _event(topic: Topic, event_id: str, data: Mapping[str, object]) -> dict[str, object]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": _SOURCE,
        "type": event_type(topic),
        "datacontenttype": "application/json",
        "data": data,
    }


def _binary(event: Mapping[str, object], topic: Topic = Topic.INVOICE_ISSUING) -> Message:
    headers = {f"ce-{name}": str(value) for name, value in event.items() if name not in {"data", "datacontenttype"}}
    return _message(_json(event["data"]), "application/json", topic, headers=headers)


def _not_an_event(what: Unreadable) -> Message:
    match what.kind:
        case "torn-batch":
            return _message(f'[{{"specversion": "1.0", "id": "{what.name}"'.encode(), BATCH)
        case "too-large":
            return _message(b" " * (MAX_BODY + 1), STRUCTURED)
        case _:
            return _message(f"{what.name}: this is no JSON".encode(), STRUCTURED)


def _message(
    body: bytes,
    content_type: str,
    topic: Topic = Topic.INVOICE_ISSUING,
    *,
    headers: Mapping[str, str] | None = None,
) -> Message:
    return Message(EXCHANGE, routing_key(topic, None), body, content_type, headers or {})


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
