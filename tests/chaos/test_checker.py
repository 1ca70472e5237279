"""The checker itself: it is content with a run in which all is well, and finds each thing that can go wrong."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.chaos import checker
from tests.support.chaos.evidence import Evidence
from tests.support.chaos.journal import Line
from tests.support.chaos.made_up import add, assigned, came, invoice, number, sent, well

SUPPORT = Path(checker.__file__).parent

#: The checker's side: nothing of it may come from what it checks.
INDEPENDENT = ("book", "checker", "evidence", "faults", "journal", "made_up", "proxy", "report", "upstream")

Spoil = Callable[[Evidence], object]

ALL_GRANTS = ["S-1", "S-2"]


def without(name: str) -> Spoil:
    """Let one event never have come."""

    def spoil(evidence: Evidence) -> None:
        [line] = came("number-assigned", name)["came"]
        evidence.seen = [each for each in evidence.seen if each.id != line["id"]]

    return spoil


def change(table: str, place: int, **fields: object) -> Spoil:
    """Let one row have other values."""

    def spoil(evidence: Evidence) -> None:
        evidence.tables[table][place] = {**evidence.tables[table][place], **fields}

    return spoil


def lose(table: str, place: int) -> Spoil:
    """Let one row be missing."""
    return lambda evidence: evidence.tables[table].pop(place)


def also(*more: Line | list[Line]) -> Spoil:
    """Let the journal go on."""
    flat = [line for each in more for line in (each if isinstance(each, list) else [each])]
    return lambda evidence: add(evidence, *flat)


def restored(*after: Line | list[Line], grants: list[str] | None = None) -> Spoil:
    """Let the database be restored at the end, and the journal go on."""
    dumped: Line = {"mark": "dumped", "grants": ALL_GRANTS if grants is None else grants}
    return also(dumped, {"mark": "restored", "grants": ALL_GRANTS}, *after)


SPOILT: list[tuple[str, str, Spoil]] = [
    (
        "no-number-twice",
        "two requests",
        also(sent("m", "invoice-issuing", ("i", invoice("I-20"))), assigned("n", "I-20", 2)),
    ),
    ("no-number-after-its-end", "after it was used", also(assigned("n", "I-20", 2))),
    ("no-request-with-two-numbers", "another number", also(assigned("n", "I-3", 5))),
    ("forgotten-numbers-stay-out-of-use", "an old range", restored(assigned("n", "I-20", 7))),
    ("numbers-were-granted", "in no grant", also(assigned("n", "I-20", 99))),
    (
        "numbers-were-granted",
        "of another year",
        also(came("number-assigned", "n", invoice_number=number(7), **{**invoice("I-20"), "issue_date": "2027-01-01"})),
    ),
    ("accepted-requests-are-answered", "never", without("a3")),
    ("accepted-requests-are-answered", "not anew", without("a1-anew")),
    ("accepted-requests-are-answered", "an outcome", without("u5")),
    ("accepted-requests-are-answered", "a claim", without("c6")),
    ("accepted-requests-are-answered", "a binding", without("b7")),
    ("accepted-requests-are-answered", "a refresh", without("f10")),
    (
        "answers-are-to-what-was-asked",
        "another kind",
        also(came("number-assigned", "n", invoice_number=number(7), **{**invoice("I-3"), "kind": "red"})),
    ),
    ("answers-are-to-what-was-asked", "nobody asked", also(assigned("n", "I-77", 7))),
    (
        "answers-are-to-what-was-asked",
        "another than the named",
        also(sent("m", "invoice-issuing", ("i", invoice("I-20", number=number(12)))), assigned("n", "I-20", 7)),
    ),
    ("refusals-have-a-cause", "no stock", also(came("number-refused", "n", issue_request_id="I-3", reason="no-stock"))),
    (
        "refusals-have-a-cause",
        "never released",
        also(came("number-refused", "n", issue_request_id="I-3", reason="released")),
    ),
    (
        "refusals-have-a-cause",
        "nothing was restored",
        also(came("number-refused", "n", issue_request_id="I-3", reason="restored")),
    ),
    (
        "refusals-have-a-cause",
        "in no doubt",
        restored(came("number-refused", "n", issue_request_id="I-20", reason="restored")),
    ),
    (
        "refusals-have-a-cause",
        "the year still is",
        also(came("number-refused", "n", issue_request_id="I-3", reason="issue-date-out-of-year")),
    ),
    ("refusals-have-a-cause", "a claim", also(came("claim-failed", "n", claim_id="C-6", reason="leqi-refused"))),
    (
        "refusals-have-a-cause",
        "an outcome",
        also(came("outcome-refused", "n", outcome_id="O-5", reason="outcome-conflict")),
    ),
    (
        "asked-again-only-after-a-hand",
        "nothing was deleted",
        also(sent("m", "invoice-issuing", ("i3", invoice("I-3")), again=True)),
    ),
    (
        "asked-again-only-after-a-hand",
        "another queue was",
        also(
            {"mark": "deleted", "topic": "invoice-outcome"},
            sent("m", "invoice-issuing", ("i3", invoice("I-3")), again=True),
        ),
    ),
    (
        "asked-again-only-after-a-hand",
        "sent after it was",
        also(
            {"mark": "deleted", "topic": "invoice-issuing"},
            sent("m", "invoice-issuing", ("i", invoice("I-20"))),
            sent("n", "invoice-issuing", ("i", invoice("I-20")), again=True),
        ),
    ),
    ("an-event-id-tells-one-fact", "another number", also(assigned("a3", "I-3", 5))),
    (
        "an-event-id-tells-one-fact",
        "another time",
        also(came("number-assigned", "a3", at="2026-12-31T13:00:00+08:00", invoice_number=number(2), **invoice("I-3"))),
    ),
    ("every-events-fact-is-stored", "an assignment", lose("number_history", 2)),
    ("every-events-fact-is-stored", "of another request", change("number_history", 2, issue_request_id="I-4")),
    ("every-events-fact-is-stored", "a use", change("numbers", 1, status="held")),
    ("every-events-fact-is-stored", "an outcome", lose("outcomes", 1)),
    ("every-events-fact-is-stored", "a binding", lose("bindings", 0)),
    ("every-events-fact-is-stored", "a range", lose("ranges", 0)),
    ("every-events-fact-is-stored", "a claim", lose("claims", 0)),
    ("every-events-fact-is-stored", "a range's end", also(came("range-expired", "n", range_id="r1"))),
    ("every-events-fact-is-stored", "an exhaustion", change("stocks", 0, episode=0)),
    ("every-events-fact-is-stored", "a refresh", lose("refreshes", 0)),
    ("every-events-fact-is-stored", "a topic that nobody knows", also(came("number-lost", "n"))),
    ("every-state-was-told", "a number's", without("a8")),
    ("every-state-was-told", "a former one", without("f4")),
    ("every-claim-and-range-was-told", "a claim", without("c1")),
    ("every-claim-and-range-was-told", "a refusal", change("claims", 0, status="refused")),
    ("every-claim-and-range-was-told", "an end", change("ranges", 0, status="expired")),
    ("every-claim-and-range-was-told", "a refresh", without("f10")),
    ("every-grant-is-stored", "no claim", lose("claims", 0)),
    ("every-grant-is-stored", "undecided", change("claims", 0, status="unresolved")),
    ("every-grant-is-stored", "no range", lose("ranges", 1)),
    ("every-grant-is-stored", "another extent", change("ranges", 1, last_number=number(11))),
    ("every-grant-is-stored", "forgotten and there", restored(grants=["S-1"])),
    ("every-range-was-granted", "invented", change("ranges", 0, last_number=number(9))),
    ("numbers-went-step-by-step", "a gap", change("numbers", 0, step=4)),
    ("numbers-went-step-by-step", "assigned twice", change("number_history", 1, status="assigned")),
    ("the-outbox-is-empty", "a message", lambda evidence: evidence.tables["outbox"].append({"outbox_id": 1})),
    ("only-who-may-waits", "another", change("issue_requests", 1, status="waiting")),
    ("no-claim-is-undecided", "open", change("claims", 0, status="open")),
    ("what-nobody-can-read-is-in-the-dead-letters", "gone", lambda evidence: evidence.dead_letters.clear()),
    ("nothing-else-is-in-the-dead-letters", "a request", lambda evidence: evidence.dead_letters.append("I-1")),
]


def broken(evidence: Evidence) -> dict[str, tuple[str, ...]]:
    return {finding.name: finding.broken for finding in checker.check(evidence) if finding.broken}


def test_a_run_in_which_all_is_well() -> None:
    assert broken(well()) == {}
    # What needs a restore, a repetition by hand or nothing at all has nothing to look at here.
    idle = {finding.name for finding in checker.check(well()) if finding.checked == 0}
    assert idle == {"forgotten-numbers-stay-out-of-use", "asked-again-only-after-a-hand"}


@pytest.mark.parametrize(
    ("name", "spoil"), [pytest.param(name, spoil, id=f"{name}: {what}") for name, what, spoil in SPOILT]
)
def test_each_violation_is_found(name: str, spoil: Spoil) -> None:
    evidence = well()
    spoil(evidence)
    assert name in broken(evidence)


def test_there_is_a_violation_for_each_check() -> None:
    assert {name for name, _, _ in SPOILT} == set(checker.names())


def test_what_a_restore_forgot_needs_no_fact_but_comes_never_again() -> None:
    evidence = well()
    asked = sent("m", "invoice-issuing", ("i20", invoice("I-20")))
    again = sent("n", "invoice-issuing", ("i20", invoice("I-20")), again=True)
    dumped, back = {"mark": "dumped", "grants": ALL_GRANTS}, {"mark": "restored", "grants": ALL_GRANTS}
    add(evidence, dumped, *asked, assigned("n", "I-20", 5), back, *again, assigned("other", "I-20", 6))
    # Only the number given out after the restore is wrong: of an old range, and of a fact that is not stored.
    assert set(broken(evidence)) == {"forgotten-numbers-stay-out-of-use", "every-events-fact-is-stored"}


def test_a_number_of_before_a_restore_need_not_be_told_again() -> None:
    evidence = well()
    restored(came("number-refused", "n", issue_request_id="I-3", reason="restored"))(evidence)
    assert "refusals-have-a-cause" not in broken(evidence)


def test_a_release_that_a_restore_forgot_is_a_release() -> None:
    failed = {"outcome_id": "O-20", "invoice_number": number(1), "outcome": "failed", "reuse": True}
    outcome = sent("o", "invoice-outcome", ("o20", failed))
    asked = sent("m", "invoice-issuing", ("i20", invoice("I-20")))
    dumped, back = {"mark": "dumped", "grants": ALL_GRANTS}, {"mark": "restored", "grants": ALL_GRANTS}
    evidence, without_outcome = well(), well()
    add(evidence, dumped, *outcome, *asked, assigned("n", "I-20", 1), back)
    add(without_outcome, dumped, *asked, assigned("n", "I-20", 1), back, *outcome)
    assert "no-number-twice" not in broken(evidence)
    assert "no-number-twice" in broken(without_outcome)


def test_a_deleted_queues_requests_may_be_asked_again() -> None:
    evidence = well()
    add(
        evidence,
        *sent("m", "invoice-outcome", ("o20", {"outcome_id": "O-20", "invoice_number": number(1)})),
        {"mark": "deleted", "topic": "invoice-outcome"},
        *sent("n", "invoice-outcome", ("o20", {"outcome_id": "O-20", "invoice_number": number(1)}), again=True),
    )
    assert set(broken(evidence)) == {"accepted-requests-are-answered"}


def test_a_message_that_was_not_confirmed_needs_no_answer() -> None:
    evidence = well()
    add(evidence, sent("m", "invoice-issuing", ("i20", invoice("I-20")))[0])
    assert broken(evidence) == {}


@pytest.mark.parametrize("module", INDEPENDENT)
def test_what_asks_and_checks_knows_nothing_of_the_worker(module: str) -> None:
    tree = ast.parse((SUPPORT / f"{module}.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported
    rooms = {name.split(".")[0] for name in imported}
    assert rooms.isdisjoint({"worker", "db", "schemas"})
    assert all(
        name.startswith(("tests.support.chaos", "tests.support.outside"))
        for name in imported
        if name.startswith("tests")
    )
