"""The model of issuing and binding: who gets which number, and why not (contract, rules 1 to 3)."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.support.life.cast import ORGANIZATIONS, WAITING_LIMIT, Stock, china_day, year_of
from tests.support.life.ledger import Number, Request
from tests.support.life.stocks import Stocks, stamp


class Ask(NamedTuple):
    """One `invoice-issuing`."""

    issue_request_id: str
    organization: str
    issue_date: str
    kind: str
    number: str | None
    message: str


class Bind(NamedTuple):
    """One `number-binding-requested`."""

    binding_id: str
    organization: str
    number: str
    issue_request_id: str
    action: str
    requested_by: str

    @property
    def content(self) -> tuple[str, ...]:
        """What a repetition must have in common with it."""
        return (self.organization, self.number, self.issue_request_id, self.action)


class Issuing(Stocks):
    """Requests, and the numbers bound to them."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        #: What was done by each binding id of a taxpayer, with when, by whom, and as which change of the number.
        self.bindings: dict[tuple[str, str], tuple[Bind, datetime, tuple[str, int]]] = {}

    def issue(self, asks: Sequence[Ask]) -> None:
        """Judge requests one after the other; levels once, at the end."""
        touched = [stock for stock in [self._issue(ask) for ask in asks] if stock is not None]
        for stock in dict.fromkeys(touched):
            self.judge_level(stock)
        self.close_ranges()

    def _issue(self, ask: Ask) -> Stock | None:
        if ask.organization not in ORGANIZATIONS:
            self._refuse(ask, "unknown-organization")
            return None
        taxpayer_id, mode = ORGANIZATIONS[ask.organization]
        wanted = Request(
            taxpayer_id,
            ask.issue_request_id,
            ask.organization,
            mode,
            ask.issue_date,
            ask.kind,
            ask.number,
            message=ask.message,
        )
        known = self.requests.get((taxpayer_id, ask.issue_request_id))
        self.shelf(wanted.stock)
        if known is not None and known.state != "closed":
            self._again(ask, wanted, known)
            return None
        if known is not None:
            wanted.answered = known.answered
            if ask.message in known.answered:
                self._refuse(ask, "released")
                return None
        bound = self.bound_to(taxpayer_id, ask.issue_request_id)
        if bound is not None:
            other = ask.number not in {None, bound.text}
            self._use(ask, wanted, bound, "number-not-available" if other else None)
            return None
        if ask.number is not None:
            self._use_named(ask, wanted, ask.number)
            return None
        return self._use_stock(ask, wanted)

    def _again(self, ask: Ask, wanted: Request, known: Request) -> None:
        if known.content != wanted.content:
            self._refuse(ask, "conflicting-request")
        elif known.state == "assigned":
            known.answered.add(ask.message)
            self.tell_assigned(known)
        else:
            known.repeated.add(ask.message)

    def _use_named(self, ask: Ask, wanted: Request, text: str) -> None:
        number = self.find(text)
        if number is not None and number.range.stock.taxpayer_id != wanted.taxpayer_id:
            self._refuse(ask, "number-of-another-taxpayer")
            return
        usable = number is not None and number.range.manual and number.state == "available"
        self._use(ask, wanted, number, None if usable else "number-not-available")

    def _use(self, ask: Ask, wanted: Request, number: Number | None, refusal: str | None) -> None:
        if refusal is None and number is not None:
            refusal = self.mismatch(number, wanted)
        if refusal is not None or number is None:
            self._refuse(ask, refusal or "number-not-available")
            return
        self.requests[wanted.taxpayer_id, wanted.id] = wanted
        self.assign(number, wanted)

    def _use_stock(self, ask: Ask, wanted: Request) -> Stock | None:
        stock = wanted.stock
        paused = stock.taxpayer_id in self.paused
        number = None if paused else self.take(stock)
        if number is not None:
            self.requests[wanted.taxpayer_id, wanted.id] = wanted
            self.assign(number, wanted)
            return stock
        tomorrow = china_day(self.now + timedelta(days=1))
        never = stock.year < self.year or (stock.year > self.year and ask.issue_date > tomorrow)
        if never and self.remaining(stock) == 0:
            self._refuse(ask, "issue-date-out-of-year")
            return None
        self.requests[wanted.taxpayer_id, wanted.id] = wanted
        self.wait(wanted)
        return stock

    def _refuse(self, ask: Ask, reason: str) -> None:
        self.tell(
            "number-refused",
            issue_request_id=ask.issue_request_id,
            organization=ask.organization,
            reason=reason,
        )

    # Waiting.

    def end_overdue(self) -> None:
        """End what has waited past its limit."""
        for request in list(self.requests.values()):
            if request.since is not None and request.since < self.now - WAITING_LIMIT:
                self._end(request, "no-stock")

    def cancel(self, taxpayer_id: str, issue_request_id: str) -> None:
        """End one waiting request; nothing happens where none waits."""
        request = self.requests.get((taxpayer_id, issue_request_id))
        if request is not None and request.state == "waiting":
            self._end(request, "cancelled")

    def _end(self, request: Request, reason: str) -> None:
        self.leave_queue(request, "closed", reason)
        self.tell(
            "number-refused",
            issue_request_id=request.id,
            organization=request.organization,
            reason=reason,
        )

    # Binding.

    def bound_to(self, taxpayer_id: str, issue_request_id: str) -> Number | None:
        """Find the number that is bound to a request."""
        return next(
            (
                number
                for number in self.numbers()
                if number.bound_to == issue_request_id and number.range.stock.taxpayer_id == taxpayer_id
            ),
            None,
        )

    def mismatch(self, number: Number, request: Request) -> str | None:
        """Why a number may not stand on a request's invoice."""
        if number.range.stock.channel_mode != request.mode:
            return "channel-mode-mismatch"
        return None if year_of(number.text) == int(request.issue_date[:4]) else "year-mismatch"

    def bind(self, wanted: Bind) -> None:
        """Bind or unbind."""
        if wanted.organization not in ORGANIZATIONS:
            self._refuse_binding(wanted, None, "unknown-organization")
            return
        taxpayer_id, mode = ORGANIZATIONS[wanted.organization]
        before = self.bindings.get((taxpayer_id, wanted.binding_id))
        if before is not None:
            if before[0].content == wanted.content:
                self._tell_binding(taxpayer_id, *before)
            else:
                self._refuse_binding(wanted, taxpayer_id, "conflicting-request")
            return
        number = self.find(wanted.number)
        refusal = self._cannot_bind(wanted, number, taxpayer_id, mode)
        if refusal is not None or number is None:
            self._refuse_binding(wanted, taxpayer_id, refusal or "number-not-available")
            return
        change = (number.text, len(number.states))
        self.bindings[taxpayer_id, wanted.binding_id] = (wanted, self.now, change)
        if wanted.action == "unbind":
            self.move(number, "available")
        else:
            self.move(number, "bound")
            number.bound_to = wanted.issue_request_id
        self._tell_binding(taxpayer_id, wanted, self.now, change)
        request = self.requests.get((taxpayer_id, wanted.issue_request_id))
        if wanted.action == "bind" and request is not None and request.state == "waiting":
            self.assign(number, request)
        self.close_ranges()

    def _cannot_bind(self, wanted: Bind, number: Number | None, taxpayer_id: str, mode: str) -> str | None:  # noqa: PLR0911 -- one for each rule
        if number is not None and number.range.stock.taxpayer_id != taxpayer_id:
            return "number-of-another-taxpayer"
        if number is None or not number.states:
            return "number-not-available"
        if number.range.stock.channel_mode != mode:
            return "channel-mode-mismatch"
        if wanted.action == "unbind":
            theirs = number.state == "bound" and number.bound_to == wanted.issue_request_id
            return None if theirs else "number-not-available"
        if not number.range.manual or number.state != "available":
            return "number-not-available"
        request = self.requests.get((taxpayer_id, wanted.issue_request_id))
        holds = request is not None and request.state == "assigned"
        if holds or self.bound_to(taxpayer_id, wanted.issue_request_id) is not None:
            return "conflicting-request"
        return self.mismatch(number, request) if request is not None and request.state == "waiting" else None

    def _tell_binding(self, taxpayer_id: str, done: Bind, at: datetime, change: tuple[str, int]) -> None:
        topic = {"bind": "number-bound", "unbind": "number-unbound"}[done.action]
        self.tell(topic, (taxpayer_id, change), **self._of_binding(done, taxpayer_id), at=stamp(at))

    def _refuse_binding(self, wanted: Bind, taxpayer_id: str | None, reason: str) -> None:
        data = self._of_binding(wanted, taxpayer_id)
        self.tell("binding-refused", **data, at=stamp(self.now), reason=reason)

    def _of_binding(self, wanted: Bind, taxpayer_id: str | None) -> dict[str, object]:
        return {
            "binding_id": wanted.binding_id,
            "issue_request_id": wanted.issue_request_id,
            "organization": wanted.organization,
            "taxpayer_id": taxpayer_id,
            "invoice_number": wanted.number,
            "requested_by": wanted.requested_by,
        }
