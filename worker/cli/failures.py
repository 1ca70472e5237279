"""What a failure means to the one who called: one line that says what happened and what to do."""

import sys
from types import ModuleType
from typing import Any


class CommandError(Exception):
    """A command can't do what it was asked; the text is the line for the user."""


#: Failures of other rooms whose text is such a line already, by module and name. Found without loading the module:
#: who never loaded it can't have failed in it.
_SAY_IT_THEMSELVES = (
    ("worker.settings", "SettingsError"),
    ("db.schema_version", "WrongDatabaseError"),
    ("db.fence", "AnotherDatabaseError"),
    ("db.roles", "RolesError"),
    ("db.organizations", "ImportRefusedError"),
    ("db.embedded", "EmbeddedPostgresError"),
    ("schemas.organizations", "OrganizationsError"),
    ("worker.broker.kombu_wire", "BrokerError"),
    ("worker.broker.address", "BrokerUrlError"),
    ("worker.leqi.simulator", "SimulatorError"),
    ("worker.leqi.simulator_journal", "StateError"),
    ("worker.leqi.identity", "KeyFileError"),
    ("worker.pausing", "PausingRefusedError"),
    ("worker.retiring", "RetiringRefusedError"),
    ("worker.releasing", "ReleaseRefusedError"),
    ("worker.running", "StartRefusedError"),
    ("worker.demo.stage", "DemoError"),
)


def explain(error: BaseException) -> str | None:
    """Put a failure into words for its user; None for one that only a mistake of ours can cause."""
    if isinstance(error, CommandError):
        return str(error)
    if any(_is(error, module, name) for module, name in _SAY_IT_THEMSELVES):
        return str(error)
    if _is(error, "sqlalchemy.exc", "DBAPIError"):
        return _of_the_database(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or type(error).__name__}"
    return None


def _is(error: BaseException, module: str, name: str) -> bool:
    loaded: ModuleType | None = sys.modules.get(module)
    kind: Any = getattr(loaded, name, None)
    return isinstance(kind, type) and isinstance(error, kind)


#: SQLSTATE to what the user can do about it.
_BY_SQLSTATE = {
    "3D000": "there is no such database: create it, or correct FUMA_DATABASE_URL",
    "42501": "the database's user lacks a permission that Fuma needs: grant it, or use the owner in FUMA_DATABASE_URL",
    "42P01": "the database has no schema yet: run `fuma migrate`",
    "55P03": "somebody else holds a lock that this needs: try again",
    "57014": "the database took longer than it may: narrow the question, or try again",
    "25P03": "the database ended the session because nobody read on for a minute: write to a file instead of a pager",
    "25006": "the database takes no changes (a standby?): give the primary's address in FUMA_DATABASE_URL",
    "53300": "the database takes no more connections: try again, or raise its max_connections",
}


def _of_the_database(error: BaseException) -> str:
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415

    from db.engine import UNTRUSTED, is_permanent_refusal, is_untrusted, sqlstate  # noqa: PLC0415 -- loaded already, or we weren't here

    if not isinstance(error, DBAPIError):
        raise TypeError
    state = sqlstate(error)
    if state in _BY_SQLSTATE:
        return _BY_SQLSTATE[state]
    if is_untrusted(error):
        return UNTRUSTED
    if is_permanent_refusal(error):
        return _refused_at_login(str(error.orig))
    if state is None or state.startswith(("08", "57P")):
        return "the database can't be reached: check FUMA_DATABASE_URL, and that the server runs and listens there"
    return f"the database refused the work (SQLSTATE {state})"


def _refused_at_login(words: str) -> str:
    if "does not exist" in words and "database" in words:
        return _BY_SQLSTATE["3D000"]
    return "the database refuses the login: check user, password and database in FUMA_DATABASE_URL"
