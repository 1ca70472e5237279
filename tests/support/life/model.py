"""The model: outcomes of uploads, and what time, operators and gateways do (contract, rules 3, 10 and 11)."""

from collections.abc import Sequence
from datetime import date, datetime
from typing import NamedTuple

from tests.support.life.cast import (
    CHANNELS,
    CHINA,
    DIGITS,
    GRACE,
    ORGANIZATIONS,
    OUTCOME_LIMIT,
    Stock,
    china_year,
    year_of,
)
from tests.support.life.claiming import Claiming
from tests.support.life.ledger import UNTOUCHED, Number, Range
from tests.support.life.stocks import stamp
from worker.leqi.port import Granted, ListedRange

_TOLD_BY = {
    "used": "number-used",
    "available": "number-released",
    "voided": "number-voided",
    "held": "number-held",
}


class Report(NamedTuple):
    """One `invoice-outcome`."""

    outcome_id: str
    organization: str
    issue_request_id: str
    invoice_number: str
    outcome: str
    reuse: bool

    @property
    def data(self) -> dict[str, object]:
        """What its answers repeat."""
        return {
            "outcome_id": self.outcome_id,
            "issue_request_id": self.issue_request_id,
            "organization": self.organization,
            "invoice_number": self.invoice_number,
        }


class Model(Claiming):
    """Everything that a worker does, as the contract has it."""

    def __init__(self, now: datetime) -> None:
        super().__init__(now)
        #: What each outcome id of a taxpayer did: the report, the state, when, and as which change of the number.
        self.outcomes: dict[tuple[str, str], tuple[Report, str, datetime, int]] = {}
        self.refreshes: dict[tuple[str, str], dict[str, object]] = {}
        self._told_overdue: set[tuple[str, datetime]] = set()

    # Outcomes.

    def report(self, reports: Sequence[Report]) -> None:
        """Judge outcomes one after the other; what came back is given out at the end."""
        returned = [number for number in [self._report(each) for each in reports] if number is not None]
        for number in returned:
            if number.range.status == "used-up":
                number.range.status = "active"
        for stock in sorted({each.range.stock for each in returned if not each.range.manual}):
            if self.shelf(stock).level == "exhausted":
                self.shelf(stock).level = "low" if self.shelf(stock).low_at else "ok"
                self.serve(stock)
        self.close_ranges()

    def _report(self, report: Report) -> Number | None:
        if report.organization not in ORGANIZATIONS:
            self._refuse_report(report, None, "unknown-organization")
            return None
        taxpayer_id, _ = ORGANIZATIONS[report.organization]
        before = self.outcomes.get((taxpayer_id, report.outcome_id))
        if before is not None:
            if before[0] == report:
                self._tell_outcome(taxpayer_id, *before)
            else:
                self._refuse_report(report, taxpayer_id, "conflicting-request")
            return None
        number = self.find(report.invoice_number)
        refusal = self._cannot_report(report, taxpayer_id, number)
        if refusal is not None or number is None:
            self._refuse_report(report, taxpayer_id, refusal or "outcome-conflict")
            return None
        became = self._becomes(report, number)
        if became == number.state:
            self._refuse_report(report, taxpayer_id, "outcome-conflict")
            return None
        done = (report, became, self.now, len(number.states))
        self.outcomes[taxpayer_id, report.outcome_id] = done
        self.move(number, became)
        if became in {"available", "voided"}:
            request = self.requests[taxpayer_id, report.issue_request_id]
            self.leave_queue(request, "closed", "released" if became == "available" else "voided")
            request.number = None
        self._tell_outcome(taxpayer_id, *done)
        return number if became == "available" else None

    def _cannot_report(self, report: Report, taxpayer_id: str, number: Number | None) -> str | None:
        if number is not None and number.range.stock.taxpayer_id != taxpayer_id:
            return "number-of-another-taxpayer"
        if (taxpayer_id, report.issue_request_id) not in self.requests:
            return "unknown-request"
        if number is None or number.holder != report.issue_request_id or number.state not in {"assigned", "held"}:
            return "outcome-conflict"
        return None

    def _becomes(self, report: Report, number: Number) -> str:
        if report.outcome != "failed":
            return {"uploaded": "used", "unknown": "held"}[report.outcome]
        lives = number.range.status in {"active", "used-up"} and year_of(number.text) >= self.living_year
        return "available" if report.reuse and lives else "voided"

    def _tell_outcome(self, taxpayer_id: str, done: Report, became: str, at: datetime, change: int) -> None:
        fact = (taxpayer_id, done.invoice_number, change)
        self.tell(_TOLD_BY[became], fact, **done.data, taxpayer_id=taxpayer_id, at=stamp(at))

    def _refuse_report(self, report: Report, taxpayer_id: str | None, reason: str) -> None:
        self.tell("outcome-refused", **report.data, taxpayer_id=taxpayer_id, at=stamp(self.now), reason=reason)

    def tell_overdue(self) -> None:
        """Tell once of each number that has waited too long for a definite outcome."""
        for number in self.numbers():
            at = number.assigned_at
            if number.state not in {"assigned", "held"} or at is None or at > self.now - OUTCOME_LIMIT:
                continue
            if (number.text, at) in self._told_overdue:
                continue
            self._told_overdue.add((number.text, at))
            taxpayer_id = number.range.stock.taxpayer_id
            request = self.requests[taxpayer_id, number.holder or ""]
            self.tell(
                "outcome-overdue",
                (number.text, at),
                outcome_id=None,
                issue_request_id=request.id,
                organization=request.organization,
                taxpayer_id=taxpayer_id,
                invoice_number=number.text,
                at=stamp(self.now),
            )

    # The year.

    @property
    def living_year(self) -> int:
        """The first year whose numbers still live."""
        return china_year(self.now - GRACE)

    def expire(self, taxpayer_id: str | None = None) -> None:
        """End ranges of years that are over."""
        due = [each for each in self.ranges if each.status == "active" and each.stock.year < self.living_year]
        due = [each for each in due if taxpayer_id in {None, each.stock.taxpayer_id}]
        for each in due:
            self.end_range(each, "expired", "year-ended")
        for stock in sorted({each.stock for each in due}):
            if self.queue(stock) and self.shelf(stock).level != "new":
                self.judge_level(stock)

    def open_new_year(self) -> None:
        """Make the first claim of a year for whoever had automatic numbers of the year before."""
        for year in self.claimable_years():
            for taxpayer_id, mode in CHANNELS:
                stock, before = Stock(taxpayer_id, mode, year), Stock(taxpayer_id, mode, year - 1)
                shelf = self.shelves.get(stock)
                had = any(r.stock == before and not r.manual and r.status != "foreign" for r in self.ranges)
                later = shelf is not None and shelf.not_before is not None and shelf.not_before > self.now
                if had and (shelf is None or shelf.level == "new") and not later:
                    self.claim_if_needed(stock, opening=True)

    # Operators.

    def pause(self, taxpayer_id: str) -> None:
        """Stop a taxpayer's stocks."""
        self.paused.add(taxpayer_id)

    def resume(self, taxpayer_id: str) -> bool:
        """Let a taxpayer's stocks work again; False where they did all the time."""
        if taxpayer_id not in self.paused:
            return False
        self.paused.remove(taxpayer_id)
        stocks = sorted(stock for stock in self.shelves if stock.taxpayer_id == taxpayer_id)
        for stock in stocks:
            if self.shelf(stock).level != "new":
                self.serve(stock)
        for stock in stocks:
            self.claim_if_needed(stock)
        self.close_ranges()
        return True

    def retire(self, taxpayer_id: str, before: date) -> None:
        """Retire what was claimed before a day begins in China."""
        instant = datetime(before.year, before.month, before.day, tzinfo=CHINA)
        gave = set()
        for each in [one for one in self.ranges if one.status in {"active", "used-up", "foreign"}]:
            asked = each.born if each.claim is None else min(each.born, each.claim.born)
            if each.stock.taxpayer_id == taxpayer_id and asked < instant:
                if each.status == "active" and not each.manual:
                    gave.add(each.stock)
                self.end_range(each, "retired", "retired")
        for claim in self.claims:
            if claim.is_undecided and claim.stock.taxpayer_id == taxpayer_id and claim.born < instant:
                self.abandon(claim, "retired")
                shelf = self.shelf(claim.stock)
                shelf.not_before, shelf.at_most, shelf.failures = None, None, 0
        for stock in sorted(gave):
            self.judge_level(stock)

    def release(self, foreign: Range) -> bool:
        """Make a foreign range usable; False where it may not be."""
        others = [each for each in self.held() if each is not foreign]
        overlapping = any(each.first <= foreign.last and foreign.first <= each.last for each in others)
        may = foreign.status == "foreign" and foreign.listed_unused == foreign.quantity and not overlapping
        known = (foreign.stock.taxpayer_id, foreign.stock.channel_mode) in CHANNELS
        if not may or not known or foreign.stock.year < self.living_year:
            return False
        foreign.status = "active"
        self.shelf(foreign.stock).level = "ok"
        self.serve(foreign.stock)
        self.close_ranges()
        return True

    # Refreshing; the replays are calls like others.

    def refresh(self, taxpayer_id: str, refresh_id: str, undecided: int, listed: Sequence[ListedRange] | None) -> None:
        """Compare with a list, expire, count and answer; `undecided` claims were so before their replays."""
        name = (taxpayer_id, refresh_id)
        if name not in self.refreshes:
            differences = [_difference("listing-unavailable")] if listed is None else self._compare(taxpayer_id, listed)
            self.expire(taxpayer_id)
            left = sum(each.is_undecided for each in self.claims if each.stock.taxpayer_id == taxpayer_id)
            self.refreshes[name] = {
                "refresh_id": refresh_id,
                "taxpayer_id": taxpayer_id,
                **self._count(taxpayer_id),
                "resolved_claims": undecided - left,
                "unresolved_claims": left,
                "differences": differences,
            }
        self.tell("range-refreshed", name, **self.refreshes[name])

    def _count(self, taxpayer_id: str) -> dict[str, int]:
        ours = [each for each in self.ranges if each.stock.taxpayer_id == taxpayer_id]
        live = [each for each in ours if each.status in {"active", "used-up"}]
        return {
            "ranges": len(live),
            "claimed": sum(each.quantity for each in live),
            "remaining": sum(each.count(UNTOUCHED, "available") for each in live if each.status == "active"),
            "expired": sum(each.status == "expired" for each in ours),
            "foreign": sum(each.status == "foreign" for each in ours),
        }

    def _compare(self, taxpayer_id: str, listed: Sequence[ListedRange]) -> list[dict[str, object]]:
        for each in listed:
            self._settle(taxpayer_id, each)
        ours = [each for each in self.ranges if each.stock.taxpayer_id == taxpayer_id]
        here = {each.first: each for each in sorted(ours, key=lambda each: each.status != "quarantined")}
        differences = []
        for each in listed:
            found = here.get(each.first_number)
            if found is None:
                differences.append(self._foreign(taxpayer_id, each))
                continue
            found.listed_unused = each.unused
            if (found.last, found.quantity) != (each.last_number, each.quantity):
                differences.append(
                    _difference("other-quantity", found.first, found.last, found.quantity, each.quantity)
                )
        there = {each.first_number for each in listed}
        differences += [
            _difference("missing-there", each.first, each.last, each.quantity)
            for each in here.values()
            if each.status in {"active", "used-up"} and each.first not in there
        ]
        return differences

    def _settle(self, taxpayer_id: str, listed: ListedRange) -> None:
        claims = [each for each in self.claims if each.stock.taxpayer_id == taxpayer_id]
        claim = next((each for each in claims if each.serial == listed.business_serial), None)
        if claim is None or claim.status in {"granted", "quarantined"} or claim.reason == "retired":
            return
        if not claim.is_undecided:
            claim.status, claim.settled_at = "unresolved", None
        granted = Granted(listed.first_number, listed.last_number, listed.quantity)
        self.answer(claim, granted, listed=True)

    def _foreign(self, taxpayer_id: str, listed: ListedRange) -> dict[str, object]:
        first, last = listed.first_number, listed.last_number
        mode = next((mode for mode, digits in DIGITS.items() if digits == first[4:6]), None)
        if mode is None or self.overlaps(first, last):
            return _difference("overlap", first, last, None, listed.quantity)
        stock = Stock(taxpayer_id, mode, year_of(first))
        self.shelf(stock)
        self.ranges.append(
            Range(stock, first, last, manual=False, status="foreign", born=self.now, listed_unused=listed.unused)
        )
        return _difference("missing-here", first, last, None, listed.quantity)


def _difference(
    kind: str,
    first: str | None = None,
    last: str | None = None,
    here: int | None = None,
    there: int | None = None,
) -> dict[str, object]:
    return {
        "kind": kind,
        "first_number": first,
        "last_number": last,
        "quantity_here": here,
        "quantity_there": there,
    }
