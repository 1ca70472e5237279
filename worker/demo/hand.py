"""The operator's hand in the demo: manual numbers bound to requests, freed again, and asked for in vain."""

from collections.abc import Sequence
from dataclasses import dataclass

from schemas.invoice_number import InvoiceNumber
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import BindingAction
from worker.demo.traffic import Asked, ByHand

#: A request for which a number is kept to the end of the demo.
LATER = "HAND-LATER"


@dataclass(frozen=True, slots=True)
class Order:
    """One `number-binding-requested`, and the event that must answer it."""

    binding_id: str
    organization: str
    number: str
    issue_request_id: str
    action: BindingAction
    becomes: Topic
    #: With what it must be refused, where it must.
    refusal: Reason | None = None

    def as_data(self) -> dict[str, object]:
        """Give the `data` of its message."""
        return {
            "binding_id": self.binding_id,
            "organization": self.organization,
            "number": self.number,
            "issue_request_id": self.issue_request_id,
            "action": self.action.value,
            "requested_by": "operator",
        }


@dataclass(frozen=True, slots=True)
class HandWork:
    """What an operator does with a manual range: orders, one after the other, and the requests' own numbers."""

    orders: Sequence[Order]
    #: The number of the request to which one is bound, and of the one that names its own.
    bound: str
    named: str


def plan_hand_work(by_hand: ByHand, first_number: str) -> HandWork:
    """Plan what is done with a manual range from its first number on."""
    first = InvoiceNumber.parse(first_number)
    bound, named, freed, later = (str(first.plus(steps)) for steps in range(4))
    return HandWork(
        (
            bind("BIND-1", by_hand.bound, bound),
            bind("BIND-2", by_hand.freed, freed),
            _order("BIND-3", by_hand.bound.organization, later, LATER, BindingAction.BIND),
            # It is bound to another request.
            _order(
                "BIND-4",
                by_hand.named.organization,
                bound,
                by_hand.named.issue_request_id,
                BindingAction.BIND,
                Reason.NUMBER_NOT_AVAILABLE,
            ),
            _order(
                "BIND-5",
                by_hand.freed.organization,
                freed,
                by_hand.freed.issue_request_id,
                BindingAction.UNBIND,
            ),
        ),
        bound,
        named,
    )


def bind(binding_id: str, asked: Asked, number: str) -> Order:
    """Bind the number to the request."""
    return _order(binding_id, asked.organization, number, asked.issue_request_id, BindingAction.BIND)


def _order(
    binding_id: str,
    organization: str,
    number: str,
    issue_request_id: str,
    action: BindingAction,
    refusal: Reason | None = None,
) -> Order:
    done = {BindingAction.BIND: Topic.NUMBER_BOUND, BindingAction.UNBIND: Topic.NUMBER_UNBOUND}
    becomes = done[action] if refusal is None else Topic.BINDING_REFUSED
    return Order(binding_id, organization, number, issue_request_id, action, becomes, refusal)
