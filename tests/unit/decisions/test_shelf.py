"""The shelf: numbers are taken in order, each once, released ones first, to the end of the last range."""

from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.records import OpenRange, Stock, StockKey, TakenNumber
from worker.decisions.shelf import Shelf

KEY = StockKey("91350100M000100Y43", "self-use", 2026)
STOCK = Stock(
    KEY,
    "ok",
    episode=0,
    paused=False,
    low_at=0,
    last_claimed=None,
    wanted_by=None,
    claim_not_before=None,
    claim_at_most=None,
    failed_claims=0,
)


def open_range(name: int, first: int, last: int, following: int | None = None) -> OpenRange:
    return OpenRange(UUID(int=name), 264470, first, last, first if following is None else following)


def released(sequence: int) -> TakenNumber:
    return TakenNumber(UUID(int=9), 264470, sequence, 1, 10, "automatic", step=3)


def take_all(shelf: Shelf) -> list[int]:
    taken = []
    while (number := shelf.take()) is not None:
        taken.append(number.sequence)
    return taken


def test_an_empty_shelf_gives_nothing_again_and_again() -> None:
    shelf = Shelf(STOCK, [])

    assert (shelf.take(), shelf.take(), shelf.remaining, shelf.taken) == (None, None, 0, 0)


def test_a_range_begins_at_its_cursor() -> None:
    assert take_all(Shelf(STOCK, [open_range(1, 10, 14, following=12)])) == [12, 13, 14]


def test_ranges_follow_each_other_as_they_are_given() -> None:
    assert take_all(Shelf(STOCK, [open_range(1, 50, 51), open_range(2, 1, 2)])) == [50, 51, 1, 2]


def test_a_number_knows_its_range() -> None:
    taken = Shelf(STOCK, [open_range(7, 10, 14)]).take()

    assert taken is not None
    assert (taken.range_id, taken.range_first, taken.range_last) == (UUID(int=7), 10, 14)


def test_cursors_name_only_ranges_that_were_taken_from() -> None:
    shelf = Shelf(STOCK, [open_range(1, 1, 2), open_range(2, 11, 12), open_range(3, 21, 22)])
    for _ in range(3):
        shelf.take()

    assert shelf.cursors == [(KEY.taxpayer_id, UUID(int=1), 3), (KEY.taxpayer_id, UUID(int=2), 12)]


def test_the_newest_range_is_the_last_that_has_numbers() -> None:
    ranges = [open_range(1, 1, 2), open_range(2, 11, 12), open_range(3, 21, 22)]

    assert (Shelf(STOCK, ranges).newest, Shelf(STOCK, []).newest) == (UUID(int=3), None)


def test_a_used_up_range_stands_one_behind_its_end() -> None:
    shelf = Shelf(STOCK, [open_range(1, 1, 2)])
    take_all(shelf)

    assert shelf.cursors == [(KEY.taxpayer_id, UUID(int=1), 3)]


def test_released_numbers_are_taken_first_in_their_order_and_move_no_cursor() -> None:
    shelf = Shelf(STOCK, [open_range(1, 11, 12)], [released(4), released(7)])

    assert shelf.remaining == 4
    assert [shelf.take(), shelf.take()] == [released(4), released(7)]
    assert (shelf.cursors, shelf.remaining, shelf.taken) == ([], 2, 2)
    assert take_all(shelf) == [11, 12]


@pytest.mark.parametrize(
    ("level", "remaining", "crossing"),
    [
        ("new", 3, None),
        ("new", 0, "exhausted"),
        ("ok", 3, None),
        ("ok", 2, "low"),
        ("ok", 1, "low"),
        ("ok", 0, "exhausted"),
        ("low", 2, None),
        ("low", 1, None),
        ("low", 0, "exhausted"),
        ("exhausted", 0, None),
    ],
)
def test_a_stock_comes_down_to_a_level_once(level: str, remaining: int, crossing: str | None) -> None:
    ranges = [open_range(1, 1, remaining)] if remaining else []

    assert Shelf(replace(STOCK, level=level, low_at=2), ranges).crossing == crossing


def test_the_crossing_is_that_of_what_is_left() -> None:
    shelf = Shelf(replace(STOCK, low_at=1), [open_range(1, 1, 2)], [released(4)])
    crossings = [shelf.crossing]
    while shelf.take() is not None:
        crossings.append(shelf.crossing)

    assert crossings == [None, None, "low", "exhausted"]


def test_where_only_the_end_counts_no_stock_is_low() -> None:
    assert Shelf(STOCK, [open_range(1, 1, 1)]).crossing is None


SHELVES = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 5)), max_size=6)


@given(SHELVES, st.integers(0, 4), st.integers(0, 40))
def test_what_remains_and_what_was_taken_is_always_what_there_was(
    sizes: list[tuple[int, int]],
    pooled: int,
    takes: int,
) -> None:
    ranges = [
        open_range(name, 100 * name, 100 * name + size - 1, following=100 * name + min(used, size))
        for name, (size, used) in enumerate(sizes)
    ]
    shelf = Shelf(STOCK, ranges, [released(sequence) for sequence in range(1, pooled + 1)])
    there_was = shelf.remaining

    taken = [number for _ in range(takes) if (number := shelf.take()) is not None]

    assert len(taken) == min(takes, there_was)
    assert shelf.remaining == there_was - len(taken)
    assert shelf.taken == len(taken)
    assert sum(not number.is_fresh for number in taken) == min(pooled, len(taken))
    assert len({(number.range_id, number.sequence) for number in taken}) == len(taken)
    assert all(number.range_first <= number.sequence <= number.range_last for number in taken)
    moved = {range_id: following for _, range_id, following in shelf.cursors}
    for held in ranges:
        count = sum(number.range_id == held.range_id for number in taken)
        assert moved.get(held.range_id, held.next_sequence) == held.next_sequence + count
