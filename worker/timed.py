"""Timed work: what workers do without being asked, each task at its pace.

Several workers do the same work; the database's `SKIP LOCKED` and the locks of the stocks decide who does what.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from db.engine import DATABASE_ERRORS, constraint, sqlstate
from db.issue_requests import RequestTakenError
from db.numbers import ChangedMeanwhileError
from worker.waits import Waits

_log = structlog.get_logger()

#: Seconds between tasks while the database is away.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0


@dataclass(slots=True)
class Task:
    """Something to do every `seconds`; a failure is logged, and it is tried at its next time.

    Work that says True has more to do: it goes on as soon as others that are due have had their turn.
    """

    name: str
    seconds: float
    work: Callable[[], object]
    due_at: float = 0.0


class TimedWork:
    """Runs tasks on a thread of its own, one after the other."""

    def __init__(self, tasks: list[Task]) -> None:
        self._tasks = tasks
        self._outage = Waits(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._stopping = threading.Event()
        self._woken = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timed-work", daemon=True)
        #: The monotonic second at which it last turned round: it is alive.
        self.turned_at = time.monotonic()

    def start(self) -> None:
        """Begin; every task is done once at the start."""
        self._thread.start()

    def wake(self, name: str) -> None:
        """Let one task's time be now."""
        for task in self._tasks:
            if task.name == name:
                task.due_at = 0.0
        self._woken.set()

    def wake_all(self) -> None:
        """Let every task's time be now: a drill's hours pass in seconds."""
        for task in self._tasks:
            task.due_at = 0.0
        self._woken.set()

    def stop(self, timeout: float) -> bool:
        """End after the task in work; False where it did not end in time."""
        self._stopping.set()
        self._woken.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            self.turned_at = time.monotonic()
            for task in self._tasks:
                if task.due_at <= time.monotonic() and not self._stopping.is_set():
                    # Before the work, so that being woken during it counts; the jitter keeps workers apart.
                    task.due_at = time.monotonic() + task.seconds * random.uniform(0.9, 1.1)  # noqa: S311
                    if self._do(task):
                        self._outage.reset()
                    else:
                        # What fails for one fails for all: no task asks a database that is away at its own pace.
                        self._stopping.wait(self._outage.following())
            following = min(task.due_at for task in self._tasks)
            self._woken.wait(max(0.0, following - time.monotonic()))

    def _do(self, task: Task) -> bool:
        """Do a task; False where the database is away or refuses."""
        try:
            if task.work() is True:
                task.due_at = 0.0
        except DATABASE_ERRORS as error:
            _log.warning("timed-work-failed", task=task.name, sqlstate=sqlstate(error), constraint=constraint(error))
            return False
        except (RequestTakenError, ChangedMeanwhileError):
            _log.info("timed-work-overtaken", task=task.name)
        except Exception:  # noqa: BLE001 -- logged whole, and tried again at its next time
            # The one boundary of this thread: a fault in one task must not end the others.
            _log.exception("timed-work-broken", task=task.name)
        return True
