"""What Fuma tells: exactly the fields of the contract, written out by hand from its table."""

from datetime import UTC, date, datetime

import pytest
from pydantic import ValidationError

from schemas.events import (
    EVENT_MODELS,
    NumberAssigned,
    RangeDifference,
    RangeRefreshed,
)
from schemas.topics import EVENTS, Topic

_ENDED = "range_id taxpayer_id year first_number last_number unused reason"
_CLAIM = "claim_id taxpayer_id quantity reason detail next_attempt_at"
_BINDING = "binding_id issue_request_id organization taxpayer_id invoice_number requested_by at"
_OUTCOME = "outcome_id issue_request_id organization taxpayer_id invoice_number at"
CONTRACT = {
    "number-assigned": "issue_request_id organization taxpayer_id invoice_number issue_date kind range_id claim_mode"
    " assigned_at",
    "number-refused": "issue_request_id organization reason detail",
    "range-exhausted": "taxpayer_id channel_mode year episode last_number waiting exhausted_at",
    "range-low": "taxpayer_id channel_mode year episode remaining threshold days_left",
    "range-claimed": "claim_id claim_mode organization taxpayer_id range_id first_number last_number quantity year",
    "claim-failed": _CLAIM,
    "claim-unresolved": _CLAIM,
    "range-refreshed": "refresh_id taxpayer_id ranges claimed remaining resolved_claims unresolved_claims expired"
    " foreign differences",
    "range-expired": _ENDED,
    "range-quarantined": _ENDED,
    "number-bound": _BINDING,
    "number-unbound": _BINDING,
    "binding-refused": f"{_BINDING} reason detail",
    "number-used": _OUTCOME,
    "number-released": _OUTCOME,
    "number-voided": _OUTCOME,
    "number-held": _OUTCOME,
    "outcome-refused": f"{_OUTCOME} reason detail",
    "outcome-overdue": _OUTCOME,
    "input-degraded": "topic worker unreadable of commonest_reason at",
    "input-recovered": "topic worker unreadable of commonest_reason at",
}

ASSIGNED = {
    "environment": "sandbox",
    "issue_request_id": "R-1",
    "organization": "A",
    "taxpayer_id": "91350100M000100Y43",
    "invoice_number": "26447000000000000001",
    "issue_date": "2026-03-04",
    "kind": "blue",
    "range_id": "7d6b1f0e-8f5e-4a0f-8f5e-7f5b8b1c1a11",
    "claim_mode": "automatic",
    "assigned_at": "2026-03-04T05:06:07.123456Z",
}


def test_every_event_has_a_model() -> None:
    assert sorted(EVENT_MODELS) == sorted(EVENTS)


@pytest.mark.parametrize("topic", EVENTS)
def test_an_event_has_exactly_the_fields_of_the_contract_and_its_environment(topic: Topic) -> None:
    assert set(EVENT_MODELS[topic].model_fields) == {"environment", *CONTRACT[topic].split()}


def test_an_event_is_written_as_it_was_read() -> None:
    assert NumberAssigned.model_validate(ASSIGNED).model_dump(mode="json") == ASSIGNED


def test_an_event_is_built_from_dates_and_instants_too() -> None:
    built = NumberAssigned.model_validate(
        ASSIGNED | {"issue_date": date(2026, 3, 4), "assigned_at": datetime(2026, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)},
    )
    assert built.model_dump(mode="json") == ASSIGNED


def test_an_instant_without_a_zone_is_none() -> None:
    naive = datetime(2026, 3, 4, tzinfo=UTC).replace(tzinfo=None)
    with pytest.raises(ValidationError):
        NumberAssigned.model_validate(ASSIGNED | {"assigned_at": naive})


def test_an_event_can_not_be_changed() -> None:
    event = NumberAssigned.model_validate(ASSIGNED)
    with pytest.raises(ValidationError):
        event.organization = "B"  # type: ignore[misc]


def test_an_event_without_its_environment_is_none() -> None:
    with pytest.raises(ValidationError):
        NumberAssigned.model_validate({key: value for key, value in ASSIGNED.items() if key != "environment"})


def test_the_differences_of_a_refresh_are_a_list() -> None:
    difference = {
        "kind": "missing-here",
        "first_number": "26447000000000000001",
        "last_number": "26447000000000000010",
        "quantity_here": None,
        "quantity_there": 10,
    }
    counts = dict.fromkeys(
        ("ranges", "claimed", "remaining", "resolved_claims", "unresolved_claims", "expired", "foreign"),
        0,
    )
    told = {
        "environment": "sandbox",
        "refresh_id": "F-1",
        "taxpayer_id": "91350100M000100Y43",
        **counts,
        "differences": [difference],
    }
    event = RangeRefreshed.model_validate(told)
    assert event.differences == (RangeDifference.model_validate(difference),)
    assert event.model_dump(mode="json") == told
