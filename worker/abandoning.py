"""Abandoning: claims whose outcome is unknown are given up, for what they would bring must not be used."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection

from db.claims import change_claim
from db.records import Claim
from schemas.cloudevents import Form
from schemas.reasons import Reason
from worker.answers import Answer
from worker.events import EventWriter

#: Reasons that an abandoned claim keeps for ever: the range that LeQi may have granted for it is nobody's stock.
NEVER_OURS = (Reason.RETIRED, Reason.RESTORED)


def abandon_claims(
    connection: Connection,
    environment: str,
    events: EventWriter,
    claims: Sequence[Claim],
    *,
    reason: Reason,
    detail: str,
    now: datetime,
) -> list[Answer]:
    """Give up claims of locked stocks; an answer that is on its way, or that a list brings, is not stored any more."""
    for claim in claims:
        change_claim(
            connection,
            environment,
            claim,
            status="abandoned",
            reason=reason,
            detail=detail,
            next_attempt_at=None,
            calling_until=None,
            settled_at=now,
        )
    return [
        Answer(
            events.claim_failed(
                claim.claim_id,
                taxpayer_id=claim.taxpayer_id,
                quantity=claim.quantity,
                reason=reason,
                detail=detail,
                next_attempt_at=None,
                now=now,
                traceparent=claim.traceparent,
                remembered=True,
            ),
            Form(claim.form),
        )
        for claim in claims
    ]
