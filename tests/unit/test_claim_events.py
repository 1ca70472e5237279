"""Ids of the events that tell how a claim ended."""

from datetime import UTC, datetime

from schemas.reasons import Reason
from worker.events import EventWriter

NOW = datetime(2026, 12, 30, 1, tzinfo=UTC)


def failed(reason: str) -> str:
    event = EventWriter("sandbox").claim_failed(
        "C1",
        taxpayer_id="91350100M000100Y43",
        quantity=10,
        reason=reason,
        detail="as it was told",
        next_attempt_at=None,
        now=NOW,
        traceparent=None,
        remembered=True,
    )
    return event.event_id


def test_a_claim_that_is_given_up_and_then_found_with_a_bad_grant_tells_of_two_facts() -> None:
    assert failed(Reason.LEQI_UNREACHABLE) != failed(Reason.GRANT_INVALID)


def test_the_same_end_told_again_bears_the_same_id_also_as_it_was_stored() -> None:
    assert failed(Reason.GRANT_INVALID) == failed("grant-invalid")
