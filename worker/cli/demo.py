"""`fuma demo`: what `make run` calls."""

from pathlib import Path
from typing import Annotated

import typer

from worker.demo import run_demo
from worker.settings import load_settings


def demo(
    *,
    invoices: Annotated[int, typer.Option(help="Issue requests.", min=1, max=1_000_000)] = 5000,
    organizations: Annotated[int, typer.Option(help="Organisations.", min=1, max=1000)] = 6,
    seed: Annotated[int, typer.Option(help="The same seed makes the same requests.")] = 1,
    report: Annotated[
        Path | None,
        typer.Option(help="File for the summary, as JSON.", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the demo's database.")] = False,
) -> None:
    """Show the main job with everything embedded: a realistic mix of requests, a summary, an audit.

    Exit 1 if an invariant is broken.
    """
    status = run_demo(
        load_settings(), invoices=invoices, organizations=organizations, seed=seed, report=report, keep=keep
    )
    if status != 0:
        raise typer.Exit(status)
