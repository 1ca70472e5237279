"""Crash points: named places at which a test lets the process die as by `kill -9` (`FUMA_CRASH_AT`).

What a worker promises under SIGKILL is decided between two of its steps, where a kill from outside hardly ever hits.
Unarmed, as in production always, a point is one comparison for a batch, a publication or a claim; none stands on the
way of a single message.
"""

import os
import signal
import threading
from enum import StrEnum


class CrashPoint(StrEnum):
    """Where a process can be told to die."""

    #: A batch was taken from the queue; nothing was done about it.
    AFTER_RECEIVE = "after-receive"
    #: All of a transaction is decided; its events, and what it held back (`db.asking`), go with the commit.
    BEFORE_COMMIT = "before-commit"
    #: It is committed; none of its events is published.
    AFTER_COMMIT = "after-commit"
    #: Events went to the publishing connection; no confirm was seen.
    AFTER_PUBLISH = "after-publish"
    #: The broker confirmed events; they stand in the outbox still.
    BEFORE_REMOVAL = "before-removal"
    #: A batch's effect is committed; its deliveries are not acknowledged.
    BEFORE_ACK = "before-ack"
    #: A claim's intent is committed and its turn taken; LeQi was not called.
    BEFORE_CALL = "before-call"
    #: LeQi granted; nothing of the grant is stored.
    AFTER_GRANT = "after-grant"


class _Armed:
    """Kills the process when one point is reached for the nth time, by whichever thread."""

    def __init__(self, point: CrashPoint, nth: int) -> None:
        self._point, self._left = point, nth
        self._lock = threading.Lock()

    def reached(self, point: CrashPoint) -> None:
        if point is not self._point:
            return
        with self._lock:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def parse(text: str) -> tuple[CrashPoint, int]:
    """Read `name` or `name:nth`; raises `ValueError`, saying what there is, for any other text."""
    name, colon, nth = text.partition(":")
    times = int(nth) if nth.isascii() and nth.isdecimal() else 0
    if name not in set(CrashPoint) or (colon and times < 1):
        message = f"must be name or name:nth with one of {', '.join(CrashPoint)}"
        raise ValueError(message)
    return CrashPoint(name), times if colon else 1


def arm(text: str | None) -> None:
    """Let this process die where `text` says (`parse`); None: nowhere."""
    global _armed  # noqa: PLW0603 -- a process has one death
    _armed = None if text is None else _Armed(*parse(text))


def reached(point: CrashPoint) -> None:
    """Die here if the process was told to."""
    if _armed is not None:
        _armed.reached(point)
