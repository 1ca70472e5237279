"""Which request gets which number: the decision of issuing, over what was read under the stocks' locks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from msgspec import Struct

from db.records import KnownRequest, NamedNumber, RequestKey, StockKey, TakenNumber
from schemas.reasons import Reason
from worker.decisions.shelf import Shelf

#: States of a range whose manual numbers may still be given out by hand.
_USABLE = ("active", "used-up")


class Asked(Struct, frozen=True):
    """An issue request of a known organisation, as it was read; `position` is its place among the messages."""

    position: int
    key: RequestKey
    stock_key: StockKey
    organization: str
    issue_date: date
    kind: str
    number: str | None
    #: Which message asks: its CloudEvents source and id.
    message: str


class Assigned(Struct, frozen=True):
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
    #: What repeats a request that waits, here or from before: answered when that one is.
    waiting_again: list[Asked] = field(default_factory=list)
    #: Stocks that were taken from or that left somebody waiting, with the organisation that was the last to do so.
    touched: dict[StockKey, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about the requests of a batch and the numbers that they name."""

    requests: Mapping[RequestKey, KnownRequest]
    #: Messages that were answered with a number which is released by now, or in doubt.
    answered: frozenset[tuple[RequestKey, str]] = frozenset()
    #: Numbers that are bound to requests of the batch.
    bound: Mapping[RequestKey, NamedNumber] = field(default_factory=dict)
    #: Numbers that requests of the batch name, by taxpayer and number, and whose range each lies in.
    named: Mapping[tuple[str, str], NamedNumber] = field(default_factory=dict)
    owners: Mapping[str, str] = field(default_factory=dict)


def decide(requests: Sequence[Asked], known: Known, shelves: Mapping[StockKey, Shelf], today: date) -> Decisions:
    """Decide every request in the order of arrival; `today` is China's (contract, rules 1 to 3 and 7).

    A request gets a number at most once: the same key again, here or before, gets the same answer,
    with other content it is a conflict.
    A request that finds no stock waits if its date lets it, and whoever comes later finds none either.
    """
    decisions = Decisions()
    seen: dict[RequestKey, Asked | Assigned | KnownRequest] = {
        key: request for key, request in known.requests.items() if request.status != "closed"
    }
    taken_by_name: set[tuple[str, str]] = set()
    for asked in requests:
        before = seen.get(asked.key)
        if before is not None:
            _answer_again(asked, before, known, decisions)
            continue
        outcome = _judge(asked, known, shelves[asked.stock_key], today, taken_by_name)
        match outcome:
            case Assigned():
                decisions.assigned.append(outcome)
                seen[asked.key] = outcome
                if outcome.taken.claim_mode == "automatic":
                    decisions.touched[asked.stock_key] = asked.organization
            case Refused():
                decisions.refused.append(outcome)
            case Asked():
                decisions.waiting.append(outcome)
                seen[asked.key] = outcome
                decisions.touched[asked.stock_key] = asked.organization
    return decisions


def _judge(
    asked: Asked,
    known: Known,
    shelf: Shelf,
    today: date,
    taken_by_name: set[tuple[str, str]],
) -> Assigned | Refused | Asked:
    if (asked.key, asked.message) in known.answered:
        detail = "this message was answered before, and its number released since: ask anew with a message of a new id"
        return Refused(asked, Reason.RELEASED, detail)
    bound = known.bound.get(asked.key)
    if bound is not None:
        return _use_bound(asked, bound, known)
    if asked.number is not None:
        return _use_named(asked, asked.number, known, taken_by_name)
    return _use_stock(asked, shelf, today)


def _use_bound(asked: Asked, bound: NamedNumber, known: Known) -> Assigned | Refused:
    if asked.number is not None and known.named.get((asked.key.taxpayer_id, asked.number)) != bound:
        return Refused(asked, Reason.NUMBER_NOT_AVAILABLE, "another number is bound to this request")
    mismatch = _mismatch(asked, bound)
    return mismatch if mismatch is not None else Assigned(asked, bound.taken)


def _use_named(
    asked: Asked,
    number: str,
    known: Known,
    taken_by_name: set[tuple[str, str]],
) -> Assigned | Refused:
    name = (asked.key.taxpayer_id, number)
    found = known.named.get(name)
    if found is None:
        owner = known.owners.get(number)
        if owner is not None and owner != asked.key.taxpayer_id:
            return Refused(asked, Reason.NUMBER_OF_ANOTHER_TAXPAYER, "the number lies in a range of another taxpayer")
        return Refused(asked, Reason.NUMBER_NOT_AVAILABLE, "no manual range of the taxpayer has this number")
    if not found.is_manual or found.status != "available" or found.range_status not in _USABLE or name in taken_by_name:
        detail = "only an available manual number can be named; this one is taken, bound or out of use"
        return Refused(asked, Reason.NUMBER_NOT_AVAILABLE, detail)
    mismatch = _mismatch(asked, found)
    if mismatch is not None:
        return mismatch
    taken_by_name.add(name)
    return Assigned(asked, found.taken)


def _mismatch(asked: Asked, number: NamedNumber) -> Refused | None:
    if number.channel_mode != asked.stock_key.channel_mode:
        detail = f"the number is for {number.channel_mode}, the organisation issues as {asked.stock_key.channel_mode}"
        return Refused(asked, Reason.CHANNEL_MODE_MISMATCH, detail)
    if number.year != asked.issue_date.year:
        detail = f"the number is of {number.year}, the issue date of {asked.issue_date.year}"
        return Refused(asked, Reason.YEAR_MISMATCH, detail)
    return None


def _use_stock(asked: Asked, shelf: Shelf, today: date) -> Assigned | Refused | Asked:
    if not shelf.stock.paused:
        taken = shelf.take()
        if taken is not None:
            return Assigned(asked, taken)
    if asked.issue_date.year < today.year and shelf.remaining == 0:
        return Refused(
            asked,
            Reason.ISSUE_DATE_OUT_OF_YEAR,
            f"no number of {asked.issue_date.year} is left, and none can be claimed any more",
        )
    if asked.issue_date.year > today.year and asked.issue_date > today + timedelta(days=1) and shelf.remaining == 0:
        return Refused(
            asked,
            Reason.ISSUE_DATE_OUT_OF_YEAR,
            f"no number of {asked.issue_date.year} is there yet, and the date is more than a day ahead",
        )
    return asked


def _answer_again(asked: Asked, before: Asked | Assigned | KnownRequest, known: Known, decisions: Decisions) -> None:
    earlier = before.asked if isinstance(before, Assigned) else before
    named = earlier.named_number if isinstance(earlier, KnownRequest) else earlier.number
    same = (
        earlier.organization == asked.organization
        and earlier.issue_date == asked.issue_date
        and earlier.kind == asked.kind
        and named == asked.number
    )
    if not same:
        detail = "this issue_request_id was used before with another organization, issue_date, kind or number"
        decisions.refused.append(Refused(asked, Reason.CONFLICTING_REQUEST, detail))
    elif isinstance(before, KnownRequest) and before.in_doubt and not _was_answered(asked, before, known):
        detail = (
            "its number was given to it before the database was restored, and perhaps to another request since:"
            " report what became of its upload, or have an operator confirm it (fuma ranges confirm)"
        )
        decisions.refused.append(Refused(asked, Reason.RESTORED, detail))
    elif isinstance(before, Assigned) or (isinstance(before, KnownRequest) and before.status == "assigned"):
        decisions.repeated.append(Repeated(asked, before))
    else:
        decisions.waiting_again.append(asked)


def _was_answered(asked: Asked, before: KnownRequest, known: Known) -> bool:
    """Whether this very message was answered before: the same event again tells nobody anything new."""
    return asked.message == before.message or (asked.key, asked.message) in known.answered
