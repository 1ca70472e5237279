"""`fuma roles`: who may do what in the database."""

from typing import Annotated

import typer

from db.migrate import alone
from db.roles import Roles, establish
from worker.cli.database import opened_engine
from worker.cli.output import say
from worker.cli.secret import read_secret
from worker.settings import load_settings

#: Where the passwords of owner, worker and reader come from, or each with `_FILE` behind it.
PASSWORD_VARIABLES = ("FUMA_DATABASE_OWNER_PASSWORD", "FUMA_DATABASE_WORKER_PASSWORD", "FUMA_DATABASE_READER_PASSWORD")


def roles(
    prefix: Annotated[str, typer.Option(help="How the names of the roles begin; one for each database.")] = "fuma",
) -> None:
    """Make the roles PREFIX_owner, PREFIX_worker and PREFIX_reader, or set right what each may.

    Run it as the database's administrator, before the first migration or at any time later; the same again changes
    nothing. Then the owner migrates, workers and operators use the worker's role, and who only looks the reader's.

    The passwords come from the environment: FUMA_DATABASE_OWNER_PASSWORD, FUMA_DATABASE_WORKER_PASSWORD and
    FUMA_DATABASE_READER_PASSWORD, or files named by FUMA_DATABASE_OWNER_PASSWORD_FILE and so on. They are hashed
    before they are sent. A role for which there is none keeps what it has.
    """
    names = Roles(prefix)
    settings = load_settings()
    given = zip(names.all, map(read_secret, PASSWORD_VARIABLES), strict=True)
    passwords = {role: password for role, password in given if password is not None}
    with opened_engine(settings) as engine, alone(engine) as connection:
        establish(connection, names, passwords)
    without = [role for role in names.all if role not in passwords]
    said = f"the roles {', '.join(names.all)} may what they need in this database"
    say(said if not without else f"{said}; the passwords of {', '.join(without)} are as they were")
