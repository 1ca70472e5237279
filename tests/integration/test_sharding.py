"""Shards on a real RabbitMQ with its consistent-hash plugin: each taxpayer at one process, and nothing left behind."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from schemas.topics import Topic, queue_name
from schemas.vocabulary import Environment
from tests.support.broker_calls import ISSUING, message, nothing_comes, publish, take
from tests.support.fixtures_rabbitmq import OpenBroker
from tests.support.outside.envelopes import structured
from tests.support.outside.identities import new_taxpayer_id, organization
from tests.support.outside.polling import eventually
from tests.support.outside.world import World, channel_at, issuing
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ
from worker.broker import open_broker, rabbitmq_subscription
from worker.broker.emit import emit
from worker.broker.port import Broker, Message, Outcome, Subscription
from worker.broker.topology import shard_queue

SHARDS = 4
QUEUE = queue_name(ISSUING)


@pytest.fixture(scope="module")
def hashing_node() -> Iterator[PrivateRabbitMQ]:
    """A node with the plugin, which the other tests' node doesn't have."""
    with PrivateRabbitMQ(plugins=["rabbitmq_consistent_hash_exchange"]) as node:
        yield node


@pytest.fixture
def url(hashing_node: PrivateRabbitMQ) -> Iterator[str]:
    """An empty virtual host."""
    url = hashing_node.new_vhost()
    yield url
    hashing_node.delete_vhost(urlsplit(url).path[1:])


@pytest.fixture(autouse=True)
def _quick_spreading(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rabbitmq_subscription, "SPREADING_PAUSE", 0.2)


def of_taxpayer(number: int, times: int = 1) -> list[Message]:
    return [message(f"{number}", key=f"{ISSUING.value}.TAXPAYER{number:010d}") for _ in range(times)]


def of_taxpayers(count: int, times: int = 1) -> list[Message]:
    return [each for _ in range(times) for number in range(count) for each in of_taxpayer(number)]


def whole_queue(url: str, queue: str) -> int:
    with channel_at(url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


class Consuming:
    """One process's end of the broker, as far as its deliveries go."""

    def __init__(self, broker: Broker) -> None:
        self.subscription: Subscription = broker.subscribe(ISSUING, prefetch=50)
        self.seen: Counter[str] = Counter()

    def drain(self) -> None:
        """Take and acknowledge what is there now."""
        while (batch := self.subscription.next_batch(size=100, age=0.0, wait=0.05)) is not None:
            self.seen.update(each.body.decode() for each in batch.deliveries)
            self.subscription.acknowledge(batch)


def consumers(connect: OpenBroker, url: str, count: int, shards: int = SHARDS) -> list[Consuming]:
    """Start so many, one after the other, each ready before the next: the first would have all shards."""
    started = []
    for _ in range(count):
        consuming = Consuming(connect(url, shards=shards))
        consuming.subscription.next_batch(size=1, age=0, wait=0)
        started.append(consuming)
    return started


def drained(everyone: list[Consuming], expected: int) -> Counter[str]:
    """Let all take until so many deliveries were seen in all."""

    def seen() -> Counter[str]:
        for each in everyone:
            each.drain()
        return sum((each.seen for each in everyone), Counter[str]())

    eventually(lambda: seen().total() >= expected, within=40, what=lambda: f"{expected} deliveries, not {seen()}")
    return seen()


def test_all_requests_of_a_taxpayer_come_to_one_process_and_no_process_is_left_out(
    connect: OpenBroker, url: str
) -> None:
    everyone = consumers(connect, url, 2)
    publisher = connect(url, shards=SHARDS)

    # The first to start holds every shard, until it hands on what is beyond its share.
    def spread() -> bool:
        publish(publisher, *of_taxpayers(40))
        for each in everyone:
            each.drain()
        return [each.subscription.shards_served for each in everyone] == [SHARDS // 2] * 2

    eventually(spread, within=40, what="shards at both")
    drained(everyone, 0)
    for each in everyone:
        each.seen.clear()
    publish(publisher, *of_taxpayers(100, times=3))

    assert drained(everyone, 300) == {str(number): 3 for number in range(100)}
    first, second = (set(each.seen) for each in everyone)
    assert not first & second
    assert first
    assert second


def test_a_request_without_a_taxpayer_id_goes_to_the_queue_itself(connect: OpenBroker, url: str) -> None:
    broker = connect(url, shards=SHARDS)

    assert publish(broker, message(key=ISSUING.value)) == [Outcome.CONFIRMED]
    assert publish(broker, *of_taxpayer(1)) == [Outcome.CONFIRMED]

    assert whole_queue(url, QUEUE) == 1
    assert sum(whole_queue(url, shard_queue(ISSUING, number).name) for number in range(1, SHARDS + 1)) == 1


@pytest.mark.parametrize(("before", "after"), [(0, SHARDS), (SHARDS, 0), (SHARDS, 2), (2, SHARDS)])
def test_what_was_routed_before_a_change_is_consumed_after_it(
    connect: OpenBroker, url: str, before: int, after: int
) -> None:
    publish(connect(url, shards=before), *of_taxpayers(30))

    changed = connect(url, shards=after)
    publish(changed, *of_taxpayers(30))

    assert drained([Consuming(changed)], 60) == {str(number): 2 for number in range(30)}


def test_a_shard_beyond_the_setting_gets_nothing_new(connect: OpenBroker, url: str) -> None:
    connect(url, shards=SHARDS)
    publish(connect(url, shards=2), *of_taxpayers(30))

    assert [whole_queue(url, shard_queue(ISSUING, number).name) for number in (3, 4)] == [0, 0]


@pytest.mark.parametrize("order", [(0, SHARDS), (SHARDS, 0)])
def test_workers_with_and_without_the_setting_serve_side_by_side(
    connect: OpenBroker, url: str, order: tuple[int, int]
) -> None:
    brokers = [connect(url, shards=shards) for shards in order]
    everyone = [Consuming(broker) for broker in brokers]

    for broker in brokers:
        assert publish(broker, *of_taxpayers(30)) == [Outcome.CONFIRMED] * 30
    assert publish(brokers[0], message("keyless", key=ISSUING.value)) == [Outcome.CONFIRMED]

    assert drained(everyone, 61) == {"keyless": 1} | {str(number): 2 for number in range(30)}


def test_a_command_leaves_the_routes_as_the_workers_set_them(connect: OpenBroker, url: str) -> None:
    broker = connect(url, shards=SHARDS)

    emit(url, of_taxpayer(1)[0], Environment.SANDBOX)

    assert whole_queue(url, QUEUE) == 0
    drained([Consuming(broker)], 1)


def test_a_process_that_goes_leaves_its_shards_to_those_who_wait(connect: OpenBroker, url: str) -> None:
    first = open_broker(url, Environment.SANDBOX, shards=SHARDS)
    holding = first.subscribe(ISSUING, prefetch=50)
    first.start()
    eventually(lambda: first.ready, within=30, what="the first")
    standby = Consuming(connect(url, shards=SHARDS))
    publish(connect(url, shards=SHARDS), *of_taxpayers(30))
    take(holding, 5, acknowledge=False)

    first.close(5.0)

    assert drained([standby], 30) == {str(number): 1 for number in range(30)}


def test_large_messages_narrow_and_widen_the_window_of_shards_too(
    connect: OpenBroker, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.broker.rabbitmq_consumer.READ_AHEAD_BYTES", 200_000)
    broker = connect(url, shards=2)
    consuming = Consuming(broker)
    large = [message("x" * 50_000, key=f"{ISSUING.value}.T{number}", message_id=f"{number}") for number in range(40)]
    publish(broker, *large, *of_taxpayers(200))

    assert drained([consuming], 240).total() >= 240
    publish(broker, *of_taxpayers(200))
    drained([consuming], 440)
    assert nothing_comes(consuming.subscription)


def test_a_deleted_shard_is_declared_and_consumed_again(connect: OpenBroker, url: str) -> None:
    broker = connect(url, shards=2)
    consuming = Consuming(broker)
    eventually(lambda: broker.ready, within=30, what="a ready broker")

    with channel_at(url) as channel:
        channel.queue_delete(shard_queue(ISSUING, 2).name)
    eventually(lambda: broker.ready, within=30, what="a broker that is ready again")

    publish(broker, *of_taxpayers(30))
    drained([consuming], 30)


@pytest.fixture
def world(url: str, postgres: PrivatePostgres, tmp_path: Path) -> Iterator[World]:
    """An installation on the node with the plugin."""
    database_url = postgres.new_database()
    with World(broker_url=url, database_url=database_url, folder=tmp_path, FUMA_SHARDS=str(SHARDS)) as world:
        yield world
    postgres.drop_database(database_url)


@pytest.mark.timeout(300)
def test_every_request_gets_one_number_while_workers_come_are_killed_and_lose_the_setting(world: World) -> None:
    companies = [organization(taxpayer_id=new_taxpayer_id(), claim_quantity=1000) for _ in range(8)]
    world.register(*companies)
    assert world.events.count("number-assigned") == 0
    keys: list[str] = []

    def ask(times: int, *, keyless: bool = False) -> None:
        for _ in range(times):
            for company in companies:
                keys.append(f"R-{len(keys):05d}")
                key = ISSUING.value if keyless else f"{ISSUING.value}.{company.taxpayer_id}"
                world.publisher.send(structured(issuing(company, keys[-1]), routing_key=key))

    def answered() -> None:
        def all_have_one() -> bool:
            return {record.data["issue_request_id"] for record in world.events.records("number-assigned")} == set(keys)

        eventually(all_have_one, within=60, what=lambda: f"an answer for each of {len(keys)}:\n{world.logs()}")

    first, second = world.worker(), world.worker()
    ask(20)
    answered()

    first.kill()
    ask(20)
    ask(2, keyless=True)
    answered()

    without = world.worker(FUMA_SHARDS=None)
    ask(10)
    second.kill()
    ask(10)
    answered()
    without.drain()
    ask(5)

    world.worker()
    answered()

    numbers = {record.data["issue_request_id"]: set[str]() for record in world.events.records("number-assigned")}
    for record in world.events.records("number-assigned"):
        numbers[record.data["issue_request_id"]].add(record.data["invoice_number"])
    assert all(len(given) == 1 for given in numbers.values())
    assert len(set.union(*numbers.values())) == len(keys)
    world.audit()


def test_the_metrics_tell_how_many_shards_a_worker_is_served_at(world: World) -> None:
    company = organization(taxpayer_id=new_taxpayer_id(), claim_quantity=1000)
    world.register(company)
    worker = world.worker()

    def served() -> bool:
        world.publisher.send(
            structured(issuing(company, "R-1"), routing_key=f"{ISSUING.value}.{company.taxpayer_id}"),
        )
        return f'fuma_shards_served{{topic="{Topic.INVOICE_ISSUING.value}"}} 1.0' in worker.metrics()

    eventually(served, within=30, what=lambda: f"a shard in {worker.metrics()}", step=0.5)


def test_what_is_missing_where_the_plugin_is_not_enabled(
    rabbitmq_node: PrivateRabbitMQ, private_rabbitmq_url: str, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    rabbitmq_node.start()
    database_url = postgres.new_database()
    with World(broker_url=private_rabbitmq_url, database_url=database_url, folder=tmp_path) as world:
        refused = world.worker(wait=False, FUMA_SHARDS="2")

        assert refused.wait(30) == 1
        said = [line for line in refused.err().splitlines() if line.startswith("fuma: ")]
        assert len(said) == 1
        assert "rabbitmq-plugins enable rabbitmq_consistent_hash_exchange" in said[0]
        assert "FUMA_SHARDS=0" in said[0]
    postgres.drop_database(database_url)
