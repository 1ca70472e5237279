"""The demo's reckoning finds each way in which what came can differ from what was sent."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import pytest

from schemas.events import ClaimFailed, NumberAssigned, NumberRefused, RangeClaimed, RangeRefreshed
from schemas.organizations import OrganizationEntry
from schemas.reasons import Reason
from schemas.vocabulary import ChannelMode, ClaimMode, Environment, InvoiceKind
from worker.demo.audience import Assignment, Audience
from worker.demo.companies import Company
from worker.demo.reckoning import Outcome
from worker.demo.story import MANUAL_CLAIM, MANUAL_QUANTITY, REFRESH, TOO_LARGE_CLAIM, TOO_LARGE_QUANTITY, Course
from worker.demo.traffic import Asked, Sent, Traffic, Unreadable
from worker.leqi.simulator import GrantRow

TAXPAYER = "91440300587908164C"
OTHER_TAXPAYER = "91110000101623741K"
NOW = datetime(2026, 3, 4, tzinfo=UTC)
DAY = date(2026, 3, 4)
PREFIX = "264470"

FIRST = Asked("INV-1", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
SECOND = Asked("INV-2", "A", TAXPAYER, DAY, InvoiceKind.RED)
REFUSED = Asked("REF-1", "NOBODY", None, DAY, InvoiceKind.BLUE, refusal=Reason.UNKNOWN_ORGANIZATION)


def number(sequence: int, prefix: str = PREFIX) -> str:
    return f"{prefix}{sequence:014}"


def assignment(asked: Asked, sequence: int, **changes: object) -> Assignment:
    told = NumberAssigned(
        issue_request_id=asked.issue_request_id,
        organization=asked.organization,
        taxpayer_id=asked.taxpayer_id or "",
        invoice_number=number(sequence),
        issue_date=asked.issue_date,
        kind=asked.kind,
        range_id="range-1",
        claim_mode=ClaimMode.AUTOMATIC,
        assigned_at=NOW,
        environment=Environment.SANDBOX,
    )
    return Assignment(f"event of {asked.issue_request_id}", told.model_copy(update=changes))


def claimed(**changes: object) -> RangeClaimed:
    told = RangeClaimed(
        claim_id=MANUAL_CLAIM,
        claim_mode=ClaimMode.MANUAL,
        organization="A",
        taxpayer_id=TAXPAYER,
        range_id="range-2",
        first_number=number(11),
        last_number=number(110),
        quantity=MANUAL_QUANTITY,
        year=2026,
        environment=Environment.SANDBOX,
    )
    return told.model_copy(update=changes)


def heard() -> Audience:
    """An audience of a run in which everything was right."""
    audience = Audience("memory://unit")
    audience.heard = 8
    audience.assigned[TAXPAYER, "INV-1"] = [assignment(FIRST, 1), assignment(FIRST, 1)]
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 2)]
    audience.refused["event of REF-1"] = NumberRefused(
        issue_request_id="REF-1",
        organization="NOBODY",
        reason=Reason.UNKNOWN_ORGANIZATION,
        detail="",
        environment=Environment.SANDBOX,
    )
    audience.claimed[MANUAL_CLAIM] = [claimed(), claimed()]
    audience.claims_failed[TOO_LARGE_CLAIM] = ClaimFailed(
        claim_id=TOO_LARGE_CLAIM,
        taxpayer_id=TAXPAYER,
        quantity=TOO_LARGE_QUANTITY,
        reason=Reason.QUANTITY_OUT_OF_BOUNDS,
        detail="",
        next_attempt_at=None,
        environment=Environment.SANDBOX,
    )
    audience.refreshed = [
        RangeRefreshed(
            refresh_id=REFRESH,
            taxpayer_id=TAXPAYER,
            ranges=2,
            claimed=110,
            remaining=108,
            resolved_claims=0,
            unresolved_claims=0,
            expired=0,
            foreign=0,
            differences=(),
            environment=Environment.SANDBOX,
        ),
    ]
    return audience


def outcome(audience: Audience) -> Outcome:
    """The outcome of such a run: two requests, one of them sent again late, and one refused."""
    entry = OrganizationEntry(
        code="A",
        name="A",
        taxpayer_id=TAXPAYER,
        channel_mode=ChannelMode.SELF_USE,
        using_unit_id="UU1",
    )
    automatic = {"claim_mode": "automatic", "status": "granted", "business_serial": "S1"}
    manual = {"claim_mode": "manual", "status": "granted", "business_serial": "S2"}
    return Outcome(
        companies=[Company(entry, 1)],
        traffic=Traffic(
            asked=[FIRST, SECOND, REFUSED],
            opening=[Sent(FIRST, "1")],
            main=[Sent(SECOND, "2"), Sent(REFUSED, "3"), Unreadable("no-json", "BAD-1")],
            late=[Sent(FIRST, "1")],
        ),
        course=Course(messages=7, lost=["S1"]),
        audience=audience,
        grants=[
            GrantRow(TAXPAYER, "S1", 10, number(1), number(10), 2),
            GrantRow(TAXPAYER, "S2", 100, number(11), number(110), 1),
        ],
        ranges=[
            {"taxpayer_id": TAXPAYER, "first_number": number(1), "last_number": number(10)},
            {"taxpayer_id": TAXPAYER, "first_number": number(11), "last_number": number(110)},
        ],
        claims=[automatic, manual],
        waiting=[],
        letters=Counter(["malformed"]),
    )


def broken(of: Outcome) -> set[str]:
    return {check.name for check in of.reckon() if not check.holds}


def test_a_run_in_which_all_was_right_holds_and_every_check_saw_rows() -> None:
    checks = outcome(heard()).reckon()
    assert [check for check in checks if not check.holds or not check.checked] == []


def forget(audience: Audience) -> None:
    del audience.assigned[TAXPAYER, "INV-2"]


def invent(audience: Audience) -> None:
    stranger = Asked("INV-9", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
    audience.assigned[TAXPAYER, "INV-9"] = [assignment(stranger, 3)]


def give_twice(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 1)]


def change_answer(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-1"][1] = assignment(FIRST, 5)


def change_event_id(audience: Audience) -> None:
    again = audience.assigned[TAXPAYER, "INV-1"]
    again[1] = again[1]._replace(event_id="another")


def ignore_late_copy(audience: Audience) -> None:
    del audience.assigned[TAXPAYER, "INV-1"][1]


def number_of_nobody(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 111)]


def manual_number(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 11)]


def other_kind(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 2, kind=InvoiceKind.BLUE)]


def other_year(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 2, invoice_number=number(2, "254470"))]


def other_mode(audience: Audience) -> None:
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 2, invoice_number=number(2, "264471"))]


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
        (forget, {"request-has-its-number", "refresh-adds-up"}),
        (invent, {"request-has-its-number", "refresh-adds-up"}),
        (give_twice, {"number-stands-on-one-request"}),
        (change_answer, {"asked-again-same-answer"}),
        (change_event_id, {"asked-again-same-answer"}),
        (ignore_late_copy, {"asked-again-same-answer"}),
        (number_of_nobody, {"number-was-granted-for-it"}),
        (manual_number, {"number-was-granted-for-it"}),
        (other_kind, {"answer-repeats-its-request"}),
        (other_year, {"number-was-granted-for-it"}),
        (other_mode, {"number-was-granted-for-it"}),
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
    whole.course = Course()
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
