"""Ranges: their extents and cursors."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, insert, text

from db import tables
from db.arrays import of_stocks
from db.asking import Query, Reply, no_answer
from db.records import GrantedRange, OpenRange, StockKey

_OPEN = text("""
    SELECT r.taxpayer_id, r.channel_mode, r.year,
           r.range_id, r.prefix, r.first_sequence, r.last_sequence, r.next_sequence
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:channel_modes AS text[]), CAST(:years AS smallint[]))
        AS k (taxpayer_id, channel_mode, year)
    JOIN ranges AS r USING (taxpayer_id, channel_mode, year)
    WHERE r.environment = :environment AND r.status = 'active' AND r.claim_mode = 'automatic'
    ORDER BY r.taxpayer_id, r.channel_mode, r.year, r.created_at, r.prefix, r.first_sequence
""")

_COUNT_REMAINING = text("""
    SELECT coalesce(sum(r.last_sequence - r.next_sequence + 1), 0) + (
        SELECT count(*) FROM numbers AS n
        WHERE n.taxpayer_id = :taxpayer_id AND n.environment = :environment AND n.status = 'available'
          AND n.range_id = ANY(array_agg(r.range_id)))
    FROM ranges AS r
    WHERE r.taxpayer_id = :taxpayer_id AND r.environment = :environment AND r.channel_mode = :channel_mode
      AND r.year = :year AND r.status = 'active' AND r.claim_mode = 'automatic'
""")

_MOVE_CURSORS = text("""
    UPDATE ranges AS r
    SET next_sequence = m.next_sequence,
        status = CASE WHEN m.next_sequence > r.last_sequence THEN 'used-up' ELSE r.status END,
        closed_at = CASE WHEN m.next_sequence > r.last_sequence THEN CAST(:now AS timestamptz) ELSE r.closed_at END
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:range_ids AS uuid[]), CAST(:nexts AS bigint[]))
        AS m (taxpayer_id, range_id, next_sequence)
    WHERE r.taxpayer_id = m.taxpayer_id AND r.environment = :environment AND r.range_id = m.range_id
""")

# A range whose end is passed stays active while released numbers of it are left. One look for each state, for each has
# its index: for both at once every number of the taxpayer would be read, under the lock of its stock.
_CLOSE_USED_UP = text("""
    UPDATE ranges AS r SET status = 'used-up', closed_at = :now
    WHERE r.taxpayer_id = ANY(CAST(:taxpayer_ids AS text[])) AND r.environment = :environment AND r.status = 'active'
      AND r.next_sequence > r.last_sequence
      AND NOT EXISTS (
        SELECT FROM numbers AS n
        WHERE n.taxpayer_id = r.taxpayer_id AND n.environment = r.environment AND n.range_id = r.range_id
          AND n.status = 'available')
      AND NOT EXISTS (
        SELECT FROM numbers AS n
        WHERE n.taxpayer_id = r.taxpayer_id AND n.environment = r.environment AND n.range_id = r.range_id
          AND n.status = 'bound')
""")

_REOPEN = text("""
    UPDATE ranges SET status = 'active', closed_at = NULL
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND range_id = :range_id AND status = 'used-up'
""")

_LAST_NUMBER = text("""
    SELECT prefix, last_sequence FROM ranges
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode AND year = :year
      AND claim_mode = 'automatic' AND next_sequence > first_sequence AND status <> 'quarantined'
    ORDER BY created_at DESC, prefix DESC, last_sequence DESC
    LIMIT 1
""")

# A grant that failed its check is none that we hold. A foreign range is, though we don't issue from it, and so is one
# that was in use before it was quarantined (it has the time of that): its numbers may stand on invoices.
_OVERLAPPING = text("""
    SELECT range_id FROM ranges
    WHERE environment = :environment AND prefix = :prefix AND (status <> 'quarantined' OR closed_at IS NOT NULL)
      AND first_sequence <= :last_sequence AND last_sequence >= :first_sequence
    LIMIT 1
""")

_OVERLAPPING_OTHER = text("""
    SELECT 1 FROM ranges AS r
    JOIN ranges AS other
      ON other.environment = r.environment AND other.prefix = r.prefix AND other.range_id <> r.range_id
     AND other.first_sequence <= r.last_sequence AND other.last_sequence >= r.first_sequence
     AND (other.status <> 'quarantined' OR other.closed_at IS NOT NULL)
    WHERE r.environment = :environment AND r.range_id = :range_id
    LIMIT 1
""")

_OF_CLAIM = text("""
    SELECT range_id, year, prefix, first_sequence, last_sequence, status FROM ranges
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND claim_id = :claim_id
""")


def open_ranges(environment: str, keys: Collection[StockKey]) -> Query[Mapping[StockKey, list[OpenRange]]]:
    """Read the ranges that these stocks may issue from, the oldest first; their stocks must be locked."""
    return Query(_OPEN, of_stocks(environment, keys), _open_by_stock)


def count_remaining(connection: Connection, environment: str, key: StockKey) -> int:
    """Count the automatic numbers that the locked stock can give out: untouched and released ones."""
    return int(connection.execute(_COUNT_REMAINING, {**key._asdict(), "environment": environment}).scalar_one())


def move_cursors(
    environment: str,
    cursors: Sequence[tuple[str, UUID, int]],
    *,
    now: datetime,
) -> list[Query[None]]:
    """Set the next free sequence of each range (taxpayer, range, next); a range whose end is passed is used up.

    Comes before the numbers are stored that it passes: the database refuses one that lies at a cursor or beyond.
    """
    if not cursors:
        return []
    parameters = {
        "environment": environment,
        "now": now,
        "taxpayer_ids": [taxpayer_id for taxpayer_id, _, _ in cursors],
        "range_ids": [range_id for _, range_id, _ in cursors],
        "nexts": [following for _, _, following in cursors],
    }
    return [Query(_MOVE_CURSORS, parameters, no_answer)]


def close_used_up_ranges(environment: str, taxpayer_ids: Collection[str], *, now: datetime) -> list[Query[None]]:
    """Mark the ranges of these taxpayers as used up that have no number left, untouched, available or bound."""
    if not taxpayer_ids:
        return []
    parameters = {"environment": environment, "taxpayer_ids": sorted(taxpayer_ids), "now": now}
    return [Query(_CLOSE_USED_UP, parameters, no_answer)]


def reopen_range(connection: Connection, environment: str, taxpayer_id: str, range_id: UUID) -> None:
    """Make a range that was used up active again: a number of it has come back."""
    connection.execute(
        _REOPEN,
        {"taxpayer_id": taxpayer_id, "environment": environment, "range_id": range_id},
    )


def last_taken_number(connection: Connection, environment: str, key: StockKey) -> tuple[int, int] | None:
    """Read prefix and last sequence of the stock's newest range; None where it never had any."""
    row = connection.execute(_LAST_NUMBER, {**key._asdict(), "environment": environment}).one_or_none()
    return None if row is None else (row[0], row[1])


def overlaps_held_range(
    connection: Connection,
    environment: str,
    prefix: int,
    first_sequence: int,
    last_sequence: int,
) -> bool:
    """Whether any range that this environment holds, of any taxpayer, shares a number with this extent."""
    found = connection.execute(
        _OVERLAPPING,
        {
            "environment": environment,
            "prefix": prefix,
            "first_sequence": first_sequence,
            "last_sequence": last_sequence,
        },
    )
    return found.first() is not None


def overlaps_other_range(connection: Connection, environment: str, range_id: UUID) -> bool:
    """Whether a stored range shares a number with any other that is not quarantined."""
    found = connection.execute(_OVERLAPPING_OTHER, {"environment": environment, "range_id": range_id})
    return found.first() is not None


def add_range(connection: Connection, environment: str, key: StockKey, **columns: object) -> None:
    """Store a range; its stock's row must exist."""
    connection.execute(insert(tables.ranges).values(environment=environment, **key._asdict(), **columns))


def range_of_claim(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    claim_id: str,
) -> GrantedRange | None:
    """Read the range that a claim brought; None while there is none."""
    row = connection.execute(
        _OF_CLAIM,
        {"taxpayer_id": taxpayer_id, "environment": environment, "claim_id": claim_id},
    ).one_or_none()
    return None if row is None else GrantedRange(*row)


def _open_by_stock(rows: Reply) -> Mapping[StockKey, list[OpenRange]]:
    found: dict[StockKey, list[OpenRange]] = defaultdict(list)
    for row in rows:
        found[StockKey(row[0], row[1], row[2])].append(OpenRange(*row[3:]))
    return found
