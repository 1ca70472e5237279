"""Waiting: requests that find no stock wait in order, are served first, and never wait for ever (rule 2)."""

from sqlalchemy import Connection

from schemas.cloudevents import Form
from schemas.topics import Topic
from tests.support.core.asked import claim, invoice, invoices
from tests.support.core.authority import granted
from tests.support.core.world import Core, Told, of
from worker.answers import Answer


def assigned(told: list[Told]) -> list[str]:
    return [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)]


def cancelled(core: Core, issue_request_id: str) -> list[Told]:
    def cancel(connection: Connection) -> list[Answer]:
        found = core.letting_go.cancel(connection, issue_request_id, None, "entered twice")
        return [each for each in found if isinstance(each, Answer)]

    return core.run(cancel)


def waiting(core: Core) -> list[str]:
    return [row[0] for row in core.rows("SELECT issue_request_id FROM issue_requests WHERE status = 'waiting'")]


def test_a_request_without_stock_waits_and_is_served_by_the_grant(core: Core) -> None:
    [exhausted] = core.issue(invoice("R1"))
    assert exhausted.topic is Topic.RANGE_EXHAUSTED
    core.authority.will(granted(7, 1000))

    told = core.claim_and_call()

    [claimed, served] = told
    assert (claimed.topic, claimed.data["first_number"]) == (Topic.RANGE_CLAIMED, "26447000000000000007")
    assert (served.data["issue_request_id"], served.data["invoice_number"]) == ("R1", "26447000000000000007")
    assert waiting(core) == []


def test_those_who_wait_are_served_in_the_order_in_which_they_came(core: Core) -> None:
    # Names against the order, so that no other order can look right.
    core.issue(invoice("R9"), invoice("R5"))
    core.issue(invoice("R7"))
    core.issue(invoice("R1"))

    assert assigned(core.claim_and_call()) == ["R9", "R5", "R7", "R1"]


def test_a_grant_smaller_than_what_waits_serves_the_first_and_leads_to_the_next_claim(core: Core) -> None:
    core.issue(*invoices(5))
    core.change("UPDATE channels SET claim_quantity = 2")

    first = core.claim_and_call()
    second = core.claim_and_call()
    third = core.claim_and_call()

    assert [assigned(each) for each in (first, second, third)] == [["R1", "R2"], ["R3", "R4"], ["R5"]]
    exhaustions = of(Topic.RANGE_EXHAUSTED, [*first, *second, *third])
    assert [(each.data["episode"], each.data["waiting"]) for each in exhaustions] == [(2, 3), (3, 1)]
    assert len({each.id for each in exhaustions}) == 2
    assert waiting(core) == []


def test_a_grant_used_up_exactly_is_a_new_exhaustion_although_nobody_waits(core: Core) -> None:
    core.issue(*invoices(2))
    core.change("UPDATE channels SET claim_quantity = 2")

    [exhausted] = of(Topic.RANGE_EXHAUSTED, core.claim_and_call())

    assert (exhausted.data["episode"], exhausted.data["waiting"]) == (2, 0)
    assert exhausted.data["last_number"] == core.authority.grant(core.authority.calls[0]).last_number


def test_nobody_passes_the_queue(core: Core) -> None:
    core.issue(*invoices(3))
    core.change("UPDATE channels SET claim_quantity = 2")
    core.claim_and_call()

    # R3 still waits: who comes now comes after it, with the same grant.
    core.issue(invoice("R0"))

    assert assigned(core.claim_and_call()) == ["R3", "R0"]


def test_a_request_that_waits_and_is_asked_again_keeps_its_place_and_gets_one_answer(core: Core) -> None:
    core.issue(*invoices(2))
    assert core.issue(invoice("R2"), invoice("R1"), invoice("R1")) == []

    assert assigned(core.claim_and_call()) == ["R1", "R2"]


def test_a_manual_grant_serves_nobody(core: Core) -> None:
    core.issue(invoice("R1"))
    core.request_claims(claim("C1", quantity=5))

    assert assigned(core.call()) == []
    assert waiting(core) == ["R1"]


def test_each_stock_has_a_queue_of_its_own(core: Core) -> None:
    core.register("J", channel_mode="joint")
    core.issue(invoice("R1"), invoice("R2", organization="J"))

    told = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())

    modes = {each.data["issue_request_id"]: each.data["invoice_number"][4:6] for each in told}
    assert modes == {"R1": "70", "R2": "72"}


def test_the_answer_comes_in_the_form_of_the_request(core: Core) -> None:
    core.issue(invoice("S1"), *[invoice(f"B{n}", form=Form.BATCH, group=n) for n in range(1, 4)])
    core.look_for_claimless_stocks()
    core.broker.take()

    core.calls.call_due()
    core.calls.close(30)

    forms = [
        (message.content_type, message.body.count(b'"specversion"'))
        for message in core.broker.take()
        if message.routing_key.startswith("number-assigned")
    ]
    assert sorted(forms) == [("application/cloudevents+json", 1), ("application/cloudevents-batch+json", 3)]


def test_the_traceparent_of_a_request_that_waited_is_carried_through(core: Core) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    core.issue(invoice("R1", traceparent=traceparent))
    core.look_for_claimless_stocks()
    core.broker.take()

    core.calls.call_due()
    core.calls.close(30)

    [body] = [each.body for each in core.broker.take() if each.routing_key.startswith("number-assigned")]
    assert traceparent.encode() in body


def test_a_request_that_waited_past_its_limit_is_refused(core: Core) -> None:
    core.issue(invoice("R1"))
    core.clock.advance(hours=12)
    core.issue(invoice("R2"))
    core.clock.advance(hours=12)
    assert core.end_overdue() == []
    core.clock.advance(seconds=1)

    [refused] = core.end_overdue()

    assert (refused.data["issue_request_id"], refused.data["reason"]) == ("R1", "no-stock")
    assert waiting(core) == ["R2"]


def test_a_request_that_ended_without_a_number_is_judged_anew_when_asked_again(core: Core) -> None:
    core.issue(invoice("R1"))
    core.clock.advance(hours=25)
    core.end_overdue()
    [number] = core.fill(1)

    [answer, _] = core.issue(invoice("R1", issue_date="2026-11-24"))

    assert (answer.topic, answer.data["invoice_number"]) == (Topic.NUMBER_ASSIGNED, number)
    assert core.rows("SELECT status, issue_date::text FROM issue_requests") == [("assigned", "2026-11-24")]


def test_a_closed_request_that_is_asked_again_without_stock_waits_at_the_end(core: Core) -> None:
    core.issue(*invoices(2))
    cancelled(core, "R1")

    assert core.issue(invoice("R1")) == []
    assert assigned(core.claim_and_call()) == ["R2", "R1"]


def test_closed_and_new_requests_of_one_batch_wait_in_the_order_of_the_batch(core: Core) -> None:
    core.issue(*invoices(4))
    for closed in ("R2", "R4"):
        cancelled(core, closed)

    assert core.issue(invoice("R4"), invoice("R5"), invoice("R2"), invoice("R6")) == []
    assert assigned(core.claim_and_call()) == ["R1", "R3", "R4", "R5", "R2", "R6"]


def test_an_operator_cancels_a_waiting_request(core: Core) -> None:
    core.issue(*invoices(2))

    [refused] = cancelled(core, "R1")

    assert (refused.data["issue_request_id"], refused.data["reason"]) == ("R1", "cancelled")
    assert refused.data["detail"] == "entered twice"
    assert waiting(core) == ["R2"]


def test_a_request_that_does_not_wait_is_not_cancelled(core: Core) -> None:
    core.fill(5)
    core.issue(invoice("R1"))

    with core.engine.begin() as connection:
        found = core.letting_go.cancel(connection, "R1", None, "entered twice")

    assert found == []
    assert core.value("SELECT status FROM issue_requests") == "assigned"


def test_a_waiting_request_named_by_two_taxpayers_is_not_cancelled_for_either(core: Core) -> None:
    core.register("B", "91110000101623741K")
    core.issue(invoice("R1"), invoice("R1", organization="B"))

    with core.engine.begin() as connection:
        found = core.letting_go.cancel(connection, "R1", None, "entered twice")

    assert len(found) == 2
    assert waiting(core) == ["R1", "R1"]
