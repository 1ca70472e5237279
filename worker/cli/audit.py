"""`fuma audit`: every invariant on the live data."""

import sys

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from db.audit.invariant import Invariant
from db.audit.invariants import INVARIANTS
from db.audit.judging import MOST_NAMED, Finding
from db.audit.judging import audit as judge_everything
from worker.cli.database import ready_engine
from worker.cli.filters import AsJson
from worker.cli.output import Layout, print_json, print_table, say
from worker.clock import Clock
from worker.composition import audit_limits
from worker.settings import load_settings

_FINDINGS = Layout("invariants", (("invariant", "rule"), ("checked", "broken"), ("result",)))


def audit(*, as_json: AsJson = False) -> None:
    """Check every invariant on the live data, in one snapshot; exit 1 and the offenders where one is broken.

    Changes nothing and holds nobody up; shows how far it is on a terminal.
    Where no rows were there to be checked, nothing was shown, and the result says so.
    """
    settings = load_settings()
    with ready_engine(settings, changing=False) as engine, engine.begin() as connection, _progress() as progress:
        task = progress.add_task("", total=len(INVARIANTS))

        def begins(invariant: Invariant) -> None:
            progress.update(task, description=invariant.name, completed=INVARIANTS.index(invariant))

        findings = judge_everything(connection, Clock(settings.clock).now(), audit_limits(settings), begins=begins)
    if as_json:
        print_json(_as_row(finding) | {"offenders": list(finding.offenders)} for finding in findings)
    else:
        print_table((_as_row(finding) for finding in findings), _FINDINGS, len(findings))
        _name_offenders(findings)
    if any(finding.broken for finding in findings):
        raise typer.Exit(1)


def _progress() -> Progress:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:36}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True, disable=not sys.stderr.isatty())


def _as_row(finding: Finding) -> dict[str, object]:
    return {
        "invariant": finding.name,
        "rule": finding.says,
        "checked": finding.checked,
        "broken": finding.broken,
        "result": "BROKEN" if finding.broken else "holds" if finding.checked else "no rows",
    }


def _name_offenders(findings: list[Finding]) -> None:
    for finding in findings:
        for offender in finding.offenders:
            say(f"{finding.name}: {offender}")
        if finding.broken > MOST_NAMED:
            say(f"{finding.name}: and {finding.broken - MOST_NAMED} more")
