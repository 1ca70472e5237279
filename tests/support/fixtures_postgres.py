"""Fixtures for tests that need PostgreSQL: one server for the session, a database for each test."""

from collections.abc import Iterator

import pytest

from tests.support.postgres import PrivatePostgres


@pytest.fixture(scope="session")
def postgres() -> Iterator[PrivatePostgres]:
    """The session's server. Tests that kill or stop a server use `own_postgres`."""
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def own_postgres() -> Iterator[PrivatePostgres]:
    """A server for one test alone, which may do to it what it likes."""
    with PrivatePostgres() as server:
        yield server


@pytest.fixture
def database_url(postgres: PrivatePostgres) -> Iterator[str]:
    """A database of the test's own with the newest schema, for the environment `sandbox`."""
    url = postgres.new_migrated_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def empty_database_url(postgres: PrivatePostgres) -> Iterator[str]:
    """A database of the test's own without any schema."""
    url = postgres.new_database()
    yield url
    postgres.drop_database(url)
