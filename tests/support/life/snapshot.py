"""What the database holds after a step, read in one round trip, judged by the audit's own statements."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

from db.audit.invariant import Invariant
from db.audit.invariants import INVARIANTS
from db.audit.judging import instants

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
_OUTBOX = b"""
    WITH gone AS (DELETE FROM outbox RETURNING outbox_id, sizes, body)
    SELECT substr(body, CAST(1 + until - size AS integer), size)
    FROM gone, LATERAL (
        SELECT size, sum(size) OVER (ORDER BY place) AS until
        FROM unnest(sizes) WITH ORDINALITY AS each (size, place)) AS message
"""

#: The invariant of the schema: most of the audit's time over tables as small as these.
_OF_THE_SCHEMA = "guards-stand"

#: Longer than a run can last.
_AGES = timedelta(days=1000)


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
        # Raw: a statement that goes to the server as it is isn't searched for placeholders at each look.
        self._connection = psycopg.connect(url, autocommit=True, cursor_factory=psycopg.RawCursor)
        self._connection.execute("SET TimeZone = 'UTC'")
        # The audit in one statement takes longer to plan than to run.
        self._connection.execute("SET plan_cache_mode = force_generic_plan")
        self._connection.execute("SET jit = off")
        self._whole_audit = _together(INVARIANTS)
        self._audit = _together([each for each in INVARIANTS if each.name != _OF_THE_SCHEMA])
        self._begins = True

    def begin(self) -> None:
        """Begin a run: the next look judges the schema, too, which no step of a run changes."""
        self._begins = True

    def look(self, now: datetime) -> Snapshot:
        """Read everything; the outbox is emptied, as by a broker that confirms at once."""
        # Days pass here in one step, in which no worker looked after anything: that something was left for long is no
        # fault of the code.
        moments = [now - _AGES if name.endswith("_before") else at for name, at in instants(now).items()]
        audit, self._begins = self._whole_audit if self._begins else self._audit, False
        with self._connection.pipeline():
            rows = [
                self._connection.execute(query, prepare=True)
                for query in (_NUMBERS, _REQUESTS, _RANGES, _STOCKS, _CLAIMS)
            ]
            judged = self._connection.execute(audit, moments, prepare=True)
            outbox = self._connection.execute(_OUTBOX, prepare=True)
        numbers, requests, ranges, stocks, claims = (each.fetchall() for each in rows)
        invariants = {name: (checked, broken) for name, checked, broken in judged.fetchall()}
        bodies = [bytes(row[0]) for row in outbox.fetchall()]
        return Snapshot(numbers, requests, ranges, stocks, claims, bodies, invariants)

    def close(self) -> None:
        """Look no more."""
        self._connection.close()


def _together(invariants: Sequence[Invariant]) -> bytes:
    """Make one statement of all; its parameters are the audit's instants, in their order."""
    parts = [
        f"SELECT '{each.name}', count(*), count(*) FILTER (WHERE broken) FROM ({each.judges}) AS judged"  # noqa: S608
        for each in invariants
    ]
    names = list(instants(datetime(2026, 1, 1, tzinfo=UTC)))
    named = re.compile(rf"(?<!:):({'|'.join(names)})\b")
    return named.sub(lambda found: f"${names.index(found[1]) + 1}", " UNION ALL ".join(parts)).encode()
