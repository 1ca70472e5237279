"""`fuma worker`: one worker process."""

from typing import Annotated

import typer

from schemas.topics import CONSUMED, Topic
from worker.cli.broker import network_broker
from worker.cli.failures import CommandError
from worker.running import run_worker
from worker.settings import load_settings
from worker.telemetry import configure_logging


def worker(
    topics: Annotated[
        str | None,
        typer.Option(help="Some topics, with commas between them. Default: all.", show_default=False),
    ] = None,
) -> None:
    """Consume topics until SIGTERM or SIGINT, then drain and end within 20 s.

    Logs go to stderr. Every worker takes part in the timed work, whatever its topics.
    """
    settings = load_settings()
    configure_logging(settings.log_level)
    wanted = CONSUMED if topics is None else _named(topics)
    network_broker(settings)
    status = run_worker(settings, wanted)
    if status != 0:
        raise typer.Exit(status)


def _named(topics: str) -> tuple[Topic, ...]:
    words = {word.strip() for word in topics.split(",")} - {""}
    known = {topic.value: topic for topic in CONSUMED}
    unknown = sorted(words - known.keys())
    if unknown or not words:
        message = f"--topics: {', '.join(unknown) or 'nothing'} is not consumed; there are {', '.join(known)}"
        raise CommandError(message)
    return tuple(topic for topic in CONSUMED if topic.value in words)
