"""Fixtures for all tests: the servers that the tests bring with them."""

import signal
from collections.abc import Iterator

import pytest
import structlog

# A shell that runs the tests in the background has them ignore the interrupt, and their children would inherit that:
# a command that is interrupted in a test must end.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = ("tests.support.fixtures_postgres", "tests.support.fixtures_rabbitmq")


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """Leave no test the log that another has configured: it may write to a stream that is closed by now."""
    yield
    structlog.reset_defaults()
