"""Dead letters: how one is written when a message can't be read, and what can be told of one that lies there.

Source: the contract, "Dead letters".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.reasons import Reason
from schemas.topics import CONSUMED, Topic, queue_name
from worker.broker.parcel import Parcel
from worker.broker.port import Delivery, Message
from worker.broker.publication import LONGEST_HEADERS
from worker.broker.topology import DEAD_EXCHANGE

REASON_HEADER = "x-fuma-reason"
DETAIL_HEADER = "x-fuma-detail"
TOPIC_HEADER = "x-fuma-topic"
AT_HEADER = "x-fuma-at"

_LONGEST_DETAIL = 1_000
#: Of a message in CloudEvents' binary form the attributes are in the headers: without them the body says too little.
_ATTRIBUTE_PREFIXES = ("ce-", "cloudEvents:", "cloudEvents_")
#: What brokers and we add on the way; a letter goes back without it.
_ADDED_PREFIXES = ("x-fuma-", "x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-opt-")


def dead_letter(
    delivery: Delivery,
    topic: Topic,
    reason: Reason,
    detail: str,
    at: datetime,
) -> Message:
    """Write the letter for a whole message that can't be read: its body unchanged, with its reason.

    `at` is an aware time. Headers other than CloudEvents attributes are left behind, and the attributes too where
    they are too long to be carried.
    """
    return _letter(
        delivery.body,
        delivery.content_type or "application/octet-stream",
        {**_attributes(delivery.headers), **_headers(topic, reason, detail, at)},
        delivery.message_id,
        delivery.content_encoding,
    )


def dead_element(body: bytes, content_type: str, topic: Topic, reason: Reason, detail: str, at: datetime) -> Message:
    """Write the letter for one bad element of a readable batch, given as the structured message that it makes."""
    return _letter(body, content_type, _headers(topic, reason, detail, at), None, None)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A letter in the queue of the dead, counted from 1 at its front at the time of looking."""

    position: int
    #: A `Reason`, or whatever text another program wrote there.
    reason: str
    detail: str | None
    topic: str | None
    #: Aware; None where nobody noted it.
    at: datetime | None
    message_id: str | None
    content_type: str | None
    #: Bytes of the body.
    size: int
    #: The queue that it can go back to; None where that can't be told.
    queue: str | None


def read_letter(position: int, parcel: Parcel) -> DeadLetter:
    """Tell what a letter's headers say. What the broker itself moved has `x-death` only: `delivery-limit`."""
    headers = parcel.headers
    death = _first_death(headers)
    topic = _text(headers.get(TOPIC_HEADER)) or _topic_of_queue(_text(death.get("queue")))
    return DeadLetter(
        position=position,
        reason=_text(headers.get(REASON_HEADER)) or Reason.DELIVERY_LIMIT.value,
        detail=_text(headers.get(DETAIL_HEADER)) or _text(death.get("reason")),
        topic=topic,
        at=_time(headers.get(AT_HEADER)) or _time(death.get("time")),
        message_id=parcel.message_id,
        content_type=parcel.content_type,
        size=len(parcel.body),
        queue=_queue_of(topic),
    )


def as_it_was(parcel: Parcel) -> Parcel:
    """Give the message without what was added on its way to the dead letters."""
    return Parcel(
        body=parcel.body,
        content_type=parcel.content_type,
        content_encoding=parcel.content_encoding,
        headers={name: value for name, value in parcel.headers.items() if not name.lower().startswith(_ADDED_PREFIXES)},
        message_id=parcel.message_id,
    )


def _letter(
    body: bytes,
    content_type: str,
    headers: Mapping[str, str | int],
    message_id: str | None,
    content_encoding: str | None,
) -> Message:
    return Message(
        exchange=DEAD_EXCHANGE,
        routing_key=str(headers[TOPIC_HEADER]),
        body=body,
        content_type=content_type,
        headers=headers,
        message_id=message_id,
        content_encoding=content_encoding,
    )


def _headers(topic: Topic, reason: Reason, detail: str, at: datetime) -> dict[str, str | int]:
    return {
        REASON_HEADER: reason.value,
        DETAIL_HEADER: detail.encode("utf-8", "replace").decode()[:_LONGEST_DETAIL],
        TOPIC_HEADER: topic.value,
        AT_HEADER: at.isoformat(),
    }


def _attributes(headers: Mapping[str, object]) -> dict[str, str | int]:
    attributes = {
        name: value
        for name, value in headers.items()
        if name.startswith(_ATTRIBUTE_PREFIXES) and isinstance(value, str | int)
    }
    longest = sum(len(name) + len(str(value)) for name, value in attributes.items()) * 4
    return attributes if longest < LONGEST_HEADERS // 2 else {}


def _first_death(headers: Mapping[str, object]) -> Mapping[str, object]:
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping):
        return deaths[0]
    return {}


def _topic_of_queue(queue: str | None) -> str | None:
    return next((topic.value for topic in CONSUMED if queue_name(topic) == queue), None)


def _queue_of(topic: str | None) -> str | None:
    return next((queue_name(known) for known in CONSUMED if known.value == topic), None)


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _time(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)
