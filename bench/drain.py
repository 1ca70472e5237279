"""Throughput: how fast a contender empties a queue that is full before it starts.

Nobody else works meanwhile: the answers gather in a queue of their own, and are checked when all are there.
"""

import time
from dataclasses import asdict, dataclass

import pika

from bench.check import Answers, take_all
from bench.contenders import Contender
from bench.figures import Sample, steady_rate
from bench.load import Load
from bench.meter import Meter, Reading
from bench.programs import Running
from bench.servers import ANSWERS, Servers, Stage
from tests.support.outside.publisher import Publisher

#: Between two looks at the answers.
_LOOK = 0.01
#: A contender that has answered nothing more for so long has failed.
_PATIENCE = 30.0


class StalledError(RuntimeError):
    """A contender answers nothing more; the text has the end of what it said."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How one run went."""

    invoices_per_second: float
    #: Processor seconds for 1,000 invoices.
    cpu: dict[str, float]
    memory_mb: float

    def as_json(self) -> dict[str, object]:
        """Give it as the results file has it."""
        return asdict(self)


def drain(servers: Servers, contender: Contender, load: Load) -> Drain:
    """Run a contender on a stage of its own, check its answers, and tell how fast it was."""
    stage = servers.new_stage(load)
    try:
        return drain_on(servers, stage, contender, load)
    finally:
        servers.remove(stage)


def drain_on(servers: Servers, stage: Stage, contender: Contender, load: Load) -> Drain:
    """Run a contender on a stage that is there already; its queues must be empty."""
    if contender.prepare is not None:
        contender.prepare(stage, load)
    publisher = Publisher(stage.broker_url)
    publisher.send(*contender.messages(load))
    publisher.close()
    servers.checkpoint()
    with Running(contender.programs(stage)) as running:
        measured = _watch(servers, stage, running, load)
    bodies = take_all(stage.broker_url, ANSWERS, stage.messages_in(ANSWERS))
    if contender.assigns:
        answers = Answers()
        for body in bodies:
            answers.add(body)
        answers.insist(load)
    return measured


def _watch(servers: Servers, stage: Stage, running: Running, load: Load) -> Drain:
    """Look at the answers and at the clocks of the processes until all is answered."""
    meter = Meter(
        {
            "worker": running.pids,
            "postgresql": [servers.postgres.process_id],
            "rabbitmq": [servers.rabbitmq.process_id],
        }
    )
    expected = load.answers
    samples: list[Sample] = []
    readings: dict[Sample, Reading] = {}
    connection = pika.BlockingConnection(pika.URLParameters(stage.broker_url))
    channel = connection.channel()
    moved_at = time.monotonic()
    while not samples or samples[-1].done < expected:
        sample = Sample(time.monotonic(), channel.queue_declare(ANSWERS, passive=True).method.message_count)
        if samples and sample.done > samples[-1].done:
            moved_at = sample.at
        if sample.at - moved_at > _PATIENCE:
            message = f"{sample.done} of {expected} messages, and no more come:\n{running.log()}"
            raise StalledError(message)
        samples.append(sample)
        # Reading the clocks takes its time: once where counting begins, and at the end.
        if (not readings and sample.done >= expected * 0.1) or sample.done >= expected:
            readings[sample] = meter.read()
        running.check()
        connection.sleep(_LOOK)
    connection.close()
    rate, began, ended = steady_rate(samples, expected)
    per_answer = load.invoices / expected
    thousands = (ended.done - began.done) * per_answer / 1000
    before, after = readings[began], readings[ended]
    return Drain(
        rate * per_answer,
        {name: (seconds - before.cpu[name]) / thousands for name, seconds in after.cpu.items()},
        after.memory_mb,
    )
