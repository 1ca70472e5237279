"""The reckoning of New Year's night: what was told and granted, held against what was asked, without our own ledger.

The listings say only when claims were made, and which brought what.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from schemas.events import NumberAssigned
from schemas.invoice_number import InvoiceNumber
from schemas.reasons import Reason
from worker.demo.checks import Check, check_of
from worker.demo.companies import Company
from worker.drill.audience import DrillAudience
from worker.drill.night import Course, Question
from worker.leqi.simulator import GrantRow

_NEXT_TRY, _CAUTIOUS = timedelta(minutes=10), 100

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Morning:
    """What there is when the worker has ended."""

    companies: Sequence[Company]
    course: Course
    midnight: datetime
    audience: DrillAudience
    grants: Sequence[GrantRow]
    #: Rows of the listings, with the contract's names.
    ranges: Sequence[Row]
    claims: Sequence[Row]
    waiting: Sequence[Row]

    def reckon(self) -> list[Check]:
        """Check everything that must hold of the night."""
        return [
            self._years_fit("no-old-number-on-a-new-year-date", new=True),
            self._years_fit("no-new-number-on-an-old-year-date", new=False),
            self._numbers_are_given_once(),
            self._all_are_answered(),
            self._who_waited_is_served(),
            self._refusals_are_right(),
            self._claims_crossed_midnight(),
            self._stocks_were_opened(),
            self._old_grants_were_followed(),
            self._old_numbers_add_up(),
            self._grace_is_kept(),
        ]

    def told(self) -> list[NumberAssigned]:
        """Give each answer once."""
        return [tellings[0].told for tellings in self.audience.assigned.values() if tellings]

    def _years_fit(self, name: str, *, new: bool) -> Check:
        concerned = [each for each in self.told() if (each.issue_date.year == self.midnight.year) is new]
        wrong = [
            each.invoice_number
            for each in concerned
            if InvoiceNumber.parse(each.invoice_number).year != each.issue_date.year
        ]
        return check_of(name, len(concerned), wrong)

    def _numbers_are_given_once(self) -> Check:
        holders = Counter(each.invoice_number for each in self.told())
        return check_of(
            "number-stands-on-one-request", holders.total(), (n for n, times in holders.items() if times > 1)
        )

    def _all_are_answered(self) -> Check:
        answered = {each.issue_request_id for each in self.told()} ^ self.audience.refusals.keys()
        wrong = self.course.questions.keys() ^ answered
        wrong |= {str(row["issue_request_id"]) for row in self.waiting}
        return check_of("every-request-has-one-answer", len(self.course.questions), wrong)

    def _who_waited_is_served(self) -> Check:
        """Who waited when midnight struck has a number, of the year of its date."""
        served = {each.issue_request_id for each in self.told()}
        waited = self.course.waiting_at_midnight
        return check_of("who-waited-at-midnight-is-served", len(waited), set(waited) - served)

    def _refusals_are_right(self) -> Check:
        """Refused was only what rule 3 of the contract refuses, by the day that it was in China."""
        wrong = [
            key
            for key, (at, refused) in self.audience.refusals.items()
            if refused.reason is not Reason.ISSUE_DATE_OUT_OF_YEAR
            or not self._may_be_refused(self.course.questions[key], at)
        ]
        return check_of("refused-is-only-what-the-year-rule-refuses", len(self.audience.refusals), wrong)

    def _may_be_refused(self, question: Question, at: datetime) -> bool:
        day = question.asked.issue_date
        if at < self.midnight:
            return day.year == self.midnight.year and day.day > 1
        return day.year < self.midnight.year

    def _claims_crossed_midnight(self) -> Check:
        """Some claim was made in the old year and brought its range in the new one."""
        made = {row["claim_id"]: _instant(row["created_at"]) for row in self.claims}
        crossed = [
            row["claim_id"]
            for row in self.ranges
            if row["claim_id"] in made and made[row["claim_id"]] < self.midnight <= _instant(row["created_at"])
        ]
        return check_of("a-claim-was-in-flight-at-midnight", len(crossed), ())

    def _stocks_were_opened(self) -> Check:
        """Who was active had a claim for the new year before its first invoice was asked for after midnight."""
        first_claims: dict[str, datetime] = {}
        for row in self.claims:
            made = _instant(row["created_at"])
            if made >= self.midnight and row["claim_mode"] == "automatic":
                taxpayer_id = str(row["taxpayer_id"])
                first_claims[taxpayer_id] = min(made, first_claims.get(taxpayer_id, made))
        first_asked = {
            company.code: min(
                (
                    each.sent_at
                    for each in self.course.questions.values()
                    if each.asked.organization == company.code
                    and each.asked.issue_date.year == self.midnight.year
                    and each.sent_at >= self.midnight
                ),
                default=None,
            )
            for company in self.companies
        }
        wrong = [
            company.code
            for company in self.companies
            if company.entry.taxpayer_id not in first_claims
            or (company is self.companies[-1] and not _before(first_claims, company, first_asked[company.code]))
        ]
        return check_of("new-year-was-claimed-for-unasked", len(self.companies), wrong)

    def _old_grants_were_followed(self) -> Check:
        """After a grant of the old year in the new one, the next claim came after ten minutes, for at most 100."""
        old = [row for row in self.ranges if row["year"] == self.midnight.year - 1]
        brought_by = {row["claim_id"]: row for row in old}
        disappointed = [
            row
            for row in self.claims
            if row["claim_id"] in brought_by
            and row["claim_mode"] == "automatic"
            and _instant(row["created_at"]) >= self.midnight
        ]
        wrong = []
        for row in disappointed:
            mode = brought_by[row["claim_id"]]["channel_mode"]
            following = self._next_claim(row, mode)
            if following is None or (
                _instant(following["created_at"]) - _instant(row["created_at"]) < _NEXT_TRY
                or int(str(following["quantity"])) > _CAUTIOUS
            ):
                wrong.append(str(row["claim_id"]))
        return check_of("old-year-grant-is-followed-with-care", len(disappointed), wrong)

    def _next_claim(self, before: Row, channel_mode: object) -> Row | None:
        modes = {row["claim_id"]: row["channel_mode"] for row in self.ranges}
        later = [
            row
            for row in self.claims
            if row["taxpayer_id"] == before["taxpayer_id"]
            and row["claim_mode"] == "automatic"
            and modes.get(row["claim_id"]) == channel_mode
            and _instant(row["created_at"]) > _instant(before["created_at"])
        ]
        return min(later, key=lambda row: _instant(row["created_at"]), default=None)

    def _old_numbers_add_up(self) -> Check:
        """Of the old year: granted is what was assigned and what expired, range by range."""
        assigned = Counter(str(each.range_id) for each in self.told())
        old = {
            InvoiceNumber.parse(grant.first_number): grant.quantity
            for grant in self.grants
            if InvoiceNumber.parse(grant.first_number).year == self.midnight.year - 1
        }
        wrong = []
        for range_id, claimed in self.audience.ranges.items():
            first = InvoiceNumber.parse(claimed.first_number)
            if first in old:
                ended = self.audience.ended.get(range_id)
                rest = 0 if ended is None else ended.unused
                if old.pop(first) != assigned[range_id] + rest:
                    wrong.append(range_id)
        wrong += [str(first) for first in old]
        return check_of("old-grants-are-assigned-or-expired", len(self.audience.ended), wrong)

    def _grace_is_kept(self) -> Check:
        served = {each.issue_request_id for each in self.told()}
        wrong = []
        if self.course.within_grace not in served:
            wrong.append("within the grace")
        if self.course.past_grace not in self.audience.refusals:
            wrong.append("past the grace")
        return check_of("old-numbers-end-with-the-grace", 2, wrong)


def _before(first_claims: Mapping[str, datetime], company: Company, asked: datetime | None) -> bool:
    return asked is not None and first_claims[company.entry.taxpayer_id] < asked


def _instant(value: object) -> datetime:
    if not isinstance(value, datetime):
        raise TypeError
    return value
