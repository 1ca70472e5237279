"""`fuma leqi-simulator`: the fake authority as a process."""

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.output import say
from worker.leqi.simulator import serve
from worker.settings import load_settings
from worker.telemetry import configure_logging


def leqi_simulator(
    port: Annotated[int, typer.Option(help="Port to listen on; 0 = a free one, which is printed.", min=0, max=65535)],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    state: Annotated[
        Path | None,
        typer.Option(help="File that keeps its grants over a restart.", show_default=False),
    ] = None,
) -> None:
    """Run the fake authority and its listing gateway until SIGTERM or SIGINT; for tests and trials only."""
    configure_logging(load_settings().log_level)
    serve(host, port, state, on_started=lambda address: say(f"the fake authority listens at {address}"))
