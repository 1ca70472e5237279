"""Brings a database to the newest schema, and records which environment it serves."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.dialects.postgresql import insert

from db.fence import present_identity
from db.roles import become_owner, established, grant
from db.tables import deployment

#: Two `fuma migrate` at once: the second waits for the first. The number means nothing, it only must be the same.
_MIGRATION_LOCK = 2_670_000_001


class WrongDatabaseError(Exception):
    """The database cannot be used as it is: its schema or its environment is another one."""


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
        _check_environment(connection, environment)


@contextmanager
def alone(engine: Engine) -> Iterator[Connection]:
    """Give a transaction in which nobody else migrates or gives rights; it waits for whoever does."""
    with engine.begin() as connection:
        connection.execute(text("SET LOCAL lock_timeout = 0"))
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(select(func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
        yield connection


def check_database(connection: Connection, environment: str) -> None:
    """Check that the schema is this version's and the environment ours; raises `WrongDatabaseError` with what to do."""
    current = MigrationContext.configure(connection).get_current_revision()
    newest = ScriptDirectory.from_config(_configuration()).get_current_head()
    if current is None:
        message = "the database has no schema yet: run `fuma migrate`"
        raise WrongDatabaseError(message)
    if current != newest:
        message = f"the database's schema is version {current}, this Fuma needs {newest}: run `fuma migrate`"
        raise WrongDatabaseError(message)
    _check_environment(connection, environment)


def _check_environment(connection: Connection, environment: str) -> None:
    recorded = connection.execute(select(deployment.c.environment)).scalar_one_or_none()
    if recorded != environment:
        message = (
            f"the database serves the environment {recorded}, FUMA_ENVIRONMENT says {environment}:"
            " use another database, one serves one environment"
        )
        raise WrongDatabaseError(message)


def _configuration() -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    configuration.set_main_option("path_separator", "os")
    return configuration
