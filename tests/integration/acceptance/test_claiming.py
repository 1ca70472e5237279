"""Manual claims: a range split into single numbers that issuing never takes by itself."""

import pytest

from tests.support.outside.envelopes import structured
from tests.support.outside.identities import china_today, organization
from tests.support.outside.polling import eventually, stays
from tests.support.outside.shop import Shop
from tests.support.outside.world import World, claiming, issuing, numbers_of


def test_a_manual_claim_brings_single_numbers_marked_manual(shop: Shop) -> None:
    org = shop.organization()
    record = shop.world.claim(org, "manual-1", 7)
    (grant,) = shop.world.authority.grants(org.taxpayer_id)
    assert record.data == {
        "environment": "sandbox",
        "claim_id": "manual-1",
        "claim_mode": "manual",
        "organization": org.code,
        "taxpayer_id": org.taxpayer_id,
        "range_id": record.data["range_id"],
        "first_number": grant["first_number"],
        "last_number": grant["last_number"],
        "quantity": 7,
        "year": china_today().year,
    }
    first = int(grant["first_number"])
    rows = shop.world.numbers("--taxpayer", org.taxpayer_id, "--claim-mode", "manual")
    assert sorted(row["invoice_number"] for row in rows) == [str(first + n) for n in range(7)]
    assert {(row["range_id"], row["issue_request_id"]) for row in rows} == {(record.data["range_id"], None)}
    (claim,) = shop.world.claims("--taxpayer", org.taxpayer_id)
    assert (claim["claim_id"], claim["claim_mode"], claim["organization"], claim["quantity"]) == (
        "manual-1",
        "manual",
        org.code,
        7,
    )
    assert (claim["status"], claim["requested_by"], claim["reason"]) == ("granted", "li.na", None)
    assert claim["business_serial"] == grant["business_serial"]
    (listed,) = shop.world.ranges("--taxpayer", org.taxpayer_id)
    assert (listed["claim_mode"], listed["claimed"], listed["remaining"], listed["status"]) == (
        "manual",
        7,
        7,
        "active",
    )


def test_the_serial_names_both_units_and_is_a_new_one_each_time(shop: Shop) -> None:
    org = shop.organization()
    for n in range(3):
        shop.world.claim(org, f"serial-{n}", 1)
    serials = [grant["business_serial"] for grant in shop.world.authority.grants(org.taxpayer_id)]
    start = f"{org.entry()['using_unit_id']}DU00000000000001"
    assert all(serial.startswith(start) and len(serial) == len(start) + 32 for serial in serials)
    assert len(set(serials)) == 3


def test_issuing_never_takes_a_manual_number(shop: Shop) -> None:
    org = shop.organization()
    manual = shop.world.claim(org, "not-for-issuing", 1000)
    told = shop.world.issue(org, *(f"beside-{n}" for n in range(25)))
    assert all(not manual.data["first_number"] <= number <= manual.data["last_number"] for number in numbers_of(told))
    assert {record.data["claim_mode"] for record in told} == {"automatic"}


def test_the_same_claim_gets_the_same_event_and_one_grant(shop: Shop) -> None:
    org = shop.organization()
    first = shop.world.claim(org, "claimed-once", 4)
    shop.world.send(claiming(org, "claimed-once", 4), claiming(org, "claimed-once", 4))
    told = shop.world.events.wait("range-claimed", count=3, claim_id="claimed-once")
    assert [record.event for record in told] == [first.event] * 3
    assert len(shop.world.authority.grants(org.taxpayer_id)) == 1


def test_many_copies_of_a_claim_at_once_make_one_grant(shop: Shop) -> None:
    org = shop.organization()
    shop.world.send(*(claiming(org, "claimed-in-a-hurry", 4) for _ in range(20)))
    shop.world.events.wait("range-claimed", claim_id="claimed-in-a-hurry")
    told = shop.world.events.wait("range-claimed", claim_id="claimed-in-a-hurry")
    assert len({record.id for record in told}) == 1
    stays(lambda: len(shop.world.authority.grants(org.taxpayer_id)) == 1, lasting=1, what="one grant")


@pytest.mark.parametrize("quantity", [0, 1001, -1, 5000, 10**18])
def test_a_quantity_out_of_bounds_is_answered_and_nothing_is_claimed(shop: Shop, quantity: int) -> None:
    org = shop.organization()
    shop.world.send(claiming(org, f"out-{quantity}", quantity))
    failed = shop.world.events.one("claim-failed", claim_id=f"out-{quantity}")
    assert failed.data["reason"] == "quantity-out-of-bounds"
    assert (failed.data["quantity"], failed.data["next_attempt_at"]) == (quantity, None)
    assert failed.data["taxpayer_id"] == org.taxpayer_id
    assert shop.world.authority.grants(org.taxpayer_id) == []


@pytest.mark.parametrize("quantity", [1, 1000])
def test_the_bounds_themselves_are_claimed(shop: Shop, quantity: int) -> None:
    org = shop.organization()
    record = shop.world.claim(org, f"bound-{quantity}", quantity)
    assert int(record.data["last_number"]) - int(record.data["first_number"]) + 1 == quantity


def test_a_claim_for_an_unknown_organization_fails(shop: Shop) -> None:
    shop.world.send(claiming("ORG-NOBODY", "claim-of-nobody", 5))
    failed = shop.world.events.one("claim-failed", claim_id="claim-of-nobody")
    assert failed.data["reason"] == "unknown-organization"
    assert failed.data.get("taxpayer_id") is None
    assert failed.routing_key == "claim-failed"


def test_other_content_under_the_same_claim_id_is_a_conflict(shop: Shop) -> None:
    org = shop.organization()
    twin = organization(taxpayer_id=org.taxpayer_id, claim_quantity=20)
    shop.world.register(twin)
    shop.world.claim(org, "claim-conflict", 4)
    shop.world.send(claiming(org, "claim-conflict", 5))
    shop.world.send(claiming(twin, "claim-conflict", 4))
    failed = shop.world.events.wait("claim-failed", count=2, claim_id="claim-conflict")
    assert {record.data["reason"] for record in failed} == {"conflicting-request"}
    assert len(shop.world.authority.grants(org.taxpayer_id)) == 1


def test_a_claim_id_of_two_taxpayers_is_two_claims(shop: Shop) -> None:
    one, other = shop.organization(), shop.organization()
    shop.world.send(claiming(one, "claim-of-two", 2), claiming(other, "claim-of-two", 3))
    for org, quantity in ((one, 2), (other, 3)):
        record = shop.world.events.one("range-claimed", claim_id="claim-of-two", taxpayer_id=org.taxpayer_id)
        assert record.data["quantity"] == quantity


def test_an_exhausted_stock_is_claimed_for_once_however_often_it_is_told(world: World) -> None:
    """Copies of the present `range-exhausted` while the claim is under way, and old ones later: no second claim."""
    org = organization(claim_quantity=10, low_threshold=0)
    world.register(org)
    world.authority.faults(latency_ms=1500)
    assert world.events.everything() == []
    world.worker()
    world.worker()
    world.send(issuing(org, "first"))
    told = world.events.one("range-exhausted", taxpayer_id=org.taxpayer_id)
    assert told.data["last_number"] is None
    assert (told.data["channel_mode"], told.data["year"]) == ("self-use", china_today().year)
    world.publisher.send(*(structured(told.event, routing_key=told.routing_key) for _ in range(50)))
    world.events.one("number-assigned", issue_request_id="first")
    world.authority.faults()
    world.publisher.send(*(structured(told.event, routing_key=told.routing_key) for _ in range(50)))
    eventually(lambda: world.queue_length("fuma.range-exhausted") == 0, within=10, what="every copy read")
    stays(lambda: len(world.authority.grants()) == 1, lasting=3, what="one claim for one exhaustion")

    ended = world.issue(org, *(f"rest-{n}" for n in range(9)))
    again = world.events.wait("range-exhausted", taxpayer_id=org.taxpayer_id, last_number=max(numbers_of(ended)))
    assert again[0].data["episode"] != told.data["episode"]
    eventually(lambda: len(world.authority.grants()) == 2, within=20, what="the claim of the second exhaustion")
    world.audit()


def test_a_stock_that_needs_a_claim_is_found_without_the_event(world: World) -> None:
    """Nobody reads `range-exhausted`, and it is purged: the timed look of any worker claims."""
    org = organization(claim_quantity=10)
    world.register(org)
    world.worker("--topics", "invoice-issuing")
    world.send(issuing(org, "event-lost"))
    world.waiting_until(world.waiting, bool, "it waits")
    world.purge("fuma.range-exhausted")
    world.events.one("number-assigned", issue_request_id="event-lost", within=60)
    assert len(world.authority.grants()) == 1


def test_the_policy_sets_the_quantity_of_an_automatic_claim(shop: Shop) -> None:
    large, usual = organization(claim_quantity=5000), organization()
    shop.world.register(large, usual)
    shop.world.issue(large, "of-large")
    shop.world.issue(usual, "of-usual")
    assert [grant["quantity"] for grant in shop.world.authority.grants(large.taxpayer_id)] == [5000]
    assert [grant["quantity"] for grant in shop.world.authority.grants(usual.taxpayer_id)] == [1000]
    claimed = shop.world.events.one("range-claimed", taxpayer_id=large.taxpayer_id)
    assert claimed.data["claim_mode"] == "automatic"
    (row,) = shop.world.claims("--taxpayer", large.taxpayer_id)
    assert (row["claim_mode"], row["status"], row["quantity"]) == ("automatic", "granted", 5000)
