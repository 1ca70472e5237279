"""Array parameters as the text that PostgreSQL reads: psycopg makes a dumper's call of each element, some microseconds.

A statement takes them as `CAST(:names AS text[])`, which names the type.
Source: PostgreSQL's documentation, "Array Input and Output Syntax".
"""

from collections.abc import Collection, Iterable, Sequence
from datetime import date
from functools import lru_cache
from typing import cast
from uuid import UUID

from db.records import RequestKey, StockKey


def texts(values: Iterable[str]) -> str:
    """Write an array of texts; none of them may be None."""
    listed = list(values)
    if not listed:
        return "{}"
    joined = '","'.join(listed)
    if "\\" in joined or joined.count('"') != 2 * (len(listed) - 1):
        joined = '","'.join([each.replace("\\", "\\\\").replace('"', '\\"') for each in listed])
    return f'{{"{joined}"}}'


def texts_or_nulls(values: Sequence[str | None]) -> str:
    """Write an array of texts, some of which may be None."""
    if None not in values:
        return texts(cast("Sequence[str]", values))
    return f"{{{','.join(['NULL' if each is None else texts([each])[1:-1] for each in values])}}}"


def integers(values: Iterable[int]) -> str:
    """Write an array of integers."""
    return f"{{{','.join(map(str, values))}}}"


def dates(values: Iterable[date]) -> str:
    """Write an array of dates."""
    return f"{{{','.join(map(_date, values))}}}"


def uuids(values: Iterable[UUID | str]) -> str:
    """Write an array of UUIDs."""
    return f"{{{','.join([each if isinstance(each, str) else _uuid(each) for each in values])}}}"


def of_stocks(environment: str, keys: Collection[StockKey]) -> dict[str, object]:
    """Give the parameters of a statement over stocks, in the order in which they are locked."""
    ordered = sorted(keys)
    return {
        "environment": environment,
        "taxpayer_ids": texts([key.taxpayer_id for key in ordered]),
        "channel_modes": texts([key.channel_mode for key in ordered]),
        "years": integers([key.year for key in ordered]),
    }


def of_requests(environment: str, keys: Collection[RequestKey]) -> dict[str, object]:
    """Give the parameters of a statement over issue requests, in the order given."""
    return {
        "environment": environment,
        "taxpayer_ids": texts([key.taxpayer_id for key in keys]),
        "ids": texts([key.issue_request_id for key in keys]),
    }


@lru_cache(maxsize=1024)
def _date(day: date) -> str:
    return day.isoformat()


@lru_cache(maxsize=4096)
def _uuid(value: UUID) -> str:
    return str(value)
