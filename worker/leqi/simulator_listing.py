"""The listing gateway's view: the grants, with what a test changed about them."""

from collections.abc import Iterable
from typing import Final

from worker.leqi.simulator_numbers import Span
from worker.leqi.simulator_records import (
    Grant,
    ListedChange,
    ListedRange,
    ListingEdits,
)

UNCHANGED: Final = ListedChange()


def listed_ranges(grants: Iterable[Grant], edits: ListingEdits, taxpayer_id: str | None) -> list[ListedRange]:
    """List a taxpayer's ranges (None: everybody's), oldest grant first, added last."""
    ranges = [
        _listed(grant, edits.change.get(grant.order.business_serial, UNCHANGED))
        for grant in grants
        if grant.order.business_serial not in edits.hide
    ]
    return [item for item in (*ranges, *edits.add) if taxpayer_id is None or item.taxpayer_id == taxpayer_id]


def unknown_serials(grants: Iterable[Grant], edits: ListingEdits) -> list[str]:
    """Return the serials that the edits name and no grant has."""
    known = {grant.order.business_serial for grant in grants}
    return sorted({*edits.change, *edits.hide} - known)


def foreign_spans(edits: ListingEdits) -> list[Span]:
    """Return the numbers that another system claimed."""
    return [Span.between(item.first_number, item.last_number) for item in edits.add]


def _listed(grant: Grant, change: ListedChange) -> ListedRange:
    """See a grant as a gateway does that saw no upload, unless a test says more."""
    quantity = grant.quantity if change.quantity is None else change.quantity
    return ListedRange.model_construct(
        first_number=grant.first_number,
        last_number=change.last_number or grant.last_number,
        quantity=quantity,
        unused=quantity if change.unused is None else change.unused,
        claimed_at=grant.claimed_at,
        taxpayer_id=grant.order.taxpayer_id,
        business_serial=grant.order.business_serial,
    )
