"""The traffic of the demo, planned from a seed: issue requests, what must come of each, and what nobody can read."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from schemas.reasons import Reason
from schemas.vocabulary import InvoiceKind
from worker.demo.companies import Company, calm_company

#: Shares of the issue requests.
_SENT_AGAIN = 0.05
_UNREADABLE = 0.01
_RED = 0.12
#: Below so many requests, none is refused, and none gets its number by hand.
_FEWEST_WITH_REFUSALS = 20
#: Invoices are dated up to so many days back.
_DAYS_BACK = 9
#: Stocks whose first claim's answer gets lost.
_STOCKS_WITH_LOST_ANSWER = 3


@dataclass(frozen=True, slots=True)
class Asked:
    """An issue request; requests that differ in anything are different requests, also under one key."""

    issue_request_id: str
    organization: str
    #: None where nobody registered the organisation.
    taxpayer_id: str | None
    issue_date: date
    kind: InvoiceKind
    number: str | None = None
    #: With what it must be refused; None: it must get a number.
    refusal: Reason | None = None

    def as_data(self) -> dict[str, object]:
        """Give the `data` of its message."""
        data: dict[str, object] = {
            "issue_request_id": self.issue_request_id,
            "organization": self.organization,
            "issue_date": self.issue_date.isoformat(),
            "kind": self.kind.value,
        }
        if self.number is not None:
            data["number"] = self.number
        return data


@dataclass(frozen=True, slots=True)
class Sent:
    """One sending of a request; a second one may be the same message again, or a new message with the same request."""

    asked: Asked
    event_id: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message that must end among the dead letters; `kind` is one of `KINDS`."""

    kind: str
    name: str


#: Each kind of unreadable message with the reason it gets there. The last one is large, so it is sent once.
KINDS = {
    "no-json": Reason.MALFORMED,
    "unknown-field": Reason.MALFORMED,
    "unknown-type": Reason.UNKNOWN_TYPE,
    "impossible-date": Reason.MALFORMED,
    "wrong-environment": Reason.WRONG_ENVIRONMENT,
    "missing-field": Reason.MALFORMED,
    "torn-batch": Reason.MALFORMED,
    "too-large": Reason.TOO_LARGE,
}


@dataclass(frozen=True, slots=True)
class ByHand:
    """Requests of the company that has a manual range, each with its way to a number."""

    #: A manual number is bound to it before it is asked.
    bound: Asked
    #: It names the manual number that it uses.
    named: Asked
    #: A number is bound to it and freed again, so it takes one of the stock.
    freed: Asked

    @property
    def all(self) -> tuple[Asked, ...]:
        """Give all of them."""
        return self.bound, self.named, self.freed


@dataclass(slots=True)
class Traffic:
    """Everything that is sent, in its order."""

    #: Every request, each once.
    asked: list[Asked] = field(default_factory=list)
    #: The first request of some stocks, whose claims' answers get lost.
    opening: list[Sent] = field(default_factory=list)
    #: All others, some twice, among what nobody can read.
    main: list[Sent | Unreadable] = field(default_factory=list)
    #: Requests that are sent again when everything is answered.
    late: list[Sent] = field(default_factory=list)
    #: Requests of the company that issues at a calm pace.
    calm: list[Sent] = field(default_factory=list)
    #: Requests whose numbers an operator has a hand in.
    by_hand: ByHand | None = None

    @property
    def unreadable(self) -> list[Unreadable]:
        """What nobody can read."""
        return [each for each in self.main if isinstance(each, Unreadable)]

    @property
    def sendings(self) -> Counter[Asked]:
        """How often each request is sent, before any number is released."""
        planned = (*self.opening, *self.main, *self.late, *self.calm)
        by_hand = self.by_hand.all if self.by_hand is not None else ()
        return Counter([sent.asked for sent in planned if isinstance(sent, Sent)]) + Counter(by_hand)


def plan_traffic(companies: Sequence[Company], invoices: int, today: date, dice: random.Random) -> Traffic:
    """Plan `invoices` issue requests of the companies, on China's `today`.

    Of them 5 % are sent twice: one half of these in the midst, as the same message or with a new id, one half after
    everything is answered. 1 % more can't be read by anybody. One company's requests come at a calm pace, and some
    of the first company's get their number by hand.
    """
    traffic = Traffic(by_hand=_plan_by_hand(companies[0], invoices, today))
    refused = _plan_refusals(companies, invoices, today, dice)
    by_hand = len(traffic.by_hand.all) if traffic.by_hand is not None else 0
    calm = calm_company(companies)
    every = [_plain(number, dice, companies, today) for number in range(invoices - len(refused) - by_hand)]
    traffic.calm = [sent_of(asked) for asked in every if calm is not None and asked.organization == calm.code]
    plain = [asked for asked in every if calm is None or asked.organization != calm.code]
    openers = _openers(companies, plain)
    rest = [asked for asked in plain if asked not in set(openers)]
    first, second = rest[: len(rest) // 2], rest[len(rest) // 2 :]
    again = dice.sample(rest, min(len(rest), round(invoices * _SENT_AGAIN)))
    again_meanwhile, again_late = again[: len(again) // 2], again[len(again) // 2 :]

    sendings = [sent_of(asked) for asked in second]
    sendings += [sent_of(asked, again=number % 2) for number, asked in enumerate(again_meanwhile)]
    sendings += [sent_of(asked) for asked in _with_keys_for_conflicts(refused, first or openers)]
    later: list[Sent | Unreadable] = [*sendings, *_plan_unreadable(invoices)]
    dice.shuffle(later)
    traffic.opening = [sent_of(asked) for asked in openers]
    traffic.main = [*(sent_of(asked) for asked in first), *later]
    traffic.late = [sent_of(asked, again=number % 2) for number, asked in enumerate(again_late)]
    traffic.asked = list(traffic.sendings)
    return traffic


def _plan_by_hand(company: Company, invoices: int, today: date) -> ByHand | None:
    if invoices < _FEWEST_WITH_REFUSALS:
        return None
    ways = (f"HAND-{way}" for way in ("BOUND", "NAMED", "FREED"))
    return ByHand(*(Asked(way, company.code, company.entry.taxpayer_id, today, InvoiceKind.BLUE) for way in ways))


def _plain(number: int, dice: random.Random, companies: Sequence[Company], today: date) -> Asked:
    company = dice.choices(companies, [each.weight for each in companies])[0]
    day = max(today - timedelta(days=dice.randint(0, _DAYS_BACK)), today.replace(month=1, day=1))
    return Asked(
        f"INV-{number + 1:07}",
        company.code,
        company.entry.taxpayer_id,
        day,
        InvoiceKind.RED if dice.random() < _RED else InvoiceKind.BLUE,
    )


def _openers(companies: Sequence[Company], plain: Sequence[Asked]) -> list[Asked]:
    """Find the first request of each of some stocks for which claims are made by themselves."""
    stock_of = {company.code: company.stock for company in companies if company.entry.automatic_claims}
    openers: dict[object, Asked] = {}
    for asked in plain:
        if asked.organization in stock_of and len(openers) < _STOCKS_WITH_LOST_ANSWER:
            openers.setdefault(stock_of[asked.organization], asked)
    return list(openers.values())


def _plan_refusals(companies: Sequence[Company], invoices: int, today: date, dice: random.Random) -> list[Asked]:
    """Plan requests that must be refused; those that will conflict have no key yet."""
    if invoices < _FEWEST_WITH_REFUSALS:
        return []
    shares = {
        Reason.CONFLICTING_REQUEST: 0.004,
        Reason.UNKNOWN_ORGANIZATION: 0.002,
        Reason.ISSUE_DATE_OUT_OF_YEAR: 0.002,
        Reason.NUMBER_NOT_AVAILABLE: 0.001,
    }
    return [
        _refused(reason, number, dice.choice(companies), today)
        for reason, share in shares.items()
        for number in range(max(1, round(invoices * share)))
    ]


def _refused(reason: Reason, number: int, company: Company, today: date) -> Asked:
    asked = Asked(
        f"REF-{reason.value}-{number + 1:05}",
        company.code,
        company.entry.taxpayer_id,
        today,
        InvoiceKind.BLUE,
        refusal=reason,
    )
    match reason:
        case Reason.UNKNOWN_ORGANIZATION:
            return replace(asked, organization="NOBODY", taxpayer_id=None)
        case Reason.ISSUE_DATE_OUT_OF_YEAR:
            return replace(asked, issue_date=date(today.year - 1, 12, 31))
        case Reason.NUMBER_NOT_AVAILABLE:
            # Of no region that there is, so it lies in nobody's range.
            return replace(asked, number=f"{today.year % 100:02}00{company.entry.channel_mode.digits}{number + 1:014}")
        case _:
            return asked


def _with_keys_for_conflicts(refused: Sequence[Asked], earlier: Sequence[Asked]) -> list[Asked]:
    """Let each request that must conflict use the key of an earlier one, with the other kind."""
    others = {InvoiceKind.BLUE: InvoiceKind.RED, InvoiceKind.RED: InvoiceKind.BLUE}
    whole: list[Asked] = []
    victims = iter(earlier)
    for asked in refused:
        if asked.refusal is Reason.CONFLICTING_REQUEST:
            victim = next(victims)
            whole.append(replace(victim, kind=others[victim.kind], refusal=asked.refusal))
        else:
            whole.append(asked)
    return whole


def _plan_unreadable(invoices: int) -> list[Unreadable]:
    """Plan at least one of each kind, and the large one only once."""
    kinds = list(KINDS)
    small = kinds[:-1]
    number = max(len(kinds), round(invoices * _UNREADABLE))
    drawn = [small[place % len(small)] for place in range(number - 1)]
    return [Unreadable(kind, f"BAD-{place + 1:06}") for place, kind in enumerate([*drawn, kinds[-1]])]


def sent_of(asked: Asked, *, again: int = 0) -> Sent:
    """Send the request: as its first message, or as a new message with the same request."""
    return Sent(asked, f"{asked.issue_request_id}-{asked.kind}-{again}")
