"""Brings a database to the newest schema, and records which environment it serves."""

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert

from db.fence import present_identity
from db.roles import become_owner, established, grant
from db.schema_version import MIGRATIONS, check_environment
from db.tables import deployment

#: Two `fuma migrate` at once: the second waits for the first. The number means nothing, it only must be the same.
_MIGRATION_LOCK = 2_670_000_001


def migrate(engine: Engine, environment: str) -> None:
    """Bring the database to the newest schema and record its environment; safe to run twice, and by two at once.

    Where the database has its roles, what is new belongs to the owner, and worker and reader may what they need.
    Raises `WrongDatabaseError` where another environment is recorded; nothing is changed then.
    """
    with alone(engine) as connection:
        roles = established(connection)
        if roles is not None:
            become_owner(connection, roles)
        configuration = _configuration()
        configuration.attributes["connection"] = connection
        command.upgrade(configuration, "head")
        connection.execute(
            insert(deployment)
            .values(environment=environment, recorded_at=func.now(), identity=present_identity(connection))
            .on_conflict_do_nothing(),
        )
        if roles is not None:
            grant(connection, roles)
        check_environment(connection, environment)


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Give a transaction in which nobody else migrates or gives rights; it waits for whoever does."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        yield connection


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(MIGRATIONS))
    configuration.set_main_option("path_separator", "os")
    return configuration
