"""Outcomes: what became of an upload moves its number, once; late and repeated reports move nothing."""

from datetime import timedelta

import pytest
from sqlalchemy import Connection

from schemas.cloudevents import Form
from schemas.topics import Topic
from tests.support.core.asked import binding, invoice, invoices, outcome
from tests.support.core.authority import number as written
from tests.support.core.clock import in_china
from tests.support.core.world import OTHER_TAXPAYER, TAXPAYER, Core, Told, at_once, of
from worker.answers import Answer

TOLD = {
    "uploaded": (Topic.NUMBER_USED, "used"),
    "failed": (Topic.NUMBER_RELEASED, "available"),
    "unknown": (Topic.NUMBER_HELD, "held"),
}


def issued(core: Core, issue_request_id: str = "R1", message_id: str = "message") -> str:
    """Issue to one request; gives its number."""
    told = core.issue(invoice(issue_request_id, message_id=message_id))
    [assigned] = of(Topic.NUMBER_ASSIGNED, told)
    return str(assigned.data["invoice_number"])


def refusal(told: list[Told]) -> str:
    [refused] = told
    assert refused.topic is Topic.OUTCOME_REFUSED
    return str(refused.data["reason"])


def states(core: Core) -> dict[str, str]:
    rows = core.rows("SELECT prefix, sequence, status FROM numbers")
    return {f"{prefix:06}{sequence:014}": status for prefix, sequence, status in rows}


def history(core: Core) -> list[tuple[str, str | None]]:
    """The states that numbers had and have, with the request that held them."""
    return core.rows(
        "SELECT status, issue_request_id FROM ("
        " SELECT prefix, sequence, step, status, issue_request_id FROM number_history"
        " UNION ALL SELECT prefix, sequence, step, status, issue_request_id FROM numbers) AS every"
        " ORDER BY prefix, sequence, step",
    )


@pytest.mark.parametrize("said", TOLD)
def test_an_outcome_moves_its_number_and_is_told(core: Core, said: str) -> None:
    core.fill(5)
    number = issued(core)
    core.clock.advance(minutes=5)

    [told] = core.report(outcome(number, said))

    topic, state = TOLD[said]
    assert told.topic is topic
    assert told.data == {
        "outcome_id": "O1",
        "issue_request_id": "R1",
        "organization": "A",
        "taxpayer_id": "91350100M000100Y43",
        "invoice_number": number,
        "at": "2026-11-23T02:05:00.000000Z",
        "environment": "sandbox",
    }
    assert states(core) == {number: state}


def test_a_failed_number_that_shall_not_be_used_again_is_voided(core: Core) -> None:
    core.fill(5)
    number = issued(core)

    [told] = core.report(outcome(number, "failed", reuse=False))

    assert told.topic is Topic.NUMBER_VOIDED
    assert states(core) == {number: "voided"}
    assert core.rows("SELECT status, closed_because FROM issue_requests") == [("closed", "voided")]
    assert issued(core, "R2") != number


@pytest.mark.parametrize("said", ["uploaded", "failed"])
def test_a_held_number_goes_on_with_a_definite_outcome(core: Core, said: str) -> None:
    core.fill(5)
    number = issued(core)
    core.report(outcome(number, "unknown", outcome_id="O1"))

    [told] = core.report(outcome(number, said, outcome_id="O2"))

    topic, state = TOLD[said]
    assert (told.topic, states(core)) == (topic, {number: state})


def test_a_held_number_is_not_given_away(core: Core) -> None:
    core.fill(2)
    number = issued(core)
    core.report(outcome(number, "unknown"))

    assert issued(core, "R2") != number
    assert of(Topic.NUMBER_ASSIGNED, core.issue(invoice("R3"))) == []


@pytest.mark.parametrize("said", ["unknown", "uploaded"])
def test_the_request_of_a_number_that_moved_on_still_gets_its_own_event(core: Core, said: str) -> None:
    core.fill(5)
    first = core.issue(invoice("R1"))
    core.report(outcome(first[0].data["invoice_number"], said))

    assert core.issue(invoice("R1")) == first


def test_a_released_number_is_taken_before_the_cursor_moves_on(core: Core) -> None:
    numbers = core.fill(5)
    core.issue(*invoices(3))
    core.report(outcome(numbers[1], "failed", "R2"))

    assert issued(core, "R4") == numbers[1]
    assert issued(core, "R5") == numbers[3]
    assert [row for row in history(core) if row[1] in {None, "R2", "R4"}] == [
        ("assigned", "R2"),
        ("available", None),
        ("assigned", "R4"),
    ]


def test_a_request_that_comes_again_gets_a_number_anew_and_a_late_copy_none(core: Core) -> None:
    core.fill(5)
    number = issued(core, message_id="first")
    core.issue(invoice("R1", message_id="copy"))
    core.report(outcome(number, "failed"))

    refused = [core.issue(invoice("R1", message_id=late))[0] for late in ("first", "copy")]
    [anew] = core.issue(invoice("R1", message_id="second"))
    [again] = core.issue(invoice("R1", message_id="second"))

    assert [(each.topic, each.data["reason"]) for each in refused] == [(Topic.NUMBER_REFUSED, "released")] * 2
    assert anew.topic is Topic.NUMBER_ASSIGNED
    assert anew == again
    assert history(core) == [("assigned", "R1"), ("available", None), ("assigned", "R1")]


def test_each_assignment_of_a_number_is_an_event_of_its_own(core: Core) -> None:
    core.fill(1)
    [first, _] = core.issue(invoice("R1", message_id="first"))
    core.report(outcome(first.data["invoice_number"], "failed"))

    [second, _] = core.issue(invoice("R1", message_id="second"))

    assert second.data["invoice_number"] == first.data["invoice_number"]
    assert second.id != first.id


@pytest.mark.parametrize("together", [True, False], ids=["in one batch", "later"])
def test_a_late_copy_of_what_came_while_its_request_waited_gets_no_number(core: Core, together: bool) -> None:  # noqa: FBT001 -- a case
    first, second = invoice(message_id="first"), invoice(message_id="second")
    batches = [[first, second]] if together else [[first], [second], [second]]
    for batch in batches:
        core.issue(*batch)
    [assigned] = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())
    core.report(outcome(assigned.data["invoice_number"], "failed"))

    refused = [core.issue(copy)[0] for copy in (first, second)]

    assert [each.data["reason"] for each in refused] == ["released", "released"]
    assert issued(core, message_id="third") == assigned.data["invoice_number"]


@pytest.mark.parametrize("end", ["cancelled", "no-stock"])
def test_what_repeated_a_request_that_waited_in_vain_is_judged_anew(core: Core, end: str) -> None:
    core.issue(invoice(message_id="first"))
    core.issue(invoice(message_id="second"))
    if end == "no-stock":
        core.clock.advance(hours=25)
        [refused] = core.end_overdue()
    else:
        [refused] = core.run(lambda connection: _cancelled(core, connection))
    assert refused.data["reason"] == end
    core.fill(5)

    assert issued(core, message_id="second")


def _cancelled(core: Core, connection: Connection) -> list[Answer]:
    done = core.letting_go.cancel(connection, "R1", TAXPAYER, "not needed")
    return [each for each in done if isinstance(each, Answer)]


def test_a_held_number_that_is_released_remembers_the_message_that_asked(core: Core) -> None:
    core.fill(5)
    number = issued(core, message_id="first")
    core.report(outcome(number, "unknown", outcome_id="O1"))
    core.report(outcome(number, "failed", outcome_id="O2"))

    [refused] = core.issue(invoice("R1", message_id="first"))

    assert refused.data["reason"] == "released"


def test_a_number_of_a_used_up_range_makes_it_active_again(core: Core) -> None:
    numbers = core.fill(2, low_at=1)
    core.issue(*invoices(2))
    assert core.value("SELECT status FROM ranges") == "used-up"

    core.report(outcome(numbers[0], "failed", "R1"))

    assert core.value("SELECT status FROM ranges") == "active"
    assert core.value("SELECT level FROM stocks") == "low"
    assert issued(core, "R3") == numbers[0]
    assert core.value("SELECT status FROM ranges") == "used-up"


def test_a_stock_that_is_claimed_for_only_when_it_is_empty_is_not_low_by_a_release(core: Core) -> None:
    core.fill(1, low_at=0)
    number = issued(core)
    assert core.value("SELECT level FROM stocks") == "exhausted"

    core.report(outcome(number, "failed"))

    assert core.rows("SELECT level, episode, exhausted_at FROM stocks") == [("ok", 1, None)]
    [_, exhausted] = core.issue(invoice("R2"))
    assert (exhausted.topic, exhausted.data["episode"]) == (Topic.RANGE_EXHAUSTED, 2)


def test_those_who_wait_are_served_first_in_the_same_transaction(core: Core) -> None:
    numbers = core.fill(2)
    core.issue(*invoices(5))

    told = core.report(
        outcome(numbers[1], "failed", "R2", outcome_id="O1"), outcome(numbers[0], "failed", "R1", outcome_id="O2")
    )

    assert [each.topic for each in told] == [
        Topic.NUMBER_RELEASED,
        Topic.NUMBER_RELEASED,
        Topic.NUMBER_ASSIGNED,
        Topic.NUMBER_ASSIGNED,
        Topic.RANGE_EXHAUSTED,
    ]
    served = {each.data["issue_request_id"]: each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, told)}
    assert served == {"R3": numbers[0], "R4": numbers[1]}
    assert (told[-1].data["episode"], told[-1].data["waiting"]) == (2, 1)


def test_a_paused_taxpayer_keeps_what_comes_back(core: Core) -> None:
    [number] = core.fill(1)
    core.issue(*invoices(2))
    core.change("UPDATE stocks SET paused = true, paused_at = now(), paused_because = 'a test'")

    told = core.report(outcome(number, "failed", "R1"))

    assert [each.topic for each in told] == [Topic.NUMBER_RELEASED]
    assert states(core) == {number: "available"}


def test_a_manual_number_comes_back_as_a_manual_one(core: Core) -> None:
    [number] = core.manual(1)
    core.bind(binding(number))
    core.issue(invoice("R1"))
    core.issue(invoice("R2"))

    told = core.report(outcome(number, "failed"))

    assert [each.topic for each in told] == [Topic.NUMBER_RELEASED]
    assert states(core) == {number: "available"}
    [bound, assigned] = core.bind(binding(number, "R2", binding_id="B2"))
    assert (bound.topic, assigned.data["invoice_number"]) == (Topic.NUMBER_BOUND, number)


@pytest.mark.parametrize("status", ["expired", "retired", "quarantined"])
def test_a_number_of_a_range_out_of_use_never_returns(core: Core, status: str) -> None:
    core.fill(5)
    number = issued(core)
    core.change("UPDATE ranges SET status = :status", status=status)

    [told] = core.report(outcome(number, "failed"))

    assert told.topic is Topic.NUMBER_VOIDED
    assert core.value("SELECT status FROM ranges") == status


def test_a_number_of_a_year_that_is_over_never_returns_though_its_range_was_used_up_before(core: Core) -> None:
    core.fill(1)
    number = issued(core)
    core.clock.set(in_china("2027-01-03", "00:00"))

    [told] = core.report(outcome(number, "failed"))

    assert told.topic is Topic.NUMBER_VOIDED
    assert core.value("SELECT status FROM ranges") == "used-up"


def test_an_old_number_returns_while_the_old_year_still_lives(core: Core) -> None:
    core.fill(1)
    number = issued(core)
    core.clock.set(in_china("2027-01-02", "23:59"))

    core.report(outcome(number, "failed"))

    [assigned, _] = core.issue(invoice("R2", issue_date="2026-12-31"))
    assert assigned.data["invoice_number"] == number


# ------------------------------------------------------------------------------------------- repeated and late reports


def test_the_same_outcome_again_gets_the_same_event(core: Core, second: Core) -> None:
    core.fill(5)
    number = issued(core)
    first = core.report(outcome(number, "unknown"))
    core.report(outcome(number, "uploaded", outcome_id="O2"))
    core.clock.advance(days=30)

    assert second.report(outcome(number, "unknown")) == first
    assert states(core) == {number: "used"}


def test_a_late_copy_of_an_outcome_does_not_touch_who_holds_the_number_now(core: Core) -> None:
    core.fill(1)
    number = issued(core)
    first = core.report(outcome(number, "failed"))
    assert issued(core, "R2") == number

    assert core.report(outcome(number, "failed")) == first
    assert refusal(core.report(outcome(number, "uploaded", outcome_id="O2"))) == "outcome-conflict"
    assert states(core) == {number: "assigned"}


def test_the_same_outcome_by_workers_at_once_is_done_once(core: Core, second: Core) -> None:
    core.fill(5)
    number = issued(core)

    at_once(*[lambda worker=worker: worker.report(outcome(number, "failed")) for worker in (core, second) * 3])

    assert history(core) == [("assigned", "R1"), ("available", None)]


@pytest.mark.parametrize(
    ("state", "refused"),
    [
        ("used", ["uploaded", "failed", "unknown"]),
        ("voided", ["uploaded", "failed", "unknown"]),
        ("available", ["uploaded", "failed", "unknown"]),
        ("held", ["unknown"]),
    ],
)
def test_a_state_that_forbids_an_outcome_stays(core: Core, state: str, refused: list[str]) -> None:
    core.fill(5)
    number = issued(core)
    to = {"used": "uploaded", "held": "unknown"}.get(state, "failed")
    core.report(outcome(number, to, reuse=state != "voided"))
    assert states(core) == {number: state}
    before = core.rows("SELECT * FROM numbers, issue_requests")

    for said in refused:
        assert refusal(core.report(outcome(number, said, outcome_id=f"O-{said}"))) == "outcome-conflict"
    assert core.rows("SELECT * FROM numbers, issue_requests") == before
    assert core.value("SELECT count(*) FROM invoice_outcomes") == 1


@pytest.mark.parametrize("changed", ["organization", "issue_request_id", "invoice_number", "outcome", "reuse"])
def test_other_content_under_the_same_outcome_id_is_a_conflict(core: Core, changed: str) -> None:
    core.register("B")
    core.fill(5)
    one, other = issued(core), issued(core, "R2")
    core.report(outcome(one, "unknown"))
    asked = {
        "organization": outcome(one, "unknown", organization="B"),
        "issue_request_id": outcome(one, "unknown", "R2"),
        "invoice_number": outcome(other, "unknown"),
        "outcome": outcome(one, "uploaded"),
        "reuse": outcome(one, "unknown", reuse=False),
    }

    assert refusal(core.report(asked[changed])) == "conflicting-request"
    assert states(core) == {one: "held", other: "assigned"}


def test_a_refusal_is_not_remembered(core: Core) -> None:
    core.fill(5)
    first = core.report(outcome(written(1), "uploaded"))
    number = issued(core)

    [told] = core.report(outcome(number, "uploaded"))

    assert refusal(first) == "unknown-request"
    assert told.topic is Topic.NUMBER_USED


def test_an_outcome_for_an_unknown_request_is_refused(core: Core) -> None:
    core.fill(5)
    number = issued(core)

    assert refusal(core.report(outcome(number, "uploaded", "R9"))) == "unknown-request"


def test_an_outcome_for_an_unknown_organization_is_refused_and_takes_nobody_along(core: Core) -> None:
    core.fill(5)
    number = issued(core)

    told = core.report(
        outcome(number, outcome_id="O1", organization="nobody"),
        outcome(number, outcome_id="O2"),
    )

    [refused] = of(Topic.OUTCOME_REFUSED, told)
    assert (refused.data["reason"], refused.data["taxpayer_id"]) == ("unknown-organization", None)
    assert [each.data["outcome_id"] for each in of(Topic.NUMBER_USED, told)] == ["O2"]


def test_an_outcome_for_a_number_of_another_taxpayer_is_refused(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(5)
    number = issued(core)

    assert refusal(core.report(outcome(number, organization="B"))) == "number-of-another-taxpayer"
    assert states(core) == {number: "assigned"}


def test_an_outcome_for_a_number_of_another_request_is_refused(core: Core) -> None:
    core.fill(5)
    one, _ = issued(core), issued(core, "R2")

    assert refusal(core.report(outcome(one, "uploaded", "R2"))) == "outcome-conflict"


def test_an_outcome_for_an_untouched_number_is_refused(core: Core) -> None:
    numbers = core.fill(5)
    issued(core)

    assert refusal(core.report(outcome(numbers[-1], "uploaded"))) == "outcome-conflict"


def test_an_outcome_for_a_waiting_or_bound_request_is_refused(core: Core) -> None:
    core.issue(invoice("R1"))
    [number] = core.manual(1)
    core.bind(binding(number, "R2"))

    assert refusal(core.report(outcome(number, "uploaded", "R1"))) == "outcome-conflict"
    assert refusal(core.report(outcome(number, "uploaded", "R2"))) == "unknown-request"
    assert states(core) == {number: "bound"}


def test_another_organization_of_the_taxpayer_may_report(core: Core) -> None:
    core.register("B")
    core.fill(5)

    [told] = core.report(outcome(issued(core), organization="B"))

    assert (told.topic, told.data["organization"]) == (Topic.NUMBER_USED, "B")


def test_outcomes_of_a_batch_see_what_those_before_them_did(core: Core) -> None:
    core.fill(5)
    number = issued(core)

    told = core.report(
        *[
            outcome(number, said, outcome_id=id_, form=Form.BATCH)
            for id_, said in [("O1", "unknown"), ("O1", "unknown"), ("O2", "uploaded"), ("O3", "failed")]
        ],
    )

    assert {each.data["outcome_id"]: each.topic for each in told} == {
        "O1": Topic.NUMBER_HELD,
        "O2": Topic.NUMBER_USED,
        "O3": Topic.OUTCOME_REFUSED,
    }
    assert len(of(Topic.NUMBER_HELD, told)) == 2
    assert history(core) == [("assigned", "R1"), ("held", "R1"), ("used", "R1")]


def test_a_batch_is_answered_in_batches(core: Core) -> None:
    numbers = core.fill(3)
    core.issue(*invoices(3))

    core.transactions.run(
        lambda connection: core.outcomes.handle(
            connection,
            [
                outcome(each, "uploaded", f"R{n}", outcome_id=f"O{n}", form=Form.BATCH)
                for n, each in enumerate(numbers, 1)
            ],
        ),
    )

    [message] = core.broker.take()
    assert message.routing_key == "number-used.91350100M000100Y43"
    assert message.body.count(b'"specversion"') == 3


def test_outcomes_and_issuing_at_once_never_give_a_number_twice(core: Core, second: Core) -> None:
    numbers = core.fill(10)
    core.issue(*invoices(10))

    at_once(
        *[
            lambda n=n, each=each: core.report(outcome(each, "failed", f"R{n}", outcome_id=f"O{n}"))
            for n, each in enumerate(numbers, 1)
        ],
        *[lambda n=n: second.issue(invoice(f"S{n}")) for n in range(10)],
    )

    assert core.value("SELECT count(DISTINCT issue_request_id) FROM numbers WHERE status = 'assigned'") == 10
    assert core.value("SELECT count(*) FROM issue_requests WHERE status = 'waiting'") == 0


# ------------------------------------------------------------------------------------------------------------- overdue


def overdue(core: Core) -> list[Told]:
    return core.run(lambda connection: core.outcomes.tell_overdue(connection, timedelta(hours=40)))


def test_a_number_without_an_outcome_is_told_once(core: Core, second: Core) -> None:
    core.fill(5)
    number = issued(core)
    core.clock.advance(hours=39, minutes=59)
    assert overdue(core) == []
    core.clock.advance(minutes=1)

    [told] = overdue(core)

    assert told.topic is Topic.OUTCOME_OVERDUE
    assert told.data == {
        "outcome_id": None,
        "issue_request_id": "R1",
        "organization": "A",
        "taxpayer_id": "91350100M000100Y43",
        "invoice_number": number,
        "at": "2026-11-24T18:00:00.000000Z",
        "environment": "sandbox",
    }
    assert states(core) == {number: "assigned"}
    assert overdue(second) == []
    core.clock.advance(hours=40)
    assert overdue(core) == []


def test_a_held_number_is_overdue_and_a_settled_one_is_not(core: Core) -> None:
    numbers = core.fill(5)
    core.issue(*invoices(4))
    for n, said in enumerate(["unknown", "uploaded", "failed"], 1):
        core.report(outcome(numbers[n - 1], said, f"R{n}", outcome_id=f"O{n}"))
    core.clock.advance(hours=41)

    assert {each.data["issue_request_id"] for each in overdue(core)} == {"R1", "R4"}


def test_a_number_that_was_released_and_given_anew_is_looked_at_anew(core: Core) -> None:
    core.fill(1)
    number = issued(core)
    core.clock.advance(hours=41)
    [first] = overdue(core)
    core.report(outcome(number, "failed"))
    issued(core, "R2")
    core.clock.advance(hours=41)

    [second] = overdue(core)

    assert (first.data["issue_request_id"], second.data["issue_request_id"]) == ("R1", "R2")
    assert first.id != second.id


def test_numbers_of_one_instant_are_told_together(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.outcomes._MOST_AT_ONCE", 2)
    core.fill(10)
    core.issue(*invoices(3))
    core.clock.advance(seconds=1)
    core.issue(*[invoice(f"S{n}") for n in range(3)])
    core.clock.advance(hours=41)

    told = [[each.data["issue_request_id"] for each in overdue(core)] for _ in range(3)]

    assert [sorted(each) for each in told] == [["R1", "R2", "R3"], ["S0", "S1", "S2"], []]


def test_one_worker_at_a_time_looks_for_overdue_numbers(core: Core, second: Core) -> None:
    core.fill(5)
    issued(core)
    core.clock.advance(hours=41)

    with core.engine.begin() as connection:
        assert len(core.outcomes.tell_overdue(connection, timedelta(hours=40))) == 1
        assert overdue(second) == []
