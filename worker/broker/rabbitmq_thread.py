"""One connection to RabbitMQ on a thread of its own, made again for ever.

A session is one connection with the loop that serves it. Whatever ends it, the next one starts from nothing: new loop,
new connection, new channels. So no state of a dead connection can leak into a living one.
"""

import secrets
import threading
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from worker.broker.address import BrokerAddress
from worker.broker.failures import describe, refusal_at_login
from worker.broker.rabbitmq_wire import Connection, IOLoop, abort, connect, new_loop

#: Seconds between `ConnectionUser.tick`s.
TICK = 0.5
#: Seconds to wait before the second attempt; doubles up to the longest.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 10.0
#: Seconds that a connection must have lived for the next pause to be the first again.
STEADY = 30.0

_log = structlog.get_logger()
_random = secrets.SystemRandom()


class ConnectionUser(Protocol):
    """What lives on the connection. Every method is called on the connection's thread."""

    def connected(self, connection: Connection) -> None:
        """Set up channels on a fresh connection."""
        ...

    def disconnected(self) -> None:
        """Forget the connection: all that was under way on it is lost. Also called where none came to be."""
        ...

    def tick(self) -> None:
        """Look at what has waited too long. Called every `TICK` seconds, connected or not."""
        ...

    def ended(self) -> None:
        """Give up on everything: stopped or refused, there will be no connection any more."""
        ...


class ConnectionThread:
    """Keeps one connection alive for its user."""

    def __init__(self, address: BrokerAddress, name: str, user: ConnectionUser) -> None:
        """Prepare; nothing connects before `start`."""
        self._address = address
        self._name = name
        self._user = user
        self._thread = threading.Thread(target=self._run, name=f"fuma-broker-{name}", daemon=True)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._loop: IOLoop | None = None
        self._connection: Connection | None = None
        self._stop_by = float("inf")
        self._end: BaseException | None = None
        self._refusal: str | None = None

    @property
    def refusal(self) -> str | None:
        """Why it gave up; None as long as it tries."""
        return self._refusal

    def start(self) -> None:
        """Begin to connect in the background."""
        self._thread.start()

    def call(self, callback: Callable[[], None]) -> None:
        """Run a callback on the connection's thread, soon. Lost if the session ends first, or if there is none."""
        with self._lock:
            if self._loop is not None:
                self._loop.add_callback_threadsafe(callback)

    def refuse(self, reason: str) -> None:
        """Give up for good. On the connection's thread only."""
        self._refusal = reason
        self.drop(reason)

    def drop(self, reason: str) -> None:
        """End this session without a handshake, for the next to begin. On the connection's thread only."""
        connection = self._connection
        if connection is not None and not connection.is_closed:
            abort(connection, reason)

    def stop(self, timeout: float) -> None:
        """Close the connection in order, or without order once `timeout` seconds have passed. Returns at once.

        What `call` was given before is done before.
        """
        with self._lock:
            self._stop_by = time.monotonic() + timeout
            self._stopping.set()
            if self._loop is not None:
                self._loop.add_callback_threadsafe(self._close)

    def join(self, timeout: float) -> None:
        """Wait until the thread has ended."""
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def _run(self) -> None:
        pause = FIRST_PAUSE
        while not self._stopping.is_set() and self._refusal is None:
            begun = time.monotonic()
            self._session()
            self._user.disconnected()
            if time.monotonic() - begun > STEADY:
                pause = FIRST_PAUSE
            self._rest(pause * _random.uniform(0.5, 1.0))
            pause = min(LONGEST_PAUSE, pause * 2)
        self._user.ended()

    def _session(self) -> None:
        loop = new_loop()
        self._end = None
        with self._lock:
            if self._stopping.is_set():
                loop.close()
                return
            self._loop = loop
        try:
            self._connection = connect(
                self._address,
                loop,
                name=f"fuma-{self._name}",
                on_open=self._opened,
                on_end=self._ended,
            )
            loop.call_later(TICK, self._tick)
            loop.start()
        except Exception:  # noqa: BLE001  # see below
            # The boundary of this thread: if it died of a mistake in a callback, ours or pika's, the process would
            # live on and consume nothing. A new session repairs what can be repaired, and the log shows the mistake.
            _log.exception("broker-session-failed", connection=self._name)
        finally:
            with self._lock:
                self._loop = None
            loop.close()
            self._connection = None

    def _opened(self, connection: Connection) -> None:
        _log.info("broker-connected", connection=self._name, broker=str(self._address))
        if self._stopping.is_set():
            self._close()
        else:
            self._user.connected(connection)

    def _ended(self, error: BaseException) -> None:
        if self._refusal is None:
            self._refusal = refusal_at_login(error, self._address)
        if self._refusal is not None:
            _log.error("broker-refused", connection=self._name, reason=self._refusal)
        elif self._stopping.is_set():
            _log.info("broker-disconnected", connection=self._name)
        else:
            _log.warning("broker-unreachable", connection=self._name, reason=describe(error))
        if self._loop is not None:
            self._loop.stop()

    def _tick(self) -> None:
        self._user.tick()
        if self._stopping.is_set() and time.monotonic() >= self._stop_by:
            self.drop("no answer to closing in time")
        if self._loop is not None:
            self._loop.call_later(TICK, self._tick)

    def _close(self) -> None:
        connection = self._connection
        if connection is None or connection.is_closed or connection.is_closing:
            return
        connection.close()

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self._refusal is None and (left := end - time.monotonic()) > 0:
            self._user.tick()
            if self._stopping.wait(min(TICK, left)):
                return
