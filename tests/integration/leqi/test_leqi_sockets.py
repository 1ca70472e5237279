"""The client against real sockets that behave badly."""

import datetime as dt
import hashlib
import ipaddress
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from schemas.vocabulary import ChannelMode, Environment
from worker.leqi.client import LeqiClient
from worker.leqi.port import Answer, ClaimCall, Refused, Unknown
from worker.leqi.transport import TimeLimits

CALL = ClaimCall("91440300587908164C", ChannelMode.SELF_USE, "U000001", 1000, "S" * 46)
REFUSAL = b'{"httpStatusCode":"4033","body":null}'


def read_request(connection: socket.socket) -> bool:
    """Read to the end of the body (a close with bytes unread would cut the answer off); tell whether one came."""
    received = b""
    while True:
        head, end, body = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: *([0-9]+)", head)
        if end and length and len(body) >= int(length.group(1)):
            return True
        more = connection.recv(65536)
        if not more:
            return False
        received += more


@contextmanager
def server(behave: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """A server that reads one request of each connection and then behaves."""
    over = threading.Event()
    threads: list[threading.Thread] = []

    def attend(accepted: socket.socket) -> None:
        try:
            connection = tls.wrap_socket(accepted, server_side=True) if tls else accepted
        except OSError:
            accepted.close()
            return  # the client didn't trust us
        with connection:
            if not read_request(connection):
                return
            try:
                behave(connection)
            except OSError:
                return  # the client hung up, as some of these tests want

    def serve(listener: socket.socket) -> None:
        while not over.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threads.append(threading.Thread(target=attend, args=(connection,)))
            threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        accepting = threading.Thread(target=serve, args=(listener,))
        accepting.start()
        try:
            yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            over.set()
            accepting.join()
            for thread in threads:
                thread.join()


def asked(url: str, overall: float = 10.0, tls: ssl.SSLContext | None = None, pins: Collection[str] = ()) -> Answer:
    limits = TimeLimits(connect=5.0, overall=overall)
    client = LeqiClient(url, "D000001", bytes(16), Environment.SANDBOX, limits=limits, tls=tls, pins=pins)
    try:
        return client.claim(CALL)
    finally:
        client.close()


def whole(connection: socket.socket) -> None:
    # Says that it closes: a connection that is dropped while the next call goes out makes that call unknown.
    connection.sendall(
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(REFUSAL), REFUSAL)
    )


def dripping(prefix: bytes) -> Callable[[socket.socket], None]:
    """Send a byte now and then for longer than any limit on one read would notice."""

    def drip(connection: socket.socket) -> None:
        connection.sendall(prefix)
        for _ in range(600):
            connection.sendall(b"x")
            time.sleep(0.1)

    return drip


def test_a_whole_answer_is_read() -> None:
    with server(whole) as url:
        answer = asked(url)
    assert isinstance(answer, Refused)
    assert answer.code == "4033"


@pytest.mark.parametrize(
    "prefix",
    [b"", b"HTTP/1.1 200 OK\r\nX-Long: ", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"],
)
def test_a_peer_that_drips_cannot_hold_a_call(prefix: bytes) -> None:
    with server(dripping(prefix)) as url:
        answer = asked(url, overall=0.5)
    assert isinstance(answer, Unknown)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00" * 1000,
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSet-Cookie: \xff\xfe=;;;\r\nContent-Encoding: \xff\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000,
        b"HTTP/1.1 999 \xff\r\nContent-Length: 0\r\n\r\n",
    ],
)
def test_cut_and_garbled_answers_are_unknown(content: bytes) -> None:
    with server(lambda connection: connection.sendall(content)) as url:
        assert isinstance(asked(url), Unknown)


def test_a_closed_port_is_unknown_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    answer = asked(url)
    assert isinstance(answer, Unknown)
    assert "no connection to LeQi" in answer.detail
    assert "Connection refused" in answer.detail


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with server(whole) as url:
        assert isinstance(asked(url), Refused)


def test_one_client_serves_many_threads() -> None:
    answers: list[Answer] = []
    with server(whole) as url:
        client = LeqiClient(url, "D000001", bytes(16), Environment.SANDBOX)
        threads = [threading.Thread(target=lambda: answers.append(client.claim(CALL))) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.close()
    assert [type(answer) for answer in answers] == [Refused] * 16


# ------------------------------------------------------------------------------------------------- TLS


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key and a certificate for 127.0.0.1 that nobody signed but itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "LeQi of this test")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2120, 1, 1, tzinfo=dt.UTC))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "pair.pem"
    file.write_bytes(private + signed.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(
    serving: ssl.SSLContext, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the environment would have us trust counts for nothing.
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(whole, serving) as url:
        answer = asked(url)
    assert isinstance(answer, Unknown)
    assert "certificate" in answer.detail


def test_a_certificate_that_was_handed_over_is_trusted(serving: ssl.SSLContext, certificate: Path) -> None:
    with server(whole, serving) as url:
        assert isinstance(asked(url, tls=ssl.create_default_context(cafile=certificate)), Refused)


def pin_of(pair: Path) -> str:
    """Give the pin of the certificate, from its private key."""
    key = serialization.load_pem_private_key(pair.read_bytes(), password=None).public_key()
    told = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(told).hexdigest()


def test_a_pinned_key_is_spoken_to(serving: ssl.SSLContext, certificate: Path) -> None:
    pins = {pin_of(certificate), "ab" * 32}
    with server(whole, serving) as url:
        assert isinstance(asked(url, tls=ssl.create_default_context(cafile=certificate), pins=pins), Refused)


def test_another_key_than_the_pinned_one_gets_nothing(serving: ssl.SSLContext, certificate: Path) -> None:
    """Not a byte of the request leaves us, though the certificate itself is trusted."""
    attended: list[bytes] = []

    def note(connection: socket.socket) -> None:
        attended.append(b"a request")
        whole(connection)

    with server(note, serving) as url:
        answer = asked(url, tls=ssl.create_default_context(cafile=certificate), pins={"ab" * 32})
    assert isinstance(answer, Unknown)
    assert "FUMA_LEQI_PUBLIC_KEY_PINS" in answer.detail
    assert pin_of(certificate) in answer.detail
    assert attended == []


def test_a_peer_that_drips_over_tls_cannot_hold_a_call(serving: ssl.SSLContext, certificate: Path) -> None:
    with server(dripping(b"HTTP/1.1 200 OK\r\nX-Long: "), serving) as url:
        answer = asked(url, overall=2.0, tls=ssl.create_default_context(cafile=certificate))
    assert isinstance(answer, Unknown)
    assert "no whole answer within 2 s" in answer.detail
