"""Bad input: notices when most of what arrives by one queue can't be read, as from a broken producer, and when it ends.

Then the lane slows down, so that the letters of the dead don't come faster than people can look; the good ones go on.
Both are told once, by an event, and the worker isn't ready in between.
"""

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from db.engine import DATABASE_ERRORS, sqlstate
from db.fence import AnotherDatabaseError
from schemas.reasons import Reason
from schemas.topics import Topic
from worker.clock import Clock
from worker.metrics import Metrics

#: Messages that are judged together: the last ones.
WINDOW = 1000
#: More unreadable ones among them than this is bad input; fewer than that is its end, so that it doesn't flicker.
MANY, FEW = WINDOW // 2, WINDOW // 4
#: Seconds without an unreadable message after which bad input has ended too: nothing need come for it.
QUIET = 60.0

#: Seconds of rest for each unreadable message of a batch while input is bad, and at most for the batch.
_REST, _LONGEST_REST = 0.002, 1.0
#: Seconds between the tries to tell it while the database doesn't take it.
_TELLING_PAUSE = 5.0

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Judged:
    """What is told of a topic's input."""

    topic: Topic
    #: Whether it is bad now; False where it was.
    bad: bool
    #: How many of the last `of` messages can't be read.
    unreadable: int
    of: int
    #: The commonest reason; None where nothing is unreadable any more.
    reason: Reason | None
    #: Since when, or until when, it is or was bad.
    at: datetime


class InputWatch:
    """Watches one lane's input. Used by the lane's thread; `trouble` may be read by any."""

    def __init__(self, topic: Topic, clock: Clock, metrics: Metrics, tell: Callable[[Judged], object]) -> None:
        """Watch; `tell` publishes what was judged, or raises what a transaction raises in an outage."""
        self._topic = topic
        self._clock = clock
        self._metrics = metrics
        self._tell = tell
        #: A reason for each unreadable message of the last ones, None for each that was read.
        self._last: deque[Reason | None] = deque(maxlen=WINDOW)
        self._bad_at = float("-inf")
        self._untold: deque[Judged] = deque(maxlen=WINDOW)
        self._tell_at = float("-inf")
        #: In a line, that input is bad; None while it isn't.
        self.trouble: str | None = None

    def note(self, readable: int, unreadable: Sequence[Reason]) -> float:
        """Note what a batch held; gives the seconds to rest before the next one."""
        total = readable + len(unreadable)
        # What is more than the window holds counts by its share: its order within the batch isn't known.
        kept = len(unreadable) if total <= WINDOW else round(WINDOW * len(unreadable) / total)
        self._last.extend([None] * min(readable, WINDOW - kept))
        self._last.extend(unreadable[:kept])
        if unreadable:
            self._bad_at = time.monotonic()
        self.look()
        return 0.0 if self.trouble is None else min(_LONGEST_REST, _REST * len(unreadable))

    def look(self) -> None:
        """Judge anew, and tell what has changed: also where nothing comes any more."""
        if self.trouble is not None or self._last.count(None) != len(self._last):
            self._judge()
        if self._untold and time.monotonic() >= self._tell_at:
            self._tell_what_is_untold()

    def _judge(self) -> None:
        unreadable = len(self._last) - self._last.count(None)
        if self.trouble is None:
            if unreadable > MANY:
                self.trouble = f"most of the last {WINDOW} messages can't be read: see the dead letters"
                self._change(unreadable, bad=True)
        elif unreadable < FEW or time.monotonic() - self._bad_at > QUIET:
            self.trouble = None
            self._change(unreadable, bad=False)
            self._last.clear()

    def _change(self, unreadable: int, *, bad: bool) -> None:
        reasons = Counter(reason for reason in self._last if reason is not None)
        reason = reasons.most_common(1)[0][0] if reasons else None
        judged = Judged(self._topic, bad, unreadable, len(self._last), reason, self._clock.now())
        self._untold.append(judged)
        self._metrics.input_degraded(self._topic, bad=bad)
        if bad:
            _log.error("input-degraded", topic=self._topic.value, unreadable=unreadable, of=judged.of, reason=reason)
        else:
            _log.info("input-recovered", topic=self._topic.value, unreadable=unreadable, of=judged.of)

    def _tell_what_is_untold(self) -> None:
        try:
            while self._untold:
                self._tell(self._untold[0])
                self._untold.popleft()
        except (*DATABASE_ERRORS, AnotherDatabaseError) as error:
            self._tell_at = time.monotonic() + _TELLING_PAUSE
            _log.warning("input-not-told-yet", topic=self._topic.value, sqlstate=sqlstate(error))
