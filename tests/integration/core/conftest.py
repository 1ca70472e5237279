"""Fixtures for tests of the core: workers over a database that is empty when each test begins."""

from collections.abc import Callable, Iterator

import psycopg
import pytest

from db.tables import metadata
from tests.support.core.authority import ScriptedListing
from tests.support.core.clock import HandClock
from tests.support.core.world import Core
from tests.support.postgres import PrivatePostgres

MakeCore = Callable[..., Core]


@pytest.fixture(scope="session")
def core_database(postgres: PrivatePostgres) -> Iterator[str]:
    """A database for all these tests: emptying it takes less time than making one."""
    url = postgres.new_migrated_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def database_url(core_database: str) -> str:
    """The database, empty but for its schema and environment."""
    tables = ", ".join(name for name in metadata.tables if name != "deployment")
    with psycopg.connect(core_database) as connection:
        connection.execute(f"TRUNCATE {tables} RESTART IDENTITY".encode())
        connection.execute("UPDATE deployment SET overdue_until = NULL, recovered_at = NULL")
    return core_database


@pytest.fixture
def make_core(database_url: str) -> Iterator[MakeCore]:
    """Make cores over the test's database; they end with it."""
    made: list[Core] = []

    def make(**said: object) -> Core:
        core = Core(database_url, **said)  # type: ignore[arg-type]
        made.append(core)
        return core

    yield make
    for core in made:
        core.close()


@pytest.fixture
def core(make_core: MakeCore) -> Core:
    """A worker's core, with organisation A registered and nothing else there."""
    made = make_core()
    made.register()
    return made


@pytest.fixture
def second(core: Core, make_core: MakeCore) -> Core:
    """Another worker over the same database, at the same time, with the same authority and broker."""
    return make_core(clock=core.clock, authority=core.authority, broker=core.broker)


@pytest.fixture
def listing() -> ScriptedListing:
    """A gateway with an empty list."""
    return ScriptedListing()


@pytest.fixture
def listed_core(make_core: MakeCore, listing: ScriptedListing) -> Core:
    """A core whose channel can list ranges."""
    made = make_core(listing=listing, clock=HandClock())
    made.register()
    return made
