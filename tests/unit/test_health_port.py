"""The health pages' port answers whatever is sent to it, or hangs up; its thread and its log stay as they were."""

import socket
import threading
from collections.abc import Iterator

import httpx
import pytest

from tests.support.outside.processes import free_port
from worker.health import Health, serve_health

_HOSTILE = (
    b"\r\n\r\n",
    b"\x00" * 100,
    b"\x16\x03\x01\x02\x00\x01\x00\x01",
    b"GET\r\n\r\n",
    b"GET /healthz\r\n\r\n",
    b"GET /%00%ff HTTP/1.1\r\n\r\n",
    b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET /healthz HTTP/9.9\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + b"".join(b"a%d: b\r\n" % n for n in range(300)) + b"\r\n",
    b"GET /healthz HTTP/1.1\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
    b"GET /metrics?name[]=\xff HTTP/1.1\r\nAccept-Encoding: gzip\r\n\r\n",
    b"GET http://example.com/healthz HTTP/1.1\r\nHost: \r\nX: a\r\n\tb\r\n\r\n",
    b"TRACE / HTTP/1.1\r\n\r\n",
)


@pytest.fixture
def port() -> Iterator[int]:
    port = free_port()
    with serve_health(port, Health()):
        yield port


def test_whatever_is_sent_to_it_the_pages_are_served(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for sent in _HOSTILE:
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            try:
                connection.sendall(sent)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass
        assert httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=10).status_code == httpx.codes.OK
    assert "Traceback" not in capfd.readouterr().err


def test_who_sends_nothing_does_not_keep_others_waiting(port: int) -> None:
    silent = [socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(50)]
    assert httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=10).status_code == httpx.codes.SERVICE_UNAVAILABLE
    for each in silent:
        each.close()
    assert threading.active_count() < 500
