"""The checker: compares what was asked, what was told, what is stored and what was granted.

It shares nothing with the worker but the wire, the tables and the authority's list of grants.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from zoneinfo import ZoneInfo

from tests.support.chaos.book import ANSWERS, KEYS
from tests.support.chaos.evidence import Asked, Evidence, Mark, Row, Seen, first_seen, year_of

_CHINA = ZoneInfo("Asia/Shanghai")

#: Events by which a request loses its number.
_LOST = frozenset({"number-released", "number-voided"})

#: The state that an event of a number tells of.
_STATES: Mapping[str, str] = {
    "number-assigned": "assigned",
    "number-used": "used",
    "number-released": "available",
    "number-voided": "voided",
    "number-held": "held",
    "number-bound": "bound",
    "number-unbound": "available",
}

_ENDED: Mapping[str, str] = {"expired": "range-expired", "retired": "range-expired", "quarantined": "range-quarantined"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found."""

    name: str
    says: str
    checked: int
    broken: tuple[str, ...]


#: Gives what it looked at, with what is wrong about it, or None.
Check = Callable[[Evidence], Iterator[str | None]]

_CHECKS: dict[str, Check] = {}


def check(evidence: Evidence) -> list[Finding]:
    """Run every check."""
    found = []
    for name, each in _CHECKS.items():
        judged = list(each(evidence))
        broken = tuple(wrong for wrong in judged if wrong is not None)
        found.append(Finding(name, (each.__doc__ or "").strip(), len(judged), broken))
    return found


def names() -> list[str]:
    """Name every check."""
    return list(_CHECKS)


def _check(function: Check) -> Check:
    _CHECKS[function.__name__.replace("_", "-")] = function
    return function


# ---------------------------------------------------------------------------------------------------- numbers


@_check
def no_number_twice(evidence: Evidence) -> Iterator[str | None]:
    """No number is assigned twice without having been released in between."""
    assigned: dict[str, set[str]] = defaultdict(set)
    released = _releases_that_a_restore_forgot(evidence)
    for each in evidence.seen:
        if each.topic == "number-assigned":
            assigned[each.data["invoice_number"]].add(each.id)
        elif each.topic == "number-released":
            released[each.data["invoice_number"]].add(each.id)
    for number, ids in assigned.items():
        wrong = len(ids) > 1 + len(released[number])
        yield f"{number}: assigned {len(ids)} times, released {len(released[number])} times" if wrong else None


def _releases_that_a_restore_forgot(evidence: Evidence) -> dict[str, set[str]]:
    """Give the outcomes, by number, that asked for a release before a restore, and whose events went with it untold."""
    told = {each.data["outcome_id"] for each in evidence.seen if each.topic == "number-released"}
    windows = [(dumped.position, restored.position) for dumped, restored in evidence.restores()]
    forgotten: dict[str, set[str]] = defaultdict(set)
    for each in evidence.asked:
        if each.topic == "invoice-outcome" and each.key not in told and not each.again:
            asks = each.data.get("outcome") == "failed" and each.data["reuse"]
            if asks and any(start < each.position < end for start, end in windows):
                forgotten[each.data["invoice_number"]].add(each.key)
    return forgotten


@_check
def no_number_after_its_end(evidence: Evidence) -> Iterator[str | None]:
    """A number that was used or voided is never told of as assigned later on."""
    ended: dict[str, Seen] = {}
    seen = first_seen(evidence.seen).values()
    for each in seen:
        if each.topic in {"number-used", "number-voided"}:
            ended[each.data["invoice_number"]] = each
    for each in seen:
        if each.topic == "number-assigned":
            end = ended.get(each.data["invoice_number"])
            # Nobody can report the outcome of an assignment that did not come yet.
            wrong = end is not None and end.position < each.position
            yield f"{each.data['invoice_number']}: assigned after its end" if wrong else None


@_check
def no_request_with_two_numbers(evidence: Evidence) -> Iterator[str | None]:
    """A request gets another number only after it lost the one before, or after a restore forgot that one."""
    assigned: dict[str, set[str]] = defaultdict(set)
    lost: dict[str, set[str]] = defaultdict(set)
    for each in evidence.seen:
        if each.topic == "number-assigned":
            assigned[each.data["issue_request_id"]].add(each.id)
        elif each.topic in _LOST:
            lost[each.data["issue_request_id"]].add(each.id)
    forgotten = forgotten_requests(evidence)
    for key, ids in assigned.items():
        wrong = len(ids) > 1 + len(lost[key]) + (key in forgotten)
        yield f"{key}: {len(ids)} numbers, lost {len(lost[key])}" if wrong else None


@_check
def forgotten_numbers_stay_out_of_use(evidence: Evidence) -> Iterator[str | None]:
    """After a restore no number of any range granted before it is assigned anew."""
    seen = first_seen(evidence.seen)
    for _, restored in evidence.restores():
        old = _Spans(grant for grant in evidence.grants if grant["business_serial"] in restored.more["grants"])
        for each in seen.values():
            if each.topic == "number-assigned" and each.position > restored.position:
                wrong = old.of(each.data["invoice_number"]) is not None
                yield f"{each.data['invoice_number']}: assigned after the restore" if wrong else None


@_check
def numbers_were_granted(evidence: Evidence) -> Iterator[str | None]:
    """Every number lies in a grant of its taxpayer, and its prefix is of the year of its invoice."""
    spans = _Spans(evidence.grants)
    for each in first_seen(evidence.seen).values():
        if each.topic == "number-assigned":
            number, day = each.data["invoice_number"], each.data["issue_date"]
            owner = spans.of(number)
            if owner is None or owner["taxpayer_id"] != each.data["taxpayer_id"]:
                yield f"{number}: not granted to {each.data['taxpayer_id']}"
            else:
                yield f"{number}: on an invoice of {day}" if number[:2] != day[2:4] else None


# --------------------------------------------------------------------------------------------------- requests


@_check
def accepted_requests_are_answered(evidence: Evidence) -> Iterator[str | None]:
    """Every request that the broker confirmed has its answer, but those that may wait."""
    answers = _answers(evidence)
    ends = [restored for _, restored in evidence.restores()]
    for each in _askings(evidence):
        if each.data.get("organization") not in evidence.may_wait or each.topic != "invoice-issuing":
            answered = answer_to(each, answers.get(each.key, []), ends) is not None
            yield None if answered else f"{each.topic} {each.key} of line {each.position}: no answer"


@_check
def answers_are_to_what_was_asked(evidence: Evidence) -> Iterator[str | None]:
    """An assignment tells the organisation, the day and the kind that were asked for."""
    asked = {each.key: each.data for each in evidence.asked if each.topic == "invoice-issuing"}
    for each in first_seen(evidence.seen).values():
        if each.topic == "number-assigned":
            wanted = asked.get(each.data["issue_request_id"])
            same = wanted is not None and all(
                wanted[name] == each.data[name] for name in ("organization", "issue_date", "kind")
            )
            named = wanted is None or wanted.get("number", each.data["invoice_number"]) == each.data["invoice_number"]
            yield None if same and named else f"{each.data['issue_request_id']}: another answer than was asked for"


@_check
def refusals_have_a_cause(evidence: Evidence) -> Iterator[str | None]:
    """Nothing is refused but what the rules refuse."""
    asked = {(each.topic, each.key): each.data for each in evidence.asked}
    old = _Spans(
        grant
        for _, restored in evidence.restores()
        for grant in evidence.grants
        if grant["business_serial"] in restored.more["grants"]
    )
    lost = {each.data["issue_request_id"] for each in evidence.seen if each.topic in _LOST}
    in_doubt = {
        each.data["issue_request_id"]
        for each in evidence.seen
        if each.topic == "number-assigned" and old.of(each.data["invoice_number"]) is not None
    }
    for each in first_seen(evidence.seen).values():
        if each.topic in _REFUSALS:
            wanted = asked.get((_REFUSALS[each.topic], each.data[ANSWERS[each.topic]]), {})
            fine = (
                each.data["issue_request_id"] in in_doubt
                if each.topic == "number-refused" and each.data["reason"] == "restored"
                else _has_cause(each, wanted, old, lost)
            )
            yield None if fine else f"{each.topic} {each.data[ANSWERS[each.topic]]}: {each.data['reason']}"


_REFUSALS = {
    "number-refused": "invoice-issuing",
    "claim-failed": "claim-requested",
    "binding-refused": "number-binding-requested",
    "outcome-refused": "invoice-outcome",
}


def _has_cause(refusal: Seen, wanted: Row, old: "_Spans", lost: set[str]) -> bool:
    reason = refusal.data["reason"]
    if refusal.topic == "claim-failed":
        return bool(old) and reason == "restored"
    if reason == "released":
        return refusal.data["issue_request_id"] in lost
    if reason in {"issue-date-out-of-year", "no-stock"}:
        return year_of(wanted["issue_date"]) < refusal.time.astimezone(_CHINA).year
    number = wanted.get("number") or wanted.get("invoice_number")
    return number is not None and old.of(number) is not None


@_check
def asked_again_only_after_a_hand(evidence: Evidence) -> Iterator[str | None]:
    """What was asked again had been thrown away by a hand: in a queue that was deleted, or by a restore."""
    first: dict[str, int] = {}
    for each in evidence.asked:
        first.setdefault(each.id, each.position)
    hands = [mark for mark in evidence.marks if mark.name in {"deleted", "restored"}]
    for each in evidence.asked:
        if each.again:
            fine = any(
                first[each.id] < mark.position < each.position
                and (mark.name == "restored" or mark.more["topic"] == each.topic)
                for mark in hands
            )
            yield None if fine else f"{each.topic} {each.key} of line {each.position}: asked again without a cause"


# ----------------------------------------------------------------------------------------------------- events


@_check
def an_event_id_tells_one_fact(evidence: Evidence) -> Iterator[str | None]:
    """An event that comes again is the same, to its time and its last field."""
    first = first_seen(evidence.seen)
    windows = [(dumped.position, restored.position) for dumped, restored in evidence.restores()]
    for each in evidence.seen:
        before = first[each.id]
        # What a restore forgot may be done once more, because the same message came again.
        anew = any(start < before.position < end < each.position for start, end in windows)
        yield None if anew or each.digest == before.digest else f"{each.topic} {each.id}: told in two ways"


@_check
def every_events_fact_is_stored(evidence: Evidence) -> Iterator[str | None]:
    """What was told is in the database, but what a restore has forgotten."""
    stored = _Stored(evidence)
    windows = [(dumped.position, restored.position) for dumped, restored in evidence.restores()]
    for each in first_seen(evidence.seen).values():
        if not any(start < each.position < end for start, end in windows):
            yield None if stored.has(each) else f"{each.topic} {each.id}: its fact is not stored"


@_check
def every_state_was_told(evidence: Evidence) -> Iterator[str | None]:
    """Each state that each number ever had was told, and so was each binding and each outcome."""
    told = {each.id for each in evidence.seen}
    for table in ("numbers", "number_history", "bindings", "outcomes"):
        for row in evidence.tables[table]:
            yield None if row["event_id"] in told else f"{table} {row}: never told"


@_check
def every_claim_and_range_was_told(evidence: Evidence) -> Iterator[str | None]:
    """Each settled claim was told, each range that ended, and each refresh."""
    told = {
        (each.topic, name, each.data[name])
        for each in evidence.seen
        for name in ("claim_id", "range_id", "refresh_id")
        if each.data.get(name) is not None
    }
    wanted = [
        ("range-claimed" if row["status"] == "granted" else "claim-failed", "claim_id", row["claim_id"])
        for row in evidence.tables["claims"]
        if row["status"] not in {"open", "unresolved"}
    ]
    wanted += [
        (_ENDED[row["status"]], "range_id", row["range_id"])
        for row in evidence.tables["ranges"]
        if row["status"] in _ENDED
    ]
    wanted += [("range-refreshed", "refresh_id", row["refresh_id"]) for row in evidence.tables["refreshes"]]
    for each in wanted:
        yield None if each in told else f"{each}: never told"


# ----------------------------------------------------------------------------------------------------- tables


@_check
def every_grant_is_stored(evidence: Evidence) -> Iterator[str | None]:
    """Every range that the authority granted is held under its claim, but what a restore has forgotten."""
    claims = {(row["taxpayer_id"], row["business_serial"]): row for row in evidence.tables["claims"]}
    ranges = {(row["taxpayer_id"], row["claim_id"]): row for row in evidence.tables["ranges"]}
    forgotten = {
        serial
        for dumped, restored in evidence.restores()
        for serial in set(restored.more["grants"]) - set(dumped.more["grants"])
    }
    for grant in evidence.grants:
        taxpayer, serial = grant["taxpayer_id"], grant["business_serial"]
        claim = claims.get((taxpayer, serial))
        if serial in forgotten:
            yield None if claim is None else f"{serial}: forgotten by the restore, and yet there"
        elif claim is None or claim["status"] != "granted":
            yield f"{serial}: granted, and not stored: {claim}"
        else:
            held = ranges.get((taxpayer, claim["claim_id"]))
            same = held is not None and all(held[name] == grant[name] for name in ("first_number", "last_number"))
            yield None if same else f"{serial}: granted {grant}, held {held}"


@_check
def every_range_was_granted(evidence: Evidence) -> Iterator[str | None]:
    """No range is held that the authority did not grant to that taxpayer."""
    granted = {(grant["taxpayer_id"], grant["first_number"], grant["last_number"]) for grant in evidence.grants}
    for row in evidence.tables["ranges"]:
        fine = (row["taxpayer_id"], row["first_number"], row["last_number"]) in granted
        yield None if fine else f"range {row}: never granted"


@_check
def numbers_went_step_by_step(evidence: Evidence) -> Iterator[str | None]:
    """The steps of each number have no gap, and one assignment follows another only over a release."""
    steps: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in (*evidence.tables["number_history"], *evidence.tables["numbers"]):
        steps[row["taxpayer_id"], row["number"]].append(row)
    for (_, number), rows in steps.items():
        rows.sort(key=lambda row: int(row["step"]))
        states = [row["status"] for row in rows]
        counted = [row["step"] for row in rows] == list(range(1, len(rows) + 1))
        twice = any(now == "assigned" and before not in {"available", "bound"} for before, now in pairwise(states))
        yield f"{number}: {states}" if twice or not counted else None


@_check
def the_outbox_is_empty(evidence: Evidence) -> Iterator[str | None]:
    """Nothing is left that was not published."""
    yield None
    for row in evidence.tables["outbox"]:
        yield f"outbox {row}"


@_check
def only_who_may_waits(evidence: Evidence) -> Iterator[str | None]:
    """No request waits but those of organisations that nobody claims for."""
    for row in evidence.tables["issue_requests"]:
        wrong = row["status"] == "waiting" and row["organization"] not in evidence.may_wait
        yield f"{row} waits" if wrong else None


@_check
def no_claim_is_undecided(evidence: Evidence) -> Iterator[str | None]:
    """Every claim has come to its end."""
    for row in evidence.tables["claims"]:
        yield f"claim {row}" if row["status"] in {"open", "unresolved"} else None


@_check
def what_nobody_can_read_is_in_the_dead_letters(evidence: Evidence) -> Iterator[str | None]:
    """A message that can't be read never disappears."""
    letters = set(evidence.dead_letters)
    for key in evidence.garbage:
        yield None if key in letters else f"{key} is gone"


@_check
def nothing_else_is_in_the_dead_letters(evidence: Evidence) -> Iterator[str | None]:
    """Trouble that passes puts nothing aside."""
    garbage = set(evidence.garbage)
    for body in evidence.dead_letters:
        yield None if body in garbage else f"put aside: {body[:200]}"


# ------------------------------------------------------------------------------------------------------ parts


class _Stored:
    """What the tables hold, by what an event names."""

    def __init__(self, evidence: Evidence) -> None:
        tables = evidence.tables
        self._states = {
            (row["event_id"], row["number"]): row for row in (*tables["number_history"], *tables["numbers"])
        }
        self._answered = {row["event_id"] for row in (*tables["bindings"], *tables["outcomes"])}
        self._claims = {row["claim_id"]: row for row in tables["claims"]}
        self._ranges = {row["range_id"]: row for row in tables["ranges"]}
        self._refreshes = {row["refresh_id"] for row in tables["refreshes"]}
        self._stocks = {
            (row["taxpayer_id"], row["channel_mode"], row["year"]): row["episode"] for row in tables["stocks"]
        }

    def has(self, told: Seen) -> bool:
        """Tell whether an event's fact is stored; of refusals nothing is."""
        if told.topic in _STATES:
            return self._has_state(told)
        data = told.data
        match told.topic:
            case "range-claimed":
                return self._has_range(data)
            case "range-expired" | "range-quarantined":
                row = self._ranges.get(data["range_id"], {})
                return _ENDED.get(row.get("status", "")) == told.topic
            case "range-exhausted" | "range-low":
                key = (data["taxpayer_id"], data["channel_mode"], data["year"])
                return bool(self._stocks.get(key, -1) >= data["episode"])
            case "claim-failed" | "claim-unresolved" | "range-refreshed":
                return data.get("claim_id") in self._claims or data.get("refresh_id") in self._refreshes
            case _:
                return told.topic in _REFUSALS

    def _has_state(self, told: Seen) -> bool:
        row = self._states.get((told.id, told.data["invoice_number"]))
        if row is None or row["status"] != _STATES[told.topic]:
            return False
        if told.topic != "number-assigned":
            return told.id in self._answered
        held = (row["issue_request_id"], str(row["issue_date"]))
        return held == (told.data["issue_request_id"], told.data["issue_date"])

    def _has_range(self, data: Row) -> bool:
        held, claim = self._ranges.get(data["range_id"]), self._claims.get(data["claim_id"])
        return (
            held is not None
            and claim is not None
            and claim["status"] == "granted"
            and (held["first_number"], held["last_number"]) == (data["first_number"], data["last_number"])
        )


class _Spans:
    """Ranges of numbers, to look a number up in."""

    def __init__(self, grants: Iterable[Row]) -> None:
        self._grants = sorted(grants, key=lambda grant: str(grant["first_number"]))
        self._firsts = [grant["first_number"] for grant in self._grants]

    def __bool__(self) -> bool:
        return bool(self._grants)

    def of(self, number: str) -> Row | None:
        """Give the range that holds a number."""
        place = bisect_right(self._firsts, number) - 1
        if place < 0 or number > self._grants[place]["last_number"]:
            return None
        return self._grants[place]


def forgotten_requests(evidence: Evidence) -> set[str]:
    """Give the requests that were told a number between a dump and the restore of it."""
    windows = [(dumped.position, restored.position) for dumped, restored in evidence.restores()]
    return {
        each.data["issue_request_id"]
        for each in evidence.seen
        if each.topic == "number-assigned" and any(start < each.position < end for start, end in windows)
    }


def _askings(evidence: Evidence) -> Iterator[Asked]:
    """Give each accepted request once: repetitions of a message ask for nothing new."""
    known: set[str] = set()
    for each in evidence.asked:
        if each.accepted and each.id not in known:
            known.add(each.id)
            yield each


def _answers(evidence: Evidence) -> dict[str, list[Seen]]:
    answers: dict[str, list[Seen]] = defaultdict(list)
    for each in evidence.seen:
        name = ANSWERS.get(each.topic)
        if name is not None and each.data.get(name) is not None:
            answers[each.data[name]].append(each)
    return answers


def answer_to(asked: Asked, answers: list[Seen], restored: list[Mark]) -> Seen | None:
    """Give the first event that answers a request.

    A request that was asked anew isn't answered by what its former asking was told, unless a restore forgot that it
    lost that number.
    """
    before = {each.id for each in answers if each.position < asked.position}
    for each in answers:
        late_copy = each.topic == "number-refused" and each.data["reason"] == "released"
        former = each.id in before and not any(asked.position < mark.position < each.position for mark in restored)
        if each.position > asked.position and not late_copy and not former:
            return each
    return None


assert set(KEYS.values()) == set(ANSWERS.values())
