"""The story of the demo: what is sent, in which order, and what is waited for before it goes on."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from db.claims import undecided_claims
from db.listing import Filters, list_waiting
from db.refreshes import registered_taxpayers
from db.stocks import stocks_without_claim
from schemas.topics import Topic
from worker.broker.dead_letters import read_letters
from worker.broker.port import Message
from worker.demo.companies import Company, calm_company, with_automatic_claims
from worker.demo.hand import Order, bind, plan_hand_work
from worker.demo.messages import write_messages, write_request, write_requests
from worker.demo.stage import ENVIRONMENT, DemoError, Stage
from worker.demo.telling import Teller
from worker.demo.traffic import Asked, Sent, Traffic, sent_of
from worker.demo.uploads import Fate, Report, draw_fates, first_report, refused_reports, second_report

#: Seconds without any event after which what is waited for won't come.
PATIENCE = 60.0
_LOOK = 0.05
_AT_ONCE = 50
_LAST_CLAIMS = "the end of the last claims"

#: Milliseconds that LeQi takes for an answer.
_LATENCY = 50

MANUAL_CLAIM, MANUAL_QUANTITY = "CLAIM-1", 100
TOO_LARGE_CLAIM, TOO_LARGE_QUANTITY = "CLAIM-2", 1001
#: For the company for which nothing is claimed by itself.
SMALL_CLAIM, SMALL_QUANTITY = "CLAIM-3", 10
REFRESH = "REFRESH-1"

#: Of the outcomes, one in so many is reported twice.
_REPORTED_AGAIN = 100


@dataclass(frozen=True, slots=True)
class Ahead:
    """How the stock of the company that issues at a calm pace went, as its events told when it was done."""

    organization: str
    low: int
    #: How often it ran out after its first range, which must not be.
    ran_out: int
    claims: int
    #: Whether it took enough numbers to come down to low.
    expected: bool


@dataclass(slots=True)
class Course:
    """What happened on the way, for the summary."""

    messages: int = 0
    #: Business serials of the claims whose first answer got lost.
    lost: list[str] = field(default_factory=list)
    #: Requests that waited for the company for which nothing was claimed, just before that changed.
    waited: int = 0
    #: Manual claims that must be granted, with their quantities.
    manual_claims: dict[str, int] = field(default_factory=dict)
    #: What the operator ordered; and by taxpayer and key, the manual number that the request must have by it.
    orders: list[Order] = field(default_factory=list)
    by_hand: dict[tuple[str, str], str] = field(default_factory=dict)
    ahead: Ahead | None = None
    #: Everything that was reported of uploads.
    reports: list[Report] = field(default_factory=list)
    #: Requests that lost their number: a copy of their old message was sent, then they asked anew.
    anew: list[Asked] = field(default_factory=list)


class Story:
    """Tells the story on a stage; `course` is what happened so far, also where it breaks off."""

    def __init__(
        self,
        stage: Stage,
        companies: Sequence[Company],
        traffic: Traffic,
        teller: Teller,
        dice: random.Random,
    ) -> None:
        self._stage = stage
        self._audience = stage.audience
        self._companies = companies
        self._traffic = traffic
        self._teller = teller
        self._dice = dice
        #: How many distinct requests have been sent.
        self._due = 0
        self._held_back = next((each for each in companies if not each.entry.automatic_claims), None)
        self.course = Course()

    def play(self) -> None:
        """Play all acts; raises `DemoError` where one doesn't come to its end."""
        self._stage.register([company.entry for company in self._companies])
        self._stage.start()
        self._lose_answers()
        self._send_traffic()
        self._serve_one_by_hand()
        self._allow_claims()
        self._send_late_copies()
        self._issue_calmly()
        self._work_by_hand()
        self._until(lambda: len(self._letters()) >= len(self._traffic.unreadable), "the dead letters")
        self._report_uploads()
        self._until(self._is_at_rest, _LAST_CLAIMS)
        self._refresh()

    def _lose_answers(self) -> None:
        """Let the first requests find no stock, and the answers of the claims that follow get lost."""
        opening = self._traffic.opening
        if not opening:
            return
        simulator = self._stage.simulator
        simulator.put_faults(lost_answer=1.0)
        self._publish(write_messages(opening, self._dice))
        self._until(lambda: len(simulator.grants()) >= len(opening), "the first claims")
        simulator.put_faults(latency_ms=_LATENCY)
        self.course.lost = [grant.business_serial for grant in simulator.grants()]
        self._teller.say(f"no stock at all; LeQi's answers got lost for {_count(len(opening), 'claim')}")

    def _send_traffic(self) -> None:
        """Send all requests, with a manual claim in the midst of them, until all are answered that can be."""
        messages = list(write_messages(self._traffic.main, self._dice))
        middle = len(messages) // 2
        self._publish(messages[:middle])
        self._publish(self._manual_claims())
        self._publish(messages[middle:])
        sent = len(self._traffic.opening) + sum(isinstance(each, Sent) for each in self._traffic.main)
        bad = len(self._traffic.unreadable)
        claims = _count(len(self.course.manual_claims), "manual claim")
        self._teller.say(f"sent: {_count(sent, 'issue request')}, {_count(bad, 'unreadable message')}, {claims}")
        main = [each for each in self._traffic.main if isinstance(each, Sent)]
        self._due = len({each.asked for each in (*self._traffic.opening, *main)})
        held_back = len(self._waiting_for_claims())
        self._until(
            lambda: self._audience.answered >= self._due - held_back and self._count_waiting() == held_back,
            "the answers to the issue requests",
        )

    def _waiting_for_claims(self) -> list[Asked]:
        """List the requests of the company for which nothing is claimed, in their order."""
        sent = (each.asked for each in self._traffic.main if isinstance(each, Sent))
        code = None if self._held_back is None else self._held_back.code
        return list(dict.fromkeys(asked for asked in sent if asked.organization == code and asked.refusal is None))

    def _manual_claims(self) -> list[Message]:
        """Write a manual claim, the same once more, and one for more than an operator may claim."""
        self.course.manual_claims[MANUAL_CLAIM] = MANUAL_QUANTITY
        good = _claim(self._companies[0], MANUAL_CLAIM, MANUAL_QUANTITY)
        messages = [good, good, _claim(self._companies[0], TOO_LARGE_CLAIM, TOO_LARGE_QUANTITY)]
        if self._held_back is not None and self._traffic.by_hand is not None and self._waiting_for_claims():
            self.course.manual_claims[SMALL_CLAIM] = SMALL_QUANTITY
            messages.append(_claim(self._held_back, SMALL_CLAIM, SMALL_QUANTITY))
        return messages

    def _serve_one_by_hand(self) -> None:
        """Bind a manual number to a request that waits, for a company for which nothing is claimed by itself."""
        if SMALL_CLAIM not in self.course.manual_claims:
            return
        asked, *others = self._waiting_for_claims()
        number = self._first_of(SMALL_CLAIM)
        self._order([bind("BIND-0", asked, number)])
        self._expect_by_hand(asked, number)
        key = _key(asked)
        self._until(lambda: self._audience.assigned.get(key), "the number of a request that waited and was bound")
        self._teller.say(f"{asked.organization}: of {len(others) + 1} waiting, one got a manual number by hand")

    def _allow_claims(self) -> None:
        """Let claims be made for the company that had none, so that its requests need not wait any longer."""
        company = self._held_back
        self.course.waited = self._count_waiting()
        if company is None or not self.course.waited:
            return
        self._teller.say(f"{company.code}: {_count(self.course.waited, 'request')} waiting, claims were off; on now")
        self._stage.register([with_automatic_claims(company)])
        self._until(
            lambda: self._audience.answered >= self._due,
            f"the answers to the requests of {company.code}",
        )

    def _send_late_copies(self) -> None:
        """Send requests again that were answered long ago."""
        late = self._traffic.late
        if not late:
            return
        self._publish(write_messages(late, self._dice))
        keys = [_key(sent.asked) for sent in late]
        assigned = self._audience.assigned
        self._until(lambda: all(len(assigned.get(key, ())) > 1 for key in keys), "the same answers again")
        self._teller.say(f"asked again after the answer: {_count(len(late), 'request')}, answered again")

    def _issue_calmly(self) -> None:
        """Send one company's requests in portions that its low stock can serve: claims are ahead of them."""
        company = calm_company(self._companies)
        calm = self._traffic.calm
        if company is None or not calm:
            return
        portion = max(1, company.low_at)
        self._until(self._is_at_rest, _LAST_CLAIMS)
        for start in range(0, len(calm), portion):
            self._ask(calm[start : start + portion])
            self._until(self._is_at_rest, _LAST_CLAIMS)
        if company.low_at:
            self.course.ahead = self._look_ahead(company, len(calm))
            times = _count(self.course.ahead.low, "time")
            self._teller.say(f"{company.code} issued at a calm pace: low {times}, each time claimed before it ran out")

    def _look_ahead(self, company: Company, taken: int) -> Ahead:
        audience = self._audience
        claimed = [told for tellings in audience.claimed.values() for told in tellings[:1]]
        return Ahead(
            company.code,
            low=sum((told.taxpayer_id, told.channel_mode) == company.stock for told in audience.low),
            ran_out=sum((each.taxpayer_id, each.channel_mode) == company.stock for each in audience.exhausted) - 1,
            claims=sum(told.taxpayer_id == company.entry.taxpayer_id for told in claimed),
            expected=taken >= company.entry.claim_quantity - company.low_at,
        )

    def _work_by_hand(self) -> None:
        """Bind manual numbers, free one, ask with them, and name one in the request itself."""
        by_hand = self._traffic.by_hand
        if by_hand is None:
            return
        work = plan_hand_work(by_hand, self._first_of(MANUAL_CLAIM))
        for order in work.orders:
            self._order([order])
        self._expect_by_hand(by_hand.bound, work.bound)
        self._expect_by_hand(by_hand.named, work.named)
        self._ask([sent_of(by_hand.bound), sent_of(replace(by_hand.named, number=work.named)), sent_of(by_hand.freed)])
        done = len(self.course.orders)
        self._teller.say(f"by hand: {_count(done, 'binding')} asked for; one invoice named its manual number itself")

    def _report_uploads(self) -> None:
        """Report what became of every invoice; those that lost their number ask anew."""
        asked = [each for each in self._traffic.asked if each.refusal is None]
        fates = dict.fromkeys(asked, Fate.UPLOADED)
        fates.update(draw_fates([each for each in asked if _key(each) not in self.course.by_hand], self._dice))
        numbers = {each: self._audience.assigned[_key(each)][0].told.invoice_number for each in asked}
        self._report([first_report(each, numbers[each], fates[each]) for each in asked])
        self.course.anew = [each for each in asked if fates[each] in {Fate.RELEASED, Fate.VOIDED}]
        released = {each: numbers[each] for each in asked if fates[each] is Fate.RELEASED}
        found = [second_report(each, numbers[each]) for each in asked if fates[each] is Fate.FOUND]
        self._report([*found, *refused_reports(released, self._dice)])
        self._teller.say(
            f"uploads: {_count(len(asked), 'invoice')} reported, {len(found)} of them only at the second try;"
            f" {len(self.course.anew)} failed",
        )
        self._ask_anew()

    def _ask_anew(self) -> None:
        """Let those that lost their number ask again: an old message gets none, a new one does."""
        anew, audience = self.course.anew, self._audience
        if not anew:
            return
        self._publish(write_messages([sent_of(each) for each in anew], self._dice))
        self._until(lambda: len(audience.refused_copies) >= len(anew), "the refusals of old copies")
        self._publish(write_messages([sent_of(each, again=2) for each in anew], self._dice))
        self._until(lambda: all(len(audience.lives_of(_key(each))) > 1 for each in anew), "numbers asked for anew")
        again = {each: audience.lives_of(_key(each))[-1].told.invoice_number for each in anew}
        self._report([second_report(each, number) for each, number in again.items()])
        times = Counter(move.number for move in audience.moves if move.topic is Topic.NUMBER_ASSIGNED)
        used_again = _count(sum(number > 1 for number in times.values()), "released number")
        self._teller.say(f"asked anew: {_count(len(anew), 'request')}; {used_again} taken again")

    def _ask(self, sent: Sequence[Sent]) -> None:
        """Send requests that nobody sent before, and wait for their answers."""
        self._publish(write_messages(sent, self._dice))
        self._due += len(sent)
        self._until(lambda: self._audience.answered >= self._due, "the answers to the issue requests")

    def _order(self, orders: Sequence[Order]) -> None:
        """Order bindings, each twice with the same message where it must be done, and wait for their answers."""
        again = [order for order in orders if order.refusal is None]
        topic = Topic.NUMBER_BINDING_REQUESTED
        messages = [(order.binding_id, order.as_data()) for order in (*orders, *again)]
        self._publish(write_requests(topic, messages, self._dice))
        self.course.orders += orders
        replies = self._audience.replies
        self._until(
            lambda: all(len(replies.get(each.binding_id, ())) > (each.refusal is None) for each in orders),
            "the answers to the bindings",
        )

    def _report(self, reports: Sequence[Report]) -> None:
        """Report outcomes, some of them twice with the same message, and wait for their answers."""
        again = [report for report in reports[::_REPORTED_AGAIN] if report.refusal is None]
        messages = [(report.outcome_id, report.as_data()) for report in (*reports, *again)]
        self._publish(write_requests(Topic.INVOICE_OUTCOME, messages, self._dice))
        self.course.reports += reports
        times = Counter(report.outcome_id for report in (*reports, *again))
        replies = self._audience.replies
        self._until(
            lambda: all(len(replies.get(key, ())) >= wanted for key, wanted in times.items()),
            "the answers to the outcomes",
        )

    def _first_of(self, claim_id: str) -> str:
        """Give the first number of a manual claim, once it is granted."""
        self._until(lambda: self._audience.claimed.get(claim_id), f"the manual claim {claim_id}")
        return self._audience.claimed[claim_id][0].first_number

    def _expect_by_hand(self, asked: Asked, number: str) -> None:
        self.course.by_hand[_key(asked)] = number

    def _letters(self) -> Sequence[object]:
        return read_letters(self._stage.broker_url)

    def _is_at_rest(self) -> bool:
        clock, environment = self._stage.clock, ENVIRONMENT.value
        with self._stage.engine.connect() as connection:
            if stocks_without_claim(connection, environment, [clock.year()], now=clock.now(), most=1):
                return False
            taxpayers = registered_taxpayers(connection, environment)
            if any(undecided_claims(connection, environment, each) for each in taxpayers):
                return False
        return len(self._audience.claimed) >= len(self._stage.simulator.grants())

    def _refresh(self) -> None:
        """Refresh all taxpayers: ask LeQi's gateway for its list, and compare."""
        self._publish([write_request(Topic.REFRESH_REQUESTED, REFRESH, {"refresh_id": REFRESH})])
        taxpayers = len({company.entry.taxpayer_id for company in self._companies})
        self._until(lambda: len(self._audience.refreshed) >= taxpayers, "the refresh of all taxpayers")
        self._teller.say(f"refreshed: {_count(taxpayers, 'taxpayer')}, ranges compared with the channel's list")

    def _publish(self, messages: Sequence[Message] | Iterator[Message]) -> None:
        """Publish in portions, telling how far the answers are meanwhile."""
        remaining = iter(messages)
        while portion := list(islice(remaining, _AT_ONCE)):
            self._stage.publish(portion)
            self.course.messages += len(portion)
            self._look()

    def _until(self, holds: Callable[[], object], what: str) -> None:
        heard, since = -1, time.monotonic()
        while not holds():
            self._look()
            if self._audience.heard != heard:
                heard, since = self._audience.heard, time.monotonic()
            if time.monotonic() - since > PATIENCE:
                message = f"waited in vain for {what}: no event for {PATIENCE:.0f} s"
                raise DemoError(message)
            time.sleep(_LOOK)
        self._look()

    def _look(self) -> None:
        self._stage.check()
        self._teller.advance(self._audience.answered)

    def _count_waiting(self) -> int:
        with self._stage.engine.connect() as connection:
            return sum(1 for _ in list_waiting(connection, Filters(ENVIRONMENT.value)))


def _claim(company: Company, claim_id: str, quantity: int) -> Message:
    data = {"claim_id": claim_id, "quantity": quantity, "organization": company.code, "requested_by": "operator"}
    return write_request(Topic.CLAIM_REQUESTED, f"{claim_id}-0", data)


def _key(asked: Asked) -> tuple[str, str]:
    return asked.taxpayer_id or "", asked.issue_request_id


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
