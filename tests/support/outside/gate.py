"""A TCP gate before a server: closed, nobody listens; opened, it passes bytes through; cut, it breaks what passes."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Self
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests.support.outside.processes import free_port

_CHUNK = 65536


class Gate:
    """Stands before a server of this machine, on a port of its own. Closed at first."""

    def __init__(self, target: tuple[str, int] | str) -> None:
        """Stand before `target`: host and port, or the path of a Unix socket."""
        self._target = target
        self.port = free_port()
        self._listening: socket.socket | None = None
        self._passing: set[socket.socket] = set()
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Stay closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Shut it for good."""
        self.shut()

    def open(self) -> None:
        """Listen, and let through."""
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", self.port))
        listening.listen(64)
        self._listening = listening
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def shut(self) -> None:
        """Stop listening, and break every connection that passes."""
        if self._listening:
            # Only a shutdown wakes the thread that waits in accept().
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None
        with self._lock:
            passing, self._passing = self._passing, set()
        for each in passing:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                client, _ = listening.accept()
            except OSError:
                return
            try:
                server = self._dial()
            except OSError:
                client.close()
                continue
            with self._lock:
                self._passing |= {client, server}
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()

    def _dial(self) -> socket.socket:
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            return server
        return socket.create_connection(self._target, timeout=5)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        source.settimeout(None)
        while chunk := source.recv(_CHUNK):
            sink.sendall(chunk)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def gate_before(url: str) -> Iterator[tuple[Gate, str]]:
    """Stand before the server of a URL, which may name a Unix socket as PostgreSQL's do; gives gate and URL by it."""
    parts = urlsplit(url)
    parameters = dict(parse_qsl(parts.query))
    host = parts.hostname or parameters.pop("host", "127.0.0.1")
    port = parts.port or int(parameters.pop("port", "5432"))
    credentials, at, _ = parts.netloc.rpartition("@")
    with Gate(f"{host}/.s.PGSQL.{port}" if host.startswith("/") else (host, port)) as gate:
        through = parts._replace(netloc=f"{credentials}{at}127.0.0.1:{gate.port}", query=urlencode(parameters))
        yield gate, through.geturl()
