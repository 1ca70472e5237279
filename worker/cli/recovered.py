"""`fuma recovered`: after a restore of the database."""

from typing import Annotated

import typer

from db.outbox import leave_messages
from db.schema_version import check_database
from worker.answers import pack
from worker.cli.database import opened_engine
from worker.cli.hand import checked_reason
from worker.cli.operator import operator
from worker.cli.output import say
from worker.clock import Clock
from worker.recovering import Recovering
from worker.settings import load_settings


def recovered(
    reason: Annotated[str, typer.Option(help="What was restored, and why; kept with the ranges.")],
) -> None:
    """Take a restored database into use: quarantine all live ranges, give up open claims, claim afresh.

    Workers stop by themselves where the database, its server or its timeline is another one. A snapshot of the
    server's disk looks like a restart: after that, stop the workers and run this by yourself.
    """
    settings = load_settings()
    because, clock = checked_reason(reason), Clock(settings.clock)
    recovering = Recovering(settings.environment, clock)
    with opened_engine(settings) as engine:
        with engine.connect() as connection:
            check_database(connection, settings.environment)
        with engine.begin() as connection:
            recovery, answers = recovering.recover(connection, reason=because, requested_by=operator())
            leave_messages(connection, pack(answers), now=clock.now())
    say(
        f"{recovery.ranges} ranges are quarantined and {recovery.claims} open claims given up;"
        f" {recovery.stocks} stocks ran out by it: start the workers, they claim fresh ranges and serve who waits",
    )
    if recovery.ranges:
        say(
            "numbers whose upload is not known are in doubt: let all outcomes since the backup be reported again, and"
            " once it is known that no other number was released since, `fuma ranges confirm --all --reason …`",
        )
