"""Stocking: numbers come to a stock, and whoever waits for it is served first (contract, rule 2).

Whatever brings a number goes this way: a grant, a released range, a released number, a resumed taxpayer.
"""

from datetime import datetime
from uuid import UUID, uuid4

from sqlalchemy import Connection

from db.asking import carry_out
from db.issue_requests import count_waiting, serve_requests, waiting_requests
from db.numbers import AssignedNumber, assign_numbers, split_range
from db.ranges import add_range, close_used_up_ranges, move_cursors, overlaps_held_range
from db.records import Claim, GrantedRange, StockKey, TakenNumber, WaitingRequest
from db.stocks import lock_stocks
from db.usage import add_usage
from schemas.cloudevents import Form
from schemas.invoice_number import InvoiceNumber
from worker.answers import Answer
from worker.decisions.grants import BadGrant, GoodGrant
from worker.events import Event, EventWriter, Number
from worker.levels import read_shelf, record_crossing

#: The group of answers to requests that waited: those of one taxpayer that came in batches are answered in batches.
_WAITED = -1

#: Waiting requests that are served in one go; a stock that still has numbers then goes on with the next ones.
_MOST_AT_ONCE = 5000


class Stocking:
    """Puts numbers into locked stocks."""

    def __init__(self, environment: str, events: EventWriter) -> None:
        self._environment = environment
        self._events = events

    def overlaps(self, connection: Connection, first: InvoiceNumber, last: InvoiceNumber) -> bool:
        """Whether a range that is held shares a number with this one."""
        return overlaps_held_range(connection, self._environment, first.prefix, first.sequence, last.sequence)

    def store(
        self,
        connection: Connection,
        claim: Claim,
        key: StockKey,
        grant: GoodGrant,
        now: datetime,
    ) -> GrantedRange:
        """Store a good grant as an active range; a manual one has its cursor at the end, for it is split."""
        manual = claim.claim_mode == "manual"
        return self._add(
            connection,
            claim,
            key,
            grant.first,
            grant.last,
            following=grant.last.sequence + 1 if manual else grant.first.sequence,
            status="active",
            detail=None,
            now=now,
        )

    def quarantine(self, connection: Connection, claim: Claim, bad: BadGrant, now: datetime) -> GrantedRange | None:
        """Store a bad grant, so that its numbers are seen and never used; None where its extent can't be read."""
        if bad.first is None or bad.last is None:
            return None
        key = StockKey(claim.taxpayer_id, claim.channel_mode, bad.first.year)
        return self._add(
            connection,
            claim,
            key,
            bad.first,
            bad.last,
            following=bad.first.sequence,
            status="quarantined",
            detail=bad.detail,
            now=now,
        )

    def split(self, connection: Connection, claim: Claim, stored: GrantedRange, told_by: Event, now: datetime) -> None:
        """Split a manual range into its single numbers (拆分)."""
        split_range(
            connection,
            self._environment,
            claim.taxpayer_id,
            stored.range_id,
            now=now,
            message=f"claim {claim.claim_id}",
            requested_by=claim.requested_by,
            event_id=UUID(told_by.event_id),
        )

    def serve_waiting(self, connection: Connection, key: StockKey, now: datetime) -> list[Answer]:
        """Give what the locked stock has to those who wait for it, in their order; tells what level is left.

        It ends with the stock or with its queue: whoever came later would pass those who wait still.
        Its row must say what came: `db.stocks.replenish` or `lower` goes before.
        """
        answers, more = self._serve_some(connection, key, now)
        while more:
            following, more = self._serve_some(connection, key, now)
            answers += following
        return answers

    def _serve_some(self, connection: Connection, key: StockKey, now: datetime) -> tuple[list[Answer], bool]:
        """Serve the first who wait; tells too whether others may be left whom the stock can serve."""
        stock = lock_stocks(connection, self._environment, [key])[key]
        if stock.paused:
            return [], False
        shelf = read_shelf(connection, self._environment, stock)
        most = min(shelf.remaining, _MOST_AT_ONCE)
        waiting = waiting_requests(connection, self._environment, key, most=most)
        served = [(request, taken) for request in waiting if (taken := shelf.take()) is not None]
        carry_out(connection, move_cursors(self._environment, shelf.cursors, now=now))
        self._assign(connection, served, now)
        pooled = any(not taken.is_fresh for _, taken in served)
        used = {(key.taxpayer_id, key.channel_mode): shelf.taken}
        carry_out(
            connection,
            [
                *close_used_up_ranges(self._environment, [key.taxpayer_id] if pooled else [], now=now),
                *add_usage(self._environment, used, now=now),
            ],
        )
        answers = [self._assigned(request, taken, now) for request, taken in served]
        still = count_waiting(connection, self._environment, key) if shelf.remaining == 0 else 0
        wanted_by = served[-1][0].organization if served else stock.wanted_by
        answers += record_crossing(
            connection,
            self._environment,
            self._events,
            shelf,
            wanted_by=wanted_by,
            waiting=still,
            now=now,
        )
        return answers, len(served) == _MOST_AT_ONCE

    def serve_with(
        self,
        connection: Connection,
        request: WaitingRequest,
        taken: TakenNumber,
        now: datetime,
    ) -> Answer:
        """Give one waiting request this number, whatever the stock holds."""
        self._assign(connection, [(request, taken)], now)
        return self._assigned(request, taken, now)

    def _assign(
        self,
        connection: Connection,
        served: list[tuple[WaitingRequest, TakenNumber]],
        now: datetime,
    ) -> None:
        if not served:
            return
        taxpayer_id = served[0][0].key.taxpayer_id
        ids = [request.key.issue_request_id for request, _ in served]
        serve_requests(connection, self._environment, taxpayer_id, ids)
        numbers = [
            AssignedNumber(
                taxpayer_id,
                taken,
                request.key.issue_request_id,
                request.issue_date,
                request.message,
                self._events.ids.of_assignment(request.key, taken),
            )
            for request, taken in served
        ]
        carry_out(connection, assign_numbers(self._environment, numbers, now=now))

    def _assigned(self, request: WaitingRequest, taken: TakenNumber, now: datetime) -> Answer:
        event = self._events.number_assigned(
            request.key,
            organization=request.organization,
            issue_date=request.issue_date,
            kind=request.kind,
            number=Number(
                taken.prefix,
                taken.sequence,
                taken.range_id,
                taken.claim_mode,
                now,
                self._events.ids.of_assignment(request.key, taken),
            ),
            traceparent=request.traceparent,
        )
        return Answer(event, Form(request.form), _WAITED)

    def _add(  # noqa: PLR0913 -- a range's own columns
        self,
        connection: Connection,
        claim: Claim,
        key: StockKey,
        first: InvoiceNumber,
        last: InvoiceNumber,
        *,
        following: int,
        status: str,
        detail: str | None,
        now: datetime,
    ) -> GrantedRange:
        range_id = uuid4()
        add_range(
            connection,
            self._environment,
            key,
            range_id=range_id,
            prefix=first.prefix,
            first_sequence=first.sequence,
            last_sequence=last.sequence,
            next_sequence=following,
            claim_mode=claim.claim_mode,
            status=status,
            claim_id=claim.claim_id,
            organization=claim.organization,
            detail=detail,
            created_at=now,
        )
        return GrantedRange(range_id, key.year, first.prefix, first.sequence, last.sequence, status)
