"""Grants: each is checked before a number of it is used; a bad one is quarantined and told (domain, "Check")."""

import threading

import pytest
from sqlalchemy.exc import IntegrityError

from db.engine import constraint
from schemas.topics import Topic
from tests.support.core.asked import claim, invoice, invoices
from tests.support.core.authority import granted, number
from tests.support.core.world import OTHER_TAXPAYER, Core, at_once, of
from tests.support.telling import tell_all
from worker.leqi.port import Answer, ClaimCall, Granted

BAD_GRANTS = [
    pytest.param(granted(1, 999), id="fewer than asked for"),
    pytest.param(granted(1, 1001), id="more than asked for"),
    pytest.param(Granted(number(1), number(1000), 999), id="quantity is not the range's"),
    pytest.param(granted(1, 1000, year=2024), id="two years ago"),
    pytest.param(granted(1, 1000, year=2028), id="in two years"),
    pytest.param(granted(1, 1000, digits="71"), id="another channel mode"),
    pytest.param(granted(1, 1000, digits="99"), id="no channel mode"),
]
UNREADABLE_GRANTS = [
    pytest.param(Granted("2644700000000000001", number(1000), 1000), id="19 digits"),
    pytest.param(Granted(number(1), "264470000000000010000", 1000), id="21 digits"),
    pytest.param(Granted("", "", 1000), id="no number"),
    pytest.param(Granted("\uff12\uff1644700000000000000\uff11", number(1000), 1000), id="digits that are not ASCII"),
    pytest.param(Granted(number(1), number(1000, region="45"), 1000), id="first six digits differ"),
    pytest.param(Granted(number(1000), number(1), 1000), id="last before first"),
]


@pytest.mark.parametrize("grant", BAD_GRANTS)
def test_a_bad_grant_is_quarantined_and_none_of_it_assigned(core: Core, grant: Granted) -> None:
    core.issue(invoice("R1"))
    core.authority.will(grant)

    [failed, quarantined] = core.claim_and_call()

    assert (failed.topic, failed.data["reason"]) == (Topic.CLAIM_FAILED, "grant-invalid")
    assert failed.data["next_attempt_at"] == "2026-11-23T02:00:10.000000Z"
    assert quarantined.topic is Topic.RANGE_QUARANTINED
    assert quarantined.data["first_number"] == grant.first_number
    assert quarantined.data["last_number"] == grant.last_number
    assert quarantined.data["reason"] == "grant-invalid"
    assert list(core.statuses.values()) == ["quarantined"]
    assert core.rows("SELECT status, next_sequence - first_sequence FROM ranges") == [("quarantined", 0)]
    assert core.value("SELECT count(*) FROM numbers") == 0
    assert core.value("SELECT status FROM issue_requests") == "waiting"


@pytest.mark.parametrize("grant", UNREADABLE_GRANTS)
def test_a_grant_without_a_readable_extent_is_told_and_leads_to_no_range(core: Core, grant: Granted) -> None:
    core.issue(invoice("R1"))
    core.authority.will(grant)

    [failed] = core.claim_and_call()

    assert failed.data["reason"] == "grant-invalid"
    assert list(core.statuses.values()) == ["quarantined"]
    assert core.value("SELECT count(*) FROM ranges") == 0


@pytest.mark.parametrize("grant", [granted(1, 9), granted(1, 10, digits="71")], ids=["short", "mode"])
def test_a_bad_grant_of_a_manual_claim_is_not_split(core: Core, grant: Granted) -> None:
    core.request_claims(claim("C1", quantity=10))
    core.authority.will(grant)

    [failed, _] = core.call()

    assert (failed.data["claim_id"], failed.data["reason"]) == ("C1", "grant-invalid")
    assert failed.data["next_attempt_at"] is None
    assert core.value("SELECT count(*) FROM numbers") == 0


def test_after_a_bad_grant_a_new_claim_follows(core: Core) -> None:
    core.issue(invoice("R1"))
    core.authority.will(granted(1, 3))
    core.claim_and_call()
    assert core.claim_and_call() == []
    core.clock.advance(seconds=10)

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, core.claim_and_call())] == ["R1"]


@pytest.mark.parametrize("year", [2025, 2027])
def test_a_grant_of_a_neighbouring_year_belongs_to_that_years_stock(core: Core, year: int) -> None:
    core.issue(invoice("R1"))
    core.authority.will(granted(1, 1000, year=year))

    [claimed] = core.claim_and_call()

    assert (claimed.topic, claimed.data["year"]) == (Topic.RANGE_CLAIMED, year)
    assert core.rows("SELECT year, status FROM ranges") == [(year, "active")]
    assert core.value("SELECT status FROM issue_requests") == "waiting"


@pytest.mark.parametrize(
    ("first", "quantity"),
    [(100, 1000), (1, 100), (1099, 5), (500, 10), (1, 5000)],
    ids=["the same", "its first number", "its last number", "within", "around"],
)
def test_a_grant_that_overlaps_a_range_held_is_quarantined(core: Core, first: int, quantity: int) -> None:
    core.fill(1000, first=100)
    core.request_claims(claim(quantity=min(quantity, 1000)))
    core.change("UPDATE claims SET claim_mode = 'automatic', quantity = :quantity", quantity=quantity)
    core.authority.will(granted(first, quantity))

    [failed, quarantined] = core.call()

    assert "overlap" in failed.data["detail"]
    assert quarantined.data["unused"] == quantity
    assert core.rows("SELECT status, count(*) FROM ranges GROUP BY status ORDER BY status") == [
        ("active", 1),
        ("quarantined", 1),
    ]


def test_neighbouring_ranges_do_not_overlap(core: Core) -> None:
    core.fill(1000, first=1001)
    core.request_claims(claim("C1"), claim("C2"))
    core.authority.will(granted(991, 10), granted(2001, 10))

    assert [each.topic for each in core.call()] == [Topic.RANGE_CLAIMED] * 2


def test_a_grant_that_overlaps_another_taxpayers_range_is_quarantined(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(1000, first=1, taxpayer_id=OTHER_TAXPAYER)
    core.issue(invoice("R1"))
    core.authority.will(granted(1000, 1000))

    core.claim_and_call()

    assert list(core.statuses.values()) == ["quarantined"]


def test_a_grant_that_overlaps_only_a_quarantined_range_is_good(core: Core) -> None:
    core.fill(1000, first=1)
    core.change("UPDATE ranges SET status = 'quarantined'")
    core.issue(invoice("R1"))
    core.authority.will(granted(1, 1000))

    [claimed, assigned] = core.claim_and_call()

    assert (claimed.topic, assigned.topic) == (Topic.RANGE_CLAIMED, Topic.NUMBER_ASSIGNED)


def test_of_two_overlapping_grants_at_once_one_is_quarantined(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.issue(*invoices(3), *invoices(3, organization="B"))
    core.look_for_claimless_stocks()
    both_asked = threading.Barrier(2)

    def when_both_asked(_: ClaimCall) -> Answer:
        both_asked.wait(30)
        return granted(1, 1000)

    core.authority.will(when_both_asked, when_both_asked)
    core.calls.call_due()
    core.calls.close(30)

    assert sorted(core.statuses.values()) == ["granted", "quarantined"]
    assert len(of(Topic.NUMBER_ASSIGNED, core.told())) == 3


def test_two_transactions_with_overlapping_grants_do_not_both_commit(core: Core, second: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.issue(invoice("R1"), invoice("R1", organization="B"))
    core.look_for_claimless_stocks()
    claims = [core.undecided_claims()[0], core.undecided_claims(OTHER_TAXPAYER)[0]]
    both_settle = threading.Barrier(2, timeout=30)

    def settle(worker: Core, index: int) -> str:
        with worker.engine.connect() as connection, connection.begin() as transaction:
            both_settle.wait()
            try:
                worker.settling.settle(connection, claims[index], granted(1, 1000))
                tell_all(connection)
                transaction.commit()
            except IntegrityError as error:
                return str(constraint(error))
        return "committed"

    outcomes = at_once(lambda: settle(core, 0), lambda: settle(second, 1))

    assert "committed" in outcomes
    assert core.value("SELECT count(*) FROM ranges WHERE status = 'active'") == 1
    assert set(outcomes) <= {"committed", "ex_ranges_overlap_sandbox"}
