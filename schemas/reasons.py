"""Why something was refused, failed, or could not be read: codes for programs.

A text for people stands beside each code, in the field `detail` of an event or the header `x-fuma-detail` of a dead
letter. Source: the contract, "Events" and "Dead letters".
"""

from enum import StrEnum


class Reason(StrEnum):
    """A reason code. Published codes are never renamed; new ones may be added."""

    UNKNOWN_ORGANIZATION = "unknown-organization"
    ISSUE_DATE_OUT_OF_YEAR = "issue-date-out-of-year"
    NUMBER_NOT_AVAILABLE = "number-not-available"
    NUMBER_OF_ANOTHER_TAXPAYER = "number-of-another-taxpayer"
    CHANNEL_MODE_MISMATCH = "channel-mode-mismatch"
    YEAR_MISMATCH = "year-mismatch"
    CONFLICTING_REQUEST = "conflicting-request"
    #: It waited past its limit.
    NO_STOCK = "no-stock"
    CANCELLED = "cancelled"
    RELEASED = "released"
    QUANTITY_OUT_OF_BOUNDS = "quantity-out-of-bounds"
    LEQI_REFUSED = "leqi-refused"
    LEQI_THROTTLED = "leqi-throttled"
    LEQI_UNREACHABLE = "leqi-unreachable"
    GRANT_INVALID = "grant-invalid"
    OUTCOME_CONFLICT = "outcome-conflict"
    UNKNOWN_REQUEST = "unknown-request"

    #: Our addition: why a range expired. The year of its prefix is over (the domain, rule 1).
    YEAR_ENDED = "year-ended"
    #: Our addition: claimed before the taxpayer moved to another province (the domain, rule 7).
    RETIRED = "retired"
    #: Our addition: the database was restored, and has forgotten what was given out since its backup.
    RESTORED = "restored"

    #: Our addition: LeQi answered, and the answer can't be stored. It is asked for again.
    NOT_STORED = "not-stored"

    #: No CloudEvent, or its data isn't what the schema asks for.
    MALFORMED = "malformed"
    #: A CloudEvent of a type that isn't ours, or that its queue doesn't serve.
    UNKNOWN_TYPE = "unknown-type"
    #: More bytes or more events than a message may have.
    TOO_LARGE = "too-large"
    #: Meant for the other environment.
    WRONG_ENVIRONMENT = "wrong-environment"
    #: The broker gave up: delivered too often without an acknowledgement.
    DELIVERY_LIMIT = "delivery-limit"
    #: Our addition: readable, but a fault of ours keeps it from being handled.
    PROCESSING_FAILED = "processing-failed"


#: The reasons that a dead letter can have.
DEAD_LETTER_REASONS: frozenset[Reason] = frozenset(
    {
        Reason.MALFORMED,
        Reason.UNKNOWN_TYPE,
        Reason.TOO_LARGE,
        Reason.WRONG_ENVIRONMENT,
        Reason.DELIVERY_LIMIT,
        Reason.PROCESSING_FAILED,
    },
)
