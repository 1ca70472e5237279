"""New Year's night: what is sent when, by China's clock, and what is waited for before it goes on."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from rich.console import Console
from rich.text import Text
from sqlalchemy import Connection

from db.claims import undecided_claims
from db.listing import Filters, list_ranges, list_waiting
from db.ranges import count_remaining
from db.records import StockKey
from db.stocks import stocks_without_claim
from schemas.topics import Topic
from schemas.vocabulary import InvoiceKind
from worker.clock import CHINA
from worker.demo.companies import Company
from worker.demo.messages import write_messages, write_request
from worker.demo.stage import ENVIRONMENT, DemoError, Stage
from worker.demo.traffic import Asked, Sent
from worker.drill.audience import DrillAudience

#: How many times as fast as the machine's the drill's time flows, and how often it looks, in seconds of the machine.
PACE = 40.0
_TICK = 0.25
_LOOK = 0.05
#: Seconds without any event after which what is waited for won't come.
_PATIENCE = 60.0

#: The night, around midnight: it begins, a stock runs dry, LeQi turns its year, claims that brought the old one are
#: followed by others, the quiet company asks for the new year, the night ends.
BEFORE = timedelta(minutes=5)
_DRY = timedelta(seconds=10)
_AUTHORITY_LAGS = timedelta(minutes=4)
_NEXT_TRY = timedelta(minutes=10)
_QUIET_UNTIL = timedelta(minutes=12)
_AFTER = timedelta(minutes=14)

#: Milliseconds that LeQi takes for an answer, usually and over midnight.
_LATENCY, _LATENCY_OVER_MIDNIGHT = 25, 800

#: Requests of a company at each look, and the shares of those dated otherwise than most.
_AT_ONCE = 2
_NEXT_DAY, _DAY_AFTER, _LATE = 0.2, 0.05, 0.3

MANUAL_CLAIM, MANUAL_QUANTITY = "NIGHT-1", 20
BOUND_REQUEST = "NIGHT-BOUND"


@dataclass(frozen=True, slots=True)
class Question:
    """An issue request, and when it was sent."""

    asked: Asked
    sent_at: datetime


@dataclass(slots=True)
class Course:
    """What happened, for the reckoning and the tables."""

    questions: dict[str, Question] = field(default_factory=dict)
    #: Requests that waited when midnight struck.
    waiting_at_midnight: list[str] = field(default_factory=list)
    #: The request that came within the grace, when its year was over; and the one that came after it.
    within_grace: str = ""
    past_grace: str = ""


class Night:
    """Plays the night on a stage whose clock it moves; `course` is what happened so far, also where it breaks off.

    `companies` are several: the first claims by hand, the last but one runs dry at midnight, the last is quiet then.
    """

    def __init__(
        self,
        stage: Stage,
        audience: DrillAudience,
        companies: Sequence[Company],
        midnight: datetime,
        console: Console,
        dice: random.Random,
    ) -> None:
        self._stage = stage
        self._audience = audience
        self._companies = companies
        self._console = console
        self._dice = dice
        self._clock = stage.clock
        self.midnight = midnight
        self._old_year = midnight.year - 1
        self._old_day = date(self._old_year, 12, 31)
        self._new_day = date(midnight.year, 1, 1)
        self.course = Course()

    def play(self) -> None:
        """Play it all; raises `DemoError` where something that is waited for doesn't come."""
        self._set_authority()
        self._stage.simulator.put_faults(latency_ms=_LATENCY)
        self._stage.start()
        self._prepare()
        self._say("the evening: requests of this day, some dated tomorrow, which wait")
        self._flow_until(self.midnight - _DRY)
        self._run_dry()
        self._strike()
        self._flow_until(self.midnight + _AUTHORITY_LAGS)
        self._say(
            f"LeQi grants {self.midnight.year} from now on; {len(self._waiting())} requests wait for the next try"
        )
        self._flow_until(self.midnight + _NEXT_TRY)
        self._clock.flow_on(pace=PACE)
        self._until(lambda: not self._waiting(), "ranges of the new year")
        self._say("the next claims brought the new year, and who waited has its number")
        self._flow_until(self.midnight + _AFTER)
        self._clock.flow_on(pace=PACE)
        self._until(self._is_at_rest, "the answers of the night")
        self._say(f"the night is over: {len(self.course.questions)} requests, nobody waits")
        self._pass_the_grace()

    def _prepare(self) -> None:
        """Let everybody have stock of the old year, and the first company numbers by hand, one of them bound."""
        for company in self._companies:
            self._ask(company, self._old_day)
        first = self._companies[0]
        claim = {"claim_id": MANUAL_CLAIM, "organization": first.code, "quantity": MANUAL_QUANTITY}
        self._stage.publish([write_request(Topic.CLAIM_REQUESTED, MANUAL_CLAIM, {**claim, "requested_by": "operator"})])
        self._until(self._is_at_rest, "the first ranges")
        self._until(lambda: MANUAL_CLAIM in self._audience.claimed, "the range claimed by hand")
        [claimed, *_] = self._audience.claimed[MANUAL_CLAIM]
        binding = {
            "binding_id": BOUND_REQUEST,
            "organization": first.code,
            "number": claimed.first_number,
            "issue_request_id": BOUND_REQUEST,
            "action": "bind",
            "requested_by": "operator",
        }
        self._stage.publish([write_request(Topic.NUMBER_BINDING_REQUESTED, BOUND_REQUEST, binding)])
        self._until(lambda: self._audience.events[Topic.NUMBER_BOUND] > 0, "the binding")

    def _flow_until(self, instant: datetime) -> None:
        """Send the load of the hour, tick by tick, until the drill's clock shows the instant, and stands still there.

        On a machine that has much else to do a tick may take longer than what is left of the year.
        """
        self._clock.flow_on(pace=PACE, until=instant)
        while self._clock.now() < instant:
            self._tick()
            for company in self._companies:
                for _ in range(_AT_ONCE):
                    self._ask(company, self._date_for(company))
            time.sleep(_TICK)

    def _run_dry(self) -> None:
        """Let a stock run out at the last moment, so that the claim for it is in flight when midnight strikes."""
        company = self._companies[-2]
        self._until(self._is_at_rest_but_for_tomorrow, "the end of the evening's claims")
        self._stage.simulator.put_faults(latency_ms=_LATENCY_OVER_MIDNIGHT)
        with self._stage.engine.connect() as connection:
            left = self._remaining(connection, company)
        for _ in range(left + 5):
            self._ask(company, self._old_day)
        self._until(lambda: self._is_claiming(company), f"the claim of {company.code}")
        self._say(f"{company.code} has used up its stock: 5 requests wait, its claim is in flight")

    def _strike(self) -> None:
        """Let midnight strike."""
        self.course.waiting_at_midnight = self._waiting()
        self._clock.flow_on(at=self.midnight, pace=PACE)
        waiting = len(self.course.waiting_at_midnight)
        self._say(f"midnight in China; {waiting} requests wait, LeQi still grants {self._old_year}")
        self._tick()
        self._until(lambda: not self._is_claiming(self._companies[-2]), "the claim in flight")
        self._stage.simulator.put_faults(latency_ms=_LATENCY)

    def _pass_the_grace(self) -> None:
        """Ask for an old number at the end of the grace, let the old year end, and ask once more."""
        company = self._with_old_stock()
        self._leap(self.midnight + timedelta(days=2) - timedelta(minutes=1))
        self.course.within_grace = self._ask(company, self._old_day)
        self._until(lambda: self._audience.answered >= len(self.course.questions), "a number within the grace")
        self._say(f"the last minute of the grace: {company.code} still gets a number of {self._old_year}")
        self._leap(self.midnight + timedelta(days=2))
        self._until(self._has_expired, "the end of the old year's ranges")
        self.course.past_grace = self._ask(company, self._old_day)
        self._until(lambda: self._audience.answered >= len(self.course.questions), "the refusal past the grace")
        unused = sum(each.unused for each in self._audience.ended.values())
        self._say(f"the grace is over: {len(self._audience.ended)} ranges expired with {unused} unused numbers")

    def _leap(self, instant: datetime) -> None:
        self._clock.flow_on(at=instant)
        self._tick()

    def _tick(self) -> None:
        self._stage.check()
        self._set_authority()
        self._stage.hurry()

    def _set_authority(self) -> None:
        """Set LeQi's clock: ours, but for the first minutes of the year, in which it still shows the old one."""
        now = self._clock.now()
        lags = self.midnight <= now < self.midnight + _AUTHORITY_LAGS
        self._stage.simulator.put_clock(self.midnight - timedelta(seconds=1) if lags else now)

    def _date_for(self, company: Company) -> date:
        quiet = company is self._companies[-1]
        chance = self._dice.random()
        if self._clock.now() < self.midnight:
            if quiet or chance >= _NEXT_DAY:
                return self._old_day
            return self._new_day + timedelta(days=chance < _DAY_AFTER)
        if quiet and self._clock.now() < self.midnight + _QUIET_UNTIL:
            return self._old_day
        return self._old_day if chance < _LATE else self._new_day

    def _ask(self, company: Company, day: date) -> str:
        key = f"NIGHT-{len(self.course.questions) + 1:06}"
        asked = Asked(key, company.code, company.entry.taxpayer_id, day, InvoiceKind.BLUE)
        self.course.questions[key] = Question(asked, self._clock.now())
        self._stage.publish(list(write_messages([Sent(asked, key)], self._dice)))
        return key

    def _waiting(self) -> list[str]:
        with self._stage.engine.connect() as connection:
            return [str(row["issue_request_id"]) for row in list_waiting(connection, Filters(ENVIRONMENT.value))]

    def _is_claiming(self, company: Company) -> bool:
        with self._stage.engine.connect() as connection:
            undecided = undecided_claims(connection, ENVIRONMENT.value, company.entry.taxpayer_id)
        return any(claim.year == self._old_year for claim in undecided)

    def _is_at_rest(self) -> bool:
        return self._audience.answered >= len(self.course.questions) and self._claims_rest()

    def _is_at_rest_but_for_tomorrow(self) -> bool:
        tomorrow = sum(each.asked.issue_date == self._new_day for each in self.course.questions.values())
        return self._audience.answered >= len(self.course.questions) - tomorrow and self._claims_rest()

    def _claims_rest(self) -> bool:
        now, environment = self._clock.now(), ENVIRONMENT.value
        with self._stage.engine.connect() as connection:
            return not (
                stocks_without_claim(connection, environment, [self._clock.year()], now=now, most=1)
                or undecided_claims(connection, environment, None)
            )

    def _has_expired(self) -> bool:
        with self._stage.engine.connect() as connection:
            ranges = list(list_ranges(connection, Filters(ENVIRONMENT.value, year=self._old_year)))
        expired = sum(row["status"] == "expired" for row in ranges)
        return len(self._audience.ended) >= expired and not any(row["status"] == "active" for row in ranges)

    def _remaining(self, connection: Connection, company: Company) -> int:
        key = StockKey(company.entry.taxpayer_id, company.entry.channel_mode.value, self._old_year)
        return count_remaining(connection, ENVIRONMENT.value, key)

    def _with_old_stock(self) -> Company:
        """Find a company that has numbers of the old year left."""
        with self._stage.engine.connect() as connection:
            for company in self._companies:
                if self._remaining(connection, company):
                    return company
        message = "nobody has a number of the old year left"
        raise DemoError(message)

    def _until(self, holds: Callable[[], bool], what: str) -> None:
        heard, since = -1, time.monotonic()
        while not holds():
            self._tick()
            if self._audience.heard != heard:
                heard, since = self._audience.heard, time.monotonic()
            if time.monotonic() - since > _PATIENCE:
                message = f"waited in vain for {what}: no event for {_PATIENCE:.0f} s"
                raise DemoError(message)
            time.sleep(_LOOK)

    def _say(self, line: str) -> None:
        shown = self._clock.now().astimezone(CHINA)
        self._console.print(Text(f"{shown:%Y-%m-%d %H:%M:%S}  {line}"))
