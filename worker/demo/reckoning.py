"""The reckoning of the demo: what came out against what was sent, recomputed without asking Fuma's own ledger.

The audit judges the database by itself; here the sent requests, the events that were heard, the authority's grants and
the listings are held against each other.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from schemas.events import NumberAssigned
from schemas.invoice_number import InvoiceNumber
from schemas.reasons import Reason
from schemas.vocabulary import ClaimMode
from worker.demo.audience import Audience
from worker.demo.companies import Company
from worker.demo.story import MANUAL_CLAIM, MANUAL_QUANTITY, TOO_LARGE_CLAIM, Course
from worker.demo.traffic import KINDS, Asked, Traffic
from worker.leqi.simulator import GrantRow

#: How many offenders of one check are named.
MOST_NAMED = 10


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold: how many were looked at, and which of them don't hold."""

    name: str
    checked: int
    broken: int
    #: Identifiers of the first broken ones.
    offenders: tuple[str, ...] = ()
    #: Whether this run had anything to show for it; then nothing checked is no success.
    expected: bool = True

    @property
    def holds(self) -> bool:
        """Whether it was shown to hold."""
        return self.broken == 0 and (self.checked > 0 or not self.expected)


@dataclass(slots=True)
class Outcome:
    """What there is when the worker has ended."""

    companies: Sequence[Company]
    traffic: Traffic
    course: Course
    audience: Audience
    grants: Sequence[GrantRow]
    #: Rows of the listings, with the contract's names.
    ranges: Sequence[Mapping[str, object]]
    claims: Sequence[Mapping[str, object]]
    waiting: Sequence[Mapping[str, object]]
    #: Reasons of the dead letters.
    letters: Counter[str]
    _told: dict[tuple[str, str], NumberAssigned] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take of each answer its first telling."""
        self._told = {key: tellings[0].told for key, tellings in self.audience.assigned.items() if tellings}

    def reckon(self) -> list[Check]:
        """Check everything that must hold of this outcome."""
        return [
            self._events_are_as_agreed(),
            self._every_request_is_answered(),
            self._refusals_are_right(),
            self._answers_repeat_their_request(),
            self._answers_stay_the_same(),
            self._numbers_are_given_once(),
            self._numbers_are_granted(),
            self._grants_are_stored(),
            self._lost_answers_are_replayed(),
            self._manual_claims_are_answered(),
            self._letters_are_put_away(),
            self._refreshes_add_up(),
        ]

    def _events_are_as_agreed(self) -> Check:
        return _check("event-as-the-contract-says", self.audience.heard, self.audience.unfit)

    def _every_request_is_answered(self) -> Check:
        """Each request that must get a number has one, none waits, and nobody who didn't ask has one."""
        wanted = {_key(asked) for asked in self.traffic.asked if asked.refusal is None}
        waiting = {(str(row["taxpayer_id"]), str(row["issue_request_id"])) for row in self.waiting}
        wrong = (wanted ^ self._told.keys()) | waiting
        return _check("request-has-its-number", len(wanted), (" ".join(key) for key in wrong))

    def _refusals_are_right(self) -> Check:
        """Each request that must be refused was, once, for its reason; no other was."""
        asked: Counter[tuple[str, str, Reason]] = Counter(
            (each.issue_request_id, each.organization, each.refusal)
            for each in self.traffic.asked
            if each.refusal is not None
        )
        told: Counter[tuple[str, str, Reason]] = Counter(
            (each.issue_request_id, each.organization, each.reason) for each in self.audience.refused.values()
        )
        wrong = (asked - told) + (told - asked)
        return _check(
            "request-is-refused-for-its-reason",
            asked.total(),
            (f"{key} {reason}" for key, _, reason in wrong.elements()),
            expected=asked.total() > 0,
        )

    def _answers_repeat_their_request(self) -> Check:
        asked_by_key = {_key(asked): asked for asked in self.traffic.asked if asked.refusal is None}
        wrong = [
            told.issue_request_id
            for key, told in self._told.items()
            if key in asked_by_key and not _repeats(told, asked_by_key[key])
        ]
        return _check("answer-repeats-its-request", len(self._told), wrong)

    def _answers_stay_the_same(self) -> Check:
        """Whoever asked again got the same number by the same event; those who asked late were told once more."""
        sendings = self.traffic.sendings
        again = {_key(asked) for asked, times in sendings.items() if times > 1}
        late = {_key(sent.asked) for sent in self.traffic.late}
        assigned = self.audience.assigned
        wrong = {
            key
            for key, tellings in assigned.items()
            if len({(each.event_id, each.told.invoice_number) for each in tellings}) > 1
        }
        wrong |= {key for key in late if len(assigned.get(key, ())) <= 1}
        return _check("asked-again-same-answer", len(again), (" ".join(key) for key in wrong), expected=bool(again))

    def _numbers_are_given_once(self) -> Check:
        holders = Counter(told.invoice_number for told in self._told.values())
        return _check("number-stands-on-one-request", holders.total(), (n for n, times in holders.items() if times > 1))

    def _numbers_are_granted(self) -> Check:
        """Each number lies in a grant to its taxpayer, is of its date's year and its company's mode, and not manual."""
        modes = {company.code: company.entry.channel_mode for company in self.companies}
        granted = self._spans_for_issuing()
        wrong = []
        for told in self._told.values():
            number = InvoiceNumber.parse(told.invoice_number)
            fits = (
                number.year == told.issue_date.year
                and number.channel_mode is modes.get(told.organization)
                and any(first <= number <= last for first, last in granted[told.taxpayer_id])
            )
            if not fits:
                wrong.append(told.invoice_number)
        return _check("number-was-granted-for-it", len(self._told), wrong)

    def _grants_are_stored(self) -> Check:
        """LeQi's grants and our ranges are the same, each once."""
        granted = Counter((grant.taxpayer_id, grant.first_number, grant.last_number) for grant in self.grants)
        stored = Counter(
            (str(row["taxpayer_id"]), str(row["first_number"]), str(row["last_number"])) for row in self.ranges
        )
        wrong = (granted - stored) + (stored - granted)
        return _check("grant-is-stored-once", granted.total(), (" ".join(each) for each in wrong.elements()))

    def _lost_answers_are_replayed(self) -> Check:
        """Whose answer got lost asked again with the same serial, and was granted."""
        granted = {str(row["business_serial"]) for row in self.claims if row["status"] == "granted"}
        asked_again = {grant.business_serial for grant in self.grants if grant.times_asked > 1}
        lost = self.course.lost
        wrong = [serial for serial in lost if serial not in granted & asked_again]
        return _check("lost-answer-is-replayed", len(lost), wrong, expected=bool(self.traffic.opening))

    def _manual_claims_are_answered(self) -> Check:
        """The manual claim brought one range of its size; one beyond the limit was refused as such."""
        told = self.audience.claimed.get(MANUAL_CLAIM, [])
        failed = self.audience.claims_failed.get(TOO_LARGE_CLAIM)
        wrong = []
        if {(each.claim_mode, each.quantity) for each in told} != {(ClaimMode.MANUAL, MANUAL_QUANTITY)} or (
            len({each.range_id for each in told}) > 1
        ):
            wrong.append(MANUAL_CLAIM)
        if failed is None or failed.reason is not Reason.QUANTITY_OUT_OF_BOUNDS:
            wrong.append(TOO_LARGE_CLAIM)
        return _check("manual-claim-is-answered", 2, wrong)

    def _letters_are_put_away(self) -> Check:
        wanted = Counter(KINDS[each.kind].value for each in self.traffic.unreadable)
        wrong = (wanted - self.letters) + (self.letters - wanted)
        return _check("unreadable-is-a-dead-letter", wanted.total(), wrong.elements())

    def _refreshes_add_up(self) -> Check:
        """Each taxpayer's refresh counts what LeQi granted less what was assigned, and finds no difference."""
        claimed: Counter[str] = Counter()
        for grant in self.grants:
            claimed[grant.taxpayer_id] += grant.quantity
        assigned = Counter(taxpayer_id for taxpayer_id, _ in self._told)
        told = {each.taxpayer_id: each for each in self.audience.refreshed}
        taxpayers = {company.entry.taxpayer_id for company in self.companies}
        wrong = [
            each
            for each in taxpayers
            if each not in told
            or told[each].claimed != claimed[each]
            or told[each].remaining != claimed[each] - assigned[each]
            or told[each].unresolved_claims
            or told[each].differences
        ]
        return _check("refresh-adds-up", len(taxpayers), wrong)

    def _spans_for_issuing(self) -> Mapping[str, list[tuple[InvoiceNumber, InvoiceNumber]]]:
        """Give the granted ranges by taxpayer, without those of manual claims, from which issuing takes nothing."""
        manual = {str(row["business_serial"]) for row in self.claims if row["claim_mode"] == "manual"}
        spans: defaultdict[str, list[tuple[InvoiceNumber, InvoiceNumber]]] = defaultdict(list)
        for grant in self.grants:
            if grant.business_serial not in manual:
                ends = InvoiceNumber.parse(grant.first_number), InvoiceNumber.parse(grant.last_number)
                spans[grant.taxpayer_id].append(ends)
        return spans


def _key(asked: Asked) -> tuple[str, str]:
    return asked.taxpayer_id or "", asked.issue_request_id


def _repeats(told: NumberAssigned, asked: Asked) -> bool:
    return (told.organization, told.issue_date, told.kind, told.claim_mode) == (
        asked.organization,
        asked.issue_date,
        asked.kind,
        ClaimMode.AUTOMATIC,
    )


def _check(name: str, checked: int, wrong: Iterable[str], *, expected: bool = True) -> Check:
    offenders = sorted(wrong)
    return Check(name, checked, len(offenders), tuple(offenders[:MOST_NAMED]), expected)
