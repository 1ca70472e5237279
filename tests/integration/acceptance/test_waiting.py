"""Requests that find no stock wait in the database, in order, until numbers come or their time is up."""

from dataclasses import replace

from tests.support.outside.envelopes import batch
from tests.support.outside.identities import ahead, organization
from tests.support.outside.polling import eventually, stays
from tests.support.outside.shop import Shop
from tests.support.outside.world import World, issuing, numbers_of


def test_without_automatic_claims_requests_wait_until_the_policy_changes(shop: Shop) -> None:
    """Nothing is claimed by itself, a manual range does not serve them, and a new policy does."""
    world, org = shop.world, organization(automatic_claims=False, claim_quantity=10)
    world.register(org)
    mine = ("--taxpayer", org.taxpayer_id)
    keys = [f"waits-{n}" for n in range(3)]
    world.send(*(issuing(org, key) for key in keys))
    rows = world.waiting_until(lambda: world.waiting(*mine), lambda rows: len(rows) == len(keys), "three wait")
    assert sorted(row["issue_request_id"] for row in rows) == keys
    assert {(row["organization"], row["taxpayer_id"]) for row in rows} == {(org.code, org.taxpayer_id)}
    assert world.authority.grants(org.taxpayer_id) == []

    manual = world.claim(org, "by-hand", 5)
    stays(
        lambda: (
            not world.events.records("number-assigned", taxpayer_id=org.taxpayer_id)
            and len(world.authority.grants(org.taxpayer_id)) == 1
        ),
        lasting=2,
        what="manual numbers are not used, and nothing else is claimed",
    )

    world.register(replace(org, policy={"automatic_claims": True, "claim_quantity": 10}))
    told = [world.events.one("number-assigned", issue_request_id=key, within=60) for key in keys]
    assert {record.data["claim_mode"] for record in told} == {"automatic"}
    assert manual.data["range_id"] not in {record.data["range_id"] for record in told}
    assert world.waiting(*mine) == []


def test_grants_smaller_than_what_waits_serve_it_in_order(troubled: Shop) -> None:
    """Twelve wait, five come with each grant: first come, first served, and each grant used up is a new exhaustion."""
    world, org = troubled.world, organization(claim_quantity=5, low_threshold=0)
    world.register(org)
    world.authority.faults(refuse=1.0)
    keys = [f"in-line-{n:02d}" for n in range(12)]
    world.send(issuing(org, keys[0]))
    world.events.one("claim-failed", taxpayer_id=org.taxpayer_id)
    world.send(*(issuing(org, key) for key in keys[1:]))
    rows = world.waiting_until(
        lambda: world.waiting("--taxpayer", org.taxpayer_id), lambda rows: len(rows) == len(keys), "twelve wait"
    )
    by_time = sorted(rows, key=lambda row: row["waiting_since"])
    assert by_time[0]["issue_request_id"] == keys[0]
    world.authority.faults()

    told = {key: world.events.one("number-assigned", issue_request_id=key, within=60) for key in keys}
    order = [
        record.data["range_id"] for record in world.events.wait("range-claimed", count=3, taxpayer_id=org.taxpayer_id)
    ]
    places = [order.index(told[key].data["range_id"]) for key in keys]
    assert places == [0] * 5 + [1] * 5 + [2] * 2
    assert len(set(numbers_of(list(told.values())))) == len(keys)
    episodes = [
        record.data["episode"] for record in world.events.records("range-exhausted", taxpayer_id=org.taxpayer_id)
    ]
    assert len(set(episodes)) >= 3, "two grants were used up in their own transactions"


def test_a_waiting_request_asked_again_waits_once_and_other_content_conflicts(shop: Shop) -> None:
    world, org = shop.world, organization(automatic_claims=False)
    world.register(org)
    world.send(issuing(org, "same"), issuing(org, "same"), issuing(org, "same", kind="red"))
    assert world.events.one("number-refused", issue_request_id="same").data["reason"] == "conflicting-request"
    (row,) = world.waiting_until(lambda: world.waiting("--taxpayer", org.taxpayer_id), bool, "it waits")
    assert row["issue_request_id"] == "same"


def test_the_limit_of_waiting_is_a_day(world: World) -> None:
    """After 24 hours `no-stock`; asked again, it waits again."""
    org = organization(automatic_claims=False)
    world.register(org)
    first = world.worker()
    world.send(issuing(org, "patient"))
    world.waiting_until(world.waiting, bool, "it waits")
    first.drain()

    nearly = world.worker(FUMA_CLOCK=ahead(hours=23))
    stays(lambda: not world.events.records("number-refused"), lasting=2, what="it waits for a day")
    nearly.drain()

    world.worker(FUMA_CLOCK=ahead(hours=24, minutes=1))
    refused = world.events.one("number-refused", issue_request_id="patient", within=60)
    assert refused.data["reason"] == "no-stock"
    world.waiting_until(world.waiting, lambda rows: not rows, "it waits no more")
    world.send(issuing(org, "patient"))
    world.waiting_until(world.waiting, bool, "asked again, it waits again")


def test_a_waiting_request_can_be_cancelled(shop: Shop) -> None:
    world, org = shop.world, organization(automatic_claims=False)
    world.register(org)
    world.send(issuing(org, "given-up"), issuing(org, "kept"))
    world.waiting_until(lambda: world.waiting("--taxpayer", org.taxpayer_id), lambda rows: len(rows) == 2, "both wait")
    world.fuma.ok("waiting", "cancel", "given-up", "--reason", "ordered twice")
    refused = world.events.one("number-refused", issue_request_id="given-up", within=60)
    assert refused.data["reason"] == "cancelled"
    assert [row["issue_request_id"] for row in world.waiting("--taxpayer", org.taxpayer_id)] == ["kept"]
    world.fuma.run("waiting", "cancel", "nobody-asked", "--reason", "none").refused()


def test_requests_that_waited_are_answered_in_the_form_they_came_in(shop: Shop) -> None:
    """The first requests of a taxpayer always wait for its first grant."""
    batched, single = shop.organization(), shop.organization()
    keys = [f"together-{n}" for n in range(8)]
    shop.world.publisher.send(batch([issuing(batched, key) for key in keys]))
    told = shop.world.events.wait("number-assigned", count=len(keys), taxpayer_id=batched.taxpayer_id)
    assert all(record.batched for record in told)
    assert [record.data["issue_request_id"] for record in told] == keys
    assert len({record.message for record in told}) == 1
    (alone,) = shop.world.issue(single, "alone")
    assert not alone.batched


def test_nothing_is_lost_when_nobody_is_bound(world: World) -> None:
    """Without any queue for the answers numbers are assigned all the same; asked again, the answer comes again."""
    org = organization(claim_quantity=10)
    world.register(org)
    world.worker()
    keys = [f"unheard-{n}" for n in range(5)]
    world.send(*(issuing(org, key) for key in keys))
    rows = world.waiting_until(
        lambda: world.numbers("--taxpayer", org.taxpayer_id), lambda rows: len(rows) == len(keys), "five assigned"
    )
    assigned = {row["issue_request_id"]: row["invoice_number"] for row in rows}
    eventually(lambda: world.queue_length("fuma.invoice-issuing") == 0, within=10, what="nothing left to read")
    assert world.events.everything() == []
    world.send(*(issuing(org, key) for key in keys))
    told = [world.events.one("number-assigned", issue_request_id=key) for key in keys]
    assert {record.data["issue_request_id"]: record.data["invoice_number"] for record in told} == assigned
    assert len(world.authority.grants()) == 1
