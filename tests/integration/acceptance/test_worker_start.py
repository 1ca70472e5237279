"""How a worker starts: what it declares, and what it refuses with one line that says why."""

from urllib.parse import urlsplit

import httpx
import pytest
from pika.exchange_type import ExchangeType

from tests.support.outside.contract import DEAD_LETTERS_ARGUMENTS, REQUEST_QUEUE_ARGUMENTS, REQUEST_QUEUES
from tests.support.outside.identities import ahead
from tests.support.outside.processes import Finished
from tests.support.outside.shop import Shop
from tests.support.outside.world import World, channel_at
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ


def refused(world: World, **settings: str | None) -> str:
    """Start a worker that must end by itself with exit status 1; gives its one line."""
    ended = world.fuma.worker(**settings).finished(within=30)
    line = Finished(ended.args, ended.code, ended.out, "\n".join(_said(ended.err))).refused()
    assert ended.code == 1
    return line


def _said(err: str) -> list[str]:
    """Leave out the log, whose lines are JSON where nobody looks on."""
    return [line for line in err.splitlines() if not line.startswith("{")]


def with_credentials(url: str, user: str, password: str) -> str:
    """Give the URL with another user and password."""
    parts = urlsplit(url)
    return parts._replace(netloc=f"{user}:{password}@{parts.netloc.rpartition('@')[2]}").geturl()


def test_memory_is_refused_and_told_what_to_set(shop: Shop) -> None:
    for url in ("memory://", None):
        assert "FUMA_BROKER_URL" in refused(shop.world, FUMA_BROKER_URL=url)
        assert "FUMA_BROKER_URL" in shop.world.fuma.run("emit", "refresh", FUMA_BROKER_URL=url).refused()


def test_a_worker_without_an_authority_is_refused(shop: Shop) -> None:
    assert "FUMA_LEQI_URL" in refused(shop.world, FUMA_LEQI_URL=None)


def test_wrong_credentials_at_the_broker_are_refused_without_showing_them(shop: Shop) -> None:
    line = refused(shop.world, FUMA_BROKER_URL=with_credentials(shop.world.broker_url, "nobody", "s3cret-word"))
    assert "s3cret-word" not in line


def test_wrong_credentials_at_the_database_are_refused_without_showing_them(shop: Shop) -> None:
    line = refused(shop.world, FUMA_DATABASE_URL=with_credentials(shop.world.database_url, "nobody", "s3cret-word"))
    assert "s3cret-word" not in line


def test_a_database_without_the_schema_is_refused(shop: Shop, postgres: PrivatePostgres) -> None:
    assert "migrate" in refused(shop.world, FUMA_DATABASE_URL=postgres.new_database())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FUMA_ENVIRONMENT", "staging"),
        ("FUMA_BROKER_URL", "kafka://127.0.0.1"),
        ("FUMA_DATABASE_URL", "mysql://127.0.0.1/fuma"),
        ("FUMA_HTTP_PORT", "many"),
        ("FUMA_CLOCK", "tomorrow"),
        ("FUMA_NEXT_YEAR_FROM", "13-41"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(shop: Shop, name: str, value: str) -> None:
    done = shop.world.fuma.run("worker", **{name: value})
    assert done.code != 0
    assert name in Finished(done.args, done.code, done.out, "\n".join(_said(done.err))).refused()


def test_a_key_file_that_is_not_there_is_named(shop: Shop) -> None:
    assert "/nowhere/key" in refused(shop.world, FUMA_LEQI_KEY_FILE="/nowhere/key")


def test_a_database_of_another_environment_is_refused(shop: Shop, postgres: PrivatePostgres) -> None:
    production = postgres.new_database()
    shop.world.fuma.ok("migrate", FUMA_DATABASE_URL=production, FUMA_ENVIRONMENT="production")
    assert "production" in refused(shop.world, FUMA_DATABASE_URL=production)
    assert "production" in shop.world.fuma.run("migrate", FUMA_DATABASE_URL=production).refused()


def test_a_broker_of_another_environment_is_refused(shop: Shop, node: PrivateRabbitMQ) -> None:
    elsewhere = node.new_vhost()
    with channel_at(elsewhere) as channel:
        channel.exchange_declare("fuma.environment.production", ExchangeType.topic, durable=True)
    assert "production" in refused(shop.world, FUMA_BROKER_URL=elsewhere)


def test_a_queue_with_other_arguments_is_a_clear_error(shop: Shop, node: PrivateRabbitMQ) -> None:
    elsewhere = node.new_vhost()
    with channel_at(elsewhere) as channel:
        channel.queue_declare("fuma.claim-requested", durable=True)
    assert "fuma.claim-requested" in refused(shop.world, FUMA_BROKER_URL=elsewhere)


def test_production_refuses_the_simulator_and_a_set_clock(shop: Shop, postgres: PrivatePostgres) -> None:
    """Its key is known to everybody; a server that answers `/simulator/grants` grants nothing."""
    settings: dict[str, str | None] = {
        "FUMA_ENVIRONMENT": "production",
        "FUMA_DATABASE_URL": postgres.new_database(),
    }
    shop.world.fuma.ok("migrate", **settings)
    assert "FUMA_LEQI" in refused(shop.world, **settings)
    own, known = shop.world.folder / "own-key", shop.world.folder / "known-key"
    own.write_text("00112233445566778899aabbccddeeff\n")
    known.write_text("0123456789abcdeffedcba9876543210\n")
    unit = {"FUMA_LEQI_DIRECT_UNIT_ID": "DU99999999999999"}
    refused(shop.world, **settings, **unit, FUMA_LEQI_KEY_FILE=str(known))
    refused(shop.world, **settings, **unit, FUMA_LEQI_KEY_FILE=str(own))
    refused(shop.world, **settings, **unit, FUMA_LEQI_KEY_FILE=str(own), FUMA_CLOCK=ahead(days=1))


def test_the_topology_is_the_contracts(shop: Shop) -> None:
    """Declaring it again with the contract's arguments is accepted, so nothing differs."""
    with channel_at(shop.world.broker_url) as channel:
        for exchange in ("fuma", "fuma.dead"):
            channel.exchange_declare(exchange, ExchangeType.topic, durable=True)
        for queue in REQUEST_QUEUES:
            channel.queue_declare(queue, passive=True)
            channel.queue_declare(queue, durable=True, arguments=dict(REQUEST_QUEUE_ARGUMENTS))
        channel.queue_declare("fuma.dead-letters", passive=True)
        channel.queue_declare("fuma.dead-letters", durable=True, arguments=dict(DEAD_LETTERS_ARGUMENTS))
        channel.exchange_declare("fuma.environment.sandbox", passive=True)


def test_a_worker_tells_its_health_and_ends_on_sigint_too(world: World) -> None:
    worker = world.worker()
    assert worker.get("/healthz") == httpx.codes.OK
    assert worker.get("/readyz") == httpx.codes.OK
    assert worker.get("/metrics") == httpx.codes.OK
    assert "# HELP" in worker.metrics()
    worker.interrupt()
    assert worker.wait(20) == 0
