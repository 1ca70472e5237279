"""`fuma drill`: what happens once a year, played in a minute."""

from typing import Annotated

import typer

from worker.drill import run_new_year
from worker.settings import load_settings

drill = typer.Typer()


@drill.callback()
def _drill() -> None:
    """Play what happens once a year, with everything embedded."""


@drill.command("new-year")
def _new_year(
    seed: Annotated[int, typer.Option(help="The same seed makes the same requests.")] = 1,
) -> None:
    """Play the coming New Year's night in China in a minute; exit 1 unless all holds.

    Nothing but the folder of the embedded PostgreSQL is touched.
    """
    status = run_new_year(load_settings(), seed=seed)
    if status != 0:
        raise typer.Exit(status)
