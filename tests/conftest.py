"""Fixtures for all tests: the servers that the tests bring with them."""

pytest_plugins = ("tests.support.fixtures_postgres", "tests.support.fixtures_rabbitmq")
