"""Health: `/healthz` (alive), `/readyz` (connected and making progress), `/metrics` (Prometheus)."""

import socketserver
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from sqlalchemy import Engine, text

from db.engine import DATABASE_ERRORS
from worker.broker.port import Broker
from worker.metrics import Metrics

#: A part that has not turned round for this long does not make progress.
_LONGEST_TURN = 60.0
#: Seconds in which a database that is there answers `SELECT 1`.
_LONGEST_ANSWER = 2.0


class Turning(Protocol):
    """What makes progress, or names the part that does not."""

    @property
    def broken(self) -> str | None:
        """Name a part that ended by a fault; None where none did."""
        ...

    def lags(self, longest: float) -> str | None:
        """Name a part that has not turned round for `longest` seconds; None where all do."""
        ...

    @property
    def trouble(self) -> str | None:
        """Tell in a line what keeps a part from its work just now; None where nothing does."""
        ...


class Health:
    """What the health pages tell; before `watch` the worker is alive and not ready."""

    def __init__(self) -> None:
        self._broker: Broker | None = None
        self._worker: Turning | None = None
        self._database: _Database | None = None
        self.registry = CollectorRegistry()

    def watch(self, broker: Broker, worker: Turning, metrics: Metrics, engine: Engine) -> None:
        """Tell of these from now on."""
        self._broker, self._worker, self._database = broker, worker, _Database(engine)
        self.registry = metrics.registry

    def dead(self) -> str | None:
        """Tell in a line which part has ended, so that only a new start helps; None where all live."""
        if self._worker is None or self._worker.broken is None:
            return None
        return f"{self._worker.broken} ended by a fault"

    def unready(self) -> str | None:
        """Tell in a line why the worker is not ready; None where it is."""
        if self._broker is None or self._database is None:
            return "starting: the database does not answer yet"
        if not self._broker.ready:
            return "not connected to the broker"
        if self._worker is not None and (late := self._worker.lags(_LONGEST_TURN)) is not None:
            return f"{late} makes no progress"
        if self._worker is not None and (trouble := self._worker.trouble) is not None:
            return trouble
        if not self._database.answers():
            return "the database does not answer"
        return None


class _Database:
    """Asks the database whether it is there: one question at a time, however many want to know.

    A server that stands still, or a way to it that is open and passes nothing on, lets a question wait for the better
    part of a minute. Whoever asks meanwhile is not kept for that long, and takes no further connection.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._question: _Question | None = None

    def answers(self) -> bool:
        """Whether it answered within `_LONGEST_ANSWER` seconds of the question."""
        with self._lock:
            if self._question is None or self._question.is_over:
                self._question = _Question(self._engine)
            question = self._question
        return question.answered()


class _Question:
    """One `SELECT 1`, on a thread that no exit of the process waits for."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._over = threading.Event()
        self._answered = False
        self._waits_until = time.monotonic() + _LONGEST_ANSWER
        threading.Thread(target=self._ask, name="readiness", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """Whether it is answered, or in vain."""
        return self._over.is_set()

    def answered(self) -> bool:
        """Wait for the answer for as long as it may take; False where none came by then."""
        self._over.wait(max(0.0, self._waits_until - time.monotonic()))
        return self._answered

    def _ask(self) -> None:
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
            self._answered = True
        except DATABASE_ERRORS:
            self._answered = False
        finally:
            self._over.set()


@contextmanager
def serve_health(port: int, health: Health) -> Iterator[None]:
    """Serve the health pages on `port` of every address while the block runs; 0 serves nothing."""
    if port == 0:
        yield
        return
    server = make_server("", port, _pages(health), _Server, _QuietHandler)
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Server(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: whoever asks for half a page and goes away is no fault of ours."""


class _QuietHandler(WSGIRequestHandler):
    #: Seconds to wait for the next piece of a request: nobody holds a thread for ever.
    timeout: ClassVar[float | None] = 10.0

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base class's name
        """Say nothing: a page that is asked for every few seconds is no news."""


def _pages(health: Health) -> WSGIApplication:
    def pages(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            metrics: WSGIApplication = make_wsgi_app(health.registry)
            return metrics(environ, start_response)
        if path == "/healthz":
            return _page(start_response, health.dead())
        if path == "/readyz":
            return _page(start_response, health.unready())
        start_response("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"/healthz, /readyz or /metrics\n"]

    return pages


def _page(start_response: StartResponse, trouble: str | None) -> Iterable[bytes]:
    status = "200 OK" if trouble is None else "503 Service Unavailable"
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [f"{trouble or 'ok'}\n".encode()]
