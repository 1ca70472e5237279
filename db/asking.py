"""Asking: statements of a transaction, several of them in one round trip to the server.

A batch of few requests costs little but its round trips, and each of its statements knows what to ask before the one
before is answered. So the queries of the way of a batch are made first and sent together: each sees what those before
it did, locks among it, as if it had been sent alone. Every other statement goes the usual way, by SQLAlchemy itself.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, overload

import psycopg
from sqlalchemy import Connection, Dialect, TextClause
from sqlalchemy.exc import DBAPIError

Found = TypeVar("Found")
Read_co = TypeVar("Read_co", covariant=True)
First = TypeVar("First")
Second = TypeVar("Second")
Third = TypeVar("Third")
Fourth = TypeVar("Fourth")
Fifth = TypeVar("Fifth")

_NOT_COMMITTED = "a statement of this transaction had failed: it was rolled back, not committed"


class Reply(Protocol):
    """What the server answered to one statement."""

    @property
    def rowcount(self) -> int:
        """How many rows it found or changed."""
        ...

    def __iter__(self) -> Iterator[Any]:
        """Give the rows of a statement that has some, each a tuple."""
        ...


class Query(NamedTuple, Generic[Read_co]):
    """A statement with its parameters, not sent yet, and how its answer is read."""

    statement: TextClause
    parameters: Mapping[str, object]
    #: May raise where the answer is not what it must be.
    read: Callable[[Reply], Read_co]
    #: What is raised where a row with the same key stands already; None for what any other refusal raises.
    conflict: type[Exception] | None = None


def no_answer(_reply: Reply) -> None:
    """Read nothing: that the statement was carried out is all."""


def ask(connection: Connection, query: Query[Found]) -> Found:
    """Send one query, and give what its answer is read as. Raises `DBAPIError`, and whatever `read` raises."""
    return cast("Found", _sent(connection, [query])[0])


@overload
def ask_together(connection: Connection, first: Query[First], second: Query[Second], /) -> tuple[First, Second]: ...
@overload
def ask_together(
    connection: Connection,
    first: Query[First],
    second: Query[Second],
    third: Query[Third],
    fourth: Query[Fourth],
    fifth: Query[Fifth],
    /,
) -> tuple[First, Second, Third, Fourth, Fifth]: ...
def ask_together(connection: Connection, /, *queries: Query[Any]) -> tuple[Any, ...]:
    """Send queries in one round trip, carried out in their order; gives what each answer is read as.

    The server keeps its answers until it has them all: what bounds its silence bounds them together.
    The first to fail ends it, those after it are not carried out: raises `DBAPIError` where the server refused it, or
    what its `read` raises.
    """
    return tuple(_sent(connection, queries))


def carry_out(connection: Connection, queries: Iterable[Query[object]]) -> None:
    """Send changes in one round trip, or none where there are none; raises as `ask_together` does. Gives no answer."""
    if asked := list(queries):
        _sent(connection, asked)


def ask_and_commit(connection: Connection, queries: Sequence[Query[Found]]) -> list[Found]:
    """Send the last queries of a transaction and its commit in one round trip; gives what each answer is read as.

    Where the server refuses one, or the commit, nothing is committed: raises `DBAPIError`. Of a connection that is lost
    meanwhile nobody knows. What a `read` raises comes after the commit.
    The block that began the transaction has nothing left to commit.
    """
    return _sent(connection, queries, commit=True)


def _sent(connection: Connection, queries: Sequence[Query[Any]], *, commit: bool = False) -> list[Any]:
    driver = cast("psycopg.Connection[Any]", connection.connection.driver_connection)
    replies: list[psycopg.Cursor[Any]] = []
    try:
        # All are there before the first is sent: a refusal may come while its own statement is on the way.
        replies = [driver.cursor() for _ in queries]
        with driver.pipeline():
            for query, reply in zip(queries, replies, strict=True):
                reply.execute(_words(query.statement, connection.dialect), query.parameters)
            # As a statement like them: the driver's own commit would wait for its answer, and then for another.
            end = driver.execute(b"COMMIT", prepare=False) if commit else None
        if end is not None and end.statusmessage != "COMMIT":
            # Of a transaction that had failed before, the server says no error, but what it did instead.
            raise psycopg.errors.InFailedSqlTransaction(_NOT_COMMITTED)
    except psycopg.Error as error:
        # What came before it may be the cause: the first whose answer is wrong is the one to tell of.
        for query, reply in zip(queries, replies, strict=False):
            if reply.statusmessage is None:
                if query.conflict is not None and isinstance(error, psycopg.errors.UniqueViolation):
                    raise query.conflict from None
                break
            query.read(reply)
        raise _as_sqlalchemy_would(connection, driver, error) from None
    return [query.read(reply) for query, reply in zip(queries, replies, strict=True)]


def _as_sqlalchemy_would(connection: Connection, driver: "psycopg.Connection[Any]", error: psycopg.Error) -> Exception:
    """Give the error as every other statement's comes, and take a connection that is lost out of use."""
    if driver.closed:
        connection.invalidate(error)
    return DBAPIError.instance(
        None,
        None,
        error,
        psycopg.Error,
        hide_parameters=True,
        connection_invalidated=driver.closed,
        dialect=connection.dialect,
    )


@lru_cache(maxsize=1024)
def _words(statement: TextClause, dialect: Dialect) -> bytes:
    """Write a statement as the driver reads it; there are as many as the code has."""
    return str(statement.compile(dialect=dialect)).encode()
