"""Which request gets which number: the decision of issuing, over what was read under the stocks' locks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from db.records import KnownRequest, RequestKey, StockKey, TakenNumber
from schemas.reasons import Reason
from worker.decisions.shelf import Shelf


@dataclass(frozen=True, slots=True)
class Asked:
    """An issue request of a known organisation, as it was read; `position` is its place among the messages."""

    position: int
    key: RequestKey
    stock_key: StockKey
    organization: str
    issue_date: date
    kind: str
    number: str | None


@dataclass(frozen=True, slots=True)
class Assigned:
    """The request gets this number, now."""

    asked: Asked
    taken: TakenNumber


@dataclass(frozen=True, slots=True)
class Repeated:
    """The request was answered before: the same answer again."""

    asked: Asked
    before: KnownRequest | Assigned


@dataclass(frozen=True, slots=True)
class Refused:
    """The request gets no number; asked again, it is judged anew."""

    asked: Asked
    reason: Reason
    detail: str


@dataclass(slots=True)
class Decisions:
    """What becomes of every request of a batch, each list in the order of arrival."""

    assigned: list[Assigned] = field(default_factory=list)
    repeated: list[Repeated] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    waiting: list[Asked] = field(default_factory=list)
    #: Stocks that ran out by this batch, with the organisation whose request did it.
    exhausted: dict[StockKey, str] = field(default_factory=dict)


def decide(
    requests: Sequence[Asked],
    known: Mapping[RequestKey, KnownRequest],
    shelves: Mapping[StockKey, Shelf],
    today: date,
) -> Decisions:
    """Decide every request in the order of arrival; `today` is China's (contract, rules 1 to 3 and 7).

    A request gets a number at most once: the same key again, here or before, gets the same answer,
    with other content it is a conflict.
    A request that finds no stock waits if its date lets it, and whoever comes later finds none either.
    """
    decisions = Decisions()
    seen: dict[RequestKey, Asked | Assigned | KnownRequest] = {
        key: request for key, request in known.items() if request.status != "closed"
    }
    for asked in requests:
        before = seen.get(asked.key)
        if before is not None:
            _answer_again(asked, before, decisions)
            continue
        outcome = _judge(asked, shelves[asked.stock_key], today)
        match outcome:
            case Assigned():
                decisions.assigned.append(outcome)
                seen[asked.key] = outcome
            case Refused():
                decisions.refused.append(outcome)
            case Asked():
                decisions.waiting.append(outcome)
                seen[asked.key] = outcome
        if not isinstance(outcome, Refused):
            _note_exhaustion(asked, shelves[asked.stock_key], decisions)
    return decisions


def _judge(asked: Asked, shelf: Shelf, today: date) -> Assigned | Refused | Asked:
    if asked.number is not None:
        return Refused(asked, Reason.NUMBER_NOT_AVAILABLE, "the number that the request names cannot be used by it")
    taken = shelf.take()
    if taken is not None:
        return Assigned(asked, taken)
    if asked.issue_date.year < today.year:
        return Refused(
            asked,
            Reason.ISSUE_DATE_OUT_OF_YEAR,
            f"no number of {asked.issue_date.year} is left, and none can be claimed any more",
        )
    if asked.issue_date.year > today.year and asked.issue_date > today + timedelta(days=1):
        return Refused(
            asked,
            Reason.ISSUE_DATE_OUT_OF_YEAR,
            f"no number of {asked.issue_date.year} is there yet, and the date is more than a day ahead",
        )
    return asked


def _answer_again(asked: Asked, before: Asked | Assigned | KnownRequest, decisions: Decisions) -> None:
    earlier = before.asked if isinstance(before, Assigned) else before
    named = earlier.number if isinstance(earlier, Asked) else None
    same = (
        earlier.organization == asked.organization
        and earlier.issue_date == asked.issue_date
        and earlier.kind == asked.kind
        and named == asked.number
    )
    if not same:
        detail = "this issue_request_id was used before with another organization, issue_date, kind or number"
        decisions.refused.append(Refused(asked, Reason.CONFLICTING_REQUEST, detail))
    elif isinstance(before, Assigned) or (isinstance(before, KnownRequest) and before.status == "assigned"):
        decisions.repeated.append(Repeated(asked, before))
    # Else it waits: its answer comes when a range does.


def _note_exhaustion(asked: Asked, shelf: Shelf, decisions: Decisions) -> None:
    if shelf.stock.level != "exhausted" and shelf.remaining == 0:
        decisions.exhausted.setdefault(asked.stock_key, asked.organization)
