"""The contract's field lists, written out by hand from its page, and what every event must look like."""

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Protocol


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_BOUND = _names("binding_id issue_request_id organization taxpayer_id invoice_number requested_by at")
_OUTCOME = _names("outcome_id issue_request_id organization taxpayer_id invoice_number at")
_CLAIM = _names("claim_id taxpayer_id quantity reason detail next_attempt_at")
_ENDED = _names("range_id taxpayer_id year first_number last_number unused reason")

#: The data of every event, besides `environment`.
EVENT_FIELDS: Mapping[str, frozenset[str]] = {
    "number-assigned": _names(
        "issue_request_id organization taxpayer_id invoice_number issue_date kind range_id claim_mode assigned_at"
    ),
    "number-refused": _names("issue_request_id organization reason detail"),
    "range-exhausted": _names("taxpayer_id channel_mode year episode last_number waiting exhausted_at"),
    "range-low": _names("taxpayer_id channel_mode year episode remaining threshold days_left"),
    "range-claimed": _names(
        "claim_id claim_mode organization taxpayer_id range_id first_number last_number quantity year"
    ),
    "claim-failed": _CLAIM,
    "claim-unresolved": _CLAIM,
    "range-refreshed": _names(
        "refresh_id taxpayer_id ranges claimed remaining resolved_claims unresolved_claims expired foreign differences"
    ),
    "range-expired": _ENDED,
    "range-quarantined": _ENDED,
    "number-bound": _BOUND,
    "number-unbound": _BOUND,
    "binding-refused": _BOUND | {"reason", "detail"},
    "number-used": _OUTCOME,
    "number-released": _OUTCOME,
    "number-voided": _OUTCOME,
    "number-held": _OUTCOME,
    "outcome-refused": _OUTCOME | {"reason", "detail"},
    "outcome-overdue": _OUTCOME,
    "input-degraded": _names("topic worker unreadable of commonest_reason at"),
    "input-recovered": _names("topic worker unreadable of commonest_reason at"),
}

#: Fields that an event may do without: nothing is known to put there, or it stands for manual claims only.
_MAY_LACK: Mapping[str, frozenset[str]] = {
    "range-claimed": _names("organization"),
    "claim-failed": _names("taxpayer_id"),
}

#: What `--json` gives, for each command.
JSON_FIELDS: Mapping[str, frozenset[str]] = {
    "ranges": _names(
        "range_id organization taxpayer_id environment channel_mode year first_number last_number claimed "
        "remaining claim_mode status claim_id created_at days_left"
    ),
    "claims": _names(
        "claim_id claim_mode organization taxpayer_id quantity business_serial status reason detail "
        "requested_by created_at next_attempt_at"
    ),
    "numbers": _names("invoice_number range_id taxpayer_id status claim_mode issue_request_id issue_date assigned_at"),
    "waiting": _names("issue_request_id organization taxpayer_id issue_date waiting_since"),
}

RANGE_STATUSES = _names("active used-up expired retired quarantined foreign")
CLAIM_STATUSES = _names("open unresolved granted refused quarantined abandoned")
REASONS = _names(
    "unknown-organization issue-date-out-of-year number-not-available number-of-another-taxpayer "
    "channel-mode-mismatch year-mismatch conflicting-request no-stock cancelled released "
    "quantity-out-of-bounds leqi-refused leqi-throttled leqi-unreachable grant-invalid outcome-conflict "
    "unknown-request "
    # Added to the contract's.
    "restored not-stored"
)

#: The exchanges and queues, with their arguments.
DEAD_LETTERS_ARGUMENTS: Mapping[str, object] = {"x-queue-type": "quorum", "x-delivery-limit": 1000000}
REQUEST_QUEUE_ARGUMENTS: Mapping[str, object] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 1000,
    "x-dead-letter-exchange": "fuma.dead",
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish",
}
REQUEST_QUEUES = (
    "fuma.refresh-requested",
    "fuma.claim-requested",
    "fuma.invoice-issuing",
    "fuma.range-exhausted",
    "fuma.range-low",
)

_NUMBER = re.compile(r"[0-9]{20}", re.ASCII)


class Received(Protocol):
    """An event as it came from the broker."""

    @property
    def topic(self) -> str:
        """The topic that its type names."""
        ...

    @property
    def event(self) -> dict[str, Any]:
        """The CloudEvent."""
        ...

    @property
    def routing_key(self) -> str:
        """The routing key of its message."""
        ...


def faults_of(records: Iterable[Received], environment: str = "sandbox") -> list[str]:
    """Tell where events differ from the contract's form, each difference once for a topic."""
    return sorted({f"{record.topic}: {fault}" for record in records for fault in _faults(record, environment)})


def _faults(record: Received, environment: str) -> Iterable[str]:
    if record.topic not in EVENT_FIELDS:
        yield "a topic that the contract doesn't know"
        return
    yield from _envelope_faults(record.event, environment)
    data = record.event.get("data")
    if not isinstance(data, dict):
        yield "data is no object"
        return
    yield from _field_faults(record.topic, data)
    if data.get("environment") != environment:
        yield f"environment {data.get('environment')!r}"
    yield from _value_faults(record.topic, data)
    taxpayer_id = data.get("taxpayer_id")
    if taxpayer_id is not None and record.routing_key != f"{record.topic}.{taxpayer_id}":
        yield f"routing key {record.routing_key}, not <topic>.<taxpayer_id>"
    if record.routing_key.split(".")[0] != record.topic:
        yield f"routing key {record.routing_key}"


def _envelope_faults(event: Mapping[str, object], environment: str) -> Iterable[str]:
    if event.get("specversion") != "1.0":
        yield f"specversion {event.get('specversion')!r}"
    if event.get("source") != f"/fuma/{environment}":
        yield f"source {event.get('source')!r}"
    if not (isinstance(event.get("id"), str) and event["id"]):
        yield "no id"
    if not _is_instant(event.get("time")):
        yield f"time {event.get('time')!r}"


def _field_faults(topic: str, data: Mapping[str, object]) -> Iterable[str]:
    lacking = EVENT_FIELDS[topic] - data.keys() - _MAY_LACK.get(topic, frozenset())
    if lacking:
        yield f"lacks {sorted(lacking)}"
    beyond = data.keys() - EVENT_FIELDS[topic] - {"environment"}
    if beyond:
        yield f"has {sorted(beyond)} beyond the contract"


def _value_faults(topic: str, data: Mapping[str, object]) -> Iterable[str]:
    for name in ("invoice_number", "first_number", "last_number"):
        value = data.get(name)
        if value is not None and not (isinstance(value, str) and _NUMBER.fullmatch(value)):
            yield f"{name} is no string of 20 digits"
    for name in ("assigned_at", "exhausted_at", "next_attempt_at", "at"):
        if data.get(name) is not None and not _is_instant(data[name]):
            yield f"{name} is no RFC 3339 instant: {data[name]!r}"
    if "reason" in data and data["reason"] not in REASONS and topic not in {"range-expired", "range-quarantined"}:
        yield f"reason {data['reason']!r} is not in the contract"


def _is_instant(value: object) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
