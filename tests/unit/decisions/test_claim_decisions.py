"""When claims are made, replayed and followed by new ones (rules 8 and 9)."""

from dataclasses import replace
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.records import OrganizationChannel, Stock, Use
from tests.support.core.claimants import CHANNEL, NOW, STOCK, YEAR_BEGINS, YEAR_ENDS
from worker.decisions.claims import (
    LONG_WAIT,
    REFILL_SECONDS,
    THROTTLE_WAIT,
    ClaimTerms,
    Hunger,
    automatic_quantity,
    claimable_years,
    is_unresolved,
    limit_of_next_claim,
    reclaim_wait,
    replay_wait,
)


def quantity(
    stock: Stock = STOCK, channel: OrganizationChannel | None = CHANNEL, *, opening: bool = False
) -> int | None:
    """Say what is claimed for a stock of whose use nothing is known."""
    return automatic_quantity(
        stock,
        channel,
        Hunger(0, 1, Use(), REFILL_SECONDS, YEAR_BEGINS, YEAR_ENDS),
        terms=ClaimTerms(),
        years=(2026,),
        now=NOW,
        opening=opening,
    )


def test_replays_come_after_1_2_4_up_to_60_seconds_and_then_after_10_minutes() -> None:
    waits = [replay_wait(nth, 0.5).total_seconds() for nth in range(1, 11)]

    assert waits == [1, 2, 4, 8, 16, 32, 60, 600, 600, 600]


@given(st.integers(1, 7), st.floats(0, 1, exclude_max=True))
def test_the_jitter_is_a_fifth(nth: int, chance: float) -> None:
    plain = replay_wait(nth, 0.5)

    assert plain * 0.79 < replay_wait(nth, chance) < plain * 1.21


def test_the_jitter_grows_with_the_chance_from_a_fifth_less_to_a_fifth_more() -> None:
    assert [replay_wait(1, chance).total_seconds() for chance in (0, 0.25, 0.75)] == [0.8, 0.9, 1.1]


@given(st.integers(1, 10**9), st.floats(0, 1, exclude_max=True))
def test_no_replay_waits_for_ever_or_not_at_all(nth: int, chance: float) -> None:
    assert timedelta(seconds=0.8) <= replay_wait(nth, chance) <= LONG_WAIT


def test_a_throttled_unit_waits_as_long_as_leqi_asks_it_to() -> None:
    assert THROTTLE_WAIT.total_seconds() == 300


def test_a_claim_is_unresolved_from_its_third_replay() -> None:
    # The first outcome is the call's own.
    assert [is_unresolved(outcomes) for outcomes in range(1, 7)] == [False, False, False, True, True, True]


def test_new_claims_follow_after_10_seconds_doubling_to_10_minutes() -> None:
    assert [reclaim_wait(nth).total_seconds() for nth in range(1, 10)] == [10, 20, 40, 80, 160, 320, 600, 600, 600]


@given(st.integers(1, 10**9))
def test_no_new_claim_waits_for_more_than_10_minutes(nth: int) -> None:
    assert timedelta(seconds=10) <= reclaim_wait(nth) <= timedelta(minutes=10)


@pytest.mark.parametrize(
    ("day", "years"),
    [
        (date(2026, 12, 14), (2026,)),
        (date(2026, 12, 15), (2026, 2027)),
        (date(2026, 12, 31), (2026, 2027)),
        (date(2027, 1, 1), (2027,)),
        (date(2027, 11, 30), (2027,)),
    ],
)
def test_next_years_numbers_are_claimed_from_a_day_of_every_year(day: date, years: tuple[int, ...]) -> None:
    assert claimable_years(day, (12, 15)) == years


def test_without_such_a_day_only_the_present_year_is_claimed() -> None:
    assert claimable_years(date(2026, 12, 31), None) == (2026,)


def test_an_exhausted_stock_claims_what_its_policy_says() -> None:
    assert quantity() == 1000


def test_a_low_stock_claims_what_its_policy_says() -> None:
    assert quantity(replace(STOCK, level="low")) == 1000


@pytest.mark.parametrize(("level", "claims"), [("new", 1000), ("ok", None), ("low", 1000), ("exhausted", 1000)])
def test_a_year_is_opened_where_it_never_had_a_number(level: str, claims: int | None) -> None:
    assert quantity(replace(STOCK, level=level), opening=True) == claims


@pytest.mark.parametrize("level", ["new", "low", "exhausted"])
def test_a_paused_stock_claims_nothing(level: str) -> None:
    assert quantity(replace(STOCK, level=level, paused=True), opening=True) is None


@pytest.mark.parametrize("level", ["new", "ok"])
def test_a_stock_that_did_not_run_out_claims_nothing(level: str) -> None:
    assert quantity(replace(STOCK, level=level)) is None


def test_a_stock_of_another_year_claims_nothing() -> None:
    assert quantity(replace(STOCK, key=STOCK.key._replace(year=2025))) is None


def test_a_stock_whose_organizations_are_gone_claims_nothing() -> None:
    assert quantity(channel=None) is None


def test_a_stock_without_automatic_claims_claims_nothing() -> None:
    assert quantity(channel=replace(CHANNEL, automatic_claims=False)) is None


@pytest.mark.parametrize(("seconds", "claims"), [(-1, 1000), (0, 1000), (1, None)])
def test_a_stock_claims_nothing_before_its_time(seconds: int, claims: int | None) -> None:
    assert quantity(replace(STOCK, claim_not_before=NOW + timedelta(seconds=seconds))) == claims


@pytest.mark.parametrize(("policy", "claims"), [(30, 30), (1000, 100)])
def test_a_cautious_claim_is_at_most_what_it_may_be(policy: int, claims: int) -> None:
    cautious = replace(STOCK, claim_at_most=100, claim_not_before=NOW)

    assert quantity(cautious, replace(CHANNEL, claim_quantity=policy)) == claims


@pytest.mark.parametrize(
    ("not_before", "now", "limit"),
    [
        (timedelta(0), timedelta(days=-1), 100),
        (timedelta(0), timedelta(0), None),
        (timedelta(minutes=9), timedelta(minutes=9), None),
        (None, timedelta(0), None),
        (LONG_WAIT, LONG_WAIT, 100),
    ],
    ids=["before its year", "from its first instant", "put off over midnight", "not put off", "set in its year"],
)
def test_a_limit_from_before_the_year_does_not_hold_in_it(
    not_before: timedelta | None,
    now: timedelta,
    limit: int | None,
) -> None:
    put_off = None if not_before is None else YEAR_BEGINS + not_before
    stock = replace(STOCK, claim_at_most=100, claim_not_before=put_off)

    assert limit_of_next_claim(stock, YEAR_BEGINS, YEAR_BEGINS + now) == limit
