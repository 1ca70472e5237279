"""The benchmark's own RabbitMQ node and PostgreSQL, with settings under which nothing confirmed is lost."""

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, ClassVar, Self

import pika
import psutil
import psycopg
from pika.adapters.blocking_connection import BlockingChannel

from bench.load import Load
from bench.stock import fill_stock
from schemas.topics import Topic
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ
from worker.broker.topology import EXCHANGE, EXCHANGES, QUEUES, topic_queue

#: Where every contender's answers go: a durable quorum queue with the arguments of the contract's own.
ANSWERS = "bench.answers"
#: Where every contender's requests come from.
REQUESTS = topic_queue(Topic.INVOICE_ISSUING).name

_GIB = 1024**3


class TooSmallError(RuntimeError):
    """This machine has too little disk for what is to be measured; the text says how much it takes."""


class DurablePostgres(PrivatePostgres):
    """A PostgreSQL that loses nothing it has committed: a production's settings, but for its memory."""

    settings: ClassVar[Mapping[str, str]] = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "listen_addresses": "127.0.0.1",
        "max_connections": "200",
        "shared_buffers": f"{min(2 * _GIB, psutil.virtual_memory().total // 8) // 1024**2}MB",
        # Checkpoints are made before each measurement, so that none falls into one contender's time alone.
        "max_wal_size": "16GB",
        "checkpoint_timeout": "1h",
        "unix_socket_directories": "",
    }


class DurableRabbitMQ(PrivateRabbitMQ):
    """A node with RabbitMQ's own defaults, and watermarks that no backlog of ours reaches."""

    def _configuration(self) -> str:
        lines = super()._configuration().splitlines()
        # The tests keep the node's log of writes small, which costs speed.
        kept = [line for line in lines if not line.startswith("raft.wal_max_size_bytes")]
        return "\n".join([*kept, "vm_memory_high_watermark.relative = 0.6", ""])


@dataclass(frozen=True, slots=True)
class Stage:
    """What one run has for itself: a virtual host with all queues declared, and a database with its stocks filled."""

    broker_url: str
    database_url: str

    def messages_in(self, queue: str) -> int:
        """Tell how many messages are ready in a queue."""
        with blocking_channel(self.broker_url) as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)


class Servers:
    """Both servers, running; a context manager that leaves no process and no file behind."""

    def __init__(self, *, disk_gib: float) -> None:
        """Check that the machine has the disk for it; nothing runs yet."""
        free = shutil.disk_usage(tempfile.gettempdir()).free / _GIB
        if free < disk_gib:
            message = (
                f"this takes {disk_gib:.0f} GiB of disk under {tempfile.gettempdir()}, there are {free:.0f}:"
                " set TMPDIR to a folder with more"
            )
            raise TooSmallError(message)
        self._stack = ExitStack()
        self._templates: dict[int, str] = {}

    def __enter__(self) -> Self:
        """Start both."""
        with ExitStack() as stack:
            self.postgres = stack.enter_context(DurablePostgres())
            self.rabbitmq = stack.enter_context(DurableRabbitMQ(plugins=["rabbitmq_consistent_hash_exchange"]))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End both, and remove what they stored."""
        self._stack.close()

    def new_stage(self, load: Load) -> Stage:
        """Make a virtual host with the contract's queues, and a database whose stocks last for the load."""
        stage = Stage(self.new_broker(), self.postgres.new_migrated_database())
        fill_stock(stage.database_url, load)
        return stage

    def new_broker(self) -> str:
        """Make a virtual host with the contract's queues and one for the answers; gives its URL."""
        url = self.rabbitmq.new_vhost()
        declare(url)
        return url

    def remove(self, stage: Stage) -> None:
        """Remove a stage with all that it holds."""
        self.rabbitmq.delete_vhost(stage.broker_url.rsplit("/", 1)[1])
        self.postgres.drop_database(stage.database_url)

    def checkpoint(self) -> None:
        """Write out what earlier runs left in memory, so that no run pays for another."""
        with psycopg.connect(self.postgres.url_of("postgres"), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def describe(self) -> dict[str, Any]:
        """Tell what kind of machine this is and what runs on it; no name of a host or a folder."""
        with psycopg.connect(self.postgres.url_of("postgres")) as connection:
            (version,) = connection.execute("SHOW server_version").fetchall()[0]
        return {
            "cores": os.cpu_count(),
            "cpu": _cpu_model(),
            "memory_gib": round(psutil.virtual_memory().total / _GIB, 1),
            "system": f"{platform.system()} {platform.release()}",
            "python": platform.python_version(),
            "postgresql": str(version).split(" ", maxsplit=1)[0],
            "rabbitmq": self.rabbitmq.evaluate("rabbit:product_version()").strip('"'),
            "fsyncs_per_second": _fsyncs_per_second(),
        }


def declare(broker_url: str) -> None:
    """Declare the contract's exchanges and queues, and a queue of the same kind for the answers."""
    with blocking_channel(broker_url) as channel:
        for exchange in EXCHANGES:
            channel.exchange_declare(exchange.name, exchange.kind, durable=True)
        for queue in QUEUES:
            channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
            for key in queue.binding_keys:
                channel.queue_bind(queue.name, queue.exchange, key)
        channel.queue_declare(ANSWERS, durable=True, arguments=dict(topic_queue(Topic.NUMBER_ASSIGNED).arguments))
        channel.queue_bind(ANSWERS, EXCHANGE, f"{Topic.NUMBER_ASSIGNED.value}.#")


class blocking_channel:  # noqa: N801 -- used as a function
    """A channel for a few calls; a context manager."""

    def __init__(self, broker_url: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(broker_url))

    def __enter__(self) -> BlockingChannel:
        """Open it."""
        return self._connection.channel()

    def __exit__(self, *_: object) -> None:
        """Close it with its connection."""
        self._connection.close()


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def _fsyncs_per_second(times: int = 100) -> int:
    """Tell how often a second a page appended to a file is on the disk: what bounds one commit after the other."""
    with tempfile.NamedTemporaryFile() as file:
        began = time.monotonic()
        for _ in range(times):
            file.write(bytes(8192))
            file.flush()
            os.fdatasync(file.fileno())
        return round(times / (time.monotonic() - began))
