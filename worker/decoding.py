"""From deliveries to requests: each read by itself, so that a bad one never takes its neighbours along."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from schemas.cloudevents import STRUCTURED, CloudEvent, Form, Unreadable, batch_elements, read_message
from schemas.reasons import Reason
from schemas.requests import Refusal, Request, read_request
from schemas.topics import Topic, event_type, topic_of_type
from schemas.vocabulary import Environment
from worker.broker.port import Delivery, Message
from worker.broker.publication import carriable
from worker.broker.topology import DEAD_EXCHANGE


@dataclass(frozen=True, slots=True)
class Item:
    """One readable request, with the form in which its answer is wanted."""

    request: Request
    event: CloudEvent
    form: Form
    #: Which delivery of its batch it came by: each batch message is answered by itself.
    group: int
    delivery: Delivery
    #: Its place among the events of that message.
    place: int


class Rejected(NamedTuple):
    """What cannot be handled, as it goes to the dead letters."""

    reason: Reason
    detail: str
    body: bytes
    content_type: str | None
    message_id: str | None
    #: The delivery that goes on as it came, headers and all; None for one element of a batch.
    whole: Delivery | None


class Decoded(NamedTuple):
    """What deliveries hold."""

    items: list[Item]
    rejected: list[Rejected]


def decode(topic: Topic, environment: Environment, deliveries: Sequence[Delivery]) -> Decoded:
    """Read deliveries of one topic's queue, in order; whatever is not a request of this topic is rejected."""
    items: list[Item] = []
    rejected: list[Rejected] = []
    for group, delivery in enumerate(deliveries):
        elements: list[bytes] = []
        reading = read_message(delivery.body, delivery.content_type, delivery.content_encoding, delivery.headers)
        for place, found in enumerate(reading.items):
            if isinstance(found, Unreadable):
                rejected.append(_unreadable(found, delivery))
                continue
            request = _request(topic, environment, found)
            if not isinstance(request, Refusal):
                items.append(Item(request, found, reading.form, group, delivery, place))
            elif reading.form is Form.SINGLE:
                rejected.append(_whole(request.reason, request.detail, found, delivery))
            else:
                elements = elements or batch_elements(delivery.body)
                rejected.append(_alone(request.reason, request.detail, found, elements[place]))
    return Decoded(items, rejected)


def reject(item: Item, reason: Reason, detail: str) -> Rejected:
    """Turn a readable item into a dead letter: a fault of ours keeps it from being handled."""
    if item.form is Form.SINGLE:
        return _whole(reason, detail, item.event, item.delivery)
    return _alone(reason, detail, item.event, batch_elements(item.delivery.body)[item.place])


def message_of(event: CloudEvent) -> str:
    """Name a message as the history of numbers does: by its source and id."""
    return f"{event.source} {event.id}"


def dead_letter(topic: Topic, rejected: Rejected, now: datetime) -> Message:
    """Write the message that goes to the dead letters (contract, "Dead letters")."""
    whole = rejected.whole
    return Message(
        exchange=DEAD_EXCHANGE,
        routing_key=topic.value,
        body=rejected.body,
        content_type=rejected.content_type or "application/octet-stream",
        content_encoding=None if whole is None else whole.content_encoding,
        headers={
            **({} if whole is None else carriable(whole.headers)),
            "x-fuma-reason": rejected.reason.value,
            "x-fuma-detail": rejected.detail,
            "x-fuma-topic": topic.value,
            "x-fuma-at": now.isoformat(),
        },
        message_id=rejected.message_id,
    )


def _request(topic: Topic, environment: Environment, event: CloudEvent) -> Request | Refusal:
    if topic_of_type(event.type) is not topic:
        return Refusal(Reason.UNKNOWN_TYPE, f"this queue serves the type {event_type(topic)} alone")
    return read_request(topic, event.data, environment)


def _unreadable(found: Unreadable, delivery: Delivery) -> Rejected:
    if found.body is delivery.body:
        return Rejected(
            found.reason,
            found.detail,
            delivery.body,
            delivery.content_type,
            delivery.message_id,
            delivery,
        )
    return Rejected(found.reason, found.detail, found.body, found.content_type, None, None)


def _whole(reason: Reason, detail: str, event: CloudEvent, delivery: Delivery) -> Rejected:
    message_id = delivery.message_id or event.id
    return Rejected(reason, detail, delivery.body, delivery.content_type, message_id, delivery)


def _alone(reason: Reason, detail: str, event: CloudEvent, element: bytes) -> Rejected:
    return Rejected(reason, detail, element, STRUCTURED, event.id, None)
