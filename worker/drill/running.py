"""Running a drill: from the settings to the exit status, with nothing left behind whichever way it ends."""

import random
import secrets
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from db.listing import Filters, list_claims, list_ranges, list_waiting
from worker.clock import CHINA, Clock
from worker.demo.checks import Check
from worker.demo.companies import Company, found_companies, with_automatic_claims
from worker.demo.running import audit_stage, ended_by_signals, logging_to
from worker.demo.stage import ENVIRONMENT, DemoError, Stage, set_stage
from worker.demo.telling import open_console
from worker.drill.audience import DrillAudience
from worker.drill.night import BEFORE, Night
from worker.drill.reckoning import Morning, Row
from worker.settings import Settings

_INTERRUPTED = 130

#: Invariants that have nothing to judge: nobody binds a number in this night.
_NOT_OF_THIS_NIGHT = frozenset({"bound-number-is-kept"})
_COMPANIES = 6
_CLAIM_QUANTITY = 150


def run_new_year(settings: Settings, *, seed: int) -> int:
    """Play the coming New Year's night with everything embedded, and tell what happened and whether all of it holds.

    Some twenty minutes around midnight pass in one, then two days in a moment.
    Gives the exit status: 1 where an invariant or a check is broken, or saw nothing; 130 after SIGINT or SIGTERM.
    """
    midnight = datetime(Clock(settings.clock).year() + 1, 1, 1, tzinfo=CHINA)
    name = f"{Clock().now():%Y%m%d_%H%M%S}_{secrets.token_hex(3)}"
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / f"drill-{name}.log"
    console = open_console()
    try:
        with ended_by_signals(), logging_to(log, settings.log_level):
            checks, failure = _perform(settings, name, midnight, console, seed)
    except KeyboardInterrupt:
        log.unlink()
        sys.stderr.write("fuma: the drill was interrupted; nothing of it is left running\n")
        return _INTERRUPTED
    holds = failure is None and all(each.holds for each in checks)
    _tell_verdict(console, checks, failure, holds=holds)
    if holds:
        log.unlink()
    else:
        console.print(Text(f"The worker's log: {log}"))
    return 0 if holds else 1


def _perform(
    settings: Settings,
    name: str,
    midnight: datetime,
    console: Console,
    seed: int,
) -> tuple[list[Check], str | None]:
    dice = random.Random(seed)  # noqa: S311 -- the same seed, the same requests
    clock = Clock(midnight - BEFORE)
    companies = [_active(each) for each in found_companies(_COMPANIES, 1, dice)]
    failure: str | None = None
    with set_stage(settings, name, keep=False, clock=clock, audience=DrillAudience) as stage:
        audience = stage.audience
        if not isinstance(audience, DrillAudience):
            raise TypeError
        stage.register([company.entry for company in companies])
        night = Night(stage, audience, companies, midnight, console, dice)
        try:
            night.play()
        except DemoError as error:
            failure = str(error)
        if not stage.stop():
            failure = failure or "the worker did not end in time"
        invariants = [replace(each, expected=each.name not in _NOT_OF_THIS_NIGHT) for each in audit_stage(stage)]
        morning = _look_at(stage, audience, companies, night)
    _show_stocks(console, morning)
    _show_checks(console, "Audit of the database", invariants)
    checks = morning.reckon()
    _show_checks(console, "What came, against what was asked", checks)
    return [*invariants, *checks], failure


def _active(company: Company) -> Company:
    """Let claims be made for the company by themselves, in small steps: in one night there are several."""
    entry = with_automatic_claims(company).model_copy(update={"claim_quantity": _CLAIM_QUANTITY})
    return replace(company, entry=entry)


def _look_at(stage: Stage, audience: DrillAudience, companies: Sequence[Company], night: Night) -> Morning:
    filters = Filters(ENVIRONMENT.value)
    with stage.engine.connect() as connection:
        return Morning(
            companies,
            night.course,
            night.midnight,
            audience,
            stage.simulator.grants(),
            list(list_ranges(connection, filters)),
            list(list_claims(connection, filters)),
            list(list_waiting(connection, filters)),
        )


def _show_stocks(console: Console, morning: Morning) -> None:
    """Tell of each stock what it got, gave and lost, by year."""
    table = _table(("taxpayer", "channel", "year", "ranges", "claimed", "assigned", "expired", "remaining"))
    told = morning.told()
    keys = sorted(
        {(str(row["taxpayer_id"]), str(row["channel_mode"]), int(str(row["year"]))) for row in morning.ranges}
    )
    for taxpayer_id, channel_mode, year in keys:
        rows = [
            row
            for row in morning.ranges
            if (row["taxpayer_id"], row["channel_mode"], row["year"]) == (taxpayer_id, channel_mode, year)
        ]
        ids = {str(row["range_id"]) for row in rows}
        counts = (
            len(rows),
            _sum(rows, "claimed"),
            sum(each.range_id in ids for each in told),
            sum(each.unused for range_id, each in morning.audience.ended.items() if range_id in ids),
            _sum(rows, "remaining"),
        )
        table.add_row(taxpayer_id, channel_mode, str(year), *(str(count) for count in counts))
    refused = len(morning.audience.refusals)
    waited = len(morning.course.waiting_at_midnight)
    console.print()
    console.print(Text("Stocks", style="bold"))
    console.print(table)
    console.print(
        Text(
            f"{len(morning.course.questions)} requests: {len(told)} got a number, {refused} were refused for their"
            f" date; {waited} waited over midnight",
        ),
    )


def _show_checks(console: Console, title: str, checks: Iterable[Check]) -> None:
    table = _table(("must hold", "checked", "broken", "result"))
    for each in checks:
        result = "holds" if each.holds else "BROKEN" if each.broken else "NO ROWS"
        table.add_row(each.name, str(each.checked), str(each.broken), result)
    console.print()
    console.print(Text(title, style="bold"))
    console.print(table)


def _tell_verdict(console: Console, checks: Sequence[Check], failure: str | None, *, holds: bool) -> None:
    for each in checks:
        if each.broken:
            console.print(Text(f"{each.name}: {each.broken} broken: {', '.join(each.offenders)}", style="red"))
    if holds:
        console.print(Text(f"All {len(checks)} checks hold.", style="bold green"))
    else:
        console.print(Text(f"The drill failed{f': {failure}' if failure else ''}.", style="bold red"))


def _table(titles: Sequence[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title in {"taxpayer", "channel", "must hold", "result"} else "right")
    return table


def _sum(rows: Sequence[Row], name: str) -> int:
    return sum(int(str(row[name])) for row in rows)
