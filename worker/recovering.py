"""Recovering: a restored database is taken into use again, and nothing that it held is (`fuma recovered`).

It has forgotten which numbers were given out since its backup, so no number of any range that it knows is given out
any more; fresh ranges are claimed. A number that a request holds stays its own, but unless it is used it is in doubt:
its upload may have failed since, and another request may have got it. It is told to nobody who asks anew, until what
became of its upload is reported, or an operator stands for it (`fuma ranges confirm`).
Claims that it knows as undecided may have been granted and used up since: their replay would bring ranges whose numbers
stand on invoices, so they are given up.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection

from db.claims import undecided_claims
from db.fence import record_recovery
from db.held_ranges import HeldRange, confirm_ranges, ranges_in_use
from db.records import Claim, StockKey
from db.stocks import begin_anew, every_stock, lock_stocks
from schemas.reasons import Reason
from schemas.vocabulary import RangeStatus
from worker.abandoning import abandon_claims
from worker.answers import Answer
from worker.clock import Clock
from worker.ending import End, Ending
from worker.events import EventWriter

#: More times than a stock can have run out between a backup and the recovery.
_EPISODES_AHEAD = 1_000_000

#: Ranges of one statement.
_PORTION = 1000


@dataclass(frozen=True, slots=True)
class Recovery:
    """What a recovery put out of use."""

    ranges: int
    claims: int
    stocks: int


class Recovering:
    """Takes a restored database into use."""

    def __init__(self, environment: str, clock: Clock) -> None:
        self._environment = environment
        self._clock = clock
        self._events = EventWriter(environment)
        self._ending = Ending(environment, self._events)

    def recover(
        self,
        connection: Connection,
        *,
        reason: str,
        requested_by: str,
    ) -> tuple[Recovery, list[Answer]]:
        """Quarantine every range that a number could come from, give up undecided claims, and record the database.

        Foreign ranges too: one may have been released and used since the backup. Numbers that nobody held expire with
        their ranges; those on invoices stay as the backup knows them. Stocks that had numbers have run out by it, so
        that fresh ranges are claimed at once, and whoever waits is served from those.
        All in one transaction: nobody sees a database that is recovered by half.
        """
        now = self._clock.now()
        lock_stocks(connection, self._environment, every_stock(connection, self._environment))
        ranges = ranges_in_use(connection, self._environment)
        claims = undecided_claims(connection, self._environment, None)
        record_recovery(connection, now=now)
        answers = self._quarantine(connection, ranges, reason, requested_by, now)
        answers += self._abandon(connection, claims, reason, now)
        begin_anew(connection, self._environment, episodes=_EPISODES_AHEAD)
        ran_out = _stocks_of(ranges)
        for key in sorted(ran_out):
            answers += self._ending.lower(connection, key, now)
        return Recovery(len(ranges), len(claims), len(ran_out)), answers

    def confirm(
        self,
        connection: Connection,
        *,
        taxpayer_id: str | None,
        range_id: UUID | None,
        reason: str,
        requested_by: str,
    ) -> int:
        """Take an operator's word that the requests still hold the numbers that the restored database knows as theirs.

        Of one range that a recovery put out of use, of a taxpayer's, or of all. From then on they are told again to
        whoever asks anew. Tells how many ranges it was that were in doubt.
        """
        return confirm_ranges(
            connection,
            self._environment,
            taxpayer_id=taxpayer_id,
            range_id=range_id,
            detail=f"confirmed by {requested_by}: {reason}",
            now=self._clock.now(),
        )

    def _quarantine(
        self,
        connection: Connection,
        ranges: list[HeldRange],
        reason: str,
        requested_by: str,
        now: datetime,
    ) -> list[Answer]:
        end = End(RangeStatus.QUARANTINED, Reason.RESTORED, "recovered", requested_by, f"recovered: {reason}")
        answers: list[Answer] = []
        for start in range(0, len(ranges), _PORTION):
            answers += self._ending.end(connection, ranges[start : start + _PORTION], end, now)
        return answers

    def _abandon(self, connection: Connection, claims: list[Claim], reason: str, now: datetime) -> list[Answer]:
        return abandon_claims(
            connection,
            self._environment,
            self._events,
            claims,
            reason=Reason.RESTORED,
            detail=f"its range may have been used since the backup; recovered: {reason}",
            now=now,
        )


def _stocks_of(ranges: list[HeldRange]) -> set[StockKey]:
    """The stocks that had automatic numbers to give, or released ones."""
    return {held.key for held in ranges if held.status == "active" and held.claim_mode == "automatic"}
