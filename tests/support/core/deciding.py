"""What a decision of issuing is made of: requests, what is known of them, and shelves with so many numbers."""

from datetime import UTC, date, datetime
from uuid import NAMESPACE_OID, UUID, uuid5

from db.records import KnownRequest, OpenRange, RequestKey, Stock, StockKey
from worker.decisions.assignment import Asked, Decisions, Known, decide
from worker.decisions.shelf import Shelf

TODAY = date(2026, 11, 23)
NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
TAXPAYERS = ("91350100M000100Y43", "91110000101623741K")
STOCK = StockKey(TAXPAYERS[0], "self-use", 2026)


def shelf(quantity: int, key: StockKey = STOCK, level: str = "ok", *, low_at: int = 0, paused: bool = False) -> Shelf:
    """Give a shelf with one range of so many numbers, or with none."""
    ranges = [OpenRange(uuid5(NAMESPACE_OID, str(key)), 264470, 1, quantity, 1)] if quantity else []
    stock = Stock(
        key,
        level,
        episode=1,
        paused=paused,
        low_at=low_at,
        last_claimed=None,
        wanted_by=None,
        claim_not_before=None,
        claim_at_most=None,
        failed_claims=0,
    )
    return Shelf(stock, ranges)


def asked(  # noqa: PLR0913 -- all that a request can say
    name: str = "R1",
    *,
    position: int = 0,
    taxpayer: str = TAXPAYERS[0],
    day: date = TODAY,
    organization: str = "A",
    kind: str = "blue",
    number: str | None = None,
    message: str | None = None,
) -> Asked:
    """Give a request as it was read, of the message that has its name unless another is named."""
    key = StockKey(taxpayer, "self-use", day.year)
    by = message or f"/tests {name}"
    return Asked(position, RequestKey(taxpayer, name), key, organization, day, kind, number, by)


def known(name: str, status: str, *, kind: str = "blue", day: date = TODAY) -> KnownRequest:
    """Give a request as it is stored, with a number if it is assigned."""
    is_assigned = status == "assigned"
    return KnownRequest(
        RequestKey(TAXPAYERS[0], name),
        "A",
        day,
        kind,
        named_number=None,
        status=status,
        closed_because="released" if status == "closed" else None,
        prefix=264470 if is_assigned else None,
        sequence=7 if is_assigned else None,
        range_id=UUID(int=1) if is_assigned else None,
        claim_mode="automatic" if is_assigned else None,
        assigned_at=NOW if is_assigned else None,
        event_id=UUID(int=2) if is_assigned else None,
        message=f"/tests {name}" if is_assigned else None,
    )


def decided(*requests: Asked, stock: int = 10, before: KnownRequest | None = None, today: date = TODAY) -> Decisions:
    """Decide with so many numbers in each stock that the requests name."""
    shelves = {each.stock_key: shelf(stock, each.stock_key) for each in requests}
    return decide(requests, Known({} if before is None else {before.key: before}), shelves, today)
