"""Rules: requests, bindings and outcomes, good and bad, new and repeated."""

from collections.abc import Sequence
from datetime import timedelta

from hypothesis import strategies as st

from schemas.cloudevents import Form
from tests.support.core import asked
from tests.support.life.cast import ORGANIZATIONS, china_day
from tests.support.life.issuing import Ask, Bind
from tests.support.life.ledger import Number, Request
from tests.support.life.machine import PICK, Machine, choose, rule
from tests.support.life.model import Report
from worker.decoding import Item

_CODES = st.sampled_from(("A", "A", "B", "C", "C", "D", "D", "E", "nobody"))
_DAYS = st.sampled_from(
    ("today",) * 10 + ("yesterday", "tomorrow", "in two days", "last year", "last year", "next year", "two years ago"),
)
_KINDS = st.sampled_from(("blue", "red"))

#: How a number and an organisation are chosen for each other, of 0 to 9: below the first of these both fit.
_OTHER_MODE, _ANY_ORGANIZATION, _NO_NUMBER = 5, 7, 9

#: A number that no range has.
_NOBODYS = "26447000000000099999"


class Asking(Machine):
    """What invoicing systems and operators send."""

    # Issuing.

    @rule(weight=3, code=_CODES, day=_DAYS, kind=_KINDS)
    def issue(self, code: str, day: str, kind: str) -> None:
        """A request that nobody made before."""
        self._issue([Ask(self.next_id("R"), code, self._date(day), kind, None, self.next_id("m"))])

    @rule(
        weight=10,
        code=_CODES,
        day=_DAYS,
        others=st.lists(st.integers(0, 6), min_size=1, max_size=4),
        batch=st.booleans(),
    )
    def issue_many(self, code: str, day: str, others: list[int], batch: bool) -> None:  # noqa: FBT001 -- drawn
        """Several requests at once, with repetitions and conflicts among them."""
        asks = [Ask(self.next_id("R"), code, self._date(day), "blue", None, self.next_id("m"))]
        for other in others:
            last = asks[-1]
            match other:
                case 0 | 1 | 2:
                    asks.append(last._replace(issue_request_id=self.next_id("R"), message=self.next_id("m")))
                case 3:
                    asks.append(last)
                case 4:
                    asks.append(last._replace(message=self.next_id("m")))
                case 5:
                    asks.append(last._replace(kind="red", message=self.next_id("m")))
                case _:
                    known = choose(list(self.model.requests.values()), len(asks))
                    asks.append(last if known is None else self._as_asked(known, self.next_id("m")))
        self._issue(asks, Form.BATCH if batch else Form.SINGLE)

    @rule(weight=6, when=lambda self: self.model.requests, pick=PICK, as_new=st.booleans())
    def issue_again(self, pick: int, as_new: bool) -> None:  # noqa: FBT001 -- drawn
        """A request that was made before, by the same message or by a new one."""
        self._issue_again(list(self.model.requests.values()), pick, None if as_new else pick)

    @rule(weight=7, when=lambda self: self._requests("waiting"), pick=PICK, as_new=st.booleans())
    def issue_while_waiting(self, pick: int, as_new: bool) -> None:  # noqa: FBT001 -- drawn
        """A request that waits, by the same message or by a new one."""
        self._issue_again(self._requests("waiting"), pick, None if as_new else pick)

    @rule(weight=8, when=lambda self: self._requests("released", "voided"), pick=PICK, which=PICK)
    def issue_too_late(self, pick: int, which: int) -> None:
        """A copy of an old message of a request that has lost its number since."""
        self._issue_again(self._requests("released", "voided"), pick, which)

    def _issue_again(self, among: Sequence[Request], pick: int, which: int | None) -> None:
        known = choose(among, pick)
        if known is None:
            known = Request("", self.next_id("R"), "A", "self-use", self._date("today"), "blue", None, message="m0")
        sent = self.sent.get((known.taxpayer_id, known.id), [])
        message = self.next_id("m") if which is None else choose(sent, which) or known.message
        self._issue([self._as_asked(known, message)])

    @rule(weight=2, when=lambda self: self.model.requests, pick=PICK, what=st.integers(0, 3))
    def issue_otherwise(self, pick: int, what: int) -> None:
        """A request that was made before, with other content."""
        known = choose(list(self.model.requests.values()), pick)
        ask = Ask(self.next_id("R"), "B", self._date("yesterday"), "red", None, self.next_id("m"))
        if known is not None:
            ask = self._as_asked(known, self.next_id("m"))
            number = choose([each.text for each in self.model.numbers()], pick)
            others = {"A": "B", "B": "C", "C": "A", "D": "E", "E": "D"}
            ask = (
                ask._replace(organization=others[ask.organization]),
                ask._replace(issue_date=self._date("yesterday")),
                ask._replace(kind="red" if ask.kind == "blue" else "blue"),
                ask._replace(number=number if ask.number is None else None),
            )[what]
        self._issue([ask])

    @rule(weight=3, pick=PICK, how=st.integers(0, 9), day=_DAYS)
    def issue_named(self, pick: int, how: int, day: str) -> None:
        """A request that names the number that it wants: often one that it may have."""
        number = self._number(pick, how)
        code = self._code_for(number, how, pick)
        date = self._date(day) if number is None or how > 6 else self._date_for(number)
        text = _NOBODYS if number is None else number.text
        self._issue([Ask(self.next_id("R"), code, date, "blue", text, self.next_id("m"))])

    @rule(weight=14, when=lambda self: self.has("bound"), pick=PICK, how=st.integers(0, 9), day=_DAYS)
    def issue_bound(self, pick: int, how: int, day: str) -> None:
        """A request that a number is bound to: often one that may have it, sometimes one that names a number."""
        number = choose([each for each in self.model.numbers() if each.state == "bound"], pick)
        name, text = (self.next_id("R"), _NOBODYS) if number is None else (number.bound_to or "R0", number.text)
        date = self._date(day) if number is None or how > 6 else self._date_for(number)
        named = {0: text, 1: text, 2: _NOBODYS}.get(how)
        self._issue([Ask(name, self._code_for(number, how, pick), date, "blue", named, self.next_id("m"))])

    def _issue(self, asks: Sequence[Ask], form: Form = Form.SINGLE) -> None:
        items = [
            asked.invoice(
                ask.issue_request_id,
                organization=ask.organization,
                issue_date=ask.issue_date,
                kind=ask.kind,
                number=ask.number,
                message_id=ask.message,
                form=form,
            )
            for ask in asks
        ]
        for ask in asks:
            if ask.organization in ORGANIZATIONS:
                key = (ORGANIZATIONS[ask.organization][0], ask.issue_request_id)
                self.sent.setdefault(key, []).append(ask.message)
        self.play(lambda: self.hands.issue(items), lambda: self.model.issue(asks))

    @rule(weight=3, when=lambda self: self.model.requests, pick=PICK)
    def cancel(self, pick: int) -> None:
        """An operator cancels a request that waits, or one that doesn't."""
        request = choose(self._requests("waiting") or list(self.model.requests.values()), pick)
        taxpayer_id, name = ("X", "none") if request is None else (request.taxpayer_id, request.id)
        self.play(lambda: self.hands.cancel(taxpayer_id, name), lambda: self.model.cancel(taxpayer_id, name))

    # Binding.

    @rule(weight=6, pick=PICK, how=st.integers(0, 9), whom=PICK)
    def bind(self, pick: int, how: int, whom: int) -> None:
        """Bind a number to a request: known, waiting, or to come."""
        number = self._number(pick, how)
        code = self._code_for(number, how, pick)
        taxpayer_id = ORGANIZATIONS.get(code, ("", ""))[0]
        theirs = [each for each in self.model.requests.values() if each.taxpayer_id == taxpayer_id]
        waiting = [each.id for each in theirs if each.state == "waiting"]
        known = choose(waiting if whom % 2 else [each.id for each in theirs], whom)
        name = known if known is not None and whom % 4 else f"R{self._asked + 3}"
        text = _NOBODYS if number is None else number.text
        self._bind(Bind(self.next_id("B"), code, text, name, "bind", "an operator"))

    @rule(weight=16, when=lambda self: self.has("bound"), pick=PICK, how=st.integers(0, 9), whose=st.integers(0, 3))
    def unbind(self, pick: int, how: int, whose: int) -> None:
        """Free a number that is bound: for its request or for another; or try it with one that isn't."""
        bound = [each for each in self.model.numbers() if each.state == "bound"]
        number = choose(bound, pick) if how < _ANY_ORGANIZATION else self._number(pick, how)
        code = self._code_for(number, how, pick)
        name = "R0" if number is None or whose == 0 else number.bound_to or number.holder or "R0"
        text = _NOBODYS if number is None else number.text
        self._bind(Bind(self.next_id("B"), code, text, name, "unbind", "another operator"))

    @rule(weight=9, when=lambda self: self.model.bindings, pick=PICK, what=st.integers(0, 5))
    def bind_again(self, pick: int, what: int) -> None:
        """A binding id that was used before, mostly for the same."""
        done = choose([each[0] for each in self.model.bindings.values()], pick)
        wanted = done or Bind(self.next_id("B"), "A", _NOBODYS, "R1", "unbind", "an operator")
        match what:
            case 0:
                wanted = wanted._replace(issue_request_id="R0")
            case 1:
                wanted = wanted._replace(action="bind" if wanted.action == "unbind" else "unbind")
            case 2:
                wanted = wanted._replace(requested_by="somebody else")
            case _:
                pass
        self._bind(wanted)

    def _bind(self, wanted: Bind) -> None:
        item = asked.binding(
            wanted.number,
            wanted.issue_request_id,
            binding_id=wanted.binding_id,
            organization=wanted.organization,
            action=wanted.action,
            requested_by=wanted.requested_by,
        )
        self.play(lambda: self.hands.bind([item]), lambda: self.model.bind(wanted))

    # Outcomes.

    @rule(
        weight=4,
        when=lambda self: self.has("assigned", "held"),
        pick=PICK,
        outcome=st.sampled_from(("uploaded", "failed", "failed", "unknown")),
        reuse=st.integers(0, 3),
    )
    def report(self, pick: int, outcome: str, reuse: int) -> None:
        """The outcome of an upload that is awaited."""
        self._report([self._awaited(pick, outcome, reuse > 0)])

    @rule(
        weight=3,
        when=lambda self: self.has("assigned", "held"),
        picks=st.lists(PICK, min_size=2, max_size=3),
        outcome=st.sampled_from(("failed", "unknown", "uploaded")),
    )
    def report_many(self, picks: list[int], outcome: str) -> None:
        """Several outcomes at once, sometimes of one number."""
        first = self._awaited(picks[0], outcome, reuse=True)
        rest = [self._awaited(pick, "failed", reuse=True) for pick in picks[1:]]
        self._report([first, *rest])

    @rule(weight=5, when=lambda self: self.model.outcomes, pick=PICK, what=st.integers(0, 5))
    def report_again(self, pick: int, what: int) -> None:
        """An outcome that was reported before: repeated, contradicted, or late under an id of its own."""
        done = choose([each[0] for each in self.model.outcomes.values()], pick)
        report = done or self._awaited(pick, "failed", reuse=True)
        match what:
            case 0:
                report = report._replace(outcome="uploaded" if report.outcome == "failed" else "failed")
            case 1:
                report = report._replace(reuse=not report.reuse)
            case 2 | 3:
                report = report._replace(outcome_id=self.next_id("O"), outcome="failed")
            case _:
                pass
        self._report([report])

    @rule(
        weight=3,
        pick=PICK,
        other=PICK,
        outcome=st.sampled_from(("uploaded", "failed", "unknown")),
        how=st.integers(0, 4),
    )
    def report_wrongly(self, pick: int, other: int, outcome: str, how: int) -> None:
        """An outcome of a number that the request does not hold, or of none."""
        number = choose(list(self.model.numbers()), pick)
        request = choose(list(self.model.requests.values()), other)
        code = "A" if request is None else request.organization
        name = "R0" if request is None or how == 0 else request.id
        if how == 1:
            code = "nobody"
        if how == 2 and number is not None:
            code, name = self._code_for(number, 0, other), number.bound_to or name
        text = _NOBODYS if number is None else number.text
        self._report([Report(self.next_id("O"), code, name, text, outcome, reuse=True)])

    def _report(self, reports: Sequence[Report]) -> None:
        items: list[Item] = [
            asked.outcome(
                each.invoice_number,
                each.outcome,
                each.issue_request_id,
                outcome_id=each.outcome_id,
                organization=each.organization,
                reuse=each.reuse,
            )
            for each in reports
        ]
        self.play(lambda: self.hands.report(items), lambda: self.model.report(reports))

    def _awaited(self, pick: int, outcome: str, reuse: bool) -> Report:  # noqa: FBT001 -- the report's own field
        request = choose(self._requests("assigned"), pick)
        name = self.next_id("O")
        if request is None or request.number is None:
            return Report(name, "A", "R0", _NOBODYS, outcome, reuse)
        return Report(name, request.organization, request.id, request.number.text, outcome, reuse)

    # Choices.

    def _requests(self, *states: str) -> list[Request]:
        """All requests that are in one of these states, or were closed for one of these reasons."""
        return [each for each in self.model.requests.values() if (each.because or each.state) in states]

    def _new(self, code: str) -> Ask:
        return Ask(self.next_id("R"), code, self._date("today"), "blue", None, self.next_id("m"))

    def _as_asked(self, known: Request, message: str) -> Ask:
        return Ask(known.id, known.organization, known.issue_date, known.kind, known.named, message)

    def _date(self, day: str) -> str:
        now = self.now
        match day:
            case "last year":
                return f"{self.model.year - 1}-12-31"
            case "next year":
                return f"{self.model.year + 1}-01-01"
            case "two years ago":
                return f"{self.model.year - 2}-06-30"
            case _:
                pass
        days = {"today": 0, "yesterday": -1, "tomorrow": 1, "in two days": 2}
        return china_day(now + timedelta(days=days[day]))

    def _date_for(self, number: Number) -> str:
        year = number.range.stock.year
        return self._date("today") if year == self.model.year else f"{year}-12-31"

    def _number(self, pick: int, how: int) -> Number | None:
        """Choose a number: mostly an available manual one, else any, or one that nobody has."""
        numbers = list(self.model.numbers())
        manual = [each for each in numbers if each.range.manual and each.state == "available"]
        if how == _NO_NUMBER:
            return None
        return choose(manual, pick) if manual and how <= _OTHER_MODE else choose(numbers, pick)

    def _code_for(self, number: Number | None, how: int, pick: int) -> str:
        """Choose an organisation: mostly one that may use the number, else its neighbour in another mode, or any."""
        codes = [*ORGANIZATIONS, "nobody"]
        if number is not None and how < _ANY_ORGANIZATION:
            taxpayer_id, mode, _ = number.range.stock
            theirs = [code for code, channel in ORGANIZATIONS.items() if channel[0] == taxpayer_id]
            fitting = [code for code in theirs if (ORGANIZATIONS[code][1] == mode) is not (how == _OTHER_MODE)]
            codes = fitting or theirs
        return choose(codes, pick) or "A"
