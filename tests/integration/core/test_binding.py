"""Binding: a manual number is kept for one issue request, which then has it whatever the stock holds."""

import pytest

from schemas.cloudevents import Form
from schemas.topics import Topic
from tests.support.core.asked import binding, invoice
from tests.support.core.authority import number as written
from tests.support.core.clock import in_china
from tests.support.core.world import OTHER_TAXPAYER, Core, Told, at_once, of


def refusal(told: list[Told]) -> str:
    [refused] = told
    assert refused.topic is Topic.BINDING_REFUSED
    return str(refused.data["reason"])


def states(core: Core) -> dict[str, str]:
    """The state of each number that isn't available."""
    rows = core.rows("SELECT prefix, sequence, status FROM numbers WHERE status <> 'available'")
    return {f"{prefix:06}{sequence:014}": status for prefix, sequence, status in rows}


def history(core: Core, number: str) -> list[tuple[str, str, str | None]]:
    """The states that a number had and has: state, by which message, who asked."""
    return core.rows(
        "SELECT status, changed_by, requested_by FROM ("
        " SELECT step, status, changed_by, requested_by, prefix, sequence FROM number_history"
        " UNION ALL SELECT step, status, changed_by, requested_by, prefix, sequence FROM numbers) AS every"
        " WHERE prefix = :prefix AND sequence = :sequence ORDER BY step",
        prefix=int(number[:6]),
        sequence=int(number[6:]),
    )


def test_a_bound_number_goes_to_its_request_whatever_the_stock_holds(core: Core) -> None:
    core.fill(5)
    [manual, *_] = core.manual(2)

    [bound] = core.bind(binding(manual, "R2"))
    told = core.issue(invoice("R1"), invoice("R2"))

    assert bound.topic is Topic.NUMBER_BOUND
    assert bound.data == {
        "binding_id": "B1",
        "issue_request_id": "R2",
        "organization": "A",
        "taxpayer_id": "91350100M000100Y43",
        "invoice_number": manual,
        "requested_by": "an operator",
        "at": "2026-11-23T02:00:00.000000Z",
        "environment": "sandbox",
    }
    given = {each.data["issue_request_id"]: each.data for each in told}
    assert (given["R2"]["invoice_number"], given["R2"]["claim_mode"]) == (manual, "manual")
    assert given["R1"]["claim_mode"] == "automatic"


def test_a_request_that_waits_has_the_number_in_the_same_transaction(core: Core) -> None:
    core.issue(invoice("R1"), invoice("R2"))
    [manual] = core.manual(1)

    told = core.bind(binding(manual, "R2"))

    assert [each.topic for each in told] == [Topic.NUMBER_BOUND, Topic.NUMBER_ASSIGNED]
    assert told[1].data["invoice_number"] == manual
    assert core.rows("SELECT issue_request_id, status FROM issue_requests ORDER BY 1") == [
        ("R1", "waiting"),
        ("R2", "assigned"),
    ]
    assert core.issue(invoice("R2")) == [told[1]]


def test_the_history_of_a_bound_number_shows_who_asked(core: Core) -> None:
    core.issue(invoice("R1"))
    [manual] = core.manual(1)

    core.bind(binding(manual, requested_by="Li"))

    assert history(core, manual) == [
        ("available", "claim manual-1", "an operator"),
        ("bound", "/tests message B1", "Li"),
        ("assigned", "/tests message", None),
    ]


def test_a_manual_range_whose_last_number_is_assigned_is_used_up(core: Core) -> None:
    core.issue(invoice("R1"))
    [manual] = core.manual(1)

    core.bind(binding(manual))

    assert core.value("SELECT status FROM ranges") == "used-up"


def test_the_same_binding_again_gets_the_same_event(core: Core, second: Core) -> None:
    [manual] = core.manual(1)
    first = core.bind(binding(manual))
    core.clock.advance(days=3)

    assert second.bind(binding(manual, requested_by="somebody else")) == first
    core.issue(invoice("R1"))
    assert core.bind(binding(manual)) == first
    assert core.value("SELECT count(*) FROM number_bindings") == 1


def test_the_same_binding_by_workers_at_once_is_done_once(core: Core, second: Core) -> None:
    [manual] = core.manual(1)

    at_once(*[lambda worker=worker: worker.bind(binding(manual)) for worker in (core, second) * 3])

    assert len(history(core, manual)) == 2
    assert core.value("SELECT count(*) FROM number_bindings") == 1


@pytest.mark.parametrize("changed", ["number", "issue_request_id", "organization", "action"])
def test_other_content_under_the_same_binding_id_is_a_conflict(core: Core, changed: str) -> None:
    core.register("B")
    one, other = core.manual(2)
    core.bind(binding(one))
    asked = {
        "number": binding(other),
        "issue_request_id": binding(one, "R2"),
        "organization": binding(one, organization="B"),
        "action": binding(one, action="unbind"),
    }

    assert refusal(core.bind(asked[changed])) == "conflicting-request"
    assert states(core) == {one: "bound"}


def test_a_refusal_is_not_remembered_and_has_a_new_id_each_time(core: Core) -> None:
    one, other = core.manual(2)
    core.bind(binding(one, binding_id="B1"))
    [first] = core.bind(binding(one, "R2", binding_id="B2"))
    [again] = core.bind(binding(one, "R2", binding_id="B2"))

    [bound] = core.bind(binding(other, "R2", binding_id="B2"))

    assert first.id != again.id
    assert bound.topic is Topic.NUMBER_BOUND


def test_an_unknown_organization_is_refused_and_takes_nobody_along(core: Core) -> None:
    one, other = core.manual(2)

    told = core.bind(
        binding(one, "R1", binding_id="B1", organization="nobody"),
        binding(other, "R2", binding_id="B2"),
    )

    assert [each.topic for each in told] == [Topic.BINDING_REFUSED, Topic.NUMBER_BOUND]
    assert (told[0].data["reason"], told[0].data["taxpayer_id"]) == ("unknown-organization", None)


def test_a_number_of_another_taxpayer_is_not_bound(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    [manual] = core.manual(1)

    assert refusal(core.bind(binding(manual, organization="B"))) == "number-of-another-taxpayer"
    assert states(core) == {}


def test_another_organization_of_the_taxpayer_in_the_same_mode_may_bind(core: Core) -> None:
    core.register("B")
    [manual] = core.manual(1)

    [bound] = core.bind(binding(manual, organization="B"))

    assert bound.topic is Topic.NUMBER_BOUND


def test_an_organization_of_another_mode_may_not_bind(core: Core) -> None:
    core.register("J", channel_mode="joint")
    [manual] = core.manual(1)

    assert refusal(core.bind(binding(manual, organization="J"))) == "channel-mode-mismatch"


def test_a_number_is_not_bound_to_a_request_that_waits_in_another_mode(core: Core) -> None:
    core.register("J", channel_mode="joint")
    core.issue(invoice("R1", organization="J"))
    [manual] = core.manual(1)

    assert refusal(core.bind(binding(manual))) == "channel-mode-mismatch"


def test_a_number_is_not_bound_to_a_request_that_waits_for_another_year(core: Core) -> None:
    [manual] = core.manual(1)
    core.clock.set(in_china("2026-12-31"))
    core.issue(invoice("R1", issue_date="2027-01-01"))

    assert refusal(core.bind(binding(manual))) == "year-mismatch"
    assert core.rows("SELECT status FROM issue_requests") == [("waiting",)]


def test_a_request_dated_in_another_year_does_not_get_its_bound_number(core: Core) -> None:
    [manual] = core.manual(1)
    core.bind(binding(manual))

    [refused] = core.issue(invoice("R1", issue_date="2027-01-01"))

    assert (refused.topic, refused.data["reason"]) == (Topic.NUMBER_REFUSED, "year-mismatch")
    assert states(core) == {manual: "bound"}


def test_an_automatic_number_is_not_bound(core: Core) -> None:
    [untouched, *_] = core.fill(2)
    [assigned] = core.issue(invoice("R1"))

    assert refusal(core.bind(binding(untouched, "R2"))) == "number-not-available"
    assert refusal(core.bind(binding(assigned.data["invoice_number"], "R2"))) == "number-not-available"


def test_a_number_that_nobody_has_is_not_bound(core: Core) -> None:
    assert refusal(core.bind(binding(written(77)))) == "number-not-available"


def test_a_number_that_is_bound_elsewhere_is_not_bound(core: Core) -> None:
    [manual] = core.manual(1)
    core.bind(binding(manual, "R1", binding_id="B1"))

    assert refusal(core.bind(binding(manual, "R2", binding_id="B2"))) == "number-not-available"
    assert refusal(core.bind(binding(manual, "R1", binding_id="B3"))) == "number-not-available"
    assert len(history(core, manual)) == 2


def test_a_request_has_one_bound_number(core: Core) -> None:
    one, other = core.manual(2)
    core.bind(binding(one, "R1", binding_id="B1"))

    assert refusal(core.bind(binding(other, "R1", binding_id="B2"))) == "conflicting-request"


def test_a_request_that_holds_a_number_is_not_bound(core: Core) -> None:
    core.fill(5)
    core.issue(invoice("R1"))
    [manual] = core.manual(1)

    assert refusal(core.bind(binding(manual))) == "conflicting-request"
    assert manual not in states(core)


@pytest.mark.parametrize("status", ["expired", "retired", "quarantined"])
def test_a_number_of_a_range_out_of_use_is_not_bound(core: Core, status: str) -> None:
    [manual] = core.manual(1)
    core.change("UPDATE ranges SET status = :status", status=status)

    assert refusal(core.bind(binding(manual))) == "number-not-available"


def test_a_number_is_unbound_and_stays_manual(core: Core) -> None:
    [manual] = core.manual(1)
    core.bind(binding(manual, binding_id="B1"))

    [unbound] = core.bind(binding(manual, binding_id="B2", action="unbind", requested_by="Wang"))
    [exhausted] = core.issue(invoice("R1"))

    assert (unbound.topic, unbound.data["binding_id"]) == (Topic.NUMBER_UNBOUND, "B2")
    assert exhausted.topic is Topic.RANGE_EXHAUSTED
    assert history(core, manual)[1:] == [
        ("bound", "/tests message B1", "an operator"),
        ("available", "/tests message B2", "Wang"),
    ]


def test_an_unbinding_again_gets_the_same_event_though_the_number_is_bound_anew(core: Core) -> None:
    [manual] = core.manual(1)
    core.bind(binding(manual, binding_id="B1"))
    first = core.bind(binding(manual, binding_id="B2", action="unbind"))
    core.bind(binding(manual, "R2", binding_id="B3"))

    assert core.bind(binding(manual, binding_id="B2", action="unbind")) == first
    assert states(core) == {manual: "bound"}


def test_a_number_is_unbound_only_from_its_own_request(core: Core) -> None:
    bound, free = core.manual(2)
    core.bind(binding(bound, "R1", binding_id="B1"))

    for asked in (
        binding(bound, "R2", binding_id="B2", action="unbind"),
        binding(free, binding_id="B3", action="unbind"),
    ):
        assert refusal(core.bind(asked)) == "number-not-available"
    assert states(core) == {bound: "bound"}


def test_a_number_that_is_assigned_is_not_unbound(core: Core) -> None:
    [manual] = core.manual(1)
    core.bind(binding(manual, binding_id="B1"))
    core.issue(invoice("R1"))

    assert refusal(core.bind(binding(manual, binding_id="B2", action="unbind"))) == "number-not-available"
    assert states(core) == {manual: "assigned"}


def test_requests_of_a_batch_see_what_those_before_them_did(core: Core) -> None:
    [manual] = core.manual(1)

    told = core.bind(
        binding(manual, "R1", binding_id="B1", form=Form.BATCH),
        binding(manual, "R1", binding_id="B1", form=Form.BATCH),
        binding(manual, "R1", binding_id="B2", action="unbind", form=Form.BATCH),
        binding(manual, "R2", binding_id="B3", form=Form.BATCH),
    )

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_BOUND, told)] == ["R1", "R1", "R2"]
    assert len({each.id for each in told}) == 3
    assert len(history(core, manual)) == 4


def test_binding_and_issuing_at_once_give_the_request_one_number(core: Core, second: Core) -> None:
    core.fill(50)
    manual = core.manual(10)
    ids = [f"R{n}" for n in range(10)]

    at_once(
        *[lambda id_=id_: core.issue(invoice(id_)) for id_ in ids],
        *[
            lambda id_=id_, n=n: second.bind(binding(n, id_, binding_id=id_))
            for id_, n in zip(ids, manual, strict=True)
        ],
    )

    assert core.value("SELECT count(*) FROM numbers WHERE issue_request_id IS NOT NULL") == 10
    assert core.value("SELECT count(*) FROM numbers WHERE bound_to IS NOT NULL") == 0


def test_an_issue_request_may_name_a_manual_number_itself(core: Core) -> None:
    core.fill(5)
    one, other = core.manual(2)
    core.bind(binding(one, "R9"))

    [assigned] = core.issue(invoice("R1", number=other))
    [refused] = core.issue(invoice("R2", number=one))

    assert (assigned.data["invoice_number"], assigned.data["claim_mode"]) == (other, "manual")
    assert refused.data["reason"] == "number-not-available"
