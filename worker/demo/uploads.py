"""The uploads of the demo: what becomes of every invoice once it has its number, planned from the seed."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import UploadOutcome
from worker.demo.traffic import Asked

#: The reports are written by another part of the company than the requests; their keys tell which attempt they are of.
_FIRST, _SECOND, _LATE = "1", "2", "late"


class Fate(StrEnum):
    """What becomes of an invoice."""

    UPLOADED = "uploaded"
    #: It failed, and its number may stand on another invoice; the request asks anew.
    RELEASED = "released"
    #: It failed, and its number shall not be used again; the request asks anew.
    VOIDED = "voided"
    #: Nobody knows for a while, then it turns out to be uploaded.
    FOUND = "found"
    #: Nobody knows, to the end of the demo.
    HELD = "held"


#: Shares of those that are not uploaded at once; of each there is at least one.
_SHARES = {Fate.RELEASED: 0.02, Fate.VOIDED: 0.005, Fate.FOUND: 0.01, Fate.HELD: 0.002}
#: Below so many invoices, each is uploaded.
_FEWEST_WITH_FAILURES = 10

_BECOMES = {
    Fate.UPLOADED: (UploadOutcome.UPLOADED, Topic.NUMBER_USED),
    Fate.RELEASED: (UploadOutcome.FAILED, Topic.NUMBER_RELEASED),
    Fate.VOIDED: (UploadOutcome.FAILED, Topic.NUMBER_VOIDED),
    Fate.FOUND: (UploadOutcome.UNKNOWN, Topic.NUMBER_HELD),
    Fate.HELD: (UploadOutcome.UNKNOWN, Topic.NUMBER_HELD),
}


@dataclass(frozen=True, slots=True)
class Report:
    """One `invoice-outcome`, and the event that must answer it."""

    outcome_id: str
    organization: str
    issue_request_id: str
    number: str
    outcome: UploadOutcome
    reuse: bool
    becomes: Topic
    #: With what it must be refused, where it must.
    refusal: Reason | None = None

    def as_data(self) -> dict[str, object]:
        """Give the `data` of its message."""
        return {
            "outcome_id": self.outcome_id,
            "organization": self.organization,
            "issue_request_id": self.issue_request_id,
            "invoice_number": self.number,
            "outcome": self.outcome.value,
            "reuse": self.reuse,
        }


def draw_fates(asked: Sequence[Asked], dice: random.Random) -> dict[Asked, Fate]:
    """Draw what becomes of each invoice; most are uploaded."""
    fates = dict.fromkeys(asked, Fate.UPLOADED)
    if len(asked) < _FEWEST_WITH_FAILURES:
        return fates
    numbers = {fate: max(1, round(len(asked) * share)) for fate, share in _SHARES.items()}
    drawn = iter(dice.sample(asked, sum(numbers.values())))
    for fate, number in numbers.items():
        fates.update((next(drawn), fate) for _ in range(number))
    return fates


def first_report(asked: Asked, number: str, fate: Fate) -> Report:
    """Report what the upload brought."""
    outcome, becomes = _BECOMES[fate]
    return _report(asked, number, outcome, becomes, _FIRST, reuse=fate is not Fate.VOIDED)


def second_report(asked: Asked, number: str) -> Report:
    """Report that it is uploaded after all: once it is found out, or with the number that it got anew."""
    return _report(asked, number, UploadOutcome.UPLOADED, Topic.NUMBER_USED, _SECOND)


def refused_reports(released: Mapping[Asked, str], dice: random.Random) -> list[Report]:
    """Report what can't be any more: an upload under a number that was taken back, and one that nobody asked for."""
    if not released:
        return []
    asked = dice.choice(list(released))
    late = _report(asked, released[asked], UploadOutcome.UPLOADED, Topic.OUTCOME_REFUSED, _LATE)
    nobody = replace(late, outcome_id="OUT-NOBODY", issue_request_id="INV-NEVER-ASKED")
    return [replace(late, refusal=Reason.OUTCOME_CONFLICT), replace(nobody, refusal=Reason.UNKNOWN_REQUEST)]


def _report(
    asked: Asked,
    number: str,
    outcome: UploadOutcome,
    becomes: Topic,
    attempt: str,
    *,
    reuse: bool = True,
) -> Report:
    key = f"OUT-{asked.issue_request_id}-{attempt}"
    return Report(key, asked.organization, asked.issue_request_id, number, outcome, reuse, becomes)
