"""A steady load on several taxpayers that use up claim after claim, and how many of its requests had to wait."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Self

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exchange_type import ExchangeType
from pika.spec import Basic, BasicProperties

from tests.support.outside.envelopes import Event, batch
from tests.support.outside.identities import Organization, organization
from tests.support.outside.polling import eventually
from tests.support.outside.world import World, issuing

#: Requests that one message carries.
_BATCH = 50

#: Requests that may be sent and not answered: so many seconds of the load. A machine that can't keep pace slows the
#: load down, instead of finding all of it in its queue.
_UNANSWERED_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for, how fast, and of what an authority."""

    taxpayers: int = 10
    #: Claims that each taxpayer uses up, and their size.
    claims: int = 20
    claim_quantity: int = 1000
    #: Requests a second, of all taxpayers together.
    rate: float = 2000
    latency_ms: float = 300

    @property
    def requests(self) -> int:
        """All requests but the first one of each taxpayer, which can but wait."""
        return self.taxpayers * (self.claims * self.claim_quantity - 1)


@dataclass(frozen=True, slots=True)
class Course:
    """How a load went."""

    #: Requests that came after each taxpayer had its first range, and those of them that had to wait.
    requests: int
    waited: int
    #: The most rows that `fuma waiting --json` showed at a look, and how many looks there were.
    most_listed: int
    looks: int
    claims: int
    seconds: float

    @property
    def rate(self) -> float:
        """Requests a second, as they were answered."""
        return self.requests / self.seconds

    def __str__(self) -> str:
        """Say it in one line."""
        return (
            f"{self.requests} requests after the first ranges, {self.rate:.0f}/s, {self.claims} claims:"
            f" {self.waited} waited (`fuma waiting` showed {self.most_listed} at most, looked at {self.looks} times)"
        )


def run(world: World, load: Load, *, low_threshold: float) -> Course:
    """Put the load on a new worker and tell how it went; each taxpayer has its first range before it begins."""
    organizations = [
        organization(claim_quantity=load.claim_quantity, low_threshold=low_threshold) for _ in range(load.taxpayers)
    ]
    world.register(*organizations)
    with _Answers(world.broker_url) as answers:
        worker = world.worker()
        world.authority.faults(latency_ms=load.latency_ms)
        world.send(*(issuing(each, "first") for each in organizations))
        eventually(lambda: answers.count >= load.taxpayers, within=60, what=lambda: f"first ranges\n{worker.log()}")
        before = ever_waited(world)
        with _Looks(world) as looks:
            began = time.monotonic()
            _send(world, load, _requests(load, organizations), answers)
            wanted = load.taxpayers + load.requests
            eventually(
                lambda: answers.count >= wanted,
                within=120,
                what=lambda: f"{wanted} answers, came {answers.count}\n{worker.log()}",
            )
            seconds = time.monotonic() - began
        assert world.waiting() == []
        course = Course(
            requests=load.requests,
            waited=ever_waited(world) - before,
            most_listed=looks.most,
            looks=looks.count,
            claims=len(world.claims()),
            seconds=seconds,
        )
        worker.drain()
    return course


def ever_waited(world: World) -> int:
    """Tell how many requests ever waited, by the audit's report; insists that every invariant holds."""
    report = {row["invariant"]: row for row in world.fuma.rows("audit")}
    return int(report["requests-that-ever-waited"]["checked"])


def _requests(load: Load, organizations: Sequence[Organization]) -> Iterator[Event]:
    """Give the requests, each taxpayer's evenly among the others'."""
    for number in range(load.requests):
        yield issuing(organizations[number % load.taxpayers], f"INV-{number:07d}")


def _send(world: World, load: Load, requests: Iterator[Event], answers: "_Answers") -> None:
    """Send at the load's pace, never more ahead of the answers than may be unanswered."""
    most_ahead = max(_BATCH, int(load.rate * _UNANSWERED_SECONDS))
    began, sent = time.monotonic(), 0
    answered_before = answers.count
    while events := list(islice(requests, _BATCH)):
        due = began + sent / load.rate
        time.sleep(max(0.0, due - time.monotonic()))
        eventually(
            lambda: sent - (answers.count - answered_before) < most_ahead,  # noqa: B023 -- asked at once
            within=120,
            what="answers to what was sent",
            step=0.005,
        )
        world.publisher.send(batch(events))
        sent += len(events)


class _Answers:
    """Counts the numbers that were assigned, as their events come."""

    def __init__(self, url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._channel = self._connection.channel()
        self._thread = threading.Thread(target=self._channel.start_consuming, name="outside-answers", daemon=True)
        self.count = 0

    def __enter__(self) -> Self:
        self._channel.exchange_declare("fuma", ExchangeType.topic, durable=True)
        queue = self._channel.queue_declare("", exclusive=True).method.queue
        self._channel.queue_bind(queue, "fuma", "number-assigned.#")
        self._channel.basic_consume(queue, self._take, auto_ack=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.add_callback_threadsafe(self._channel.stop_consuming)
        self._thread.join(10)
        self._connection.close()

    def _take(self, _channel: BlockingChannel, _how: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        self.count += body.count(b'"specversion"')


class _Looks:
    """Looks at `fuma waiting --json` again and again while the load goes on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, name="outside-looks", daemon=True)
        self.most = 0
        self.count = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._ending.wait(2):
            self.most = max(self.most, len(self._world.waiting()))
            self.count += 1
