"""Who is measured: what each needs before it starts, how its requests look on the wire, and what processes it is."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import bench.counter_row
import bench.segment
import bench.textbook
from bench.load import Load
from bench.programs import Program
from bench.servers import Stage
from tests.support.outside.envelopes import Outgoing


def _as_they_are(load: Load) -> list[Outgoing]:
    return load.messages()


@dataclass(frozen=True)
class Contender:
    """One way to give each request its number, or a ceiling for all of them."""

    #: Its name in the results.
    name: str
    #: What it is, in a line.
    title: str
    #: Its processes, once its stage is set.
    programs: Callable[[Stage], Sequence[Program]]
    #: The load's messages in the form that it reads.
    messages: Callable[[Load], list[Outgoing]] = _as_they_are
    #: Sets up its own tables.
    prepare: Callable[[Stage, Load], None] | None = None
    #: Whether its answers are numbers; a relay's are not.
    assigns: bool = True


def fuma(workers: int = 1, **settings: str) -> Contender:
    """Fuma itself, with so many worker processes."""

    def programs(stage: Stage) -> list[Program]:
        return [Program("worker", ("worker",), _fuma_settings(stage, settings))] * workers

    return Contender(
        _several("fuma", workers),
        "Fuma" if workers == 1 else f"Fuma, {workers} worker processes",
        programs,
    )


def relay() -> Contender:
    """The ceiling of the wire."""
    return Contender(
        "relay",
        "bare relay: no database, no numbers",
        lambda stage: [Program("bench.relay", (stage.broker_url,))],
        assigns=False,
    )


def textbook(prefetch: int, workers: int = 1, *, profile: Path | None = None) -> Contender:
    """The textbook worker with kombu."""
    written = () if profile is None else (str(profile),)
    return Contender(
        _several("textbook", workers),
        "textbook: kombu, a SQLAlchemy session and SELECT … FOR UPDATE for each message",
        lambda stage: (
            [
                Program("bench.textbook", (stage.broker_url, stage.database_url, str(prefetch), *written)),
            ]
            * workers
        ),
        prepare=bench.textbook.prepare,
    )


def celery(prefetch: int, workers: int = 1) -> Contender:
    """The textbook worker as a Celery task, in so many of Celery's processes."""

    def programs(stage: Stage) -> list[Program]:
        settings = {
            "BENCH_BROKER_URL": stage.broker_url,
            "BENCH_DATABASE_URL": stage.database_url,
            "BENCH_PREFETCH": str(prefetch),
        }
        command = ("--app", "bench.textbook_celery", "worker", "--concurrency", str(workers), "--loglevel", "WARNING")
        return [Program("celery", command, settings)]

    return Contender(
        _several("celery", workers),
        "textbook as a Celery task, acks late",
        programs,
        # Only the benchmark's own environment has Celery.
        messages=lambda load: import_module("bench.textbook_celery").messages(load),
        prepare=bench.textbook.prepare,
    )


def counter_row(prefetch: int, workers: int = 1) -> Contender:
    """One row a series, locked to the commit."""
    return Contender(
        _several("counter-row", workers),
        "counter row: one row a series, locked to the commit",
        lambda stage: (
            [
                Program("bench.counter_row", (stage.broker_url, stage.database_url, str(prefetch))),
            ]
            * workers
        ),
        prepare=bench.counter_row.prepare,
    )


def segment() -> Contender:
    """Numbers from memory, lost at a crash."""
    return Contender(
        "segment",
        "segment allocator in memory (loses numbers at a crash)",
        lambda stage: [Program("bench.segment", (stage.broker_url, stage.database_url))],
        prepare=bench.segment.prepare,
    )


def _several(name: str, workers: int) -> str:
    return name if workers == 1 else f"{name}-{workers}-workers"


def _fuma_settings(stage: Stage, settings: dict[str, str]) -> dict[str, str]:
    return {
        "FUMA_BROKER_URL": stage.broker_url,
        "FUMA_DATABASE_URL": stage.database_url,
        # Stocks last for the whole run, so nothing is ever claimed of it.
        "FUMA_LEQI_URL": "http://127.0.0.1:9",
        **settings,
    }
