"""Engines: how Fuma connects to PostgreSQL, and what is said of an error without showing a row."""

import math
import time

import psycopg
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidatePoolError
from sqlalchemy.exc import TimeoutError as NoConnectionError
from sqlalchemy.pool import ConnectionPoolEntry

from db.silence import bound_silence

#: All that the database, or the way to it, may raise in the midst of work; also that every connection is taken.
DATABASE_ERRORS = (DBAPIError, NoConnectionError, psycopg.Error)

#: SQLSTATE classes that speak of the rows themselves: a value that can't be stored, a constraint that refuses it, two
#: rows where one is meant (21), more than an index or a statement can hold (54), a trigger's refusal (P0).
_OF_THE_DATA = ("21", "22", "23", "54", "P0")
#: What psycopg itself refuses to send, as a text with a NUL character; no server was asked, so there is no SQLSTATE.
_NEVER_SENT = (psycopg.DataError, psycopg.IntegrityError, psycopg.NotSupportedError, psycopg.ProgrammingError)

#: Seconds without use after which a connection is asked for a word before it is used again.
_RESTED = 1.0

#: What is said where the server's certificate, or the lack of one, ends it.
UNTRUSTED = (
    "the database's certificate isn't trusted, or it has none:"
    " check sslmode, sslrootcert and the host in FUMA_DATABASE_URL"
)


def open_engine(url: str, *, application: str, pool_size: int = 5, silence: float | None = None) -> Engine:
    """Make an engine for `url` (`postgresql://…`, any of 14 to 18); nothing is connected yet.

    Statements have no parameters in their error texts, and a stuck one ends: 30 s a statement, 10 s for a lock,
    60 s idle in a transaction. After `silence` seconds without any answer a connection is given up.
    Raises `ValueError` for an address that is none of PostgreSQL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        message = "FUMA_DATABASE_URL is not an address like postgresql://user:password@host:5432/database"
        raise ValueError(message) from None
    if "@" in (parsed.host or ""):
        message = "FUMA_DATABASE_URL has an @ in its password: write it as %40"
        raise ValueError(message)
    if parsed.get_backend_name() != "postgresql":
        message = f"FUMA_DATABASE_URL must begin with postgresql://, not {parsed.get_backend_name()}://"
        raise ValueError(message)
    engine = create_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=2,
        # Whose plans are made is the one to take.
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "application_name": application,
            "connect_timeout": 5,
            "options": "-c TimeZone=UTC -c statement_timeout=30s -c lock_timeout=10s"
            " -c idle_in_transaction_session_timeout=60s"
            # A plan made while tables were empty must not be kept when they have grown.
            " -c plan_cache_mode=force_custom_plan"
            # To compile a statement takes longer than any of ours.
            " -c jit=off",
            # A peer that went away without a word is noticed within half a minute.
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            # With our bytes on their way to it, the kernel alone would try for a quarter of an hour.
            "tcp_user_timeout": 30_000,
        },
    )
    if silence is not None:
        bound_silence(engine, silence)
    _look_at_rested(engine)
    return engine


def _look_at_rested(engine: Engine) -> None:
    """Ask a connection that has rested for a word before it is used again: the server may have gone meanwhile.

    One that was used just now is not asked, it would cost each batch a round trip; whoever finds it lost tries again.
    """

    @event.listens_for(engine, "checkin")
    def _rest(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["rests since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _look(connection: DBAPIConnection, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get("rests since", math.inf) > _RESTED and not _is_alive(engine, connection):
            raise InvalidatePoolError


def _is_alive(engine: Engine, connection: DBAPIConnection) -> bool:
    try:
        return engine.dialect.do_ping(connection)
    except psycopg.Error:
        return False


def sqlstate(error: BaseException) -> str | None:
    """The five characters by which PostgreSQL classes the error; None where no server answered."""
    state = getattr(_origin(error), "sqlstate", None)
    return state if isinstance(state, str) else None


def constraint(error: BaseException) -> str | None:
    """The name of the constraint that refused the statement, if one did."""
    diagnostic = getattr(_origin(error), "diag", None)
    name = getattr(diagnostic, "constraint_name", None)
    return name if isinstance(name, str) else None


def is_data_error(error: BaseException) -> bool:
    """Whether the rows themselves were refused, so that one of them spoils the others.

    Any other trouble is the server's or ours: away, busy, full, a conflict, a missing column; no row is to blame.
    """
    state = sqlstate(error)
    if state is None:
        return isinstance(_origin(error), _NEVER_SENT)
    return state.startswith(_OF_THE_DATA)


def is_untrusted(error: DBAPIError) -> bool:
    """Whether the server is not spoken to for want of TLS that can be trusted: its certificate, its name, or none."""
    words = str(error.orig)
    return sqlstate(error) is None and any(
        sign in words
        for sign in (
            "certificate verify failed",
            # Of an authority that has the name of ours and another key.
            "signature failure",
            "does not match host name",
            "root certificate file",
            "server does not support SSL",
        )
    )


def is_permanent_refusal(error: DBAPIError) -> bool:
    """Whether no waiting helps: wrong password or role (class 28), no such database (3D), no permission (42501)."""
    state = sqlstate(error)
    if state is None:
        # Before a session exists, libpq gives only text; these are the server's own words for class 28 and 3D.
        words = str(error.orig)
        return (
            any(
                sign in words
                for sign in ("password authentication failed", "no password supplied", "no pg_hba.conf entry")
            )
            or ("database" in words and "does not exist" in words)
            or ("role" in words and "does not exist" in words)
        )
    return state.startswith(("28", "3D")) or state == "42501"


def _origin(error: BaseException) -> BaseException:
    """Give psycopg's own error, whether SQLAlchemy wrapped it or not."""
    return getattr(error, "orig", None) or error
