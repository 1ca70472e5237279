"""What has not come to its end yet, counted for those who watch: each count ends at a bound, and uses an index."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

#: Beyond this nobody counts: what is more is shown as this.
MOST_COUNTED = 100_000

# Ages are the server's: what it stamped is compared with its own clock. Waiting, claims and the throttle follow the
# worker's, which a drill may set.
_OUTSTANDING = text("""
    WITH waiting AS (
        SELECT waiting_since FROM issue_requests
        WHERE environment = :environment AND status = 'waiting' LIMIT :most
    ), unsettled AS (
        SELECT status, created_at FROM claims
        WHERE environment = :environment AND status IN ('open', 'unresolved') LIMIT :most
    )
    SELECT
        (SELECT count(*) FROM waiting),
        (SELECT CAST(:now AS timestamptz) - min(waiting_since) FROM waiting),
        (SELECT coalesce(sum(messages), 0)
            FROM (SELECT cardinality(message_ids) AS messages FROM outbox LIMIT :most) AS o),
        (SELECT now() - created_at FROM outbox ORDER BY outbox_id LIMIT 1),
        (SELECT count(*) FROM unsettled WHERE status = 'open'),
        (SELECT count(*) FROM unsettled WHERE status = 'unresolved'),
        (SELECT CAST(:now AS timestamptz) - min(created_at) FROM unsettled WHERE status = 'unresolved'),
        (SELECT coalesce(bool_or(throttled_until > :now), false) FROM direct_units WHERE environment = :environment)
""")


@dataclass(frozen=True, slots=True)
class Outstanding:
    """Counts, and the age in seconds of the oldest; 0 where there is none."""

    waiting: int
    waiting_oldest: float
    outbox: int
    outbox_oldest: float
    claims_open: int
    claims_unresolved: int
    claims_unresolved_oldest: float
    throttled: bool


def outstanding(connection: Connection, environment: str, now: datetime) -> Outstanding:
    """Count what waits, is not published, or is not settled."""
    row = connection.execute(_OUTSTANDING, {"environment": environment, "now": now, "most": MOST_COUNTED}).one()
    waiting, waiting_oldest, messages, message_oldest, open_, unresolved, unresolved_oldest, throttled = row
    return Outstanding(
        waiting,
        _seconds(waiting_oldest),
        int(messages),
        _seconds(message_oldest),
        open_,
        unresolved,
        _seconds(unresolved_oldest),
        throttled,
    )


def _seconds(age: object) -> float:
    return max(0.0, age.total_seconds()) if isinstance(age, timedelta) else 0.0
