"""No secret is in what any process says at debug level, in an ordinary life with its troubles."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.least_privilege import BROKER_PASSWORDS, PASSWORDS, with_roles, with_users
from tests.support.outside.envelopes import event
from tests.support.outside.gate import Gate, gate_before
from tests.support.outside.identities import organization
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Worker
from tests.support.outside.world import Access, World, claiming, issuing
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ

#: What stands in the settings below beside the passwords of roles and users; each with no other meaning.
_WRONG = "wrong-a1b2c3d4"
_UNREADABLE = "unreadable-b2c3d4e5"
_GATEWAYS = "gateway-c3d4e5f6"
_TOKEN = "token-d4e5f60718293a4b"  # noqa: S105 -- a secret to look for
#: The only key that the fake authority knows.
_KEY = "0123456789abcdeffedcba9876543210"

#: What workers, commands and the authority must have told, for a log without it would show nothing.
_TOLD = {
    "batch-retried",
    "broker-connected",
    "broker-disconnected",
    "broker-refused",
    "broker-unreachable",
    "claim-answered",
    "consuming-resumed",
    "consuming-suspended",
    "database-unreachable",
    "figures-not-read",
    "listing-failed",
    "simulator-claim-granted",
    "timed-work-failed",
    "worker-draining",
    "worker-started",
    "worker-stopped",
}

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def server() -> Iterator[PrivatePostgres]:
    """A PostgreSQL that may be killed: no other test uses it."""
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def world(node: PrivateRabbitMQ, server: PrivatePostgres, tmp_path: Path) -> Iterator[World]:
    """An installation in which everything that may have a secret has one, and tells all that it ever tells."""
    broker_url, database = node.new_vhost(), with_roles(server, server.new_database())
    access = Access(with_users(node, broker_url)["fuma-worker"], database.worker, database.owner)
    key, tokens = tmp_path / "key", tmp_path / "tokens"
    key.write_text(_KEY)
    tokens.mkdir()
    with World(
        broker_url=broker_url,
        database_url=database.administrator,
        folder=tmp_path,
        access=access,
        FUMA_LOG_LEVEL="debug",
        FUMA_LEQI_DIRECT_UNIT_ID="DU00000000000001",
        FUMA_LEQI_KEY_FILE=str(key),
        FUMA_LEQI_ACCESS_TOKEN_DIR=str(tokens),
    ) as world:
        yield world
    node.delete_vhost(urlsplit(broker_url).path[1:])


def test_no_secret_is_in_what_any_process_says(world: World, node: PrivateRabbitMQ, server: PrivatePostgres) -> None:
    secrets = {*PASSWORDS.values(), *BROKER_PASSWORDS.values(), server.password, node.password}
    _wrong_settings(world)
    with gate_before(world.access.broker_url) as (gate, through):
        _a_life_with_troubles(world, gate, through, server)

    said = world.fuma.said()

    shown = [
        (file, line)
        for file, text in said.items()
        for line in text.splitlines()
        if any(
            form in line
            for secret in (*secrets, _WRONG, _UNREADABLE, _GATEWAYS, _TOKEN, _KEY)
            for form in _forms(secret)
        )
    ]
    assert shown == []
    assert [file for file, text in said.items() if "Traceback" in text] == []
    lines = [json.loads(line) for text in said.values() for line in text.splitlines() if line.startswith("{")]
    assert {line["event"] for line in lines} >= _TOLD
    assert {line["level"] for line in lines} >= {"debug", "info", "warning"}


def _wrong_settings(world: World) -> None:
    """Let workers and commands be told passwords that are refused, and secrets that can't be read."""
    broker, database = (_with_password(url, _WRONG) for url in (world.access.broker_url, world.access.database_url))
    misread = f"postgresql://fuma:not@{_UNREADABLE}@127.0.0.1:5432/fuma"
    unreadable = world.folder / "no-key"
    unreadable.write_text(_UNREADABLE)
    wrong = (
        {"FUMA_BROKER_URL": broker},
        {"FUMA_DATABASE_URL": database},
        {"FUMA_BROKER_URL": f"amqp://fuma:{_UNREADABLE}@127.0.0.1:none/"},
        {"FUMA_BROKER_URL": f"ampq://fuma:{_UNREADABLE}@127.0.0.1/"},
        {"FUMA_DATABASE_URL": f"postgresql://fuma:{_UNREADABLE}@127.0.0.1:none/fuma"},
        {"FUMA_DATABASE_URL": f"postgresql://fuma:not@encoded:{_UNREADABLE}@127.0.0.1:5432/fuma"},
        {"FUMA_DATABASE_URL": f"pgsql://fuma:{_UNREADABLE}@127.0.0.1/fuma"},
        {"FUMA_CHANNEL_GATEWAY_URL": f"http://fuma:{_UNREADABLE}@127.0.0.1:none/"},
        {"FUMA_CHANNEL_GATEWAY_URL": f"ftp://fuma:{_UNREADABLE}@127.0.0.1/"},
        {"FUMA_LEQI_KEY_FILE": str(unreadable)},
    )
    started = [world.worker(wait=False, **settings) for settings in wrong]
    assert [each.wait(60) for each in started] == [1] * len(wrong)
    for command, settings in (
        ("ranges", {"FUMA_DATABASE_URL": database}),
        ("ranges", {"FUMA_DATABASE_URL": misread}),
        ("audit", {"FUMA_DATABASE_URL": database}),
        ("migrate", {"FUMA_DATABASE_URL": database}),
        ("emit refresh", {"FUMA_BROKER_URL": broker}),
        ("dead-letters list", {"FUMA_BROKER_URL": broker}),
    ):
        world.fuma.run(*command.split(), **settings).refused()
    # Part of the password is taken for the host, which there isn't.
    with world.worker(wait=False, FUMA_DATABASE_URL=misread) as waits:
        _tells(waits, "database-unreachable")


def _a_life_with_troubles(world: World, gate: Gate, through: str, server: PrivatePostgres) -> None:
    own, joint = organization(claim_quantity=20), organization(channel_mode="joint", using_unit_id="UU000000000001")
    world.register(own, joint)
    assert world.events.everything() == []
    token = world.folder / "tokens" / "UU000000000001"
    gate.open()
    worker = _worker(world, FUMA_BROKER_URL=through)
    # Claims that are refused and that lose their answers, and a token that is none yet.
    token.write_text(f"{_TOKEN} {_TOKEN}")
    world.authority.faults(refuse=1.0)
    world.send(claiming(own, "refused", 5))
    world.events.one("claim-failed", claim_id="refused")
    world.authority.faults(lost_answer=1.0)
    world.send(issuing(own, "waits"), issuing(joint, "waits-for-a-token"))
    eventually(
        lambda: any(grant["times_asked"] > 1 for grant in world.authority.grants(own.taxpayer_id)),
        within=30,
        what=lambda: f"a replay:\n{worker.log()}",
    )
    world.authority.faults()
    token.write_text(_TOKEN)
    [record] = [world.events.one("number-assigned", issue_request_id="waits", within=40)]
    world.events.one("number-assigned", issue_request_id="waits-for-a-token", within=40)
    world.send(
        event(
            "invoice-outcome",
            {
                "outcome_id": "O1",
                "organization": own.code,
                "issue_request_id": "waits",
                "invoice_number": record.data["invoice_number"],
                "outcome": "uploaded",
            },
        ),
    )
    world.events.one("number-used", outcome_id="O1")
    world.refresh("by-the-gateway", organization=own.code)
    world.authority.kill()
    world.refresh("without-the-gateway", organization=own.code)
    world.authority.start_again()
    # Servers that go and come back.
    gate.shut()
    _tells(worker, "broker-unreachable")
    gate.open()
    world.issue(own, "after-the-cut")
    server.kill()
    world.send(issuing(own, "after-the-restart"))
    # Its addresses are in files.
    settings: dict[str, str | None] = {"FUMA_BROKER_URL": None, "FUMA_DATABASE_URL": None}
    for name, url in (("BROKER", world.access.broker_url), ("DATABASE", world.access.database_url)):
        file = world.folder / name
        file.write_text(url)
        settings[f"FUMA_{name}_URL_FILE"] = str(file)
    another = _worker(world, wait=False, **settings)
    assert world.fuma.run("ranges").code == 1
    _tells(worker, "figures-not-read", "consuming-suspended")
    _tells(another, "database-unreachable")
    server.start()
    world.events.one("number-assigned", issue_request_id="after-the-restart", within=60)
    worker.drain()
    another.ready()
    world.issue(own, "by-another")
    another.drain()
    world.audit()


def _worker(world: World, *, wait: bool = True, **settings: str | None) -> Worker:
    gateway = _with_password(world.authority.url, _GATEWAYS)
    return world.worker(wait=wait, FUMA_CHANNEL_GATEWAY_URL=gateway, **settings)


def _tells(worker: Worker, *events: str) -> None:
    """Wait until the worker's log has these events."""
    eventually(
        lambda: all(f'"event": "{event}"' in worker.err() for event in events),
        within=40,
        what=lambda: f"{events}:\n{worker.log()}",
    )


def _with_password(url: str, password: str) -> str:
    parts = urlsplit(url)
    user = parts.username or "fuma"
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def _forms(secret: str) -> set[str]:
    """Give what a secret looks like as it is, and as a header or a form may write it."""
    return {secret, secret.upper(), base64.b64encode(secret.encode()).decode().rstrip("=")}
