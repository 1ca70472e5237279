"""`fuma emit`: a scheduler's or an operator's hand that publishes one request."""

import signal
import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from types import FrameType
from typing import Annotated
from uuid import uuid4

import typer

from schemas.cloudevents import STRUCTURED, encode_event
from schemas.requests import LARGEST_QUANTITY, SMALLEST_QUANTITY, Refusal, read_request
from schemas.topics import Topic, event_type, routing_key
from schemas.vocabulary import BindingAction, InvoiceKind, UploadOutcome
from worker.broker.emit import EmitError
from worker.broker.emit import emit as publish
from worker.broker.port import Message
from worker.broker.topology import EXCHANGE
from worker.cli.broker import network_broker
from worker.cli.failures import CommandError
from worker.cli.output import say, warn
from worker.clock import Clock
from worker.settings import Settings, load_settings

emit = typer.Typer()

_Organization = Annotated[str, typer.Option(help="Code of the organisation.", metavar="CODE")]
_ManualNumber = Annotated[str, typer.Option(help="A manual number, 20 digits.", metavar="NUMBER")]
_RequestId = Annotated[str, typer.Option("--issue-request-id", "--request", help="The issue request.", metavar="ID")]
_BindingId = Annotated[str | None, typer.Option("--id", help="Default: a new one.", show_default=False)]
_RequestedBy = Annotated[
    str | None,
    typer.Option(help="Who asks; kept in the history of the number.", show_default=False),
]


@emit.command("refresh")
def _refresh(
    organization: Annotated[
        str | None,
        typer.Option(help="Only this organisation's taxpayer.", metavar="CODE", show_default=False),
    ] = None,
    taxpayer: Annotated[
        str | None,
        typer.Option(help="Only this tax id.", metavar="TAX-ID", show_default=False),
    ] = None,
    refresh_id: Annotated[str | None, typer.Option("--id", help="Default: a new one.", show_default=False)] = None,
    every: Annotated[
        float | None,
        typer.Option(help="Again every so many seconds, until SIGTERM or SIGINT.", min=1, show_default=False),
    ] = None,
) -> None:
    """Ask for a refresh of one organisation, one tax id, or all; prints the refresh_id once the broker has it."""
    if every is not None and refresh_id is not None:
        message = "--every asks for a new refresh each time: leave --id out, or only the first would do anything"
        raise CommandError(message)
    settings = load_settings()

    def once() -> None:
        key = refresh_id or f"refresh-{uuid4()}"
        data = {"refresh_id": key, "organization": organization, "taxpayer_id": taxpayer}
        _emit(settings, Topic.REFRESH_REQUESTED, data, key)

    if every is None:
        once()
    else:
        _repeat(once, every)


@emit.command("claim")
def _claim(
    organization: _Organization,
    quantity: Annotated[
        int,
        typer.Option(help="How many numbers.", min=SMALLEST_QUANTITY, max=LARGEST_QUANTITY),
    ],
    claim_id: Annotated[str | None, typer.Option("--id", help="Default: a new one.", show_default=False)] = None,
    requested_by: Annotated[
        str | None,
        typer.Option(help="Who asks; kept with the claim.", show_default=False),
    ] = None,
) -> None:
    """Ask for a manual claim (号段领用); prints the claim_id once the broker has it."""
    key = claim_id or f"manual-{uuid4()}"
    data = {"claim_id": key, "organization": organization, "quantity": quantity, "requested_by": requested_by}
    _emit(load_settings(), Topic.CLAIM_REQUESTED, data, key)


@emit.command("issue")
def _issue(
    organization: _Organization,
    issue_date: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], metavar="YYYY-MM-DD", help="Issue date.")],
    issue_request_id: Annotated[str, typer.Option("--id", help="The issue_request_id; the same again is the same.")],
    kind: Annotated[InvoiceKind, typer.Option(help="An invoice, or a credit note.")] = InvoiceKind.BLUE,
    number: Annotated[
        str | None,
        typer.Option(help="A manual number to use, 20 digits.", show_default=False),
    ] = None,
) -> None:
    """Ask for the number of one invoice; prints the issue_request_id once the broker has it."""
    data = {
        "issue_request_id": issue_request_id,
        "organization": organization,
        "issue_date": issue_date.date().isoformat(),
        "kind": kind.value,
        "number": number,
    }
    _emit(load_settings(), Topic.INVOICE_ISSUING, data, issue_request_id)


@emit.command("bind")
def _bind(
    organization: _Organization,
    number: _ManualNumber,
    issue_request_id: _RequestId,
    binding_id: _BindingId = None,
    requested_by: _RequestedBy = None,
) -> None:
    """Keep a manual number for one issue request (绑定); prints the binding_id once the broker has it."""
    _emit_binding(BindingAction.BIND, organization, number, issue_request_id, binding_id, requested_by)


@emit.command("unbind")
def _unbind(
    organization: _Organization,
    number: _ManualNumber,
    issue_request_id: _RequestId,
    binding_id: _BindingId = None,
    requested_by: _RequestedBy = None,
) -> None:
    """Free a manual number from the issue request that it is bound to; prints the binding_id."""
    _emit_binding(BindingAction.UNBIND, organization, number, issue_request_id, binding_id, requested_by)


@emit.command("outcome")
def _outcome(
    organization: _Organization,
    number: Annotated[
        str,
        typer.Option("--invoice-number", "--number", help="The invoice's number, 20 digits.", metavar="NUMBER"),
    ],
    issue_request_id: _RequestId,
    outcome: Annotated[UploadOutcome, typer.Option(help="What became of the upload.")],
    outcome_id: Annotated[str | None, typer.Option("--id", help="Default: a new one.", show_default=False)] = None,
    *,
    reuse: Annotated[
        bool,
        typer.Option(help="After a failed upload: whether the number may stand on another invoice."),
    ] = True,
) -> None:
    """Report what became of an invoice's upload; prints the outcome_id once the broker has it."""
    key = outcome_id or f"outcome-{uuid4()}"
    data = {
        "outcome_id": key,
        "organization": organization,
        "issue_request_id": issue_request_id,
        "invoice_number": number,
        "outcome": outcome.value,
        "reuse": reuse,
    }
    _emit(load_settings(), Topic.INVOICE_OUTCOME, data, key)


def _emit_binding(
    action: BindingAction,
    organization: str,
    number: str,
    issue_request_id: str,
    binding_id: str | None,
    requested_by: str | None,
) -> None:
    key = binding_id or f"binding-{uuid4()}"
    data = {
        "binding_id": key,
        "organization": organization,
        "number": number,
        "issue_request_id": issue_request_id,
        "action": action.value,
        "requested_by": requested_by,
    }
    _emit(load_settings(), Topic.NUMBER_BINDING_REQUESTED, data, key)


def _emit(settings: Settings, topic: Topic, fields: Mapping[str, object], key: str) -> None:
    """Publish a request that its readers will accept, and print its key; raises `CommandError`, `EmitError`."""
    url = network_broker(settings)
    data = {name: value for name, value in fields.items() if value is not None}
    read = read_request(topic, data, settings.environment)
    if isinstance(read, Refusal):
        raise CommandError(read.detail)
    event_id = str(uuid4())
    event = {
        "specversion": "1.0",
        "id": event_id,
        "source": f"/fuma/{settings.environment}/emit",
        "type": event_type(topic),
        "time": Clock(settings.clock).now(),
        "datacontenttype": "application/json",
        "data": {**data, "environment": settings.environment},
    }
    taxpayer_id = data.get("taxpayer_id")
    message = Message(
        exchange=EXCHANGE,
        routing_key=routing_key(topic, taxpayer_id if isinstance(taxpayer_id, str) else None),
        body=encode_event(event),
        content_type=STRUCTURED,
        message_id=event_id,
    )
    publish(url, message, settings.environment)
    say(key)


def _repeat(once: Callable[[], None], seconds: float) -> None:
    """Do it now and every so many seconds until SIGTERM or SIGINT; what fails is told, and the next time tried."""
    stopping = threading.Event()

    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    while not stopping.is_set():
        try:
            once()
        except EmitError as error:
            warn(str(error))
        stopping.wait(seconds)
