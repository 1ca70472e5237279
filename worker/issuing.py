"""Issuing: gives each issue request its number, in one transaction for the whole batch."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import cast

from sqlalchemy import Connection, text

from db.asking import Query, ask, ask_together, hold_back, no_answer
from db.issue_requests import (
    NewRequest,
    add_requests,
    find_requests,
    remember_messages,
    remembered_messages,
)
from db.numbers import (
    AssignedNumber,
    ChangedMeanwhileError,
    assign_numbers,
    bound_numbers,
    find_numbers,
    owners_of_numbers,
    pooled_numbers,
)
from db.ranges import close_used_up_ranges, move_cursors, open_ranges
from db.records import (
    KnownRequest,
    NamedNumber,
    OpenRange,
    OrganizationChannel,
    RequestKey,
    Stock,
    StockKey,
    TakenNumber,
)
from db.stocks import channels_of_organizations, existing_stocks, lock_stocks
from db.usage import add_usage
from schemas.invoice_number import InvoiceNumber, format_number
from schemas.plain_requests import PlainIssuing
from schemas.reasons import Reason
from schemas.requests import InvoiceIssuing
from worker.answers import Answer
from worker.clock import Clock, china_date
from worker.decisions.assignment import Asked, Assigned, Decisions, Known, Refused, Repeated, decide
from worker.decisions.shelf import Shelf
from worker.decoding import Item, message_of
from worker.events import Event, EventWriter, Number
from worker.levels import record_crossing

# The plans of these statements are made once for a session, perhaps while tables are empty: they may use indexes and
# nothing else. To plan each batch anew took longer than to carry it out.
_PLANNED_ONCE: Query[None] = Query(
    text("""
        SELECT set_config('plan_cache_mode', 'force_generic_plan', true), set_config('enable_seqscan', 'off', true),
               set_config('enable_hashjoin', 'off', true), set_config('enable_mergejoin', 'off', true)
    """),
    {},
    no_answer,
)


class Issuing:
    """Handles `invoice-issuing`."""

    def __init__(self, environment: str, clock: Clock) -> None:
        self._environment = environment
        self._clock = clock
        self._events = EventWriter(environment)
        #: As they were last read, of organisations that are registered; batches side by side read and write it.
        self._channels: dict[str, OrganizationChannel] = {}

    def handle(self, connection: Connection, items: Sequence[Item]) -> list[Answer]:
        """Assign numbers to a batch of requests, and give the answers to publish once this is committed."""
        now = self._clock.now()
        requests = [cast("InvoiceIssuing | PlainIssuing", item.request) for item in items]
        channels = self._channels_of(connection, {each.organization for each in requests})
        asked = [
            _asked(position, request, channels[request.organization], message_of(items[position].event))
            for position, request in enumerate(requests)
            if request.organization in channels
        ]
        decisions, shelves, closed = self._decide(connection, channels, asked, now)
        numbers = self._apply(connection, decisions, shelves, closed, items, now)
        answers = self._answers(decisions, numbers, items, now)
        answers += [
            self._unknown_organization(request, item, now)
            for request, item in zip(requests, items, strict=True)
            if request.organization not in channels
        ]
        for key, organization in decisions.touched.items():
            answers += record_crossing(
                connection,
                self._environment,
                self._events,
                shelves[key],
                wanted_by=organization,
                waiting=sum(waiting.stock_key == key for waiting in decisions.waiting),
                now=now,
            )
        return answers

    def _channels_of(self, connection: Connection, organizations: Collection[str]) -> Mapping[str, OrganizationChannel]:
        """Tell the channels of those that are registered: as they were, for the database has the last word later."""
        hold_back(connection, [_PLANNED_ONCE])
        known = {each: channel for each in organizations if (channel := self._channels.get(each)) is not None}
        if len(known) < len(organizations):
            return ask(connection, channels_of_organizations(self._environment, organizations))
        return known

    def _insist_on(
        self, channels: Mapping[str, OrganizationChannel], present: Mapping[str, OrganizationChannel]
    ) -> None:
        """Remember the channels as they are now; raises `ChangedMeanwhileError` where others were gone by."""
        for gone in channels.keys() - present.keys():
            self._channels.pop(gone, None)
        self._channels.update(present)
        if _stocks_of(present) != _stocks_of(channels):
            raise ChangedMeanwhileError

    def _decide(
        self,
        connection: Connection,
        channels: Mapping[str, OrganizationChannel],
        asked: Sequence[Asked],
        now: datetime,
    ) -> tuple[Decisions, Mapping[StockKey, Shelf], Collection[RequestKey]]:
        """Lock, read and decide; tells too which of the requests were asked before and closed."""
        keys, stock_keys = {each.key for each in asked}, {each.stock_key for each in asked}
        present, stocks, ranges, pools, requests, bound = self._gather(connection, channels, keys, stock_keys)
        self._insist_on(channels, present)
        if len(stocks) < len(stock_keys):
            # Read again: whoever made the missing ones may have claimed for them too.
            lock_stocks(connection, self._environment, stock_keys)
            _, stocks, ranges, pools, requests, bound = self._gather(connection, channels, keys, stock_keys)
        shelves = {key: Shelf(stock, ranges[key], pools[key]) for key, stock in stocks.items()}
        known = self._known(connection, asked, requests, bound)
        closed = {key for key, request in requests.items() if request.status == "closed"}
        return decide(asked, known, shelves, china_date(now)), shelves, closed

    def _gather(
        self,
        connection: Connection,
        organizations: Collection[str],
        keys: Collection[RequestKey],
        stock_keys: Collection[StockKey],
    ) -> tuple[
        dict[str, OrganizationChannel],
        dict[StockKey, Stock],
        Mapping[StockKey, list[OpenRange]],
        Mapping[StockKey, list[TakenNumber]],
        dict[RequestKey, KnownRequest],
        dict[RequestKey, NamedNumber],
    ]:
        """Lock the stocks that exist, and then read, in the same round trip, what they have and who asked before."""
        return ask_together(
            connection,
            channels_of_organizations(self._environment, organizations),
            existing_stocks(self._environment, stock_keys),
            open_ranges(self._environment, stock_keys),
            pooled_numbers(self._environment, stock_keys),
            find_requests(self._environment, keys),
            bound_numbers(self._environment, keys),
        )

    def _known(
        self,
        connection: Connection,
        asked: Sequence[Asked],
        requests: Mapping[RequestKey, KnownRequest],
        bound: Mapping[RequestKey, NamedNumber],
    ) -> Known:
        # Of these it matters which messages were answered.
        asked_before = [key for key, request in requests.items() if request.status == "closed" or request.in_doubt]
        named = {(each.key.taxpayer_id, each.number) for each in asked if each.number is not None}
        numbers = {(owner, text): InvoiceNumber.parse(text) for owner, text in named}
        found = find_numbers(
            connection,
            self._environment,
            [(owner, number.prefix, number.sequence) for (owner, _), number in numbers.items()],
        )
        owners = owners_of_numbers(
            connection,
            self._environment,
            [(number.prefix, number.sequence) for number in numbers.values()],
        )
        return Known(
            requests,
            frozenset(remembered_messages(connection, self._environment, asked_before)),
            bound,
            {(owner, format_number(prefix, sequence)): number for (owner, prefix, sequence), number in found.items()},
            {format_number(*number): owner for number, owner in owners.items()},
        )

    def _apply(
        self,
        connection: Connection,
        decisions: Decisions,
        shelves: Mapping[StockKey, Shelf],
        closed: Collection[RequestKey],
        items: Sequence[Item],
        now: datetime,
    ) -> list[AssignedNumber]:
        """Store what was decided; gives the numbers assigned, as `decisions.assigned` has them."""
        new = [_new(each.asked, "assigned", items) for each in decisions.assigned]
        new += [_new(asked, "waiting", items) for asked in decisions.waiting]
        numbers = [self._number_of(each) for each in decisions.assigned]
        cursors = [cursor for shelf in shelves.values() for cursor in shelf.cursors]
        stored = {each.taxpayer_id for each in numbers if not each.taken.is_fresh}
        taken: Counter[tuple[str, str]] = Counter()
        for key, shelf in shelves.items():
            taken[key.taxpayer_id, key.channel_mode] += shelf.taken
        again = [(each.key, each.message) for each in decisions.waiting_again]
        hold_back(
            connection,
            [
                *add_requests(self._environment, new, closed, now=now),
                *move_cursors(self._environment, cursors, now=now),
                *assign_numbers(self._environment, numbers, now=now),
                *close_used_up_ranges(self._environment, stored, now=now),
                *add_usage(self._environment, taken, now=now),
                *remember_messages(self._environment, _repetitions(decisions.repeated)),
                *remember_messages(self._environment, again, answered=False),
            ],
        )
        return numbers

    def _answers(
        self,
        decisions: Decisions,
        numbers: Sequence[AssignedNumber],
        items: Sequence[Item],
        now: datetime,
    ) -> list[Answer]:
        answered: list[tuple[Asked, Event]] = [
            (each.asked, self._assigned(each, number.event_id, items, now))
            for each, number in zip(decisions.assigned, numbers, strict=True)
        ]
        answered += [(each.asked, self._repeated(each, items, now)) for each in decisions.repeated]
        answered += [(each.asked, self._refused(each, items, now)) for each in decisions.refused]
        return [Answer(event, items[asked.position].form, items[asked.position].group) for asked, event in answered]

    def _number_of(self, assigned: Assigned) -> AssignedNumber:
        asked, taken = assigned.asked, assigned.taken
        return AssignedNumber(
            asked.key.taxpayer_id,
            taken,
            asked.key.issue_request_id,
            asked.issue_date,
            asked.message,
            self._events.ids.of_assignment(asked.key, taken),
        )

    def _assigned(self, assigned: Assigned, event_id: str, items: Sequence[Item], now: datetime) -> Event:
        asked, taken = assigned.asked, assigned.taken
        return self._events.number_assigned(
            asked.key,
            organization=asked.organization,
            issue_date=asked.issue_date,
            kind=asked.kind,
            number=Number(taken.prefix, taken.sequence, taken.range_id, taken.claim_mode, now, event_id),
            traceparent=items[asked.position].event.traceparent,
        )

    def _repeated(self, repeated: Repeated, items: Sequence[Item], now: datetime) -> Event:
        if isinstance(repeated.before, Assigned):
            event_id = self._number_of(repeated.before).event_id
            return self._assigned(repeated.before, event_id, items, now)
        return self._events.number_assigned(
            repeated.asked.key,
            organization=repeated.asked.organization,
            issue_date=repeated.asked.issue_date,
            kind=repeated.asked.kind,
            number=_held_number(repeated.before),
            traceparent=items[repeated.asked.position].event.traceparent,
        )

    def _refused(self, refused: Refused, items: Sequence[Item], now: datetime) -> Event:
        return self._events.number_refused(
            refused.asked.key.issue_request_id,
            organization=refused.asked.organization,
            taxpayer_id=refused.asked.key.taxpayer_id,
            reason=refused.reason,
            detail=refused.detail,
            now=now,
            traceparent=items[refused.asked.position].event.traceparent,
        )

    def _unknown_organization(self, request: InvoiceIssuing | PlainIssuing, item: Item, now: datetime) -> Answer:
        event = self._events.number_refused(
            request.issue_request_id,
            organization=request.organization,
            taxpayer_id=None,
            reason=Reason.UNKNOWN_ORGANIZATION,
            detail="no organisation of this code is registered: import it with `fuma organizations import`",
            now=now,
            traceparent=item.event.traceparent,
        )
        return Answer(event, item.form, item.group)


def _asked(position: int, request: InvoiceIssuing | PlainIssuing, channel: OrganizationChannel, message: str) -> Asked:
    return Asked(
        position,
        RequestKey(channel.taxpayer_id, request.issue_request_id),
        StockKey(channel.taxpayer_id, channel.channel_mode, request.issue_date.year),
        request.organization,
        request.issue_date,
        request.kind,
        request.number,
        message,
    )


def _stocks_of(channels: Mapping[str, OrganizationChannel]) -> dict[str, tuple[str, str]]:
    """Give whose stocks each organisation draws from, and in which mode: all that issuing goes by."""
    return {code: (channel.taxpayer_id, channel.channel_mode) for code, channel in channels.items()}


def _new(asked: Asked, status: str, items: Sequence[Item]) -> NewRequest:
    item = items[asked.position]
    return NewRequest(
        asked.key.taxpayer_id,
        asked.key.issue_request_id,
        asked.organization,
        asked.issue_date,
        asked.kind,
        asked.number,
        asked.stock_key.channel_mode,
        status,
        item.form,
        asked.message if status == "waiting" else None,
        item.event.traceparent if status == "waiting" else None,
    )


def _repetitions(repeated: Sequence[Repeated]) -> list[tuple[RequestKey, str]]:
    """The messages that came beside the one that a number was given to."""
    return [
        (each.asked.key, each.asked.message)
        for each in repeated
        if each.asked.message
        != (each.before.asked.message if isinstance(each.before, Assigned) else each.before.message)
    ]


def _held_number(known: KnownRequest) -> Number:
    if (
        known.prefix is None
        or known.sequence is None
        or known.range_id is None
        or known.claim_mode is None
        or known.assigned_at is None
        or known.event_id is None
    ):
        message = "a request that is assigned holds no number"
        raise AssertionError(message)
    return Number(
        known.prefix, known.sequence, known.range_id, known.claim_mode, known.assigned_at, str(known.event_id)
    )
