"""Retiring: a move to another province kills all ranges claimed before it (domain rule 7)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import Connection

from db.claims import undecided_claims
from db.held_ranges import HeldRange, count_free, ranges_in_use
from db.records import Claim
from db.stocks import channel_modes, lock_stocks_of_taxpayers, set_claiming
from schemas.reasons import Reason
from schemas.vocabulary import RangeStatus
from worker.abandoning import abandon_claims
from worker.answers import Answer
from worker.clock import Clock, start_of_day
from worker.ending import End, Ending, unused_of
from worker.events import EventWriter


class RetiringRefusedError(Exception):
    """Nothing can be retired for this taxpayer; the text says why."""


@dataclass(frozen=True, slots=True)
class Retirement:
    """What goes out of use: ranges with the numbers of them that nobody holds, and claims without an answer yet."""

    ranges: Sequence[tuple[HeldRange, int]]
    claims: Sequence[Claim]


class Retiring:
    """Retires a taxpayer's ranges that were claimed before a day."""

    def __init__(self, environment: str, clock: Clock) -> None:
        self._environment = environment
        self._clock = clock
        self._events = EventWriter(environment)
        self._ending = Ending(environment, self._events)

    def foresee(self, connection: Connection, taxpayer_id: str, before: date) -> Retirement:
        """Tell what would be retired; changes nothing. Raises `RetiringRefusedError`."""
        if not channel_modes(connection, self._environment, taxpayer_id):
            message = f"no organisation of {taxpayer_id} is registered: `fuma organizations list` shows those that are"
            raise RetiringRefusedError(message)
        instant = start_of_day(before)
        found = ranges_in_use(connection, self._environment, taxpayer_id=taxpayer_id, claimed_before=instant)
        free = count_free(connection, self._environment, found)
        undecided = undecided_claims(connection, self._environment, taxpayer_id)
        return Retirement(
            [(held, unused_of(held, free[held.range_id])) for held in found],
            [claim for claim in undecided if claim.created_at < instant],
        )

    def retire(
        self,
        connection: Connection,
        taxpayer_id: str,
        before: date,
        *,
        reason: str,
        requested_by: str,
    ) -> tuple[Retirement, list[Answer]]:
        """End every range claimed before the day begins in China, with its numbers that nobody holds.

        Claims made before it that have no answer yet are given up: LeQi may have granted them before the move.
        Who waits goes on waiting; a stock that ran out by it is claimed for anew.
        Raises `RetiringRefusedError`.
        """
        now = self._clock.now()
        lock_stocks_of_taxpayers(connection, self._environment, [taxpayer_id])
        retirement = self.foresee(connection, taxpayer_id, before)
        end = End(RangeStatus.RETIRED, Reason.RETIRED, "retire-ranges", requested_by, f"retired: {reason}")
        answers = self._ending.end(connection, [held for held, _ in retirement.ranges], end, now)
        answers += abandon_claims(
            connection,
            self._environment,
            self._events,
            retirement.claims,
            reason=Reason.RETIRED,
            detail=f"claimed before {before.isoformat()}, and retired: {reason}",
            now=now,
        )
        for key in sorted({claim.stock_key for claim in retirement.claims}):
            # The next claim need not wait for what the last one was put off for, nor ask for less.
            set_claiming(connection, self._environment, key, not_before=None, at_most=None, failed_claims=0)
        # A stock that had only manual ranges did not run out by it.
        gave = {held.key for held, _ in retirement.ranges if held.status == "active" and held.claim_mode == "automatic"}
        for key in sorted(gave):
            answers += self._ending.lower(connection, key, now)
        return retirement, answers
