"""Binding as a pure decision: every refusal has its reason, and comes before anything moves."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from msgspec import structs

from db.records import KnownBinding, KnownRequest, NamedNumber, RequestKey, TakenNumber, WaitingRequest
from schemas.reasons import Reason
from schemas.vocabulary import BindingAction
from worker.decisions.binding import Bind, Known, Refuse, Repeat, Unbind, Wanted, decide

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
RANGE = UUID(int=1)
NUMBER = NamedNumber(
    "T", 2026, "self-use", "available", None, "active", TakenNumber(RANGE, 264470, 5, 1, 9, "manual", 2)
)
BOUND = replace(NUMBER, status="bound", holder="R1")
BIND = Wanted("T", "self-use", "A", 264470, 5, "R1", BindingAction.BIND)
UNBIND = replace(BIND, action=BindingAction.UNBIND)
WAITING = WaitingRequest(RequestKey("T", "R1"), "A", "self-use", date(2026, 11, 23), "blue", "single", "m", None)
REQUEST = KnownRequest(
    RequestKey("T", "R1"),
    "A",
    date(2026, 11, 23),
    "blue",
    None,
    "waiting",
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    None,
)
BEFORE = KnownBinding("T", "B1", "A", 264470, 5, "R1", "bind", "Li", uuid4(), NOW)


def reason(wanted: Wanted, known: Known) -> Reason:
    refused = decide(wanted, known)
    assert isinstance(refused, Refuse), refused
    assert refused.detail
    return refused.reason


def test_an_available_manual_number_is_bound() -> None:
    assert decide(BIND, Known(number=NUMBER)) == Bind(NUMBER, None)


def test_a_used_up_range_still_gives_its_free_numbers() -> None:
    number = replace(NUMBER, range_status="used-up")
    assert decide(BIND, Known(number=number)) == Bind(number, None)


def test_a_request_that_waits_is_served_with_it() -> None:
    known = Known(number=NUMBER, request=REQUEST, waiting=WAITING)
    assert decide(BIND, known) == Bind(NUMBER, WAITING)


def test_a_closed_request_may_be_bound_for_the_next_time() -> None:
    closed = replace(REQUEST, status="closed", closed_because="released")
    assert decide(BIND, Known(number=NUMBER, request=closed)) == Bind(NUMBER, None)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Known(), Reason.NUMBER_NOT_AVAILABLE),
        (Known(owner="T"), Reason.NUMBER_NOT_AVAILABLE),
        (Known(owner="S"), Reason.NUMBER_OF_ANOTHER_TAXPAYER),
        (Known(owner="U"), Reason.NUMBER_OF_ANOTHER_TAXPAYER),
        (Known(number=replace(NUMBER, channel_mode="joint")), Reason.CHANNEL_MODE_MISMATCH),
        (
            Known(number=replace(NUMBER, taken=structs.replace(NUMBER.taken, claim_mode="automatic"))),
            Reason.NUMBER_NOT_AVAILABLE,
        ),
        *(
            (Known(number=replace(NUMBER, status=status)), Reason.NUMBER_NOT_AVAILABLE)
            for status in ("bound", "assigned", "held", "used", "voided", "expired")
        ),
        *(
            (Known(number=replace(NUMBER, range_status=status)), Reason.NUMBER_NOT_AVAILABLE)
            for status in ("expired", "retired", "quarantined", "foreign")
        ),
        (
            Known(number=NUMBER, bound=replace(BOUND, taken=structs.replace(NUMBER.taken, sequence=6))),
            Reason.CONFLICTING_REQUEST,
        ),
        (Known(number=NUMBER, request=replace(REQUEST, status="assigned")), Reason.CONFLICTING_REQUEST),
        (Known(number=NUMBER, waiting=replace(WAITING, channel_mode="joint")), Reason.CHANNEL_MODE_MISMATCH),
        (Known(number=NUMBER, waiting=replace(WAITING, channel_mode="tax-bureau")), Reason.CHANNEL_MODE_MISMATCH),
        (Known(number=NUMBER, waiting=replace(WAITING, issue_date=date(2025, 1, 1))), Reason.YEAR_MISMATCH),
        (Known(number=NUMBER, waiting=replace(WAITING, issue_date=date(2027, 1, 1))), Reason.YEAR_MISMATCH),
    ],
)
def test_what_can_not_be_bound_is_refused(known: Known, expected: Reason) -> None:
    assert reason(BIND, known) is expected


def test_a_bound_number_is_unbound_from_its_own_request_whatever_became_of_its_range() -> None:
    for status in ("active", "used-up", "quarantined"):
        number = replace(BOUND, range_status=status)
        assert decide(UNBIND, Known(number=number)) == Unbind(number)


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (Known(), Reason.NUMBER_NOT_AVAILABLE),
        (Known(owner="U"), Reason.NUMBER_OF_ANOTHER_TAXPAYER),
        (Known(number=replace(BOUND, holder="R0")), Reason.NUMBER_NOT_AVAILABLE),
        (Known(number=replace(BOUND, holder="R2")), Reason.NUMBER_NOT_AVAILABLE),
        (Known(number=replace(BOUND, channel_mode="joint")), Reason.CHANNEL_MODE_MISMATCH),
        *(
            (Known(number=replace(NUMBER, status=status, holder="R1")), Reason.NUMBER_NOT_AVAILABLE)
            for status in ("available", "assigned", "held", "used", "voided", "expired")
        ),
    ],
)
def test_what_can_not_be_unbound_is_refused(known: Known, expected: Reason) -> None:
    assert reason(UNBIND, known) is expected


def test_what_was_done_is_repeated_whatever_became_of_it() -> None:
    assert decide(BIND, Known(before=BEFORE, number=replace(NUMBER, status="used"))) == Repeat(BEFORE)
    assert decide(BIND, Known(before=BEFORE)) == Repeat(BEFORE)


@pytest.mark.parametrize(
    "other",
    [
        replace(BIND, organization="B"),
        replace(BIND, organization="0"),
        replace(BIND, prefix=274470),
        replace(BIND, prefix=254470),
        replace(BIND, sequence=6),
        replace(BIND, sequence=4),
        replace(BIND, issue_request_id="R2"),
        replace(BIND, issue_request_id="R0"),
        UNBIND,
    ],
)
def test_other_content_under_the_same_id_is_a_conflict(other: Wanted) -> None:
    assert reason(other, Known(before=BEFORE, number=NUMBER)) is Reason.CONFLICTING_REQUEST


def test_what_was_unbound_is_not_bound_under_the_same_id() -> None:
    known = Known(before=replace(BEFORE, action="unbind"), number=NUMBER)
    assert reason(BIND, known) is Reason.CONFLICTING_REQUEST
    assert decide(UNBIND, known) == Repeat(replace(BEFORE, action="unbind"))


@pytest.mark.parametrize(("holder", "to"), [("R1", "this request already"), ("R2", "another request")])
def test_who_asks_for_a_bound_number_is_told_whose_it_is(holder: str, to: str) -> None:
    refused = decide(BIND, Known(number=replace(BOUND, holder=holder)))
    assert refused == Refuse(Reason.NUMBER_NOT_AVAILABLE, f"the number is bound to {to}")


@pytest.mark.parametrize("status", ["assigned", "voided"])
def test_who_asks_for_a_number_out_of_reach_is_told_its_state(status: str) -> None:
    refused = decide(BIND, Known(number=replace(NUMBER, status=status)))
    assert isinstance(refused, Refuse)
    assert f"this one is {status}" in refused.detail


@pytest.mark.parametrize("action", BindingAction)
def test_a_number_is_for_the_channel_mode_of_its_claim(action: BindingAction) -> None:
    wanted = replace(BIND, channel_mode="joint", action=action)
    assert reason(wanted, Known(number=NUMBER)) is Reason.CHANNEL_MODE_MISMATCH
