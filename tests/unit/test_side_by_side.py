"""Two sides of a batch: nobody's requests are on both, none is lost, and both have ended before anything is said."""

import threading
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.core.asked import invoice, invoices
from worker.decoding import Item
from worker.halving import MOST_IN_A_ROW, EverythingFailsError
from worker.side_by_side import WORTH_IT, SideBySide, part_by_owner

ENOUGH = WORTH_IT


def ids(items: Sequence[Item]) -> list[str]:
    return [item.request.issue_request_id for item in items]  # type: ignore[union-attr]


def organizations(items: Sequence[Item]) -> list[str | None]:
    return [item.request.organization for item in items]  # type: ignore[union-attr]


def of_two(count: int) -> list[Item]:
    """Requests of two organisations in turn."""
    return [invoice(f"R{n}", organization="AB"[n % 2]) for n in range(count)]


class _AwayError(Exception):
    """The database is away."""


class Attempts:
    """Notes what was handled together, on which thread; may refuse."""

    def __init__(self, refuse: Callable[[Sequence[Item]], str | None] = lambda _: None) -> None:
        self.seen: list[tuple[str, list[str]]] = []
        self._refuse = refuse
        self._lock = threading.Lock()

    def __call__(self, items: Sequence[Item]) -> str | None:
        with self._lock:
            self.seen.append((threading.current_thread().name, ids(items)))
        return self._refuse(items)


@given(st.lists(st.sampled_from([*"ABCDE", None]), max_size=60))
def test_parts_hold_each_request_once_and_each_owner_on_one_side(owners: list[str | None]) -> None:
    items = invoices(len(owners))
    first, second = part_by_owner(items, owners)
    owner_of = dict(zip(ids(items), owners, strict=True))
    places = {request_id: place for place, request_id in enumerate(ids(items))}
    assert sorted(ids(first) + ids(second)) == sorted(ids(items))
    assert {owner_of[each] for each in ids(first)}.isdisjoint({owner_of[each] for each in ids(second)})
    for side in (first, second):
        assert [places[each] for each in ids(side)] == sorted(places[each] for each in ids(side))
    largest = max((owners.count(owner) for owner in set(owners)), default=0)
    assert abs(len(first) - len(second)) <= largest


def test_a_large_batch_is_handled_on_two_threads_at_once() -> None:
    both = threading.Barrier(2, timeout=10)

    def meet(_: Sequence[Item]) -> None:
        both.wait()

    attempts = Attempts(meet)
    items = of_two(ENOUGH)
    assert SideBySide(attempts, organizations, name="other side").handle(items) == []
    assert {thread for thread, _ in attempts.seen} == {threading.current_thread().name, "other side"}
    assert sorted(handled for _, handled in attempts.seen) == sorted([ids(items[::2]), ids(items[1::2])])


@pytest.mark.parametrize(
    ("items", "known"),
    [
        pytest.param(of_two(ENOUGH - 1), True, id="a small batch"),
        pytest.param(invoices(ENOUGH), True, id="all of one owner"),
        pytest.param(of_two(ENOUGH), False, id="nobody tells whose they are"),
    ],
)
def test_others_are_handled_whole(items: list[Item], known: bool) -> None:  # noqa: FBT001 -- a parameter
    attempts = Attempts()
    assert SideBySide(attempts, organizations if known else None, name="other side").handle(items) == []
    assert attempts.seen == [(threading.current_thread().name, ids(items))]


def test_what_spoils_either_side_is_found() -> None:
    attempts = Attempts(lambda items: "bad" if {"R10", "R11"} & set(ids(items)) else None)
    spoiled = SideBySide(attempts, organizations, name="other side").handle(of_two(ENOUGH))
    assert sorted((each.item.request.issue_request_id, each.fault) for each in spoiled) == [  # type: ignore[union-attr]
        ("R10", "bad"),
        ("R11", "bad"),
    ]


@pytest.mark.parametrize("failing", ["A", "B"])
def test_a_side_that_fails_is_told_once_the_other_has_ended(failing: str) -> None:
    ended: list[str | None] = []
    told = threading.Event()

    def refuse(items: Sequence[Item]) -> None:
        organization = organizations(items)[0]
        if organization == failing:
            told.set()
            raise _AwayError
        assert told.wait(10)
        ended.append(organization)

    sides = SideBySide(Attempts(refuse), organizations, name="other side")
    with pytest.raises(_AwayError):
        sides.handle(of_two(ENOUGH))
    assert ended == [{"A": "B", "B": "A"}[failing]]


@pytest.mark.parametrize("failing", ["A", "B"])
def test_an_owner_whose_requests_all_fail_holds_up_nobody_else(failing: str) -> None:
    attempts = Attempts(lambda items: "bad" if failing in organizations(items) else None)
    items = of_two(ENOUGH)
    assert ENOUGH // 2 > MOST_IN_A_ROW
    spoiled = SideBySide(attempts, organizations, name="other side").handle(items)
    assert ids([each.item for each in spoiled]) == ids([each for each in items if organizations([each]) == [failing]])


def test_where_both_sides_fail_nothing_is_given_up() -> None:
    attempts = Attempts(lambda _: "everything fails")
    with pytest.raises(EverythingFailsError, match="everything fails"):
        SideBySide(attempts, organizations, name="other side").handle(of_two(ENOUGH))
    # Nor are all of them tried together then.
    assert max(len(handled) for _, handled in attempts.seen) == ENOUGH // 2
