"""New Year: claims are for China's present year, and a January grant may still be of the old one (rule 9)."""

from collections.abc import Callable
from datetime import datetime

import pytest

from schemas.topics import Topic
from tests.support.core.asked import claim, invoice, invoices
from tests.support.core.authority import REFUSED, granted
from tests.support.core.clock import HandClock, in_china
from tests.support.core.world import Core, of
from worker.decoding import Item

MakeCore = Callable[..., Core]


def invoices_of_2027(count: int) -> list[Item]:
    return [invoice(f"R{n}", issue_date="2027-01-01") for n in range(count)]


def test_claims_for_the_new_year_begin_at_midnight_in_china(core: Core) -> None:
    core.clock.set(in_china("2026-12-31", "23:59"))
    core.issue(invoice("R1", issue_date="2027-01-01"))
    core.look_for_claimless_stocks()
    assert core.statuses == {}
    core.clock.set(in_china("2027-01-01", "00:00"))

    told = core.claim_and_call()

    [assigned] = of(Topic.NUMBER_ASSIGNED, told)
    assert assigned.data["invoice_number"].startswith("27")


def test_a_january_grant_of_the_old_year_is_kept_and_asked_for_again_after_ten_minutes_for_at_most_100(
    core: Core,
) -> None:
    core.clock.set(in_china("2027-01-01", "00:05"))
    core.issue(invoice("R1", issue_date="2027-01-01"))
    core.authority.will(granted(1, 1000, year=2026), granted(1001, 100, year=2026))

    [first] = core.claim_and_call()
    core.clock.advance(minutes=9, seconds=59)
    assert core.claim_and_call() == []
    core.clock.advance(seconds=1)
    [second] = core.claim_and_call()
    core.clock.advance(minutes=10)
    third = core.claim_and_call()

    assert [(each.topic, each.data["year"], each.data["quantity"]) for each in (first, second)] == [
        (Topic.RANGE_CLAIMED, 2026, 1000),
        (Topic.RANGE_CLAIMED, 2026, 100),
    ]
    [assigned] = of(Topic.NUMBER_ASSIGNED, third)
    assert assigned.data["invoice_number"].startswith("27")


def test_after_a_grant_of_the_right_year_claims_have_their_usual_size_again(core: Core) -> None:
    core.clock.set(in_china("2027-01-01", "00:05"))
    core.issue(*invoices_of_2027(100))
    core.authority.will(granted(1, 1000, year=2026))
    core.claim_and_call()
    core.clock.advance(minutes=10)
    core.claim_and_call()

    core.claim_and_call()

    assert [call.quantity for call in core.authority.calls] == [1000, 100, 1000]


def test_a_small_policy_stays_small_in_january(core: Core) -> None:
    core.change("UPDATE channels SET claim_quantity = 30")
    core.clock.set(in_china("2027-01-01", "00:05"))
    core.issue(invoice("R1", issue_date="2027-01-01"))
    core.authority.will(granted(1, 30, year=2026))
    core.claim_and_call()
    core.clock.advance(minutes=10)
    core.claim_and_call()

    assert [call.quantity for call in core.authority.calls] == [30, 30]


def test_a_january_grant_of_the_old_year_serves_old_year_requests(core: Core) -> None:
    core.clock.set(in_china("2026-12-31", "23:50"))
    core.issue(invoice("OLD", issue_date="2026-12-31"))
    core.clock.set(in_china("2027-01-01", "00:05"))
    core.issue(invoice("NEW", issue_date="2027-01-01"))
    core.authority.will(granted(1, 1000, year=2026))

    told = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())

    assert [each.data["issue_request_id"] for each in told] == ["OLD"]


@pytest.mark.parametrize(
    ("at", "years"),
    [
        (in_china("2026-12-14", "23:59"), set()),
        (in_china("2026-12-15", "00:00"), {2027}),
        (in_china("2026-12-31"), {2027}),
    ],
    ids=["the day before", "from that day", "later"],
)
def test_next_years_numbers_are_claimed_from_the_day_that_is_set(
    make_core: MakeCore,
    at: datetime,
    years: set[int],
) -> None:
    core = make_core(clock=HandClock(at), next_year_from=(12, 15))
    core.register()
    core.fill(1, year=2027)
    core.issue(invoice("R1", issue_date="2027-01-02"))

    core.look_for_claimless_stocks()

    assert {year for (year,) in core.rows("SELECT year FROM claims")} == years


def test_a_december_claim_that_brings_the_present_year_is_followed_at_midnight_and_no_sooner(
    make_core: MakeCore,
) -> None:
    core = make_core(clock=HandClock(in_china("2026-12-31", "20:00")), next_year_from=(12, 15))
    core.register()
    core.fill(1, year=2027)
    core.issue(invoice("R1", issue_date="2027-01-01"))
    core.authority.will(granted(1, 1000, year=2026))

    [early] = core.claim_and_call()
    core.clock.set(in_china("2026-12-31", "23:59"))
    assert core.claim_and_call() == []
    core.clock.set(in_china("2027-01-01", "00:00"))
    [timely] = core.claim_and_call()

    assert [(each.topic, each.data["year"], each.data["quantity"]) for each in (early, timely)] == [
        (Topic.RANGE_CLAIMED, 2026, 1000),
        (Topic.RANGE_CLAIMED, 2027, 1000),
    ]


def test_early_claims_that_bring_the_present_year_are_small_until_the_year_begins(make_core: MakeCore) -> None:
    core = make_core(clock=HandClock(in_china("2026-12-30", "20:00")), next_year_from=(12, 15))
    core.register()
    core.fill(1, year=2027)
    core.issue(invoice("R1", issue_date="2027-01-01"))
    core.authority.will(granted(1, 1000, year=2026), granted(5000, 100, year=2026), REFUSED, REFUSED)

    quantities = []
    for at in ("30 20:00", "31 00:00"):
        core.clock.set(in_china(f"2026-12-{at[:2]}", at[3:]))
        quantities += [each.data["quantity"] for each in core.claim_and_call()]
    core.clock.set(in_china("2027-01-01", "00:00"))
    quantities += [each.data["quantity"] for each in core.claim_and_call()]
    # The refusals of January put the next claim off for ever longer; the limit of December stays forgotten.
    core.clock.advance(minutes=20)
    quantities += [each.data["quantity"] for each in core.claim_and_call()]
    core.clock.advance(minutes=20)
    quantities += [each.data["quantity"] for each in core.claim_and_call()]

    assert quantities == [1000, 100, 1000, 1000, 1000]


def test_a_manual_claim_in_january_that_brings_the_old_year_is_split_as_it_is(core: Core) -> None:
    core.clock.set(in_china("2027-01-01", "00:05"))
    core.request_claims(claim(quantity=5))
    core.authority.will(granted(1, 5, year=2026))

    [claimed] = core.call()

    assert (claimed.topic, claimed.data["year"]) == (Topic.RANGE_CLAIMED, 2026)
    assert core.value("SELECT count(*) FROM numbers WHERE prefix / 10000 = 26") == 5


def test_a_december_claim_answered_in_january_is_checked_by_the_year_then(core: Core) -> None:
    core.clock.set(in_china("2026-12-31", "23:59"))
    core.issue(invoice("R1", issue_date="2026-12-31"))
    core.authority.will(core.authority.lose)
    core.claim_and_call()
    core.clock.set(in_china("2027-01-01", "00:01"))

    told = core.call()

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)] == ["R1"]


def test_old_ranges_expire_48_hours_after_new_year(core: Core) -> None:
    numbers = core.fill(10, year=2026)
    core.issue(*invoices(3))
    core.clock.set(in_china("2027-01-02", "23:59"))
    assert core.run(core.expiry.expire) == []
    core.clock.set(in_china("2027-01-03", "00:00"))

    [expired] = core.run(core.expiry.expire)

    assert expired.topic is Topic.RANGE_EXPIRED
    assert (expired.data["unused"], expired.data["reason"]) == (7, "year-ended")
    assert (expired.data["first_number"], expired.data["last_number"]) == (numbers[0], numbers[-1])
    assert core.rows("SELECT status, next_sequence - first_sequence FROM ranges") == [("expired", 3)]
    assert core.run(core.expiry.expire) == []


def test_the_numbers_of_a_manual_range_expire_with_it(core: Core) -> None:
    core.request_claims(claim(quantity=5))
    core.call()
    core.clock.set(in_china("2027-01-03", "00:00"))

    [expired] = core.run(core.expiry.expire)

    assert expired.data["unused"] == 5
    assert core.rows("SELECT DISTINCT status FROM numbers") == [("expired",)]


def test_assigned_numbers_outlive_their_range(core: Core) -> None:
    core.fill(2, year=2026)
    first = core.issue(invoice("R1"))
    core.clock.set(in_china("2027-01-03", "00:00"))
    core.run(core.expiry.expire)

    assert core.issue(invoice("R1")) == first


def test_ranges_of_living_years_do_not_expire(core: Core) -> None:
    core.fill(2, year=2026)
    core.fill(2, year=2027)
    core.clock.set(in_china("2026-12-31", "23:59"))

    assert core.run(core.expiry.expire) == []


def test_expired_numbers_are_not_issued(core: Core) -> None:
    core.fill(2, year=2026)
    core.clock.set(in_china("2027-01-03", "00:00"))
    core.run(core.expiry.expire)

    [refused] = core.issue(invoice("R1"))

    assert refused.data["reason"] == "issue-date-out-of-year"
