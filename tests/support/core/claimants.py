"""A stock that ran out and the channel that claims for it, in the middle of a year."""

from datetime import UTC, datetime
from decimal import Decimal

from db.records import OrganizationChannel, Stock, StockKey

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)

#: Midnights in China.
YEAR_BEGINS = datetime(2025, 12, 31, 16, tzinfo=UTC)
YEAR_ENDS = datetime(2026, 12, 31, 16, tzinfo=UTC)

STOCK = Stock(
    StockKey("91350100M000100Y43", "self-use", 2026),
    "exhausted",
    episode=1,
    paused=False,
    low_at=200,
    last_claimed=1000,
    wanted_by="A",
    claim_not_before=None,
    claim_at_most=None,
    failed_claims=0,
)
CHANNEL = OrganizationChannel(
    "A",
    "91350100M000100Y43",
    "self-use",
    "UU1",
    automatic_claims=True,
    claim_quantity=1000,
    claim_sizing="fixed",
    low_threshold=Decimal("0.2"),
)
