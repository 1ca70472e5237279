"""No secret is in what any process says at debug level, in an ordinary life with its troubles.

Nor is there anything of what is asked and answered, but the few identifiers that are meant to be found in a log.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.support.least_privilege import BROKER_PASSWORDS, PASSWORDS, with_roles, with_users
from tests.support.outside.envelopes import Event, event
from tests.support.outside.gate import Gate, gate_before
from tests.support.outside.identities import Organization, organization
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
    "claim-settling-failed",
    "consuming-resumed",
    "consuming-suspended",
    "database-unreachable",
    "dead-letter",
    "figures-not-read",
    "listing-failed",
    "request-failed",
    "simulator-claim-granted",
    "taxpayer-paused",
    "taxpayer-resumed",
    "timed-work-failed",
    "worker-draining",
    "worker-started",
    "worker-stopped",
}

#: Where an identifier stands on purpose: the event's name and the field. That is all that this life lets be seen.
_ON_PURPOSE = {
    ("claim-answered", "claim_id"),
    ("claim-settling-failed", "claim_id"),
    ("listing-failed", "taxpayer_id"),
    ("request-failed", "message_id"),
    ("taxpayer-paused", "taxpayer_id"),
    ("taxpayer-resumed", "taxpayer_id"),
    # The fake authority has nobody's data.
    ("simulator-claim-granted", "business_serial"),
    ("simulator-claim-granted", "first_number"),
    ("simulator-claim-granted", "last_number"),
}

#: The fields of events by which somebody, or something of somebody's, is named.
_NAMING = (
    "binding_id",
    "claim_id",
    "first_number",
    "invoice_number",
    "issue_request_id",
    "last_number",
    "organization",
    "outcome_id",
    "range_id",
    "refresh_id",
    "requested_by",
    "taxpayer_id",
)
#: What no event repeats, as the database has it. The message that changed a number is named by its source and id.
_STORED = (
    "SELECT name FROM organizations",
    "SELECT using_unit_id FROM channels",
    "SELECT business_serial FROM claims",
    "SELECT requested_by FROM claims WHERE requested_by IS NOT NULL",
    "SELECT split_part(changed_by, ' ', 2) FROM numbers WHERE changed_by LIKE '/outside/%'",
)
#: In messages that can't be read: as a value, and as a field's name.
_UNREAD = ("unread-e5f60718", "unread-f6071829")

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


def test_no_secret_and_no_identifier_but_those_meant_is_in_what_any_process_says(
    world: World, node: PrivateRabbitMQ, server: PrivatePostgres
) -> None:
    secrets = {*PASSWORDS.values(), *BROKER_PASSWORDS.values(), server.password, node.password}
    _wrong_settings(world)
    with gate_before(world.access.broker_url) as (gate, through):
        refused = _a_life_with_troubles(world, gate, through, server)
    identifiers = {*_identifiers(world), *_UNREAD, str(refused["id"]), "rq-spoilt"}

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
    logged = [line for file, text in said.items() if not _is_an_answer(file) for line in text.splitlines()]
    assert [line for line in logged if _names(_without_what_is_meant(line), identifiers)] == []
    assert {place for line in logged for place in _places(line, identifiers)} == _ON_PURPOSE
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
        {"FUMA_DATABASE_URL": misread},
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


def _a_life_with_troubles(world: World, gate: Gate, through: str, server: PrivatePostgres) -> Event:
    """Let a worker meet all that there is; gives the request that went to the dead letters."""
    own = organization(claim_quantity=20, name="鼓楼丁卯商贸有限公司")
    joint = organization(channel_mode="joint", using_unit_id="UU000000000001", name="Gulou Dingmao Trading Co.")
    world.register(own, joint)
    assert world.events.everything() == []
    token = world.folder / "tokens" / "UU000000000001"
    gate.open()
    worker = _worker(world, FUMA_BROKER_URL=through)
    # Claims that are refused and that lose their answers, and a token that is none yet.
    token.write_text(f"{_TOKEN} {_TOKEN}")
    world.authority.faults(refuse=1.0)
    world.send(claiming(own, "rq-refused", 5))
    world.events.one("claim-failed", claim_id="rq-refused")
    world.authority.faults(lost_answer=1.0)
    world.send(issuing(own, "rq-waits"), issuing(joint, "rq-waits-for-a-token"))
    eventually(
        lambda: any(grant["times_asked"] > 1 for grant in world.authority.grants(own.taxpayer_id)),
        within=30,
        what=lambda: f"a replay:\n{worker.log()}",
    )
    world.authority.faults()
    token.write_text(_TOKEN)
    record = world.events.one("number-assigned", issue_request_id="rq-waits", within=40)
    world.events.one("number-assigned", issue_request_id="rq-waits-for-a-token", within=40)
    _outcomes_and_bindings(world, own, str(record.data["invoice_number"]))
    refused = _refusals(world, worker, own)
    for does in ("pause", "resume"):
        world.fuma.ok("taxpayers", does, "--taxpayer", own.taxpayer_id, "--reason", "as they asked")
    world.refresh("rq-by-the-gateway", organization=own.code)
    world.authority.kill()
    world.refresh("rq-without-the-gateway", organization=own.code)
    world.authority.start_again()
    # Servers that go and come back.
    gate.shut()
    _tells(worker, "broker-unreachable")
    gate.open()
    world.issue(own, "rq-after-the-cut")
    server.kill()
    world.send(issuing(own, "rq-after-the-restart"))
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
    world.events.one("number-assigned", issue_request_id="rq-after-the-restart", within=60)
    worker.drain()
    another.ready()
    world.issue(own, "rq-by-another")
    another.drain()
    world.audit()
    return refused


def _outcomes_and_bindings(world: World, own: Organization, number: str) -> None:
    """Let outcomes and bindings come in, good ones and such as are refused."""

    def reports(outcome_id: str, issue_request_id: str) -> Event:
        named = {"outcome_id": outcome_id, "organization": own.code, "issue_request_id": issue_request_id}
        return event("invoice-outcome", {**named, "invoice_number": number, "outcome": "uploaded"})

    def binds(binding_id: str, issue_request_id: str, number: str) -> Event:
        named = {"binding_id": binding_id, "organization": own.code, "issue_request_id": issue_request_id}
        data = {**named, "number": number, "action": "bind", "requested_by": "wang.fang"}
        return event("number-binding-requested", data)

    world.send(reports("rq-outcome", "rq-waits"), reports("rq-outcome-of-nothing", "rq-unheard-of"))
    world.events.one("number-used", outcome_id="rq-outcome")
    world.events.one("outcome-refused", outcome_id="rq-outcome-of-nothing")
    by_hand = str(world.claim(own, "rq-by-hand", 3).data["first_number"])
    world.send(binds("rq-binding", "rq-bound", by_hand), binds("rq-binding-of-used", "rq-bound-in-vain", number))
    world.events.one("number-bound", binding_id="rq-binding")
    world.events.one("binding-refused", binding_id="rq-binding-of-used")
    [bound] = world.issue(own, "rq-bound")
    assert bound.data["invoice_number"] == by_hand


def _refusals(world: World, worker: Worker, own: Organization) -> Event:
    """Let the database refuse rows, which it quotes with all their values; and let come what can't be read."""
    spoilt = issuing(own, "rq-spoilt")
    with _refused(world, "issue_requests", "issue_request_id <> 'rq-spoilt'"):
        world.send(spoilt)
        _tells(worker, "batch-retried", "request-failed")
    with _refused(world, "ranges", "claim_id <> 'rq-not-stored'"):
        world.send(claiming(own, "rq-not-stored", 5))
        _tells(worker, "claim-settling-failed")
    world.events.one("range-claimed", claim_id="rq-not-stored", within=60)
    value, name = _UNREAD
    world.send(issuing(own, "rq-unread", kind=value), issuing(own, "rq-unread", **{name: own.taxpayer_id}))
    _tells(worker, "dead-letter")
    return spoilt


@contextmanager
def _refused(world: World, table: str, unless: str) -> Iterator[None]:
    """Let the database refuse rows of a table unless this is so."""
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {table} ADD CONSTRAINT ck_refused CHECK ({unless}) NOT VALID".encode())
        yield
        connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT ck_refused".encode())


def _identifiers(world: World) -> set[str]:
    """Give all by which those of this life, and what is theirs, were named, in events and in the database."""
    events = world.events.everything()
    found = {field: {str(each.data[field]) for each in events if each.data.get(field)} for field in _NAMING}
    found["event"] = {each.id for each in events}
    with psycopg.connect(world.database_url) as connection:
        for statement in _STORED:
            found[statement] = {str(value) for (value,) in connection.execute(statement.encode())}
    assert [where for where, identifiers in found.items() if not identifiers] == []
    return set().union(*found.values())


def _is_an_answer(file: str) -> bool:
    """Tell whether somebody asked for what stands there: what a command prints, but for its log on stderr."""
    return file.endswith(".out") and not file.startswith(("worker", "leqi-simulator"))


def _fields(line: str) -> dict[str, object]:
    """Give a log line's fields; of a line that isn't any, nothing."""
    return json.loads(line) if line.startswith("{") else {}


def _without_what_is_meant(line: str) -> str:
    """Give a log line without the fields in which an identifier may stand."""
    fields = _fields(line)
    left = {name: value for name, value in fields.items() if (fields["event"], name) not in _ON_PURPOSE}
    return json.dumps(left, ensure_ascii=False) if fields else line


def _places(line: str, identifiers: set[str]) -> set[tuple[object, str]]:
    """Give the fields of a log line in which identifiers stand, each with the event's name."""
    fields = _fields(line)
    return {(fields["event"], name) for name, value in fields.items() if _names(str(value), identifiers)}


def _names(text: str, identifiers: set[str]) -> bool:
    return any(form in text for identifier in identifiers for form in _forms(identifier))


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
