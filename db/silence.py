"""Silence: a connection that hears nothing for too long is given up, though it seems to stand.

The server ends a stuck statement itself, and the kernel notices a peer that is gone. What neither sees is something in
between, a proxy or a firewall, that holds the connection open and passes nothing on: whoever waits would wait for ever.
"""

import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from sqlalchemy import Engine, event

Result = TypeVar("Result")


class _ImpatientConnection(psycopg.Connection[Any]):
    """Waits for `silence` seconds for the end of whatever it asked of the server."""

    silence = float("inf")

    def wait(self, gen: PQGen[Result], *args: Any, **options: Any) -> Result:  # noqa: ANN401 -- psycopg's own
        """See `psycopg.Connection.wait`; raises `psycopg.OperationalError` after the silence, and is closed then."""
        return super().wait(self._bounded(gen), *args, **options)

    def _bounded(self, waiting: PQGen[Result]) -> Generator[Any, Any, Result]:
        gives_up_at = time.monotonic() + self.silence
        try:
            state = next(waiting)
            while True:
                ready = yield state
                if not ready and time.monotonic() > gives_up_at:
                    self.pgconn.finish()
                    message = f"the server has not answered for {self.silence:g} s"
                    raise psycopg.OperationalError(message)
                state = waiting.send(ready)
        except StopIteration as end:
            result: Result = end.value
            return result


def bound_silence(engine: Engine, seconds: float) -> None:
    """Let no connection of an engine wait longer for an answer; more than its statements may take."""

    @event.listens_for(engine, "do_connect")
    def _connect(_dialect: object, _record: object, args: Any, options: Any) -> _ImpatientConnection:  # noqa: ANN401
        connection = _ImpatientConnection.connect(*args, **options)
        connection.silence = seconds
        return connection
