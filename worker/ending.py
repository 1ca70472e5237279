"""Ending: ranges go out of use, with their numbers that nobody holds, and are told of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from db.held_ranges import HeldRange, end_ranges
from db.issue_requests import count_waiting
from db.records import StockKey
from db.stocks import lock_stocks
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import RangeStatus
from worker.answers import Answer
from worker.events import EventWriter
from worker.levels import read_shelf, record_crossing


@dataclass(frozen=True, slots=True)
class End:
    """Why ranges go out of use, and what the history keeps of it."""

    status: RangeStatus
    reason: Reason
    #: What did it, for the history of the numbers; and who asked.
    message: str
    requested_by: str | None = None
    #: In an operator's words; kept with the range.
    detail: str | None = None

    @property
    def topic(self) -> Topic:
        """The event that tells of it."""
        return Topic.RANGE_QUARANTINED if self.status is RangeStatus.QUARANTINED else Topic.RANGE_EXPIRED


class Ending:
    """Ends ranges of stocks that are locked."""

    def __init__(self, environment: str, events: EventWriter) -> None:
        self._environment = environment
        self._events = events

    def end(self, connection: Connection, ranges: Sequence[HeldRange], end: End, now: datetime) -> list[Answer]:
        """Put ranges out of use; one that is out of use already is left alone. Tells of each with its unused count."""
        if not ranges:
            return []
        unused = end_ranges(
            connection,
            self._environment,
            [
                (held, self._events.ids.of_fact(end.topic, (held.key.taxpayer_id, str(held.range_id))))
                for held in ranges
            ],
            end.status,
            now=now,
            message=end.message,
            requested_by=end.requested_by,
            detail=end.detail,
        )
        return [
            Answer(
                self._events.range_ended(
                    end.topic,
                    held.key.taxpayer_id,
                    held.as_granted(),
                    unused=unused_of(held, unused[held.range_id]),
                    reason=end.reason,
                    now=now,
                ),
            )
            for held in ranges
            if held.range_id in unused
        ]

    def lower(self, connection: Connection, key: StockKey, now: datetime) -> list[Answer]:
        """Record what level the locked stock has come down to, and tell it: a claim follows where its policy has it."""
        stock = lock_stocks(connection, self._environment, [key])[key]
        return record_crossing(
            connection,
            self._environment,
            self._events,
            read_shelf(connection, self._environment, stock),
            wanted_by=stock.wanted_by,
            waiting=count_waiting(connection, self._environment, key),
            now=now,
        )


def unused_of(held: HeldRange, counted: int) -> int:
    """Tell how many of a range's numbers are unused: as counted here, of a foreign range as its gateway says."""
    if held.status == "foreign" and held.listed_unused is not None:
        return held.listed_unused
    return counted
