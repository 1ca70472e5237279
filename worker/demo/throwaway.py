"""A database for one run: in the embedded PostgreSQL, thrown away at the end."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

from db.embedded import EmbeddedPostgres

_PREFIX = "fuma_demo_"

#: The class of our advisory locks: 0 is the turn to make and remove databases, any other number a database in use.
_LOCKS = 2_670_001


@contextmanager
def throwaway_database(home: Path, name: str) -> Iterator[str]:
    """Give the address of a new database of the embedded PostgreSQL under `home`; drop it at the end.

    Those of runs that were killed are dropped by the next run. `name` tells runs apart.
    """
    with (
        EmbeddedPostgres(home) as address,
        psycopg.connect(address, autocommit=True) as connection,
    ):
        database = _PREFIX + name
        _create(connection, database)
        try:
            yield make_url(address).set(database=database).render_as_string(hide_password=False)
        finally:
            _drop(connection, database)


def _create(connection: psycopg.Connection, database: str) -> None:
    """Create the database and mark it as in use, for as long as this session lives."""
    connection.execute("SELECT pg_advisory_lock(%s, 0)", (_LOCKS,))
    for abandoned in _abandoned(connection):
        _drop(connection, abandoned)
    connection.execute(SQL("CREATE DATABASE {}").format(Identifier(database)))
    connection.execute(
        "SELECT pg_advisory_lock(%s, oid::int) FROM pg_database WHERE datname = %s",
        (_LOCKS, database),
    )
    connection.execute("SELECT pg_advisory_unlock(%s, 0)", (_LOCKS,))


def _abandoned(connection: psycopg.Connection) -> list[str]:
    """List databases of runs that live no more; the locks taken by looking end with the databases."""
    found = connection.execute(
        "SELECT datname FROM pg_database WHERE starts_with(datname, %s) AND pg_try_advisory_lock(%s, oid::int)",
        (_PREFIX, _LOCKS),
    )
    return [str(row[0]) for row in found]


def _drop(connection: psycopg.Connection, database: str) -> None:
    connection.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(database)))
