"""Usage: how many automatic numbers each taxpayer takes in an hour, and what follows from it."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, text

from db.asking import Query, no_answer
from db.records import StockKey, Use

#: What the rate of use is measured over.
WINDOW = timedelta(days=7)

_ADD = text("""
    INSERT INTO usage AS u (taxpayer_id, environment, channel_mode, hour, taken)
    SELECT v.taxpayer_id, :environment, v.channel_mode, date_trunc('hour', CAST(:now AS timestamptz)), v.taken
    FROM unnest(CAST(:taxpayer_ids AS text[]), CAST(:channel_modes AS text[]), CAST(:taken AS integer[]))
        AS v (taxpayer_id, channel_mode, taken)
    ORDER BY v.taxpayer_id, v.channel_mode
    ON CONFLICT (taxpayer_id, environment, channel_mode, hour) DO UPDATE SET taken = u.taken + excluded.taken
""")

_USED = text("""
    SELECT coalesce(max(taken), 0), coalesce(sum(taken), 0), min(hour) FROM usage
    WHERE taxpayer_id = :taxpayer_id AND environment = :environment AND channel_mode = :channel_mode
      AND hour > :since
""")


def add_usage(environment: str, taken: Mapping[tuple[str, str], int], *, now: datetime) -> list[Query[None]]:
    """Count numbers taken just now, by taxpayer and channel mode; the stocks must be locked."""
    counted = sorted((key, count) for key, count in taken.items() if count > 0)
    if not counted:
        return []
    parameters = {
        "environment": environment,
        "now": now,
        "taxpayer_ids": [key[0] for key, _ in counted],
        "channel_modes": [key[1] for key, _ in counted],
        "taken": [count for _, count in counted],
    }
    return [Query(_ADD, parameters, no_answer)]


def read_use(connection: Connection, environment: str, key: StockKey, *, now: datetime) -> Use:
    """Read how the stock's taxpayer used numbers of its channel mode in the last seven days, of whatever year."""
    row = connection.execute(
        _USED,
        {
            "taxpayer_id": key.taxpayer_id,
            "environment": environment,
            "channel_mode": key.channel_mode,
            "since": now - WINDOW,
        },
    ).one()
    return Use(row[0], row[1], row[2])
