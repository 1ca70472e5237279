"""`fuma taxpayers`: the operator's hand on everything that one taxpayer holds."""

from functools import partial
from typing import Annotated

import typer

from db.outbox import leave_messages
from worker.answers import pack
from worker.claiming import Claiming
from worker.cli.database import ready_engine
from worker.cli.filters import checked_taxpayer
from worker.cli.hand import checked_reason
from worker.cli.output import say
from worker.cli.retire import retire_ranges
from worker.clock import Clock
from worker.composition import claim_terms, direct_unit_id
from worker.leqi.identity import new_business_serial
from worker.pausing import Pausing
from worker.settings import Settings, load_settings

taxpayers = typer.Typer()

_Taxpayer = Annotated[str, typer.Option(help="Tax id.", metavar="TAX-ID")]
_Reason = Annotated[str, typer.Option(help="Why; kept, and shown by the log.")]


@taxpayers.callback()
def _taxpayers() -> None:
    """Pause and resume a taxpayer; retire its ranges after a move."""


@taxpayers.command("pause")
def _pause(taxpayer: _Taxpayer, reason: _Reason) -> None:
    """Give out nothing from the taxpayer's automatic stock and claim nothing for it: requests wait.

    Numbers bound or named by hand still work. Waiting limits go on.
    """
    settings = load_settings()
    taxpayer_id, because = checked_taxpayer(taxpayer), checked_reason(reason)
    with ready_engine(settings) as engine, engine.begin() as connection:
        _pausing(settings).pause(connection, taxpayer_id, because)
    say(f"{taxpayer_id} is paused: its requests wait")


@taxpayers.command("resume")
def _resume(taxpayer: _Taxpayer, reason: _Reason) -> None:
    """Let a paused taxpayer's stock work again; whoever waits is served first."""
    settings = load_settings()
    taxpayer_id, because = checked_taxpayer(taxpayer), checked_reason(reason)
    with ready_engine(settings) as engine, engine.begin() as connection:
        answers = _pausing(settings).resume(connection, taxpayer_id, because)
        leave_messages(connection, pack(answers), now=Clock(settings.clock).now())
    say(f"{taxpayer_id} is resumed; a worker will publish what was waited for")


taxpayers.command("retire-ranges")(retire_ranges)


def _pausing(settings: Settings) -> Pausing:
    clock = Clock(settings.clock)
    claiming = Claiming(
        settings.environment,
        clock,
        partial(new_business_serial, direct_unit_id=direct_unit_id(settings)),
        settings.next_year_from,
        claim_terms(settings),
    )
    return Pausing(settings.environment, clock, claiming)
