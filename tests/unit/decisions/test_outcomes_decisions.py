"""Outcomes as a pure decision: over every state, every report, and everything that a batch may bring."""

from dataclasses import replace
from datetime import UTC, date, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.guards import TRANSITIONS
from db.records import KnownOutcome, KnownRequest, NamedNumber, RequestKey, TakenNumber
from schemas.reasons import Reason
from schemas.vocabulary import UploadOutcome
from worker.decisions.outcomes import Known, Moved, NumberKey, Refused, Repeated, Reported, decide

KEY = NumberKey("T", 264470, 5)
NUMBER = NamedNumber(
    "T", 2026, "self-use", "assigned", "R1", "active", TakenNumber(UUID(int=1), 264470, 5, 1, 9, "automatic", 2)
)
REQUEST = KnownRequest(
    RequestKey("T", "R1"),
    "A",
    date(2026, 11, 23),
    "blue",
    None,
    "assigned",
    None,
    None,
    None,
    None,
    None,
    None,
    None,
    "m",
)
REPORT = Reported(0, RequestKey("T", "R1"), "O1", "A", KEY, UploadOutcome.UPLOADED, reuse=True)
BEFORE = KnownOutcome(
    "T", "O1", "A", "R1", 264470, 5, "uploaded", True, "used", uuid4(), datetime(2026, 11, 23, tzinfo=UTC)
)


def known(number: NamedNumber | None = NUMBER) -> Known:
    return Known(requests={REQUEST.key: REQUEST}, numbers={} if number is None else {KEY: number})


def report(outcome: UploadOutcome, outcome_id: str = "O1", *, reuse: bool = True) -> Reported:
    return replace(REPORT, outcome=outcome, outcome_id=outcome_id, reuse=reuse)


@pytest.mark.parametrize("status", ["assigned", "held"])
@pytest.mark.parametrize(
    ("reported", "became"),
    [
        (report(UploadOutcome.UPLOADED), "used"),
        (report(UploadOutcome.FAILED), "available"),
        (report(UploadOutcome.FAILED, reuse=False), "voided"),
    ],
)
def test_a_definite_outcome_moves_an_awaited_number(status: str, reported: Reported, became: str) -> None:
    number = replace(NUMBER, status=status)
    assert decide([reported], known(number), 2026) == [Moved(reported, number, became)]


def test_an_unknown_outcome_holds_an_assigned_number_once() -> None:
    first, second = report(UploadOutcome.UNKNOWN), report(UploadOutcome.UNKNOWN, "O2")
    moved, refused = decide([first, second], known(), 2026)
    assert moved == Moved(first, NUMBER, "held")
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.OUTCOME_CONFLICT


def test_a_number_that_is_held_is_the_requests_still() -> None:
    first, second = report(UploadOutcome.UNKNOWN), report(UploadOutcome.UPLOADED, "O2")
    held, used = decide([first, second], known(), 2026)
    assert isinstance(held, Moved)
    assert isinstance(used, Moved)
    assert (held.became, used.number.status, used.became) == ("held", "held", "used")


def test_a_number_that_came_back_is_no_longer_the_requests() -> None:
    first, second = report(UploadOutcome.FAILED), report(UploadOutcome.UPLOADED, "O2")
    _, refused = decide([first, second], known(), 2026)
    assert refused == Refused(second, Reason.OUTCOME_CONFLICT, "the request does not hold this number now")


@pytest.mark.parametrize("status", ["active", "used-up", "expired", "retired", "quarantined", "foreign"])
def test_a_number_returns_only_to_a_living_range(status: str) -> None:
    [moved] = decide([report(UploadOutcome.FAILED)], known(replace(NUMBER, range_status=status)), 2026)
    assert isinstance(moved, Moved)
    assert moved.became == ("available" if status in {"active", "used-up"} else "voided")


def test_a_number_of_a_year_that_is_over_never_returns() -> None:
    [moved] = decide([report(UploadOutcome.FAILED)], known(), 2027)
    assert isinstance(moved, Moved)
    assert moved.became == "voided"


def test_a_number_of_next_year_returns() -> None:
    [moved] = decide([report(UploadOutcome.FAILED)], known(replace(NUMBER, year=2027)), 2026)
    assert isinstance(moved, Moved)
    assert moved.became == "available"


@pytest.mark.parametrize("outcome", UploadOutcome)
@pytest.mark.parametrize("status", ["available", "bound", "used", "voided", "expired"])
@pytest.mark.parametrize("holder", [None, "R1", "R2"])
def test_any_other_state_forbids_every_outcome(outcome: UploadOutcome, status: str, holder: str | None) -> None:
    [refused] = decide([report(outcome)], known(replace(NUMBER, status=status, holder=holder)), 2026)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.OUTCOME_CONFLICT


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Known(), Reason.UNKNOWN_REQUEST),
        (Known(numbers={KEY: NUMBER}), Reason.UNKNOWN_REQUEST),
        (Known(owners={KEY: "S"}), Reason.NUMBER_OF_ANOTHER_TAXPAYER),
        (Known(owners={KEY: "U"}), Reason.NUMBER_OF_ANOTHER_TAXPAYER),
        (Known(requests={REQUEST.key: REQUEST}, owners={KEY: "U"}), Reason.NUMBER_OF_ANOTHER_TAXPAYER),
        (Known(requests={REQUEST.key: REQUEST}, owners={KEY: "T"}), Reason.OUTCOME_CONFLICT),
        (known(None), Reason.OUTCOME_CONFLICT),
        (known(replace(NUMBER, holder="R2")), Reason.OUTCOME_CONFLICT),
    ],
)
def test_a_report_about_what_is_not_so_moves_nothing(facts: Known, expected: Reason) -> None:
    [refused] = decide([REPORT], facts, 2026)
    assert isinstance(refused, Refused)
    assert refused.reason is expected
    assert refused.detail


def test_what_was_reported_is_answered_again_whatever_became_of_it() -> None:
    facts = replace(known(replace(NUMBER, status="available", holder=None)), outcomes={("T", "O1"): BEFORE})
    assert decide([REPORT], facts, 2026) == [Repeated(REPORT, BEFORE)]


@pytest.mark.parametrize(
    "other",
    [
        replace(REPORT, organization="B"),
        replace(REPORT, key=RequestKey("T", "R2")),
        replace(REPORT, number=NumberKey("T", 264470, 6)),
        replace(REPORT, outcome=UploadOutcome.FAILED),
        replace(REPORT, reuse=False),
    ],
)
@pytest.mark.parametrize("stored", [True, False], ids=["stored", "in the same batch"])
def test_other_content_under_the_same_id_is_a_conflict(other: Reported, stored: bool) -> None:  # noqa: FBT001
    facts = replace(known(), outcomes={("T", "O1"): BEFORE} if stored else {})
    *_, refused = decide([other] if stored else [REPORT, other], facts, 2026)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.CONFLICTING_REQUEST


@given(
    st.lists(
        st.builds(
            report,
            st.sampled_from(UploadOutcome),
            st.sampled_from(["O1", "O2", "O3", "O4"]),
            reuse=st.booleans(),
        ),
        max_size=12,
    ),
)
def test_whatever_a_batch_brings_a_number_takes_only_steps_that_there_are(reports: list[Reported]) -> None:
    verdicts = decide(reports, known(), 2026)

    moves = [verdict for verdict in verdicts if isinstance(verdict, Moved)]
    assert len(verdicts) == len(reports)
    assert all((move.number.status, move.became) in TRANSITIONS for move in moves)
    assert [move.number.taken.step for move in moves] == list(range(2, 2 + len(moves)))
    assert [move.number.status for move in moves][1:] == [move.became for move in moves][:-1]
    assert len({move.reported.outcome_id for move in moves}) == len(moves)
