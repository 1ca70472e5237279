"""Queries sent together: one round trip, each seeing what those before it did; the first to fail is the one told."""

from collections.abc import Callable, Iterator
from typing import cast

import psycopg
import pytest
from psycopg.errors import UniqueViolation
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DataError, IntegrityError, InternalError, OperationalError, PendingRollbackError

from db.asking import Query, Reply, ask, ask_and_commit, ask_together, begin, carry_out, hold_back, no_answer
from db.engine import constraint, open_engine, sqlstate
from tests.support.chaos.proxy import Proxy
from tests.support.postgres import PrivatePostgres

SILENCE = 1.0

_PUT = text("INSERT INTO things (name) VALUES (:name)")
_COUNT = text("SELECT count(*) FROM things")
_FAIL = text("SELECT 1 / :zero")


class _TakenError(Exception):
    """A thing of this name stands already."""


class _WrongError(Exception):
    """An answer is not what it must be."""


def put(name: str, conflict: type[Exception] | None = None) -> Query[None]:
    return Query(_PUT, {"name": name}, no_answer, {} if conflict is None else {UniqueViolation: conflict})


def first(reply: Reply) -> int:
    ((value,),) = reply
    return int(value)


_PID = Query(text("SELECT pg_backend_pid()"), {}, first)


def count() -> Query[int]:
    return Query(_COUNT, {}, first)


def division(by: int) -> Query[int]:
    return Query(_FAIL, {"zero": by}, first)


def wrong() -> Query[int]:
    def read(_: Reply) -> int:
        raise _WrongError

    return Query(_COUNT, {}, read)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine of a database with a table of things."""
    engine = open_engine(database_url, application="test")
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE things (name text CONSTRAINT one_name UNIQUE DEFERRABLE)"))
    yield engine
    engine.dispose()


def things(engine: Engine) -> int:
    with engine.begin() as connection:
        return ask(connection, count())


def test_each_sees_what_those_before_it_did(engine: Engine) -> None:
    with engine.begin() as connection:
        asked = ask_together(connection, count(), put("a"), count(), put("b"), count(), count())
        assert asked == (0, None, 1, None, 2, 2)
    assert things(engine) == 2


def test_nothing_to_carry_out_asks_nothing(engine: Engine) -> None:
    with engine.begin() as connection:
        carry_out(connection, [])
        carry_out(connection, [put("a"), put("b")])
    assert things(engine) == 2


def test_what_the_server_refuses_is_an_error_as_every_other_statement_has(engine: Engine) -> None:
    with pytest.raises(DataError) as refused, engine.begin() as connection:
        ask_together(connection, put("a"), division(0))
    assert sqlstate(refused.value) == "22012"
    assert things(engine) == 0
    with pytest.raises(IntegrityError) as taken, engine.begin() as connection:
        carry_out(connection, [put("a"), put("a")])
    assert constraint(taken.value) == "one_name"
    assert "VALUES" not in str(taken.value)


def test_what_is_not_sent_at_all_is_an_error_too(engine: Engine) -> None:
    with pytest.raises(DataError), engine.begin() as connection:
        carry_out(connection, [put("a"), put("\0")])
    assert things(engine) == 0


def test_a_key_that_stands_already_is_told_by_the_querys_own_error(engine: Engine) -> None:
    with pytest.raises(_TakenError), engine.begin() as connection:
        carry_out(connection, [put("a"), put("a", _TakenError), put("b")])
    # Only of the query that was refused, and only of a key.
    with pytest.raises(IntegrityError), engine.begin() as connection:
        carry_out(connection, [put("a", _TakenError), put("a")])
    with pytest.raises(DataError), engine.begin() as connection:
        ask(connection, Query(_FAIL, {"zero": 0}, no_answer, {UniqueViolation: _TakenError}))
    assert things(engine) == 0


def test_the_first_to_fail_is_told_though_a_later_one_is_refused(engine: Engine) -> None:
    with pytest.raises(_WrongError), engine.begin() as connection:
        ask_together(connection, wrong(), division(0))
    with pytest.raises(DataError), engine.begin() as connection:
        ask_together(connection, division(0), wrong())


def test_a_transaction_goes_on_by_other_statements(engine: Engine) -> None:
    with engine.begin() as connection:
        carry_out(connection, [put("a")])
        assert connection.execute(_COUNT).scalar_one() == 1
        connection.execute(_PUT, {"name": "b"})
        assert ask(connection, count()) == 2


def test_the_last_queries_are_committed_with_their_answers(engine: Engine) -> None:
    with engine.begin() as connection:
        assert ask_and_commit(connection, [put("a"), put("b")]) == [None, None]
        assert things(engine) == 2
    with engine.begin() as connection:
        assert ask_and_commit(connection, [count()]) == [2]


@pytest.mark.parametrize("failing", ["a statement", "the commit"])
def test_nothing_is_committed_where_the_last_fails(engine: Engine, failing: str) -> None:
    last = division(0 if failing == "a statement" else 1)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SET CONSTRAINTS ALL DEFERRED"))
        carry_out(connection, [put("a"), put("a")])
        with pytest.raises((DataError, IntegrityError)):
            ask_and_commit(connection, [last])
    assert things(engine) == 0


@pytest.mark.parametrize(
    "later",
    [
        lambda connection: ask(connection, put("b")),
        lambda connection: hold_back(connection, [Query(_COUNT, {}, first)]),
        lambda connection: connection.execute(_PUT, {"name": "b"}),
        lambda connection: ask_and_commit(connection, [put("b")]),
    ],
    ids=["asked", "held back", "the usual way", "committed again"],
)
def test_nothing_is_done_behind_the_commit(engine: Engine, later: Callable[[Connection], object]) -> None:
    with begin(engine) as connection:
        ask_and_commit(connection, [put("a")])
        with pytest.raises(AssertionError, match="would be in none"):
            later(connection)

    assert things(engine) == 1
    with begin(engine) as connection:
        ask_and_commit(connection, [put("c")])
    assert things(engine) == 2


def test_a_transaction_that_had_failed_before_is_not_taken_for_committed(engine: Engine) -> None:
    with engine.connect() as connection, connection.begin():
        carry_out(connection, [put("a")])
        with pytest.raises(DataError):
            ask(connection, division(0))
        with pytest.raises(InternalError) as failed:
            ask_and_commit(connection, [])
    assert sqlstate(failed.value) == "25P02"
    assert things(engine) == 0


def test_a_lost_connection_is_told_and_not_used_again(postgres: PrivatePostgres, database_url: str) -> None:
    with Proxy(postgres.port) as proxy:
        through = database_url.replace(f":{postgres.port}/", f":{proxy.port}/")
        engine = open_engine(through, application="test", silence=SILENCE)
        with engine.connect() as connection:
            assert ask(connection, division(1)) == 1
            proxy.cut()
            with pytest.raises(OperationalError) as lost:
                ask(connection, division(1))
        assert lost.value.connection_invalidated
        assert sqlstate(lost.value) is None
        with engine.begin() as connection:
            assert ask(connection, division(1)) == 1
        engine.dispose()


def test_a_server_that_says_nothing_to_all_of_them_is_given_up(database_url: str) -> None:
    engine = open_engine(database_url, application="test", silence=SILENCE)
    sleep = Query(text("SELECT 1 FROM pg_sleep(:seconds)"), {"seconds": 0.7}, first)
    with engine.begin() as connection:
        assert ask(connection, sleep) == ask(connection, sleep) == 1
    # It keeps its answers until it has them all.
    with pytest.raises(OperationalError, match="has not answered for 1 s"), engine.begin() as connection:
        ask_together(connection, sleep, sleep)
    engine.dispose()


def test_what_is_held_back_goes_with_what_is_asked_next(engine: Engine) -> None:
    with begin(engine, put("a")) as connection:
        hold_back(connection, [put("b")])
        assert things(engine) == 0
        assert ask(connection, count()) == 2
        hold_back(connection, [put("c")])
        # A statement that goes the usual way comes after it too.
        assert connection.execute(_COUNT).scalar_one() == 3
        hold_back(connection, [put("d")])
        assert ask_and_commit(connection, [count()]) == [4]
    assert things(engine) == 4


def test_what_is_held_back_is_committed_though_nothing_else_is_asked(engine: Engine) -> None:
    with begin(engine, put("a")) as connection:
        hold_back(connection, [put("b")])
        assert ask_and_commit(connection, []) == []
    assert things(engine) == 2


def test_what_was_not_committed_at_the_end_never_is(engine: Engine) -> None:
    with begin(engine, put("a")) as connection:
        hold_back(connection, [put("b")])
    with begin(engine) as connection:
        carry_out(connection, [put("c")])
        connection.execute(_PUT, {"name": "d"})
    with pytest.raises(_WrongError), begin(engine, put("e")) as connection:
        ask(connection, wrong())
    assert things(engine) == 0


def test_an_answer_that_has_to_be_looked_at_is_looked_at_before_the_commit(engine: Engine) -> None:
    looked_at = cast("Query[None]", wrong())
    with pytest.raises(_WrongError), begin(engine, put("a"), looked_at) as connection:
        ask_and_commit(connection, [put("b")])
    with pytest.raises(_WrongError), begin(engine) as connection:
        hold_back(connection, [put("a"), looked_at])
    assert things(engine) == 0


def test_nothing_is_held_back_in_a_transaction_that_began_the_usual_way(engine: Engine) -> None:
    with engine.begin() as connection:
        hold_back(connection, [put("a")])
    assert things(engine) == 1


def test_a_refusal_of_what_was_held_back_is_its_own(engine: Engine) -> None:
    with pytest.raises(_TakenError), begin(engine, put("a"), put("a", _TakenError)) as connection:
        ask_and_commit(connection, [count()])
    assert things(engine) == 0


def test_it_is_told_by_a_statement_that_goes_the_usual_way_too(engine: Engine) -> None:
    with begin(engine, put("a")) as connection:
        hold_back(connection, [put("a", _TakenError)])
        with pytest.raises(_TakenError):
            connection.execute(_COUNT)
        # The transaction has failed: nothing goes on in it.
        with pytest.raises(InternalError):
            ask_and_commit(connection, [put("b")])
    assert things(engine) == 0


def test_a_connection_goes_back_as_it_came(engine: Engine) -> None:
    with begin(engine, put("a")) as connection:
        pid = ask(connection, _PID)
        ask_and_commit(connection, [])
    with engine.connect() as connection:
        connection.execute(_PUT, {"name": "b"})
        assert ask(connection, _PID) == pid
    assert things(engine) == 1


def terminate(url: str, pid: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))


def test_a_connection_that_is_lost_in_the_midst_is_not_used_again(engine: Engine, database_url: str) -> None:
    def lose_it_in_the_midst() -> None:
        with begin(engine, put("a")) as connection:
            terminate(database_url, ask(connection, _PID))
            ask_and_commit(connection, [put("b")])

    with pytest.raises(OperationalError):
        lose_it_in_the_midst()
    assert things(engine) == 0
    with begin(engine, put("a")) as connection:
        ask_and_commit(connection, [])
    assert things(engine) == 1


def test_a_transaction_does_not_go_on_over_another_connection(engine: Engine, database_url: str) -> None:
    with begin(engine, cast("Query[None]", division(1))) as connection:
        terminate(database_url, ask(connection, _PID))
        with pytest.raises(OperationalError):
            ask(connection, count())
        # What it began with, as a look whether this is the right database, was asked of the one that is lost.
        with pytest.raises(PendingRollbackError):
            ask_and_commit(connection, [put("a")])
    assert things(engine) == 0


def test_a_connection_that_has_rested_is_asked_for_a_word_first(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lose_the_next() -> None:
        with engine.connect() as connection:
            pid = ask(connection, _PID)
        terminate(database_url, pid)

    monkeypatch.setattr("db.engine._RESTED", -1.0)
    lose_the_next()
    assert things(engine) == 0

    monkeypatch.setattr("db.engine._RESTED", 3600.0)
    lose_the_next()
    with pytest.raises(OperationalError):
        things(engine)
    assert things(engine) == 0
