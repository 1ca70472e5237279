"""What a failure of the broker means: wait, or give up with one line that says what to do.

No line names a user or a password; RabbitMQ's own texts do name the user, so that part is cut out.
"""

import re

from worker.broker.address import BrokerAddress

ACCESS_REFUSED = 403
COMMAND_INVALID = 503
NOT_FOUND = 404
PRECONDITION_FAILED = 406
NOT_ALLOWED = 530
_FIRST_ERROR = 300

_CLOSED_BY_BROKER = re.compile(r"ConnectionClosedByBroker: \((\d+)\) (['\"])(.*?)\2")
_USER = re.compile(r" (?:for|by) user '[^']*'|user '[^']*'")
# OpenSSL's own words, as Python has them: which check failed.
_UNTRUSTED = re.compile(r"(CERTIFICATE_VERIFY_FAILED\] certificate verify failed: [^(]+?) ?\(_ssl")
_LAST_ERROR = re.compile(r"last exception - (.*?)(?:; first exception|$)")


def reply_code(error: BaseException) -> int | None:
    """Give the code with which the broker closed the channel or connection; None where it wasn't the broker."""
    closed = _closed_by_broker(error)
    return None if closed is None else closed[0]


def is_error(reason: BaseException) -> bool:
    """Tell a closing by the broker for a reason from one that we asked for."""
    return (reply_code(reason) or 0) >= _FIRST_ERROR


def describe(error: BaseException) -> str:
    """Put a failure into one short line for the log."""
    closed = _closed_by_broker(error)
    if closed is not None:
        return f"{closed[0]} {closed[1]}"
    # What led to it stands in the representation of some of pika's exceptions only.
    last = _LAST_ERROR.search(_one_line(repr(error)))
    return (last.group(1) if last else _one_line(str(error))) or type(error).__name__


def refusal_at_login(error: BaseException, address: BrokerAddress) -> str | None:
    """Say why no later attempt to connect can succeed; None where one may."""
    untrusted = _UNTRUSTED.search(_one_line(repr(error)))
    if untrusted is not None:
        return (
            f"the broker {address} shows a certificate that isn't trusted ({untrusted.group(1).replace(']', ':')}):"
            " check cacertfile and the host in FUMA_BROKER_URL"
        )
    closed = _closed_by_broker(error)
    if closed is None:
        return None
    code, text = closed
    if code == COMMAND_INVALID and "unknown exchange type" in text:
        # Not at login, but RabbitMQ closes the whole connection for it.
        return (
            f"the broker {address} can't shard ({text}): enable its plugin with"
            " `rabbitmq-plugins enable rabbitmq_consistent_hash_exchange` on every node, or set FUMA_SHARDS=0"
        )
    if code == ACCESS_REFUSED:
        return f"the broker {address} refuses the user name or the password of FUMA_BROKER_URL"
    # The other reasons of NOT_ALLOWED are limits on connections, which pass.
    if code == NOT_ALLOWED and "limit" not in text:
        return (
            f"the broker {address} has no virtual host {address.virtual_host!r} for this user ({text}):"
            " create it, or give the user permissions in it"
        )
    return None


def refusal_of_topology(error: BaseException, address: BrokerAddress) -> str | None:
    """Say why what must stand on the broker can't be declared there; None where it may succeed later."""
    closed = _closed_by_broker(error)
    if closed is None:
        return None
    code, text = closed
    if code == PRECONDITION_FAILED:
        return (
            f"the broker {address} holds a queue or exchange of Fuma's name with other settings ({text}):"
            " use a virtual host of its own, or delete it there once it is empty"
        )
    if code == ACCESS_REFUSED:
        return (
            f"the broker {address} doesn't let this user set up its queues ({text}):"
            " give it configure, write and read permission for names that begin with fuma"
        )
    return None


def refusal_of_environment(found: str, address: BrokerAddress) -> str:
    """Say that the broker belongs to the other environment."""
    return (
        f"the broker {address} serves the environment {found!r} (it holds the exchange fuma.environment.{found}):"
        " use another virtual host, or set FUMA_ENVIRONMENT"
    )


def _closed_by_broker(error: BaseException) -> tuple[int, str] | None:
    """Find the reply code and text with which the broker closed a channel or connection.

    pika's and py-amqp's exceptions carry them under the same names. While a connection opens, pika hands the broker's
    answer on as text inside its own guess at the reason. The guess alone proves nothing: a node that dies during the
    handshake looks the same.
    """
    code = getattr(error, "reply_code", None)
    if code:
        return int(code), _without_user(str(getattr(error, "reply_text", "")))
    found = _CLOSED_BY_BROKER.search(str(error))
    return None if found is None else (int(found.group(1)), _without_user(found.group(3)))


def _without_user(text: str) -> str:
    return _USER.sub("", _one_line(text))


def _one_line(text: str) -> str:
    return " ".join(text.split())
