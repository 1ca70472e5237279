"""What the database holds after a step, read in one round trip, judged by the audit's own statements."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from db.invariants import INVARIANTS

_NUMBERS = b"""
    SELECT n.taxpayer_id, lpad(n.prefix::text, 6, '0') || lpad(n.sequence::text, 14, '0'), n.issue_request_id,
        n.bound_to, n.assigned_at, n.step,
        array_agg(h.step ORDER BY h.step), array_agg(h.status ORDER BY h.step), min(h.in_order::int)
    FROM numbers AS n
    JOIN (
        SELECT prefix, sequence, step, status,
            changed_at >= lag(changed_at, 1, changed_at) OVER (PARTITION BY prefix, sequence ORDER BY step) AS in_order
        FROM (
            SELECT prefix, sequence, step, status, changed_at FROM number_history
            UNION ALL SELECT prefix, sequence, step, status, changed_at FROM numbers) AS every
    ) AS h USING (prefix, sequence)
    GROUP BY n.taxpayer_id, n.environment, n.prefix, n.sequence
"""
_REQUESTS = b"""
    SELECT taxpayer_id, issue_request_id, organization, issue_date::text, kind, named_number, status, closed_because,
        dense_rank() OVER (PARTITION BY status = 'waiting' ORDER BY queue_position)
    FROM issue_requests
"""
_RANGES = b"""
    SELECT taxpayer_id, channel_mode, year, lpad(prefix::text, 6, '0') || lpad(first_sequence::text, 14, '0'),
        lpad(prefix::text, 6, '0') || lpad(last_sequence::text, 14, '0'), claim_mode, status,
        next_sequence - first_sequence, range_id
    FROM ranges
"""
_STOCKS = b"""
    SELECT taxpayer_id, channel_mode, year, level, episode, low_at, claim_not_before, claim_at_most, failed_claims,
        paused
    FROM stocks
"""
_CLAIMS = b"""
    SELECT taxpayer_id, claim_id, business_serial, channel_mode, year, claim_mode, quantity, status, reason
    FROM claims ORDER BY business_serial
"""
_OUTBOX = b"DELETE FROM outbox RETURNING body"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Rows as they stand, and how many rows each invariant judged and found broken."""

    numbers: list[tuple[Any, ...]]
    requests: list[tuple[Any, ...]]
    ranges: list[tuple[Any, ...]]
    stocks: list[tuple[Any, ...]]
    claims: list[tuple[Any, ...]]
    outbox: list[bytes]
    invariants: dict[str, tuple[int, int]]

    def range_id(self, first: str, status: str) -> UUID | None:
        """Find the id of a range."""
        return next((row[8] for row in self.ranges if (row[3], row[6]) == (first, status)), None)


class Looking:
    """Looks at one database."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        self._connection.execute("SET TimeZone = 'UTC'")
        # The audit in one statement takes longer to plan than to run.
        self._connection.execute("SET plan_cache_mode = force_generic_plan; SET jit = off")
        self._audit = _whole_audit()

    def look(self, now: datetime) -> Snapshot:
        """Read everything; the outbox is emptied, as by a broker that confirms at once."""
        instants = {"overdue_before": now - timedelta(days=1), "leased_until": now + timedelta(days=1)}
        with self._connection.pipeline():
            rows = [
                self._connection.execute(query, prepare=True)
                for query in (_NUMBERS, _REQUESTS, _RANGES, _STOCKS, _CLAIMS)
            ]
            judged = self._connection.execute(self._audit, instants, prepare=True)
            outbox = self._connection.execute(_OUTBOX, prepare=True)
        numbers, requests, ranges, stocks, claims = (each.fetchall() for each in rows)
        invariants = {name: (checked, broken) for name, checked, broken in judged.fetchall()}
        bodies = [bytes(row[0]) for row in outbox.fetchall()]
        return Snapshot(numbers, requests, ranges, stocks, claims, bodies, invariants)

    def close(self) -> None:
        """Look no more."""
        self._connection.close()


def _whole_audit() -> bytes:
    parts = [
        f"SELECT '{each.name}', count(*), count(*) FILTER (WHERE broken) FROM ({each.judges}) AS judged"  # noqa: S608
        for each in INVARIANTS
    ]
    statement = " UNION ALL ".join(parts).replace("%", "%%")
    return re.sub(r":(overdue_before|leased_until)\b", r"%(\1)s", statement).encode()
