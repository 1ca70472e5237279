"""Refreshing with a gateway that lists ranges: settles, keeps as foreign, tells every difference, deletes nothing."""

from typing import Any

import pytest

from schemas.topics import Topic
from tests.support.core.asked import claim, invoice, refresh
from tests.support.core.authority import REFUSED, UNKNOWN, ScriptedListing, granted, listed, number
from tests.support.core.world import OTHER_TAXPAYER, Core, Told, of


def differences(told: list[Told]) -> list[tuple[Any, ...]]:
    [refreshed] = of(Topic.RANGE_REFRESHED, told)
    return [
        (each["kind"], each["first_number"], each["last_number"], each["quantity_here"], each["quantity_there"])
        for each in refreshed.data["differences"]
    ]


def test_a_list_that_agrees_has_no_differences(listed_core: Core, listing: ScriptedListing) -> None:
    listed_core.fill(10, first=100)
    listing.put(listed(100, 10, unused=3))

    assert differences(listed_core.refresh(refresh())) == []
    assert listed_core.rows("SELECT status, listed_unused FROM ranges") == [("active", 3)]


def test_a_range_of_another_system_is_kept_as_foreign(listed_core: Core, listing: ScriptedListing) -> None:
    listing.put(listed(100, 10, serial="somebody else's"))

    told = listed_core.refresh(refresh())

    assert differences(told) == [("missing-here", number(100), number(109), None, 10)]
    assert told[-1].data["foreign"] == 1
    assert listed_core.rows("SELECT status, listed_serial, listed_unused FROM ranges") == [
        ("foreign", "somebody else's", 10),
    ]


def test_a_foreign_range_is_never_issued_from(listed_core: Core, listing: ScriptedListing) -> None:
    listing.put(listed(100, 10))
    listed_core.refresh(refresh())

    [exhausted] = listed_core.issue(invoice("R1"))

    assert exhausted.topic is Topic.RANGE_EXHAUSTED


def test_a_foreign_range_listed_again_is_no_difference(listed_core: Core, listing: ScriptedListing) -> None:
    listing.put(listed(100, 10))
    listed_core.refresh(refresh("F1"))
    listing.lists.clear()
    listing.put(listed(100, 10, unused=4))

    assert differences(listed_core.refresh(refresh("F2"))) == []
    assert listed_core.rows("SELECT status, listed_unused FROM ranges") == [("foreign", 4)]


def test_a_range_that_the_list_lacks_is_told_and_kept(listed_core: Core) -> None:
    listed_core.fill(10, first=100)

    assert differences(listed_core.refresh(refresh())) == [("missing-there", number(100), number(109), 10, None)]
    assert listed_core.value("SELECT status FROM ranges") == "active"


def test_another_quantity_is_told_and_ours_kept(listed_core: Core, listing: ScriptedListing) -> None:
    listed_core.fill(10, first=100)
    listing.put(listed(100, 12))

    assert differences(listed_core.refresh(refresh())) == [("other-quantity", number(100), number(109), 10, 12)]
    assert listed_core.rows("SELECT last_sequence, status FROM ranges") == [(109, "active")]


@pytest.mark.parametrize("first", [95, 105])
def test_an_overlap_is_told_and_not_stored(listed_core: Core, listing: ScriptedListing, first: int) -> None:
    listed_core.fill(10, first=100)
    listing.put(listed(100, 10), listed(first, 10))

    assert differences(listed_core.refresh(refresh())) == [("overlap", number(first), number(first + 9), None, 10)]
    assert listed_core.value("SELECT count(*) FROM ranges") == 1


def test_a_quarantined_range_with_the_same_first_number_does_not_hide_the_one_we_hold(
    listed_core: Core,
    listing: ScriptedListing,
) -> None:
    listed_core.fill(10, first=100)
    listed_core.clock.advance(seconds=1)
    listed_core.request_claims(claim(quantity=20))
    listed_core.authority.will(granted(100, 20))
    listed_core.call()
    listing.put(listed(100, 10))

    assert differences(listed_core.refresh(refresh())) == []


def test_a_listed_serial_settles_our_claim(listed_core: Core, listing: ScriptedListing) -> None:
    core = listed_core
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    core.authority.will(UNKNOWN, UNKNOWN)
    core.call()
    listing.put(listed(100, 1000, serial=core.value("SELECT business_serial FROM claims")))

    told = core.refresh(refresh())

    [assigned] = of(Topic.NUMBER_ASSIGNED, told)
    [claimed] = of(Topic.RANGE_CLAIMED, told)
    assert assigned.data["invoice_number"] == claimed.data["first_number"] == number(100)
    assert differences(told) == []
    assert told[-1].data["resolved_claims"] == 1
    assert list(core.statuses.values()) == ["granted"]


@pytest.mark.parametrize("status", ["refused", "abandoned"])
def test_a_listed_serial_settles_a_claim_that_we_thought_had_brought_nothing(
    listed_core: Core,
    listing: ScriptedListing,
    status: str,
) -> None:
    core = listed_core
    core.request_claims(claim("C1", quantity=10))
    core.authority.will(REFUSED)
    core.call()
    core.change("UPDATE claims SET status = :status", status=status)
    listing.put(listed(100, 10, serial=core.value("SELECT business_serial FROM claims")))

    told = core.refresh(refresh())

    assert [each.data["claim_id"] for each in of(Topic.RANGE_CLAIMED, told)] == ["C1"]
    assert core.statuses == {"C1": "granted"}
    assert core.value("SELECT count(*) FROM numbers WHERE status = 'available'") == 10


def test_a_listed_serial_with_another_quantity_is_a_bad_grant(listed_core: Core, listing: ScriptedListing) -> None:
    core = listed_core
    core.request_claims(claim("C1", quantity=10))
    core.authority.will(UNKNOWN, UNKNOWN)
    core.call()
    listing.put(listed(100, 9, serial=core.value("SELECT business_serial FROM claims")))

    told = core.refresh(refresh())

    assert [each.data["reason"] for each in of(Topic.CLAIM_FAILED, told)] == ["grant-invalid"]
    assert core.rows("SELECT status FROM ranges") == [("quarantined",)]


def test_a_serial_of_a_granted_claim_settles_nothing_twice(listed_core: Core, listing: ScriptedListing) -> None:
    core = listed_core
    core.request_claims(claim("C1", quantity=10))
    core.authority.will(granted(100, 10))
    core.call()
    listing.put(listed(100, 10, serial=core.value("SELECT business_serial FROM claims")))

    told = core.refresh(refresh())

    assert [each.topic for each in told] == [Topic.RANGE_REFRESHED]
    assert core.value("SELECT count(*) FROM ranges") == 1


def test_a_serial_of_another_taxpayers_claim_is_none_of_ours(listed_core: Core, listing: ScriptedListing) -> None:
    core = listed_core
    core.register("B", OTHER_TAXPAYER)
    core.request_claims(claim("C1", organization="B"))
    core.authority.will(UNKNOWN)
    core.call()
    listing.put(listed(100, 10, serial=core.value("SELECT business_serial FROM claims")))

    core.refresh(refresh(organization="A"))

    assert core.statuses == {"C1": "open"}
    assert core.rows("SELECT status FROM ranges") == [("foreign",)]


def test_a_list_that_can_not_be_had_is_told_and_changes_nothing(listed_core: Core, listing: ScriptedListing) -> None:
    listed_core.fill(10, first=100)
    listing.failure = "the gateway answers with 502"

    assert differences(listed_core.refresh(refresh())) == [("listing-unavailable", None, None, None, None)]


def test_a_refresh_id_already_answered_asks_the_gateway_no_more(listed_core: Core, listing: ScriptedListing) -> None:
    listed_core.refresh(refresh("F1"))
    listed_core.refresh(refresh("F1"))

    assert len(listing.asked) == 1
