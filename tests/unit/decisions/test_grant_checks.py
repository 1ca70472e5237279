"""Whether a grant may be used: every check of the domain page, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.vocabulary import ChannelMode
from worker.decisions.grants import BadGrant, GoodGrant, check_grant

FIRST, LAST = "26447000000000000001", "26447000000000001000"


def check(
    first: str = FIRST,
    last: str = LAST,
    quantity: int = 1000,
    *,
    asked: int = 1000,
    mode: ChannelMode = ChannelMode.SELF_USE,
    year: int = 2026,
) -> GoodGrant | BadGrant:
    return check_grant(first, last, quantity, asked=asked, channel_mode=mode, present_year=year)


def complaint(grant: GoodGrant | BadGrant) -> str:
    assert isinstance(grant, BadGrant)
    return grant.detail


def test_a_grant_as_it_was_asked_for_is_good() -> None:
    grant = check()

    assert isinstance(grant, GoodGrant)
    assert (str(grant.first), str(grant.last)) == (FIRST, LAST)


def test_a_grant_of_one_number_is_good() -> None:
    assert isinstance(check(FIRST, FIRST, 1, asked=1), GoodGrant)


@pytest.mark.parametrize("present", [2025, 2026, 2027])
def test_a_year_at_most_one_off_is_good(present: int) -> None:
    assert isinstance(check(year=present), GoodGrant)


@pytest.mark.parametrize("present", [2024, 2028, 2099])
def test_a_year_more_than_one_off_is_bad(present: int) -> None:
    assert str(present) in complaint(check(year=present))


@pytest.mark.parametrize("region", ["00", "11", "65", "91", "99"])
def test_no_region_is_rejected(region: str) -> None:
    assert isinstance(check(f"26{region}70{1:014}", f"26{region}70{1000:014}"), GoodGrant)


@pytest.mark.parametrize(
    ("mode", "digits"),
    [(ChannelMode.SELF_USE, "70"), (ChannelMode.ON_BEHALF, "71"), (ChannelMode.JOINT, "72")],
)
def test_digits_5_and_6_are_those_of_the_mode(mode: ChannelMode, digits: str) -> None:
    for other in ("70", "71", "72", "73"):
        grant = check(f"2644{other}{1:014}", f"2644{other}{1000:014}", mode=mode)
        assert isinstance(grant, GoodGrant) == (other == digits)


@pytest.mark.parametrize(
    ("first", "last"),
    [
        (FIRST[:-1], LAST),
        (FIRST, LAST + "0"),
        ("", ""),
        (FIRST, " " + LAST[1:]),
        (FIRST, LAST[:-1] + "\n"),
        (FIRST[:-1] + "\u0661", LAST),
        ("2644700000000000000x", LAST),
    ],
)
def test_what_is_not_20_digits_is_bad_and_has_no_extent(first: str, last: str) -> None:
    grant = check(first, last)

    assert "20 digits" in complaint(grant)
    assert isinstance(grant, BadGrant)
    assert (grant.first, grant.last) == (None, None)


def test_first_and_last_share_their_first_six_digits() -> None:
    assert "first six digits" in complaint(check(last="26457000000000001000"))
    assert "first six digits" in complaint(check(last="26437000000000001000"))


def test_the_last_is_not_before_the_first() -> None:
    assert "before the first" in complaint(check(LAST, FIRST))


def test_the_quantity_is_that_of_the_range() -> None:
    assert "names 999" in complaint(check(quantity=999, asked=999))
    assert "names 1001" in complaint(check(quantity=1001, asked=1001))


def test_the_quantity_is_what_was_asked_for() -> None:
    assert "999 numbers were asked for, 1000 granted" in complaint(check(asked=999))
    assert "1001 numbers were asked for, 1000 granted" in complaint(check(asked=1001))


@given(
    st.integers(0, 99),
    st.integers(0, 99),
    st.sampled_from(["70", "71", "72", "73"]),
    st.integers(0, 10**14 - 6000),
    st.integers(1, 5000),
    st.integers(1, 5000),
    st.integers(2025, 2027),
)
def test_a_grant_is_good_exactly_if_everything_fits(
    year: int,
    region: int,
    digits: str,
    first: int,
    count: int,
    asked: int,
    present: int,
) -> None:
    prefix = f"{year:02}{region:02}{digits}"

    grant = check(f"{prefix}{first:014}", f"{prefix}{first + count - 1:014}", count, asked=asked, year=present)

    fits = count == asked and abs(2000 + year - present) <= 1 and digits == "70"
    assert isinstance(grant, GoodGrant) == fits


@given(st.text(max_size=25), st.text(max_size=25), st.integers())
def test_no_text_makes_it_raise(first: str, last: str, quantity: int) -> None:
    assert isinstance(check(first, last, quantity), BadGrant | GoodGrant)
