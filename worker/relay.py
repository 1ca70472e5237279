"""The relay: publishes what is committed, and removes it from the outbox once the broker has confirmed it."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import structlog
from sqlalchemy import Engine

from db.asking import ask_and_commit, begin
from db.engine import DATABASE_ERRORS, sqlstate
from db.outbox import OutgoingMessage, Parcel, give_back, remove_confirmed, take_left_behind
from worker.broker.port import Broker, Message, Outcome
from worker.broker.topology import EXCHANGE
from worker.clock import Clock
from worker.crash_points import CrashPoint, reached
from worker.metrics import Metrics

_log = structlog.get_logger()

#: Parcels that one sweep takes over at a time, and messages without a confirm below which it goes on.
_SWEEP, _SWEEP_ROOM = 20, 500
#: How often confirmed messages are removed: the longer, the fewer transactions.
_REMOVAL_PAUSE = 0.05
#: Messages without a confirm above which no new work is taken on.
_ROOM = 20_000
#: Seconds between two warnings of events that nobody is bound for.
_WARNING_PAUSE = 60.0


class Relay:
    """Publishes stored messages; a message leaves the outbox only on its confirm.

    A message that nobody is bound for is confirmed and returned: it is counted, warned about now and then, and let go.
    """

    def __init__(self, engine: Engine, broker: Broker, clock: Clock, metrics: Metrics) -> None:
        self._engine = engine
        self._broker = broker
        self._clock = clock
        self._metrics = metrics
        self._changed = threading.Condition()
        self._under_way = 0
        self._confirmed: list[int] = []
        self._unconfirmed: list[Parcel] = []
        self._warned_at = float("-inf")
        self._stopping = False
        self._remover = threading.Thread(target=self._remove, name="outbox-remover", daemon=True)

    def start(self) -> None:
        """Begin to remove what is confirmed."""
        self._remover.start()

    def publish(self, parcels: Sequence[Parcel]) -> None:
        """Publish messages of a committed transaction; returns at once."""
        messages = [_message(each) for parcel in parcels for each in parcel.messages]
        if not messages:
            return
        with self._changed:
            self._under_way += len(messages)
        published = self._broker.publish(messages)
        reached(CrashPoint.AFTER_PUBLISH)
        published.add_done_callback(partial(self._settled, parcels))

    def sweep(self) -> None:
        """Publish what a crash or a broken connection left behind; waits for each part before the next."""
        # What is given back meanwhile is left for the next sweep: a broker that refuses must not keep this one going.
        began = self._clock.now()
        while self._broker.ready:
            with self._engine.begin() as connection:
                left = take_left_behind(connection, now=began, most=_SWEEP)
            if not left:
                return
            _log.info("outbox-swept", messages=sum(len(parcel.messages) for parcel in left))
            self.publish(left)
            if len(left) < _SWEEP or not self.wait_for_room(_SWEEP_ROOM, timeout=10):
                return

    def wait_for_room(self, most: int = _ROOM, *, timeout: float) -> bool:
        """Wait until fewer than `most` messages are without a confirm; False where they still are after `timeout`."""
        with self._changed:
            return self._changed.wait_for(lambda: self._under_way < most, timeout)

    def close(self, timeout: float) -> bool:
        """Wait for the confirms under way and remove what they confirm; False where that took longer."""
        ended_by = time.monotonic() + timeout
        confirmed = self.wait_for_room(1, timeout=timeout)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._remover.join(max(0.1, ended_by - time.monotonic()))
        return confirmed and not self._remover.is_alive()

    def _settled(self, parcels: Sequence[Parcel], published: "Future[list[Outcome]]") -> None:
        outcomes = published.result()
        reached(CrashPoint.BEFORE_REMOVAL)
        confirmed, unconfirmed = _sorted_by_confirm(parcels, outcomes)
        with self._changed:
            self._confirmed += confirmed
            self._unconfirmed += unconfirmed
            self._under_way -= len(outcomes)
            self._changed.notify_all()
        events = [each.events for parcel in parcels for each in parcel.messages]
        self._metrics.published(
            sum(count for count, outcome in zip(events, outcomes, strict=True) if outcome is not Outcome.UNKNOWN),
        )
        returned = outcomes.count(Outcome.UNROUTABLE)
        if returned:
            self._warn_of_nobody(returned)

    def _warn_of_nobody(self, returned: int) -> None:
        self._metrics.unroutable(returned)
        if time.monotonic() - self._warned_at > _WARNING_PAUSE:
            self._warned_at = time.monotonic()
            _log.warning("event-without-queue", messages=returned, hint="no queue is bound for these events")

    def _remove(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._confirmed or self._unconfirmed)
                stopping = self._stopping
                confirmed, self._confirmed = self._confirmed, []
                unconfirmed, self._unconfirmed = self._unconfirmed, []
            self._store_removal(confirmed, unconfirmed)
            if stopping:
                return
            time.sleep(_REMOVAL_PAUSE)

    def _store_removal(self, confirmed: list[int], unconfirmed: list[Parcel]) -> None:
        try:
            with begin(self._engine, *remove_confirmed(confirmed)) as connection:
                ask_and_commit(connection, give_back(unconfirmed, now=self._clock.now()))
        except DATABASE_ERRORS as error:
            # What is not removed is published once more, under the same ids.
            _log.warning(
                "outbox-removal-failed",
                sqlstate=sqlstate(error),
                parcels=len(confirmed) + len(unconfirmed),
            )


def _sorted_by_confirm(parcels: Sequence[Parcel], outcomes: Sequence[Outcome]) -> tuple[list[int], list[Parcel]]:
    """Tell which parcels are confirmed whole, and what is left of the others."""
    if Outcome.UNKNOWN not in outcomes:
        return [parcel.outbox_id for parcel in parcels], []
    confirmed, unconfirmed = [], []
    told = iter(outcomes)
    for parcel in parcels:
        left = tuple(message for message in parcel.messages if next(told) is Outcome.UNKNOWN)
        if left:
            unconfirmed.append(Parcel(parcel.outbox_id, left))
        else:
            confirmed.append(parcel.outbox_id)
    return confirmed, unconfirmed


def _message(outgoing: OutgoingMessage) -> Message:
    return Message(
        exchange=EXCHANGE,
        routing_key=outgoing.routing_key,
        body=outgoing.body,
        content_type=outgoing.content_type,
        message_id=outgoing.message_id,
    )
