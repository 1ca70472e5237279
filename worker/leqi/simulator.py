"""The fake authority as a server: in a test's own process, or as a command.

It stands in for LeQi's claim service and a listing gateway wherever no real channel
is at hand; `simulator_http` lists its addresses.
"""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Final, Self

import structlog
from aiohttp import web

from worker.leqi.simulator_faults import Faults, FaultSettings
from worker.leqi.simulator_http import build_application
from worker.leqi.simulator_journal import StateError
from worker.leqi.simulator_records import ListedRange, ListingEdits
from worker.leqi.simulator_service import Terms
from worker.leqi.simulator_state import AuthorityState, GrantRow

__all__ = [
    "FaultSettings",
    "GrantRow",
    "ListedRange",
    "ListingEdits",
    "Simulator",
    "SimulatorError",
    "StateError",
    "Terms",
    "serve",
]

LOOPBACK: Final = "127.0.0.1"
LAST_ANSWERS_SECONDS: Final = 0.5
"""How long a stopping server lets calls finish; those cut off are lost answers."""

log = structlog.get_logger()


class SimulatorError(Exception):
    """The simulator can't listen; the text says why, in one line."""


class Simulator:
    """A fake authority in this process, on a daemon thread of its own.

    `stop` and `start` again make an outage: the address and everything granted stay,
    with a state file or without.
    """

    def __init__(
        self,
        port: int = 0,
        state: Path | None = None,
        *,
        host: str = LOOPBACK,
        terms: Terms | None = None,
    ) -> None:
        """Take up the state; raises `StateError` when it can't be used.

        Port 0 chooses a free one at the first start.
        """
        self._host = host
        self._port = port
        self._faults = Faults()
        self._state = AuthorityState(state)
        self._terms = terms or Terms()
        self._running: _Running | None = None

    def start(self) -> str:
        """Listen, and return the base address; raises `SimulatorError`."""
        if self._running is None:
            application = build_application(self._terms, self._state, self._faults)
            self._running = _Running(application, self._host, self._port)
            self._port = self._running.port
        return self.base_url

    def stop(self) -> None:
        """Stop listening and cut what is still open; harmless when not running."""
        if self._running is not None:
            self._running.stop()
            self._running = None

    def close(self) -> None:
        """Stop for good and let go of the state file: what a later start would grant can't be stored."""
        self.stop()
        self._state.close()

    def __enter__(self) -> Self:
        """Start; raises `SimulatorError`, and has then let go of the state file."""
        try:
            self.start()
        except SimulatorError:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop for good."""
        self.close()

    @property
    def base_url(self) -> str:
        """The address to give to clients, without a slash at its end."""
        return _url(self._host, self._port)

    def grants(self) -> list[GrantRow]:
        """Return every grant ever made, as `GET /simulator/grants` does."""
        return self._state.grants()

    def put_faults(self, **fields: float) -> FaultSettings:
        """Do what `PUT /simulator/faults` does; raises pydantic's error."""
        settings = FaultSettings.model_validate(fields)
        self._faults.put(settings)
        return settings

    def put_clock(self, instant: datetime) -> datetime:
        """Do what `PUT /simulator/clock` does; the instant must have its offset."""
        return self._state.set_clock(instant)

    def put_listing(self, fields: Mapping[str, object]) -> ListingEdits:
        """Do what `PUT /simulator/listing` does; raises `ValueError`."""
        edits = ListingEdits.model_validate(fields)
        self._state.edit_listing(edits)
        return edits


def serve(
    host: str = LOOPBACK,
    port: int = 0,
    state: Path | None = None,
    *,
    terms: Terms | None = None,
    on_started: Callable[[str], None] | None = None,
) -> None:
    """Run until SIGTERM or SIGINT; must be called from the main thread.

    `on_started` is told the base address once calls are taken.
    Raises `StateError` and `SimulatorError`, both one line for an operator.
    """
    memory = AuthorityState(state)
    try:
        application = build_application(terms or Terms(), memory, Faults())
        asyncio.run(_serve_until_signal(application, host, port, on_started))
    finally:
        memory.close()


async def _serve_until_signal(
    application: web.Application,
    host: str,
    port: int,
    on_started: Callable[[str], None] | None,
) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with _listening(application, host, port) as bound_port:
        base_url = _url(host, bound_port)
        log.info("simulator-started", base_url=base_url)
        if on_started is not None:
            on_started(base_url)
        await stopped.wait()
    log.info("simulator-stopped")


class _Running:
    """One run of the server, from listening to stopped."""

    def __init__(self, application: web.Application, host: str, port: int) -> None:
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        bound: Future[int] = Future()
        self._thread = Thread(
            target=self._run,
            args=(application, host, port, bound),
            name="leqi-simulator",
            daemon=True,
        )
        self._thread.start()
        self.port = bound.result()

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    def _run(self, application: web.Application, host: str, port: int, bound: Future[int]) -> None:
        try:
            self._loop.run_until_complete(self._main(application, host, port, bound))
        except SimulatorError as error:
            bound.set_exception(error)
        finally:
            if not bound.done():
                bound.set_exception(SimulatorError("the server ended at its start"))
            self._loop.close()

    async def _main(self, application: web.Application, host: str, port: int, bound: Future[int]) -> None:
        async with _listening(application, host, port) as bound_port:
            bound.set_result(bound_port)
            await self._stopped.wait()


@asynccontextmanager
async def _listening(application: web.Application, host: str, port: int) -> AsyncIterator[int]:
    """Take calls while the block runs; gives the port that was bound."""
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=LAST_ANSWERS_SECONDS)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except (OSError, OverflowError) as error:
            message = f"can't listen on {host}:{port}: {_reason(error)}"
            raise SimulatorError(message) from error
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
