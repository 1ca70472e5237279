"""Claiming ahead: whoever has had a first range doesn't wait, at an authority that takes its time."""

import pytest

from tests.support.outside.ahead import Load, run
from tests.support.outside.world import World

#: A short form of what `bench/claiming_ahead.py` does: slow enough for a machine that has other work.
#: A machine that can't keep pace slows the load down, instead of finding all of it in its queue.
LOAD = Load(taxpayers=10, claims=3, claim_quantity=400, rate=800, unanswered_seconds=0.25)


@pytest.mark.timeout(300)
def test_with_a_low_threshold_nobody_waits(world: World) -> None:
    course = run(world, LOAD, low_threshold=0.4)

    print(f"claiming ahead: {course}")  # noqa: T201 -- shown where the test fails
    assert course.claims >= LOAD.taxpayers * LOAD.claims
    assert (course.waited, course.most_listed) == (0, 0)


@pytest.mark.timeout(300)
def test_without_a_threshold_many_wait(world: World) -> None:
    course = run(world, LOAD, low_threshold=0)

    assert course.claims >= LOAD.taxpayers * LOAD.claims
    # At each claim after the first ones, whoever came while it was made.
    assert course.waited >= LOAD.taxpayers * (LOAD.claims - 1)
