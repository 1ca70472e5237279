"""CloudEvents 1.0 as a client of RabbitMQ sends them: structured, binary, and batch."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
SOURCE = "/outside/invoicing"

Event = dict[str, object]

_ids = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One AMQP message to publish."""

    routing_key: str
    body: bytes
    content_type: str | None
    headers: Mapping[str, object] = field(default_factory=dict)
    exchange: str = "fuma"
    message_id: str = field(default_factory=lambda: uuid4().hex)
    content_encoding: str | None = None


def event(topic: str, data: object) -> Event:
    """Give a CloudEvent of the topic's type, with an id of its own."""
    return {
        "specversion": "1.0",
        "id": f"out-{next(_ids):08d}-{uuid4().hex[:8]}",
        "source": SOURCE,
        "type": f"fuma.{topic}.v1",
        "time": "2026-01-02T03:04:05.678+08:00",
        "datacontenttype": "application/json",
        "data": data,
    }


def as_json(value: object) -> bytes:
    """Encode compactly, in UTF-8."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def topic_of(sent: Mapping[str, object]) -> str:
    """Give the topic that a type `fuma.<topic>.v1` names."""
    return str(sent["type"]).removeprefix("fuma.").removesuffix(".v1")


def structured(sent: Event, *, routing_key: str | None = None, content_type: str = STRUCTURED) -> Outgoing:
    """Give the event as one structured message."""
    return Outgoing(routing_key or topic_of(sent), as_json(sent), content_type)


def binary(sent: Event, *, routing_key: str | None = None, prefix: str = "ce-") -> Outgoing:
    """Give the event in binary form: attributes in headers, the body is the data."""
    attributes = {name: value for name, value in sent.items() if name not in {"data", "datacontenttype"}}
    headers = {f"{prefix}{name}": str(value) for name, value in attributes.items()}
    return Outgoing(routing_key or topic_of(sent), as_json(sent["data"]), "application/json", headers)


def batch(events: Sequence[Event], *, topic: str | None = None) -> Outgoing:
    """Give the events as one batch message, for the queue of the first one's topic."""
    return Outgoing(topic or topic_of(events[0]), as_json(list(events)), BATCH)
