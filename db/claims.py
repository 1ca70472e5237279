"""Claims: the record that is written before LeQi is called, and the turn-taking of those who call."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Select, case, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from db.records import Claim, DirectUnitState
from db.tables import claims, direct_units

_COLUMNS = (
    claims.c.taxpayer_id,
    claims.c.claim_id,
    claims.c.claim_mode,
    claims.c.organization,
    claims.c.channel_mode,
    claims.c.year,
    claims.c.episode,
    claims.c.quantity,
    claims.c.using_unit_id,
    claims.c.business_serial,
    claims.c.status,
    claims.c.reason,
    claims.c.detail,
    claims.c.requested_by,
    claims.c.form,
    claims.c.traceparent,
    claims.c.unknown_outcomes,
    claims.c.created_at,
    claims.c.next_attempt_at,
    claims.c.settled_at,
)

#: How long after a throttling the direct unit keeps to the limit that LeQi named; then it may try more at once again.
LIMIT_LASTS = timedelta(hours=1)

_UNDECIDED = claims.c.status.in_(("open", "unresolved"))


def add_claim(connection: Connection, environment: str, claim: Claim) -> None:
    """Store a new claim; an open automatic one of the same stock, or the same serial, is refused by its key."""
    values = {column.name: getattr(claim, column.name) for column in _COLUMNS}
    connection.execute(insert(claims).values(environment=environment, **values))


def find_claim(connection: Connection, environment: str, taxpayer_id: str, claim_id: str) -> Claim | None:
    """Read a claim; None where there is none."""
    return _one(
        connection,
        select(*_COLUMNS).where(
            claims.c.taxpayer_id == taxpayer_id,
            claims.c.environment == environment,
            claims.c.claim_id == claim_id,
        ),
    )


def lock_claim(connection: Connection, environment: str, taxpayer_id: str, claim_id: str) -> Claim:
    """Read a claim that exists, and lock it; its stock must be locked first."""
    found = connection.execute(
        select(*_COLUMNS)
        .where(
            claims.c.taxpayer_id == taxpayer_id,
            claims.c.environment == environment,
            claims.c.claim_id == claim_id,
        )
        .with_for_update(),
    )
    return Claim(**found.mappings().one())


def find_claim_of_serial(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    business_serial: str,
) -> Claim | None:
    """Read the claim that was made under this business serial; None where it is none of ours."""
    return _one(
        connection,
        select(*_COLUMNS).where(
            claims.c.taxpayer_id == taxpayer_id,
            claims.c.environment == environment,
            claims.c.business_serial == business_serial,
        ),
    )


def has_open_automatic_claim(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    channel_mode: str,
    year: int,
) -> bool:
    """Whether an automatic claim for the locked stock is under way."""
    found = connection.execute(
        select(claims.c.claim_id).where(
            claims.c.taxpayer_id == taxpayer_id,
            claims.c.environment == environment,
            claims.c.channel_mode == channel_mode,
            claims.c.year == year,
            claims.c.status == "open",
            claims.c.claim_mode == "automatic",
        ),
    )
    return found.first() is not None


def last_latencies(
    connection: Connection,
    environment: str,
    taxpayer_id: str,
    channel_mode: str,
    *,
    most: int,
) -> list[timedelta]:
    """Read how long the last granted automatic claims of a channel took from their record to their grant."""
    rows = connection.execute(
        select(claims.c.settled_at - claims.c.created_at)
        .where(
            claims.c.taxpayer_id == taxpayer_id,
            claims.c.environment == environment,
            claims.c.channel_mode == channel_mode,
            claims.c.status == "granted",
            claims.c.claim_mode == "automatic",
        )
        .order_by(claims.c.settled_at.desc())
        .limit(most),
    )
    return list(rows.scalars())


def undecided_claims(
    connection: Connection,
    environment: str,
    taxpayer_id: str | None,
    *,
    status: str | None = None,
) -> list[Claim]:
    """Read the claims whose outcome is not known, of one taxpayer or of all, the oldest first."""
    condition = _UNDECIDED if status is None else claims.c.status == status
    query = select(*_COLUMNS).where(claims.c.environment == environment, condition)
    if taxpayer_id is not None:
        query = query.where(claims.c.taxpayer_id == taxpayer_id)
    rows = connection.execute(query.order_by(claims.c.created_at, claims.c.claim_id))
    return [Claim(**row) for row in rows.mappings()]


def take_turn(
    connection: Connection,
    environment: str,
    direct_unit_id: str,
    *,
    most: int,
    now: datetime,
    until: datetime,
    only: tuple[str, str] | None = None,
) -> list[Claim]:
    """Take up to `most` claims that are due, for calls that end before `until`; they are nobody else's until then.

    The direct unit's throttle is kept: nothing while it lasts, and no more calls at once, over all workers, than
    its limit. `only` names one undecided claim (taxpayer, claim) that is asked now, due or not.
    """
    idle = (claims.c.calling_until.is_(None)) | (claims.c.calling_until <= now)
    query = select(*_COLUMNS).where(claims.c.environment == environment, _UNDECIDED, idle)
    if only is None:
        query = query.where(claims.c.next_attempt_at <= now).order_by(claims.c.next_attempt_at).limit(most)
    else:
        query = query.where(claims.c.taxpayer_id == only[0], claims.c.claim_id == only[1])
    # A look first: most of the time nothing is due, and then nobody needs the direct unit's lock.
    if connection.execute(query).first() is None:
        return []
    unit = _lock_direct_unit(connection, environment, direct_unit_id)
    if unit.throttled_until is not None and unit.throttled_until > now:
        return []
    free = most
    limit = unit.limit_since(now - LIMIT_LASTS)
    if limit is not None:
        free = min(most, limit - _calls_under_way(connection, environment, now))
    if free <= 0:
        return []
    rows = connection.execute(query.limit(free).with_for_update(skip_locked=True))
    taken = [Claim(**row) for row in rows.mappings()]
    # A turn that ended unsettled was a call whose worker died, or whose answer could not be stored: it may have been
    # granted, so a refusal of its replay must not settle the claim.
    unsettled = case((claims.c.calling_until.is_(None), 0), else_=1)
    for claim in taken:
        outcomes = claims.c.unknown_outcomes + unsettled
        change_claim(connection, environment, claim, calling_until=until, unknown_outcomes=outcomes)
    return taken


def change_claim(connection: Connection, environment: str, claim: Claim, **columns: object) -> None:
    """Set columns of a claim that this transaction holds."""
    connection.execute(
        update(claims)
        .where(
            claims.c.taxpayer_id == claim.taxpayer_id,
            claims.c.environment == environment,
            claims.c.claim_id == claim.claim_id,
        )
        .values(columns),
    )


def throttle(
    connection: Connection,
    environment: str,
    direct_unit_id: str,
    *,
    until: datetime,
    concurrency: int | None,
) -> None:
    """Record that LeQi throttled the direct unit: all workers wait, then keep to the limit it named, if any."""
    _lock_direct_unit(connection, environment, direct_unit_id)
    columns: dict[str, object] = {"throttled_until": until}
    if concurrency is not None:
        columns["concurrency_limit"] = concurrency
    connection.execute(
        update(direct_units)
        .where(direct_units.c.environment == environment, direct_units.c.direct_unit_id == direct_unit_id)
        .values(columns),
    )


def _lock_direct_unit(connection: Connection, environment: str, direct_unit_id: str) -> DirectUnitState:
    connection.execute(
        upsert(direct_units).values(environment=environment, direct_unit_id=direct_unit_id).on_conflict_do_nothing(),
    )
    row = connection.execute(
        select(direct_units.c.throttled_until, direct_units.c.concurrency_limit)
        .where(direct_units.c.environment == environment, direct_units.c.direct_unit_id == direct_unit_id)
        .with_for_update(),
    ).one()
    return DirectUnitState(row[0], row[1])


def _calls_under_way(connection: Connection, environment: str, now: datetime) -> int:
    counted = connection.execute(
        select(func.count())
        .select_from(claims)
        .where(claims.c.environment == environment, _UNDECIDED, claims.c.calling_until > now),
    )
    return int(counted.scalar_one())


def _one(connection: Connection, query: "Select[*tuple[Any, ...]]") -> Claim | None:
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else Claim(**row)
