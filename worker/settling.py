"""Settling: what a claim's answer changes, in one transaction under the locks of the stocks concerned."""

import random
from datetime import datetime, timedelta

from sqlalchemy import Connection

from db.claims import change_claim, lock_claim, throttle
from db.records import Claim, Stock, StockKey
from db.stocks import channel_of_stock, lock_stocks, replenish, set_claiming
from schemas.cloudevents import Form
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import ChannelMode
from worker.answers import Answer
from worker.clock import Clock, china_date, start_of_day, start_of_year
from worker.decisions.claims import (
    LONG_WAIT,
    THROTTLE_WAIT,
    ClaimTerms,
    is_unresolved,
    limit_of_next_claim,
    low_at,
    reclaim_wait,
    replay_wait,
)
from worker.decisions.grants import BadGrant, GoodGrant, check_grant
from worker.events import Event, EventWriter
from worker.hunger import read_hunger
from worker.leqi.port import Answer as LeqiAnswer
from worker.leqi.port import Granted, Refused, Throttled, Unknown
from worker.stocking import Stocking

#: More failed claims in a row than this are not counted: the wait for the next one has long stopped growing.
_MOST_FAILED_CLAIMS = 100


class Settling:
    """Settles claims, or puts them off, by what LeQi answered."""

    def __init__(
        self,
        environment: str,
        direct_unit_id: str,
        clock: Clock,
        abandon_after: timedelta,
        terms: ClaimTerms,
    ) -> None:
        self._environment = environment
        self._direct_unit_id = direct_unit_id
        self._clock = clock
        self._abandon_after = abandon_after
        self._terms = terms
        # Spreads the replays of many workers; nothing secret hangs on it.
        self._chance = random.Random()  # noqa: S311
        self._events = EventWriter(environment)
        self._stocking = Stocking(environment, self._events)

    def settle(self, connection: Connection, claim: Claim, answer: LeqiAnswer) -> list[Answer]:
        """Store what the answer says; gives the events to publish.

        A claim that was settled meanwhile is left alone: a replay brings the same range.
        """
        now = self._clock.now()
        present_year = china_date(now).year
        grant = _checked(claim, answer, present_year)
        stocks = lock_stocks(connection, self._environment, {claim.stock_key, *_stock_of(claim, grant)})
        claim = lock_claim(connection, self._environment, claim.taxpayer_id, claim.claim_id)
        if claim.settled_at is not None:
            return []
        match grant:
            case GoodGrant():
                return self._grant(connection, claim, grant, stocks, now)
            case BadGrant():
                return self._quarantine(connection, claim, grant, stocks[claim.stock_key], now)
            case None:
                return self._without_grant(connection, claim, answer, stocks[claim.stock_key], now)

    def put_off(self, connection: Connection, claim: Claim, answer: LeqiAnswer, fault: str) -> list[Answer]:
        """Record that `answer` can't be stored, for `fault`: one more outcome of the claim that is not known.

        So it is asked for again, ever more rarely, and told of as any other such claim; a grant is not lost, LeQi
        brings it again. A claim that was settled meanwhile is left alone. Gives the events to publish.
        """
        now = self._clock.now()
        stock = lock_stocks(connection, self._environment, {claim.stock_key})[claim.stock_key]
        claim = lock_claim(connection, self._environment, claim.taxpayer_id, claim.claim_id)
        if claim.settled_at is not None:
            return []
        grant = _checked(claim, answer, china_date(now).year)
        granted = f"LeQi granted {grant.first} to {grant.last}, but its" if isinstance(grant, GoodGrant) else "LeQi's"
        detail = f"{granted} answer can't be stored ({fault}): see the worker's log"
        return self._unknown(connection, claim, stock, Reason.NOT_STORED, detail, now)

    def _without_grant(
        self,
        connection: Connection,
        claim: Claim,
        answer: LeqiAnswer,
        stock: Stock,
        now: datetime,
    ) -> list[Answer]:
        match answer:
            case Throttled():
                return self._throttled(connection, claim, answer, now)
            case Refused() if claim.unknown_outcomes == 0:
                return self._refused(connection, claim, stock, answer, now)
            case Refused():
                # An earlier call of this claim may have granted: a refusal of its replay settles nothing.
                return self._unknown(connection, claim, stock, Reason.LEQI_REFUSED, _refusal(answer), now)
            case Unknown():
                return self._unknown(connection, claim, stock, Reason.LEQI_UNREACHABLE, answer.detail, now)
            case Granted():
                message = "a grant was checked before"
                raise AssertionError(message)

    def _grant(
        self,
        connection: Connection,
        claim: Claim,
        grant: GoodGrant,
        stocks: dict[StockKey, Stock],
        now: datetime,
    ) -> list[Answer]:
        key = StockKey(claim.taxpayer_id, claim.channel_mode, grant.first.year)
        if self._stocking.overlaps(connection, grant.first, grant.last):
            bad = BadGrant("its numbers overlap a range that is held already", grant.first, grant.last)
            return self._quarantine(connection, claim, bad, stocks[claim.stock_key], now)
        self._close(connection, claim, "granted", None, None, now)
        if claim.claim_mode == "automatic":
            self._plan_next_claim(connection, claim, stocks[claim.stock_key], key, now)
        stored = self._stocking.store(connection, claim, key, grant, now)
        told = self._events.range_claimed(claim, stored, now)
        claimed = Answer(told, Form(claim.form))
        if claim.claim_mode == "manual":
            self._stocking.split(connection, claim, stored, told, now)
            return [claimed]
        low_at = self._low_at(connection, key, claim.quantity, now)
        replenish(connection, self._environment, key, quantity=claim.quantity, low_at=low_at)
        return [claimed, *self._stocking.serve_waiting(connection, key, now)]

    def _low_at(self, connection: Connection, key: StockKey, quantity: int, now: datetime) -> int:
        """From where on the stock, which has the grant, is low; 0 where nobody claims for it any more."""
        channel = channel_of_stock(connection, self._environment, key)
        if channel is None:
            return 0
        return low_at(channel, quantity, read_hunger(connection, self._environment, key, now=now), self._terms)

    def _plan_next_claim(
        self,
        connection: Connection,
        claim: Claim,
        stock: Stock,
        granted_key: StockKey,
        now: datetime,
    ) -> None:
        if granted_key == claim.stock_key:
            self._set_claiming(connection, stock, None, None, 0)
        else:
            # January's claim may still bring the old year (contract, rule 9): ask again, for little. In December, for
            # next year's stock, not before the next day: what it brings may be more than this year needs.
            today = china_date(now)
            early = claim.year > today.year
            not_before = start_of_day(today + timedelta(days=1)) if early else now + LONG_WAIT
            self._set_claiming(connection, stock, not_before, self._terms.cautious, 0)

    def _quarantine(
        self,
        connection: Connection,
        claim: Claim,
        bad: BadGrant,
        stock: Stock,
        now: datetime,
    ) -> list[Answer]:
        retry_at = self._put_off_next_claim(connection, claim, stock, now)
        self._close(connection, claim, "quarantined", Reason.GRANT_INVALID, bad.detail, now)
        failed = Answer(self._failed(claim, Reason.GRANT_INVALID, bad.detail, retry_at, now), Form(claim.form))
        stored = self._stocking.quarantine(connection, claim, bad, now)
        if stored is None:
            return [failed]
        quarantined = self._events.range_ended(
            Topic.RANGE_QUARANTINED,
            claim.taxpayer_id,
            stored,
            unused=stored.last_sequence - stored.first_sequence + 1,
            reason=Reason.GRANT_INVALID,
            now=now,
        )
        return [failed, Answer(quarantined)]

    def _refused(
        self,
        connection: Connection,
        claim: Claim,
        stock: Stock,
        answer: Refused,
        now: datetime,
    ) -> list[Answer]:
        retry_at = self._put_off_next_claim(connection, claim, stock, now)
        detail = _refusal(answer)
        self._close(connection, claim, "refused", Reason.LEQI_REFUSED, detail, now)
        return [Answer(self._failed(claim, Reason.LEQI_REFUSED, detail, retry_at, now), Form(claim.form))]

    def _throttled(self, connection: Connection, claim: Claim, answer: Throttled, now: datetime) -> list[Answer]:
        until = now + THROTTLE_WAIT
        throttle(
            connection,
            self._environment,
            self._direct_unit_id,
            until=until,
            concurrency=answer.concurrency,
        )
        self._put_off(connection, claim, claim.status, Reason.LEQI_THROTTLED, answer.message, until)
        event = self._events.claim_unresolved(
            claim,
            reason=Reason.LEQI_THROTTLED,
            detail=answer.message,
            next_attempt_at=until,
            now=now,
        )
        return [Answer(event, Form(claim.form))]

    def _unknown(
        self,
        connection: Connection,
        claim: Claim,
        stock: Stock,
        reason: Reason,
        detail: str,
        now: datetime,
    ) -> list[Answer]:
        if now - claim.created_at > self._abandon_after:
            detail = f"given up after {self._abandon_after.days} days without a definite answer; {detail}"
            self._close(connection, claim, "abandoned", reason, detail, now)
            return [Answer(self._failed(claim, reason, detail, None, now), Form(claim.form))]
        outcomes = claim.unknown_outcomes + 1
        status = "unresolved" if is_unresolved(outcomes) else claim.status
        next_at = now + replay_wait(outcomes, self._chance.random())
        self._put_off(connection, claim, status, reason, detail, next_at, unknown_outcomes=outcomes)
        if status == claim.status:
            return []
        # It may be granted later, and so may each that follows: while LeQi is away they are not to pile up.
        self._put_off_next_claim(connection, claim, stock, now)
        event = self._events.claim_unresolved(claim, reason=reason, detail=detail, next_attempt_at=next_at, now=now)
        return [Answer(event, Form(claim.form))]

    def _put_off_next_claim(
        self,
        connection: Connection,
        claim: Claim,
        stock: Stock,
        now: datetime,
    ) -> datetime | None:
        """Let the stock's next automatic claim wait; a manual claim, or one given up before, changes nothing."""
        if claim.claim_mode == "manual" or claim.status != "open":
            return None
        failed = min(stock.failed_claims + 1, _MOST_FAILED_CLAIMS)
        retry_at = now + reclaim_wait(failed)
        at_most = limit_of_next_claim(stock, start_of_year(stock.key.year), now)
        self._set_claiming(connection, stock, retry_at, at_most, failed)
        return retry_at

    def _set_claiming(
        self,
        connection: Connection,
        stock: Stock,
        not_before: datetime | None,
        at_most: int | None,
        failed_claims: int,
    ) -> None:
        set_claiming(
            connection,
            self._environment,
            stock.key,
            not_before=not_before,
            at_most=at_most,
            failed_claims=failed_claims,
        )

    def _put_off(
        self,
        connection: Connection,
        claim: Claim,
        status: str,
        reason: Reason,
        detail: str,
        next_at: datetime,
        *,
        unknown_outcomes: int | None = None,
    ) -> None:
        change_claim(
            connection,
            self._environment,
            claim,
            status=status,
            reason=reason,
            detail=detail,
            next_attempt_at=next_at,
            calling_until=None,
            unknown_outcomes=claim.unknown_outcomes if unknown_outcomes is None else unknown_outcomes,
        )

    def _close(
        self,
        connection: Connection,
        claim: Claim,
        status: str,
        reason: Reason | None,
        detail: str | None,
        now: datetime,
    ) -> None:
        change_claim(
            connection,
            self._environment,
            claim,
            status=status,
            reason=reason,
            detail=detail,
            next_attempt_at=None,
            calling_until=None,
            settled_at=now,
        )

    def _failed(
        self,
        claim: Claim,
        reason: Reason,
        detail: str,
        retry_at: datetime | None,
        now: datetime,
    ) -> Event:
        return self._events.claim_failed(
            claim.claim_id,
            taxpayer_id=claim.taxpayer_id,
            quantity=claim.quantity,
            reason=reason,
            detail=detail,
            next_attempt_at=retry_at,
            now=now,
            traceparent=claim.traceparent,
            remembered=True,
        )


def _checked(claim: Claim, answer: LeqiAnswer, present_year: int) -> GoodGrant | BadGrant | None:
    if not isinstance(answer, Granted):
        return None
    return check_grant(
        answer.first_number,
        answer.last_number,
        answer.quantity,
        asked=claim.quantity,
        channel_mode=ChannelMode(claim.channel_mode),
        present_year=present_year,
    )


def _stock_of(claim: Claim, grant: GoodGrant | BadGrant | None) -> list[StockKey]:
    """The stock that the grant belongs to: that of its own prefix's year."""
    if grant is None or grant.first is None:
        return []
    return [StockKey(claim.taxpayer_id, claim.channel_mode, grant.first.year)]


def _refusal(answer: Refused) -> str:
    return f"LeQi refused with code {answer.code}: {answer.message}"
