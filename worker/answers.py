"""From events to messages: a batch is answered in batches, a single message by single ones.

The rule is the contract's, "On the broker".
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from db.outbox import OutgoingMessage
from schemas.cloudevents import BATCH, STRUCTURED, Form, encode_batch
from schemas.topics import Topic, routing_key
from worker.events import Event

MOST_EVENTS = 1000
MOST_BYTES = 1024 * 1024


class Answer(NamedTuple):
    """An event to be published; in the batch form, events of one `group` go together."""

    event: Event
    form: Form = Form.SINGLE
    group: int | None = None


def pack(answers: Iterable[Answer]) -> list[OutgoingMessage]:
    """Put answers into messages, in their order: one each, or by group, topic and taxpayer in the batch form.

    A batch holds at most 1,000 events and 1 MiB.
    """
    messages: list[OutgoingMessage] = []
    batches: dict[tuple[int | None, Topic, str | None], list[Event]] = defaultdict(list)
    for event, form, group in answers:
        if form is Form.SINGLE:
            messages.append(_message(event, STRUCTURED, [event], event.body))
        else:
            batches[group, event.topic, event.taxpayer_id].append(event)
    for events in batches.values():
        messages.extend(
            _message(part[0], BATCH, part, encode_batch([event.body for event in part])) for part in _parts(events)
        )
    return messages


def _message(first: Event, content_type: str, events: Sequence[Event], body: bytes) -> OutgoingMessage:
    return OutgoingMessage(
        first.event_id,
        routing_key(first.topic, first.taxpayer_id),
        content_type,
        len(events),
        body,
        tuple(event.event_id for event in events),
    )


def _parts(events: Sequence[Event]) -> Iterable[list[Event]]:
    part: list[Event] = []
    size = 2
    for event in events:
        if part and (len(part) == MOST_EVENTS or size + len(event.body) + 1 > MOST_BYTES):
            yield part
            part, size = [], 2
        part.append(event)
        size += len(event.body) + 1
    if part:
        yield part
