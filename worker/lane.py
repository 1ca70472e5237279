"""A lane: one topic's way from its queue to the acknowledgement.

Deliveries are gathered into a batch, each read by itself, handled in a transaction, and acknowledged after its commit.
What can't be read goes to the dead letters, confirmed, before its batch is acknowledged.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy import Engine, text

from db.engine import DATABASE_ERRORS, constraint, is_data_error, sqlstate
from db.fence import AnotherDatabaseError
from db.issue_requests import RequestTakenError
from db.numbers import ChangedMeanwhileError
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import Environment
from worker.bad_input import InputWatch, Judged
from worker.broker.port import Broker, Delivery, DeliveryBatch, Outcome, Subscription
from worker.broker.topology import SHARDED
from worker.clock import Clock
from worker.crash_points import CrashPoint, reached
from worker.decoding import Item, Rejected, dead_letter, decode, reject
from worker.halving import EverythingFailsError
from worker.metrics import Metrics
from worker.relay import Relay
from worker.side_by_side import Owners, SideBySide
from worker.waits import Waits

_log = structlog.get_logger()

#: Bytes of deliveries that one transaction takes on, unless one message alone has more: some two thousand requests.
_MOST_BYTES = 512 * 1024

#: Seconds between the tries of a batch, and between the looks whether the database is back.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0
#: Seconds between the looks whether requests succeed again, after all of them failed.
_FIRST_REST, _LONGEST_REST = 1.0, 60.0
#: The longest stretch of a rest in which the lane doesn't show that it is alive.
_STRETCH = 5.0

#: Seconds without a delivery, the database answering, after which there is no trouble any more.
_QUIET = 10.0

#: Deliveries of a batch from which on the next one waits to grow old: where fewer come in the time that a batch takes,
#: to wait for more costs each of them more than it saves the database.
_WORTH_WAITING = 64

#: How long a batch is tried again before its deliveries are given back and the lane waits for the database.
_PATIENCE = 10.0


class Handler(Protocol):
    """What a topic's requests are handed to; returns once their effect and their answers are committed."""

    def __call__(self, items: Sequence[Item]) -> None:
        """Handle requests of one topic, all or none; any exception means none."""
        ...


class AbandonedError(Exception):
    """The batch is not finished: its deliveries are given back, and come again. The text says what the trouble is."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """How deliveries become a batch: it closes at `size`, or when its oldest is `age` seconds old.

    While few come it doesn't wait: it closes with what has come when the batch before is done.
    """

    size: int
    age: float
    prefetch: int


class Lane:
    """One topic's consuming thread."""

    def __init__(  # noqa: PLR0913 -- a lane's two ends and its terms
        self,
        topic: Topic,
        environment: Environment,
        handler: Handler,
        *,
        broker: Broker,
        relay: Relay,
        engine: Engine,
        clock: Clock,
        metrics: Metrics,
        gathering: Gathering,
        tell_input: Callable[[Judged], object],
        owners: Owners | None = None,
    ) -> None:
        self.topic = topic
        self._environment = environment
        self._handler = handler
        self._broker = broker
        self._relay = relay
        self._engine = engine
        self._clock = clock
        self._metrics = metrics
        self._gathering = gathering
        self._stopping = threading.Event()
        self._subscription: Subscription = broker.subscribe(topic, prefetch=gathering.prefetch)
        if topic in SHARDED:
            metrics.watch_shards(topic, lambda: self._subscription.shards_served)
        self._thread = threading.Thread(target=self._run, name=f"lane-{topic.value}", daemon=True)
        #: The monotonic second at which the lane last turned round: it is alive.
        self.turned_at = time.monotonic()
        #: In a line, why nothing is consumed just now; None while all goes well.
        self.trouble: str | None = None
        self._resumed_at = time.monotonic()
        self.watch = InputWatch(topic, clock, metrics, tell_input)
        self._handling = SideBySide(self._try, owners, name=f"side-{topic.value}")
        self._outage = Waits(_FIRST_PAUSE, _LONGEST_PAUSE)
        self._failure = Waits(_FIRST_REST, _LONGEST_REST)

    def start(self) -> None:
        """Begin to consume."""
        self._thread.start()

    def stop(self) -> None:
        """Take no more batches; the one in work is finished."""
        self._stopping.set()

    @property
    def broken(self) -> bool:
        """Whether the lane ended without being told to: a fault of ours that nothing caught."""
        return self._thread.ident is not None and not self._thread.is_alive() and not self._stopping.is_set()

    def join(self, timeout: float) -> bool:
        """Wait for the lane's end; False where it still works."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        many = False
        while not self._stopping.is_set():
            self.turned_at = time.monotonic()
            batch = self._subscription.next_batch(
                size=self._gathering.size,
                age=self._gathering.age if many else 0.0,
                wait=0.5,
            )
            if batch is None:
                self._note_quiet()
                continue
            many = len(batch.deliveries) >= _WORTH_WAITING
            reached(CrashPoint.AFTER_RECEIVE)
            try:
                for part in _parts(batch):
                    rest = self._finish(part)
                    reached(CrashPoint.BEFORE_ACK)
                    self._subscription.acknowledge(part)
                    self._rest(rest)
            except AbandonedError as abandoned:
                self._begin_again(str(abandoned), self._outage)
            except EverythingFailsError as failing:
                self._begin_again(f"every request fails ({failing}): see the log", self._failure)

    def _finish(self, part: DeliveryBatch) -> float:
        """Bring about the part's effect: requests handled and committed, the unreadable with the dead letters.

        Gives the seconds to rest before the next: none, unless most of what comes is bad.
        """
        began = time.monotonic()
        while not self._relay.wait_for_room(timeout=0.5):
            self.turned_at = time.monotonic()
            self._give_up_if_stopping()
        decoded = decode(self.topic, self._environment, part.deliveries)
        if decoded.items:
            self._handle(decoded.items)
            self._metrics.handled(self.topic, len(decoded.items), time.monotonic() - began)
        # After the requests: as long as those can't be handled all comes again, and would leave a letter each time.
        if decoded.rejected:
            self._write_dead_letters(decoded.rejected)
        return self.watch.note(len(decoded.items), [each.reason for each in decoded.rejected])

    def _handle(self, items: Sequence[Item]) -> None:
        """Handle requests; one that spoils its transaction goes to the dead letters, and the others go on."""
        spoiled = self._handling.handle(items)
        self._note_success()
        for each in spoiled:
            _log.error("request-failed", topic=self.topic.value, message_id=each.item.event.id, fault=each.fault)
        detail = "handling it failed ({}): see the worker's log, then redrive it"
        self._write_dead_letters(
            [reject(each.item, Reason.PROCESSING_FAILED, detail.format(each.fault)) for each in spoiled]
        )

    def _try(self, items: Sequence[Item]) -> str | None:
        """Handle requests, again and again while the trouble may pass; gives the fault where it will not."""
        gives_up_at = time.monotonic() + _PATIENCE
        waits = Waits(_FIRST_PAUSE, _LONGEST_PAUSE)
        fault: str | None = None
        while True:
            try:
                self._handler(items)
            except (RequestTakenError, ChangedMeanwhileError):
                self._metrics.retried("taken")
                trouble = "other workers change the same requests all the time"
            except AnotherDatabaseError as error:
                # No fault of the requests: the worker ends with what the fence says.
                raise AbandonedError(str(error)) from None
            except DATABASE_ERRORS as error:
                said = self._note_refusal(error, len(items))
                # A refusal of the data is tried once more: another worker may have changed what this one read.
                if is_data_error(error) and said == fault:
                    return said
                fault = said
                trouble = f"the database is away or refuses ({said})"
            except AbandonedError:
                raise
            except Exception as error:  # noqa: BLE001 -- logged whole, and the request goes to the dead letters
                # The one boundary: a fault of ours must not stop the lane, and must not take neighbours along.
                # Its place is shown once it is known whose request shows it.
                shown = error if len(items) == 1 else None
                _log.error("handler-failed", topic=self.topic.value, requests=len(items), exc_info=shown)
                return type(error).__name__
            else:
                return None
            self._give_up_if_stopping()
            if time.monotonic() > gives_up_at:
                raise AbandonedError(trouble)
            self._rest(waits.following())

    def _note_refusal(self, error: Exception, requests: int) -> str:
        """Count and log what the database said, and give it."""
        self._metrics.retried(sqlstate(error))
        _log.warning(
            "batch-retried",
            topic=self.topic.value,
            requests=requests,
            sqlstate=sqlstate(error),
            constraint=constraint(error),
        )
        return constraint(error) or sqlstate(error) or "no answer"

    def _write_dead_letters(self, rejected: Sequence[Rejected]) -> None:
        """Publish to the dead letters until the broker has confirmed each."""
        left = list(rejected)
        waits = Waits(_FIRST_PAUSE, _LONGEST_PAUSE)
        while left:
            self.turned_at = time.monotonic()
            now = self._clock.now()
            published = self._broker.publish([dead_letter(self.topic, each, now) for each in left])
            outcomes = published.result()
            for each, outcome in zip(left, outcomes, strict=True):
                if outcome is Outcome.CONFIRMED:
                    self._metrics.rejected(each.reason.value)
                    _log.warning("dead-letter", topic=self.topic.value, reason=each.reason.value, detail=each.detail)
            left = [each for each, outcome in zip(left, outcomes, strict=True) if outcome is not Outcome.CONFIRMED]
            if left:
                self._give_up_if_stopping()
                self._rest(waits.following())

    def _give_up_if_stopping(self) -> None:
        if self._stopping.is_set():
            message = "the worker stops"
            raise AbandonedError(message)

    def _begin_again(self, trouble: str, waits: Waits) -> None:
        """Give back what is not finished, wait longer each time, and consume again once the database answers."""
        if self._stopping.is_set():
            return
        self._subscription.suspend()
        self.trouble = trouble
        self._metrics.paused(self.topic, paused=True)
        _log.error("consuming-suspended", topic=self.topic.value, trouble=trouble)
        self._rest(waits.following())
        while not self._stopping.is_set() and not _answers(self._engine):
            self._rest(self._outage.following())
        self._subscription.resume()
        self._resumed_at = time.monotonic()
        _log.info("consuming-resumed", topic=self.topic.value)

    def _note_success(self) -> None:
        self._outage.reset()
        self._failure.reset()
        if self.trouble is not None:
            self.trouble = None
            self._metrics.paused(self.topic, paused=False)
            _log.info("trouble-over", topic=self.topic.value)

    def _note_quiet(self) -> None:
        """Nothing has come: other workers may have done what this one gave back."""
        self.watch.look()
        if self.trouble is not None and time.monotonic() - self._resumed_at > _QUIET:
            self._note_success()

    def _rest(self, seconds: float) -> None:
        """Wait, showing now and then that the lane is alive; a stopped lane waits no longer."""
        ends_at = time.monotonic() + seconds
        while not self._stopping.is_set() and (left := ends_at - time.monotonic()) > 0:
            self.turned_at = time.monotonic()
            self._stopping.wait(min(left, _STRETCH))


def _answers(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except (*DATABASE_ERRORS, AnotherDatabaseError):
        return False
    return True


def _parts(batch: DeliveryBatch) -> Iterator[DeliveryBatch]:
    """Cut a batch so that no transaction takes on too much at once."""
    part: list[Delivery] = []
    size = 0
    for delivery in batch.deliveries:
        if part and size + len(delivery.body) > _MOST_BYTES:
            yield replace(batch, deliveries=tuple(part))
            part, size = [], 0
        part.append(delivery)
        size += len(delivery.body)
    if part:
        yield replace(batch, deliveries=tuple(part))
