"""Installations for the acceptance tests: one of a test's own, and one that stands for the whole session."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.least_privilege import with_roles, with_users
from tests.support.outside.shop import Shop
from tests.support.outside.world import Access, World
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ


@pytest.fixture(scope="session")
def node() -> Iterator[PrivateRabbitMQ]:
    """A RabbitMQ node that no other test may kill: `shop` stays connected for the whole session."""
    with PrivateRabbitMQ() as node:
        yield node


@pytest.fixture
def world(node: PrivateRabbitMQ, postgres: PrivatePostgres, tmp_path: Path) -> Iterator[World]:
    """One installation of the test's own: migrated, with an authority, without a worker."""
    with _installed(node, postgres, tmp_path) as world:
        yield world


@pytest.fixture(scope="session")
def shop(node: PrivateRabbitMQ, postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """An installation that many tests share. Its authority has no faults, and nobody changes its clock."""
    with _installed(node, postgres, tmp_path_factory.mktemp("shop")) as world:
        yield Shop(world)


@pytest.fixture(scope="session")
def _troubled(
    node: PrivateRabbitMQ, postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    with _installed(node, postgres, tmp_path_factory.mktemp("troubled")) as world:
        yield Shop(world)


@pytest.fixture
def troubled(_troubled: Shop) -> Iterator[Shop]:
    """Another that many tests share, each of which may put faults in force, but leaves nothing to be retried."""
    yield _troubled
    _troubled.world.authority.faults()


@contextmanager
def _installed(node: PrivateRabbitMQ, postgres: PrivatePostgres, folder: Path) -> Iterator[World]:
    """Install Fuma as it is to run: the worker as the broker's and the database's users for workers alone."""
    broker_url, database_url = node.new_vhost(), postgres.new_database()
    database = with_roles(postgres, database_url)
    access = Access(with_users(node, broker_url)["fuma-worker"], database.worker, database.owner)
    with World(broker_url=broker_url, database_url=database_url, folder=folder, access=access) as world:
        yield world
    node.delete_vhost(urlsplit(broker_url).path[1:])
    postgres.drop_database(database_url)
