"""What an upload's outcome does to its number, over what was read under the stocks' locks (contract, rules 1, 10)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from msgspec import structs

from db.records import KnownOutcome, KnownRequest, NamedNumber, RequestKey
from schemas.reasons import Reason
from schemas.vocabulary import UploadOutcome

#: States in which a number waits for the outcome of its upload.
_AWAITED = ("assigned", "held")

#: States of a range to which a number may come back.
_LIVE_RANGES = ("active", "used-up")

#: States in which a number has lost its request.
_FREED = ("available", "voided")


class NumberKey(NamedTuple):
    """What identifies a number within the environment."""

    taxpayer_id: str
    prefix: int
    sequence: int


@dataclass(frozen=True, slots=True)
class Reported:
    """An outcome that a known organisation reports; `position` is its place among the messages."""

    position: int
    key: RequestKey
    outcome_id: str
    organization: str
    number: NumberKey
    outcome: UploadOutcome
    reuse: bool

    @property
    def name(self) -> tuple[str, str]:
        """What identifies the report for ever, within the environment."""
        return self.key.taxpayer_id, self.outcome_id


@dataclass(frozen=True, slots=True)
class Moved:
    """The number becomes `became`, now; `number` is as it was before."""

    reported: Reported
    number: NamedNumber
    became: str


@dataclass(frozen=True, slots=True)
class Repeated:
    """The same was reported before: the same answer again."""

    reported: Reported
    before: KnownOutcome | Moved


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing moves; reported again, it is judged anew."""

    reported: Reported
    reason: Reason
    detail: str


Verdict = Moved | Repeated | Refused


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about the outcomes of a batch."""

    outcomes: Mapping[tuple[str, str], KnownOutcome] = field(default_factory=dict)
    requests: Mapping[RequestKey, KnownRequest] = field(default_factory=dict)
    numbers: Mapping[NumberKey, NamedNumber] = field(default_factory=dict)
    #: Whose range each number lies in.
    owners: Mapping[NumberKey, str] = field(default_factory=dict)


def decide(reports: Sequence[Reported], known: Known, first_living_year: int) -> list[Verdict]:
    """Decide every report in the order of arrival; each sees what those before it did.

    Numbers of years before `first_living_year` never come back, whether their range has expired yet or not.
    """
    numbers = dict(known.numbers)
    done: dict[tuple[str, str], KnownOutcome | Moved] = dict(known.outcomes)
    verdicts: list[Verdict] = []
    for reported in reports:
        before = done.get(reported.name)
        if before is not None:
            verdicts.append(_again(reported, before))
            continue
        verdict = _judge(reported, known, numbers.get(reported.number), first_living_year)
        if isinstance(verdict, Moved):
            done[reported.name] = verdict
            numbers[reported.number] = _after(verdict)
        verdicts.append(verdict)
    return verdicts


def _judge(
    reported: Reported,
    known: Known,
    number: NamedNumber | None,
    first_living_year: int,
) -> Moved | Refused:
    owner = known.owners.get(reported.number)
    if number is None and owner is not None and owner != reported.key.taxpayer_id:
        return Refused(reported, Reason.NUMBER_OF_ANOTHER_TAXPAYER, "the number lies in a range of another taxpayer")
    if reported.key not in known.requests:
        return Refused(reported, Reason.UNKNOWN_REQUEST, "the taxpayer has no issue request of this id")
    if number is None or number.holder != reported.key.issue_request_id or number.status == "bound":
        return Refused(reported, Reason.OUTCOME_CONFLICT, "the request does not hold this number now")
    became = _becomes(reported, number, first_living_year)
    if number.status not in _AWAITED or became == number.status:
        return Refused(reported, Reason.OUTCOME_CONFLICT, f"the number is {number.status} already")
    return Moved(reported, number, became)


def _becomes(reported: Reported, number: NamedNumber, first_living_year: int) -> str:
    match reported.outcome:
        case UploadOutcome.UPLOADED:
            return "used"
        case UploadOutcome.UNKNOWN:
            return "held"
        case UploadOutcome.FAILED:
            returns = reported.reuse and number.range_status in _LIVE_RANGES and number.year >= first_living_year
            return "available" if returns else "voided"


def _after(moved: Moved) -> NamedNumber:
    taken = structs.replace(moved.number.taken, step=moved.number.taken.step + 1)
    holder = None if moved.became in _FREED else moved.number.holder
    return replace(moved.number, status=moved.became, holder=holder, taken=taken)


def _again(reported: Reported, before: KnownOutcome | Moved) -> Repeated | Refused:
    earlier = _stored_content(before) if isinstance(before, KnownOutcome) else _content(before.reported)
    if _content(reported) == earlier:
        return Repeated(reported, before)
    detail = "this outcome_id was used before with another organization, request, number, outcome or reuse"
    return Refused(reported, Reason.CONFLICTING_REQUEST, detail)


def _content(reported: Reported) -> tuple[object, ...]:
    return (
        reported.organization,
        reported.key.issue_request_id,
        reported.number.prefix,
        reported.number.sequence,
        reported.outcome.value,
        reported.reuse,
    )


def _stored_content(before: KnownOutcome) -> tuple[object, ...]:
    return (
        before.organization,
        before.issue_request_id,
        before.prefix,
        before.sequence,
        before.outcome,
        before.reuse,
    )
