"""Issue requests as nearly every sender writes them, read in one go by msgspec: what comes by the thousand.

Plain is an event, or a batch of events, of JSON that no two readers understand differently: known members only, texts
and nothing else, no escapes, no character that doesn't print.
Everything else is left to `schemas.cloudevents` and `schemas.requests`, which also say what is wrong with it; what is
accepted here means the same there.
"""

from collections.abc import Sequence
from datetime import date
from typing import Annotated, NamedTuple

from msgspec import UNSET, DecodeError, Meta, Struct, UnsetType
from msgspec.json import Decoder

from schemas.cloudevents import (
    BATCH,
    MAX_ATTRIBUTE,
    MAX_BODY,
    MAX_EVENTS,
    STRUCTURED,
    CloudEvent,
    Form,
    valid_trace,
)
from schemas.fields import LONGEST_KEY, is_timestamp, read_date
from schemas.topics import Topic, event_type
from schemas.vocabulary import Environment, InvoiceKind

_Attribute = Annotated[str, Meta(min_length=1, max_length=MAX_ATTRIBUTE)]
_Key = Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY)]


class PlainIssuing(NamedTuple):
    """What `schemas.requests.InvoiceIssuing` says, for a request that names no number."""

    issue_request_id: str
    organization: str
    issue_date: date
    kind: InvoiceKind
    environment: Environment | None = None
    number: None = None


class _Data(Struct, forbid_unknown_fields=True):
    issue_request_id: _Key
    organization: _Key
    issue_date: str
    kind: InvoiceKind | UnsetType = UNSET
    environment: str | UnsetType = UNSET


class _Event(Struct, forbid_unknown_fields=True):
    specversion: str
    id: _Attribute
    source: _Attribute
    type: str
    data: _Data
    datacontenttype: str | UnsetType = UNSET
    time: str | UnsetType = UNSET
    subject: _Attribute | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    tracestate: str | UnsetType = UNSET


_ONE = Decoder(_Event)
_MANY = Decoder(list[_Event])
_TYPE = event_type(Topic.INVOICE_ISSUING)
#: Quotation marks of an event that has only what it must have: 4 for a text and its name, 2 for the name of the data.
_QUOTES = 4 * 7 + 2


def read_plain(
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    environment: Environment,
) -> tuple[Form, list[tuple[CloudEvent, PlainIssuing]]] | None:
    """Read a message of plain issue requests, all of them for this environment; None where it may be anything else.

    Never raises.
    """
    if content_encoding or len(body) > MAX_BODY or b"\\" in body:
        return None
    events: Sequence[_Event]
    try:
        if not body.decode().isprintable():
            return None
        if content_type == STRUCTURED:
            form, events = Form.SINGLE, (_ONE.decode(body),)
        elif content_type == BATCH:
            form, events = Form.BATCH, _MANY.decode(body)
        else:
            return None
        # A member that stands there twice was read once: its quotation marks are too many.
        if len(events) > MAX_EVENTS or body.count(b'"') != sum(map(_quotes, events)):
            return None
        plain = [_plain(event, environment) for event in events]
    except (UnicodeDecodeError, DecodeError, _NotPlainError):
        return None
    return form, plain


class _NotPlainError(ValueError):
    """Something that the careful readers judge."""


def _quotes(event: _Event) -> int:
    data = event.data
    return _QUOTES + 4 * (
        (event.datacontenttype is not UNSET)
        + (event.time is not UNSET)
        + (event.subject is not UNSET)
        + (event.traceparent is not UNSET)
        + (event.tracestate is not UNSET)
        + (data.kind is not UNSET)
        + (data.environment is not UNSET)
    )


def _plain(event: _Event, environment: Environment) -> tuple[CloudEvent, PlainIssuing]:
    data, time = event.data, event.time
    if (
        event.type != _TYPE
        or event.specversion != "1.0"
        or (event.datacontenttype is not UNSET and event.datacontenttype != "application/json")
        or (time is not UNSET and not is_timestamp(time))
        or (data.environment is not UNSET and data.environment != environment)
    ):
        raise _NotPlainError
    traceparent, tracestate = None, None
    if event.traceparent is not UNSET:
        traceparent, tracestate = valid_trace(event.traceparent, event.tracestate)
    try:
        issue_date = read_date(data.issue_date)
    except ValueError:
        raise _NotPlainError from None
    request = PlainIssuing(
        data.issue_request_id,
        data.organization,
        issue_date,
        InvoiceKind.BLUE if data.kind is UNSET else data.kind,
        None if data.environment is UNSET else environment,
    )
    return (
        CloudEvent(
            event.id,
            event.source,
            event.type,
            request,
            None if time is UNSET else time,
            None if event.subject is UNSET else event.subject,
            traceparent,
            tracestate,
        ),
        request,
    )
