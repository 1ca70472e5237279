"""What RabbitMQ does and the broker in memory doesn't: each difference is listed, and shown to be one."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from schemas.topics import Topic, queue_name
from schemas.vocabulary import Environment
from tests.support.waiting import wait_until
from worker.broker import open_broker
from worker.broker.address import BrokerAddress
from worker.broker.dead_letters import read_letters
from worker.broker.emit import emit
from worker.broker.kombu_wire import connected
from worker.broker.memory import MemoryLack
from worker.broker.port import Message
from worker.broker.topology import DELIVERY_LIMIT, EXCHANGE

QUEUE = queue_name(Topic.INVOICE_ISSUING)
REQUEST = Message(EXCHANGE, "invoice-issuing", b"{}", "application/json")

EMITTING = f"""
import sys
from worker.broker.emit import emit
from worker.broker.port import Message
emit(sys.argv[1], Message({EXCHANGE!r}, "invoice-issuing", b"", "text/plain"))
"""


def waiting(url: str, queue: str) -> int:
    with connected(BrokerAddress.parse(url)) as connection, closing(connection.channel()) as channel:
        return int(channel.queue_declare(queue, passive=True).message_count)


def keeps_what_another_process_published(url: str) -> bool:
    broker = open_broker(url, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready, "readiness")
    broker.close(5.0)
    subprocess.run([sys.executable, "-c", EMITTING, url], cwd=Path(__file__).parents[2], check=True, timeout=60)
    return waiting(url, QUEUE) == 1


def moves_what_comes_back_too_often(url: str) -> bool:
    emit(url, REQUEST)
    with connected(BrokerAddress.parse(url)) as connection, closing(connection.channel()) as channel:
        for _ in range(DELIVERY_LIMIT + 1):
            message = channel.basic_get(QUEUE)
            assert message is not None
            channel.basic_reject(message.delivery_tag, requeue=True)
        if channel.basic_get(QUEUE) is not None:
            return False
    wait_until(lambda: len(read_letters(url)) == 1, "the letter")
    (letter,) = read_letters(url)
    return letter.reason == "delivery-limit" and letter.queue == QUEUE


def notices_a_queue_of_other_arguments(url: str) -> bool:
    with connected(BrokerAddress.parse(url)) as connection, closing(connection.channel()) as channel:
        channel.queue_declare(QUEUE, durable=True, auto_delete=False)
    return is_refused(url)


def asks_for_credentials(url: str) -> bool:
    scheme, rest = url.split("://")
    return is_refused(f"{scheme}://nobody:wrong@{rest.split('@')[-1]}")


def is_refused(url: str) -> bool:
    broker = open_broker(url, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready or broker.refusal is not None, "readiness or refusal")
    broker.close(5.0)
    return broker.refusal is not None


CAPABILITIES: dict[MemoryLack, Callable[[str], bool]] = {
    MemoryLack.OTHER_PROCESSES: keeps_what_another_process_published,
    MemoryLack.DELIVERY_LIMIT: moves_what_comes_back_too_often,
    MemoryLack.QUEUE_ARGUMENTS: notices_a_queue_of_other_arguments,
    MemoryLack.ACCESS_CONTROL: asks_for_credentials,
}


@pytest.mark.parametrize("lack", MemoryLack)
def test_rabbitmq_does_what_memory_lacks(lack: MemoryLack, rabbitmq_url: str) -> None:
    assert CAPABILITIES[lack](rabbitmq_url)


@pytest.mark.parametrize("lack", MemoryLack)
def test_memory_lacks_it(lack: MemoryLack, memory_url: str) -> None:
    assert not CAPABILITIES[lack](memory_url)
