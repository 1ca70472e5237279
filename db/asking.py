"""Asking: statements of a transaction, several of them in one round trip to the server.

A batch of few requests costs little but its round trips, and each of its statements knows what to ask before the one
before is answered. So the queries of the way of a batch are made first and sent together: each sees what those before
it did, locks among it, as if it had been sent alone. Every other statement goes the usual way, by SQLAlchemy itself.

What begins a transaction, and what it changes without an answer that matters, is held back until something is asked:
it goes along with that, or with the commit.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Generic, NamedTuple, Protocol, TypeVar, cast, overload

import psycopg
from sqlalchemy import Connection, Dialect, Engine, TextClause, event, text
from sqlalchemy.exc import DBAPIError

Found = TypeVar("Found")
Read_co = TypeVar("Read_co", covariant=True)
First = TypeVar("First")
Second = TypeVar("Second")
Third = TypeVar("Third")
Fourth = TypeVar("Fourth")
Fifth = TypeVar("Fifth")
Sixth = TypeVar("Sixth")

#: Where a transaction of `begin` keeps what it holds back, and whether it is committed.
_HELD_BACK, _COMMITTED = "held back", "committed"

_BEGIN = text("BEGIN")

_OVER = "the transaction is committed: a statement after it would be in none"
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
    #: What is raised instead of some of the server's refusals.
    instead: Mapping[type[psycopg.Error], Callable[[], Exception]] = {}


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
    sixth: Query[Sixth],
    /,
) -> tuple[First, Second, Third, Fourth, Fifth, Sixth]: ...
def ask_together(connection: Connection, /, *queries: Query[Any]) -> tuple[Any, ...]:
    """Send queries in one round trip, carried out in their order; gives what each answer is read as.

    The server keeps its answers until it has them all: what bounds its silence bounds them together.
    The first to fail ends it, those after it are not carried out: raises `DBAPIError` where the server refused it, or
    what its `read` raises.
    """
    return tuple(_sent(connection, queries))


@contextmanager
def begin(engine: Engine, *queries: Query[None]) -> Iterator[Connection]:
    """Begin a transaction with these queries, which go to the server with the first that is asked.

    What is not committed by `ask_and_commit` is rolled back at the end of the block; after it nothing can be asked any
    more, which would be in no transaction.
    """
    with engine.connect() as connection:
        # Sends nothing. Without it a connection that is lost would be replaced by another, and what comes after the
        # loss be committed without what came before it.
        connection.begin()
        driver = _driver(connection)
        # The driver begins transactions by itself otherwise, and waits for the server's word before it goes on.
        driver.autocommit = True
        connection.info[_HELD_BACK] = [Query(_BEGIN, {}, no_answer), *queries]
        connection.info[_COMMITTED] = False
        try:
            yield connection
        finally:
            if not driver.closed:
                _leave(connection, driver)


def _leave(connection: Connection, driver: "psycopg.Connection[Any]") -> None:
    del connection.info[_HELD_BACK], connection.info[_COMMITTED]
    try:
        driver.rollback()
        driver.autocommit = False
    except psycopg.Error as error:
        # Lost: what was not committed never will be, and the error that led here is the one to tell of.
        connection.invalidate(error)


def hold_back(connection: Connection, queries: Iterable[Query[object]]) -> None:
    """Send changes with what is asked next, or with the commit; at once where an answer of theirs has to be looked at.

    Only a transaction of `begin` has something held back; in any other they are sent at once too.
    """
    asked = list(queries)
    held: list[Query[object]] | None = connection.info.get(_HELD_BACK)
    if held is None or not _need_no_look(asked):
        carry_out(connection, asked)
    else:
        held += asked


def carry_out(connection: Connection, queries: Iterable[Query[object]]) -> None:
    """Send changes in one round trip, or none where there are none; raises as `ask_together` does. Gives no answer."""
    if asked := list(queries):
        _sent(connection, asked)


def ask_and_commit(connection: Connection, queries: Sequence[Query[Found]]) -> list[Found]:
    """Send the last queries of a transaction and its commit in one round trip; gives what each answer is read as.

    Where the server refuses one, or the commit, nothing is committed: raises `DBAPIError`. Of a connection that is lost
    meanwhile nobody knows. What a `read` of these queries raises comes after the commit.
    The block that began the transaction has nothing left to commit.
    """
    if not _need_no_look(connection.info.get(_HELD_BACK, ())):
        _sent(connection, [])
    answers = _sent(connection, queries, commit=True)
    if _HELD_BACK in connection.info:
        connection.info[_COMMITTED] = True
    return answers


@event.listens_for(Engine, "before_cursor_execute")
def _send_held_back(connection: Connection, *_of_the_statement: object) -> None:
    """Keep the order: a statement that goes the usual way comes after what was held back before it."""
    _refuse_after_the_commit(connection)
    if connection.info.get(_HELD_BACK):
        _sent(connection, [])


def _refuse_after_the_commit(connection: Connection) -> None:
    if connection.info.get(_COMMITTED):
        raise AssertionError(_OVER)


def _need_no_look(queries: Iterable[Query[object]]) -> bool:
    return all(query.read is no_answer for query in queries)


def _driver(connection: Connection) -> "psycopg.Connection[Any]":
    return cast("psycopg.Connection[Any]", connection.connection.driver_connection)


def _sent(connection: Connection, asked: Sequence[Query[Any]], *, commit: bool = False) -> list[Any]:
    _refuse_after_the_commit(connection)
    driver = _driver(connection)
    held: list[Query[Any]] = connection.info.get(_HELD_BACK, [])
    queries = [*held, *asked]
    held.clear()
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
                for refusal, make in query.instead.items():
                    if isinstance(error, refusal):
                        raise make() from None
                break
            query.read(reply)
        raise _as_sqlalchemy_would(connection, driver, error) from None
    answers = [query.read(reply) for query, reply in zip(queries, replies, strict=True)]
    return answers[len(answers) - len(asked) :]


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
