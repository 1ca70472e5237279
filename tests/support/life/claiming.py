"""The model of claims: what each answer of LeQi does (contract, rules 7 to 9; domain page, "Check every grant")."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from tests.support.life.cast import (
    ABANDON_AFTER,
    CAUTIOUS,
    CHANNELS,
    CHINA,
    DIGITS,
    NEXT_YEAR_FROM,
    ORGANIZATIONS,
    Stock,
    year_of,
)
from tests.support.life.issuing import Issuing
from tests.support.life.ledger import Claim, Range
from tests.support.life.stocks import stamp
from worker.leqi.port import Answer, Granted, Refused, Throttled, Unknown

_JITTER = 0.2
_LONG_WAIT = timedelta(minutes=10)


class Ask(NamedTuple):
    """One `claim-requested`."""

    claim_id: str
    organization: str
    quantity: int


class Claiming(Issuing):
    """Claims, and what they bring."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        self.throttled_until = now

    def claimable_years(self) -> tuple[int, ...]:
        """See `Stocks.claimable_years`."""
        today = self.now.astimezone(CHINA)
        ahead = (today.month, today.day) >= NEXT_YEAR_FROM
        return (today.year, today.year + 1) if ahead else (today.year,)

    def claim_by_hand(self, asks: Sequence[Ask]) -> None:
        """Record manual claims, or answer them at once."""
        for ask in asks:
            self._claim_by_hand(ask)

    def _claim_by_hand(self, ask: Ask) -> None:
        if ask.organization not in ORGANIZATIONS:
            self._refuse_claim(ask, None, "unknown-organization")
            return
        taxpayer_id, mode = ORGANIZATIONS[ask.organization]
        before = self.find_claim(taxpayer_id, ask.claim_id)
        if not 1 <= ask.quantity <= 1000:
            self._refuse_claim(ask, taxpayer_id, "quantity-out-of-bounds")
        elif before is None:
            stock = Stock(taxpayer_id, mode, self.year)
            claim = Claim(stock, True, ask.quantity, ask.organization, self.now, ask.claim_id)
            claim.due = (self.now, self.now)
            self.claims.append(claim)
        elif (before.organization, before.quantity, before.manual) != (ask.organization, ask.quantity, True):
            self._refuse_claim(ask, taxpayer_id, "conflicting-request")
        elif before.status == "granted":
            self._tell_claimed(before)
        elif not before.is_undecided:
            self._tell_failed(before, None)

    def find_claim(self, taxpayer_id: str, claim_id: str) -> Claim | None:
        """Find a claim by its id."""
        return next(
            (each for each in self.claims if (each.stock.taxpayer_id, each.id) == (taxpayer_id, claim_id)), None
        )

    def hear(self, events: Sequence[tuple[Stock, int]]) -> None:
        """Hear that stocks ran low or out, each in an episode; what is not of the present one is late."""
        for stock in dict.fromkeys(stock for stock, _ in sorted(events)):
            if (stock, self.shelf(stock).episode) in events:
                self.claim_if_needed(stock)

    def look_for_stocks(self) -> None:
        """Look for stocks that need a claim and have none."""
        for stock in list(self.shelves):
            if self.shelves[stock].level in {"low", "exhausted"} and self._may_be_looked_up(stock):
                self.claim_if_needed(stock)

    def _may_be_looked_up(self, stock: Stock) -> bool:
        policy = CHANNELS.get((stock.taxpayer_id, stock.channel_mode))
        later = self.shelf(stock).not_before
        return (
            policy is not None
            and policy.automatic
            and stock.taxpayer_id not in self.paused
            and stock.year in self.claimable_years()
            and (later is None or later <= self.now)
        )

    # Calls.

    def due_claims(self) -> list[Claim]:
        """Claims that must be asked for by now."""
        if self.throttled_until > self.now:
            return []
        return [each for each in self.claims if each.is_undecided and each.due[1] <= self.now]

    def answer(self, claim: Claim, answer: Answer, *, listed: bool = False) -> None:
        """LeQi, or a list, says what became of a claim."""
        if not claim.is_undecided:
            return
        match answer:
            case Granted():
                self._granted(claim, answer)
            case Throttled():
                assert not listed
                self.throttled_until = self.now + timedelta(minutes=5)
                claim.due = (self.throttled_until, self.throttled_until)
                claim.reason = "leqi-throttled"
                self._tell_unresolved(claim, "leqi-throttled", self.now)
            case Refused() if claim.unknown_outcomes == 0:
                retry_at = self._put_off(claim)
                self._close(claim, "refused", "leqi-refused")
                self._tell_failed(claim, retry_at)
            case Refused():
                self._unknown(claim, "leqi-refused")
            case Unknown():
                self._unknown(claim, "leqi-unreachable")
        self.close_ranges()

    def _unknown(self, claim: Claim, reason: str) -> None:
        if self.now - claim.born > ABANDON_AFTER:
            self._close(claim, "abandoned", reason)
            self._tell_failed(claim, None)
            return
        claim.unknown_outcomes += 1
        claim.reason = reason
        seconds = 2 ** (claim.unknown_outcomes - 1)
        wait = timedelta(seconds=min(seconds, 60))
        # 1, 2, 4 … 60 s, give or take a fifth; then every 10 min.
        spread = wait * _JITTER if seconds < 120 else timedelta()
        wait = wait if seconds < 120 else _LONG_WAIT
        claim.due = (self.now + wait - spread, self.now + wait + spread)
        if claim.status == "open" and claim.unknown_outcomes > 3:
            self._put_off(claim)
            claim.status = "unresolved"
            self._tell_unresolved(claim, reason, "replays")

    def _granted(self, claim: Claim, answer: Granted) -> None:
        fault = self._fault(claim, answer)
        if fault:
            self._quarantine(claim, answer)
            return
        stock = Stock(claim.stock.taxpayer_id, claim.stock.channel_mode, year_of(answer.first_number))
        self._close(claim, "granted", None)
        if not claim.manual:
            shelf = self.shelf(claim.stock)
            shelf.failures, shelf.not_before, shelf.at_most = 0, None, None
            if stock != claim.stock:
                shelf.not_before, shelf.at_most = self._after_another_year(claim), CAUTIOUS
                shelf.limited_in = self.year
        came = Range(stock, answer.first_number, answer.last_number, claim.manual, "active", self.now, claim)
        claim.range = came
        self.ranges.append(came)
        self.shelf(stock)
        self._tell_claimed(claim)
        if claim.manual:
            for number in came.numbers.values():
                self.move(number, "available")
            return
        policy = CHANNELS[stock.taxpayer_id, stock.channel_mode]
        shelf = self.shelf(stock)
        shelf.level, shelf.low_at = "ok", int(policy.threshold * claim.quantity)
        self.serve(stock)

    def _after_another_year(self, claim: Claim) -> datetime:
        """When to ask again: in January soon; in December, for next year's stock, on the next day."""
        if claim.stock.year <= self.year:
            return self.now + _LONG_WAIT
        tomorrow = self.now.astimezone(CHINA).date() + timedelta(days=1)
        return datetime(tomorrow.year, tomorrow.month, tomorrow.day, tzinfo=CHINA)

    def _fault(self, claim: Claim, answer: Granted) -> bool:
        first, last = answer.first_number, answer.last_number
        if not _is_extent(first, last):
            return True
        count = int(last) - int(first) + 1
        strange = count != answer.quantity or count != claim.quantity
        strange |= abs(year_of(first) - self.year) > 1 or first[4:6] != DIGITS[claim.stock.channel_mode]
        return strange or self.overlaps(first, last)

    def overlaps(self, first: str, last: str) -> bool:
        """Whether a range that is held, or listed, has a number of these."""
        return any(each.first <= last and first <= each.last for each in self.held())

    def _quarantine(self, claim: Claim, answer: Granted) -> None:
        retry_at = self._put_off(claim)
        self._close(claim, "quarantined", "grant-invalid")
        self._tell_failed(claim, retry_at)
        first, last = answer.first_number, answer.last_number
        if not _is_extent(first, last):
            return
        stock = Stock(claim.stock.taxpayer_id, claim.stock.channel_mode, year_of(first))
        self.shelf(stock)
        bad = Range(stock, first, last, claim.manual, "quarantined", self.now, claim)
        self.ranges.append(bad)
        self.tell(
            "range-quarantined",
            (stock.taxpayer_id, claim.id),
            taxpayer_id=stock.taxpayer_id,
            year=stock.year,
            first_number=first,
            last_number=last,
            unused=bad.quantity,
            reason="grant-invalid",
        )

    def _put_off(self, claim: Claim) -> datetime | None:
        if claim.manual or claim.status != "open":
            return None
        shelf = self.shelf(claim.stock)
        shelf.failures, shelf.at_most = shelf.failures + 1, self.limit(claim.stock)
        shelf.not_before = self.now + timedelta(seconds=min(10 * 2 ** (shelf.failures - 1), 600))
        return shelf.not_before

    def _close(self, claim: Claim, status: str, reason: str | None) -> None:
        claim.status, claim.reason, claim.settled_at = status, reason, self.now

    def abandon(self, claim: Claim, reason: str) -> None:
        """Give a claim up: what it would bring must not be used."""
        self._close(claim, "abandoned", reason)
        self._tell_failed(claim, None)

    # What is told.

    def _tell_claimed(self, claim: Claim) -> None:
        came = claim.range
        assert came is not None
        self.tell(
            "range-claimed",
            (claim.stock.taxpayer_id, claim.id),
            claim_id=claim.id,
            claim_mode="manual" if claim.manual else "automatic",
            organization=claim.organization,
            taxpayer_id=claim.stock.taxpayer_id,
            first_number=came.first,
            last_number=came.last,
            quantity=came.quantity,
            year=came.stock.year,
        )

    def _tell_failed(self, claim: Claim, retry_at: datetime | None) -> None:
        self.tell(
            "claim-failed",
            (claim.stock.taxpayer_id, claim.id, claim.status),
            claim_id=claim.id,
            taxpayer_id=claim.stock.taxpayer_id,
            quantity=claim.quantity,
            reason=claim.reason,
            next_attempt_at=stamp(retry_at),
        )

    def _tell_unresolved(self, claim: Claim, reason: str, occurrence: object) -> None:
        self.tell(
            "claim-unresolved",
            (claim.stock.taxpayer_id, claim.id, reason, occurrence),
            claim_id=claim.id,
            taxpayer_id=claim.stock.taxpayer_id,
            quantity=claim.quantity,
            reason=reason,
        )

    def _refuse_claim(self, ask: Ask, taxpayer_id: str | None, reason: str) -> None:
        self.tell(
            "claim-failed",
            claim_id=ask.claim_id,
            taxpayer_id=taxpayer_id,
            quantity=ask.quantity,
            reason=reason,
            next_attempt_at=None,
        )


def _is_extent(first: str, last: str) -> bool:
    numbers = all(len(each) == 20 and each.isdigit() for each in (first, last))
    return numbers and first[:6] == last[:6] and first <= last
