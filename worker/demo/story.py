"""The story of the demo: what is sent, in which order, and what is waited for before it goes on."""

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from db.claims import undecided_claims
from db.listing import Filters, list_waiting
from db.refreshes import registered_taxpayers
from db.stocks import stocks_without_claim
from schemas.topics import Topic
from worker.broker.dead_letters import read_letters
from worker.broker.port import Message
from worker.demo.companies import Company, with_automatic_claims
from worker.demo.messages import write_messages, write_request
from worker.demo.stage import ENVIRONMENT, DemoError, Stage
from worker.demo.telling import Teller
from worker.demo.traffic import Sent, Traffic, Unreadable

#: Seconds without any event after which what is waited for won't come.
PATIENCE = 60.0
_LOOK = 0.05
_AT_ONCE = 50

#: Milliseconds that LeQi takes for an answer.
_LATENCY = 50

MANUAL_CLAIM, MANUAL_QUANTITY = "CLAIM-1", 100
TOO_LARGE_CLAIM, TOO_LARGE_QUANTITY = "CLAIM-2", 1001
REFRESH = "REFRESH-1"


@dataclass(slots=True)
class Course:
    """What happened on the way, for the summary."""

    messages: int = 0
    #: Business serials of the claims whose first answer got lost.
    lost: list[str] = field(default_factory=list)
    #: Requests that waited for the company for which nothing was claimed, just before that changed.
    waited: int = 0


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
        self._held_back = next((each for each in companies if not each.entry.automatic_claims), None)
        self.course = Course()

    def play(self) -> None:
        """Play all acts; raises `DemoError` where one doesn't come to its end."""
        self._stage.register([company.entry for company in self._companies])
        self._stage.start()
        self._lose_answers()
        self._send_traffic()
        self._allow_claims()
        self._send_late_copies()
        self._come_to_rest()
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
        bad = sum(isinstance(each, Unreadable) for each in self._traffic.main)
        self._teller.say(f"sent: {_count(sent, 'issue request')}, {_count(bad, 'unreadable message')}, a manual claim")
        held_back = sum(
            asked.refusal is None and self._held_back is not None and asked.organization == self._held_back.code
            for asked in self._traffic.asked
        )
        self._until(
            lambda: (
                self._audience.answered >= len(self._traffic.asked) - held_back and self._count_waiting() == held_back
            ),
            "the answers to the issue requests",
        )

    def _manual_claims(self) -> list[Message]:
        """Write a manual claim, the same once more, and one for more than an operator may claim."""
        data = {"organization": self._companies[0].code, "requested_by": "operator"}
        good = {"claim_id": MANUAL_CLAIM, "quantity": MANUAL_QUANTITY, **data}
        large = {"claim_id": TOO_LARGE_CLAIM, "quantity": TOO_LARGE_QUANTITY, **data}
        return [
            write_request(Topic.CLAIM_REQUESTED, f"{MANUAL_CLAIM}-0", good),
            write_request(Topic.CLAIM_REQUESTED, f"{MANUAL_CLAIM}-0", good),
            write_request(Topic.CLAIM_REQUESTED, f"{TOO_LARGE_CLAIM}-0", large),
        ]

    def _allow_claims(self) -> None:
        """Let claims be made for the company that had none, so that its requests need not wait any longer."""
        company = self._held_back
        self.course.waited = self._count_waiting()
        if company is None or not self.course.waited:
            return
        self._teller.say(f"{company.code}: {_count(self.course.waited, 'request')} waiting, claims were off; on now")
        self._stage.register([with_automatic_claims(company)])
        self._until(
            lambda: self._audience.answered >= len(self._traffic.asked),
            f"the answers to the requests of {company.code}",
        )

    def _send_late_copies(self) -> None:
        """Send requests again that were answered long ago."""
        late = self._traffic.late
        if not late:
            return
        self._publish(write_messages(late, self._dice))
        keys = [(sent.asked.taxpayer_id or "", sent.asked.issue_request_id) for sent in late]
        assigned = self._audience.assigned
        self._until(lambda: all(len(assigned[key]) > 1 for key in keys), "the same answers again")
        self._teller.say(f"asked again after the answer: {_count(len(late), 'request')}, answered again")

    def _come_to_rest(self) -> None:
        """Wait until no claim is under way, no stock is without one, and all that can't be read is put away."""
        letters = len(self._traffic.unreadable)
        self._until(lambda: len(read_letters(self._stage.broker_url)) >= letters, "the dead letters")
        self._until(self._is_at_rest, "the end of the last claims")

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

    def _until(self, holds: Callable[[], bool], what: str) -> None:
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


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
