"""Growth: what an invoice costs in a database that is full of those before it, and whether a worker's memory grows."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import psycopg

from bench.check import WrongAnswersError
from bench.contenders import fuma
from bench.drain import Drain, drain_on
from bench.load import Form, Load
from bench.meter import Meter
from bench.programs import ROOT, Running
from bench.servers import ANSWERS, Servers, Stage, blocking_channel
from bench.stock import RANGE_SIZE, fill_stock
from tests.support.outside.publisher import Publisher

TAXPAYERS = 20
#: Requests of one transaction when the statements are measured alone: the worker's own batch size.
STATEMENTS_BATCH = 1000
#: Invoices that are sent at once, so that no queue holds a million.
_PORTION = 50_000
_LOOK = 0.25
_PATIENCE = 120.0


class Ledger:
    """A database with so many numbers given out before, for round after round."""

    def __init__(self, servers: Servers, numbers: int, *, rounds: int, invoices: int) -> None:
        """Fill it; `rounds` of `invoices` each fit into its stocks, twice."""
        self._servers = servers
        self.numbers = numbers
        self._rounds = 0
        self._invoices = invoices
        self.url = servers.postgres.new_migrated_database()
        used = numbers // RANGE_SIZE // TAXPAYERS
        fresh = -(-2 * rounds * invoices // TAXPAYERS // RANGE_SIZE) + 1
        fill_stock(self.url, Load(invoices, TAXPAYERS), used_ranges=used, fresh_ranges=fresh)

    def through_the_worker(self) -> Drain:
        """Let a worker drain a queue into it."""
        stage = Stage(self._servers.new_broker(), self.url)
        try:
            return drain_on(self._servers, stage, fuma(), self._next_load())
        finally:
            self._servers.rabbitmq.delete_vhost(stage.broker_url.rsplit("/", 1)[1])

    def by_statements(self) -> float:
        """Tell how many invoices a second its statements alone come to."""
        return statements_rate(self._servers, self.url, self._next_load())

    def remove(self) -> None:
        """Drop it."""
        self._servers.postgres.drop_database(self.url)

    def _next_load(self) -> Load:
        self._rounds += 1
        return Load(self._invoices, TAXPAYERS, series=f"R{self._rounds:03d}")


def statements_rate(servers: Servers, database_url: str, load: Load, batch: int = STATEMENTS_BATCH) -> float:
    """Tell how many invoices a second the worker's handling alone comes to, in batches of so many, with no broker."""
    servers.checkpoint()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "bench.statements",
            database_url,
            str(load.invoices),
            str(load.taxpayers),
            load.series,
            str(batch),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return float(done.stdout)


def ranges_rate(
    servers: Servers, invoices: int, *, used: int = 0, fresh: int = 1, range_size: int = RANGE_SIZE
) -> float:
    """Tell the rate of the statements alone where one taxpayer has so many ranges, used up and open."""
    url = servers.postgres.new_migrated_database()
    load = Load(invoices, 1)
    enough = max(fresh, -(-invoices // range_size) + 1)
    fill_stock(url, load, used_ranges=used, fresh_ranges=enough, range_size=range_size)
    rate = statements_rate(servers, url, load)
    servers.postgres.drop_database(url)
    return rate


@dataclass(frozen=True, slots=True)
class Memory:
    """What a worker held while invoices went through it."""

    invoices: int
    peak_mb: float
    #: Medians of the second quarter of the time and of the last: the first one has the caches still to fill.
    early_mb: float
    late_mb: float

    @property
    def growth(self) -> float:
        """By what share it held more in the end than early on."""
        return self.late_mb / self.early_mb - 1


def memory_over(servers: Servers, invoices: int) -> Memory:
    """Send so many invoices through one worker, half of them singly, half in batches, and watch what it holds."""
    portions = -(-invoices // 2 // _PORTION)
    loads = [
        Load(invoices // 2 // portions, TAXPAYERS, form, f"{form.value.upper()}{portion}")
        for portion in range(portions)
        for form in (Form.SINGLE, Form.BATCH)
    ]
    stage = servers.new_stage(Load(invoices, TAXPAYERS))
    held: list[float] = []
    try:
        with Running(fuma().programs(stage)) as running, _watching(running, held):
            for load in loads:
                publisher = Publisher(stage.broker_url)
                publisher.send(*load.messages())
                publisher.close()
                _until_answered(stage, running, load)
            # While it runs: an answer that comes twice would end it with requests in its queue.
            _insist_on_numbers(stage.database_url, sum(load.invoices for load in loads))
    finally:
        servers.remove(stage)
    quarter = len(held) // 4
    return Memory(invoices, max(held), median(held[quarter : 2 * quarter]), median(held[-quarter:]))


@contextmanager
def _watching(running: Running, held: list[float]) -> Iterator[None]:
    """Note what the worker holds, again and again, while the block runs."""
    meter = Meter({"worker": running.pids})
    ending = threading.Event()

    def look() -> None:
        while not ending.wait(_LOOK):
            held.append(meter.read().memory_mb)

    thread = threading.Thread(target=look, name="bench-memory")
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


def _until_answered(stage: Stage, running: Running, load: Load) -> None:
    """Wait for the answers to a load, and throw them away."""
    ends_at = time.monotonic() + _PATIENCE
    with blocking_channel(stage.broker_url) as channel:
        while channel.queue_declare(ANSWERS, passive=True).method.message_count < load.answers:
            running.check()
            if time.monotonic() > ends_at:
                message = f"the answers to {load} don't come:\n{running.log()}"
                raise TimeoutError(message)
            time.sleep(_LOOK)
        channel.queue_purge(ANSWERS)


def _insist_on_numbers(database_url: str, invoices: int) -> None:
    """Raise `WrongAnswersError` where not every invoice gets a number; that none has two, the keys see to.

    An answer may come twice, where a worker gave back what it could not hold: then not all were there when we counted.
    """
    ends_at = time.monotonic() + _PATIENCE
    count = 0
    with psycopg.connect(database_url, autocommit=True) as connection:
        while count != invoices and time.monotonic() < ends_at:
            ((count,),) = connection.execute("SELECT count(*) FROM numbers WHERE status = 'assigned'").fetchall()
            time.sleep(_LOOK)
    if count != invoices:
        message = f"{count} numbers were given to {invoices} invoices"
        raise WrongAnswersError(message)
