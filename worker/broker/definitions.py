"""RabbitMQ's definitions file: what stands on the broker, and who may do what with it, each no more than it needs.

| user | may |
| --- | --- |
| `fuma-worker` | declare and use exactly what `worker.broker.topology` names; publish events, not requests |
| `fuma-upstream` | publish requests: for an invoicing system or a scheduler |
| `fuma-downstream` | read events, from queues of its own, `downstream.…`: for who needs the answers |
| `fuma-monitoring` | read events, from queues of its own, `monitoring.…`; see the management's pages |
| `fuma-operator` | read and redrive the dead letters; publish requests; watch everything |
| `fuma-administrator` | everything |

A queue that is gone or full, or a letter's way back, needs the default exchange: only the operator may use it.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.topics import CONSUMED, EVENTS, PUBLISHED, REQUESTS, Topic
from schemas.vocabulary import Environment
from worker.broker.topology import (
    DEAD_LETTERS,
    EXCHANGE,
    EXCHANGES,
    QUEUES,
    SHARDED,
    environment_exchange,
    shard_exchange,
    shard_queue,
)

_NOTHING: Final = "^$"
_ANYTHING: Final = ".*"
#: The name by which permissions mean the exchange without a name, which leads into every queue.
_DEFAULT_EXCHANGE: Final = "amq.default"
#: Queues of a tap (`fuma watch`), which end with its connection.
_WATCHING: Final = r"fuma\.watch\..+"


@dataclass(frozen=True, slots=True)
class BrokerUser:
    """One user: regular expressions on names, and on the routing keys of the exchange `fuma`."""

    name: str
    configure: str
    write: str
    read: str
    topic_write: str
    topic_read: str
    tags: tuple[str, ...] = ()


def _names(*names: str, patterns: Iterable[str] = ()) -> str:
    """Match exactly these names, and those of the patterns."""
    alternatives = [*(name.replace(".", r"\.") for name in names), *patterns]
    return f"^({'|'.join(alternatives)})$"


def _keys(topics: Iterable[Topic]) -> str:
    """Match the routing keys of these topics, with and without a taxpayer id behind."""
    return rf"^({'|'.join(topic.value for topic in topics)})(\..+)?$"


_OURS: Final = _names(
    *(each.name for each in EXCHANGES),
    *(environment_exchange(environment).name for environment in Environment),
    *(queue.name for queue in QUEUES),
    *(shard_exchange(topic).name for topic in SHARDED),
    patterns=[shard_queue(topic, 1).name.replace(".", r"\.").removesuffix("1") + r"\d+" for topic in SHARDED],
)

USERS: Final = (
    BrokerUser("fuma-worker", _OURS, _OURS, _OURS, _keys(PUBLISHED), _keys(CONSUMED)),
    BrokerUser("fuma-upstream", _NOTHING, _names(EXCHANGE), _NOTHING, _keys(REQUESTS), _NOTHING),
    BrokerUser(
        "fuma-downstream",
        _names(patterns=[r"downstream\..+"]),
        _names(patterns=[r"downstream\..+"]),
        _names(EXCHANGE, patterns=[r"downstream\..+"]),
        _NOTHING,
        _keys(EVENTS),
    ),
    BrokerUser(
        "fuma-monitoring",
        _names(patterns=[r"monitoring\..+", _WATCHING]),
        _names(patterns=[r"monitoring\..+", _WATCHING]),
        _names(EXCHANGE, patterns=[r"monitoring\..+", _WATCHING]),
        _NOTHING,
        _keys(EVENTS),
        ("monitoring",),
    ),
    BrokerUser(
        "fuma-operator",
        _names(patterns=[_WATCHING]),
        _names(EXCHANGE, _DEFAULT_EXCHANGE, patterns=[_WATCHING]),
        _names(EXCHANGE, DEAD_LETTERS, patterns=[_WATCHING]),
        _keys(REQUESTS),
        _ANYTHING,
        ("management",),
    ),
    BrokerUser("fuma-administrator", _ANYTHING, _ANYTHING, _ANYTHING, _ANYTHING, _ANYTHING, ("administrator",)),
)


def definitions(passwords: Mapping[str, str], virtual_host: str = "/") -> dict[str, Any]:
    """Describe virtual host, users, permissions, exchanges, queues and bindings as RabbitMQ imports them.

    `passwords` are by user; only their hashes stand in it. A user without one can't log in by password.
    """
    return {
        "vhosts": [{"name": virtual_host}],
        "users": [
            {
                "name": user.name,
                "password_hash": hash_password(passwords[user.name]) if user.name in passwords else "",
                "hashing_algorithm": "rabbit_password_hashing_sha256",
                "tags": list(user.tags),
            }
            for user in USERS
        ],
        "permissions": [
            {
                "user": user.name,
                "vhost": virtual_host,
                "configure": user.configure,
                "write": user.write,
                "read": user.read,
            }
            for user in USERS
        ],
        "topic_permissions": [
            {
                "user": user.name,
                "vhost": virtual_host,
                "exchange": EXCHANGE,
                "write": user.topic_write,
                "read": user.topic_read,
            }
            for user in USERS
        ],
        "exchanges": [
            {
                "name": exchange.name,
                "vhost": virtual_host,
                "type": exchange.kind,
                "durable": True,
                "auto_delete": False,
                "internal": False,
                "arguments": {},
            }
            for exchange in EXCHANGES
        ],
        "queues": [
            {
                "name": queue.name,
                "vhost": virtual_host,
                "durable": True,
                "auto_delete": False,
                "arguments": dict(queue.arguments),
            }
            for queue in QUEUES
        ],
        "bindings": [
            {
                "source": queue.exchange,
                "vhost": virtual_host,
                "destination": queue.name,
                "destination_type": "queue",
                "routing_key": key,
                "arguments": {},
            }
            for queue in QUEUES
            for key in queue.binding_keys
        ],
    }


def hash_password(password: str) -> str:
    """Hash a password as RabbitMQ keeps it: SHA-256 over four bytes of salt and the password, the salt before it."""
    salt = secrets.token_bytes(4)
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()
