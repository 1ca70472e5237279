"""Refreshes: whom one concerns, what it was answered with, and what it counts from our own ledger."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

from sqlalchemy import Connection, insert, select, text

from db.records import StockKey
from db.tables import refreshes

_TAXPAYERS = text("""
    SELECT DISTINCT taxpayer_id FROM channels WHERE environment = :environment ORDER BY taxpayer_id
""")

_STOCKS = text("""
    SELECT taxpayer_id, channel_mode, year FROM stocks
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment
""")

# What remains is counted from cursors and number rows, not from any stored sum.
_COUNT = text("""
    SELECT count(*) FILTER (WHERE r.status IN ('active', 'used-up')),
           coalesce(sum(r.last_sequence - r.first_sequence + 1) FILTER (WHERE r.status IN ('active', 'used-up')), 0),
           coalesce(sum(r.last_sequence - r.next_sequence + 1 + n.available) FILTER (WHERE r.status = 'active'), 0),
           count(*) FILTER (WHERE r.status = 'expired'),
           count(*) FILTER (WHERE r.status = 'foreign')
    FROM ranges AS r
    LEFT JOIN LATERAL (
        SELECT count(*) AS available FROM numbers AS n
        WHERE n.taxpayer_id = r.taxpayer_id AND n.environment = r.environment AND n.range_id = r.range_id
          AND n.status = 'available'
    ) AS n ON true
    WHERE r.taxpayer_id = :taxpayer_id AND r.environment = :environment
""")


@dataclass(frozen=True, slots=True)
class StockCount:
    """A taxpayer's ranges as our own ledger has them."""

    #: Ranges that are active or used up, and how many numbers were claimed with them.
    ranges: int
    claimed: int
    #: Numbers of active ranges that nobody holds yet.
    remaining: int
    expired: int
    foreign: int

    def as_data(self) -> Mapping[str, int]:
        """Give the counts by the names that the event has for them."""
        return asdict(self)


def registered_taxpayers(connection: Connection, environment: str) -> list[str]:
    """List every taxpayer that has a channel."""
    return list(connection.execute(_TAXPAYERS, {"environment": environment}).scalars())


def stocks_of_taxpayer(connection: Connection, environment: str, taxpayer_id: str) -> list[StockKey]:
    """List the stocks of a taxpayer; a look without locks."""
    rows = connection.execute(_STOCKS, {"taxpayer_id": taxpayer_id, "environment": environment})
    return [StockKey(*row) for row in rows]


def count_stock(connection: Connection, environment: str, taxpayer_id: str) -> StockCount:
    """Count what a taxpayer has, from cursors and number rows."""
    row = connection.execute(_COUNT, {"taxpayer_id": taxpayer_id, "environment": environment}).one()
    return StockCount(*(int(value) for value in row))


def find_refresh(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    refresh_id: str,
) -> tuple[datetime, Mapping[str, object]] | None:
    """Read when a refresh was answered and with what; None where it was not."""
    row = connection.execute(
        select(refreshes.c.answered_at, refreshes.c.data).where(
            refreshes.c.taxpayer_id == taxpayer_id,
            refreshes.c.environment == environment,
            refreshes.c.refresh_id == refresh_id,
        ),
    ).one_or_none()
    return None if row is None else (row[0], row[1])


def add_refresh(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    refresh_id: str,
    data: Mapping[str, object],
    *,
    now: datetime,
) -> None:
    """Store the answer of a refresh, so that the same refresh gets the same answer."""
    connection.execute(
        insert(refreshes).values(
            taxpayer_id=taxpayer_id,
            environment=environment,
            refresh_id=refresh_id,
            answered_at=now,
            data=dict(data),
        ),
    )
