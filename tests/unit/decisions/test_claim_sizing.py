"""How many numbers a claim is for, and how few are low: by policy, by demand, and by what the year can still use."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.records import OrganizationChannel, Stock, Use
from tests.support.core.claimants import CHANNEL, NOW, STOCK, YEAR_ENDS
from worker.decisions.claims import (
    LARGEST_CLAIM,
    REFILL_SECONDS,
    ClaimTerms,
    Hunger,
    automatic_quantity,
    is_low_no_more,
    low_at,
    refill_seconds,
)

TERMS = ClaimTerms(floor=100, hours=1.0)
BY_DEMAND = replace(CHANNEL, claim_sizing="demand")
LOW = replace(STOCK, level="low")


def hunger(
    busiest_hour: int = 0,
    *,
    remaining: int = 0,
    waiting: int = 0,
    taken: int | None = None,
    refill: float = REFILL_SECONDS,
) -> Hunger:
    """Give a hunger whose seven days took ten busiest hours, if not said otherwise."""
    taken = 10 * busiest_hour if taken is None else taken
    use = Use(busiest_hour, taken, NOW - timedelta(days=7) if taken else None)
    return Hunger(remaining, waiting, use, refill, YEAR_ENDS)


def quantity(
    what: Hunger,
    channel: OrganizationChannel = BY_DEMAND,
    *,
    stock: Stock = STOCK,
    now: datetime = NOW,
    terms: ClaimTerms = TERMS,
) -> int | None:
    return automatic_quantity(stock, channel, what, terms=terms, years=(2026,), now=now)


def test_without_any_use_a_claim_by_demand_is_that_of_the_policy() -> None:
    assert quantity(hunger()) == 1000


def test_a_claim_by_demand_lasts_for_the_busiest_hour_and_those_who_wait() -> None:
    assert quantity(hunger(2000)) == 2000
    assert quantity(hunger(2000, waiting=30)) == 2030
    assert quantity(hunger(1000), terms=ClaimTerms(floor=100, hours=2.5)) == 2500


def test_what_remains_above_the_low_level_counts() -> None:
    # Low at a fifth of the last claim, 200: of 500 that remain, 300 last for the target.
    assert quantity(hunger(2000, remaining=500), stock=LOW) == 1700


def test_a_claim_covers_two_refills_however_short_the_target() -> None:
    slow = hunger(3000, refill=60)

    assert quantity(slow, terms=ClaimTerms(floor=1, hours=0.001)) == 100


def test_a_claim_by_demand_lies_between_its_floor_and_what_leqi_grants() -> None:
    assert quantity(hunger(3)) == 100
    assert quantity(hunger(3), replace(BY_DEMAND, claim_quantity=40)) == 40
    assert quantity(hunger(50_000)) == LARGEST_CLAIM


def test_a_fixed_claim_is_the_same_whatever_the_use() -> None:
    assert quantity(hunger(50_000), CHANNEL) == 1000


def test_a_stock_is_low_at_its_share_of_the_claim() -> None:
    assert low_at(CHANNEL, 1000, hunger(), TERMS) == 200
    assert low_at(CHANNEL, 333, hunger(), TERMS) == 66
    assert low_at(CHANNEL, 1, hunger(), TERMS) == 0


@pytest.mark.parametrize("sizing", ["fixed", "demand"])
def test_a_threshold_of_zero_is_low_only_when_empty(sizing: str) -> None:
    off = replace(CHANNEL, claim_sizing=sizing, low_threshold=Decimal(0))

    assert low_at(off, 5000, hunger(50_000), TERMS) == 0


def test_by_demand_a_stock_is_low_while_two_refills_are_left() -> None:
    assert low_at(BY_DEMAND, 1000, hunger(30_000, refill=60), TERMS) == 1000
    assert low_at(BY_DEMAND, 1000, hunger(30, refill=60), TERMS) == 200


def test_where_the_limit_cut_the_claim_short_the_next_one_follows_at_once() -> None:
    assert low_at(BY_DEMAND, 5000, hunger(20_000, remaining=5000, refill=1), TERMS) == 5000
    # The target is reached but for less than a tenth of it.
    assert low_at(BY_DEMAND, 5000, hunger(20_000, remaining=19_500, refill=1), TERMS) == 1000


DECEMBER = YEAR_ENDS - timedelta(days=10)


def use_by_day(each_day: int) -> Use:
    return Use(each_day, 7 * each_day, DECEMBER - timedelta(days=7))


def test_late_in_the_year_a_claim_is_for_what_the_year_still_uses() -> None:
    daily = Hunger(0, 0, use_by_day(40), REFILL_SECONDS, YEAR_ENDS)

    # Ten days of 40, and a quarter more.
    assert quantity(daily, CHANNEL, now=DECEMBER) == 500
    assert quantity(replace(daily, waiting=7), CHANNEL, now=DECEMBER) == 507
    assert quantity(replace(daily, remaining=150), CHANNEL, stock=LOW, now=DECEMBER) == 350


def test_late_in_the_year_the_floor_holds() -> None:
    rare = Hunger(0, 0, use_by_day(1), REFILL_SECONDS, YEAR_ENDS)

    assert quantity(rare, CHANNEL, now=DECEMBER) == 100


def test_before_december_the_year_does_not_count() -> None:
    daily = Hunger(0, 0, use_by_day(1), REFILL_SECONDS, YEAR_ENDS)

    assert quantity(daily, CHANNEL, now=YEAR_ENDS - timedelta(days=32)) == 1000


def test_a_stock_with_enough_for_the_year_is_low_no_more() -> None:
    enough = Hunger(600, 0, use_by_day(40), REFILL_SECONDS, YEAR_ENDS)
    few = replace(enough, remaining=499)

    def is_enough(what: Hunger, level: str = "low") -> bool:
        return is_low_no_more(replace(STOCK, level=level), CHANNEL, what, DECEMBER)

    assert (is_enough(enough), is_enough(few), is_enough(enough, "exhausted")) == (True, False, False)


def test_a_stock_whose_policy_is_off_by_now_is_low_no_more() -> None:
    off = replace(CHANNEL, low_threshold=Decimal(0))

    assert is_low_no_more(LOW, off, hunger(), NOW)
    assert not is_low_no_more(LOW, CHANNEL, hunger(), NOW)
    assert not is_low_no_more(LOW, None, hunger(), NOW)


@pytest.mark.parametrize(
    ("took", "seconds"),
    [([], REFILL_SECONDS), ([0.3], 0.3), ([0.3, 2.0, 1.0], 2.0), ([600.0, 1.0], REFILL_SECONDS), ([-1.0], 0.0)],
)
def test_a_refill_takes_as_long_as_the_slowest_of_the_last(took: list[float], seconds: float) -> None:
    assert refill_seconds([timedelta(seconds=each) for each in took]) == seconds


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.integers(0, 10**5),
    st.floats(0, REFILL_SECONDS),
    st.sampled_from(["fixed", "demand"]),
    st.integers(1, 5000),
    st.integers(0, 400),
)
def test_whatever_the_hunger_leqi_takes_the_quantity(
    busiest: int,
    remaining: int,
    waiting: int,
    refill: float,
    sizing: str,
    policy: int,
    days: int,
) -> None:
    what = hunger(busiest, remaining=remaining, waiting=waiting, refill=refill)
    channel = replace(CHANNEL, claim_sizing=sizing, claim_quantity=policy)

    claims = quantity(what, channel, now=YEAR_ENDS - timedelta(days=days))

    assert claims is not None
    assert 1 <= claims <= LARGEST_CLAIM
    assert low_at(channel, claims, what, TERMS) >= 0
