"""Halving: a poisonous request is found among good ones, and nothing is given up while everything fails."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.core.asked import invoice
from worker.decoding import Item
from worker.halving import MOST_IN_A_ROW, SAMPLES, EverythingFailsError, Halving, Spoiled


class Database:
    """Refuses what it is told to, and remembers what it took and how often it was asked."""

    def __init__(self, *bad: int, all_of_them: bool = False) -> None:
        self.bad = set(bad)
        self.all_of_them = all_of_them
        self.tries: list[int] = []
        self.taken: list[int] = []

    def attempt(self, items: Sequence[Item]) -> str | None:
        keys = [int(_key(each)) for each in items]
        self.tries.append(len(keys))
        if self.all_of_them or self.bad & set(keys):
            return "poison"
        self.taken += keys
        return None


def _key(each: Item) -> str:
    return str(getattr(each.request, "issue_request_id", ""))


def requests(count: int, *, since: int = 0) -> list[Item]:
    return [invoice(str(since + n)) for n in range(count)]


def keys(spoiled: Sequence[Spoiled]) -> list[int]:
    return [int(_key(each.item)) for each in spoiled]


def test_good_requests_take_one_try() -> None:
    database = Database()
    assert Halving(database.attempt).handle(requests(500)) == []
    assert database.tries == [500]


def test_one_poisonous_request_is_found_and_the_others_succeed() -> None:
    database = Database(137)
    assert keys(Halving(database.attempt).handle(requests(500))) == [137]
    assert sorted(database.taken) == [n for n in range(500) if n != 137]
    assert len(database.tries) <= 2 * math.ceil(math.log2(500)) + 1


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1), max_size=n))))
def test_each_request_succeeds_once_or_is_given_up_or_all_of_it_comes_again(drawn: tuple[int, set[int]]) -> None:
    count, bad = drawn
    database = Database(*bad)
    halving = Halving(database.attempt)
    try:
        spoiled = halving.handle(requests(count))
    except EverythingFailsError:
        # Only where many fail is it doubted that they are at fault themselves.
        assert len(bad) >= MOST_IN_A_ROW
        assert len(set(database.taken)) == len(database.taken)
        return
    assert set(keys(spoiled)) == bad
    assert sorted(database.taken) == sorted(set(range(count)) - bad)


def test_a_cluster_of_poison_amid_good_ones_does_not_stop_the_others() -> None:
    database = Database(*range(20))
    halving = Halving(database.attempt)
    given_up: list[int] = []
    # A look at five of what is left may miss the good ones; what comes again is looked at again.
    for _ in range(100):
        try:
            given_up = keys(halving.handle(requests(200)))
            break
        except EverythingFailsError:
            continue
    assert sorted(given_up) == list(range(20))


def test_where_everything_fails_nothing_is_given_up_and_the_tries_are_few() -> None:
    database = Database(all_of_them=True)
    halving = Halving(database.attempt)
    with pytest.raises(EverythingFailsError, match="poison"):
        halving.handle(requests(500))
    found = len(database.tries)
    assert found <= math.ceil(math.log2(500)) + 2 * MOST_IN_A_ROW + SAMPLES
    for _ in range(10):
        with pytest.raises(EverythingFailsError):
            halving.handle(requests(500))
    # From then on one request at a time, and few of them.
    assert database.tries[found:] == [1] * (10 * SAMPLES)


def test_single_requests_that_fail_one_after_the_other_are_given_up_only_at_first() -> None:
    database = Database(all_of_them=True)
    halving = Halving(database.attempt)
    given_up = 0
    for n in range(50):
        try:
            given_up += len(halving.handle(requests(1, since=n)))
        except EverythingFailsError:
            continue
    assert given_up == MOST_IN_A_ROW - 1


def test_it_goes_on_as_usual_once_one_succeeds() -> None:
    database = Database(all_of_them=True)
    halving = Halving(database.attempt)
    with pytest.raises(EverythingFailsError):
        halving.handle(requests(100))
    database.all_of_them = False
    database.bad = {7}
    for _ in range(100):
        try:
            spoiled = halving.handle(requests(100))
            break
        except EverythingFailsError:  # pragma: no cover -- only where the one bad request was drawn five times
            continue
    assert keys(spoiled) == [7]
    assert sorted(database.taken) == [n for n in range(100) if n != 7]
