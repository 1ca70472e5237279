"""The demo's reckoning finds each way in which what came can differ from what was sent."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import ClaimMode, InvoiceKind
from tests.support.demo_run import (
    DAY,
    FIRST,
    FREED,
    OTHER_TAXPAYER,
    TAXPAYER,
    assignment,
    broken,
    claimed,
    heard,
    number,
    outcome,
)
from worker.demo.audience import Audience, Move
from worker.demo.story import MANUAL_CLAIM
from worker.demo.traffic import Asked

LEFT = "number-is-where-its-events-left-it"


def test_a_run_in_which_all_was_right_holds_and_every_check_saw_rows() -> None:
    checks = outcome(heard()).reckon()
    assert [check for check in checks if not check.holds or not check.checked] == []


def tell(audience: Audience, sequence: int, **changes: object) -> None:
    """Let the events say that FREED got another number, or got it otherwise."""
    told = assignment(FREED, sequence, **changes)
    audience.assigned[TAXPAYER, "HAND-3"] = [told]
    place = audience.moves.index(Move(Topic.NUMBER_ASSIGNED, number(3), "HAND-3"))
    audience.moves[place] = Move(Topic.NUMBER_ASSIGNED, told.told.invoice_number, "HAND-3")


def forget(audience: Audience) -> None:
    del audience.assigned[TAXPAYER, "HAND-3"]
    audience.moves.remove(Move(Topic.NUMBER_ASSIGNED, number(3), "HAND-3"))


def invent(audience: Audience) -> None:
    stranger = Asked("INV-9", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
    audience.assigned[TAXPAYER, "INV-9"] = [assignment(stranger, 4)]
    audience.moves.append(Move(Topic.NUMBER_ASSIGNED, number(4), "INV-9"))


def give_twice(audience: Audience) -> None:
    tell(audience, 1)


def change_answer(audience: Audience) -> None:
    told = audience.assigned[TAXPAYER, "INV-1"]
    told[1] = assignment(FIRST, 5)._replace(event_id=told[0].event_id)


def change_event_id(audience: Audience) -> None:
    again = audience.assigned[TAXPAYER, "INV-1"]
    again[1] = again[1]._replace(event_id="another")


def ignore_late_copy(audience: Audience) -> None:
    del audience.assigned[TAXPAYER, "INV-1"][1]


def number_of_nobody(audience: Audience) -> None:
    tell(audience, 111)


def manual_number(audience: Audience) -> None:
    tell(audience, 14)


def other_kind(audience: Audience) -> None:
    tell(audience, 3, kind=InvoiceKind.RED)


def by_itself(audience: Audience) -> None:
    tell(audience, 3, claim_mode=ClaimMode.MANUAL)


def other_year(audience: Audience) -> None:
    tell(audience, 3, invoice_number=number(3, "254470"))


def other_mode(audience: Audience) -> None:
    tell(audience, 3, invoice_number=number(3, "264471"))


def refuse_for_another_reason(audience: Audience) -> None:
    told = audience.refused["event of REF-1"]
    audience.refused["event of REF-1"] = told.model_copy(update={"reason": Reason.NO_STOCK})


def refuse_twice(audience: Audience) -> None:
    audience.refused["another"] = audience.refused["event of REF-1"]


def refuse_nothing(audience: Audience) -> None:
    audience.refused.clear()


def garble(audience: Audience) -> None:
    audience.unfit.append("number-assigned 1")


def no_manual_range(audience: Audience) -> None:
    audience.claimed.clear()


def two_manual_ranges(audience: Audience) -> None:
    audience.claimed[MANUAL_CLAIM][1] = claimed(range_id="range-3")


def too_large_claim_is_granted(audience: Audience) -> None:
    audience.claims_failed.clear()


def refresh_counts_wrong(audience: Audience) -> None:
    audience.refreshed = [audience.refreshed[0].model_copy(update={"remaining": 107})]


@pytest.mark.parametrize(
    ("lie", "names"),
    [
        (forget, {"request-has-its-number", "refresh-adds-up", LEFT}),
        (invent, {"request-has-its-number", "refresh-adds-up", LEFT}),
        (give_twice, {"number-stands-on-one-request", "refresh-adds-up", LEFT}),
        (change_answer, {"asked-again-same-answer"}),
        (change_event_id, {"asked-again-same-answer"}),
        (ignore_late_copy, {"asked-again-same-answer"}),
        (number_of_nobody, {"number-was-granted-for-it", LEFT}),
        (manual_number, {"number-was-granted-for-it", LEFT}),
        (other_kind, {"answer-repeats-its-request"}),
        (by_itself, {"answer-repeats-its-request"}),
        (other_year, {"number-was-granted-for-it", LEFT}),
        (other_mode, {"number-was-granted-for-it", LEFT}),
        (refuse_for_another_reason, {"request-is-refused-for-its-reason"}),
        (refuse_twice, {"request-is-refused-for-its-reason"}),
        (refuse_nothing, {"request-is-refused-for-its-reason"}),
        (garble, {"event-as-the-contract-says"}),
        (no_manual_range, {"manual-claim-is-answered"}),
        (two_manual_ranges, {"manual-claim-is-answered"}),
        (too_large_claim_is_granted, {"manual-claim-is-answered"}),
        (refresh_counts_wrong, {"refresh-adds-up"}),
    ],
)
def test_a_lie_in_the_events_is_found(lie: Callable[[Audience], None], names: set[str]) -> None:
    audience = heard()
    lie(audience)
    assert broken(outcome(audience)) == names


def test_a_number_of_another_taxpayers_grant_is_found() -> None:
    whole = outcome(heard())
    whole.grants = [replace(whole.grants[0], taxpayer_id=OTHER_TAXPAYER), whole.grants[1]]
    assert "number-was-granted-for-it" in broken(whole)
    assert "grant-is-stored-once" in broken(whole)


def test_a_grant_that_was_forgotten_and_a_range_that_nobody_granted_are_found() -> None:
    forgotten, invented = outcome(heard()), outcome(heard())
    forgotten.ranges = forgotten.ranges[:1]
    invented.ranges = [*invented.ranges, invented.ranges[0]]
    assert broken(forgotten) == broken(invented) == {"grant-is-stored-once"}


def test_a_lost_answer_that_was_never_asked_again_is_found() -> None:
    whole = outcome(heard())
    whole.grants = [replace(whole.grants[0], times_asked=1), whole.grants[1]]
    assert broken(whole) == {"lost-answer-is-replayed"}


def test_no_lost_answer_where_there_should_have_been_one_is_no_success() -> None:
    whole = outcome(heard())
    whole.course.lost = []
    assert broken(whole) == {"lost-answer-is-replayed"}


def test_a_request_that_still_waits_is_found() -> None:
    whole = outcome(heard())
    whole.waiting = [{"taxpayer_id": TAXPAYER, "issue_request_id": "INV-2"}]
    assert broken(whole) == {"request-has-its-number"}


def test_a_dead_letter_too_few_too_many_or_for_another_reason_is_found() -> None:
    for letters in (Counter[str](), Counter(["malformed", "malformed"]), Counter(["unknown-type"])):
        whole = outcome(heard())
        whole.letters = letters
        assert broken(whole) == {"unreadable-is-a-dead-letter"}
