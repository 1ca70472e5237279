"""A lane: one topic's way from its queue to the acknowledgement.

Deliveries are gathered into a batch, each read by itself, handled in a transaction, and acknowledged after its commit.
What can't be read goes to the dead letters, confirmed, before its batch is acknowledged.
"""

import random
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import structlog
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from db.engine import constraint, is_data_error, sqlstate
from db.issue_requests import RequestTakenError
from db.numbers import ChangedMeanwhileError
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import Environment
from worker.broker.port import Broker, Delivery, DeliveryBatch, Outcome, Subscription
from worker.clock import Clock
from worker.decoding import Item, Rejected, dead_letter, decode, reject
from worker.metrics import Metrics
from worker.relay import Relay

_log = structlog.get_logger()

#: Bytes of deliveries that one transaction takes on, unless one message alone has more: some two thousand requests.
_MOST_BYTES = 512 * 1024

_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 5.0

#: How long a batch is tried again before its deliveries are given back and the lane waits for the database.
_PATIENCE = 10.0


class Handler(Protocol):
    """What a topic's requests are handed to; returns once their effect and their answers are committed."""

    def __call__(self, items: Sequence[Item]) -> None:
        """Handle requests of one topic, all or none; any exception means none."""
        ...


class AbandonedError(Exception):
    """The batch is not finished: its deliveries are given back, and come again."""


@dataclass(frozen=True, slots=True)
class Gathering:
    """How deliveries become a batch: it closes at `size`, or when its oldest is `age` seconds old."""

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
        self._thread = threading.Thread(target=self._run, name=f"lane-{topic.value}", daemon=True)
        #: The monotonic second at which the lane last turned round: it is alive.
        self.turned_at = time.monotonic()

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
        while not self._stopping.is_set():
            self.turned_at = time.monotonic()
            batch = self._subscription.next_batch(
                size=self._gathering.size,
                age=self._gathering.age,
                wait=0.5,
            )
            if batch is None:
                continue
            try:
                for part in _parts(batch):
                    self._finish(part)
                    self._subscription.acknowledge(part)
            except AbandonedError:
                self._begin_again()

    def _finish(self, part: DeliveryBatch) -> None:
        """Bring about the part's effect: requests handled and committed, the unreadable with the dead letters."""
        began = time.monotonic()
        while not self._relay.wait_for_room(timeout=0.5):
            self.turned_at = time.monotonic()
            self._give_up_if_stopping()
        decoded = decode(self.topic, self._environment, part.deliveries)
        if decoded.rejected:
            self._write_dead_letters(decoded.rejected)
        if decoded.items:
            self._handle(decoded.items)
            self._metrics.handled(self.topic, len(decoded.items), time.monotonic() - began)

    def _handle(self, items: Sequence[Item]) -> None:
        """Handle requests in one transaction; where one of them spoils it, find that one by halves."""
        fault = self._try(items)
        if fault is None:
            return
        if len(items) == 1:
            _log.error("request-failed", topic=self.topic.value, message_id=items[0].event.id, fault=fault)
            detail = f"handling it failed ({fault}): see the worker's log, then redrive it"
            self._write_dead_letters([reject(items[0], Reason.PROCESSING_FAILED, detail)])
            return
        middle = len(items) // 2
        self._handle(items[:middle])
        self._handle(items[middle:])

    def _try(self, items: Sequence[Item]) -> str | None:
        """Handle requests, again and again while the trouble may pass; gives the fault where it will not."""
        gives_up_at = time.monotonic() + _PATIENCE
        pause = _FIRST_PAUSE
        fault: str | None = None
        while True:
            try:
                self._handler(items)
            except (RequestTakenError, ChangedMeanwhileError):
                self._metrics.retried("taken")
            except DBAPIError as error:
                self._metrics.retried(sqlstate(error))
                said = constraint(error) or sqlstate(error) or "no answer"
                if is_data_error(error):
                    if fault == said:
                        return said
                    # Once more: another worker may have changed what this one read.
                    fault = said
                _log.warning(
                    "batch-retried",
                    topic=self.topic.value,
                    requests=len(items),
                    sqlstate=sqlstate(error),
                    constraint=constraint(error),
                )
            except AbandonedError:
                raise
            except Exception as error:  # noqa: BLE001 -- logged whole, and the request goes to the dead letters
                # The one boundary: a fault of ours must not stop the lane, and must not take neighbours along.
                _log.exception("handler-failed", topic=self.topic.value, requests=len(items))
                return type(error).__name__
            else:
                return None
            self._give_up_if_stopping()
            if time.monotonic() > gives_up_at:
                raise AbandonedError
            self._stopping.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- spreads retries
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _write_dead_letters(self, rejected: Sequence[Rejected]) -> None:
        """Publish to the dead letters until the broker has confirmed each."""
        left = list(rejected)
        pause = _FIRST_PAUSE
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
                self._stopping.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE)

    def _give_up_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise AbandonedError

    def _begin_again(self) -> None:
        """Give back what is not finished, and consume again once the database answers."""
        if self._stopping.is_set():
            return
        self._subscription.suspend()
        _log.warning("consuming-suspended", topic=self.topic.value)
        pause = _FIRST_PAUSE
        while not self._stopping.is_set() and not _answers(self._engine):
            self.turned_at = time.monotonic()
            self._stopping.wait(pause * random.uniform(0.5, 1.5))  # noqa: S311 -- spreads probes
            pause = min(pause * 2, _LONGEST_PAUSE)
        self._subscription.resume()
        _log.info("consuming-resumed", topic=self.topic.value)


def _answers(engine: Engine) -> bool:
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
    except DBAPIError:
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
