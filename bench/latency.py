"""Latency: from the instant at which a request was meant to go out to the arrival of its number at a subscriber.

Generator, worker and subscriber are processes of their own. The load is an open loop, at shares of a capacity that is
measured before, in the same way.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import pika
import psycopg
from pika.spec import BasicProperties

from bench.check import Answers
from bench.contenders import Contender
from bench.figures import intended, percentile
from bench.load import Load
from bench.programs import Program, Running
from bench.servers import ANSWERS, REQUESTS, Servers, Stage, blocking_channel
from bench.wire import EVENTS, STRUCTURED

#: The share of a run's requests that come before the first that counts: the worker has to get going.
WARM_UP = 0.2
_LONGEST_WAIT = 60.0


@dataclass(frozen=True, slots=True)
class Course:
    """What came of one run: milliseconds from intended publish to arrival, of the requests that count."""

    latencies_ms: Sequence[float]
    #: By how much the generator itself was behind its schedule at most; part of the latencies.
    generator_late_ms: float

    def as_json(self) -> dict[str, float]:
        """Give the percentiles."""
        return {
            "requests": len(self.latencies_ms),
            "p50": percentile(self.latencies_ms, 0.50),
            "p99": percentile(self.latencies_ms, 0.99),
            "p99_9": percentile(self.latencies_ms, 0.999),
            "longest": max(self.latencies_ms),
            "generator_late": self.generator_late_ms,
        }


def measure_capacity(servers: Servers, contender: Contender, load: Load) -> float:
    """Tell how many invoices a second a contender sustains while generator and subscriber work beside it."""
    arrived, _ = _run(servers, contender, load, rate=0)
    counted = sorted(arrived.values())[int(len(arrived) * WARM_UP) :]
    return (len(counted) - 1) / (counted[-1] - counted[0])


def measure_latency(servers: Servers, contender: Contender, rate: float, seconds: float) -> Course:
    """Ask `rate` requests a second for so long, and tell how long each took."""
    load = Load(max(20, int(rate * seconds)))
    arrived, generated = _run(servers, contender, load, rate)
    latencies = [
        (at - intended(load.number_of(request_id), generated["began"], rate)) * 1000
        for request_id, at in arrived.items()
        if load.number_of(request_id) >= load.invoices * WARM_UP
    ]
    return Course(latencies, generated["late_ms"])


def pool(courses: Sequence[Course]) -> Course:
    """Put the runs of several rounds together: percentiles are those of all requests."""
    return Course(
        [latency for course in courses for latency in course.latencies_ms],
        max(course.generator_late_ms for course in courses),
    )


def commit_ms(servers: Servers, times: int = 200) -> float:
    """Measure the median commit of one row, alone on the machine: what no durable answer can do without."""
    url = servers.postgres.new_database()
    taken = []
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE single_row (number bigint PRIMARY KEY, at timestamptz)")
        for number in range(times):
            began = time.monotonic()
            connection.execute("INSERT INTO single_row VALUES (%s, now())", (number,))
            taken.append(time.monotonic() - began)
    servers.postgres.drop_database(url)
    return median(taken) * 1000


def confirm_ms(servers: Servers, times: int = 200) -> float:
    """Measure the median confirm of one persistent message to a quorum queue, alone on the machine."""
    url = servers.new_broker()
    body = next(Load(1).requests())
    taken = []
    with blocking_channel(url) as channel:
        channel.confirm_delivery()
        for _ in range(times):
            began = time.monotonic()
            channel.basic_publish(
                EVENTS, "invoice-issuing", body, BasicProperties(content_type=STRUCTURED, delivery_mode=2)
            )
            taken.append(time.monotonic() - began)
    servers.rabbitmq.delete_vhost(url.rsplit("/", 1)[1])
    return median(taken) * 1000


def _run(servers: Servers, contender: Contender, load: Load, rate: float) -> tuple[dict[str, float], dict[str, float]]:
    """Run all three processes; gives when each answer came, and what the generator says. The answers are checked."""
    stage = servers.new_stage(load)
    try:
        if contender.prepare is not None:
            contender.prepare(stage, load)
        servers.checkpoint()
        subscriber = Program("bench.subscriber", (stage.broker_url, str(load.invoices)))
        arguments = (stage.broker_url, str(load.invoices), str(load.taxpayers), load.series, str(rate))
        with Running(contender.programs(stage)) as working, Running([subscriber]) as subscribing:
            _wait_for_consumer(stage, REQUESTS, working)
            _wait_for_consumer(stage, ANSWERS, subscribing)
            with Running([Program("bench.generator", arguments)]) as generating:
                longest = _LONGEST_WAIT + (load.invoices / rate if rate else 0)
                generating.wait(longest)
                subscribing.wait(longest)
                generated = json.loads(generating.output())
            heard: dict[str, Any] = json.loads(subscribing.output())
    finally:
        servers.remove(stage)
    answers = Answers({request_id: {number} for request_id, number in heard["numbers"].items()})
    answers.insist(load)
    return heard["arrived"], generated


def _wait_for_consumer(stage: Stage, queue: str, running: Running) -> None:
    ends_at = time.monotonic() + _LONGEST_WAIT
    connection = pika.BlockingConnection(pika.URLParameters(stage.broker_url))
    channel = connection.channel()
    while not channel.queue_declare(queue, passive=True).method.consumer_count:
        running.check()
        if time.monotonic() > ends_at:
            message = f"nobody consumes {queue}:\n{running.log()}"
            raise TimeoutError(message)
        connection.sleep(0.05)
    connection.close()
