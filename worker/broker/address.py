"""Where the broker is: `FUMA_BROKER_URL` read once, for pika and for kombu, and shown without its credentials.

`amqp://user:password@host:port/vhost`, `amqps://…` for TLS, `memory://name` for a broker inside the process.
The query of an AMQP URL takes what RabbitMQ's own URI specification names: `cacertfile`, `certfile` and `keyfile`
(paths of PEM files; without `cacertfile` the system's authorities count), and `heartbeat` (seconds).
"""

import ssl
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

_PORTS = {"amqp": 5672, "amqps": 5671}
_OPTIONS = frozenset({"cacertfile", "certfile", "heartbeat", "keyfile"})

#: Seconds; two missed ones end the connection. RabbitMQ advises 5 to 20.
_HEARTBEAT = 15
_HEARTBEATS = range(1, 601)


class BrokerUrlError(ValueError):
    """The broker's URL can't be used; the message says why and never repeats the URL."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """A broker's URL, taken apart. Its text shows no user name and no password."""

    scheme: str
    host: str
    port: int
    virtual_host: str
    username: str = field(default="guest", repr=False)
    password: str = field(default="guest", repr=False)
    heartbeat: int = _HEARTBEAT
    cacertfile: str | None = None
    certfile: str | None = None
    keyfile: str | None = None

    @classmethod
    def parse(cls, url: str) -> "BrokerAddress":
        """Read a URL; `BrokerUrlError` says what is wrong with it."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            message = "the broker URL can't be read: is its port a number, and is its password percent-encoded?"
            raise BrokerUrlError(message) from None
        if parts.scheme == "memory":
            return cls(scheme="memory", host=unquote(parts.netloc), port=0, virtual_host="/")
        if parts.scheme not in _PORTS:
            message = "the broker URL must begin with amqp://, amqps:// or memory://"
            raise BrokerUrlError(message)
        options = _options(parts.query)
        return cls(
            scheme=parts.scheme,
            host=parts.hostname or "localhost",
            port=_PORTS[parts.scheme] if port is None else port,
            virtual_host="/" if parts.path in {"", "/"} else unquote(parts.path[1:]),
            username="guest" if parts.username is None else unquote(parts.username),
            password="guest" if parts.password is None else unquote(parts.password),
            heartbeat=_heartbeat(options.get("heartbeat")),
            cacertfile=options.get("cacertfile"),
            certfile=options.get("certfile"),
            keyfile=options.get("keyfile"),
        )

    @property
    def in_memory(self) -> bool:
        """Whether the broker lives in this process only."""
        return self.scheme == "memory"

    @property
    def encrypted(self) -> bool:
        """Whether the connection is TLS."""
        return self.scheme == "amqps"

    def tls_context(self) -> ssl.SSLContext:
        """Make the context that verifies the server, and shows our certificate where one is given."""
        try:
            context = ssl.create_default_context(cafile=self.cacertfile)
            if self.certfile is not None:
                context.load_cert_chain(self.certfile, self.keyfile)
        except OSError as error:
            message = f"a certificate file of the broker URL can't be used: {error.strerror or type(error).__name__}"
            raise BrokerUrlError(message) from None
        return context

    def __str__(self) -> str:
        """Show the address without credentials."""
        if self.in_memory:
            return f"memory://{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{'' if self.virtual_host == '/' else self.virtual_host}"


def _options(query: str) -> dict[str, str]:
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown:
        message = f"the broker URL has an unknown option {unknown[0]!r}; known are {', '.join(sorted(_OPTIONS))}"
        raise BrokerUrlError(message)
    return options


def _heartbeat(text: str | None) -> int:
    if text is None:
        return _HEARTBEAT
    if not text.isascii() or not text.isdigit() or int(text) not in _HEARTBEATS:
        message = f"the broker URL's heartbeat must be {_HEARTBEATS.start} to {_HEARTBEATS.stop - 1} seconds"
        raise BrokerUrlError(message)
    return int(text)
