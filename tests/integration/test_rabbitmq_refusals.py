"""What a worker says when RabbitMQ will never let it work, and what it waits for instead."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest
from structlog.testing import capture_logs

from schemas.topics import Topic
from schemas.vocabulary import Environment
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.waiting import wait_until
from worker.broker import open_broker
from worker.broker.address import BrokerAddress
from worker.broker.emit import EmitError, emit
from worker.broker.kombu_wire import connected
from worker.broker.port import Message, Outcome
from worker.broker.tap import Tap
from worker.broker.topology import EXCHANGE, environment_exchange

REQUEST = Message(EXCHANGE, "refresh-requested", b"{}", "application/json")


@pytest.fixture
def refused() -> Iterator[Callable[[str], str]]:
    """Give the refusal of a URL, after looking that nothing of its credentials was said on the way."""

    def refusal_of(url: str) -> str:
        broker = open_broker(url, Environment.SANDBOX)
        with capture_logs() as logs:
            broker.start()
            wait_until(lambda: broker.refusal is not None, "the refusal")
            assert not broker.ready
            published = broker.publish([REQUEST])
            broker.close(5.0)
        assert published.result(0) == [Outcome.UNKNOWN]
        refusal = broker.refusal
        assert refusal is not None
        assert "\n" not in refusal
        for secret in credentials(url):
            assert secret not in refusal
            assert secret not in repr(logs)
        return refusal

    threads = broker_threads()
    yield refusal_of
    assert broker_threads() <= threads


def broker_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("fuma-broker")}


def credentials(url: str) -> list[str]:
    parts = urlsplit(url)
    assert parts.username is not None
    assert parts.password is not None
    return [parts.username, parts.password]


def said_by_emit(url: str) -> str:
    with pytest.raises(EmitError) as failed:
        emit(url, REQUEST, Environment.SANDBOX)
    text = str(failed.value)
    assert "\n" not in text
    for secret in credentials(url):
        assert secret not in text
    return text


def test_a_wrong_password(rabbitmq_node: PrivateRabbitMQ, refused: Callable[[str], str]) -> None:
    url = rabbitmq_node.url_of("/", user="someone", password="not-the-password")  # noqa: S106

    assert "refuses the user name or the password" in refused(url)
    assert "refuses the user name or the password" in said_by_emit(url)


def test_a_virtual_host_that_does_not_exist(rabbitmq_node: PrivateRabbitMQ, refused: Callable[[str], str]) -> None:
    url = rabbitmq_node.url_of("nowhere")

    assert "has no virtual host 'nowhere'" in refused(url)
    assert "has no virtual host 'nowhere'" in said_by_emit(url)


def test_a_virtual_host_that_the_user_may_not_enter(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    refused: Callable[[str], str],
) -> None:
    user, password = rabbitmq_node.new_user()
    url = rabbitmq_node.url_of(urlsplit(private_rabbitmq_url).path[1:], user=user, password=password)

    assert "give the user permissions in it" in refused(url)
    assert "give the user permissions in it" in said_by_emit(url)


def test_a_user_who_may_not_set_up_queues(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
    refused: Callable[[str], str],
) -> None:
    user, password = rabbitmq_node.new_user()
    vhost = urlsplit(private_rabbitmq_url).path[1:]
    rabbitmq_node.allow(user, vhost, configure="^$")
    url = rabbitmq_node.url_of(vhost, user=user, password=password)

    assert "give it configure, write and read permission" in refused(url)
    assert "give it configure, write and read permission" in said_by_emit(url)


def test_a_user_of_little_permission_may_do_all_that_is_needed(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
) -> None:
    user, password = rabbitmq_node.new_user()
    vhost = urlsplit(private_rabbitmq_url).path[1:]
    rabbitmq_node.allow(user, vhost, configure="^fuma", write="^fuma", read="^fuma")
    url = rabbitmq_node.url_of(vhost, user=user, password=password)

    with Tap(url) as tap:
        emit(url, REQUEST, Environment.SANDBOX)
        assert tap.next(10.0) is not None


def test_a_queue_of_other_arguments(private_rabbitmq_url: str, refused: Callable[[str], str]) -> None:
    with connected(BrokerAddress.parse(private_rabbitmq_url)) as connection, closing(connection.channel()) as channel:
        channel.queue_declare("fuma.claim-requested", durable=True, auto_delete=False)

    for text in (refused(private_rabbitmq_url), said_by_emit(private_rabbitmq_url)):
        assert "'fuma.claim-requested'" in text
        assert "with other settings" in text
        assert "virtual host of its own" in text


def test_an_exchange_of_another_type(private_rabbitmq_url: str, refused: Callable[[str], str]) -> None:
    with connected(BrokerAddress.parse(private_rabbitmq_url)) as connection, closing(connection.channel()) as channel:
        channel.exchange_declare(EXCHANGE, "direct", durable=True, auto_delete=False)

    assert "with other settings" in refused(private_rabbitmq_url)


def test_the_other_environments_broker(private_rabbitmq_url: str, refused: Callable[[str], str]) -> None:
    mark = environment_exchange(Environment.PRODUCTION)
    with connected(BrokerAddress.parse(private_rabbitmq_url)) as connection, closing(connection.channel()) as channel:
        channel.exchange_declare(mark.name, mark.kind, durable=True, auto_delete=False)

    for text in (refused(private_rabbitmq_url), said_by_emit(private_rabbitmq_url)):
        assert "serves the environment 'production'" in text


def test_an_encrypted_broker_of_a_known_authority(rabbitmq_node: PrivateRabbitMQ, private_rabbitmq_url: str) -> None:
    vhost = urlsplit(private_rabbitmq_url).path[1:]
    url = f"{rabbitmq_node.tls_url_of(vhost)}?cacertfile={rabbitmq_node.ca_file}"
    broker = open_broker(url, Environment.SANDBOX)
    broker.start()
    wait_until(lambda: broker.ready, "readiness")
    subscription = broker.subscribe(Topic.REFRESH_REQUESTED, prefetch=10)

    assert broker.publish([REQUEST]).result(30.0) == [Outcome.CONFIRMED]
    emit(url, REQUEST)

    batch = subscription.next_batch(size=2, age=30.0, wait=30.0)
    assert batch is not None
    assert len(batch.deliveries) == 2
    broker.close(5.0)


def test_an_encrypted_broker_of_an_unknown_authority_is_not_spoken_to(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
) -> None:
    url = rabbitmq_node.tls_url_of(urlsplit(private_rabbitmq_url).path[1:])
    broker = open_broker(url, Environment.SANDBOX)
    with capture_logs() as logs:
        broker.start()
        wait_until(lambda: bool(logs), "an attempt to connect")
        broker.close(5.0)

    assert "CERTIFICATE_VERIFY_FAILED" in repr(logs)
    assert not broker.ready
    assert "CERTIFICATE_VERIFY_FAILED" in said_by_emit(url)


def test_a_broker_that_is_not_there_is_waited_for(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
) -> None:
    threads = broker_threads()
    rabbitmq_node.kill()
    broker = open_broker(private_rabbitmq_url, Environment.SANDBOX)
    with capture_logs() as logs:
        broker.start()
        early = broker.publish([REQUEST])
        wait_until(
            lambda: [line["event"] for line in logs].count("broker-unreachable") > 3,
            "some attempts to connect",
        )
        assert "Connection refused" in repr(logs)
        assert not broker.ready
        assert broker.refusal is None

        rabbitmq_node.start()
        wait_until(lambda: broker.ready, "the broker's start")

    assert early.result(30.0) in ([Outcome.CONFIRMED], [Outcome.UNKNOWN])
    broker.close(5.0)
    assert broker_threads() <= threads
    for secret in credentials(private_rabbitmq_url):
        assert secret not in repr(logs)


def test_a_server_that_never_answers_is_no_refusal_and_can_be_left() -> None:
    threads = broker_threads()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = open_broker(f"amqp://a:b@127.0.0.1:{silent.getsockname()[1]}/", Environment.SANDBOX)
        broker.start()
        connection, _ = silent.accept()
        with connection:
            assert connection.recv(8) == b"AMQP\x00\x00\x09\x01"

            broker.close(1.0)

    assert broker.refusal is None
    wait_until(lambda: broker_threads() <= threads, "the end of the broker's threads")


def test_a_server_that_hangs_up_in_the_midst_of_the_login_is_no_refusal(
    rabbitmq_node: PrivateRabbitMQ,
    private_rabbitmq_url: str,
) -> None:
    # pika takes a connection lost at that moment for wrong credentials.
    with socket.create_connection(("127.0.0.1", rabbitmq_node.port)) as real:
        real.sendall(b"AMQP\x00\x00\x09\x01")
        greeting = real.recv(65_536)
    parts = urlsplit(private_rabbitmq_url)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = private_rabbitmq_url.replace(f":{parts.port}", f":{server.getsockname()[1]}")
        broker = open_broker(url, Environment.SANDBOX)
        with capture_logs() as logs:
            broker.start()
            for _ in range(4):
                connection, _ = server.accept()
                with connection:
                    connection.recv(8)
                    connection.sendall(greeting)
                    # Its answer, the credentials among it; then silence.
                    connection.recv(65_536)
            wait_until(lambda: "broker-unreachable" in [line["event"] for line in logs], "an attempt to fail")
            broker.close(1.0)

    assert broker.refusal is None
