"""The way to the broker: RabbitMQ, or one inside the process."""

from schemas.vocabulary import Environment
from worker.broker.address import BrokerAddress, BrokerUrlError
from worker.broker.memory import MemoryBroker
from worker.broker.port import Broker
from worker.broker.rabbitmq import RabbitMQBroker

__all__ = ["BrokerUrlError", "open_broker"]


def open_broker(url: str, environment: Environment, *, shards: int = 0) -> Broker:
    """Make the broker of a URL, not started yet. Raises `BrokerUrlError` for a URL that can't be used.

    Of a broker in memory one process is the only user, so that it has no shards, whatever their number.
    """
    address = BrokerAddress.parse(url)
    if address.in_memory:
        return MemoryBroker(address, environment)
    if address.encrypted:
        address.tls_context()
    return RabbitMQBroker(address, environment, shards)
