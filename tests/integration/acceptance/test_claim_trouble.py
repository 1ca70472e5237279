"""Claims when LeQi refuses, loses its answers, grants nonsense or asks for patience."""

from datetime import datetime

import pytest

from tests.support.outside.identities import CHINA, Organization, ahead, china_now, organization
from tests.support.outside.polling import eventually, stays
from tests.support.outside.shop import Shop
from tests.support.outside.world import World, claiming, issuing


@pytest.fixture
def org(world: World) -> Organization:
    """An organisation with small automatic claims, registered; the listener stands from the start."""
    org = organization(claim_quantity=10)
    world.register(org)
    assert world.events.everything() == []
    return org


def seconds_ahead(instant: str) -> float:
    """Tell how far ahead of now an instant lies."""
    return (datetime.fromisoformat(instant).astimezone(CHINA) - china_now()).total_seconds()


def test_a_refused_automatic_claim_is_told_and_made_anew(troubled: Shop) -> None:
    world, org = troubled.world, troubled.organization()
    world.authority.faults(refuse=1.0)
    world.send(issuing(org, "refused-first"))
    failed = world.events.one("claim-failed", taxpayer_id=org.taxpayer_id)
    assert failed.data["reason"] == "leqi-refused"
    assert failed.data["quantity"] == 20
    assert failed.data["detail"]
    assert 0 < seconds_ahead(failed.data["next_attempt_at"]) <= 15
    world.authority.faults()
    world.events.one("number-assigned", issue_request_id="refused-first", within=40)
    claims = world.claims("--taxpayer", org.taxpayer_id)
    assert sorted(claim["status"] for claim in claims) == ["granted", "refused"]
    assert len({claim["business_serial"] for claim in claims}) == 2, "a new claim has a new serial"
    (refused,) = [claim for claim in claims if claim["status"] == "refused"]
    assert (refused["claim_id"], refused["reason"]) == (failed.data["claim_id"], "leqi-refused")
    world.audit()


@pytest.mark.parametrize("fault", ["refuse", "bad_key"])
def test_a_refused_manual_claim_is_told_and_recorded(troubled: Shop, fault: str) -> None:
    """Refused by LeQi's rules, or because it can't decrypt what we sent (4057): nothing is granted."""
    world, org = troubled.world, troubled.organization()
    world.authority.faults(**{fault: 1.0})
    world.send(claiming(org, "refused-by-hand", 5))
    failed = world.events.one("claim-failed", claim_id="refused-by-hand")
    assert failed.data["reason"] == "leqi-refused"
    (row,) = world.claims("--taxpayer", org.taxpayer_id)
    assert (row["claim_id"], row["status"], row["reason"]) == ("refused-by-hand", "refused", "leqi-refused")


def test_a_lost_answer_is_replayed_with_the_same_serial(troubled: Shop) -> None:
    world, org = troubled.world, troubled.organization()
    world.authority.faults(lost_answer=1.0)
    world.send(claiming(org, "lost", 6), issuing(org, "waits-for-the-lost"))
    eventually(
        lambda: (
            len(world.authority.grants(org.taxpayer_id)) == 2
            and all(grant["times_asked"] > 1 for grant in world.authority.grants(org.taxpayer_id))
        ),
        within=20,
        what="both claims replayed",
    )
    world.authority.faults()
    world.events.one("range-claimed", claim_id="lost", within=30)
    world.events.one("number-assigned", issue_request_id="waits-for-the-lost", within=30)
    serials = {grant["business_serial"] for grant in world.authority.grants(org.taxpayer_id)}
    assert {claim["business_serial"] for claim in world.claims("--taxpayer", org.taxpayer_id)} == serials
    assert world.spans("--taxpayer", org.taxpayer_id) == world.authority.spans(org.taxpayer_id)
    assert {claim["status"] for claim in world.claims("--taxpayer", org.taxpayer_id)} == {"granted"}
    world.audit()


def test_an_answer_that_says_nothing_is_asked_again(troubled: Shop) -> None:
    """A platform error leaves open what was granted."""
    world, org = troubled.world, troubled.organization()
    world.authority.faults(error_500=1.0)
    world.send(claiming(org, "unknown-outcome", 6))
    (row,) = world.waiting_until(
        lambda: world.claims("--taxpayer", org.taxpayer_id),
        lambda rows: bool(rows) and bool(rows[0]["next_attempt_at"]),
        "a claim with a replay to come",
    )
    assert row["status"] in {"open", "unresolved"}
    world.authority.faults()
    world.events.one("range-claimed", claim_id="unknown-outcome", within=30)
    assert world.spans("--taxpayer", org.taxpayer_id) == world.authority.spans(org.taxpayer_id)
    assert [claim["business_serial"] for claim in world.claims("--taxpayer", org.taxpayer_id)] == [
        row["business_serial"]
    ]


def test_from_the_third_replay_a_claim_is_unresolved_and_no_longer_in_the_way(troubled: Shop) -> None:
    """It is told once; a new claim brings numbers; a refresh settles the old one, and its range is more stock."""
    world, org = troubled.world, troubled.organization()
    world.authority.faults(lost_answer=1.0)
    world.send(issuing(org, "goes-on"))
    unresolved = world.events.one("claim-unresolved", taxpayer_id=org.taxpayer_id, within=40)
    first_claim = unresolved.data["claim_id"]
    assert unresolved.data["quantity"] == 20
    assert unresolved.data["reason"] == "leqi-unreachable"
    assert unresolved.data["next_attempt_at"]
    world.waiting_until(
        lambda: world.claims("--taxpayer", org.taxpayer_id, "--status", "unresolved"),
        lambda rows: first_claim in {row["claim_id"] for row in rows},
        "the claim is shown as unresolved",
    )
    eventually(
        lambda: len(world.authority.grants(org.taxpayer_id)) > 1, within=60, what="a new claim with a new serial"
    )
    world.authority.faults()
    world.events.one("number-assigned", issue_request_id="goes-on", within=60)
    assert len(world.events.records("claim-unresolved", claim_id=first_claim)) == 1

    refreshed = world.refresh("settles", organization=org.code)
    assert refreshed.data["unresolved_claims"] == 0
    world.events.one("range-claimed", claim_id=first_claim)
    assert world.claims("--taxpayer", org.taxpayer_id, "--status", "unresolved") == []
    assert world.spans("--taxpayer", org.taxpayer_id) == world.authority.spans(org.taxpayer_id)


def test_bad_grants_are_quarantined_and_none_of_their_numbers_assigned(troubled: Shop) -> None:
    """Short, overlapping, two years off, of another channel: each is told, kept apart, and replaced."""
    world = troubled.world
    faults = ("short_grant", "wrong_year", "wrong_channel", "overlapping_grant")
    orgs = {fault: organization(claim_quantity=10) for fault in faults}
    world.register(*orgs.values())
    world.claim(orgs["overlapping_grant"], "to-be-overlapped", 5)
    for fault, org in orgs.items():
        world.authority.faults(**{fault: 1.0})
        world.send(issuing(org, f"despite-{fault}"))
        failed = world.events.one("claim-failed", taxpayer_id=org.taxpayer_id)
        assert failed.data["reason"] == "grant-invalid", fault
        assert failed.data["next_attempt_at"], fault
    world.authority.faults()
    for fault, org in orgs.items():
        record = world.events.one("number-assigned", issue_request_id=f"despite-{fault}", within=60)
        told = {row["range_id"]: row for row in world.ranges("--taxpayer", org.taxpayer_id)}
        assert told[record.data["range_id"]]["status"] == "active", fault
        bad = [row for row in told.values() if row["status"] == "quarantined"]
        assert bad, f"{fault}: the bad grant is kept"
        numbers = world.numbers("--taxpayer", org.taxpayer_id)
        assigned = {row["invoice_number"] for row in numbers if row["issue_request_id"]}
        assert assigned == {record.data["invoice_number"]}, fault
        claims = world.claims("--taxpayer", org.taxpayer_id, "--status", "quarantined")
        assert {claim["reason"] for claim in claims} == {"grant-invalid"}, fault
    world.audit()


def test_a_bad_grant_of_a_manual_claim_fails_it(troubled: Shop) -> None:
    world, org = troubled.world, troubled.organization()
    world.authority.faults(wrong_channel=1.0)
    world.send(claiming(org, "bad-by-hand", 5))
    assert world.events.one("claim-failed", claim_id="bad-by-hand").data["reason"] == "grant-invalid"
    (row,) = world.claims("--taxpayer", org.taxpayer_id)
    assert row["status"] == "quarantined"
    assert world.numbers("--taxpayer", org.taxpayer_id) == []


def test_throttling_binds_every_worker_for_five_minutes(world: World, org: Organization) -> None:
    other = organization(claim_quantity=10)
    world.register(other)
    world.authority.faults(throttle=1.0)
    workers = [world.worker(), world.worker()]
    world.send(issuing(org, "throttled"))
    (row,) = world.waiting_until(
        lambda: world.claims("--taxpayer", org.taxpayer_id),
        lambda rows: bool(rows) and rows[0]["reason"] == "leqi-throttled",
        "a throttled claim",
    )
    assert 240 < seconds_ahead(row["next_attempt_at"]) <= 330
    world.authority.faults()
    world.send(issuing(other, "of-another-taxpayer"), claiming(other, "by-hand-meanwhile", 3))
    stays(lambda: world.authority.grants() == [], lasting=6, what="no call is made while throttled")
    for worker in workers:
        worker.drain()

    world.worker(FUMA_CLOCK=ahead(minutes=6))
    world.events.one("number-assigned", issue_request_id="throttled", within=60)
    world.events.one("number-assigned", issue_request_id="of-another-taxpayer", within=60)
    world.events.one("range-claimed", claim_id="by-hand-meanwhile", within=60)
    assert world.spans() == world.authority.spans()


def test_claims_go_on_after_the_authority_was_away(world: World, org: Organization) -> None:
    """LeQi unreachable: nothing fails for good, and what was asked is granted when it is back."""
    away = world.worker(FUMA_LEQI_URL="http://127.0.0.1:9")
    world.send(issuing(org, "while-away"), claiming(org, "claim-while-away", 3))
    world.waiting_until(world.claims, lambda rows: len(rows) == 2, "two claims recorded")
    away.drain()
    world.worker()
    world.events.one("number-assigned", issue_request_id="while-away", within=60)
    world.events.one("range-claimed", claim_id="claim-while-away", within=60)
    assert world.spans() == world.authority.spans()


def test_open_claims_survive_a_kill(world: World, org: Organization) -> None:
    """Killed while LeQi thinks: the next worker replays the same serial, and numbers are neither lost nor doubled."""
    world.authority.faults(latency_ms=3000)
    first = world.worker()
    world.send(issuing(org, "thinking"), claiming(org, "claim-thinking", 4))
    world.waiting_until(world.claims, lambda rows: len(rows) == 2, "two claims recorded")
    first.kill()
    world.authority.faults()
    world.worker()
    world.events.one("number-assigned", issue_request_id="thinking", within=60)
    world.events.one("range-claimed", claim_id="claim-thinking", within=60)
    eventually(lambda: world.claims("--status", "open") == [], within=30, what="no claim open", step=0.5)
    assert world.spans() == world.authority.spans()
    world.audit()
