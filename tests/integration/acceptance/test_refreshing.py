"""Refresh: what the channel holds and what we hold, brought into step and told for each taxpayer."""

import pytest

from tests.support.outside.identities import Organization, organization
from tests.support.outside.polling import stays
from tests.support.outside.shop import Shop
from tests.support.outside.world import World, claiming, issuing, numbers_of, refreshing


@pytest.fixture
def orgs(world: World) -> list[Organization]:
    """Two organisations of one taxpayer and one of another, registered; the listener stands from the start."""
    one, other = organization(claim_quantity=10), organization(claim_quantity=10)
    twin = organization(taxpayer_id=one.taxpayer_id, claim_quantity=10)
    world.register(one, twin, other)
    assert world.events.everything() == []
    return [one, twin, other]


def test_refresh_counts_what_there_is(world: World, orgs: list[Organization]) -> None:
    """For an organisation, a taxpayer and all; for a taxpayer without any range too."""
    one, twin, other = orgs
    world.worker()
    world.issue(one, *(f"counted-{n}" for n in range(3)))
    world.claim(twin, "counted-by-hand", 5)
    by_organization = world.refresh("of-an-organization", organization=twin.code)
    told = by_organization.data
    assert (told["taxpayer_id"], told["ranges"], told["claimed"], told["remaining"]) == (one.taxpayer_id, 2, 15, 12)
    assert (told["resolved_claims"], told["unresolved_claims"], told["expired"]) == (0, 0, 0)
    assert not told["foreign"]
    assert not told["differences"]
    by_taxpayer = world.refresh("of-a-taxpayer", taxpayer_id=one.taxpayer_id)
    assert {**by_taxpayer.data, "refresh_id": ""} == {**told, "refresh_id": ""}

    world.send(refreshing("of-all"))
    everyone = world.events.wait("range-refreshed", count=2, refresh_id="of-all")
    assert {record.data["taxpayer_id"]: record.data["ranges"] for record in everyone} == {
        one.taxpayer_id: 2,
        other.taxpayer_id: 0,
    }
    stays(lambda: len(world.events.records("range-refreshed", refresh_id="of-all")) == 2, lasting=1, what="one each")


def test_the_same_refresh_gets_the_same_event(shop: Shop) -> None:
    world, org = shop.world, shop.organization()
    world.issue(org, "before")
    first = world.refresh("asked-twice", organization=org.code)
    world.issue(org, "after")
    world.send(refreshing("asked-twice", organization=org.code))
    told = world.events.wait("range-refreshed", count=2, refresh_id="asked-twice")
    assert told[1].event == first.event
    anew = world.refresh("asked-anew", organization=org.code)
    assert anew.data["remaining"] == first.data["remaining"] - 1


def test_refresh_replays_claims_without_an_answer(troubled: Shop) -> None:
    world, org = troubled.world, troubled.organization()
    world.authority.faults(lost_answer=1.0)
    world.send(claiming(org, "without-answer", 4))
    world.events.one("claim-unresolved", claim_id="without-answer", within=40)
    stuck = world.refresh("still-lost", organization=org.code)
    assert (stuck.data["resolved_claims"], stuck.data["unresolved_claims"]) == (0, 1)
    world.authority.faults()
    settled = world.refresh("settled", organization=org.code)
    assert (settled.data["resolved_claims"], settled.data["unresolved_claims"]) == (1, 0)
    world.events.one("range-claimed", claim_id="without-answer")
    assert len(world.authority.grants(org.taxpayer_id)) == 1
    assert world.spans("--taxpayer", org.taxpayer_id) == world.authority.spans(org.taxpayer_id)


def test_a_listing_shows_nothing_foreign_at_first(world: World, orgs: list[Organization]) -> None:
    one, _, other = orgs
    world.worker(FUMA_CHANNEL_GATEWAY_URL=world.authority.url)
    world.issue(one, "listed")
    world.claim(other, "listed-by-hand", 5)
    for org in (one, other):
        told = world.refresh(f"listed-{org.code}", organization=org.code).data
        assert not told["foreign"]
        assert not told["differences"]


def test_a_claim_that_the_listing_knows_is_settled_by_it(world: World, orgs: list[Organization]) -> None:
    """LeQi's answers are lost without end, but the gateway lists the range under the claim's serial."""
    world.authority.faults(lost_answer=1.0)
    world.worker(FUMA_CHANNEL_GATEWAY_URL=world.authority.url)
    world.send(claiming(orgs[0], "listed-not-told", 4))
    world.events.one("claim-unresolved", claim_id="listed-not-told", within=40)
    told = world.refresh("settles-by-listing", organization=orgs[0].code).data
    assert (told["resolved_claims"], told["unresolved_claims"]) == (1, 0)
    assert not told["foreign"]
    claimed = world.events.one("range-claimed", claim_id="listed-not-told")
    (grant,) = world.authority.grants()
    assert (claimed.data["first_number"], claimed.data["last_number"]) == (
        grant["first_number"],
        grant["last_number"],
    )
    assert len(world.numbers("--taxpayer", orgs[0].taxpayer_id)) == 4


def test_a_foreign_range_is_shown_never_issued_from_and_usable_once_released(world: World) -> None:
    """Claimed by another system of the company: kept apart until a person says that it may be used."""
    org = organization(automatic_claims=False)
    world.register(org)
    assert world.events.everything() == []
    world.worker(FUMA_CHANNEL_GATEWAY_URL=world.authority.url)
    granted = world.authority.claim(org, 25)
    told = world.refresh("finds-it", organization=org.code).data
    assert told["foreign"]
    assert told["differences"]
    (foreign,) = world.ranges("--status", "foreign")
    assert (foreign["taxpayer_id"], foreign["first_number"], foreign["last_number"], foreign["claimed"]) == (
        org.taxpayer_id,
        granted["fpqshm"],
        granted["fpzzhm"],
        25,
    )
    world.refresh("finds-it-again", organization=org.code)
    assert len(world.ranges("--status", "foreign")) == 1

    keys = [f"waits-for-release-{n}" for n in range(3)]
    world.send(*(issuing(org, key) for key in keys))
    world.waiting_until(world.waiting, lambda rows: len(rows) == 3, "they wait")
    stays(lambda: not world.events.records("number-assigned"), lasting=1, what="nothing is issued from it")

    assert world.fuma.run("ranges", "release", foreign["range_id"]).code != 0, "a reason must be given"
    world.fuma.ok("ranges", "release", foreign["range_id"], "--reason", "the old system is switched off")
    told_numbers = numbers_of([world.events.one("number-assigned", issue_request_id=key, within=60) for key in keys])
    assert all(granted["fpqshm"] <= number <= granted["fpzzhm"] for number in told_numbers)
    assert world.ranges("--status", "foreign") == []
    world.fuma.run("ranges", "release", foreign["range_id"], "--reason", "again").refused()
    world.audit()


def test_only_a_foreign_range_can_be_released(shop: Shop) -> None:
    world = shop.world
    (record,) = world.issue(shop.organization(), "usual")
    world.fuma.run("ranges", "release", record.data["range_id"], "--reason", "why not").refused()
    world.fuma.run("ranges", "release", "no-such-range", "--reason", "why not").refused()
