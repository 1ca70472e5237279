"""How much is claimed, and from where on a stock is low: the pure decisions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.records import OrganizationChannel, Stock, StockKey, Use
from worker.clock import start_of_year
from worker.decisions.claims import (
    LARGEST_CLAIM,
    REFILL_SECONDS,
    ClaimTerms,
    Hunger,
    automatic_quantity,
    is_low_no_more,
    lacks_of_the_year,
    low_at,
    refill_seconds,
)
from worker.decisions.forecast import foresee, most_needed, per_day

SUMMER = datetime(2026, 7, 1, 2, 0, tzinfo=UTC)
BEGINS, ENDS = start_of_year(2026), start_of_year(2027)
TERMS = ClaimTerms()
FIXED = OrganizationChannel("A", "T", "self-use", "U", True, 1000, "fixed", Decimal("0.2"))
DEMAND = replace(FIXED, claim_sizing="demand")
STOCK = Stock(StockKey("T", "self-use", 2026), "low", 1, False, 200, 1000, "A", None, None, 0)
WEEK = timedelta(days=7)


def use(per_day: int, busiest_hour: int, now: datetime = SUMMER) -> Use:
    """Give a week of steady use."""
    return Use(busiest_hour, per_day * 7, now - WEEK)


def quantity(
    channel: OrganizationChannel = FIXED,
    stock: Stock = STOCK,
    *,
    now: datetime = SUMMER,
    remaining: int = 200,
    waiting: int = 0,
    used: Use = Use(),  # noqa: B008 -- frozen
    terms: ClaimTerms = TERMS,
) -> int | None:
    """Ask for the size of the next claim."""
    return automatic_quantity(
        stock,
        channel,
        Hunger(remaining, waiting, used, 0.3, BEGINS, ENDS),
        terms=terms,
        years=(2026,),
        now=now,
    )


def test_a_fixed_claim_is_the_policys() -> None:
    assert quantity() == 1000
    assert quantity(used=use(100_000, 20_000)) == 1000


def test_by_demand_the_first_claim_is_the_policys_and_the_next_covers_the_busiest_hour() -> None:
    assert quantity(DEMAND) == 1000
    assert quantity(DEMAND, used=use(10_000, 2_400)) == 2_400
    assert quantity(DEMAND, used=use(10, 3)) == TERMS.floor
    assert quantity(DEMAND, used=use(500_000, 40_000)) == LARGEST_CLAIM


def test_the_least_of_a_claim_is_100_and_the_most_is_leqis() -> None:
    assert ClaimTerms() == ClaimTerms(floor=100, hours=1.0, cautious=100)
    assert quantity(DEMAND, used=use(500_000, 40_000)) == 5_000


@pytest.mark.parametrize(("hours", "claims"), [(0.5, 1_200), (1.5, 3_600)])
def test_by_demand_a_claim_is_for_as_many_of_the_busiest_hours_as_the_terms_say(hours: float, claims: int) -> None:
    assert quantity(DEMAND, used=use(10_000, 2_400), terms=ClaimTerms(hours=hours)) == claims


def test_by_demand_whoever_waits_is_counted_too() -> None:
    assert quantity(DEMAND, replace(STOCK, level="exhausted"), remaining=0, waiting=70, used=use(900, 300)) == 370


@pytest.mark.parametrize(
    "changed",
    [{"paused": True}, {"level": "ok"}, {"level": "new"}, {"claim_not_before": SUMMER + timedelta(seconds=1)}],
    ids=str,
)
def test_nothing_is_claimed_where_nothing_may_be(changed: dict[str, object]) -> None:
    assert quantity(stock=replace(STOCK, **changed)) is None  # type: ignore[arg-type]


def test_nothing_is_claimed_where_the_policy_is_off() -> None:
    assert quantity(replace(FIXED, automatic_claims=False)) is None


def test_a_claim_of_leqis_limit_that_falls_short_of_the_target_leaves_the_stock_low() -> None:
    hungry = Hunger(6_000, 0, use(500_000, 12_000), 0.3, BEGINS, ENDS)
    assert low_at(DEMAND, LARGEST_CLAIM, hungry, TERMS) == 6_000
    reached = replace(hungry, remaining=12_500)
    assert low_at(DEMAND, LARGEST_CLAIM, reached, TERMS) == 1_000


def test_whoever_waits_has_a_claim_on_what_a_claim_of_leqis_limit_brought() -> None:
    assert low_at(DEMAND, LARGEST_CLAIM, Hunger(6_000, 500, use(500_000, 12_000), 0.3, BEGINS, ENDS), TERMS) == 5_500


@pytest.mark.parametrize(
    ("busiest_hour", "remaining", "level"),
    [(12_000, 11_800, 11_800), (12_000, 11_801, 1_000), (500, 1_400, 1_400), (500, 1_401, 1_000)],
    ids=["a tenth lacks", "less than a tenth lacks", "the floor lacks", "less than the floor lacks"],
)
def test_what_lacks_of_the_target_is_worth_a_claim_from_a_tenth_and_from_the_floor(
    busiest_hour: int,
    remaining: int,
    level: int,
) -> None:
    # To the target the level at which the stock is low comes on top: a fifth of the claim, 1,000.
    hungry = Hunger(remaining, 0, use(500_000, busiest_hour), 0.3, BEGINS, ENDS)
    assert low_at(DEMAND, LARGEST_CLAIM, hungry, TERMS) == level


def test_a_fixed_claim_leaves_a_stock_low_at_its_share_whatever_the_busiest_hour_takes() -> None:
    for claimed, level in ((1_000, 200), (LARGEST_CLAIM, 1_000)):
        hungry = Hunger(claimed, 0, use(5_000_000, 360_000), 60, BEGINS, ENDS)
        assert low_at(FIXED, claimed, hungry, TERMS) == level


def test_a_threshold_of_nothing_is_only_when_empty() -> None:
    never = replace(DEMAND, low_threshold=Decimal(0))
    assert low_at(never, LARGEST_CLAIM, Hunger(5_000, 0, use(500_000, 90_000), 60, BEGINS, ENDS), TERMS) == 0
    assert is_low_no_more(STOCK, never, Hunger(200, 0, Use(), 1, BEGINS, ENDS), SUMMER)


def test_by_demand_the_level_covers_two_refills() -> None:
    assert low_at(DEMAND, 1000, Hunger(1000, 0, use(500_000, 36_000), 30, BEGINS, ENDS), TERMS) == 600
    assert low_at(DEMAND, 1000, Hunger(1000, 0, use(5_000_000, 360_000), 60, BEGINS, ENDS), TERMS) == 12_000
    assert low_at(DEMAND, 1, Hunger(1, 0, use(10, 3), 0.3, BEGINS, ENDS), TERMS) == 1


def test_by_demand_what_remains_above_the_low_level_counts() -> None:
    # Low at a fifth of the last claim, 200: of 500 that remain, 300 last for the target.
    assert quantity(DEMAND, remaining=500, used=use(10_000, 2_000)) == 1_700


@pytest.mark.parametrize(("last_claimed", "claims"), [(2_000, 1_900), (None, 1_700)])
def test_by_demand_a_stock_without_a_claim_is_low_at_a_share_of_its_policys(
    last_claimed: int | None,
    claims: int,
) -> None:
    stock = replace(STOCK, last_claimed=last_claimed)
    assert quantity(DEMAND, stock, remaining=500, used=use(10_000, 2_000)) == claims


def test_by_demand_a_policy_may_ask_for_less_than_the_floor() -> None:
    assert quantity(replace(DEMAND, claim_quantity=40), used=use(10, 3)) == 40


@pytest.mark.parametrize(("claimed", "level"), [(1000, 200), (333, 66), (1, 0)])
def test_a_stock_is_low_at_its_share_of_the_claim(claimed: int, level: int) -> None:
    assert low_at(FIXED, claimed, Hunger(claimed, 0, Use(), 1, BEGINS, ENDS), TERMS) == level


def test_in_december_a_claim_is_for_what_the_year_still_uses() -> None:
    now = ENDS - timedelta(days=3)
    assert quantity(now=now, used=use(100, 50, now)) == 300 * 1.25 - 200
    empty = replace(STOCK, level="exhausted")
    assert quantity(stock=empty, now=now, remaining=0, waiting=2, used=use(10, 5, now)) == TERMS.floor
    assert quantity(now=SUMMER, used=use(10, 5)) == 1000


def test_in_december_whoever_waits_is_counted_too() -> None:
    now = ENDS - timedelta(days=3)
    assert quantity(now=now, waiting=40, used=use(100, 50, now)) == 300 * 1.25 - 200 + 40


def test_what_the_year_lacks_is_known_from_the_first_of_december_in_china() -> None:
    december = ENDS - timedelta(days=31)
    hunger = Hunger(200, 0, use(100, 50, december), 1, BEGINS, ENDS)
    assert lacks_of_the_year(hunger, december) == 31 * 100 * 1.25 - 200
    assert lacks_of_the_year(hunger, december - timedelta(seconds=1)) is None
    assert lacks_of_the_year(replace(hunger, use=Use()), december) is None


def test_a_stock_that_lasts_the_year_is_low_no_more() -> None:
    now = ENDS - timedelta(days=3)
    enough = Hunger(200, 0, use(10, 5, now), 1, BEGINS, ENDS)
    assert is_low_no_more(STOCK, FIXED, enough, now)
    # Ten a day, three days long, and a quarter more.
    assert is_low_no_more(STOCK, FIXED, replace(enough, remaining=38), now)
    assert not is_low_no_more(STOCK, FIXED, replace(enough, remaining=37), now)
    for level in ("exhausted", "new", "ok"):
        assert not is_low_no_more(replace(STOCK, level=level), FIXED, enough, now)
    assert not is_low_no_more(STOCK, None, enough, now)
    assert not is_low_no_more(STOCK, FIXED, enough, SUMMER)


def test_a_refill_takes_as_long_as_the_slowest_of_the_last_ones() -> None:
    assert refill_seconds([]) == REFILL_SECONDS == 60
    assert refill_seconds([timedelta(seconds=0.3), timedelta(seconds=2)]) == 2
    assert refill_seconds([timedelta(seconds=0.3)]) == 0.3
    # The clock was set back while LeQi was asked.
    assert refill_seconds([timedelta(seconds=-2)]) == 0
    assert refill_seconds([timedelta(hours=1)]) == REFILL_SECONDS


HUNGERS = st.builds(
    Hunger,
    st.integers(0, 20_000),
    st.integers(0, 20_000),
    st.builds(
        lambda hour, hours, ago: Use(hour, hour * hours, SUMMER - timedelta(hours=ago)),
        st.integers(1, 200_000),
        st.integers(1, 168),
        st.integers(0, 168),
    ),
    st.floats(0, 60),
    st.just(BEGINS),
    st.just(ENDS),
)
CHANNELS = st.builds(
    lambda sizing, quantity, share: replace(FIXED, claim_sizing=sizing, claim_quantity=quantity, low_threshold=share),
    st.sampled_from(["fixed", "demand"]),
    st.integers(1, LARGEST_CLAIM),
    st.decimals(Decimal("0.0001"), 1, places=4),
)


@given(HUNGERS, CHANNELS, st.sampled_from(["low", "exhausted"]), st.integers(0, 365 * 24))
def test_a_claim_is_never_more_than_leqi_grants_nor_less_than_its_floor(
    hunger: Hunger,
    channel: OrganizationChannel,
    level: str,
    hours: int,
) -> None:
    now = ENDS - timedelta(hours=hours)
    asked = automatic_quantity(
        replace(STOCK, level=level),
        channel,
        hunger,
        terms=TERMS,
        years=(2026,),
        now=now,
    )
    assert asked is not None
    assert min(TERMS.floor, channel.claim_quantity) <= asked <= LARGEST_CLAIM


@given(HUNGERS, CHANNELS)
def test_claims_in_a_row_come_to_an_end(hunger: Hunger, channel: OrganizationChannel) -> None:
    claimed, has, rounds = channel.claim_quantity, replace(hunger, remaining=0, waiting=0), 0
    while True:
        stock = replace(STOCK, last_claimed=claimed, level="low" if rounds else "exhausted")
        asked = automatic_quantity(stock, channel, has, terms=TERMS, years=(2026,), now=SUMMER)
        assert asked is not None
        claimed, has = asked, replace(has, remaining=has.remaining + asked)
        rounds += 1
        if has.remaining > low_at(channel, claimed, has, TERMS):
            break
        assert rounds <= hunger.use.busiest_hour // LARGEST_CLAIM + 3


def test_a_rate_is_measured_from_the_first_hour_by_a_day_at_the_least() -> None:
    assert per_day(Use(), SUMMER) is None
    assert per_day(Use(50, 50, SUMMER - timedelta(minutes=5)), SUMMER) == 50
    assert per_day(Use(50, 700, SUMMER - WEEK), SUMMER) == 100
    assert per_day(Use(50, 56, SUMMER - timedelta(days=2.5)), SUMMER) == 22.4
    assert per_day(Use(0, 0, SUMMER - WEEK), SUMMER) is None
    assert per_day(Use(1, 1, SUMMER - timedelta(hours=1)), SUMMER) == 1


def test_a_forecast_tells_when_a_stock_is_empty_and_what_is_wasted() -> None:
    ends = SUMMER + timedelta(days=10)
    told = foresee(250, use(100, 20), now=SUMMER, begins=SUMMER - WEEK, ends=ends)
    assert (told.per_day, told.days_left, told.wasted) == (100, 2.5, 0)
    assert told.empty_at == SUMMER + timedelta(days=2.5)
    assert foresee(1_500, use(100, 20), now=SUMMER, begins=SUMMER - WEEK, ends=ends).wasted == 500
    half_a_day_more = ends + timedelta(hours=12)
    assert foresee(1_500, use(100, 20), now=SUMMER, begins=SUMMER - WEEK, ends=half_a_day_more).wasted == 450
    nobody = foresee(1_500, Use(), now=SUMMER, begins=SUMMER - WEEK, ends=ends)
    assert (nobody.days_left, nobody.empty_at, nobody.wasted) == (None, None, 1_500)


def test_a_forecast_is_told_to_a_hundredth() -> None:
    told = foresee(1_234, Use(50, 1_000, SUMMER - WEEK), now=SUMMER, begins=BEGINS, ends=ENDS)
    assert (told.per_day, told.days_left) == (142.86, 8.64)


def test_next_years_stock_lasts_from_new_year_on() -> None:
    told = foresee(100, use(100, 20), now=SUMMER, begins=SUMMER + timedelta(days=5), ends=SUMMER + timedelta(days=370))
    assert told.days_left == 6
    tonight = SUMMER + timedelta(hours=12)
    assert foresee(100, use(100, 20), now=SUMMER, begins=tonight, ends=tonight + WEEK).days_left == 1.5


def test_a_forecast_names_no_day_that_is_more_than_a_hundred_years_away() -> None:
    farthest = foresee(36_500, use(1, 1), now=SUMMER, begins=BEGINS, ends=ENDS)
    assert (farthest.days_left, farthest.empty_at) == (36_500, SUMMER + timedelta(days=36_500))
    beyond = foresee(36_501, use(1, 1), now=SUMMER, begins=BEGINS, ends=ENDS)
    assert (beyond.days_left, beyond.empty_at) == (36_501, None)


def test_no_hour_before_the_years_end_takes_more_than_the_busiest() -> None:
    now = ENDS - timedelta(hours=2)
    assert most_needed(use(10_000, 30, now), now=now, ends=ENDS) == 60
    assert most_needed(use(10_000, 30, now), now=now + timedelta(minutes=30), ends=ENDS) == 45
    assert most_needed(Use(), now=now, ends=ENDS) is None
