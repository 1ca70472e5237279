"""Ranges as a whole: to compare with a gateway's list, to expire, and to release."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping, select, text, update

from db.records import GrantedRange, StockKey
from db.tables import ranges

_END = text("""
    WITH gone AS (
        UPDATE ranges SET status = :status, closed_at = :now, detail = coalesce(:detail, detail)
        WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND range_id = :range_id
          AND status IN ('active', 'used-up')
        RETURNING last_sequence - next_sequence + 1 AS untouched
    ), numbers_gone AS (
        UPDATE numbers
        SET status = 'expired', bound_to = NULL, step = step + 1, changed_at = :now, changed_by = :message,
            requested_by = :requested_by, event_id = :event_id
        WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND range_id = :range_id
          AND status IN ('available', 'bound')
        RETURNING 1
    )
    SELECT gone.untouched + (SELECT count(*) FROM numbers_gone) FROM gone
""")

_COLUMNS = (
    ranges.c.taxpayer_id,
    ranges.c.channel_mode,
    ranges.c.year,
    ranges.c.range_id,
    ranges.c.prefix,
    ranges.c.first_sequence,
    ranges.c.last_sequence,
    ranges.c.next_sequence,
    ranges.c.status,
    ranges.c.claim_id,
    ranges.c.listed_serial,
    ranges.c.listed_unused,
)


@dataclass(frozen=True, slots=True)
class HeldRange:
    """A range with its stock, whatever its status."""

    key: StockKey
    range_id: UUID
    prefix: int
    first_sequence: int
    last_sequence: int
    next_sequence: int
    status: str
    claim_id: str | None
    listed_serial: str | None
    listed_unused: int | None

    @property
    def quantity(self) -> int:
        """How many numbers it has."""
        return self.last_sequence - self.first_sequence + 1

    def as_granted(self) -> GrantedRange:
        """Give the range as its events tell of it."""
        return GrantedRange(
            self.range_id,
            self.key.year,
            self.prefix,
            self.first_sequence,
            self.last_sequence,
            self.status,
        )


def ranges_of_taxpayer(connection: Connection, environment: str, taxpayer_id: str) -> list[HeldRange]:
    """Read every range of a taxpayer, the oldest first."""
    rows = connection.execute(
        select(*_COLUMNS)
        .where(ranges.c.taxpayer_id == taxpayer_id, ranges.c.environment == environment)
        .order_by(ranges.c.created_at, ranges.c.prefix, ranges.c.first_sequence),
    )
    return [_held(row) for row in rows.mappings()]


def find_range(connection: Connection, environment: str, range_id: UUID) -> HeldRange | None:
    """Read one range; None where there is none of this id."""
    found = (
        connection.execute(
            select(*_COLUMNS).where(ranges.c.environment == environment, ranges.c.range_id == range_id),
        )
        .mappings()
        .one_or_none()
    )
    return None if found is None else _held(found)


def active_ranges_before(
    connection: Connection,
    environment: str,
    year: int,
    *,
    taxpayer_id: str | None = None,
    most: int,
) -> list[HeldRange]:
    """List active ranges of years before `year`, of one taxpayer or of all; a look without locks."""
    query = select(*_COLUMNS).where(
        ranges.c.environment == environment,
        ranges.c.status == "active",
        ranges.c.year < year,
    )
    if taxpayer_id is not None:
        query = query.where(ranges.c.taxpayer_id == taxpayer_id)
    return [_held(row) for row in connection.execute(query.limit(most)).mappings()]


def end_range(  # noqa: PLR0913 -- what the history keeps of a change
    connection: Connection,
    environment: str,
    held: HeldRange,
    status: str,
    *,
    now: datetime,
    message: str,
    event_id: UUID,
    requested_by: str | None = None,
    detail: str | None = None,
) -> int | None:
    """End a range as expired or retired, with its numbers that nobody holds: untouched, available and bound ones.

    Gives their count, None where the range is neither active nor used up.
    """
    row = connection.execute(
        _END,
        {
            "status": status,
            "message": message,
            "event_id": event_id,
            "requested_by": requested_by,
            "detail": detail,
            "taxpayer_id": held.key.taxpayer_id,
            "environment": environment,
            "range_id": held.range_id,
            "now": now,
        },
    ).one_or_none()
    return None if row is None else int(row[0])


def note_listed_unused(connection: Connection, environment: str, held: HeldRange, unused: int) -> None:
    """Record how many numbers of a range the gateway counts as unused."""
    _change(connection, environment, held, listed_unused=unused)


def activate_range(connection: Connection, environment: str, held: HeldRange, *, detail: str) -> None:
    """Make a foreign range one that issuing takes from.

    An overlap with a range held is refused by the exclusion constraint.
    """
    _change(connection, environment, held, status="active", claim_mode="automatic", detail=detail)


def has_numbers(connection: Connection, environment: str, held: HeldRange) -> bool:
    """Whether any number of the range has a row: assigned, or split off."""
    found = connection.execute(
        text("""
            SELECT 1 FROM numbers
            WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND prefix = :prefix
              AND sequence BETWEEN :first AND :last
            LIMIT 1
        """),
        {
            "taxpayer_id": held.key.taxpayer_id,
            "environment": environment,
            "prefix": held.prefix,
            "first": held.first_sequence,
            "last": held.last_sequence,
        },
    )
    return found.first() is not None


def _change(connection: Connection, environment: str, held: HeldRange, **columns: object) -> None:
    connection.execute(
        update(ranges)
        .where(
            ranges.c.taxpayer_id == held.key.taxpayer_id,
            ranges.c.environment == environment,
            ranges.c.range_id == held.range_id,
        )
        .values(columns),
    )


def _held(row: RowMapping) -> HeldRange:
    columns = dict(row)
    key = StockKey(*(columns.pop(name) for name in StockKey._fields))
    return HeldRange(key=key, **columns)
