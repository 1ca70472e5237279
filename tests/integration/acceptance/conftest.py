"""Installations for the acceptance tests: one of a test's own, and one that stands for the whole session."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.support.postgres import PrivatePostgres

from tests.support.outside.shop import Shop
from tests.support.outside.world import World
from tests.support.rabbitmq import PrivateRabbitMQ

NewWorld = Callable[..., World]


@pytest.fixture
def new_world(rabbitmq: PrivateRabbitMQ, postgres: PrivatePostgres, tmp_path: Path) -> Iterator[NewWorld]:
    """Make installations that end with the test."""
    numbers = itertools.count(1)
    with ExitStack() as stack:

        def make(**settings: str) -> World:
            folder = tmp_path / f"world-{next(numbers)}"
            folder.mkdir()
            return stack.enter_context(
                World(broker_url=rabbitmq.new_vhost(), database_url=postgres.new_database(), folder=folder, **settings)
            )

        yield make


@pytest.fixture
def world(new_world: NewWorld) -> World:
    """One installation of the test's own: migrated, with an authority, without a worker."""
    return new_world()


@pytest.fixture(scope="session")
def shop(
    rabbitmq: PrivateRabbitMQ, postgres: PrivatePostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    """The shared installation. Its authority has no faults, and nobody changes its clock."""
    folder = tmp_path_factory.mktemp("shop")
    with World(broker_url=rabbitmq.new_vhost(), database_url=postgres.new_database(), folder=folder) as world:
        shop = Shop(world)
        assert world.events.everything() == []
        world.worker()
        yield shop
