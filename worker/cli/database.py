"""The database as commands use it, and `fuma migrate`."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, text

from db.engine import open_engine
from db.fence import REFUSAL, is_another_database, refuse_another_database
from db.migrate import migrate as bring_to_newest
from db.schema_version import check_database
from worker.cli.failures import CommandError
from worker.cli.output import say, warn
from worker.settings import Settings, database_address, load_settings
from worker.telemetry import configure_logging

_APPLICATION = "fuma-cli"


def migrate() -> None:
    """Bring the database to the newest schema, and record its environment; safe to run twice, and by two at once."""
    settings = load_settings()
    with opened_engine(settings) as engine:
        bring_to_newest(engine, settings.environment)
    say(f"the database has the newest schema and serves the environment {settings.environment}")


@contextmanager
def opened_engine(settings: Settings) -> Iterator[Engine]:
    """Give an engine on the settings' database, embedded or not, and close it behind.

    What is logged meanwhile goes to stderr as a worker's does: on stdout is what the command was asked for.
    """
    configure_logging(settings.log_level)
    with database_address(settings) as address:
        try:
            engine = open_engine(address, application=_APPLICATION, pool_size=1)
        except ValueError as error:
            raise CommandError(str(error)) from None
        try:
            yield engine
        finally:
            engine.dispose()


@contextmanager
def ready_engine(settings: Settings, *, changing: bool = True) -> Iterator[Engine]:
    """Give an engine on a database that has our schema and serves our environment.

    In a database that was restored nothing may be changed: raises `AnotherDatabaseError`; who only reads is warned.
    """
    with opened_engine(settings) as engine:
        with engine.begin() as connection:
            check_database(connection, settings.environment)
            if changing:
                refuse_another_database(connection)
            elif is_another_database(connection):
                warn(REFUSAL)
        yield engine


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """Give a connection for a listing: one snapshot, and time enough to go through large tables."""
    with ready_engine(settings, changing=False) as engine, engine.begin() as connection:
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        connection.execute(text("SET LOCAL statement_timeout = '10min'"))
        yield connection
