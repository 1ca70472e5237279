"""The embedded PostgreSQL: a real server under `FUMA_HOME`, there while a command uses it.

Everyone who uses it holds a lease (a shared file lock). The first one starts a keeper (`db.embedded_keeper`), which
runs the server and stops it when the last lease is gone, by whatever way its holder went.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final
from urllib.parse import quote

import psycopg
import structlog

from db.embedded_folder import PORT, FileLock, ServerFolder

_log: Final[structlog.stdlib.BoundLogger] = structlog.get_logger(__name__)

#: Role and database.
_NAME = "fuma"

#: Seconds between two looks at something that is waited for, and between two lines about it.
_LOOK, _REPORT = 0.05, 5.0

#: Seconds that a server which says it is ready may still refuse connections.
_READY_BUT_REFUSING = 10.0

#: Seconds that the last one out waits for the server to stop; after that the keeper finishes by itself.
_PATIENCE_AT_EXIT = 15.0

#: Keepers that go on for others, kept so that their end is noticed when this process looks next.
_left_behind: list[subprocess.Popen[bytes]] = []


class EmbeddedPostgresError(Exception):
    """The embedded PostgreSQL can't be had; the message says why in one line."""


class EmbeddedPostgres:
    """A lease on the PostgreSQL under a home folder, as a context manager that gives the database's address.

    - The server is set up once, in `home/postgres`, and started by whoever needs it first. Any number of processes
      and threads may use it at once; the last one out stops it and waits until it has stopped.
    - A holder that was killed holds nothing: within a second of the last holder's death the server is being stopped.
    - A server that was killed is started anew, under the same address, while anybody holds a lease; sessions break.
    - Nothing is opened to others: the server listens on a socket in a folder of its own, wants a password, and runs
      as another user where the caller is root. Permissions of the folders above `home` stay as they are.
    - Committed is durable (PostgreSQL's own defaults), unless `settings` say otherwise.
    """

    def __init__(self, home: Path, *, version: str = "18", settings: Mapping[str, str] | None = None) -> None:
        """Nothing is started yet.

        `settings` are settings of the server (`{"fsync": "off"}` for a database that is thrown away); where it runs
        already, those of who started it stay. `version` is 16 or 18; data of another one is refused.
        """
        self._folder: Final = ServerFolder.under(home)
        self._version: Final = version
        self._settings: Final = dict(settings or {})
        self._keeper: subprocess.Popen[bytes] | None = None
        self._held = ExitStack()

    def __enter__(self) -> str:
        """Wait until the server takes connections, however long it recovers; return `postgresql://…/fuma`.

        Raises `EmbeddedPostgresError` where that can't be: no permission, disk full, another version's data.
        """
        try:
            with ExitStack() as undo:
                undo.callback(self._reap)
                self._folder.make()
                lease = undo.enter_context(closing(FileLock(self._folder.leases)))
                _wait(lease.try_shared, "embedded-postgres-stopping")
                with closing(FileLock(self._folder.starting)) as turn:
                    _wait(turn.try_exclusive, "embedded-postgres-starting-elsewhere")
                    url = self._await_server()
                self._held = undo.pop_all()
        except OSError as error:
            message = f"can't keep PostgreSQL in {self._folder.path}: {error.strerror or error}"
            raise EmbeddedPostgresError(message) from error
        return url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the lease back; if it was the last one, wait for the server's end."""
        self._held.close()

    def _await_server(self) -> str:
        """See to it that a keeper lives, until the server takes connections and has the database."""
        started, ready_since = time.monotonic(), None
        progress = _Progress("embedded-postgres-starting")
        while True:
            self._ensure_keeper()
            _, status = self._folder.server_status() or (0, "starting")
            if status == "ready":
                ready_since = ready_since or time.monotonic()
                try:
                    return self._ensure_database()
                except (psycopg.OperationalError, FileNotFoundError) as refusal:
                    # The file may be a dead server's, and a new one just starting.
                    if time.monotonic() - ready_since > _READY_BUT_REFUSING:
                        message = f"the embedded PostgreSQL refuses connections: {' '.join(str(refusal).split())}"
                        raise EmbeddedPostgresError(message) from refusal
            else:
                ready_since = None
            progress.report(status=status, waited_s=round(time.monotonic() - started, 1))
            time.sleep(_LOOK)

    def _ensure_keeper(self) -> None:
        """Start a keeper unless one is at work. Raises `EmbeddedPostgresError` if ours gave up."""
        if self._keeper is not None and self._keeper.poll() not in (None, 0):
            self._raise_its_failure(self._keeper)
        if not self._has_keeper():
            self._leave_keeper()
            self._keeper = self._start_keeper()

    def _start_keeper(self) -> subprocess.Popen[bytes]:
        orders = {"folder": str(self._folder.path), "version": self._version, "settings": self._settings}
        return subprocess.Popen(  # noqa: S603 (our own arguments, no shell)
            [sys.executable, "-P", "-m", "db.embedded_keeper", json.dumps(orders)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )

    def _raise_its_failure(self, keeper: subprocess.Popen[bytes]) -> None:
        words = keeper.stderr.read().decode(errors="replace").strip() if keeper.stderr is not None else ""
        last = words.splitlines()[-1] if words else f"its keeper ended with status {keeper.returncode}"
        message = f"the embedded PostgreSQL in {self._folder.path} can't be started: {last}"
        raise EmbeddedPostgresError(message)

    def _ensure_database(self) -> str:
        with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=10) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (_NAME,)).fetchone() is None:
                connection.execute(f"CREATE DATABASE {_NAME}")
        return self._url(_NAME)

    def _url(self, database: str) -> str:
        password = self._folder.password.read_text(encoding="utf-8")
        directory = quote(str(self._folder.socket_directory()), safe="")
        return f"postgresql://{_NAME}:{password}@/{database}?host={directory}&port={PORT}"

    def _reap(self) -> None:
        """After our lease is gone: wait for the server's end, unless others use it."""
        deadline = time.monotonic() + _PATIENCE_AT_EXIT
        # A folder that was removed under us is no trouble: the keeper has its lock files open and stops the server.
        with suppress(FileNotFoundError):
            while time.monotonic() < deadline and not self._is_used_by_others():
                if not self._has_keeper():
                    if self._folder.socket_directory() is None:
                        break
                    # The keeper was killed: another one stops the server, or tidies up after it.
                    self._leave_keeper()
                    self._keeper = self._start_keeper()
                time.sleep(_LOOK)
        self._leave_keeper()
        _left_behind[:] = [each for each in _left_behind if each.poll() is None]

    def _has_keeper(self) -> bool:
        """Whether a keeper is at work, or ours about to be."""
        return _is_held(self._folder.keeper) or (self._keeper is not None and self._keeper.poll() is None)

    def _leave_keeper(self) -> None:
        """Listen to our keeper no more, if we had one."""
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            if keeper.stderr is not None:
                keeper.stderr.close()
            _left_behind.append(keeper)

    def _is_used_by_others(self) -> bool:
        """Whether somebody holds a lease. While the server is being stopped, its keeper does, alone: that is no use."""
        with closing(FileLock(self._folder.leases)) as lease:
            return not lease.try_exclusive() and lease.try_shared()


class _Progress:
    """A line in the log now and then about something that takes its time."""

    def __init__(self, event: str) -> None:
        self._event = event
        self._next = time.monotonic() + _REPORT

    def report(self, **fields: object) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _REPORT
            _log.info(self._event, **fields)


def _wait(attempt: Callable[[], bool], event: str) -> None:
    """Wait for a lock, as long as it takes: the kernel takes it from a holder that dies."""
    progress = _Progress(event)
    while not attempt():
        progress.report()
        time.sleep(_LOOK)


def _is_held(path: Path) -> bool:
    """Whether a lock is held by anybody."""
    with closing(FileLock(path)) as lock:
        return not lock.try_exclusive()
