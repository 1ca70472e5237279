"""A TCP proxy before a server, that cuts, stalls, slows or half-opens the connections that pass through it."""

import contextlib
import itertools
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Self

_CHUNK = 65536
_RESET = struct.pack("ii", 1, 0)
_STEP = 0.05


class Way(StrEnum):
    """A direction, as the client sees it."""

    UP = "up"
    DOWN = "down"


@dataclass
class _Link:
    """One connection: the client's side and the server's."""

    client: socket.socket
    server: socket.socket
    #: Both sides are to be closed by a reset.
    reset: bool = False
    #: The side that was left open, its peer gone: what it sends falls into nothing, and nothing comes.
    left_open: Way | None = None
    ended: set[Way] = field(default_factory=set)

    def side(self, way: Way) -> socket.socket:
        """Give the side from which bytes come that go this way."""
        return self.client if way is Way.UP else self.server


class Proxy:
    """Listens on a port of its own from the start; a context manager."""

    def __init__(self, port: int) -> None:
        """Stand before the server at this port of 127.0.0.1."""
        self._target = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listening.getsockname()[1]
        self._by_key: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._stalled: set[Way] = set()
        self._delay = 0.0
        self._closed = False
        threading.Thread(target=self._accept, name="proxy-accept", daemon=True).start()

    def __enter__(self) -> Self:
        """Nothing more: it listens already."""
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more, and break what passes."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.heal()
        self.cut()

    @property
    def links(self) -> int:
        """How many connections pass."""
        with self._lock:
            return len(self._by_key)

    def cut(self) -> None:
        """Reset every connection, towards both sides."""
        for link in self._present():
            link.reset = True
            for side in (link.client, link.server):
                # Wakes the thread that reads from it, which then closes by a reset.
                with contextlib.suppress(OSError):
                    side.shutdown(socket.SHUT_RD)

    def stall(self, *ways: Way) -> None:
        """Let no byte pass in these directions, until `heal`; connections stay open."""
        self._stalled |= set(ways)

    def slow(self, delay: float) -> None:
        """Let each chunk wait for `delay` seconds, until `heal`."""
        self._delay = delay

    def half_open(self, left_open: Way) -> None:
        """Take away one side of every connection, without a word to the other, which stays open and silent.

        `UP` leaves the clients open whose server is gone, `DOWN` the servers whose client is gone; until `heal`.
        """
        for link in self._present():
            link.left_open = left_open
            gone = link.server if left_open is Way.UP else link.client
            with contextlib.suppress(OSError):
                gone.shutdown(socket.SHUT_RDWR)

    def heal(self) -> None:
        """Let everything pass again; what was half open is reset."""
        self._stalled.clear()
        self._delay = 0.0
        for link in self._present():
            if link.left_open is not None:
                link.reset = True
                with contextlib.suppress(OSError):
                    link.side(link.left_open).shutdown(socket.SHUT_RD)

    def _present(self) -> list[_Link]:
        with self._lock:
            return list(self._by_key.values())

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._join, args=(client,), name="proxy-join", daemon=True).start()

    def _join(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            _close(client, reset=True)
            return
        server.settimeout(None)
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        link, key = _Link(client, server), next(self._numbers)
        with self._lock:
            self._by_key[key] = link
        for way in Way:
            threading.Thread(target=self._pass_on, args=(key, link, way), name=f"proxy-{way}", daemon=True).start()

    def _pass_on(self, key: int, link: _Link, way: Way) -> None:
        source, sink = (link.client, link.server) if way is Way.UP else (link.server, link.client)
        with contextlib.suppress(OSError):
            while chunk := source.recv(_CHUNK):
                if not self._may_pass(link, way):
                    break
                if link.left_open is None:
                    sink.sendall(chunk)
        self._end(key, link, way, sink)

    def _may_pass(self, link: _Link, way: Way) -> bool:
        if self._delay:
            time.sleep(self._delay)
        while way in self._stalled and not link.reset:
            time.sleep(_STEP)
        return not link.reset

    def _end(self, key: int, link: _Link, way: Way, sink: socket.socket) -> None:
        """Hand an end on, unless one side is to stay open; when both ways have ended, close."""
        # A stalled way hides also the end of its connection.
        while way in self._stalled and not link.reset:
            time.sleep(_STEP)
        if link.left_open is None and not link.reset:
            with contextlib.suppress(OSError):
                sink.shutdown(socket.SHUT_WR)
        with self._lock:
            link.ended.add(way)
            if len(link.ended) < len(Way):
                return
            self._by_key.pop(key, None)
        _close(link.client, reset=link.reset)
        _close(link.server, reset=link.reset)


def _close(side: socket.socket, *, reset: bool) -> None:
    with contextlib.suppress(OSError):
        if reset:
            side.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        side.close()
