"""Fixtures for all tests: the servers that the tests bring with them."""

from collections.abc import Iterator

import pytest
import structlog

pytest_plugins = ("tests.support.fixtures_postgres", "tests.support.fixtures_rabbitmq")


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """Leave no test the log that another has configured: it may write to a stream that is closed by now."""
    yield
    structlog.reset_defaults()
