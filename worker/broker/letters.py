"""What can be told of a dead letter by its headers. Source: the contract, "Dead letters"."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.reasons import Reason
from schemas.topics import CONSUMED, queue_name
from worker.broker.parcel import Parcel
from worker.broker.topology import topic_of_queue

REASON_HEADER = "x-fuma-reason"
DETAIL_HEADER = "x-fuma-detail"
TOPIC_HEADER = "x-fuma-topic"
AT_HEADER = "x-fuma-at"
WORKER_HEADER = "x-fuma-worker"

#: What brokers and we add on the way; a letter goes back without it.
_ADDED_PREFIXES = ("x-fuma-", "x-death", "x-first-death-", "x-last-death-", "x-delivery-count", "x-opt-")


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
    #: Which worker moved it: host and process.
    worker: str | None
    message_id: str | None
    content_type: str | None
    #: Bytes of the body.
    size: int
    #: The queue that it can go back to; None where that can't be told.
    queue: str | None


def read_letter(position: int, parcel: Parcel) -> DeadLetter:
    """Tell what a letter's headers say. What the broker itself moved has `x-death` only: `delivery-limit`."""
    death = _first_death(parcel.headers)
    # What the broker moved has a sender's headers: nobody but us speaks under our names.
    headers = {} if death else parcel.headers
    topic = _text(headers.get(TOPIC_HEADER)) or _topic_of_queue(_text(death.get("queue")))
    return DeadLetter(
        position=position,
        reason=_text(headers.get(REASON_HEADER)) or Reason.DELIVERY_LIMIT.value,
        detail=_text(headers.get(DETAIL_HEADER)) or _text(death.get("reason")),
        topic=topic,
        at=_time(headers.get(AT_HEADER)) or _time(death.get("time")),
        worker=_text(headers.get(WORKER_HEADER)),
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


def _first_death(headers: Mapping[str, object]) -> Mapping[str, object]:
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], Mapping):
        return deaths[0]
    return {}


def _topic_of_queue(queue: str | None) -> str | None:
    topic = None if queue is None else topic_of_queue(queue)
    return None if topic is None else topic.value


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
