"""The proxy of the run of chaos: what it does to a connection is what both of its sides see."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.support.chaos.proxy import Proxy, Way
from tests.support.waiting import wait_until

SHORT = 0.3


@pytest.fixture
def echo() -> Iterator[tuple[int, list[socket.socket]]]:
    """A server that sends back what comes; gives its port and the sides of its connections."""
    listening = socket.create_server(("127.0.0.1", 0))
    sides: list[socket.socket] = []

    def serve(side: socket.socket) -> None:
        with suppress(OSError):
            while data := side.recv(1024):
                side.sendall(data)
            side.shutdown(socket.SHUT_WR)

    def accept() -> None:
        while True:
            try:
                side, _ = listening.accept()
            except OSError:
                return
            sides.append(side)
            threading.Thread(target=serve, args=(side,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield listening.getsockname()[1], sides
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for side in sides:
        side.close()


@pytest.fixture
def proxy(echo: tuple[int, list[socket.socket]]) -> Iterator[Proxy]:
    with Proxy(echo[0]) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: Proxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=10) as client:
        client.sendall(b"first")
        assert client.recv(1024) == b"first"
        yield client


def hears_nothing(side: socket.socket) -> None:
    side.settimeout(SHORT)
    with pytest.raises(TimeoutError):
        side.recv(1024)
    side.settimeout(10)


def is_broken(side: socket.socket) -> bool:
    try:
        side.sendall(b"x")
    except OSError:
        return True
    return False


def test_it_passes_bytes_on_and_ends_with_its_sides(proxy: Proxy, client: socket.socket) -> None:
    client.sendall(b"x" * 300_000)
    came = 0
    while came < 300_000:
        came += len(client.recv(65536))
    client.close()
    wait_until(lambda: proxy.links == 0, "the proxy's end of the connection")


def test_a_cut_resets_both_sides(echo: tuple[int, list[socket.socket]], proxy: Proxy, client: socket.socket) -> None:
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1024)
    wait_until(lambda: proxy.links == 0, "the proxy's end of the connection")
    wait_until(lambda: is_broken(echo[1][0]), "the reset of the server's side")


@pytest.mark.parametrize("ways", [(Way.UP,), (Way.DOWN,), (Way.UP, Way.DOWN)])
def test_what_is_stalled_comes_when_it_is_healed(proxy: Proxy, client: socket.socket, ways: tuple[Way, ...]) -> None:
    proxy.stall(*ways)
    client.sendall(b"second")
    hears_nothing(client)
    proxy.heal()
    assert client.recv(1024) == b"second"


def test_a_stalled_connection_can_be_cut(proxy: Proxy, client: socket.socket) -> None:
    proxy.stall(Way.UP)
    client.sendall(b"second")
    hears_nothing(client)
    proxy.cut()
    with pytest.raises(ConnectionResetError):
        client.recv(1024)


def test_a_slow_one_is_late(proxy: Proxy, client: socket.socket) -> None:
    proxy.slow(SHORT * 2)
    client.sendall(b"second")
    hears_nothing(client)
    assert client.recv(1024) == b"second"


def test_half_open_its_client_hears_nothing_and_its_server_an_end(
    echo: tuple[int, list[socket.socket]], proxy: Proxy, client: socket.socket
) -> None:
    proxy.half_open(Way.UP)
    client.sendall(b"into nothing")
    hears_nothing(client)
    assert echo[1][0].recv(1024) == b""
    proxy.heal()
    with pytest.raises(ConnectionResetError):
        client.recv(1024)


def test_half_open_its_server_hears_nothing_and_its_client_an_end(
    echo: tuple[int, list[socket.socket]], proxy: Proxy, client: socket.socket
) -> None:
    proxy.half_open(Way.DOWN)
    assert client.recv(1024) == b""
    echo[1][0].sendall(b"into nothing")
    assert proxy.links == 1
    proxy.heal()
    wait_until(lambda: proxy.links == 0, "the proxy's end of the connection")


def test_who_finds_no_server_is_reset() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]

    def listen(port: int) -> None:
        # The reset may come while it still connects.
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.recv(1024)

    with Proxy(port) as proxy, pytest.raises(ConnectionResetError):
        listen(proxy.port)
