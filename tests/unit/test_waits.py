"""Waits grow, are spread, and have a ceiling."""

from worker.waits import Waits


def test_waits_grow_to_their_ceiling_and_are_spread() -> None:
    waits = Waits(0.1, 5.0)
    given = [waits.following() for _ in range(200)]
    for place, length in enumerate([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]):
        assert 0.5 * length <= given[place] <= 1.5 * length
    assert max(given) <= 7.5
    assert len(set(given[6:])) > 100


def test_waits_begin_anew_after_a_success() -> None:
    waits = Waits(0.1, 5.0)
    for _ in range(10):
        waits.following()
    waits.reset()
    assert waits.following() <= 0.15
