"""The schema's version, and which environment the database serves: what everybody looks at before working with it.

It goes without Alembic, whose modules would take ten megabytes of every worker.
"""

from pathlib import Path

from sqlalchemy import Connection, func, select, text

from db.tables import deployment

#: The folder of Alembic's; in its `versions` each file begins with its revision, which is the number that follows.
MIGRATIONS = Path(__file__).parent / "migrations"


class WrongDatabaseError(Exception):
    """The database cannot be used as it is: its schema or its environment is another one."""


def check_database(connection: Connection, environment: str) -> None:
    """Check that the schema is this version's and the environment ours; raises `WrongDatabaseError` with what to do."""
    current, newest = present_version(connection), newest_version()
    if current is None:
        message = "the database has no schema yet: run `fuma migrate`"
        raise WrongDatabaseError(message)
    if current != newest:
        message = f"the database's schema is version {current}, this Fuma needs {newest}: run `fuma migrate`"
        raise WrongDatabaseError(message)
    check_environment(connection, environment)


def check_environment(connection: Connection, environment: str) -> None:
    """Check that the database serves this environment; raises `WrongDatabaseError` with what to do."""
    recorded = connection.execute(select(deployment.c.environment)).scalar_one_or_none()
    if recorded != environment:
        message = (
            f"the database serves the environment {recorded}, FUMA_ENVIRONMENT says {environment}:"
            " use another database, one serves one environment"
        )
        raise WrongDatabaseError(message)


def present_version(connection: Connection) -> str | None:
    """Tell the revision that the database's schema has; None where it has none."""
    if connection.execute(select(func.to_regclass("alembic_version"))).scalar_one() is None:
        return None
    version = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return None if version is None else str(version)


def newest_version() -> str:
    """Tell the revision that this Fuma works with."""
    return max(file.name.partition("_")[0] for file in (MIGRATIONS / "versions").glob("[0-9]*.py"))
