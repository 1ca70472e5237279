"""What Fuma tells: the `data` of every event.

Source of every field: the contract, "Events"; where it leaves a type open, the field's comment says what was chosen.
"""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from schemas.fields import (
    BusinessKey,
    Count,
    Data,
    Detail,
    EnvironmentField,
    Instant,
    IssueDate,
    NumberText,
    OrganizationCode,
    RequestedBy,
    TaxpayerId,
    Year,
)
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import ChannelMode, ClaimMode, InvoiceKind

_ReasonField = Annotated[Reason, Field(strict=False, description="a reason code")]
_ChannelModeField = Annotated[ChannelMode, Field(strict=False, description="self-use, on-behalf or joint")]
_ClaimModeField = Annotated[ClaimMode, Field(strict=False, description="automatic or manual")]
_KindField = Annotated[InvoiceKind, Field(strict=False, description="blue or red")]
_Identifier = Annotated[str, Field(min_length=1, max_length=128, description="an identifier, 1 to 128 characters")]


class Told(Data):
    """What every event carries."""

    environment: EnvironmentField


class NumberAssigned(Told):
    """The request has its number, the same at each repetition."""

    issue_request_id: BusinessKey
    organization: OrganizationCode
    taxpayer_id: TaxpayerId
    invoice_number: NumberText
    issue_date: IssueDate
    kind: _KindField
    range_id: _Identifier
    claim_mode: _ClaimModeField
    assigned_at: Instant


class NumberRefused(Told):
    """The request gets no number now; asked again, it is judged anew."""

    issue_request_id: BusinessKey
    organization: OrganizationCode
    reason: _ReasonField
    detail: Detail


class RangeExhausted(Told):
    """A stock ran out: its last automatic number was taken, or a first request found none."""

    taxpayer_id: TaxpayerId
    channel_mode: _ChannelModeField
    year: Year
    #: Counts the times that this stock ran out; only the present one leads to a claim.
    episode: Count
    #: The last number that the stock gave; null where it never had any.
    last_number: NumberText | None
    #: How many requests wait.
    waiting: Count
    exhausted_at: Instant


class RangeLow(Told):
    """A stock fell to its threshold; told once for each crossing, re-armed by the next range."""

    taxpayer_id: TaxpayerId
    channel_mode: _ChannelModeField
    year: Year
    episode: Count
    remaining: Count
    #: How many numbers count as low: the policy's share of the last claim, as a count.
    threshold: Count
    #: How long the rest may last at the present rate; null where no rate is known.
    days_left: Annotated[float, Field(ge=0, allow_inf_nan=False, description="days, 0 or more")] | None


class RangeClaimed(Told):
    """A claim brought a range."""

    claim_id: _Identifier
    claim_mode: _ClaimModeField
    #: Who asked, for a manual claim; null for an automatic one, which serves all that share the stock.
    organization: OrganizationCode | None = None
    taxpayer_id: TaxpayerId
    range_id: _Identifier
    first_number: NumberText
    last_number: NumberText
    quantity: Count
    year: Year


class ClaimFailed(Told):
    """A claim brought nothing, and its answer is definite."""

    claim_id: _Identifier
    #: Null where the organisation is unknown, and so its tax id.
    taxpayer_id: TaxpayerId | None
    #: As it was asked for, out of bounds too.
    quantity: int
    reason: _ReasonField
    detail: Detail
    #: When a new claim follows by itself; null where none does.
    next_attempt_at: Instant | None


class ClaimUnresolved(Told):
    """A claim's outcome is still unknown; it may have been granted, and is replayed until it is known."""

    claim_id: _Identifier
    taxpayer_id: TaxpayerId
    quantity: int
    reason: _ReasonField
    detail: Detail
    next_attempt_at: Instant | None


class DifferenceKind(StrEnum):
    """How a gateway's list and ours can differ (the contract, rule 11)."""

    MISSING_HERE = "missing-here"
    MISSING_THERE = "missing-there"
    OTHER_QUANTITY = "other-quantity"
    OVERLAP = "overlap"
    #: Our additions: the gateway's list could not be had; the refresh named nobody who is registered.
    LISTING_UNAVAILABLE = "listing-unavailable"
    NOT_REGISTERED = "not-registered"


class RangeDifference(Data):
    """One range on which a gateway's list and ours differ."""

    kind: Annotated[
        DifferenceKind,
        Field(strict=False, description="how the two differ"),
    ]
    #: Null where the difference is not about one range.
    first_number: NumberText | None
    last_number: NumberText | None
    #: Null where the range stands on one side only.
    quantity_here: Count | None
    quantity_there: Count | None


class RangeRefreshed(Told):
    """One taxpayer's ranges were brought into step; the counts are those after it."""

    refresh_id: BusinessKey
    #: Null where the refresh named nobody who is registered.
    taxpayer_id: TaxpayerId | None
    #: How many ranges are active or used up, how many numbers were claimed with them, and how many remain.
    ranges: Count
    claimed: Count
    remaining: Count
    resolved_claims: Count
    unresolved_claims: Count
    #: How many ranges are expired.
    expired: Count
    #: How many ranges are foreign.
    foreign: Count
    #: Empty where the channel can't list ranges.
    differences: Annotated[tuple[RangeDifference, ...], Field(strict=False, description="a list of differences")]


class RangeEnded(Told):
    """A range whose unused numbers will not be assigned any more."""

    range_id: _Identifier
    taxpayer_id: TaxpayerId
    year: Year
    first_number: NumberText
    last_number: NumberText
    unused: Count
    reason: _ReasonField


class RangeExpired(RangeEnded):
    """The year of its prefix is over, or its rule ended it."""


class RangeQuarantined(RangeEnded):
    """A grant that failed its check, or a range that can't be trusted any more."""


class Binding(Told):
    """What the events on a bound number share; who asked is null where nobody was named."""

    binding_id: BusinessKey
    issue_request_id: BusinessKey
    organization: OrganizationCode
    taxpayer_id: TaxpayerId | None
    invoice_number: NumberText
    requested_by: RequestedBy = None
    at: Instant


class NumberBound(Binding):
    """The number is kept for the issue request."""


class NumberUnbound(Binding):
    """The number is free again."""


class BindingRefused(Binding):
    """Nothing was bound or freed."""

    reason: _ReasonField
    detail: Detail


class Outcome(Told):
    """What the events on an outcome share."""

    #: Null where nobody reported an outcome.
    outcome_id: BusinessKey | None
    issue_request_id: BusinessKey
    organization: OrganizationCode
    taxpayer_id: TaxpayerId | None
    invoice_number: NumberText
    at: Instant


class NumberUsed(Outcome):
    """The invoice is uploaded: the number is never used again."""


class NumberReleased(Outcome):
    """The upload failed: the number may stand on another invoice."""


class NumberVoided(Outcome):
    """The upload failed, and the number shall not be used again."""


class NumberHeld(Outcome):
    """The outcome is unknown: the number is neither used nor free."""


class OutcomeRefused(Outcome):
    """Nothing moved: the request doesn't hold that number now, or its state forbids it."""

    reason: _ReasonField
    detail: Detail


class OutcomeOverdue(Outcome):
    """Nobody has said in time what became of the upload."""


class Input(Told):
    """What the events on a queue's input share: what one worker saw of it."""

    #: The topic of the queue.
    topic: Annotated[Topic, Field(strict=False, description="a topic")]
    #: Which worker: its host and process.
    worker: _Identifier
    #: How many of the last `of` messages could not be read.
    unreadable: Count
    of: Count
    #: The commonest reason of those; null where there are none.
    commonest_reason: _ReasonField | None
    at: Instant


class InputDegraded(Input):
    """Most of what arrives can't be read: a producer is broken. The worker slows down and goes on with the rest."""


class InputRecovered(Input):
    """What arrives can be read again, or nothing unreadable has come for a minute."""


#: The model of each event topic's `data`.
EVENT_MODELS: dict[Topic, type[Told]] = {
    Topic.NUMBER_ASSIGNED: NumberAssigned,
    Topic.NUMBER_REFUSED: NumberRefused,
    Topic.RANGE_EXHAUSTED: RangeExhausted,
    Topic.RANGE_LOW: RangeLow,
    Topic.RANGE_CLAIMED: RangeClaimed,
    Topic.CLAIM_FAILED: ClaimFailed,
    Topic.CLAIM_UNRESOLVED: ClaimUnresolved,
    Topic.RANGE_REFRESHED: RangeRefreshed,
    Topic.RANGE_EXPIRED: RangeExpired,
    Topic.RANGE_QUARANTINED: RangeQuarantined,
    Topic.NUMBER_BOUND: NumberBound,
    Topic.NUMBER_UNBOUND: NumberUnbound,
    Topic.BINDING_REFUSED: BindingRefused,
    Topic.NUMBER_USED: NumberUsed,
    Topic.NUMBER_RELEASED: NumberReleased,
    Topic.NUMBER_VOIDED: NumberVoided,
    Topic.NUMBER_HELD: NumberHeld,
    Topic.OUTCOME_REFUSED: OutcomeRefused,
    Topic.OUTCOME_OVERDUE: OutcomeOverdue,
    Topic.INPUT_DEGRADED: InputDegraded,
    Topic.INPUT_RECOVERED: InputRecovered,
}
