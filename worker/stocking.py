"""Stocking: a granted range comes to the stock, and whoever waits for it is served first (contract, rule 2)."""

from datetime import datetime
from uuid import uuid4

from sqlalchemy import Connection

from db.issue_requests import count_waiting, serve_requests, waiting_requests
from db.numbers import AssignedNumber, add_assigned_numbers, split_range
from db.ranges import add_range, move_cursors, open_ranges, overlaps_held_range
from db.records import Claim, GrantedRange, Stock, StockKey, TakenNumber, WaitingRequest
from db.stocks import replenish
from schemas.cloudevents import Form
from schemas.invoice_number import InvoiceNumber
from worker.answers import Answer
from worker.decisions.grants import BadGrant, GoodGrant
from worker.decisions.shelf import Shelf
from worker.events import EventWriter, Number
from worker.exhaustion import record_exhaustion

#: The group of answers to requests that waited: those of one taxpayer that came in batches are answered in batches.
_WAITED = -1


class Stocking:
    """Puts ranges into locked stocks."""

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
        following = grant.last.sequence + 1 if manual else grant.first.sequence
        return self._add(
            connection,
            claim,
            key,
            grant.first,
            grant.last,
            following=following,
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

    def split(self, connection: Connection, taxpayer_id: str, stored: GrantedRange) -> None:
        """Split a manual range into its single numbers (拆分)."""
        split_range(connection, self._environment, taxpayer_id, stored.range_id)

    def serve_waiting(
        self,
        connection: Connection,
        stock: Stock,
        stored: GrantedRange,
        now: datetime,
    ) -> list[Answer]:
        """Re-arm the stock, and give the new numbers to those who wait for it, in their order."""
        quantity = stored.last_sequence - stored.first_sequence + 1
        replenish(connection, self._environment, stock.key, quantity)
        shelf = Shelf(stock, open_ranges(connection, self._environment, [stock.key])[stock.key])
        waiting = waiting_requests(connection, self._environment, stock.key, most=shelf.remaining)
        served = [(request, taken) for request in waiting if (taken := shelf.take()) is not None]
        self._assign(connection, stock.key.taxpayer_id, served, now)
        move_cursors(connection, self._environment, shelf.cursors, now=now)
        answers = [self._assigned(request, taken, now) for request, taken in served]
        if shelf.remaining == 0:
            # Used up in its own transaction: a new exhaustion, which leads to the next claim.
            still = count_waiting(connection, self._environment, stock.key)
            wanted_by = served[-1][0].organization if served else stock.wanted_by
            answers.append(
                record_exhaustion(
                    connection,
                    self._environment,
                    self._events,
                    shelf,
                    wanted_by=wanted_by,
                    waiting=still,
                    now=now,
                ),
            )
        return answers

    def _assign(
        self,
        connection: Connection,
        taxpayer_id: str,
        served: list[tuple[WaitingRequest, TakenNumber]],
        now: datetime,
    ) -> None:
        if not served:
            return
        serve_requests(
            connection,
            self._environment,
            taxpayer_id,
            [request.key.issue_request_id for request, _ in served],
        )
        numbers = [
            AssignedNumber(
                taxpayer_id,
                taken.prefix,
                taken.sequence,
                taken.range_id,
                taken.range_first,
                taken.range_last,
                request.key.issue_request_id,
                request.issue_date,
            )
            for request, taken in served
        ]
        add_assigned_numbers(connection, self._environment, numbers, now=now)

    def _assigned(self, request: WaitingRequest, taken: TakenNumber, now: datetime) -> Answer:
        event = self._events.number_assigned(
            request.key,
            organization=request.organization,
            issue_date=request.issue_date,
            kind=request.kind,
            number=Number(taken.prefix, taken.sequence, taken.range_id, "automatic", now),
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
