"""Health: `/healthz` (alive), `/readyz` (connected and making progress), `/metrics` (Prometheus)."""

import socketserver
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from prometheus_client import CollectorRegistry, make_wsgi_app
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from worker.broker.port import Broker
from worker.metrics import Metrics

#: A part that has not turned round for this long does not make progress.
_LONGEST_TURN = 60.0


class Turning(Protocol):
    """What makes progress, or names the part that does not."""

    @property
    def broken(self) -> str | None:
        """Name a part that ended by a fault; None where none did."""
        ...

    def lags(self, longest: float) -> str | None:
        """Name a part that has not turned round for `longest` seconds; None where all do."""
        ...


class Health:
    """What the health pages tell; before `watch` the worker is alive and not ready."""

    def __init__(self) -> None:
        self._broker: Broker | None = None
        self._worker: Turning | None = None
        self._engine: Engine | None = None
        self.registry = CollectorRegistry()

    def watch(self, broker: Broker, worker: Turning, metrics: Metrics, engine: Engine) -> None:
        """Tell of these from now on."""
        self._broker, self._worker, self._engine = broker, worker, engine
        self.registry = metrics.registry

    def dead(self) -> str | None:
        """Tell in a line which part has ended, so that only a new start helps; None where all live."""
        if self._worker is None or self._worker.broken is None:
            return None
        return f"{self._worker.broken} ended by a fault"

    def unready(self) -> str | None:
        """Tell in a line why the worker is not ready; None where it is."""
        if self._broker is None or self._engine is None:
            return "starting: the database does not answer yet"
        if not self._broker.ready:
            return "not connected to the broker"
        if self._worker is not None and (late := self._worker.lags(_LONGEST_TURN)) is not None:
            return f"{late} makes no progress"
        try:
            with self._engine.connect() as connection:
                connection.execute(text("SELECT 1"))
        except DBAPIError:
            return "the database does not answer"
        return None


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


class _QuietHandler(WSGIRequestHandler):
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
