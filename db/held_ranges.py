"""Ranges as a whole: to compare with a gateway's list, to expire, and to release."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import Connection, RowMapping, func, select, text, update

from db.records import GrantedRange, StockKey
from db.tables import claims, ranges

# Of the numbers only those behind the range's own bounds are looked at, which the key finds.
_END = text("""
    WITH gone AS (
        UPDATE ranges AS r SET status = :status, closed_at = :now, detail = coalesce(:detail, r.detail)
        FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:range_ids AS uuid[]), CAST(:event_ids AS uuid[]))
            AS v (taxpayer_id, range_id, event_id)
        WHERE r.taxpayer_id = v.taxpayer_id AND r.environment = :environment AND r.range_id = v.range_id
          AND r.status IN ('active', 'used-up', 'foreign')
        RETURNING r.taxpayer_id, r.range_id, r.prefix, r.first_sequence, r.last_sequence, r.next_sequence, v.event_id
    ), numbers_gone AS (
        UPDATE numbers AS n
        SET status = 'expired', bound_to = NULL, step = n.step + 1, changed_at = :now, changed_by = :message,
            requested_by = :requested_by, event_id = gone.event_id
        FROM gone
        WHERE n.taxpayer_id = gone.taxpayer_id AND n.environment = :environment AND n.prefix = gone.prefix
          AND n.sequence BETWEEN gone.first_sequence AND gone.last_sequence AND n.range_id = gone.range_id
          AND n.status IN ('available', 'bound')
        RETURNING n.range_id
    ), counted AS (
        SELECT range_id, count(*) AS numbers FROM numbers_gone GROUP BY range_id
    )
    SELECT gone.range_id, gone.last_sequence - gone.next_sequence + 1 + coalesce(counted.numbers, 0)
    FROM gone LEFT JOIN counted USING (range_id)
""")

_CONFIRM = text("""
    UPDATE ranges SET confirmed_at = :now, detail = concat_ws('; ', detail, CAST(:detail AS text))
    WHERE environment = :environment AND status = 'quarantined' AND closed_at IS NOT NULL AND confirmed_at IS NULL
      AND (CAST(:taxpayer_id AS text) IS NULL OR taxpayer_id = :taxpayer_id)
      AND (CAST(:range_id AS uuid) IS NULL OR range_id = :range_id)
""")

_COUNT_FREE = text("""
    SELECT r.range_id, r.last_sequence - r.next_sequence + 1 + count(n.sequence)
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:range_ids AS uuid[])) AS v (taxpayer_id, range_id)
    JOIN ranges AS r ON r.taxpayer_id = v.taxpayer_id AND r.environment = :environment AND r.range_id = v.range_id
    LEFT JOIN numbers AS n
      ON n.taxpayer_id = r.taxpayer_id AND n.environment = r.environment AND n.prefix = r.prefix
     AND n.sequence BETWEEN r.first_sequence AND r.last_sequence AND n.range_id = r.range_id
     AND n.status IN ('available', 'bound')
    GROUP BY r.taxpayer_id, r.environment, r.range_id
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
    ranges.c.claim_mode,
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
    claim_mode: str
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


def ranges_in_use(
    connection: Connection,
    environment: str,
    *,
    taxpayer_id: str | None = None,
    claimed_before: datetime | None = None,
) -> list[HeldRange]:
    """Read the ranges that numbers could still come from: active and used-up ones, and foreign ones.

    A number of a used-up range may be released, and a foreign range too. With `claimed_before` only those that were
    asked for, or came, before that instant; the answer to a claim may be a replay's, long after LeQi's grant.
    """
    query = (
        select(*_COLUMNS)
        .outerjoin_from(
            ranges,
            claims,
            (claims.c.taxpayer_id == ranges.c.taxpayer_id)
            & (claims.c.environment == ranges.c.environment)
            & (claims.c.claim_id == ranges.c.claim_id),
        )
        .where(ranges.c.environment == environment, ranges.c.status.in_(("active", "used-up", "foreign")))
        .order_by(ranges.c.taxpayer_id, ranges.c.created_at, ranges.c.prefix, ranges.c.first_sequence)
    )
    if taxpayer_id is not None:
        query = query.where(ranges.c.taxpayer_id == taxpayer_id)
    if claimed_before is not None:
        query = query.where(func.least(ranges.c.created_at, claims.c.created_at) < claimed_before)
    return [_held(row) for row in connection.execute(query).mappings()]


def end_ranges(  # noqa: PLR0913 -- what the history keeps of a change
    connection: Connection,
    environment: str,
    ending: Sequence[tuple[HeldRange, UUID]],
    status: str,
    *,
    now: datetime,
    message: str,
    requested_by: str | None = None,
    detail: str | None = None,
) -> dict[UUID, int]:
    """End ranges of locked stocks, each told of by the event of this id, with their numbers that nobody holds.

    Those are the untouched ones and, in the history as expired, the available and bound ones.
    Gives their count for each range; a range that is out of use already is left alone, and left out.
    """
    rows = connection.execute(
        _END,
        {
            **_columns(environment, [held for held, _ in ending]),
            "event_ids": [event_id for _, event_id in ending],
            "status": status,
            "message": message,
            "requested_by": requested_by,
            "detail": detail,
            "now": now,
        },
    )
    return {row[0]: int(row[1]) for row in rows}


def count_free(connection: Connection, environment: str, held: Sequence[HeldRange]) -> dict[UUID, int]:
    """Count the numbers of each range that nobody holds: untouched, available and bound ones."""
    rows = connection.execute(_COUNT_FREE, _columns(environment, held))
    return {row[0]: int(row[1]) for row in rows}


def confirm_ranges(
    connection: Connection,
    environment: str,
    *,
    taxpayer_id: str | None,
    range_id: UUID | None,
    detail: str,
    now: datetime,
) -> int:
    """Record that numbers of ranges which a restore put out of use are on their requests' invoices alone.

    Of one range, of a taxpayer's, or of all; those that were confirmed before are left as they are. Tells how many.
    """
    confirmed = connection.execute(
        _CONFIRM,
        {
            "environment": environment,
            "taxpayer_id": taxpayer_id,
            "range_id": range_id,
            "detail": detail,
            "now": now,
        },
    )
    return confirmed.rowcount


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


def _columns(environment: str, held: Sequence[HeldRange]) -> dict[str, object]:
    return {
        "environment": environment,
        "taxpayer_ids": [each.key.taxpayer_id for each in held],
        "range_ids": [each.range_id for each in held],
    }


def _held(row: RowMapping) -> HeldRange:
    columns = dict(row)
    key = StockKey(*(columns.pop(name) for name in StockKey._fields))
    return HeldRange(key=key, **columns)
