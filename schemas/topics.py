"""What messages are about, and the names that follow from it: CloudEvents type, routing key, queue.

Source of every name: the contract, "On the broker".
"""

from enum import StrEnum


class Topic(StrEnum):
    """Every subject of the contract, requests first; the value is the name that stands on the wire."""

    REFRESH_REQUESTED = "refresh-requested"
    CLAIM_REQUESTED = "claim-requested"
    INVOICE_ISSUING = "invoice-issuing"
    NUMBER_BINDING_REQUESTED = "number-binding-requested"
    INVOICE_OUTCOME = "invoice-outcome"

    NUMBER_ASSIGNED = "number-assigned"
    NUMBER_REFUSED = "number-refused"
    RANGE_EXHAUSTED = "range-exhausted"
    RANGE_LOW = "range-low"
    RANGE_CLAIMED = "range-claimed"
    CLAIM_FAILED = "claim-failed"
    CLAIM_UNRESOLVED = "claim-unresolved"
    RANGE_REFRESHED = "range-refreshed"
    RANGE_EXPIRED = "range-expired"
    RANGE_QUARANTINED = "range-quarantined"
    NUMBER_BOUND = "number-bound"
    NUMBER_UNBOUND = "number-unbound"
    BINDING_REFUSED = "binding-refused"
    NUMBER_USED = "number-used"
    NUMBER_RELEASED = "number-released"
    NUMBER_VOIDED = "number-voided"
    NUMBER_HELD = "number-held"
    OUTCOME_REFUSED = "outcome-refused"
    OUTCOME_OVERDUE = "outcome-overdue"
    INPUT_DEGRADED = "input-degraded"
    INPUT_RECOVERED = "input-recovered"


#: What others ask of Fuma.
REQUESTS: tuple[Topic, ...] = (
    Topic.REFRESH_REQUESTED,
    Topic.CLAIM_REQUESTED,
    Topic.INVOICE_ISSUING,
    Topic.NUMBER_BINDING_REQUESTED,
    Topic.INVOICE_OUTCOME,
)

#: What Fuma tells.
EVENTS: tuple[Topic, ...] = tuple(topic for topic in Topic if topic not in REQUESTS)

#: Topics that have a queue and a handler: the requests served, and the events that Fuma itself acts upon.
CONSUMED: tuple[Topic, ...] = (
    Topic.REFRESH_REQUESTED,
    Topic.CLAIM_REQUESTED,
    Topic.INVOICE_ISSUING,
    Topic.NUMBER_BINDING_REQUESTED,
    Topic.INVOICE_OUTCOME,
    Topic.RANGE_EXHAUSTED,
    Topic.RANGE_LOW,
)

#: Events that a handler or the timed work publishes.
PUBLISHED: tuple[Topic, ...] = (
    Topic.NUMBER_ASSIGNED,
    Topic.NUMBER_REFUSED,
    Topic.RANGE_EXHAUSTED,
    Topic.RANGE_LOW,
    Topic.RANGE_CLAIMED,
    Topic.CLAIM_FAILED,
    Topic.CLAIM_UNRESOLVED,
    Topic.RANGE_REFRESHED,
    Topic.RANGE_EXPIRED,
    Topic.RANGE_QUARANTINED,
    Topic.NUMBER_BOUND,
    Topic.NUMBER_UNBOUND,
    Topic.BINDING_REFUSED,
    Topic.NUMBER_USED,
    Topic.NUMBER_RELEASED,
    Topic.NUMBER_VOIDED,
    Topic.NUMBER_HELD,
    Topic.OUTCOME_REFUSED,
    Topic.OUTCOME_OVERDUE,
    Topic.INPUT_DEGRADED,
    Topic.INPUT_RECOVERED,
)

_TYPES: dict[Topic, str] = {topic: f"fuma.{topic.value}.v1" for topic in Topic}
_TOPICS: dict[str, Topic] = {type_: topic for topic, type_ in _TYPES.items()}


def event_type(topic: Topic) -> str:
    """Give the CloudEvents `type` of a topic, as `fuma.invoice-issuing.v1`."""
    return _TYPES[topic]


def topic_of_type(type_: str) -> Topic | None:
    """Give the topic of a CloudEvents `type`; None for a type that isn't ours. Compared exactly, case included."""
    return _TOPICS.get(type_)


def routing_key(topic: Topic, taxpayer_id: str | None) -> str:
    """Give the routing key of a message: the topic, and the taxpayer id behind a dot where it is known."""
    return topic.value if taxpayer_id is None else f"{topic.value}.{taxpayer_id}"


def queue_name(topic: Topic) -> str:
    """Give the name of the queue that a topic is consumed from."""
    return f"fuma.{topic.value}"
