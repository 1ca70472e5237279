"""Whether a manual number is kept for an issue request, or freed again: over what was read under the stocks' locks."""

from dataclasses import dataclass

from db.records import KnownBinding, KnownRequest, NamedNumber, WaitingRequest
from schemas.reasons import Reason
from schemas.vocabulary import BindingAction

#: States of a range whose manual numbers may still be given out by hand.
_USABLE = ("active", "used-up")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A binding or unbinding that a known organisation asks for; the mode is the organisation's."""

    taxpayer_id: str
    channel_mode: str
    organization: str
    prefix: int
    sequence: int
    issue_request_id: str
    action: BindingAction


@dataclass(frozen=True, slots=True)
class Known:
    """What is stored about a wanted binding."""

    #: What was done under the same binding id.
    before: KnownBinding | None = None
    #: The number; None where the taxpayer has no row of it.
    number: NamedNumber | None = None
    #: Whose range the number lies in.
    owner: str | None = None
    request: KnownRequest | None = None
    #: The request once more, where it waits.
    waiting: WaitingRequest | None = None
    #: The number that is bound to the request.
    bound: NamedNumber | None = None


@dataclass(frozen=True, slots=True)
class Bind:
    """Keep the number for the request; if it waits, give it the number at once."""

    number: NamedNumber
    waiting: WaitingRequest | None


@dataclass(frozen=True, slots=True)
class Unbind:
    """Free the number: it is available again, and manual as before."""

    number: NamedNumber


@dataclass(frozen=True, slots=True)
class Repeat:
    """The same was done before: the same answer again."""

    before: KnownBinding


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing moves; asked again, it is judged anew."""

    reason: Reason
    detail: str


def decide(wanted: Wanted, known: Known) -> Bind | Unbind | Repeat | Refuse:
    """Decide one binding request (contract, rule 1; domain, "a manual number can be bound")."""
    if known.before is not None:
        if _same(wanted, known.before):
            return Repeat(known.before)
        detail = "this binding_id was used before with another organization, number, issue_request_id or action"
        return Refuse(Reason.CONFLICTING_REQUEST, detail)
    if known.number is None:
        return _not_there(wanted, known.owner)
    if known.number.channel_mode != wanted.channel_mode:
        detail = f"the number is for {known.number.channel_mode}, the organisation issues as {wanted.channel_mode}"
        return Refuse(Reason.CHANNEL_MODE_MISMATCH, detail)
    if wanted.action is BindingAction.UNBIND:
        return _unbind(wanted, known.number)
    return _bind(wanted, known, known.number)


def _bind(wanted: Wanted, known: Known, number: NamedNumber) -> Bind | Refuse:
    obstacle = _at_the_number(wanted, number) or _at_the_request(known, number)
    return Bind(number, known.waiting) if obstacle is None else obstacle


def _at_the_number(wanted: Wanted, number: NamedNumber) -> Refuse | None:
    if not number.is_manual:
        return Refuse(Reason.NUMBER_NOT_AVAILABLE, "only a number of a manual claim can be bound")
    if number.status == "bound":
        to = "this request already" if number.holder == wanted.issue_request_id else "another request"
        return Refuse(Reason.NUMBER_NOT_AVAILABLE, f"the number is bound to {to}")
    if number.status != "available" or number.range_status not in _USABLE:
        detail = f"only an available number can be bound: this one is {number.status}, its range {number.range_status}"
        return Refuse(Reason.NUMBER_NOT_AVAILABLE, detail)
    return None


def _at_the_request(known: Known, number: NamedNumber) -> Refuse | None:
    if known.bound is not None:
        detail = "another number is bound to this request: unbind that one before"
        return Refuse(Reason.CONFLICTING_REQUEST, detail)
    if known.request is not None and known.request.status == "assigned":
        return Refuse(Reason.CONFLICTING_REQUEST, "the request holds a number already")
    waiting = known.waiting
    if waiting is not None and waiting.channel_mode != number.channel_mode:
        detail = f"the number is for {number.channel_mode}, the request waits for one of {waiting.channel_mode}"
        return Refuse(Reason.CHANNEL_MODE_MISMATCH, detail)
    if waiting is not None and waiting.issue_date.year != number.year:
        detail = f"the number is of {number.year}, the issue date of {waiting.issue_date.year}"
        return Refuse(Reason.YEAR_MISMATCH, detail)
    return None


def _unbind(wanted: Wanted, number: NamedNumber) -> Unbind | Refuse:
    if number.status != "bound":
        return Refuse(Reason.NUMBER_NOT_AVAILABLE, f"only a bound number can be unbound: this one is {number.status}")
    if number.holder != wanted.issue_request_id:
        return Refuse(Reason.NUMBER_NOT_AVAILABLE, "the number is bound to another request")
    return Unbind(number)


def _not_there(wanted: Wanted, owner: str | None) -> Refuse:
    if owner is not None and owner != wanted.taxpayer_id:
        return Refuse(Reason.NUMBER_OF_ANOTHER_TAXPAYER, "the number lies in a range of another taxpayer")
    return Refuse(Reason.NUMBER_NOT_AVAILABLE, "no manual range of the taxpayer has this number")


def _same(wanted: Wanted, before: KnownBinding) -> bool:
    # Who asks is kept for the history, it isn't part of what is asked.
    return (
        wanted.organization == before.organization
        and wanted.prefix == before.prefix
        and wanted.sequence == before.sequence
        and wanted.issue_request_id == before.issue_request_id
        and wanted.action == before.action
    )
