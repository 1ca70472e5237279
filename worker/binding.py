"""Binding: keeps manual numbers for single issue requests, and frees them again (绑定)."""

from collections.abc import Sequence
from datetime import datetime
from typing import cast
from uuid import UUID

from msgspec import structs
from sqlalchemy import Connection

from db.asking import ask, carry_out
from db.bindings import add_binding, find_binding
from db.issue_requests import find_requests, find_waiting
from db.numbers import NumberChange, bound_numbers, change_numbers, find_numbers, owners_of_numbers
from db.ranges import close_used_up_ranges
from db.records import KnownBinding, NamedNumber, OrganizationChannel, RequestKey
from db.stocks import channels_of_organizations, lock_stocks_of_taxpayers
from schemas.invoice_number import InvoiceNumber
from schemas.reasons import Reason
from schemas.requests import NumberBindingRequested
from schemas.topics import Topic
from schemas.vocabulary import BindingAction
from worker.answers import Answer
from worker.clock import Clock
from worker.decisions.binding import Bind, Known, Refuse, Repeat, Unbind, Wanted, decide
from worker.decoding import Item, message_of
from worker.events import EventWriter
from worker.stocking import Stocking

_TOLD_BY = {BindingAction.BIND: Topic.NUMBER_BOUND, BindingAction.UNBIND: Topic.NUMBER_UNBOUND}


class Binding:
    """Handles `number-binding-requested`."""

    def __init__(self, environment: str, clock: Clock) -> None:
        self._environment = environment
        self._clock = clock
        self._events = EventWriter(environment)
        self._stocking = Stocking(environment, self._events)

    def handle(self, connection: Connection, items: Sequence[Item]) -> list[Answer]:
        """Bind and unbind numbers, one request after the other, and give the answers to publish after the commit."""
        now = self._clock.now()
        codes = {_request(item).organization for item in items}
        channels = ask(connection, channels_of_organizations(self._environment, codes))
        lock_stocks_of_taxpayers(connection, self._environment, {each.taxpayer_id for each in channels.values()})
        answers: list[Answer] = []
        for item in items:
            channel = channels.get(_request(item).organization)
            if channel is None:
                detail = "no organisation of this code is registered: import it with `fuma organizations import`"
                answers.append(self._refuse(Refuse(Reason.UNKNOWN_ORGANIZATION, detail), None, item, now))
            else:
                answers += self._handle_one(connection, item, channel, now)
        return answers

    def _handle_one(
        self,
        connection: Connection,
        item: Item,
        channel: OrganizationChannel,
        now: datetime,
    ) -> list[Answer]:
        wanted = _wanted(_request(item), channel)
        match decide(wanted, self._known(connection, wanted, _request(item).binding_id)):
            case Bind() as decided:
                return self._bind(connection, decided, item, now)
            case Unbind(number):
                return [self._change(connection, number, "available", item, now)]
            case Repeat(before):
                return [self._repeat(before, item)]
            case Refuse() as refused:
                return [self._refuse(refused, channel.taxpayer_id, item, now)]

    def _known(self, connection: Connection, wanted: Wanted, binding_id: str) -> Known:
        taxpayer_id = wanted.taxpayer_id
        number = (wanted.prefix, wanted.sequence)
        key = RequestKey(taxpayer_id, wanted.issue_request_id)
        waiting = find_waiting(connection, self._environment, key.issue_request_id, taxpayer_id)
        return Known(
            before=find_binding(connection, self._environment, taxpayer_id, binding_id),
            number=find_numbers(connection, self._environment, [(taxpayer_id, *number)]).get((taxpayer_id, *number)),
            owner=owners_of_numbers(connection, self._environment, [number]).get(number),
            request=ask(connection, find_requests(self._environment, [key])).get(key),
            waiting=next(iter(waiting), None),
            bound=ask(connection, bound_numbers(self._environment, [key])).get(key),
        )

    def _bind(self, connection: Connection, decided: Bind, item: Item, now: datetime) -> list[Answer]:
        """Bind the number; a request that waits holds it at once, by a second step that the history shows too."""
        number, waiting = decided.number, decided.waiting
        answers = [self._change(connection, number, "bound", item, now)]
        if waiting is not None:
            taken = structs.replace(number.taken, step=number.taken.step + 1)
            answers.append(self._stocking.serve_with(connection, waiting, taken, now))
            carry_out(connection, close_used_up_ranges(self._environment, [number.taxpayer_id], now=now))
        return answers

    def _change(
        self,
        connection: Connection,
        number: NamedNumber,
        status: str,
        item: Item,
        now: datetime,
    ) -> Answer:
        request = _request(item)
        topic = _TOLD_BY[request.action]
        event_id = self._events.ids.of_change(topic, number.taxpayer_id, number.taken, request.binding_id)
        change = NumberChange(
            number,
            status,
            message_of(item.event),
            event_id,
            request.requested_by,
            request.issue_request_id if status == "bound" else None,
        )
        change_numbers(connection, self._environment, [change], now=now)
        done = _done(request, number, event_id, now)
        add_binding(connection, self._environment, done)
        return self._repeat(done, item)

    def _repeat(self, done: KnownBinding, item: Item) -> Answer:
        event = self._events.of_binding(
            _TOLD_BY[BindingAction(done.action)],
            _request(item),
            done.taxpayer_id,
            event_id=done.event_id,
            at=done.answered_at,
            traceparent=item.event.traceparent,
            requested_by=done.requested_by,
        )
        return Answer(event, item.form, item.group)

    def _refuse(self, refused: Refuse, taxpayer_id: str | None, item: Item, now: datetime) -> Answer:
        event = self._events.of_binding(
            Topic.BINDING_REFUSED,
            _request(item),
            taxpayer_id,
            event_id=None,
            at=now,
            traceparent=item.event.traceparent,
            requested_by=_request(item).requested_by,
            refusal={"reason": refused.reason, "detail": refused.detail},
        )
        return Answer(event, item.form, item.group)


def _request(item: Item) -> NumberBindingRequested:
    return cast("NumberBindingRequested", item.request)


def _wanted(request: NumberBindingRequested, channel: OrganizationChannel) -> Wanted:
    number = InvoiceNumber.parse(request.number)
    return Wanted(
        channel.taxpayer_id,
        channel.channel_mode,
        request.organization,
        number.prefix,
        number.sequence,
        request.issue_request_id,
        request.action,
    )


def _done(request: NumberBindingRequested, number: NamedNumber, event_id: UUID, now: datetime) -> KnownBinding:
    return KnownBinding(
        number.taxpayer_id,
        request.binding_id,
        request.organization,
        number.taken.prefix,
        number.taken.sequence,
        request.issue_request_id,
        request.action,
        request.requested_by,
        event_id,
        now,
    )
