"""The broker's URL taken apart, and shown without its credentials."""

import pytest

from worker.broker.address import BrokerAddress, BrokerUrlError


@pytest.mark.parametrize(
    ("url", "host", "port", "virtual_host", "username", "password"),
    [
        ("amqp://", "localhost", 5672, "/", "guest", "guest"),
        ("amqp://host", "host", 5672, "/", "guest", "guest"),
        ("amqp://host/", "host", 5672, "/", "guest", "guest"),
        ("amqp://host/%2F", "host", 5672, "/", "guest", "guest"),
        ("amqps://host/fuma", "host", 5671, "fuma", "guest", "guest"),
        ("amqp://u%40:p%3A%2F@host:1234/a%2Fb", "host", 1234, "a/b", "u@", "p:/"),
        ("amqp://u:@[::1]:5/", "::1", 5, "/", "u", ""),
    ],
)
def test_a_url_is_taken_apart(  # its parts are the columns
    url: str,
    host: str,
    port: int,
    virtual_host: str,
    username: str,
    password: str,
) -> None:
    address = BrokerAddress.parse(url)

    assert (address.host, address.port, address.virtual_host) == (host, port, virtual_host)
    assert (address.username, address.password) == (username, password)


def test_neither_its_text_nor_its_representation_shows_credentials() -> None:
    address = BrokerAddress.parse("amqps://somebody:secret@host:1/vhost?heartbeat=20")

    assert str(address) == "amqps://host:1/vhost"
    assert "secret" not in repr(address)
    assert "somebody" not in repr(address)
    assert address.heartbeat == 20


def test_a_broker_in_memory_has_a_name() -> None:
    address = BrokerAddress.parse("memory://tests")

    assert address.in_memory
    assert str(address) == "memory://tests"
    assert BrokerAddress.parse("memory://").host == ""


@pytest.mark.parametrize(
    "url",
    ["", "redis://h", "amqp://h:99999/", "amqp://h/?heartbeat=601", "amqp://h/?heartbeat=x", "amqp://h/?locale=x"],
)
def test_what_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(BrokerUrlError):
        BrokerAddress.parse(url)
