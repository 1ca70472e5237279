"""`fuma taxpayers retire-ranges`: a move to another province kills all ranges claimed before it."""

from datetime import datetime
from typing import Annotated

import typer

from db.outbox import leave_messages
from schemas.invoice_number import format_number
from worker.answers import pack
from worker.cli.database import reading, ready_engine
from worker.cli.filters import checked_taxpayer
from worker.cli.hand import checked_reason
from worker.cli.operator import operator
from worker.cli.output import Layout, print_table, say
from worker.clock import Clock
from worker.retiring import Retirement, Retiring
from worker.settings import load_settings

_RANGES = Layout(
    "ranges",
    (
        ("range_id", "channel_mode", "claim_mode"),
        ("first_number", "last_number"),
        ("status", "year"),
        ("claimed", "unused"),
    ),
)


def retire_ranges(
    taxpayer: Annotated[str, typer.Option(help="Tax id.", metavar="TAX-ID")],
    before: Annotated[
        datetime,
        typer.Option(
            help="The day of the move, in China: what was claimed before it goes out of use.",
            formats=["%Y-%m-%d"],
            metavar="YYYY-MM-DD",
        ),
    ],
    reason: Annotated[str, typer.Option(help="Why; kept with the ranges and their numbers.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be retired, and change nothing.")] = False,
) -> None:
    """Retire every range that was claimed before a day, with its available, released and bound numbers.

    Numbers that invoices have stay theirs, and never come back. Requests that wait go on waiting for a new range,
    which is claimed at once where claims are made by themselves.
    """
    settings = load_settings()
    taxpayer_id, because = checked_taxpayer(taxpayer), checked_reason(reason)
    day, clock = before.date(), Clock(settings.clock)
    retiring = Retiring(settings.environment, clock)
    if dry_run:
        with reading(settings) as connection:
            retirement = retiring.foresee(connection, taxpayer_id, day)
        _show(retirement)
        say(f"{_counts(retirement)} would be retired; nothing was changed")
        return
    with ready_engine(settings) as engine, engine.begin() as connection:
        retirement, answers = retiring.retire(
            connection,
            taxpayer_id,
            day,
            reason=because,
            requested_by=operator(),
        )
        leave_messages(connection, pack(answers), now=clock.now())
    _show(retirement)
    say(f"{_counts(retirement)} retired; a worker will publish it and claim anew")


def _show(retirement: Retirement) -> None:
    rows = [
        {
            "range_id": held.range_id,
            "channel_mode": held.key.channel_mode,
            "claim_mode": held.claim_mode,
            "first_number": format_number(held.prefix, held.first_sequence),
            "last_number": format_number(held.prefix, held.last_sequence),
            "status": held.status,
            "year": held.key.year,
            "claimed": held.quantity,
            "unused": unused,
        }
        for held, unused in retirement.ranges
    ]
    print_table(rows, _RANGES, len(rows))


def _counts(retirement: Retirement) -> str:
    unused = sum(unused for _, unused in retirement.ranges)
    claims = f" and {len(retirement.claims)} claims without an answer" if retirement.claims else ""
    return f"{len(retirement.ranges)} ranges with {unused} unused numbers{claims}"
