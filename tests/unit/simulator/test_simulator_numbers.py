"""Regions, prefixes, and sequences that never meet."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.leqi.simulator_numbers import (
    PROVINCES,
    NumberSpace,
    Span,
    prefix_of,
    region_of,
)
from worker.leqi.simulator_records import BLOCK_SIZE

PREFIX = "269570"


@pytest.mark.parametrize(
    ("taxpayer_id", "region"),
    [
        ("91350100M000100Y43", "35"),
        ("91110000101623741K", "11"),
        ("92330203MA7ETU5T10", "93"),
        ("91330100MA7ETU5T10", "33"),
        ("91350200M000100Y43", "94"),
        ("91440300587908164C", "95"),
        ("440300587908164", "95"),
        ("110101199003070000XX", "11"),
    ],
)
def test_the_region_comes_from_the_division_in_the_tax_id(taxpayer_id: str, region: str) -> None:
    assert region_of(taxpayer_id) == region


@given(st.text(min_size=1, max_size=20))
def test_any_tax_id_has_one_region(taxpayer_id: str) -> None:
    region = region_of(taxpayer_id)
    assert region in {*PROVINCES, "93", "94", "95"}
    assert region_of(taxpayer_id) == region


def test_the_prefix_is_year_region_channel() -> None:
    assert prefix_of(2026, "91440300587908164C", "72") == "269572"
    assert prefix_of(2100, "91110000101623741K", "70") == "001170"


def test_a_span_shows_twenty_digits() -> None:
    span = Span(PREFIX, 1, 1000)
    assert span.first_number == "26957000000000000001"
    assert span.last_number == "26957000000000001000"
    assert Span.between(span.first_number, span.last_number) == span


def test_grants_of_a_taxpayer_follow_one_another_apart_from_others() -> None:
    space = NumberSpace()
    first = space.next_span(PREFIX, "A", 10, ())
    space.take("A", first)
    other = space.next_span(PREFIX, "B", 10, ())
    space.take("B", other)
    second = space.next_span(PREFIX, "A", 5000, ())
    assert second.first == first.last + 1
    assert abs(other.first - first.first) >= BLOCK_SIZE


def test_nothing_is_taken_by_looking() -> None:
    space = NumberSpace()
    assert space.next_span(PREFIX, "A", 10, ()) == space.next_span(PREFIX, "A", 10, ())


def test_a_full_block_is_left_for_another() -> None:
    space = NumberSpace()
    first = space.next_span(PREFIX, "A", 10, ())
    block = first.first // BLOCK_SIZE
    nearly_all = Span(PREFIX, first.first, block * BLOCK_SIZE + BLOCK_SIZE - 5)
    space.take("A", nearly_all)
    following = space.next_span(PREFIX, "A", 10, ())
    assert following.first // BLOCK_SIZE != block
    space.take("A", following)
    assert space.next_span(PREFIX, "A", 10, ()).first == following.last + 1


def test_the_last_number_of_a_block_is_used() -> None:
    space = NumberSpace()
    first = space.next_span(PREFIX, "A", 10, ())
    end = first.first // BLOCK_SIZE * BLOCK_SIZE + BLOCK_SIZE - 1
    space.take("A", Span(PREFIX, first.first, end - 10))
    last = space.next_span(PREFIX, "A", 10, ())
    assert last.last == end
    space.take("A", last)
    assert space.next_span(PREFIX, "A", 1, ()).first // BLOCK_SIZE != end // BLOCK_SIZE


def test_what_another_system_claimed_is_avoided() -> None:
    space = NumberSpace()
    start = space.next_span(PREFIX, "A", 10, ()).first
    avoid = [
        Span(PREFIX, start + 12, start + 20),
        Span(PREFIX, start + 2, start + 7),
        Span("269571", start, start + 100),
    ]
    assert space.next_span(PREFIX, "A", 5, avoid).first == start + 21
    assert space.next_span(PREFIX, "A", 4, avoid).first == start + 8
    assert space.next_span(PREFIX, "A", 2, avoid).first == start


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["A", "B", "C"]),
            st.integers(1, 5000),
            st.sampled_from(["269570", "279570"]),
        ),
        max_size=40,
    )
)
def test_no_two_spans_ever_meet(orders: list[tuple[str, int, str]]) -> None:
    space = NumberSpace()
    taken: list[Span] = []
    for taxpayer_id, quantity, prefix in orders:
        span = space.next_span(prefix, taxpayer_id, quantity, ())
        assert span.last - span.first + 1 == quantity
        assert not any(span.meets(earlier) for earlier in taken)
        space.take(taxpayer_id, span)
        taken.append(span)
