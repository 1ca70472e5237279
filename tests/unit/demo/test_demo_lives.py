"""The reckoning of numbers' lives finds what binding, uploads and claims ahead brought otherwise than asked."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.topics import Topic
from tests.support.demo_run import (
    FREED,
    MOVES,
    REPORTS,
    SECOND,
    TAXPAYER,
    assignment,
    broken,
    heard,
    manual,
    number,
    outcome,
    outcome_reply,
)
from worker.demo.audience import Move
from worker.demo.lives import lives_of_numbers, states_after
from worker.demo.reckoning import Outcome

LEFT = "number-is-where-its-events-left-it"


def bind_twice(run: Outcome) -> None:
    reply = run.audience.replies["B-1"][0]
    run.audience.replies["B-1"].append(reply._replace(event_id="another"))


def bind_for_another(run: Outcome) -> None:
    reply = run.audience.replies["B-1"][0]
    told = reply.told.model_copy(update={"issue_request_id": "HAND-9"})
    run.audience.replies["B-1"] = [reply._replace(told=told)]


def bind_what_must_be_refused(run: Outcome) -> None:
    run.audience.replies["B-2"] = [run.audience.replies["B-2"][0]._replace(topic=Topic.NUMBER_BOUND)]


def answer_no_binding(run: Outcome) -> None:
    del run.audience.replies["B-3"]


def take_from_stock(run: Outcome) -> None:
    run.course.by_hand[TAXPAYER, "HAND-1"] = number(19)


def use_what_failed(run: Outcome) -> None:
    reply = run.audience.replies["O-2"][0]
    run.audience.replies["O-2"] = [reply._replace(topic=Topic.NUMBER_USED)]


def move_by_a_late_outcome(run: Outcome) -> None:
    done = replace(REPORTS[2], becomes=Topic.NUMBER_USED, refusal=None)
    run.audience.replies["O-3"] = [outcome_reply(done)]


def answer_an_old_copy(run: Outcome) -> None:
    run.audience.refused_copies.clear()


def leave_it_released(run: Outcome) -> None:
    run.audience.moves.pop()


def keep_it_in_the_ledger(run: Outcome) -> None:
    rows = [dict(row) for row in run.numbers]
    rows[0]["status"] = "assigned"
    run.numbers = rows


def put_it_on_another_request(run: Outcome) -> None:
    rows = [dict(row) for row in run.numbers]
    rows[1]["issue_request_id"] = "INV-1"
    run.numbers = rows


def give_a_used_number_again(run: Outcome) -> None:
    run.audience.moves.append(Move(Topic.NUMBER_ASSIGNED, number(1), "INV-1"))


def run_out(run: Outcome) -> None:
    assert run.course.ahead is not None
    run.course.ahead = replace(run.course.ahead, ran_out=1)


def claim_too_little(run: Outcome) -> None:
    assert run.course.ahead is not None
    run.course.ahead = replace(run.course.ahead, claims=2)


def never_come_down(run: Outcome) -> None:
    assert run.course.ahead is not None
    run.course.ahead = replace(run.course.ahead, low=0, claims=1)


@pytest.mark.parametrize(
    ("lie", "names"),
    [
        (bind_twice, {"binding-is-answered"}),
        (bind_for_another, {"binding-is-answered"}),
        (bind_what_must_be_refused, {"binding-is-answered"}),
        (answer_no_binding, {"binding-is-answered"}),
        (take_from_stock, {"manual-number-as-told-by-hand"}),
        (use_what_failed, {"outcome-is-answered"}),
        (move_by_a_late_outcome, {"outcome-is-answered"}),
        (answer_an_old_copy, {"old-message-gets-no-new-number"}),
        (leave_it_released, {"released-number-is-used-again", "refresh-adds-up", LEFT}),
        (keep_it_in_the_ledger, {LEFT}),
        (put_it_on_another_request, {LEFT}),
        (give_a_used_number_again, {"number-stands-on-one-request", LEFT}),
        (run_out, {"claimed-before-it-ran-out"}),
        (claim_too_little, {"claimed-before-it-ran-out"}),
        (never_come_down, {"claimed-before-it-ran-out"}),
    ],
)
def test_a_lie_about_a_life_is_found(lie: Callable[[Outcome], None], names: set[str]) -> None:
    run = outcome(heard())
    lie(run)
    assert broken(run) == names


def test_a_request_that_asks_anew_may_get_another_number_but_only_once() -> None:
    run = outcome(heard())
    run.audience.assigned[TAXPAYER, "INV-2"].append(assignment(SECOND, 4)._replace(event_id="a third"))
    assert "asked-again-same-answer" in broken(run)


def test_a_manual_number_that_nobody_ordered_is_found() -> None:
    audience = heard()
    audience.assigned[TAXPAYER, "HAND-3"] = [manual(FREED, 14)]
    assert {"answer-repeats-its-request", "number-was-granted-for-it"} <= broken(outcome(audience))


def test_a_run_without_any_hand_or_failure_has_nothing_to_show_for_them() -> None:
    run = outcome(heard())
    run.course.orders, run.course.by_hand, run.course.anew, run.course.ahead = [], {}, [], None
    run.audience.moves = [move for move in MOVES if move.topic is not Topic.NUMBER_RELEASED]
    run.audience.refused_copies.clear()
    unshown = {check.name for check in run.reckon() if check.checked == 0}
    assert unshown == {
        "binding-is-answered",
        "manual-number-as-told-by-hand",
        "old-message-gets-no-new-number",
        "released-number-is-used-again",
        "claimed-before-it-ran-out",
    }
    assert all(check.holds for check in run.reckon() if check.name in unshown)


def test_a_number_is_in_the_state_of_its_last_event_whichever_of_two_at_once_is_told_first() -> None:
    bound, assigned = (Move(topic, number(1), "INV-1") for topic in (Topic.NUMBER_BOUND, Topic.NUMBER_ASSIGNED))
    assert states_after([bound, assigned]) == states_after([assigned, bound]) == {number(1): ("assigned", "INV-1")}
    freed = [bound, Move(Topic.NUMBER_UNBOUND, number(1), "INV-1")]
    assert states_after(freed) == {number(1): ("available", None)}
    assert lives_of_numbers(freed) == {number(1): freed}
