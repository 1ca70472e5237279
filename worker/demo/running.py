"""Running the demo: from the arguments to the exit status, with nothing left behind whichever way it ends."""

import errno
import os
import random
import secrets
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console
from rich.text import Text

from db.audit.judging import audit
from db.listing import Filters, list_claims, list_numbers, list_ranges, list_waiting
from worker.broker.dead_letters import read_letters
from worker.clock import Clock
from worker.demo.checks import Check
from worker.demo.companies import Company, found_companies
from worker.demo.reckoning import Outcome
from worker.demo.stage import ENVIRONMENT, DemoError, Stage, kept_home, set_stage
from worker.demo.story import Course, Story
from worker.demo.summary import Summary
from worker.demo.telling import Teller, open_console
from worker.demo.traffic import Traffic, plan_traffic
from worker.settings import Settings
from worker.telemetry import configure_logging

_INTERRUPTED = 130


def run_demo(
    settings: Settings,
    *,
    invoices: int,
    organizations: int,
    seed: int,
    report: Path | None,
    keep: bool,
) -> int:
    """Play the main job with everything embedded, then tell what happened and whether all of it holds.

    `invoices` distinct issue requests of `organizations` companies; the same seed makes the same requests.
    The report is JSON, as the contract has it. Without `keep` nothing stays but the embedded server's own folder.
    Gives the exit status: 1 where an invariant or a check of the outcome is broken, or saw nothing that it should have
    seen, or the demo didn't come to its end; 130 after SIGINT or SIGTERM.
    """
    if report is not None and not report.absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(report))
    name = f"{Clock(settings.clock).now():%Y%m%d_%H%M%S}_{secrets.token_hex(3)}"
    settings.home.mkdir(parents=True, exist_ok=True)
    log = settings.home / f"demo-{name}.log"
    console = open_console()
    try:
        with ended_by_signals(), logging_to(log, settings.log_level):
            summary = _perform(settings, name, console, invoices, organizations, seed, keep=keep)
    except KeyboardInterrupt:
        log.unlink()
        sys.stderr.write("fuma: the demo was interrupted; nothing of it is left running\n")
        return _INTERRUPTED
    summary.show(console)
    if report is not None:
        summary.write(report)
    if keep:
        home = kept_home(settings, name)
        console.print(Text(f"Kept: FUMA_HOME={home} fuma ranges (or claims, numbers, waiting, audit)"))
    if summary.holds and not keep:
        log.unlink()
    else:
        console.print(Text(f"The worker's log: {log}"))
    return 0 if summary.holds else 1


def _perform(
    settings: Settings,
    name: str,
    console: Console,
    invoices: int,
    organizations: int,
    seed: int,
    *,
    keep: bool,
) -> Summary:
    dice = random.Random(seed)  # noqa: S311 -- the same seed, the same requests
    companies = found_companies(organizations, invoices, dice)
    traffic = plan_traffic(companies, invoices, Clock(settings.clock).today(), dice)
    teller = Teller(console, len(traffic.asked))
    teller.say("starting PostgreSQL, a broker in memory, LeQi's simulator and a worker")
    failure: str | None = None
    with set_stage(settings, name, keep=keep) as stage:
        story = Story(stage, companies, traffic, teller, dice)
        with teller:
            try:
                story.play()
            except DemoError as error:
                failure = str(error)
        if not stage.stop():
            failure = failure or "the worker did not end in time"
        invariants = audit_stage(stage)
        outcome = _look_at(stage, companies, traffic, story.course)
    return Summary(outcome, invariants, outcome.reckon(), seed, teller.seconds, failure)


def audit_stage(stage: Stage) -> list[Check]:
    """Check every invariant of the stage's database."""
    with stage.engine.begin() as connection:
        findings = audit(connection, stage.clock.now())
    return [Check(each.name, each.checked, each.broken, each.offenders) for each in findings]


def _look_at(stage: Stage, companies: list[Company], traffic: Traffic, course: Course) -> Outcome:
    filters = Filters(ENVIRONMENT.value)
    with stage.engine.connect() as connection:
        return Outcome(
            companies,
            traffic,
            course,
            stage.audience,
            stage.simulator.grants(),
            ranges=list(list_ranges(connection, filters)),
            claims=list(list_claims(connection, filters)),
            numbers=list(list_numbers(connection, filters)),
            waiting=list(list_waiting(connection, filters)),
            letters=Counter(letter.reason for letter in read_letters(stage.broker_url)),
        )


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """Let the first SIGINT or SIGTERM end the block as an interrupt, and no further one disturb the tidying up."""

    def end(_number: int, _frame: FrameType | None) -> None:
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def logging_to(file: Path, level: str) -> Iterator[None]:
    """Send the logs to a file: the terminal is for the story."""
    with file.open("w", encoding="utf-8") as stream:
        configure_logging(level, stream)
        try:
            yield
        finally:
            configure_logging(level)
