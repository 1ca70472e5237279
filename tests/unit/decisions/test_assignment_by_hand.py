"""Numbers that are not the stock's to give: named ones, bound ones, released ones, and what a paused stock holds."""

from dataclasses import replace
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from msgspec import structs

from db.records import NamedNumber, StockKey, TakenNumber
from schemas.reasons import Reason
from tests.support.core.deciding import TAXPAYERS, TODAY, asked, known, shelf
from worker.decisions.assignment import Asked, Assigned, Decisions, Known, decide

NAMED = "26447000000000000500"


def manual(**changes: Any) -> NamedNumber:  # noqa: ANN401 -- as of a number
    """Give the manual number 500, available, with changes."""
    taken = TakenNumber(UUID(int=5), 264470, 500, 500, 509, "manual", step=2)
    return replace(NamedNumber(TAXPAYERS[0], 2026, "self-use", "available", None, "active", taken), **changes)


def decided_with(known_numbers: Known, *requests: Asked, stock: int = 10, paused: bool = False) -> Decisions:
    shelves = {each.stock_key: shelf(stock, each.stock_key, paused=paused) for each in requests}
    return decide(requests, known_numbers, shelves, TODAY)


def naming(number: NamedNumber) -> Known:
    return Known({}, named={(TAXPAYERS[0], NAMED): number})


@pytest.mark.parametrize("range_status", ["active", "used-up"])
def test_an_available_manual_number_is_used_by_who_names_it_and_the_stock_is_left_alone(range_status: str) -> None:
    number = manual(range_status=range_status)

    decisions = decided_with(naming(number), asked("R1", number=NAMED), stock=0)

    assert decisions.assigned == [Assigned(asked("R1", number=NAMED), number.taken)]
    assert decisions.touched == {}


def test_one_number_is_not_named_by_two() -> None:
    decisions = decided_with(naming(manual()), asked("R1", number=NAMED), asked("R2", number=NAMED))

    assert [each.asked.key.issue_request_id for each in decisions.assigned] == ["R1"]
    assert [each.reason for each in decisions.refused] == [Reason.NUMBER_NOT_AVAILABLE]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        *(
            ({"status": status}, Reason.NUMBER_NOT_AVAILABLE)
            for status in ("bound", "assigned", "held", "used", "voided", "expired")
        ),
        *(
            ({"range_status": status}, Reason.NUMBER_NOT_AVAILABLE)
            for status in ("expired", "retired", "quarantined", "foreign")
        ),
        ({"taken": structs.replace(manual().taken, claim_mode="automatic")}, Reason.NUMBER_NOT_AVAILABLE),
        ({"channel_mode": "joint"}, Reason.CHANNEL_MODE_MISMATCH),
        ({"year": 2025}, Reason.YEAR_MISMATCH),
        ({"year": 2027}, Reason.YEAR_MISMATCH),
    ],
)
def test_a_named_number_that_may_not_be_used_is_refused(changes: dict[str, object], reason: Reason) -> None:
    decisions = decided_with(naming(manual(**changes)), asked("R1", number=NAMED))

    assert [each.reason for each in decisions.refused] == [reason]
    assert decisions.assigned == []


@pytest.mark.parametrize("named", [None, NAMED])
def test_a_manual_number_is_for_the_channel_mode_of_its_claim(named: str | None) -> None:
    joint = structs.replace(asked("R1", number=named), stock_key=StockKey(TAXPAYERS[0], "joint", 2026))
    number = manual(status="available" if named else "bound")
    stored = naming(number) if named else Known({}, bound={joint.key: number})

    assert [each.reason for each in decided_with(stored, joint).refused] == [Reason.CHANNEL_MODE_MISMATCH]


@pytest.mark.parametrize(("asking", "owning"), [TAXPAYERS, TAXPAYERS[::-1]])
def test_a_named_number_of_another_taxpayer_is_refused_as_such(asking: str, owning: str) -> None:
    decisions = decided_with(Known({}, owners={NAMED: owning}), asked("R1", number=NAMED, taxpayer=asking))

    assert [each.reason for each in decisions.refused] == [Reason.NUMBER_OF_ANOTHER_TAXPAYER]


def test_a_named_number_without_a_row_is_not_available() -> None:
    decisions = decided_with(Known({}, owners={NAMED: TAXPAYERS[0]}), asked("R1", number=NAMED))

    assert [each.reason for each in decisions.refused] == [Reason.NUMBER_NOT_AVAILABLE]


@pytest.mark.parametrize("named", [None, NAMED])
@pytest.mark.parametrize("paused", [False, True])
def test_a_bound_request_uses_its_number_whatever_the_stock_holds(named: str | None, *, paused: bool) -> None:
    number = manual(status="bound", holder="R1")
    bound = Known({}, bound={asked().key: number}, named={(TAXPAYERS[0], NAMED): number})

    decisions = decided_with(bound, asked("R1", number=named), asked("R2"), stock=1, paused=paused)

    assert decisions.assigned[0] == Assigned(asked("R1", number=named), number.taken)
    assert len(decisions.assigned) + len(decisions.waiting) == 2


def test_a_bound_request_that_names_another_number_is_refused() -> None:
    bound = Known({}, bound={asked().key: manual(status="bound", holder="R1")})

    decisions = decided_with(bound, asked("R1", number="26447000000000000501"))

    assert [each.reason for each in decisions.refused] == [Reason.NUMBER_NOT_AVAILABLE]


def test_a_bound_number_is_of_its_year_only() -> None:
    bound = Known({}, bound={asked().key: manual(status="bound", holder="R1", year=2025)})

    assert [each.reason for each in decided_with(bound, asked("R1")).refused] == [Reason.YEAR_MISMATCH]


def test_a_copy_of_a_message_whose_number_was_released_gets_no_new_one() -> None:
    closed = known("R1", "closed")
    answered = Known({closed.key: closed}, frozenset({(closed.key, "/tests R1")}))

    copy = decided_with(answered, asked("R1"))
    anew = decided_with(answered, structs.replace(asked("R1"), message="/tests anew"))

    assert [each.reason for each in copy.refused] == [Reason.RELEASED]
    assert (copy.assigned, len(anew.assigned)) == ([], 1)


def test_a_paused_stock_gives_nothing_and_lets_wait_whoever_it_has_numbers_for() -> None:
    requests = [asked("R1"), asked("R2", day=date(2025, 12, 31)), asked("R3", day=date(2027, 1, 5))]
    decisions = decided_with(Known({}), *requests, paused=True)

    assert [each.key.issue_request_id for each in decisions.waiting] == ["R1", "R2", "R3"]
    assert (decisions.assigned, decisions.refused) == ([], [])
