"""`fuma broker-definitions`: who may do what on the broker."""

import json
from pathlib import Path
from typing import Annotated

import typer

from worker.broker.address import BrokerAddress
from worker.broker.definitions import USERS, definitions
from worker.cli.output import say
from worker.cli.secret import read_secret
from worker.settings import load_settings


def password_variable(user: str) -> str:
    """Give the variable that holds a user's password: `FUMA_BROKER_WORKER_PASSWORD` for `fuma-worker`."""
    return f"FUMA_BROKER_{user.removeprefix('fuma-').upper()}_PASSWORD"


def broker_definitions(
    output: Annotated[
        Path | None,
        typer.Option(help="Write to this file, whole or not at all, instead of printing.", show_default=False),
    ] = None,
) -> None:
    """Print a definitions file for RabbitMQ: its users with their permissions, exchanges, queues and bindings.

    RabbitMQ imports it at its start, or by `rabbitmqctl import_definitions`. The virtual host is that of
    FUMA_BROKER_URL.

    The passwords come from the environment: FUMA_BROKER_WORKER_PASSWORD for fuma-worker, and so for each user, or
    files named by FUMA_BROKER_WORKER_PASSWORD_FILE and so on; only their hashes are printed. A user for whom there is
    none can't log in by password.
    """
    url = load_settings().broker_url.get_secret_value()
    given = {user.name: read_secret(password_variable(user.name)) for user in USERS}
    passwords = {name: password for name, password in given.items() if password is not None}
    virtual_host = BrokerAddress.parse(url).virtual_host
    document = json.dumps(definitions(passwords, virtual_host), indent=2)
    if output is None:
        say(document)
        return
    beside = output.with_name(f".{output.name}.new")
    beside.write_text(f"{document}\n", encoding="utf-8")
    beside.replace(output)
    say(f"{output} has the users {', '.join(passwords) or 'without any password'}")
