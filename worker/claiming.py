"""Claiming: writes the intent to claim, before anybody calls LeQi; `worker.claim_calls` makes the call.

A manual claim is asked for by an operator, an automatic one follows from a stock that ran out.
"""

from collections.abc import Callable, Sequence
from typing import cast
from uuid import uuid4

from sqlalchemy import Connection

from db.asking import ask
from db.claims import add_claim, find_claim, has_open_automatic_claim
from db.ranges import range_of_claim
from db.records import Claim, OrganizationChannel, StockKey
from db.stocks import (
    channel_of_stock,
    channels_of_organizations,
    lock_stocks,
    replenish,
    stocks_without_claim,
)
from schemas.cloudevents import Form
from schemas.events import RangeExhausted, RangeLow
from schemas.reasons import Reason
from schemas.requests import LARGEST_QUANTITY, SMALLEST_QUANTITY, ClaimRequested
from worker.answers import Answer
from worker.clock import Clock, china_date
from worker.decisions.claims import ClaimTerms, automatic_quantity, claimable_years, is_low_no_more
from worker.decoding import Item
from worker.events import EventWriter
from worker.hunger import read_hunger

#: Stocks without a claim that one look takes up.
_MOST_AT_ONCE = 100


class Claiming:
    """Handles `claim-requested`, `range-exhausted` and `range-low`, and looks for stocks without a claim.

    `new_serial` makes a business serial from a using unit's id.
    """

    def __init__(
        self,
        environment: str,
        clock: Clock,
        new_serial: Callable[[str], str],
        next_year_from: tuple[int, int] | None,
        terms: ClaimTerms,
    ) -> None:
        self._environment = environment
        self._clock = clock
        self._new_serial = new_serial
        self._next_year_from = next_year_from
        self._terms = terms
        self._events = EventWriter(environment)
        #: How many automatic claims it recorded so far.
        self.recorded = 0

    def handle_requests(self, connection: Connection, items: Sequence[Item]) -> list[Answer]:
        """Record manual claims; what can't be claimed, and what was settled before, is answered at once."""
        requests = [cast("ClaimRequested", item.request) for item in items]
        channels = ask(
            connection, channels_of_organizations(self._environment, {each.organization for each in requests})
        )
        keys = {self._present_stock(channel) for channel in channels.values()}
        lock_stocks(connection, self._environment, keys)
        answers = [
            self._answer(connection, request, channels.get(request.organization), item)
            for request, item in zip(requests, items, strict=True)
        ]
        return [answer for answer in answers if answer is not None]

    def handle_stock_events(self, connection: Connection, items: Sequence[Item]) -> list[Answer]:
        """Record an automatic claim for each stock whose event tells of its present episode; late copies do nothing."""
        told = [cast("RangeExhausted | RangeLow", item.request) for item in items]
        # A late copy may come in one batch with the present episode's event, before or after it.
        episodes = {(StockKey(each.taxpayer_id, each.channel_mode, each.year), each.episode) for each in told}
        # Only stocks that exist: an event of one that doesn't is none of ours.
        keys = {key for key, _ in episodes}
        known = {key for key in keys if channel_of_stock(connection, self._environment, key) is not None}
        for key, stock in sorted(lock_stocks(connection, self._environment, known).items()):
            if (key, stock.episode) in episodes:
                self.claim_if_needed(connection, key)
        return []

    def claim_for_stocks_without(self, connection: Connection) -> list[Answer]:
        """Record an automatic claim for every stock that ran out and has none: what events missed, and retries."""
        now = self._clock.now()
        years = claimable_years(china_date(now), self._next_year_from)
        keys = stocks_without_claim(connection, self._environment, years, now=now, most=_MOST_AT_ONCE)
        lock_stocks(connection, self._environment, keys)
        for key in keys:
            self.claim_if_needed(connection, key)
        return []

    def claim_if_needed(self, connection: Connection, key: StockKey, *, opening: bool = False) -> None:
        """Record an automatic claim for the stock if it needs one now and none is open; locks the stock.

        `opening`: also where it never had a number and nobody has asked for one yet.
        """
        now = self._clock.now()
        stock = lock_stocks(connection, self._environment, [key])[key]
        channel = channel_of_stock(connection, self._environment, key)
        if channel is None or has_open_automatic_claim(connection, self._environment, *key):
            return
        hunger = read_hunger(connection, self._environment, key, now=now)
        if is_low_no_more(stock, channel, hunger, now):
            replenish(connection, self._environment, key, quantity=None, low_at=0)
            return
        quantity = automatic_quantity(
            stock,
            channel,
            hunger,
            terms=self._terms,
            years=claimable_years(china_date(now), self._next_year_from),
            now=now,
            opening=opening,
        )
        if quantity is None:
            return
        self._add(
            connection,
            key,
            channel,
            claim_id=str(uuid4()),
            claim_mode="automatic",
            organization=stock.wanted_by,
            quantity=quantity,
            episode=stock.episode,
            form=Form.SINGLE,
        )
        self.recorded += 1

    def _answer(
        self,
        connection: Connection,
        request: ClaimRequested,
        channel: OrganizationChannel | None,
        item: Item,
    ) -> Answer | None:
        if channel is None:
            detail = "no organisation of this code is registered: import it with `fuma organizations import`"
            return self._refuse(request, None, Reason.UNKNOWN_ORGANIZATION, detail, item)
        if not SMALLEST_QUANTITY <= request.quantity <= LARGEST_QUANTITY:
            detail = f"a manual claim is for {SMALLEST_QUANTITY} to {LARGEST_QUANTITY} numbers"
            return self._refuse(request, channel, Reason.QUANTITY_OUT_OF_BOUNDS, detail, item)
        before = find_claim(connection, self._environment, channel.taxpayer_id, request.claim_id)
        if before is None:
            self._record(connection, request, channel, item)
            return None
        if (before.organization, before.quantity, before.claim_mode) != (
            request.organization,
            request.quantity,
            "manual",
        ):
            detail = "this claim_id was used before with another organization or quantity"
            return self._refuse(request, channel, Reason.CONFLICTING_REQUEST, detail, item)
        return self._answer_again(connection, before, item)

    def _record(
        self,
        connection: Connection,
        request: ClaimRequested,
        channel: OrganizationChannel,
        item: Item,
    ) -> None:
        self._add(
            connection,
            self._present_stock(channel),
            channel,
            claim_id=request.claim_id,
            claim_mode="manual",
            organization=request.organization,
            quantity=request.quantity,
            requested_by=request.requested_by,
            form=item.form,
            traceparent=item.event.traceparent,
        )

    def _answer_again(self, connection: Connection, claim: Claim, item: Item) -> Answer | None:
        if claim.settled_at is None:
            return None  # Its answer comes when it is settled.
        granted = range_of_claim(connection, self._environment, claim.taxpayer_id, claim.claim_id)
        if claim.status == "granted" and granted is not None:
            return Answer(self._events.range_claimed(claim, granted, claim.settled_at), item.form, item.group)
        event = self._events.claim_failed(
            claim.claim_id,
            taxpayer_id=claim.taxpayer_id,
            quantity=claim.quantity,
            reason=claim.reason or Reason.LEQI_REFUSED,
            detail=claim.detail or "",
            next_attempt_at=None,
            now=claim.settled_at,
            traceparent=claim.traceparent,
            remembered=True,
        )
        return Answer(event, item.form, item.group)

    def _refuse(
        self,
        request: ClaimRequested,
        channel: OrganizationChannel | None,
        reason: Reason,
        detail: str,
        item: Item,
    ) -> Answer:
        event = self._events.claim_failed(
            request.claim_id,
            taxpayer_id=None if channel is None else channel.taxpayer_id,
            quantity=request.quantity,
            reason=reason,
            detail=detail,
            next_attempt_at=None,
            now=self._clock.now(),
            traceparent=item.event.traceparent,
            remembered=False,
        )
        return Answer(event, item.form, item.group)

    def _add(  # noqa: PLR0913 -- a claim's own columns
        self,
        connection: Connection,
        key: StockKey,
        channel: OrganizationChannel,
        *,
        claim_id: str,
        claim_mode: str,
        organization: str | None,
        quantity: int,
        form: Form,
        episode: int | None = None,
        requested_by: str | None = None,
        traceparent: str | None = None,
    ) -> None:
        now = self._clock.now()
        claim = Claim(
            taxpayer_id=key.taxpayer_id,
            claim_id=claim_id,
            claim_mode=claim_mode,
            organization=organization,
            channel_mode=key.channel_mode,
            year=key.year,
            episode=episode,
            quantity=quantity,
            using_unit_id=channel.using_unit_id,
            business_serial=self._new_serial(channel.using_unit_id),
            status="open",
            reason=None,
            detail=None,
            requested_by=requested_by,
            form=form,
            traceparent=traceparent,
            unknown_outcomes=0,
            created_at=now,
            next_attempt_at=now,
            settled_at=None,
        )
        add_claim(connection, self._environment, claim)

    def _present_stock(self, channel: OrganizationChannel) -> StockKey:
        return StockKey(channel.taxpayer_id, channel.channel_mode, self._clock.year())
