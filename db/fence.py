"""The fence: tells a database that was restored from one that only restarted, and keeps everybody off it.

A restored backup, or a replica that lagged behind, has forgotten which numbers were handed out since.
No constraint can see that, so a database that is not the one that was recorded is not issued from: each new
connection and each transaction that changes anything looks first. What no look can see is a copy of the server's own
files put back under it (a snapshot of its disk): after that an operator has to say it, with `fuma recovered`.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

import psycopg
from sqlalchemy import Connection, Engine, event, exists, select, text, update
from sqlalchemy.exc import OperationalError

from db.asking import Query, Reply, ask
from db.tables import claims, deployment, ranges

REFUSAL = "the database was restored or its server replaced: stop every worker, then run `fuma recovered --reason …`"

# The cluster, its timeline (a promoted replica or a recovery to a point in time begins a new one), the database
# (restored beside the old one), and the table of ranges (restored over the old one).
# The name of a WAL file begins with the timeline in use; the control file lags behind until the next checkpoint, but
# a standby writes none.
_PRESENT = """
    concat_ws('/',
        (SELECT system_identifier FROM pg_control_system()),
        CASE WHEN pg_is_in_recovery()
             THEN lpad(upper(to_hex((SELECT timeline_id FROM pg_control_checkpoint()))), 8, '0')
             ELSE left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END,
        (SELECT oid FROM pg_database WHERE datname = current_database()),
        CAST('ranges' AS regclass)::oid)
"""

_IDENTITY = text(f"SELECT {_PRESENT}")

# Without its row or a table the database is half restored: that is another one, too.
_IS_ANOTHER = f"SELECT coalesce((SELECT identity FROM deployment), '') IS DISTINCT FROM {_PRESENT}"  # noqa: S608
_LOOK = text(_IS_ANOTHER)

_HALF_RESTORED = (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn)


class AnotherDatabaseError(OperationalError):
    """The database is not the one that was recorded; its text says what to do.

    An error of the database, and one that passes: whoever has work in hand gives it back, and nothing of it is blamed.
    """

    def __init__(self) -> None:
        super().__init__(None, None, psycopg.OperationalError(REFUSAL))

    def __str__(self) -> str:
        """Give the line for an operator."""
        return REFUSAL


class Fence:
    """Keeps an engine off a database that is not the one that was recorded; never opens again once it was shut.

    The database had its schema when the fence was put up.
    """

    def __init__(self, engine: Engine) -> None:
        #: Why nothing is done any more; None while the database is the one that was recorded.
        self.refusal: str | None = None
        event.listen(engine, "connect", self._look_at_new)

    def look(self) -> Query[None]:
        """Give the look that comes before anything is changed; it raises `AnotherDatabaseError`, asked or at once."""
        if self.refusal is not None:
            raise AnotherDatabaseError
        return look(self._shut)

    def _look_at_new(self, connection: "psycopg.Connection[Any]", _record: object) -> None:
        try:
            row = connection.execute(_IS_ANOTHER.encode()).fetchone()
        except _HALF_RESTORED:
            row = None
        finally:
            connection.rollback()
        if row is None or row[0]:
            connection.close()
            raise self._shut()

    def _shut(self) -> AnotherDatabaseError:
        self.refusal = REFUSAL
        return AnotherDatabaseError()


def look(refusal: Callable[[], Exception] = AnotherDatabaseError) -> Query[None]:
    """Ask whether this database is the one that was recorded; raises `refusal` where it is another, or half of one."""

    def read(reply: Reply) -> None:
        if _is_another(reply):
            raise refusal()

    return Query(_LOOK, {}, read, dict.fromkeys(_HALF_RESTORED, refusal))


def present_identity(connection: Connection) -> str:
    """Tell which database this is; another text after a restore or a failover."""
    return str(connection.execute(_IDENTITY).scalar_one())


def is_another_database(connection: Connection) -> bool:
    """Whether this database is not the one that was recorded: it was restored, or its server was replaced."""
    return ask(connection, Query(_LOOK, {}, _is_another))


def refuse_another_database(connection: Connection) -> None:
    """Raise `AnotherDatabaseError` where this database is not the one that was recorded.

    A copy that never held a range or a claim, as one of a migrated template, is recorded as it is: it has forgotten
    nothing that could be handed out again. The caller commits.
    """
    if is_another_database(connection) and not _take_empty_copy_into_use(connection):
        raise AnotherDatabaseError


def _take_empty_copy_into_use(connection: Connection) -> bool:
    empty = ~exists(select(ranges.c.range_id)) & ~exists(select(claims.c.claim_id))
    taken = connection.execute(update(deployment).values(identity=present_identity(connection)).where(empty))
    return taken.rowcount == 1


def recovered_at(connection: Connection) -> datetime | None:
    """Tell when the database was last taken into use after a restore; None where it never was restored."""
    return connection.execute(select(deployment.c.recovered_at)).scalar_one_or_none()


def record_recovery(connection: Connection, *, now: datetime) -> None:
    """Record this database as the one to issue from; every range that it held must go out of use with it."""
    connection.execute(update(deployment).values(identity=present_identity(connection), recovered_at=now))


def _is_another(reply: Reply) -> bool:
    ((is_another,),) = reply
    return bool(is_another)
