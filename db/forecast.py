"""What a forecast rests on: what each stock has, who waits for it, and how its taxpayer used numbers lately."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, text

from db.records import StockKey, Use

# One pass over each table, however many stocks there are.
_STOCKS = text("""
    WITH held AS (
        SELECT r.taxpayer_id, r.channel_mode, r.year,
               sum(r.last_sequence - r.next_sequence + 1 + coalesce(n.released, 0)) AS remaining
        FROM ranges AS r
        LEFT JOIN (
            SELECT taxpayer_id, environment, range_id, count(*) AS released FROM numbers
            WHERE status = 'available' AND environment = :environment
            GROUP BY taxpayer_id, environment, range_id
        ) AS n USING (taxpayer_id, environment, range_id)
        WHERE r.environment = :environment AND r.status = 'active' AND r.claim_mode = 'automatic'
        GROUP BY r.taxpayer_id, r.channel_mode, r.year
    ), queued AS (
        SELECT taxpayer_id, channel_mode, CAST(EXTRACT(year FROM issue_date) AS smallint) AS year, count(*) AS waiting
        FROM issue_requests
        WHERE environment = :environment AND status = 'waiting'
        GROUP BY taxpayer_id, channel_mode, EXTRACT(year FROM issue_date)
    ), used AS (
        SELECT taxpayer_id, channel_mode, max(taken) AS busiest_hour, sum(taken) AS taken, min(hour) AS first_hour
        FROM usage
        WHERE environment = :environment AND hour > :since
        GROUP BY taxpayer_id, channel_mode
    ), named AS (
        SELECT taxpayer_id, channel_mode, array_agg(code ORDER BY code) AS codes
        FROM organizations WHERE environment = :environment
        GROUP BY taxpayer_id, channel_mode
    )
    SELECT s.taxpayer_id, s.channel_mode, s.year, coalesce(named.codes, '{}'), s.level, s.paused,
           coalesce(held.remaining, 0), coalesce(queued.waiting, 0),
           coalesce(used.busiest_hour, 0), coalesce(used.taken, 0), used.first_hour
    FROM stocks AS s
    LEFT JOIN named USING (taxpayer_id, channel_mode)
    LEFT JOIN held USING (taxpayer_id, channel_mode, year)
    LEFT JOIN queued USING (taxpayer_id, channel_mode, year)
    LEFT JOIN used USING (taxpayer_id, channel_mode)
    WHERE s.environment = :environment
      AND (CAST(:years AS smallint[]) IS NULL OR s.year = ANY(CAST(:years AS smallint[])))
      AND (CAST(:taxpayer_id AS text) IS NULL OR s.taxpayer_id = :taxpayer_id)
      AND (CAST(:organization AS text) IS NULL OR :organization = ANY(named.codes))
    ORDER BY s.taxpayer_id, s.channel_mode, s.year
""")


@dataclass(frozen=True, slots=True)
class StockInUse:
    """One stock as a forecast sees it."""

    key: StockKey
    #: Codes of the organisations that draw from it.
    organizations: tuple[str, ...]
    level: str
    paused: bool
    #: Automatic numbers that it can give out, untouched and released, and requests that wait for it.
    remaining: int
    waiting: int
    use: Use


def stocks_in_use(
    connection: Connection,
    environment: str,
    *,
    since: datetime,
    years: Sequence[int] | None = None,
    taxpayer_id: str | None = None,
    organization: str | None = None,
) -> list[StockInUse]:
    """Read the stocks of these years, or of all, by taxpayer, with what was taken after `since`."""
    rows = connection.execute(
        _STOCKS,
        {
            "environment": environment,
            "since": since,
            "years": None if years is None else list(years),
            "taxpayer_id": taxpayer_id,
            "organization": organization,
        },
    )
    return [
        StockInUse(StockKey(*row[:3]), tuple(row[3]), row[4], row[5], int(row[6]), int(row[7]), Use(*row[8:]))
        for row in rows
    ]
