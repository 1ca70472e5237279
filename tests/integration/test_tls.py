"""Fuma over TLS to broker and database, with an authority of the tests' own; nobody else's certificate is believed."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.certificates import write_certificates
from tests.support.least_privilege import with_roles, with_users
from tests.support.outside.identities import organization
from tests.support.outside.processes import Finished
from tests.support.outside.world import Access, World
from tests.support.postgres import TlsPostgres
from tests.support.rabbitmq import PrivateRabbitMQ

#: The same host by a name that no certificate has, to those who compare names.
OTHER_NAME = "127.1"


@pytest.fixture(scope="module")
def tls_postgres() -> Iterator[TlsPostgres]:
    """The machine's PostgreSQL, with a certificate for 127.0.0.1."""
    with TlsPostgres() as server:
        yield server


@pytest.fixture
def another_ca(tmp_path: Path) -> Path:
    """An authority that signed nothing here."""
    folder = tmp_path / "another"
    folder.mkdir()
    write_certificates(folder)
    return folder / "ca.pem"


@pytest.fixture
def world(rabbitmq_node: PrivateRabbitMQ, tls_postgres: TlsPostgres, tmp_path: Path) -> Iterator[World]:
    """An installation whose processes speak TLS alone."""
    rabbitmq_node.start()
    broker_url, database_url = rabbitmq_node.new_vhost(), tls_postgres.new_database()
    database = with_roles(tls_postgres, database_url)
    broker = with_users(rabbitmq_node, broker_url)["fuma-worker"]
    access = Access(
        f"{rabbitmq_node.encrypted(broker)}?cacertfile={rabbitmq_node.ca_file}",
        f"{database.worker}?sslmode=verify-full&sslrootcert={tls_postgres.ca_file}",
        f"{database.owner}?sslmode=verify-full&sslrootcert={tls_postgres.ca_file}",
    )
    with World(broker_url=broker_url, database_url=database_url, folder=tmp_path, access=access) as world:
        yield world
    tls_postgres.drop_database(database_url)


def refused(world: World, **settings: str | None) -> str:
    """Start a worker that must end by itself; gives its one line."""
    as_worker = {"FUMA_BROKER_URL": world.access.broker_url, **settings}
    ended = world.fuma.worker(**as_worker).finished(within=30)
    said = [line for line in ended.err.splitlines() if not line.startswith("{")]
    return Finished(ended.args, ended.code, ended.out, "\n".join(said)).refused()


def test_a_number_is_assigned_over_tls_to_both(world: World) -> None:
    org = organization()
    world.register(org)
    assert world.events.everything() == []
    world.worker()
    world.issue(org, *(f"tls-{n}" for n in range(5)))
    with psycopg.connect(world.database_url) as connection:
        spoken = connection.execute(
            "SELECT DISTINCT s.ssl FROM pg_stat_ssl AS s JOIN pg_stat_activity AS a USING (pid)"
            " WHERE a.application_name = 'fuma-worker' AND a.datname = current_database()",
        ).fetchall()
    assert spoken == [(True,)]
    world.audit()


def test_another_authority_or_another_name_is_refused_with_a_line(world: World, another_ca: Path) -> None:
    def with_other_name(url: str) -> str:
        if url.startswith("postgresql"):
            return url.replace("@127.0.0.1:", "@another.example:") + "&hostaddr=127.0.0.1"
        return url.replace("@127.0.0.1:", f"@{OTHER_NAME}:")

    def with_other_ca(url: str) -> str:
        before, _, _ = url.rpartition("=")
        return f"{before}={another_ca}"

    changes: tuple[Callable[[str], str], ...] = (with_other_name, with_other_ca)
    for change in changes:
        broker, database = change(world.access.broker_url), change(world.access.database_url)
        for line in (
            refused(world, FUMA_BROKER_URL=broker),
            world.fuma.run("emit", "refresh", FUMA_BROKER_URL=broker).refused(),
        ):
            assert "isn't trusted" in line
            assert "FUMA_BROKER_URL" in line
        for line in (
            refused(world, FUMA_DATABASE_URL=database),
            world.fuma.run("ranges", FUMA_DATABASE_URL=database).refused(),
        ):
            assert "isn't trusted" in line
            assert "FUMA_DATABASE_URL" in line
            assert "pw-" not in line


def test_a_database_without_tls_is_not_spoken_to_where_tls_is_wanted(world: World, empty_database_url: str) -> None:
    """The wheel's server has none."""
    assert "it has none" in refused(world, FUMA_DATABASE_URL=f"{empty_database_url}?sslmode=require")
