"""Timed work: one thread, each task at its pace, none of them in another's way."""

import threading
from collections.abc import Callable

from worker.timed import Task, TimedWork

HOUR = 3600.0


def run(tasks: list[Task], until: threading.Event) -> None:
    """Run tasks until an event is set."""
    timed = TimedWork(tasks)
    timed.start()
    try:
        assert until.wait(10)
    finally:
        assert timed.stop(10)


def counting(done: list[str], name: str, says: Callable[[int], bool | None]) -> Callable[[], bool | None]:
    """Make work that notes its name and says what it is told to say of its count."""

    def work() -> bool | None:
        done.append(name)
        return says(done.count(name))

    return work


def test_work_that_has_more_to_do_goes_on_at_once_and_lets_others_have_their_turn() -> None:
    done: list[str] = []
    ended = threading.Event()

    def often(count: int) -> bool:
        if count == 3:
            ended.set()
        return count < 3

    run(
        [
            Task("much", HOUR, counting(done, "much", often)),
            Task("little", HOUR, counting(done, "little", lambda _: None)),
        ],
        ended,
    )

    assert done[:4] == ["much", "little", "much", "much"]
    assert done.count("little") == 1


def test_a_fault_of_one_task_ends_neither_it_nor_the_others() -> None:
    done: list[str] = []
    ended = threading.Event()

    def broken() -> None:
        done.append("broken")
        message = "a fault"
        raise ValueError(message)

    def good(_count: int) -> None:
        if done.count("broken") >= 2:
            ended.set()

    run([Task("broken", 0.01, broken), Task("good", 0.01, counting(done, "good", good))], ended)

    assert done.count("good") >= 2
