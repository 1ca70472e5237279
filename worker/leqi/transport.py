"""HTTP with every bound in place: time as a whole, size, redirects, proxies, compression.

Both the claim service and the listing gateway are asked through it.
"""

import hashlib
import ssl
import time
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpcore
import httpx
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

MEBIBYTE: Final = 1024 * 1024
_CONNECTIONS: Final = 32
_GZIP_OR_ZLIB: Final = 47  # zlib's window bits: recognise either header
_COMPRESSED: Final = frozenset({"gzip", "x-gzip", "deflate"})
_LONGEST_CAUSE: Final = 120
_LAST_PORT: Final = 65535

_deadline: ContextVar[float | None] = ContextVar("leqi_deadline", default=None)


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is asked, in the words of a message to an operator."""

    name: str
    setting: str
    """The setting that holds its address."""


@dataclass(frozen=True, slots=True)
class TimeLimits:
    """Seconds. Name resolution alone is the system's and not bounded here."""

    connect: float = 5.0
    overall: float = 10.0
    """From the call to the last byte of the answer, waiting for a free connection included."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer that came whole, whatever it says; `content` is decompressed."""

    status: int
    content: bytes


class FetchError(Exception):
    """No whole answer came. The text is for operators; nothing is known of the call's effect."""

    def __init__(self, detail: str, *, too_large: bool = False) -> None:
        """Say what happened; `too_large`: there was an answer, longer than the limit."""
        super().__init__(detail)
        self.too_large = too_large


class BoundedHttp:
    """Asks one peer; may be shared between threads. Connections are kept and reused.

    TLS certificates are verified, redirects aren't followed, no proxy or certificate store of
    the environment is used, no cookie is kept.
    """

    def __init__(
        self,
        peer: Peer,
        *,
        limits: TimeLimits | None = None,
        largest: int = MEBIBYTE,
        tls: ssl.SSLContext | None = None,
        pins: Collection[str] = (),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare without connecting.

        `largest`: bytes of an answer, before and after decompression.
        `tls` replaces the usual certificate authorities, `transport` the network (tests).
        `pins`: SHA-256, in hex, of the public keys that the peer's certificate may have; with another one
        nothing is sent. None: any that is trusted.
        """
        self._peer = peer
        self._limits = limits or TimeLimits()
        self._largest = largest
        self._client = httpx.Client(
            transport=transport or _DeadlineTransport(tls, pins),
            timeout=httpx.Timeout(self._limits.overall, connect=self._limits.connect),
            follow_redirects=False,
            trust_env=False,
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={
                "User-Agent": "fuma",
                "Accept": "application/json",
                "Accept-Encoding": "identity",
            },
        )

    def get(self, base_url: str, path: str, params: Mapping[str, str] | None = None) -> Fetched:
        """Ask for `path` below `base_url`. Raises `FetchError`, or `ValueError` by `address`."""
        url = address(base_url, path)
        return self._fetch(self._client.build_request("GET", url, params=params))

    def post(self, url: httpx.URL, content: bytes, headers: Mapping[str, str]) -> Fetched:
        """Send `content`. Raises `FetchError`; then it may have arrived or not.

        Raises `ValueError` if a header's value isn't ASCII: nothing was sent.
        """
        return self._fetch(
            self._client.build_request("POST", url, content=content, headers=headers),
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _fetch(self, request: httpx.Request) -> Fetched:
        with _within(self._limits.overall) as end, self._explained():
            response = self._client.send(request, stream=True)
            try:
                raw = self._bounded(response, end)
            finally:
                response.close()
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        return Fetched(response.status_code, self._inflated(raw, encoding))

    def _bounded(self, response: httpx.Response, end: float) -> bytes:
        content = bytearray()
        for chunk in response.iter_raw():
            content += chunk
            if len(content) > self._largest:
                raise self._too_large()
            if time.monotonic() > end:
                raise httpx.ReadTimeout(message="overall limit")
        return bytes(content)

    def _inflated(self, raw: bytes, encoding: str) -> bytes:
        """Undo a compression that nobody asked for, without trusting its size."""
        if encoding in {"", "identity"}:
            return raw
        if encoding not in _COMPRESSED:
            detail = f"{self._peer.name} answered in a compression that can't be read"
            raise FetchError(detail)
        inflater = zlib.decompressobj(_GZIP_OR_ZLIB)
        try:
            content = inflater.decompress(raw, self._largest + 1)
        except zlib.error:
            content = b""
        if len(content) > self._largest:
            raise self._too_large()
        if not inflater.eof:
            detail = f"{self._peer.name}'s answer is damaged (its compression doesn't open)"
            raise FetchError(detail)
        return content

    def _too_large(self) -> FetchError:
        detail = f"{self._peer.name}'s answer is longer than {self._largest} bytes"
        return FetchError(detail, too_large=True)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what the network did into one line that says what to look at."""
        name, setting = self._peer.name, self._peer.setting
        try:
            yield
        except httpx.ConnectTimeout:
            detail = f"no connection to {name} within {self._limits.connect:g} s: check the line and {setting}"
        except (httpx.ConnectError, httpx.UnsupportedProtocol) as error:
            cause = " ".join(str(error).split())[:_LONGEST_CAUSE]
            detail = f"no connection to {name} ({cause}): check the line and {setting}"
        except httpx.PoolTimeout:
            detail = f"every connection to {name} is busy"
        except httpx.TimeoutException:
            detail = f"{name} gave no whole answer within {self._limits.overall:g} s"
        except httpx.LocalProtocolError:
            detail = f"the call to {name} could not be put into HTTP: check the unit ids"
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            detail = f"the connection to {name} broke before its answer ({type(error).__name__})"
        else:
            return
        # Outside the handler: the library's error may quote the request's headers.
        raise FetchError(detail)


def address(base_url: str, path: str) -> httpx.URL:
    """Return `path` below `base_url`, which may have a path and a trailing slash of its own.

    Raises `ValueError`, without repeating it, if `base_url` is no plain http(s) address.
    """
    try:
        base = httpx.URL(base_url.strip())
        url = httpx.URL(base_url.strip().rstrip("/") + path)
        base.host.encode("idna")
    except (httpx.InvalidURL, UnicodeError):
        message = "not an address"
        raise ValueError(message) from None
    if base.port is not None and not 0 < base.port <= _LAST_PORT:
        message = f"not an address: ports end at {_LAST_PORT}"
        raise ValueError(message)
    if base.scheme not in {"http", "https"} or not base.host:
        message = "the address must begin with http:// or https:// and name a host"
        raise ValueError(message)
    if base.query or base.fragment or "?" in base_url or "#" in base_url:
        message = "the address must end with its path: no ? and no #"
        raise ValueError(message)
    return url


@contextmanager
def _within(seconds: float) -> Iterator[float]:
    """Bound every network operation of this thread's call by one common end."""
    end = time.monotonic() + seconds
    token = _deadline.set(end)
    try:
        yield end
    finally:
        _deadline.reset(token)


class _DeadlineTransport(httpx.HTTPTransport):
    """httpx's transport, whose operations also end when the call as a whole must.

    httpx limits each read by itself, so a peer that sends a byte now and then could hold a call
    for days.
    """

    def __init__(self, tls: ssl.SSLContext | None, pins: Collection[str]) -> None:
        context = tls or httpx.create_ssl_context(trust_env=False)
        super().__init__(verify=context, trust_env=False)
        # httpx doesn't pass a network backend on, so its pool is replaced by an equal one.
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=_CONNECTIONS,
            max_keepalive_connections=_CONNECTIONS,
            keepalive_expiry=5.0,
            network_backend=_DeadlineBackend(pins),
        )


class _DeadlineBackend(httpcore.SyncBackend):
    def __init__(self, pins: Collection[str]) -> None:
        self._pins = pins

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _remaining(timeout, httpcore.ConnectTimeout)
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return _DeadlineStream(stream, self._pins)


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream, pins: Collection[str]) -> None:
        self._stream = stream
        self._pins = pins

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _remaining(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _remaining(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        timeout = _remaining(timeout, httpcore.ConnectTimeout)
        secured = self._stream.start_tls(ssl_context, server_hostname, timeout)
        if self._pins:
            # Before the first byte of a request goes out.
            _require_pinned(secured, self._pins)
        return _DeadlineStream(secured, self._pins)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore declares it
        return self._stream.get_extra_info(info)


def public_key_pin(certificate: bytes) -> str:
    """Give the SHA-256, in hex, of a DER certificate's public key with its kind (SubjectPublicKeyInfo)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _require_pinned(stream: httpcore.NetworkStream, pins: Collection[str]) -> None:
    """Close a connection whose peer has another key; raises `httpcore.ConnectError`."""
    secured = stream.get_extra_info("socket")
    certificate = secured.getpeercert(binary_form=True) if isinstance(secured, ssl.SSLSocket) else None
    pin = "none" if certificate is None else public_key_pin(certificate)
    if pin not in pins:
        stream.close()
        message = f"its key is none of FUMA_LEQI_PUBLIC_KEY_PINS: SHA-256 {pin}"
        raise httpcore.ConnectError(message)


def _remaining(timeout: float | None, expired: type[httpcore.TimeoutException]) -> float | None:
    """Return the smaller of `timeout` and what is left of the call; raise if nothing is."""
    end = _deadline.get()
    if end is None:
        return timeout
    left = end - time.monotonic()
    if left <= 0:
        raise expired
    return left if timeout is None else min(timeout, left)
