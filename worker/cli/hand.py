"""The operator's hand on what is stored: ending a waiting request, making a foreign range usable, confirming numbers.

What any of it leads to is told by events, which lie in the outbox until a worker publishes them.
"""

from datetime import timedelta

from db.outbox import leave_messages
from db.records import WaitingRequest
from worker.answers import Answer, pack
from worker.cli.database import ready_engine
from worker.cli.failures import CommandError
from worker.cli.filters import checked_taxpayer, parse_range_id
from worker.cli.operator import operator
from worker.cli.output import say
from worker.clock import Clock
from worker.letting_go import LettingGo
from worker.recovering import Recovering
from worker.releasing import Releasing
from worker.settings import Settings

_LONGEST_REASON = 500


def cancel(settings: Settings, issue_request_id: str, taxpayer: str | None, reason: str) -> None:
    """End one waiting request; raises `CommandError` where none waits under this id, or several taxpayers' do."""
    taxpayer_id = None if taxpayer is None else checked_taxpayer(taxpayer)
    given = checked_reason(reason)
    clock = Clock(settings.clock)
    with ready_engine(settings) as engine, engine.begin() as connection:
        found = LettingGo(settings.environment, clock).cancel(connection, issue_request_id, taxpayer_id, given)
        leave_messages(connection, pack(_answers(found, issue_request_id)), now=clock.now())
    say(f"{issue_request_id} waits no longer; a worker will publish its number-refused")


def release(settings: Settings, range_id: str, reason: str) -> None:
    """Make a foreign range usable; raises `ReleaseRefusedError` where it may not be, `CommandError` for a bad id."""
    parsed = parse_range_id(range_id)
    given = checked_reason(reason)
    clock = Clock(settings.clock)
    releasing = Releasing(settings.environment, clock, timedelta(hours=settings.old_year_grace_hours))
    with ready_engine(settings) as engine, engine.begin() as connection:
        answers = releasing.release(connection, parsed, given)
        leave_messages(connection, pack(answers), now=clock.now())
    say(f"range {parsed} is in use now")


def confirm(settings: Settings, range_id: str | None, taxpayer: str | None, reason: str, *, everything: bool) -> None:
    """Take the operator's word for the numbers of ranges that a restore put out of use.

    Raises `CommandError` for a bad id, where not exactly one of the three says which, and where none is in doubt.
    """
    if (range_id is not None) + (taxpayer is not None) + everything != 1:
        message = "say which ranges: the id of one, --taxpayer, or --all"
        raise CommandError(message)
    parsed = None if range_id is None else parse_range_id(range_id)
    taxpayer_id = None if taxpayer is None else checked_taxpayer(taxpayer)
    given = checked_reason(reason)
    recovering = Recovering(settings.environment, Clock(settings.clock))
    with ready_engine(settings) as engine, engine.begin() as connection:
        confirmed = recovering.confirm(
            connection, taxpayer_id=taxpayer_id, range_id=parsed, reason=given, requested_by=operator()
        )
    if not confirmed:
        message = "no number of it is in doubt: only a restore makes them so, see `fuma ranges --status quarantined`"
        raise CommandError(message)
    say(f"the numbers of {confirmed} ranges are told again to the requests that hold them")


def _answers(found: list[Answer] | list[WaitingRequest], issue_request_id: str) -> list[Answer]:
    """Give the answers; raises `CommandError` where requests were found instead, none or several."""
    answers = [each for each in found if isinstance(each, Answer)]
    if answers:
        return answers
    taxpayers = sorted(each.key.taxpayer_id for each in found if isinstance(each, WaitingRequest))
    if not taxpayers:
        message = f"no request {issue_request_id!r} waits: `fuma waiting` shows those that do"
        raise CommandError(message)
    message = f"{issue_request_id!r} waits for {', '.join(taxpayers)}: say which with --taxpayer"
    raise CommandError(message)


def checked_reason(reason: str) -> str:
    """Give back a reason that can be kept and shown; raises `CommandError` for any other text."""
    said = reason.strip()
    if not 1 <= len(said) <= _LONGEST_REASON or not said.isprintable():
        message = f"--reason: expected one line of 1 to {_LONGEST_REASON} characters"
        raise CommandError(message)
    return said
