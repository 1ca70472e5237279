"""`fuma dead-letters`: what the worker could not read, why, and back to its queue."""

import base64
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated, NamedTuple

import typer

from schemas.topics import CONSUMED
from worker.broker.dead_letters import Selection, find_letter, read_letters
from worker.broker.dead_letters import redrive as send_back
from worker.broker.letters import DeadLetter
from worker.broker.parcel import Parcel
from worker.cli.broker import network_broker
from worker.cli.failures import CommandError
from worker.cli.filters import USUAL_LIMIT, AsJson, Limit
from worker.cli.output import Layout, print_json, print_table, printable, readable, say, warn
from worker.clock import CHINA
from worker.settings import load_settings

dead_letters = typer.Typer()

_LETTERS = Layout(
    "dead letters",
    (
        ("position", "size"),
        ("at", "content_type"),
        ("topic", "reason"),
        ("message_id", "detail"),
    ),
)

#: Headers whose values say nothing of a company's business.
_TECHNICAL_HEADERS = ("x-", "ce-specversion", "ce-type", "cloudevents:specversion", "cloudevents:type")
_MASK = "…"


class _Moment(NamedTuple):
    """A day or a time as it was given."""

    at: datetime
    is_day: bool


def _moment(text: str) -> _Moment:
    """Read YYYY-MM-DD, or an ISO 8601 time; without a zone it is China's."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is neither a day, YYYY-MM-DD, nor a time, YYYY-MM-DDTHH:MM:SS"
        raise typer.BadParameter(message) from None
    return _Moment(at if at.tzinfo is not None else at.replace(tzinfo=CHINA), is_day=len(text) == _DAY)


_DAY = len("YYYY-MM-DD")

_From = Annotated[
    _Moment | None,
    typer.Option(help="First day or time, in China.", parser=_moment, show_default=False, metavar="TIME"),
]
_To = Annotated[
    _Moment | None,
    typer.Option(help="Last day, or the time before.", parser=_moment, show_default=False, metavar="TIME"),
]
_Reason = Annotated[str | None, typer.Option(help="Reason code, as the list shows it.", show_default=False)]
_Topic = Annotated[
    str | None,
    typer.Option(help=f"Topic of the queue: {', '.join(CONSUMED)}.", show_default=False, metavar="TOPIC"),
]
_Which = Annotated[str, typer.Argument(metavar="WHICH", help="Message id, or position in the list.")]


@dead_letters.command("list")
def _list(
    *,
    reason: _Reason = None,
    topic: _Topic = None,
    created_from: _From = None,
    created_to: _To = None,
    limit: Limit = None,
    as_json: AsJson = False,
) -> None:
    """List the dead letters, the oldest first; all stay where they are."""
    url = network_broker(load_settings())
    selection = _selection(reason, topic, (created_from, created_to))
    if as_json:
        print_json(asdict(letter) for letter in read_letters(url, selection, limit=limit))
        return
    shown = limit or USUAL_LIMIT
    letters = read_letters(url, selection, limit=shown + 1)
    print_table((asdict(letter) for letter in letters), _LETTERS, shown)


@dead_letters.command("show")
def _show(
    which: _Which,
    *,
    payload: Annotated[
        bool, typer.Option("--payload", help="Show the body and all headers, which may hold business data.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show one letter with its headers, and with --payload its body; it stays where it is."""
    found = find_letter(network_broker(load_settings()), which)
    if found is None:
        message = f"there is no dead letter {which!r}: `fuma dead-letters list` shows those that are there"
        raise CommandError(message)
    letter, parcel = found
    headers = {name: value if payload or _is_technical(name) else _MASK for name, value in _headers(parcel).items()}
    body = _body(parcel) if payload else {}
    row = asdict(letter) | {"headers": headers} | body
    if as_json:
        print_json([row])
        return
    for name, value in asdict(letter).items():
        say(f"{name.replace('_', ' '):14} {readable(value)}")
    for name, value in headers.items():
        say(f"header         {printable(name)}: {readable(value)}")
    if not payload:
        say(f"body: {letter.size} bytes, shown with --payload")
    for name, value in body.items():
        say(f"{name.replace('_', ' ')}:")
        for line in value.splitlines():
            say(printable(line))


@dead_letters.command("redrive")
def _redrive(
    which: Annotated[
        str | None,
        typer.Argument(metavar="[WHICH]", help="Message id, or position in the list. Default: all that is meant."),
    ] = None,
    *,
    reason: _Reason = None,
    topic: _Topic = None,
    created_from: _From = None,
    created_to: _To = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be sent.")] = False,
) -> None:
    """Send letters back to the queues that they came from; without a filter all of them.

    A letter leaves the dead letters once its queue has it. Exit 1 where some that were meant had to stay.
    """
    url = network_broker(load_settings())
    result = send_back(url, _selection(reason, topic, (created_from, created_to), which), dry_run=dry_run)
    if which is not None and not result.sent and not result.kept:
        message = f"there is no dead letter {which!r}: `fuma dead-letters list` shows those that are there"
        raise CommandError(message)
    say(f"{result.sent} {'would be sent' if dry_run else 'sent'} back, {result.kept} kept")
    for letter, problem in result.named:
        warn(f"{_name(letter)} stays: {problem}")
    if result.kept > len(result.named):
        warn(f"and {result.kept - len(result.named)} more stay")
    if result.kept:
        raise typer.Exit(1)


def _selection(
    reason: str | None,
    topic: str | None,
    bounds: tuple[_Moment | None, _Moment | None],
    which: str | None = None,
) -> Selection:
    if topic is not None and topic not in {known.value for known in CONSUMED}:
        message = f"--topic: there is no queue of {topic!r}; there are {', '.join(CONSUMED)}"
        raise CommandError(message)
    first, last = bounds
    since = None if first is None else first.at
    until = None if last is None else last.at + timedelta(days=int(last.is_day))
    if since is not None and until is not None and until <= since:
        message = "--created-to lies before --created-from"
        raise CommandError(message)
    return Selection(reason=reason, topic=topic, since=since, until=until, which=which)


def _is_technical(header: str) -> bool:
    return header.lower().startswith(_TECHNICAL_HEADERS)


def _headers(parcel: Parcel) -> Mapping[str, object]:
    """Give the headers as JSON can hold them."""
    return {
        name: value if isinstance(value, str | int | float | bool | datetime) or value is None else str(value)
        for name, value in parcel.headers.items()
    }


def _body(parcel: Parcel) -> dict[str, str]:
    """Give the body as text where it is text, else in base64."""
    try:
        return {"body": parcel.body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(parcel.body).decode()}


def _name(letter: DeadLetter) -> str:
    return letter.message_id or f"letter {letter.position}"
