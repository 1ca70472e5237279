"""From deliveries to requests: each read by itself, so that a bad one never takes its neighbours along."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import structlog

from schemas.cloudevents import STRUCTURED, CloudEvent, Form, Unreadable, batch_elements, read_message
from schemas.plain_requests import PlainIssuing, read_plain
from schemas.reasons import Reason
from schemas.requests import Refusal, Request, read_request
from schemas.topics import Topic, event_type, queue_name, topic_of_type
from schemas.vocabulary import Environment
from worker.broker.port import Delivery, Message
from worker.broker.publication import carriable, fitting
from worker.broker.topology import DEAD_EXCHANGE
from worker.telemetry import worker_name

_log = structlog.get_logger()


class Item(NamedTuple):
    """One readable request, with the form in which its answer is wanted."""

    request: Request | PlainIssuing
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
    delivery: Delivery
    #: Its place in the delivery's batch, counted from 0; None where the delivery goes on as it came, headers and all.
    place: int | None


class Decoded(NamedTuple):
    """What deliveries hold."""

    items: list[Item]
    rejected: list[Rejected]


def decode(topic: Topic, environment: Environment, deliveries: Sequence[Delivery]) -> Decoded:
    """Read deliveries of one topic's queue, in order; whatever is not a request of this topic is rejected."""
    decoded = Decoded([], [])
    for group, delivery in enumerate(deliveries):
        try:
            items, rejected = _decode_one(topic, environment, group, delivery)
        except Exception as error:  # noqa: BLE001 -- logged whole, and the message goes to the dead letters
            # The last net: whatever a message has in it, it must not end the lane, which would meet it again.
            _log.exception("reading-failed", topic=topic.value)
            detail = f"reading it failed ({type(error).__name__}): see the worker's log"
            items, rejected = [], [_whole(Reason.PROCESSING_FAILED, detail, None, delivery)]
        decoded.items.extend(items)
        decoded.rejected.extend(rejected)
    return decoded


def _decode_one(topic: Topic, environment: Environment, group: int, delivery: Delivery) -> Decoded:
    if topic is Topic.INVOICE_ISSUING:
        plain = read_plain(delivery.body, delivery.content_type, delivery.content_encoding, environment)
        if plain is not None:
            form, asked = plain
            return Decoded(
                [Item(request, event, form, group, delivery, place) for place, (event, request) in enumerate(asked)], []
            )
    items: list[Item] = []
    rejected: list[Rejected] = []
    elements: list[bytes] = []
    reading = read_message(delivery.body, delivery.content_type, delivery.content_encoding, delivery.headers)
    for place, found in enumerate(reading.items):
        if isinstance(found, Unreadable):
            rejected.append(_unreadable(found, delivery, place))
            continue
        request = _request(topic, environment, found)
        if not isinstance(request, Refusal):
            items.append(Item(request, found, reading.form, group, delivery, place))
        elif reading.form is Form.SINGLE:
            rejected.append(_whole(request.reason, request.detail, found, delivery))
        else:
            elements = elements or batch_elements(delivery.body)
            rejected.append(_alone(request.reason, request.detail, found, elements[place], delivery, place))
    return Decoded(items, rejected)


def reject(item: Item, reason: Reason, detail: str) -> Rejected:
    """Turn a readable item into a dead letter: a fault of ours keeps it from being handled."""
    if item.form is Form.SINGLE:
        return _whole(reason, detail, item.event, item.delivery)
    element = batch_elements(item.delivery.body)[item.place]
    return _alone(reason, detail, item.event, element, item.delivery, item.place)


def message_of(event: CloudEvent) -> str:
    """Name a message as the history of numbers does: by its source and id."""
    return f"{event.source} {event.id}"


def dead_letter(topic: Topic, rejected: Rejected, now: datetime) -> Message:
    """Write the message that goes to the dead letters (contract, "Dead letters"); every broker can carry it.

    Beside why, it says where the message came from: queue, routing key, worker, and for an element its batch.
    """
    delivery, place = rejected.delivery, rejected.place
    origin: dict[str, str | int] = {
        "x-fuma-queue": queue_name(topic),
        "x-fuma-routing-key": fitting(delivery.routing_key) or "",
        "x-fuma-worker": worker_name(),
    }
    if place is not None:
        origin |= {"x-fuma-element": place, "x-fuma-batch": fitting(delivery.message_id) or ""}
    return Message(
        exchange=DEAD_EXCHANGE,
        routing_key=topic.value,
        body=rejected.body,
        content_type=fitting(rejected.content_type) or "application/octet-stream",
        content_encoding=None if place is not None else fitting(delivery.content_encoding),
        headers={
            **({} if place is not None else carriable(delivery.headers)),
            "x-fuma-reason": rejected.reason.value,
            "x-fuma-detail": rejected.detail,
            "x-fuma-topic": topic.value,
            "x-fuma-at": now.isoformat(),
            **origin,
        },
        message_id=fitting(rejected.message_id),
    )


def _request(topic: Topic, environment: Environment, event: CloudEvent) -> Request | Refusal:
    if topic_of_type(event.type) is not topic:
        return Refusal(Reason.UNKNOWN_TYPE, f"this queue serves the type {event_type(topic)} alone")
    return read_request(topic, event.data, environment)


def _unreadable(found: Unreadable, delivery: Delivery, place: int) -> Rejected:
    if found.body is delivery.body:
        return _whole(found.reason, found.detail, None, delivery)
    return Rejected(found.reason, found.detail, found.body, found.content_type, None, delivery, place)


def _whole(reason: Reason, detail: str, event: CloudEvent | None, delivery: Delivery) -> Rejected:
    message_id = delivery.message_id or (None if event is None else event.id)
    return Rejected(reason, detail, delivery.body, delivery.content_type, message_id, delivery, None)


def _alone(
    reason: Reason,
    detail: str,
    event: CloudEvent,
    element: bytes,
    delivery: Delivery,
    place: int,
) -> Rejected:
    return Rejected(reason, detail, element, STRUCTURED, event.id, delivery, place)
