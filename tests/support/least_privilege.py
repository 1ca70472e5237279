"""Fuma as it is to run: each process with the role and the user that may do its work, and nothing else."""

import secrets
from dataclasses import dataclass
from urllib.parse import urlsplit

from db.engine import open_engine
from db.migrate import alone
from db.roles import Roles, establish
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ
from worker.broker.definitions import USERS, definitions

#: Passwords that no log line may show.
PASSWORDS = {name: f"pw-{secrets.token_hex(8)}" for name in ("owner", "worker", "reader")}
BROKER_PASSWORDS = {user.name: f"pw-{secrets.token_hex(8)}" for user in USERS}


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """One database, as each role."""

    administrator: str
    owner: str
    worker: str
    reader: str


def with_roles(postgres: PrivatePostgres, url: str, prefix: str = "fuma_test") -> DatabaseUrls:
    """Make the roles and let them have the database of `url`; one server's databases may share them."""
    roles = Roles(prefix)
    passwords = dict(zip(roles.all, PASSWORDS.values(), strict=True))
    engine = open_engine(url, application="fuma-test-roles")
    with alone(engine) as connection:
        establish(connection, roles, passwords)
    engine.dispose()

    def as_role(role: str) -> str:
        return url.replace(f"fuma:{postgres.password}@", f"{role}:{passwords[role]}@")

    return DatabaseUrls(url, *(as_role(role) for role in roles.all))


def with_users(node: PrivateRabbitMQ, url: str, *, topology: bool = False) -> dict[str, str]:
    """Make the broker's users, let them have the virtual host of `url`, and give its URL as each of them.

    Without `topology` exchanges and queues are left for a worker to declare.
    """
    vhost = urlsplit(url).path[1:]
    told = definitions(BROKER_PASSWORDS, vhost)
    if not topology:
        told = {part: told[part] for part in ("users", "permissions", "topic_permissions")}
    node.import_definitions(told)
    return {name: node.url_of(vhost, user=name, password=password) for name, password in BROKER_PASSWORDS.items()}
