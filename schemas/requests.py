"""What Fuma is asked: the `data` of the consumed topics, and how it is read.

Source of every field: the contract, "Requests" and "Events".
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, LiteralString, Self

from pydantic import Field, ValidationError, WithJsonSchema, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from schemas.events import RangeExhausted, RangeLow
from schemas.fields import (
    LARGEST_INTEGER,
    SMALLEST_INTEGER,
    BusinessKey,
    Data,
    EnvironmentField,
    IssueDate,
    NumberText,
    OrganizationCode,
    RequestedBy,
    TaxpayerId,
    expected,
)
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import BindingAction, Environment, InvoiceKind, UploadOutcome

__all__ = [
    "LARGEST_QUANTITY",
    "SMALLEST_QUANTITY",
    "ClaimRequested",
    "InvoiceIssuing",
    "InvoiceOutcome",
    "NumberBindingRequested",
    "RangeExhausted",
    "RangeLow",
    "RefreshRequested",
    "Refusal",
    "Request",
    "read_request",
]

#: The limits of a manual claim. Other integers are readable, and answered with `quantity-out-of-bounds`.
SMALLEST_QUANTITY, LARGEST_QUANTITY = 1, 1000

_TWO_SUBJECTS: LiteralString = "two_subjects"


class Asked(Data):
    """What every request may carry."""

    environment: EnvironmentField | None = None


class InvoiceIssuing(Asked):
    """One invoice wants its number; answered by `number-assigned` or `number-refused`."""

    issue_request_id: BusinessKey
    organization: OrganizationCode
    issue_date: IssueDate
    kind: Annotated[InvoiceKind, Field(strict=False, description="blue or red")] = InvoiceKind.BLUE
    #: Only to use a given manual number.
    number: NumberText | None = None


class ClaimRequested(Asked):
    """An operator wants a range of its own; answered by `range-claimed` or `claim-failed`."""

    claim_id: BusinessKey
    organization: OrganizationCode
    #: Any 64-bit integer is kept as it came: out of bounds is an answer, not a dead letter.
    quantity: Annotated[
        int,
        Field(ge=SMALLEST_INTEGER, le=LARGEST_INTEGER, description="an integer; answered with a range from 1 to 1000"),
        WithJsonSchema({"type": "integer", "minimum": SMALLEST_QUANTITY, "maximum": LARGEST_QUANTITY}),
    ]
    requested_by: RequestedBy = None


class RefreshRequested(Asked):
    """Bring one organisation, one tax id or all into step; answered by a `range-refreshed` for each taxpayer."""

    refresh_id: BusinessKey
    organization: OrganizationCode | None = None
    taxpayer_id: TaxpayerId | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> Self:
        if self.organization is not None and self.taxpayer_id is not None:
            raise PydanticCustomError(_TWO_SUBJECTS, "organization and taxpayer_id: expected one of them, or neither")
        return self


class NumberBindingRequested(Asked):
    """Keep a manual number for one issue request, or free it; answered by `number-bound`, `-unbound` or `-refused`."""

    binding_id: BusinessKey
    organization: OrganizationCode
    number: NumberText
    issue_request_id: BusinessKey
    action: Annotated[BindingAction, Field(strict=False, description="bind or unbind")]
    requested_by: RequestedBy = None


class InvoiceOutcome(Asked):
    """What became of an invoice's upload."""

    outcome_id: BusinessKey
    organization: OrganizationCode
    issue_request_id: BusinessKey
    invoice_number: NumberText
    outcome: Annotated[UploadOutcome, Field(strict=False, description="uploaded, failed or unknown")]
    reuse: Annotated[bool, Field(description="true or false")] = True


Request = (
    InvoiceIssuing
    | ClaimRequested
    | RefreshRequested
    | NumberBindingRequested
    | InvoiceOutcome
    | RangeExhausted
    | RangeLow
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a message goes to the dead letters; `detail` names fields and what they should be, never what they were."""

    reason: Reason
    detail: str


_MODELS: dict[Topic, type[Request]] = {
    Topic.INVOICE_ISSUING: InvoiceIssuing,
    Topic.CLAIM_REQUESTED: ClaimRequested,
    Topic.REFRESH_REQUESTED: RefreshRequested,
    Topic.NUMBER_BINDING_REQUESTED: NumberBindingRequested,
    Topic.INVOICE_OUTCOME: InvoiceOutcome,
    Topic.RANGE_EXHAUSTED: RangeExhausted,
    Topic.RANGE_LOW: RangeLow,
}
#: Asked once: pydantic looks a model's fields up anew each time.
_MOST_FIELDS: dict[Topic, int] = {topic: len(model.model_fields) for topic, model in _MODELS.items()}


def read_request(topic: Topic, data: object, environment: Environment) -> Request | Refusal:
    """Read the data of a consumed topic's message, as `read_message` gave it; never raises.

    Refused are: a topic that isn't consumed (`unknown-type`), any other environment than the given one
    (`wrong-environment`), and whatever the topic's model doesn't accept (`malformed`).
    """
    model = _MODELS.get(topic)
    if model is None:
        return Refusal(Reason.UNKNOWN_TYPE, "no queue serves this type")
    if not isinstance(data, dict):
        return Refusal(Reason.MALFORMED, "data: expected a JSON object")
    named = data.get("environment")
    if isinstance(named, str) and named != environment:
        return Refusal(Reason.WRONG_ENVIRONMENT, f"environment: this Fuma serves {environment.value}")
    if len(data) > _MOST_FIELDS[topic]:
        # Told before pydantic lists each of what may be a hundred thousand unknown fields.
        return Refusal(Reason.MALFORMED, _unknown_field(model))
    try:
        return model.model_validate(data)
    except ValidationError as refusal:
        faults = refusal.errors(include_url=False, include_context=False, include_input=False)
        return Refusal(Reason.MALFORMED, _in_words(model, faults))


def _in_words(model: type[Request], faults: Iterable[ErrorDetails]) -> str:
    """Name each faulty field once, with what is expected there."""
    return "; ".join(dict.fromkeys(_fault_in_words(model, fault) for fault in faults))


def _fault_in_words(model: type[Request], fault: ErrorDetails) -> str:
    if fault["type"] == _TWO_SUBJECTS:
        return fault["msg"]
    name = str(fault["loc"][0]) if fault["loc"] else ""
    field = model.model_fields.get(name)
    if field is None:
        return _unknown_field(model)
    problem = "missing, " if fault["type"] == "missing" else ""
    return f"{name}: {problem}expected {expected(field)}"


def _unknown_field(model: type[Request]) -> str:
    # The unknown name itself is not repeated: it came from outside, as values do.
    return f"data: a field is unknown here; known are {', '.join(model.model_fields)}"
