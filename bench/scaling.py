"""Scale-out: throughput by worker processes, over many taxpayers and over one, with and without shards.

    .venv/bin/python -m bench.scaling

Two parts, each in one call on servers of its own. `cores`: durable settings as they are, where two cores are soon the
limit. `locks`: each commit takes 100 ms longer, as on a slow or replicated disk, and batches are small, so that the
cores rest and what is left is who waits for whom. Every case is drained from full queues by workers that were running
before, with their shards spread; its answers are checked. Who waits is sampled from `pg_stat_activity`.
"""

# ruff: noqa: T201 -- what it finds out is printed

import argparse
import json
import os
import random
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, LiteralString

import psycopg

from bench.check import Answers, take_all
from bench.contenders import fuma
from bench.figures import Sample, steady_rate
from bench.load import Load, taxpayer_id
from bench.meter import Meter
from bench.programs import Running
from bench.servers import ANSWERS, REQUESTS, Servers, Stage, blocking_channel
from schemas.topics import Topic, routing_key
from schemas.vocabulary import Environment
from tests.support.outside.envelopes import Outgoing
from tests.support.outside.publisher import Publisher
from worker.broker import open_broker
from worker.broker.rabbitmq_subscription import SPREADING_PAUSE

RESULTS = Path(__file__).resolve().parent / "results" / "scaling.json"

#: Shards where there are any: four for each of four processes.
SHARDS = 16
MANY = 100
#: PostgreSQL's most.
COMMIT_DELAY_MS = 100
_SMALL_BATCH = 50
_STALLED = 30.0

#: What each of the workers' sessions does at this moment. A row lock is waited for as its holder's transaction.
_SESSIONS: LiteralString = """
    SELECT CASE WHEN state = 'idle in transaction' THEN 'worker-thinks'
                WHEN wait_event_type = 'Lock' THEN 'row-lock'
                WHEN query ILIKE 'commit%' THEN 'commit'
                WHEN wait_event_type IS NULL THEN 'computes'
                WHEN wait_event IN ('WALSync', 'WalSync', 'WALWrite', 'WalWrite', 'CommitDelay') THEN 'commit'
                ELSE wait_event END, count(*)
    FROM pg_stat_activity
    WHERE application_name = 'fuma-worker' AND (state = 'active' OR state = 'idle in transaction')
    GROUP BY 1
"""

_numbers = count(1)


@dataclass(frozen=True)
class Case:
    """One way to run: how many processes over how many taxpayers, in how many shards."""

    part: str
    workers: int
    taxpayers: int
    shards: int = 0

    @property
    def name(self) -> str:
        """Its name in the results."""
        over = "one-taxpayer" if self.taxpayers == 1 else f"{self.taxpayers}-taxpayers"
        return f"{self.part}/{over}/{'sharded' if self.shards else 'plain'}/{self.workers}"


@dataclass
class Run:
    """How one case went, once."""

    invoices_per_second: float
    #: Processor seconds for 1,000 invoices.
    cpu: dict[str, float]
    #: Of so many processors, on average.
    cores_used: float
    #: Sessions of the workers in each state, on average.
    sessions: dict[str, float] = field(default_factory=dict)


def cases(part: str) -> list[Case]:
    """Give the cases of one part."""
    workers = (1, 2, 4)
    kinds = ((MANY, 0), (MANY, SHARDS), (1, 0))
    return [Case(part, each, taxpayers, shards) for taxpayers, shards in kinds for each in workers]


def main() -> None:
    """Run all cases in turn, round after round, and print and store what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--parts", default="cores,locks")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    # Told to end, it ends its workers and servers too.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    wanted = [case for part in arguments.parts.split(",") for case in cases(part)]
    runs: dict[Case, list[Run]] = {case: [] for case in wanted}
    with Servers(disk_gib=8) as servers:
        machine = {**servers.describe(), "load_average_before": round(os.getloadavg()[0], 1)}
        for number in range(1, arguments.rounds + 1):
            for case in wanted:
                runs[case].append(measure(servers, case))
                print(f"{case.name:36} {runs[case][-1].invoices_per_second:8.0f}/s", flush=True)
            # After each round: what was measured isn't lost with what goes wrong later.
            store(arguments.results, {"machine": machine, "rounds": number}, summaries(runs))
    print_table(summaries(runs))


def summaries(runs: Mapping[Case, Sequence[Run]]) -> dict[str, dict[str, Any]]:
    """Sum up each case beside that of one worker of its kind."""
    return {case.name: summary(mine, runs[replace(case, workers=1)]) for case, mine in runs.items()}


def store(results: Path, about: Mapping[str, object], told: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the parts that were measured into the results file, and leave its others as they are."""
    kept = json.loads(results.read_text()) if results.exists() else {}
    for part in sorted({name.partition("/")[0] for name in told}):
        of_part = {name: figures for name, figures in told.items() if name.startswith(f"{part}/")}
        kept[part] = {**about, "cases": of_part}
    results.parent.mkdir(exist_ok=True)
    results.write_text(json.dumps(kept, indent=2) + "\n")


def measure(servers: Servers, case: Case) -> Run:
    """Run one case on a stage of its own."""
    slow = case.part == "locks"
    load = Load(1_500 if slow else 12_000, case.taxpayers, series=f"S{next(_numbers)}")
    stage = servers.new_stage(load)
    if slow:
        delay_commits(servers, stage)
    if case.shards:
        declare_shards(stage, case.shards)
    settings = {"FUMA_BATCH_SIZE": str(_SMALL_BATCH)} if slow else {}
    workers = fuma(case.workers, FUMA_SHARDS=str(case.shards), FUMA_LOG_LEVEL="warning", **settings)
    publisher = Publisher(stage.broker_url)
    try:
        with Running(workers.programs(stage)) as running:
            warm_up(stage, publisher, case, running)
            with stopped(running.pids):
                publisher.send(*keyed(load))
                servers.checkpoint()
            run = watch(servers, stage, running, load)
        answers = Answers()
        for body in take_all(stage.broker_url, ANSWERS, stage.messages_in(ANSWERS)):
            answers.add(body)
        answers.insist(load)
    finally:
        publisher.close()
        servers.remove(stage)
    return run


def keyed(load: Load) -> list[Outgoing]:
    """Give a load's messages with the taxpayer's id in their routing keys, in an order that has no order."""
    messages = [
        replace(message, routing_key=routing_key(Topic.INVOICE_ISSUING, taxpayer_id(number % load.taxpayers)))
        for number, message in enumerate(load.messages())
    ]
    random.Random(load.series).shuffle(messages)  # noqa: S311 -- no secret
    return messages


def delay_commits(servers: Servers, stage: Stage) -> None:
    """Let each commit in a stage's database take longer, without any work for a processor."""
    database = stage.database_url.rsplit("/", 1)[1]
    with psycopg.connect(servers.postgres.url_of("postgres"), autocommit=True) as connection:
        for setting in (f"commit_delay = {COMMIT_DELAY_MS * 1000}", "commit_siblings = 0"):
            connection.execute(f'ALTER DATABASE "{database}" SET {setting}'.encode())


def declare_shards(stage: Stage, shards: int) -> None:
    """Let a stage's requests go to shards, before any worker runs."""
    broker = open_broker(stage.broker_url, Environment.SANDBOX, shards=shards)
    broker.start()
    while not broker.ready:
        time.sleep(0.05)
    broker.close(5.0)


def warm_up(stage: Stage, publisher: Publisher, case: Case, running: Running) -> None:
    """Wait until all workers consume and their shards are spread, keeping them busy with a little; then forget it."""
    with blocking_channel(stage.broker_url) as channel:
        while channel.queue_declare(REQUESTS, passive=True).method.consumer_count < case.workers:
            running.check()
            time.sleep(0.1)
    spread_at = time.monotonic() + (SPREADING_PAUSE * (case.workers - 1) + 1.5 if case.shards else 1)
    sent = 0
    while time.monotonic() < spread_at:
        load = Load(100 if case.taxpayers == 1 else 400, case.taxpayers, series=f"W{next(_numbers)}")
        publisher.send(*keyed(load))
        sent += load.answers
        while stage.messages_in(ANSWERS) < sent:
            running.check()
            time.sleep(0.05)
        time.sleep(0.5)
    with blocking_channel(stage.broker_url) as channel:
        channel.queue_purge(ANSWERS)


@contextmanager
def stopped(pids: Sequence[int]) -> Iterator[None]:
    """Hold processes still, for less time than the broker's heartbeats allow."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def watch(servers: Servers, stage: Stage, running: Running, load: Load) -> Run:
    """Look at answers, clocks and sessions until all is answered."""
    meter = Meter(
        {
            "worker": running.pids,
            "postgresql": [servers.postgres.process_id],
            "rabbitmq": [servers.rabbitmq.process_id],
        }
    )
    samples: list[Sample] = []
    before, counting = meter.read(), False
    moved_at = time.monotonic()
    with sampling(stage) as sessions, blocking_channel(stage.broker_url) as channel:
        while not samples or samples[-1].done < load.answers:
            sample = Sample(time.monotonic(), channel.queue_declare(ANSWERS, passive=True).method.message_count)
            moved_at = sample.at if not samples or sample.done > samples[-1].done else moved_at
            if sample.at - moved_at > _STALLED:
                message = f"{sample.done} of {load.answers} answers, and no more come:\n{running.log()}"
                raise RuntimeError(message)
            samples.append(sample)
            if not counting and sample.done >= load.answers * 0.1:
                before, counting = meter.read(), True
            running.check()
            time.sleep(0.02)
        after = meter.read()
    rate, began, ended = steady_rate(samples, load.answers)
    spent = {name: seconds - before.cpu[name] for name, seconds in after.cpu.items()}
    thousands = (ended.done - began.done) / 1000
    return Run(
        rate,
        {name: seconds / thousands for name, seconds in spent.items()},
        sum(spent.values()) / (ended.at - began.at),
        sessions.averages(),
    )


class Sessions:
    """What the workers' sessions were seen to do."""

    def __init__(self) -> None:
        """Nothing seen yet."""
        self._seen: Counter[str] = Counter()
        self._looks = 0
        self.ended = threading.Event()

    def look(self, database_url: str) -> None:
        """Look again and again until told to end."""
        with psycopg.connect(database_url, autocommit=True, application_name="bench-sessions") as connection:
            while not self.ended.wait(0.02):
                for state, sessions in connection.execute(_SESSIONS).fetchall():
                    self._seen[state] += sessions
                self._looks += 1

    def averages(self) -> dict[str, float]:
        """Give how many were in each state on average, the commonest first."""
        return {state: round(seen / max(1, self._looks), 2) for state, seen in self._seen.most_common(6)}


@contextmanager
def sampling(stage: Stage) -> Iterator[Sessions]:
    """Sample the workers' sessions while the block runs."""
    sessions = Sessions()
    thread = threading.Thread(target=sessions.look, args=(stage.database_url,))
    thread.start()
    try:
        yield sessions
    finally:
        sessions.ended.set()
        thread.join()


def summary(runs: Sequence[Run], of_one_worker: Sequence[Run]) -> dict[str, Any]:
    """Give the medians of a case, with its throughput as a multiple of one worker's in the same round."""
    names = list(dict.fromkeys(state for run in runs for state in run.sessions))
    return {
        "invoices_per_second": round(median(run.invoices_per_second for run in runs)),
        "least": round(min(run.invoices_per_second for run in runs)),
        "most": round(max(run.invoices_per_second for run in runs)),
        "to_one_worker": round(
            median(
                run.invoices_per_second / one.invoices_per_second for run, one in zip(runs, of_one_worker, strict=True)
            ),
            2,
        ),
        "cpu_seconds_per_thousand": {name: round(median(run.cpu[name] for run in runs), 3) for name in runs[0].cpu},
        "cores_used": round(median(run.cores_used for run in runs), 2),
        "sessions": {name: round(median(run.sessions.get(name, 0.0) for run in runs), 2) for name in names},
    }


def print_table(told: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a line for each case."""
    print(f"\n{'case':36} {'invoices/s':>10} {'to one':>7} {'cores':>6}  sessions, on average")
    for name, figures in told.items():
        print(
            f"{name:36} {figures['invoices_per_second']:10} {figures['to_one_worker']:7.2f}"
            f" {figures['cores_used']:6.2f}  {figures['sessions']}"
        )


if __name__ == "__main__":
    main()
