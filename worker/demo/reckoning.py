"""The reckoning of the demo: what came out against what was sent, recomputed without asking Fuma's own ledger.

The audit judges the database by itself; here the sent requests, the events that were heard, the authority's grants and
the listings are held against each other.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from schemas.events import NumberAssigned
from schemas.invoice_number import InvoiceNumber
from schemas.reasons import Reason
from schemas.vocabulary import ClaimMode
from worker.demo.audience import Audience
from worker.demo.checks import Check, check_of
from worker.demo.companies import Company
from worker.demo.hand import Order
from worker.demo.lives import Lives, states_after
from worker.demo.story import TOO_LARGE_CLAIM, Course
from worker.demo.traffic import KINDS, Asked, Traffic
from worker.leqi.simulator import GrantRow


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
    numbers: Sequence[Mapping[str, object]]
    waiting: Sequence[Mapping[str, object]]
    #: Reasons of the dead letters.
    letters: Counter[str]
    #: By taxpayer and key, each number that the request ever got.
    _told: dict[tuple[str, str], list[NumberAssigned]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Take each assignment once, however often it was told."""
        keys = list(self.audience.assigned)
        self._told = {key: [each.told for each in lives] for key in keys if (lives := self.audience.lives_of(key))}

    def reckon(self) -> list[Check]:
        """Check everything that must hold of this outcome."""
        lives = Lives(self.course, self.audience, self.numbers)
        return [
            self._events_are_as_agreed(),
            self._every_request_is_answered(),
            self._refusals_are_right(),
            self._answers_repeat_their_request(),
            self._answers_stay_the_same(),
            self._numbers_are_granted(),
            self._grants_are_stored(),
            self._lost_answers_are_replayed(),
            self._manual_claims_are_answered(),
            self._letters_are_put_away(),
            self._refreshes_add_up(),
            *lives.reckon(),
        ]

    def _events_are_as_agreed(self) -> Check:
        return check_of("event-as-the-contract-says", self.audience.heard, self.audience.unfit)

    def _every_request_is_answered(self) -> Check:
        """Each request that must get a number has one, none waits, and nobody who didn't ask has one."""
        wanted = {_key(asked) for asked in self.traffic.asked if asked.refusal is None}
        waiting = {(str(row["taxpayer_id"]), str(row["issue_request_id"])) for row in self.waiting}
        wrong = (wanted ^ self._told.keys()) | waiting
        return check_of("request-has-its-number", len(wanted), (" ".join(key) for key in wrong))

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
        return check_of(
            "request-is-refused-for-its-reason",
            asked.total(),
            (f"{key} {reason}" for key, _, reason in wrong.elements()),
            expected=asked.total() > 0,
        )

    def _answers_repeat_their_request(self) -> Check:
        asked_by_key = {_key(asked): asked for asked in self.traffic.asked if asked.refusal is None}
        wrong = [
            told.issue_request_id
            for key, answers in self._told.items()
            for told in answers
            if key in asked_by_key and not self._repeats(told, asked_by_key[key])
        ]
        return check_of("answer-repeats-its-request", len(self._told), wrong)

    def _answers_stay_the_same(self) -> Check:
        """Whoever asked again got the same number by the same event; those who asked late were told once more.

        Only those who lost their number got another answer, once.
        """
        sendings = self.traffic.sendings
        again = {_key(asked) for asked, times in sendings.items() if times > 1}
        late = {_key(sent.asked) for sent in self.traffic.late}
        assigned = self.audience.assigned
        lives = Counter(_key(asked) for asked in (*self.traffic.asked, *self.course.anew) if asked.refusal is None)
        wrong = {
            key
            for key, tellings in assigned.items()
            if key in lives
            and not (
                len({each.event_id for each in tellings})
                == len({(each.event_id, each.told.invoice_number) for each in tellings})
                == lives[key]
            )
        }
        wrong |= {key for key in late if len(assigned.get(key, ())) <= lives[key]}
        return check_of("asked-again-same-answer", len(again), (" ".join(key) for key in wrong), expected=bool(again))

    def _numbers_are_granted(self) -> Check:
        """Each number lies in a grant to its taxpayer, is of its date's year and its company's mode.

        It is a manual one if, and only if, an operator or the request itself named it.
        """
        modes = {company.code: company.entry.channel_mode for company in self.companies}
        granted = self._spans()
        wrong = []
        every = [told for answers in self._told.values() for told in answers]
        by_hand = self.course.by_hand
        for told in every:
            number = InvoiceNumber.parse(told.invoice_number)
            fits = (
                number.year == told.issue_date.year
                and number.channel_mode is modes.get(told.organization)
                and any(
                    first <= number <= last
                    for first, last in granted[told.taxpayer_id, (told.taxpayer_id, told.issue_request_id) in by_hand]
                )
            )
            if not fits:
                wrong.append(told.invoice_number)
        return check_of("number-was-granted-for-it", len(every), wrong)

    def _grants_are_stored(self) -> Check:
        """LeQi's grants and our ranges are the same, each once."""
        granted = Counter((grant.taxpayer_id, grant.first_number, grant.last_number) for grant in self.grants)
        stored = Counter(
            (str(row["taxpayer_id"]), str(row["first_number"]), str(row["last_number"])) for row in self.ranges
        )
        wrong = (granted - stored) + (stored - granted)
        return check_of("grant-is-stored-once", granted.total(), (" ".join(each) for each in wrong.elements()))

    def _lost_answers_are_replayed(self) -> Check:
        """Whose answer got lost asked again with the same serial, and was granted."""
        granted = {str(row["business_serial"]) for row in self.claims if row["status"] == "granted"}
        asked_again = {grant.business_serial for grant in self.grants if grant.times_asked > 1}
        lost = self.course.lost
        wrong = [serial for serial in lost if serial not in granted & asked_again]
        return check_of("lost-answer-is-replayed", len(lost), wrong, expected=bool(self.traffic.opening))

    def _manual_claims_are_answered(self) -> Check:
        """Each manual claim brought one range of its size; one beyond the limit was refused as such."""
        wrong = []
        for claim_id, quantity in self.course.manual_claims.items():
            told = self.audience.claimed.get(claim_id, [])
            is_as_asked = {(each.claim_mode, each.quantity) for each in told} == {(ClaimMode.MANUAL, quantity)}
            if not is_as_asked or len({each.range_id for each in told}) > 1:
                wrong.append(claim_id)
        failed = self.audience.claims_failed.get(TOO_LARGE_CLAIM)
        if failed is None or failed.reason is not Reason.QUANTITY_OUT_OF_BOUNDS:
            wrong.append(TOO_LARGE_CLAIM)
        return check_of("manual-claim-is-answered", len(self.course.manual_claims) + 1, wrong)

    def _letters_are_put_away(self) -> Check:
        wanted = Counter(KINDS[each.kind].value for each in self.traffic.unreadable)
        wrong = (wanted - self.letters) + (self.letters - wanted)
        return check_of("unreadable-is-a-dead-letter", wanted.total(), wrong.elements())

    def _refreshes_add_up(self) -> Check:
        """Each taxpayer's refresh counts what LeQi granted less what nobody may have, and finds no difference."""
        claimed: Counter[str] = Counter()
        for grant in self.grants:
            claimed[grant.taxpayer_id] += grant.quantity
        owners = {told.invoice_number: key[0] for key, answers in self._told.items() for told in answers}
        owners |= {order.number: taxpayer for order, taxpayer in self._taxpayers_of_orders()}
        states = states_after(self.audience.moves)
        gone = Counter(owners.get(number) for number, (state, _) in states.items() if state != "available")
        told = {each.taxpayer_id: each for each in self.audience.refreshed}
        taxpayers = {company.entry.taxpayer_id for company in self.companies}
        wrong = [
            each
            for each in taxpayers
            if each not in told
            or told[each].claimed != claimed[each]
            or told[each].remaining != claimed[each] - gone[each]
            or told[each].unresolved_claims
            or told[each].differences
        ]
        return check_of("refresh-adds-up", len(taxpayers), wrong)

    def _taxpayers_of_orders(self) -> list[tuple[Order, str]]:
        taxpayers = {company.code: company.entry.taxpayer_id for company in self.companies}
        return [(order, taxpayers[order.organization]) for order in self.course.orders]

    def _repeats(self, told: NumberAssigned, asked: Asked) -> bool:
        mode = ClaimMode.MANUAL if _key(asked) in self.course.by_hand else ClaimMode.AUTOMATIC
        return (told.organization, told.issue_date, told.kind, told.claim_mode) == (
            asked.organization,
            asked.issue_date,
            asked.kind,
            mode,
        )

    def _spans(self) -> Mapping[tuple[str, bool], list[tuple[InvoiceNumber, InvoiceNumber]]]:
        """Give the granted ranges by taxpayer and whether they were claimed by hand."""
        manual = {str(row["business_serial"]) for row in self.claims if row["claim_mode"] == "manual"}
        spans: defaultdict[tuple[str, bool], list[tuple[InvoiceNumber, InvoiceNumber]]] = defaultdict(list)
        for grant in self.grants:
            ends = InvoiceNumber.parse(grant.first_number), InvoiceNumber.parse(grant.last_number)
            spans[grant.taxpayer_id, grant.business_serial in manual].append(ends)
        return spans


def _key(asked: Asked) -> tuple[str, str]:
    return asked.taxpayer_id or "", asked.issue_request_id
