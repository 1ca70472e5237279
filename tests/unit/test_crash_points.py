"""Crash points: a process dies where it was told to, at the nth time, and nowhere else."""

import signal
import subprocess
import sys

import pytest

from worker import crash_points
from worker.crash_points import CrashPoint

PASSES = """
from worker import crash_points
from worker.crash_points import CrashPoint

crash_points.arm({armed!r})
for _ in range(3):
    for point in CrashPoint:
        print(point.value, flush=True)
        crash_points.reached(point)
"""


def passes(armed: str | None) -> tuple[int, list[str]]:
    """Reach every point three times in a process of its own; gives its exit status and the points it came to."""
    done = subprocess.run(
        [sys.executable, "-c", PASSES.format(armed=armed)], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout.split()


def test_unarmed_all_are_passed() -> None:
    assert passes(None) == (0, [point.value for point in CrashPoint] * 3)


@pytest.mark.parametrize("point", list(CrashPoint))
def test_the_process_is_killed_at_the_point(point: CrashPoint) -> None:
    status, came_to = passes(point.value)
    assert status == -signal.SIGKILL
    assert came_to == [each.value for each in CrashPoint][: len(came_to)]
    assert came_to[-1] == point.value


def test_it_is_killed_at_the_nth_time() -> None:
    status, came_to = passes("before-commit:2")
    assert status == -signal.SIGKILL
    assert came_to.count("before-commit") == 2
    assert came_to[-1] == "before-commit"


@pytest.mark.parametrize("text", ["", "nowhere", "before-commit:", "before-commit:0", "before-commit:x", ":1"])
def test_another_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="name:nth with one of after-receive"):
        crash_points.parse(text)
