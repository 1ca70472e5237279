"""Outcomes: what became of an upload moves its number: used for ever, back to the pool, voided, or held."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from uuid import UUID

from sqlalchemy import Connection

from db.asking import ask, carry_out
from db.issue_requests import close_requests, find_requests, remember_messages
from db.numbers import NumberChange, change_numbers, find_numbers, owners_of_numbers
from db.outcomes import OverdueNumber, add_outcomes, find_outcomes, take_overdue_numbers
from db.ranges import reopen_range
from db.records import KnownOutcome, KnownRequest, RequestKey, Stock, StockKey
from db.stocks import channels_of_organizations, lock_stocks_of_taxpayers, lower, replenish
from schemas.invoice_number import InvoiceNumber, format_number
from schemas.reasons import Reason
from schemas.requests import InvoiceOutcome
from schemas.topics import Topic
from worker.answers import Answer
from worker.clock import Clock
from worker.decisions.outcomes import Known, Moved, NumberKey, Refused, Repeated, Reported, Verdict, decide
from worker.decoding import Item, message_of
from worker.events import Event, EventWriter
from worker.expiry import first_living_year
from worker.stocking import Stocking

_TOLD_BY = {
    "used": Topic.NUMBER_USED,
    "available": Topic.NUMBER_RELEASED,
    "voided": Topic.NUMBER_VOIDED,
    "held": Topic.NUMBER_HELD,
}

#: Why a request was closed that lost its number.
_CLOSED_BECAUSE = {"available": "released", "voided": "voided"}

#: Overdue numbers that one transaction tells of, or a few more.
_MOST_AT_ONCE = 5000


class Outcomes:
    """Handles `invoice-outcome`, and tells of numbers that have waited too long for one.

    `grace` after New Year a number of the old year may still come back.
    """

    def __init__(self, environment: str, clock: Clock, grace: timedelta) -> None:
        self._environment = environment
        self._clock = clock
        self._grace = grace
        self._events = EventWriter(environment)
        self._stocking = Stocking(environment, self._events)

    def handle(self, connection: Connection, items: Sequence[Item]) -> list[Answer]:
        """Move the numbers of a batch of outcomes; who waits for a number that came back has it before the commit."""
        now = self._clock.now()
        codes = {_request(item).organization for item in items}
        channels = ask(connection, channels_of_organizations(self._environment, codes))
        reports = [
            _reported(position, _request(item), channels[_request(item).organization].taxpayer_id)
            for position, item in enumerate(items)
            if _request(item).organization in channels
        ]
        stocks = lock_stocks_of_taxpayers(connection, self._environment, {each.key.taxpayer_id for each in reports})
        known = self._known(connection, reports)
        verdicts = decide(reports, known, first_living_year(now, self._grace))
        moves = [verdict for verdict in verdicts if isinstance(verdict, Moved)]
        self._move(connection, moves, items, now)
        self._let_go(connection, moves, known.requests)
        answers = [self._answer(verdict, items[verdict.reported.position], now) for verdict in verdicts]
        answers += [
            self._unknown_organization(item, now) for item in items if _request(item).organization not in channels
        ]
        return answers + self._return(connection, moves, stocks, now)

    def tell_overdue(self, connection: Connection, limit: timedelta) -> list[Answer]:
        """Tell once of each number that was assigned longer than `limit` ago and has no definite outcome."""
        now = self._clock.now()
        overdue = take_overdue_numbers(connection, self._environment, until=now - limit, most=_MOST_AT_ONCE)
        return [Answer(self._overdue(each, now)) for each in overdue]

    def _known(self, connection: Connection, reports: Sequence[Reported]) -> Known:
        numbers = {each.number for each in reports}
        found = find_numbers(connection, self._environment, numbers)
        present = {NumberKey(*key): number for key, number in found.items()}
        absent = numbers - present.keys()
        owners = owners_of_numbers(connection, self._environment, [(each.prefix, each.sequence) for each in absent])
        return Known(
            find_outcomes(connection, self._environment, {each.name for each in reports}),
            ask(connection, find_requests(self._environment, {each.key for each in reports})),
            present,
            {each: owners[each.prefix, each.sequence] for each in absent if (each.prefix, each.sequence) in owners},
        )

    def _move(self, connection: Connection, moves: Sequence[Moved], items: Sequence[Item], now: datetime) -> None:
        for round_ in _rounds(moves):
            changes = [
                NumberChange(
                    each.number,
                    each.became,
                    message_of(items[each.reported.position].event),
                    self._event_id(each),
                )
                for each in round_
            ]
            change_numbers(connection, self._environment, changes, now=now)
        add_outcomes(connection, self._environment, [self._done(each, now) for each in moves])

    def _let_go(
        self,
        connection: Connection,
        moves: Sequence[Moved],
        requests: Mapping[RequestKey, KnownRequest],
    ) -> None:
        """Close the requests that lost their number; the messages that they were answered to bring no new one."""
        lost: dict[tuple[str, str], list[RequestKey]] = {}
        for each in moves:
            if each.became in _CLOSED_BECAUSE:
                lost.setdefault((each.reported.key.taxpayer_id, each.became), []).append(each.reported.key)
        for (taxpayer_id, became), keys in sorted(lost.items()):
            ids = [key.issue_request_id for key in keys]
            because = _CLOSED_BECAUSE[became]
            close_requests(connection, self._environment, taxpayer_id, ids, status="assigned", because=because)
        answered = [(key, requests[key].message) for keys in lost.values() for key in keys]
        remembered = [(key, message) for key, message in answered if message is not None]
        carry_out(connection, remember_messages(self._environment, remembered))

    def _return(
        self,
        connection: Connection,
        moves: Sequence[Moved],
        stocks: Mapping[StockKey, Stock],
        now: datetime,
    ) -> list[Answer]:
        """Put numbers back where they came from: an automatic one into its stock, whose queue is served first."""
        returned = [each.number for each in moves if each.became == "available"]
        for taxpayer_id, range_id in sorted({(each.taxpayer_id, each.taken.range_id) for each in returned}):
            reopen_range(connection, self._environment, taxpayer_id, range_id)
        keys = {StockKey(each.taxpayer_id, each.channel_mode, each.year) for each in returned if not each.is_manual}
        answers: list[Answer] = []
        for key in sorted(key for key in keys if stocks[key].level == "exhausted"):
            if stocks[key].low_at > 0:
                lower(connection, self._environment, key, wanted_by=None)
            else:
                # It is claimed for only when it is empty, and now it isn't.
                replenish(connection, self._environment, key, quantity=None, low_at=0)
            answers += self._stocking.serve_waiting(connection, key, now)
        return answers

    def _answer(self, verdict: Verdict, item: Item, now: datetime) -> Answer:
        return Answer(self._event(verdict, item, now), item.form, item.group)

    def _event(self, verdict: Verdict, item: Item, now: datetime) -> Event:
        match verdict:
            case Moved():
                return self._told(self._done(verdict, now), item)
            case Repeated(_, before):
                return self._told(before if isinstance(before, KnownOutcome) else self._done(before, now), item)
            case Refused(reported, reason, detail):
                return self._refused(item, reported.key.taxpayer_id, reason, detail, now)

    def _told(self, done: KnownOutcome, item: Item) -> Event:
        return self._events.of_outcome(
            _TOLD_BY[done.became],
            outcome_id=done.outcome_id,
            issue_request_id=done.issue_request_id,
            organization=done.organization,
            taxpayer_id=done.taxpayer_id,
            invoice_number=format_number(done.prefix, done.sequence),
            event_id=done.event_id,
            at=done.answered_at,
            traceparent=item.event.traceparent,
        )

    def _refused(
        self,
        item: Item,
        taxpayer_id: str | None,
        reason: Reason,
        detail: str,
        now: datetime,
    ) -> Event:
        request = _request(item)
        return self._events.of_outcome(
            Topic.OUTCOME_REFUSED,
            outcome_id=request.outcome_id,
            issue_request_id=request.issue_request_id,
            organization=request.organization,
            taxpayer_id=taxpayer_id,
            invoice_number=request.invoice_number,
            event_id=None,
            at=now,
            traceparent=item.event.traceparent,
            refusal={"reason": reason, "detail": detail},
        )

    def _unknown_organization(self, item: Item, now: datetime) -> Answer:
        detail = "no organisation of this code is registered: import it with `fuma organizations import`"
        return Answer(self._refused(item, None, Reason.UNKNOWN_ORGANIZATION, detail, now), item.form, item.group)

    def _overdue(self, overdue: OverdueNumber, now: datetime) -> Event:
        fact = (overdue.key.taxpayer_id, overdue.prefix, overdue.sequence, overdue.assigned_at.isoformat())
        return self._events.of_outcome(
            Topic.OUTCOME_OVERDUE,
            outcome_id=None,
            issue_request_id=overdue.key.issue_request_id,
            organization=overdue.organization,
            taxpayer_id=overdue.key.taxpayer_id,
            invoice_number=format_number(overdue.prefix, overdue.sequence),
            event_id=self._events.ids.of_fact(Topic.OUTCOME_OVERDUE, fact),
            at=now,
        )

    def _event_id(self, moved: Moved) -> UUID:
        reported, number = moved.reported, moved.number
        return self._events.ids.of_change(_TOLD_BY[moved.became], number.taxpayer_id, number.taken, reported.outcome_id)

    def _done(self, moved: Moved, now: datetime) -> KnownOutcome:
        reported = moved.reported
        return KnownOutcome(
            reported.key.taxpayer_id,
            reported.outcome_id,
            reported.organization,
            reported.key.issue_request_id,
            reported.number.prefix,
            reported.number.sequence,
            reported.outcome,
            reported.reuse,
            moved.became,
            self._event_id(moved),
            now,
        )


def _request(item: Item) -> InvoiceOutcome:
    return cast("InvoiceOutcome", item.request)


def _reported(position: int, request: InvoiceOutcome, taxpayer_id: str) -> Reported:
    number = InvoiceNumber.parse(request.invoice_number)
    return Reported(
        position,
        RequestKey(taxpayer_id, request.issue_request_id),
        request.outcome_id,
        request.organization,
        NumberKey(taxpayer_id, number.prefix, number.sequence),
        request.outcome,
        request.reuse,
    )


def _rounds(moves: Sequence[Moved]) -> Iterable[list[Moved]]:
    """Give moves in rounds of which each has a number once: one statement changes a row once."""
    left = list(moves)
    while left:
        round_: dict[NumberKey, Moved] = {}
        later: list[Moved] = []
        for each in left:
            if each.reported.number in round_:
                later.append(each)
            else:
                round_[each.reported.number] = each
        yield list(round_.values())
        left = later
