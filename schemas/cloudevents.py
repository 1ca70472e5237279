"""CloudEvents 1.0 as they come over AMQP: structured, in batches, or binary.

Sources: the contract, "Messages"; CloudEvents 1.0.2, its JSON event format and its AMQP protocol binding.
"""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple, NoReturn

from pydantic_core import to_json

from schemas import strict_json
from schemas.fields import LARGEST_INTEGER, SMALLEST_INTEGER, is_timestamp
from schemas.reasons import Reason
from schemas.strict_json import NotJSONError, UnfitJSONError

#: Media type of one event, envelope and data in one JSON object.
STRUCTURED = "application/cloudevents+json"
#: Media type of a JSON array of such objects.
BATCH = "application/cloudevents-batch+json"

#: The largest body, in bytes (1 MiB).
MAX_BODY = 1024 * 1024
#: The most events in one batch.
MAX_EVENTS = 1000
#: The longest attribute, in characters: ours, since CloudEvents sets no limit and every store has one.
MAX_ATTRIBUTE = 1024

_VERSION = "1.0"
#: How binary mode marks attributes among the headers: HTTP's way, and two of AMQP's.
_PREFIXES = ("ce-", "cloudevents:", "cloudevents_")
_ATTRIBUTES = ("specversion", "id", "source", "type", "subject", "time", "traceparent", "tracestate")
_HEADERS = {prefix + name: name for prefix in _PREFIXES for name in _ATTRIBUTES}
#: Encodings that leave the bytes as they are. Some clients name the character set here.
_PLAIN_ENCODINGS = frozenset({"", "identity", "utf-8", "utf8", "us-ascii", "ascii", "binary"})
_CLOUDEVENTS_MEDIA = "application/cloudevents"
_UNNAMED_MEDIA = "application/octet-stream"
_UNFIT_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_TRACESTATE = re.compile(r"[ -~]{1,512}")


class Form(StrEnum):
    """How a message came, and so how it is answered."""

    SINGLE = "single"
    BATCH = "batch"


class CloudEvent(NamedTuple):
    """One event as it came; `data` is parsed JSON and not looked into, None where there is none.

    Where `schemas.plain_requests` read it, `data` is the request.
    """

    id: str
    source: str
    type: str
    data: object
    time: str | None
    subject: str | None
    #: W3C trace context; one that isn't valid counts as absent, as that standard asks.
    traceparent: str | None
    tracestate: str | None


@dataclass(frozen=True, slots=True)
class Unreadable:
    """What goes to the dead letters, and why; `detail` never quotes the message."""

    reason: Reason
    detail: str
    #: The message's body unchanged; for one element of a readable batch, that element as it stood there.
    body: bytes
    #: The message's own media type; for an element that of a structured message.
    content_type: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What one message held, in its order; nothing for an empty batch."""

    form: Form
    items: tuple[CloudEvent | Unreadable, ...]


class _NotAnEventError(ValueError):
    """JSON, or headers, that don't make a CloudEvent."""


class _TooLargeError(ValueError):
    """More than one message may have."""


_Refused = (NotJSONError, UnfitJSONError, _NotAnEventError, _TooLargeError)


def read_message(
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    headers: Mapping[str, object],
) -> Reading:
    """Read the events of one message; never raises.

    What can't be read stands in the result as `Unreadable`: a whole message, whose headers the caller still has, or a
    bad element of a readable batch, which doesn't take its neighbours along.
    Size, encoding and depth are judged before anything is parsed, and so for the whole message.
    """
    media = _media_type(content_type) if content_type else ""
    form = Form.BATCH if media == BATCH else Form.SINGLE
    try:
        _check_outside(body, content_encoding)
        if form is Form.BATCH:
            return Reading(form, tuple(_batch(body)))
        event = _structured(_read_json(body)) if media == STRUCTURED else _binary(body, media, headers)
    except _Refused as refusal:
        reason = Reason.TOO_LARGE if isinstance(refusal, _TooLargeError) else Reason.MALFORMED
        return Reading(form, (Unreadable(reason, str(refusal), body, content_type or _UNNAMED_MEDIA),))
    return Reading(form, (event,))


def encode_event(event: Mapping[str, object]) -> bytes:
    """Write one event as a structured message; dates, instants, words of the vocabulary and models are written too.

    Raises `pydantic_core.PydanticSerializationError` for a value that JSON can't hold.
    """
    return to_json(event, inf_nan_mode="null")


def encode_batch(events: Sequence[bytes]) -> bytes:
    """Join events that `encode_event` wrote to one batch, as they are."""
    return b"[" + b",".join(events) + b"]"


def batch_elements(body: bytes) -> list[bytes]:
    """Cut a readable batch into its elements as they stand there, each of which is a structured message by itself."""
    return [text.encode() for text in strict_json.elements(strict_json.decode(body))]


def valid_trace(traceparent: object, tracestate: object) -> tuple[str | None, str | None]:
    """Give what is valid of a W3C trace context; the state means nothing without its parent."""
    if not isinstance(traceparent, str) or not _TRACEPARENT.fullmatch(traceparent):
        return None, None
    if not isinstance(tracestate, str) or not _TRACESTATE.fullmatch(tracestate):
        return traceparent, None
    return traceparent, tracestate


def _check_outside(body: bytes, content_encoding: str | None) -> None:
    if len(body) > MAX_BODY:
        msg = f"the body has more than {MAX_BODY} bytes"
        raise _TooLargeError(msg)
    if content_encoding and content_encoding.strip().lower() not in _PLAIN_ENCODINGS:
        _refuse("content-encoding: expected none, bodies are read uncompressed only")


def _read_json(body: bytes) -> object:
    return strict_json.read(strict_json.decode(body))


def _batch(body: bytes) -> Iterator[CloudEvent | Unreadable]:
    text = strict_json.decode(body)
    try:
        values = strict_json.read(text)
    except UnfitJSONError:
        # One element at least is at fault. Each is read alone, so that its neighbours are not lost.
        yield from map(_element, _bounded(strict_json.elements(text)))
        return
    if not isinstance(values, list):
        _refuse("a batch is a JSON array of events")
    _check_count(len(values))
    texts: list[str] = []
    for place, value in enumerate(values):
        try:
            yield _structured(value)
        except _Refused as refusal:
            texts = texts or list(strict_json.elements(text))
            yield _unreadable_element(refusal, texts[place])


def _bounded(texts: Iterator[str]) -> list[str]:
    """Collect the elements of a batch before the first is used: one that is no JSON makes the batch unreadable."""
    collected = []
    for text in texts:
        collected.append(text)
        _check_count(len(collected))
    return collected


def _check_count(events: int) -> None:
    if events > MAX_EVENTS:
        msg = f"the batch has more than {MAX_EVENTS} events"
        raise _TooLargeError(msg)


def _element(text: str) -> CloudEvent | Unreadable:
    try:
        return _structured(strict_json.read(text))
    except _Refused as refusal:
        return _unreadable_element(refusal, text)


def _unreadable_element(refusal: Exception, text: str) -> Unreadable:
    return Unreadable(Reason.MALFORMED, str(refusal), text.encode(), STRUCTURED)


def _structured(value: object) -> CloudEvent:
    if not isinstance(value, dict):
        _refuse("an event is a JSON object")
    media = _optional(value, "datacontenttype")
    if media is not None and not _is_json(_media_type(media)):
        _refuse("datacontenttype: expected JSON")
    return _event(value, _data(value))


def _data(event: dict[str, object]) -> object:
    encoded = event.get("data_base64")
    if encoded is None:
        return event.get("data")
    if "data" in event:
        _refuse("data and data_base64: expected one of them")
    if not isinstance(encoded, str):
        _refuse("data_base64: expected a text")
    try:
        body = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        _refuse("data_base64: expected base64")
    try:
        return _read_json(body)
    except (NotJSONError, UnfitJSONError) as fault:
        _refuse(f"data_base64: {fault}")


def _binary(body: bytes, media: str, headers: Mapping[str, object]) -> CloudEvent:
    if media.startswith(_CLOUDEVENTS_MEDIA):
        _refuse(f"content-type: of CloudEvents formats only {STRUCTURED} and {BATCH} are read")
    attributes = _header_attributes(headers)
    if not attributes:
        _refuse("no CloudEvent: neither its media type nor its attributes among the headers")
    if media and not _is_json(media):
        _refuse("content-type: expected JSON")
    return _event(attributes, _read_json(body) if body else None)


def _header_attributes(headers: Mapping[str, object]) -> dict[str, object]:
    """Find the attributes that are used among the headers; two spellings of one must agree."""
    attributes: dict[str, object] = {}
    for header, value in headers.items():
        name = _HEADERS.get(str(header).lower())
        if name is None:
            continue
        text = _header_text(value)
        if attributes.setdefault(name, text) != text:
            _refuse(f"{name}: two headers give it different values")
    return attributes


def _header_text(value: object) -> object:
    """Give a header's value in CloudEvents' canonical text form; anything that has none is left as it is."""
    match value:
        case bytes() | bytearray():
            # What isn't UTF-8 becomes surrogates, which no attribute may have.
            return value.decode(errors="surrogateescape")
        case bool():
            return str(value).lower()
        case int() if SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
            return str(value)
        case datetime():
            # AMQP's timestamps are UTC; some clients hand them over without saying so.
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).isoformat()
        case _:
            return value


def _event(attributes: Mapping[str, object], data: object) -> CloudEvent:
    if attributes.get("specversion") != _VERSION:
        _refuse(f"specversion: expected {_VERSION}")
    time = _optional(attributes, "time")
    if time is not None and not is_timestamp(time):
        _refuse("time: expected an RFC 3339 date and time with its zone")
    traceparent, tracestate = valid_trace(attributes.get("traceparent"), attributes.get("tracestate"))
    return CloudEvent(
        _required(attributes, "id"),
        _required(attributes, "source"),
        _required(attributes, "type"),
        data,
        time,
        _optional(attributes, "subject"),
        traceparent,
        tracestate,
    )


def _required(attributes: Mapping[str, object], name: str) -> str:
    value = _optional(attributes, name)
    if value is None:
        _refuse(f"{name}: missing, expected a text")
    return value


def _optional(attributes: Mapping[str, object], name: str) -> str | None:
    """Give an attribute exactly as it came, white space too; null is the same as absent."""
    value = attributes.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_ATTRIBUTE:
        _refuse(f"{name}: expected a text of 1 to {MAX_ATTRIBUTE} characters")
    # Printable characters are never control characters; the others are few and looked at one by one.
    if not value.isprintable() and _UNFIT_CHARACTER.search(value):
        _refuse(f"{name}: expected a text without control characters")
    return value


@lru_cache(maxsize=256)
def _media_type(content_type: str) -> str:
    """Give a media type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


@lru_cache(maxsize=256)
def _is_json(media: str) -> bool:
    subtype = media.partition("/")[2]
    return subtype == "json" or subtype.endswith("+json")


def _refuse(why: str) -> NoReturn:
    raise _NotAnEventError(why)
