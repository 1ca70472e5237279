"""Manual claims: one range for one claim id, split into numbers that issuing never takes."""

import re

import pytest

from schemas.topics import Topic
from tests.support.core.asked import claim, invoice
from tests.support.core.authority import REFUSED, UNKNOWN, granted
from tests.support.core.world import OTHER_TAXPAYER, Core, at_once, of


def test_a_manual_claim_brings_a_range(core: Core) -> None:
    assert core.request_claims(claim("C1", quantity=10)) == []
    core.authority.will(granted(1, 10))

    [claimed] = core.call()

    range_id = str(core.value("SELECT range_id FROM ranges"))
    assert claimed.topic is Topic.RANGE_CLAIMED
    assert claimed.data == {
        "claim_id": "C1",
        "claim_mode": "manual",
        "organization": "A",
        "taxpayer_id": "91350100M000100Y43",
        "range_id": range_id,
        "first_number": "26447000000000000001",
        "last_number": "26447000000000000010",
        "quantity": 10,
        "year": 2026,
        "environment": "sandbox",
    }


def test_a_manual_range_is_split_into_numbers_that_issuing_never_takes(core: Core) -> None:
    core.request_claims(claim(quantity=10))
    core.call()

    [exhausted] = core.issue(invoice("R1"))

    assert exhausted.topic is Topic.RANGE_EXHAUSTED
    assert core.rows("SELECT status, count(*) FROM numbers GROUP BY status") == [("available", 10)]


def test_the_same_claim_again_gets_the_same_event(core: Core, second: Core) -> None:
    core.request_claims(claim())
    first = core.call()
    core.clock.advance(days=30)

    assert second.request_claims(claim()) == first
    assert core.call() == []
    assert len(core.authority.calls) == 1


def test_the_same_claim_again_while_it_is_open_is_answered_once(core: Core) -> None:
    core.request_claims(claim(), claim())
    core.request_claims(claim())

    assert [each.topic for each in core.call()] == [Topic.RANGE_CLAIMED]
    assert len(core.authority.calls) == 1


def test_a_refused_claim_asked_again_gets_the_same_refusal(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(REFUSED)
    first = core.call()
    core.clock.advance(days=1)

    assert core.request_claims(claim()) == first
    assert [(each.topic, each.data["reason"], each.data["next_attempt_at"]) for each in first] == [
        (Topic.CLAIM_FAILED, "leqi-refused", None),
    ]


def test_the_same_claim_by_workers_at_once_is_made_once(core: Core, second: Core) -> None:
    core.register("B")

    at_once(*[lambda worker=worker: worker.request_claims(claim()) for worker in (core, second) * 4])

    assert core.value("SELECT count(*) FROM claims") == 1


@pytest.mark.parametrize("other", [claim(quantity=11), claim(organization="B")], ids=["quantity", "organization"])
def test_other_content_under_the_same_claim_id_is_a_conflict(core: Core, other: object) -> None:
    core.register("B")
    core.request_claims(claim(quantity=10))

    [failed] = core.request_claims(other)  # type: ignore[arg-type]

    assert (failed.topic, failed.data["reason"]) == (Topic.CLAIM_FAILED, "conflicting-request")
    assert core.value("SELECT count(*) FROM claims") == 1


def test_a_conflict_has_another_id_than_the_claims_own_failure(core: Core) -> None:
    core.request_claims(claim(quantity=10))
    core.authority.will(REFUSED)
    [own] = core.call()

    [conflict] = core.request_claims(claim(quantity=11))

    assert conflict.id != own.id


@pytest.mark.parametrize("quantity", [-1, 0, 1001, 5000, 2**63 - 1])
def test_a_quantity_out_of_bounds_is_answered_and_never_asked_for(core: Core, quantity: int) -> None:
    [failed] = core.request_claims(claim(quantity=quantity))

    assert (failed.data["reason"], failed.data["quantity"]) == ("quantity-out-of-bounds", quantity)
    assert core.call() == []
    assert core.authority.calls == []


@pytest.mark.parametrize("quantity", [1, 1000])
def test_a_quantity_at_the_bounds_is_claimed(core: Core, quantity: int) -> None:
    core.request_claims(claim(quantity=quantity))

    [claimed] = core.call()

    assert claimed.data["quantity"] == quantity
    assert core.value("SELECT count(*) FROM numbers") == quantity


def test_an_unknown_organization_is_answered_and_takes_nobody_along(core: Core) -> None:
    [failed] = core.request_claims(claim("C1"), claim("C2", organization="nobody"), claim("C3"))

    assert (failed.data["claim_id"], failed.data["reason"], failed.data["taxpayer_id"]) == (
        "C2",
        "unknown-organization",
        None,
    )
    assert core.statuses == {"C1": "open", "C3": "open"}


def test_claim_ids_of_two_taxpayers_have_nothing_to_do_with_each_other(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.request_claims(claim("C1"), claim("C1", organization="B"))

    claimed = of(Topic.RANGE_CLAIMED, core.call())

    assert {each.data["taxpayer_id"] for each in claimed} == {"91350100M000100Y43", OTHER_TAXPAYER}
    assert len({each.id for each in claimed}) == 2


def test_serials_are_unique_and_stored_before_the_call(core: Core) -> None:
    core.request_claims(*[claim(f"C{n}") for n in range(20)])
    stored = dict(core.rows("SELECT claim_id, business_serial FROM claims"))
    assert len(set(stored.values())) == 20
    assert all(re.fullmatch("UU-0Y43" + "DU-TEST" + "[0-9A-Za-z]{32}", serial) for serial in stored.values())

    while core.call():
        pass

    assert sorted(call.business_serial for call in core.authority.calls) == sorted(stored.values())


def test_a_manual_claim_whose_outcome_is_unknown_is_replayed_and_answered_once(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(core.authority.lose, UNKNOWN)
    assert core.call() == []
    core.clock.advance(seconds=2)
    assert core.call() == []
    core.clock.advance(seconds=3)

    [claimed] = core.call()

    assert claimed.data["claim_id"] == "C1"
    assert len({(call.business_serial, call.quantity) for call in core.authority.calls}) == 1
    assert core.value("SELECT count(*) FROM ranges") == 1


def test_a_manual_claim_does_not_stand_in_the_way_of_an_automatic_one(core: Core) -> None:
    core.request_claims(claim())
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()

    assert [row[0] for row in core.rows("SELECT claim_mode FROM claims ORDER BY 1")] == ["automatic", "manual"]
