"""A run of the demo in which everything was right: two requests from stock, one by hand, one refused."""

from collections import Counter
from datetime import UTC, date, datetime

from schemas.events import (
    Binding,
    BindingRefused,
    ClaimFailed,
    NumberAssigned,
    NumberBound,
    NumberRefused,
    NumberReleased,
    NumberUsed,
    OutcomeRefused,
    RangeClaimed,
    RangeRefreshed,
)
from schemas.events import Outcome as OutcomeTold
from schemas.organizations import OrganizationEntry
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import BindingAction, ChannelMode, ClaimMode, Environment, InvoiceKind, UploadOutcome
from worker.demo.audience import Assignment, Audience, Move, Reply
from worker.demo.companies import Company
from worker.demo.hand import Order
from worker.demo.reckoning import Outcome
from worker.demo.story import (
    MANUAL_CLAIM,
    MANUAL_QUANTITY,
    REFRESH,
    TOO_LARGE_CLAIM,
    TOO_LARGE_QUANTITY,
    Ahead,
    Course,
)
from worker.demo.traffic import Asked, ByHand, Sent, Traffic, Unreadable
from worker.demo.uploads import Report
from worker.leqi.simulator import GrantRow

TAXPAYER = "91440300587908164C"
OTHER_TAXPAYER = "91110000101623741K"
NOW = datetime(2026, 3, 4, tzinfo=UTC)
DAY = date(2026, 3, 4)
PREFIX = "264470"

FIRST = Asked("INV-1", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
SECOND = Asked("INV-2", "A", TAXPAYER, DAY, InvoiceKind.RED)
BY_HAND = Asked("HAND-1", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
NAMED = Asked("HAND-2", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
FREED = Asked("HAND-3", "A", TAXPAYER, DAY, InvoiceKind.BLUE)
REFUSED = Asked("REF-1", "NOBODY", None, DAY, InvoiceKind.BLUE, refusal=Reason.UNKNOWN_ORGANIZATION)


def number(sequence: int, prefix: str = PREFIX) -> str:
    return f"{prefix}{sequence:014}"


def assignment(asked: Asked, sequence: int, **changes: object) -> Assignment:
    told = NumberAssigned(
        issue_request_id=asked.issue_request_id,
        organization=asked.organization,
        taxpayer_id=asked.taxpayer_id or "",
        invoice_number=number(sequence),
        issue_date=asked.issue_date,
        kind=asked.kind,
        range_id="range-1",
        claim_mode=ClaimMode.AUTOMATIC,
        assigned_at=NOW,
        environment=Environment.SANDBOX,
    )
    return Assignment(f"event of {asked.issue_request_id} {sequence}", told.model_copy(update=changes))


def claimed(**changes: object) -> RangeClaimed:
    told = RangeClaimed(
        claim_id=MANUAL_CLAIM,
        claim_mode=ClaimMode.MANUAL,
        organization="A",
        taxpayer_id=TAXPAYER,
        range_id="range-2",
        first_number=number(11),
        last_number=number(110),
        quantity=MANUAL_QUANTITY,
        year=2026,
        environment=Environment.SANDBOX,
    )
    return told.model_copy(update=changes)


def manual(asked: Asked, sequence: int) -> Assignment:
    return assignment(asked, sequence, claim_mode=ClaimMode.MANUAL, range_id="range-2")


ORDERS = [
    Order("B-1", "A", number(11), "HAND-1", BindingAction.BIND, Topic.NUMBER_BOUND),
    Order("B-2", "A", number(11), "HAND-2", BindingAction.BIND, Topic.BINDING_REFUSED, Reason.NUMBER_NOT_AVAILABLE),
    Order("B-3", "A", number(13), "LATER", BindingAction.BIND, Topic.NUMBER_BOUND),
]

REPORTS = [
    Report("O-1", "A", "INV-1", number(1), UploadOutcome.UPLOADED, reuse=True, becomes=Topic.NUMBER_USED),
    Report("O-2", "A", "INV-2", number(2), UploadOutcome.FAILED, reuse=True, becomes=Topic.NUMBER_RELEASED),
    Report(
        "O-3",
        "A",
        "INV-2",
        number(2),
        UploadOutcome.UPLOADED,
        reuse=True,
        becomes=Topic.OUTCOME_REFUSED,
        refusal=Reason.OUTCOME_CONFLICT,
    ),
]

MOVES = [
    Move(Topic.NUMBER_ASSIGNED, number(1), "INV-1"),
    Move(Topic.NUMBER_ASSIGNED, number(2), "INV-2"),
    Move(Topic.NUMBER_BOUND, number(11), "HAND-1"),
    Move(Topic.NUMBER_BOUND, number(13), "LATER"),
    Move(Topic.NUMBER_ASSIGNED, number(11), "HAND-1"),
    Move(Topic.NUMBER_ASSIGNED, number(12), "HAND-2"),
    Move(Topic.NUMBER_ASSIGNED, number(3), "HAND-3"),
    Move(Topic.NUMBER_USED, number(1), "INV-1"),
    Move(Topic.NUMBER_RELEASED, number(2), "INV-2"),
    Move(Topic.NUMBER_ASSIGNED, number(2), "INV-2"),
]


def binding_reply(order: Order) -> Reply:
    fields = {
        "binding_id": order.binding_id,
        "issue_request_id": order.issue_request_id,
        "organization": order.organization,
        "taxpayer_id": TAXPAYER,
        "invoice_number": order.number,
        "requested_by": "operator",
        "at": NOW,
        "environment": Environment.SANDBOX,
    }
    told: Binding = NumberBound.model_validate(fields)
    if order.refusal is not None:
        told = BindingRefused.model_validate({**fields, "reason": order.refusal, "detail": ""})
    return Reply(order.becomes, f"event of {order.binding_id}", told)


def outcome_reply(report: Report) -> Reply:
    fields = {
        "outcome_id": report.outcome_id,
        "issue_request_id": report.issue_request_id,
        "organization": report.organization,
        "taxpayer_id": TAXPAYER,
        "invoice_number": report.number,
        "at": NOW,
        "environment": Environment.SANDBOX,
    }
    told: OutcomeTold
    if report.refusal is not None:
        told = OutcomeRefused.model_validate({**fields, "reason": report.refusal, "detail": ""})
    else:
        model = NumberReleased if report.becomes is Topic.NUMBER_RELEASED else NumberUsed
        told = model.model_validate(fields)
    return Reply(report.becomes, f"event of {report.outcome_id}", told)


def heard() -> Audience:
    """An audience of a run in which everything was right."""
    audience = Audience("memory://unit")
    audience.heard = 8
    audience.assigned[TAXPAYER, "INV-1"] = [assignment(FIRST, 1), assignment(FIRST, 1)]
    again = assignment(SECOND, 2)._replace(event_id="event of INV-2 anew")
    audience.assigned[TAXPAYER, "INV-2"] = [assignment(SECOND, 2), again]
    audience.assigned[TAXPAYER, "HAND-1"] = [manual(BY_HAND, 11)]
    audience.assigned[TAXPAYER, "HAND-2"] = [manual(NAMED, 12)]
    audience.assigned[TAXPAYER, "HAND-3"] = [assignment(FREED, 3)]
    audience.moves = list(MOVES)
    for order in ORDERS:
        audience.replies[order.binding_id] = [binding_reply(order)]
    for report in REPORTS:
        audience.replies[report.outcome_id] = [outcome_reply(report)]
    released = NumberRefused(
        issue_request_id="INV-2",
        organization="A",
        reason=Reason.RELEASED,
        detail="",
        environment=Environment.SANDBOX,
    )
    audience.refused_copies["event of the copy"] = released
    audience.refused["event of REF-1"] = NumberRefused(
        issue_request_id="REF-1",
        organization="NOBODY",
        reason=Reason.UNKNOWN_ORGANIZATION,
        detail="",
        environment=Environment.SANDBOX,
    )
    audience.claimed[MANUAL_CLAIM] = [claimed(), claimed()]
    audience.claims_failed[TOO_LARGE_CLAIM] = ClaimFailed(
        claim_id=TOO_LARGE_CLAIM,
        taxpayer_id=TAXPAYER,
        quantity=TOO_LARGE_QUANTITY,
        reason=Reason.QUANTITY_OUT_OF_BOUNDS,
        detail="",
        next_attempt_at=None,
        environment=Environment.SANDBOX,
    )
    audience.refreshed = [
        RangeRefreshed(
            refresh_id=REFRESH,
            taxpayer_id=TAXPAYER,
            ranges=2,
            claimed=110,
            remaining=104,
            resolved_claims=0,
            unresolved_claims=0,
            expired=0,
            foreign=0,
            differences=(),
            environment=Environment.SANDBOX,
        ),
    ]
    return audience


def outcome(audience: Audience) -> Outcome:
    """The outcome of such a run: two requests, one of them sent again late, and one refused."""
    entry = OrganizationEntry(
        code="A",
        name="A",
        taxpayer_id=TAXPAYER,
        channel_mode=ChannelMode.SELF_USE,
        using_unit_id="UU1",
    )
    automatic = {"claim_mode": "automatic", "status": "granted", "business_serial": "S1"}
    manual = {"claim_mode": "manual", "status": "granted", "business_serial": "S2"}
    return Outcome(
        companies=[Company(entry, 1)],
        traffic=Traffic(
            asked=[FIRST, SECOND, REFUSED, BY_HAND, NAMED, FREED],
            opening=[Sent(FIRST, "1")],
            main=[Sent(SECOND, "2"), Sent(REFUSED, "3"), Unreadable("no-json", "BAD-1")],
            late=[Sent(FIRST, "1")],
            by_hand=ByHand(BY_HAND, NAMED, FREED),
        ),
        course=course(),
        audience=audience,
        grants=[
            GrantRow(TAXPAYER, "S1", 10, number(1), number(10), 2),
            GrantRow(TAXPAYER, "S2", 100, number(11), number(110), 1),
        ],
        ranges=[
            {"taxpayer_id": TAXPAYER, "first_number": number(1), "last_number": number(10)},
            {"taxpayer_id": TAXPAYER, "first_number": number(11), "last_number": number(110)},
        ],
        claims=[automatic, manual],
        numbers=stored_numbers(),
        waiting=[],
        letters=Counter(["malformed"]),
    )


def course() -> Course:
    return Course(
        messages=7,
        lost=["S1"],
        manual_claims={MANUAL_CLAIM: MANUAL_QUANTITY},
        orders=list(ORDERS),
        by_hand={(TAXPAYER, "HAND-1"): number(11), (TAXPAYER, "HAND-2"): number(12)},
        ahead=Ahead("A", low=2, ran_out=0, claims=3, expected=True),
        reports=list(REPORTS),
        anew=[SECOND],
    )


def stored_numbers() -> list[dict[str, object]]:
    """The rows of `fuma numbers`: those that have moved, and the rest of the manual range."""
    rows = [
        (1, "used", "INV-1"),
        (2, "assigned", "INV-2"),
        (3, "assigned", "HAND-3"),
        (11, "assigned", "HAND-1"),
        (12, "assigned", "HAND-2"),
        (13, "bound", None),
        *((sequence, "available", None) for sequence in range(14, 111)),
    ]
    return [
        {"invoice_number": number(sequence), "status": status, "issue_request_id": request}
        for sequence, status, request in rows
    ]


def broken(of: Outcome) -> set[str]:
    """Name the checks that don't hold."""
    return {check.name for check in of.reckon() if not check.holds}
