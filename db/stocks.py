"""Stocks: the one lock of issuing and claiming, and the level that makes each exhaustion happen once."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, text

from db.arrays import of_stocks
from db.asking import Query, Reply, ask, no_answer
from db.records import OrganizationChannel, Stock, StockKey

_CHANNELS_OF_ORGANIZATIONS = text("""
    SELECT o.code, o.taxpayer_id, o.channel_mode, c.using_unit_id, c.automatic_claims, c.claim_quantity,
           c.claim_sizing, c.low_threshold
    FROM organizations AS o
    JOIN channels AS c USING (taxpayer_id, environment, channel_mode)
    WHERE o.environment = :environment AND o.code = ANY(:codes)
""")

_CHANNEL_OF_STOCK = text("""
    SELECT min(o.code), c.taxpayer_id, c.channel_mode, c.using_unit_id, c.automatic_claims, c.claim_quantity,
           c.claim_sizing, c.low_threshold
    FROM channels AS c
    JOIN organizations AS o USING (taxpayer_id, environment, channel_mode)
    WHERE c.taxpayer_id = :taxpayer_id AND c.environment = :environment AND c.channel_mode = :channel_mode
    GROUP BY c.taxpayer_id, c.environment, c.channel_mode
""")

_LOCK = text("""
    SELECT s.taxpayer_id, s.channel_mode, s.year, s.level, s.episode, s.paused, s.low_at, s.last_claimed, s.wanted_by,
           s.claim_not_before, s.claim_at_most, s.failed_claims
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:channel_modes AS text[]), CAST(:years AS smallint[]))
        AS k (taxpayer_id, channel_mode, year)
    JOIN stocks AS s USING (taxpayer_id, channel_mode, year)
    WHERE s.environment = :environment
    ORDER BY s.taxpayer_id, s.channel_mode, s.year
    FOR UPDATE OF s
""")

_LOCK_ALL = text("""
    SELECT taxpayer_id, channel_mode, year, level, episode, paused, low_at, last_claimed, wanted_by,
           claim_not_before, claim_at_most, failed_claims
    FROM stocks
    WHERE environment = :environment AND taxpayer_id = ANY(CAST(:taxpayer_ids AS text[]))
    ORDER BY taxpayer_id, channel_mode, year
    FOR UPDATE
""")

# A stock that is being made can't be locked by others yet: this lock stands for all stocks that don't exist.
_LOCK_MAKING = text("""
    SELECT pg_advisory_xact_lock(hashtextextended('stocks of ' || taxpayer_id || ' in ' || :environment, 0))
    FROM unnest(CAST(:taxpayer_ids AS text[])) AS k (taxpayer_id)
""")

_CREATE = text("""
    INSERT INTO stocks (taxpayer_id, environment, channel_mode, year, paused, paused_at, paused_because)
    SELECT k.taxpayer_id, :environment, k.channel_mode, k.year, p.paused_at IS NOT NULL, p.paused_at, p.paused_because
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:channel_modes AS text[]), CAST(:years AS smallint[]))
        AS k (taxpayer_id, channel_mode, year)
    LEFT JOIN LATERAL (
        SELECT paused_at, paused_because FROM stocks AS other
        WHERE other.taxpayer_id = k.taxpayer_id AND other.environment = :environment AND other.paused
        LIMIT 1) AS p ON true
    ORDER BY k.taxpayer_id, k.channel_mode, k.year
    ON CONFLICT DO NOTHING
""")

_EXHAUST = text("""
    UPDATE stocks SET level = 'exhausted', episode = episode + 1, exhausted_at = :now, wanted_by = :wanted_by
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode AND year = :year
""")

_LOWER = text("""
    UPDATE stocks SET level = 'low', exhausted_at = NULL, wanted_by = coalesce(:wanted_by, wanted_by)
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode AND year = :year
""")

_REPLENISH = text("""
    UPDATE stocks
    SET level = 'ok', exhausted_at = NULL, last_claimed = coalesce(:quantity, last_claimed), low_at = :low_at
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode AND year = :year
""")

_CHANNEL_MODES = text("""
    SELECT channel_mode FROM channels
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment
    ORDER BY channel_mode
""")

_PAUSE = text("""
    UPDATE stocks SET paused = true, paused_at = coalesce(paused_at, :now), paused_because = :because
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment
""")

_RESUME = text("""
    UPDATE stocks SET paused = false, paused_at = NULL, paused_because = NULL
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment
""")

_SET_CLAIMING = text("""
    UPDATE stocks
    SET claim_not_before = :not_before, claim_at_most = :at_most, failed_claims = :failed_claims
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode AND year = :year
""")

# A stock needs a claim when it is low or ran out, automatic claims are on for it, and none is under way or put off.
# One that no organisation draws from any more would stand in this list for ever, and in the way of others.
_CLAIMLESS = text("""
    SELECT s.taxpayer_id, s.channel_mode, s.year
    FROM stocks AS s
    JOIN channels AS c USING (taxpayer_id, environment, channel_mode)
    WHERE s.environment = :environment AND s.year = ANY(CAST(:years AS smallint[]))
      AND s.level IN ('low', 'exhausted') AND c.automatic_claims AND NOT s.paused
      AND (s.claim_not_before IS NULL OR s.claim_not_before <= :now)
      AND EXISTS (
        SELECT FROM organizations AS o
        WHERE o.taxpayer_id = s.taxpayer_id AND o.environment = s.environment AND o.channel_mode = s.channel_mode)
      AND NOT EXISTS (
        SELECT FROM claims AS open
        WHERE open.taxpayer_id = s.taxpayer_id AND open.environment = s.environment
          AND open.channel_mode = s.channel_mode AND open.year = s.year
          AND open.status = 'open' AND open.claim_mode = 'automatic')
    ORDER BY s.level, s.taxpayer_id, s.channel_mode, s.year
    LIMIT :most
""")

# A stock of the year before from which numbers were given out by themselves, and nothing yet for this year.
_UNOPENED = text("""
    SELECT before.taxpayer_id, before.channel_mode, CAST(:year AS smallint)
    FROM stocks AS before
    JOIN channels AS c USING (taxpayer_id, environment, channel_mode)
    LEFT JOIN stocks AS s
      ON s.taxpayer_id = before.taxpayer_id AND s.environment = before.environment
     AND s.channel_mode = before.channel_mode AND s.year = before.year + 1
    WHERE before.environment = :environment AND before.year = :year - 1
      AND c.automatic_claims AND NOT before.paused AND coalesce(NOT s.paused, true)
      AND coalesce(s.level, 'new') = 'new' AND (s.claim_not_before IS NULL OR s.claim_not_before <= :now)
      AND EXISTS (
        SELECT FROM organizations AS o
        WHERE o.taxpayer_id = before.taxpayer_id AND o.environment = before.environment
          AND o.channel_mode = before.channel_mode)
      AND EXISTS (
        SELECT FROM ranges AS r
        WHERE r.taxpayer_id = before.taxpayer_id AND r.environment = before.environment
          AND r.channel_mode = before.channel_mode AND r.year = before.year
          AND r.claim_mode = 'automatic' AND r.status <> 'foreign')
      AND NOT EXISTS (
        SELECT FROM claims AS open
        WHERE open.taxpayer_id = before.taxpayer_id AND open.environment = before.environment
          AND open.channel_mode = before.channel_mode AND open.year = before.year + 1
          AND open.status = 'open' AND open.claim_mode = 'automatic')
    ORDER BY before.taxpayer_id, before.channel_mode
    LIMIT :most
""")

_EVERY = text("""
    SELECT taxpayer_id, channel_mode, year FROM stocks WHERE environment = :environment
    ORDER BY taxpayer_id, channel_mode, year
""")

_BEGIN_ANEW = text("""
    UPDATE stocks SET episode = episode + :episodes, claim_not_before = NULL, failed_claims = 0
    WHERE environment = :environment
""")


def channels_of_organizations(
    environment: str,
    codes: Collection[str],
) -> Query[dict[str, OrganizationChannel]]:
    """Read which channel each organisation draws from; a code that nobody registered is left out."""
    return Query(_CHANNELS_OF_ORGANIZATIONS, {"environment": environment, "codes": sorted(codes)}, _channels)


def channel_of_stock(connection: Connection, environment: str, key: StockKey) -> OrganizationChannel | None:
    """Read the channel of a stock, with one organisation of it; None where no organisation uses it any more."""
    row = connection.execute(
        _CHANNEL_OF_STOCK,
        {"taxpayer_id": key.taxpayer_id, "environment": environment, "channel_mode": key.channel_mode},
    ).one_or_none()
    return None if row is None else OrganizationChannel(*row)


def channel_modes(connection: Connection, environment: str, taxpayer_id: str) -> list[str]:
    """Read the channel modes in which organisations of the taxpayer are registered."""
    rows = connection.execute(_CHANNEL_MODES, {"taxpayer_id": taxpayer_id, "environment": environment})
    return list(rows.scalars())


def lock_stocks(connection: Connection, environment: str, keys: Collection[StockKey]) -> dict[StockKey, Stock]:
    """Lock these stocks in sorted order until the transaction ends, making those that do not exist yet.

    Must come before anything else of them is read.
    """
    if not keys:
        return {}
    locked = ask(connection, existing_stocks(environment, keys))
    if len(locked) < len(set(keys)):
        _lock_making(connection, environment, {key.taxpayer_id for key in keys})
        ask(connection, Query(_CREATE, of_stocks(environment, keys), no_answer))
        locked = ask(connection, existing_stocks(environment, keys))
    return locked


def existing_stocks(environment: str, keys: Collection[StockKey]) -> Query[dict[StockKey, Stock]]:
    """Lock those of these stocks that exist, as `lock_stocks` does."""
    return Query(_LOCK, of_stocks(environment, keys), _stocks)


def lock_stocks_of_taxpayers(
    connection: Connection,
    environment: str,
    taxpayer_ids: Collection[str],
) -> dict[StockKey, Stock]:
    """Lock every stock of these taxpayers in sorted order until the transaction ends: whoever issues for them waits.

    No stock of theirs is made meanwhile either.
    Must come before anything else of them is read.
    """
    if not taxpayer_ids:
        return {}
    parameters = {"environment": environment, "taxpayer_ids": sorted(taxpayer_ids)}
    # Those that exist first, as `lock_stocks` does: who made a lock of the making wait holds none of their rows.
    connection.execute(_LOCK_ALL, parameters)
    _lock_making(connection, environment, taxpayer_ids)
    return _stocks(connection.execute(_LOCK_ALL, parameters))


def exhaust(connection: Connection, environment: str, key: StockKey, *, wanted_by: str | None, now: datetime) -> None:
    """Record that the stock ran out: the next episode begins."""
    connection.execute(_EXHAUST, {**_one(environment, key), "wanted_by": wanted_by, "now": now})


def lower(connection: Connection, environment: str, key: StockKey, *, wanted_by: str | None) -> None:
    """Record that the stock is low: it has numbers, and needs a claim."""
    connection.execute(_LOWER, {**_one(environment, key), "wanted_by": wanted_by})


def replenish(connection: Connection, environment: str, key: StockKey, *, quantity: int | None, low_at: int) -> None:
    """Record that a range of `quantity` numbers came (None: not by a claim), and from where on the stock is low.

    The next crossing is a new one.
    """
    connection.execute(_REPLENISH, {**_one(environment, key), "quantity": quantity, "low_at": low_at})


def begin_anew(connection: Connection, environment: str, *, episodes: int) -> None:
    """Let nothing that was before hold up the next claim of any stock, and count all episodes from further on.

    No episode that was told by a database that is lost may be told again for another exhaustion.
    All stocks must be locked.
    """
    connection.execute(_BEGIN_ANEW, {"environment": environment, "episodes": episodes})


def pause(connection: Connection, environment: str, taxpayer_id: str, *, because: str, now: datetime) -> None:
    """Record that no locked stock of the taxpayer gives out numbers or claims any; stocks made later inherit it."""
    connection.execute(
        _PAUSE,
        {"taxpayer_id": taxpayer_id, "environment": environment, "because": because, "now": now},
    )


def resume(connection: Connection, environment: str, taxpayer_id: str) -> None:
    """Record that the taxpayer's locked stocks work again."""
    connection.execute(_RESUME, {"taxpayer_id": taxpayer_id, "environment": environment})


def set_claiming(
    connection: Connection,
    environment: str,
    key: StockKey,
    *,
    not_before: datetime | None,
    at_most: int | None,
    failed_claims: int,
) -> None:
    """Record when and for how many numbers the stock may next claim, and how many claims failed in a row."""
    connection.execute(
        _SET_CLAIMING,
        {
            **_one(environment, key),
            "not_before": not_before,
            "at_most": at_most,
            "failed_claims": failed_claims,
        },
    )


def every_stock(connection: Connection, environment: str) -> list[StockKey]:
    """List all stocks there are; a look without locks."""
    return [StockKey(*row) for row in connection.execute(_EVERY, {"environment": environment})]


def stocks_without_claim(
    connection: Connection,
    environment: str,
    years: Sequence[int],
    *,
    now: datetime,
    most: int,
) -> list[StockKey]:
    """List stocks of these years that are low or ran out and have no claim under way; a look without locks."""
    rows = connection.execute(
        _CLAIMLESS,
        {"environment": environment, "years": list(years), "now": now, "most": most},
    )
    return [StockKey(*row) for row in rows]


def unopened_stocks(
    connection: Connection,
    environment: str,
    year: int,
    *,
    now: datetime,
    most: int,
) -> list[StockKey]:
    """List stocks of `year` that never had a number, of those who had automatic ranges of the year before.

    Only those for which claims are made by themselves and none is under way or put off; a look without locks, and the
    stocks need not exist yet.
    """
    rows = connection.execute(
        _UNOPENED,
        {"environment": environment, "year": year, "now": now, "most": most},
    )
    return [StockKey(*row) for row in rows]


def _lock_making(connection: Connection, environment: str, taxpayer_ids: Collection[str]) -> None:
    connection.execute(_LOCK_MAKING, {"environment": environment, "taxpayer_ids": sorted(taxpayer_ids)})


def _stocks(rows: Iterable[Sequence[Any]]) -> dict[StockKey, Stock]:
    return {(key := StockKey(row[0], row[1], row[2])): Stock(key, *row[3:]) for row in rows}


def _channels(rows: Reply) -> dict[str, OrganizationChannel]:
    return {row[0]: OrganizationChannel(*row) for row in rows}


def _one(environment: str, key: StockKey) -> dict[str, object]:
    return {**key._asdict(), "environment": environment}
