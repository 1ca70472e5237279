"""Messages as a hostile or broken sender makes them: good ones, damaged by steps that dice choose."""

import base64
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from tests.support.hostile.dice import Dice
from worker.broker.port import Delivery

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_DATA: Mapping[str, dict[str, object]] = {
    "invoice-issuing": {"issue_request_id": "R-1", "organization": "A", "issue_date": "2026-11-25", "kind": "blue"},
    "claim-requested": {"claim_id": "C-1", "organization": "A", "quantity": 10, "requested_by": "li.na"},
    "refresh-requested": {"refresh_id": "F-1", "taxpayer_id": "91350100M000100Y43"},
    "number-binding-requested": {
        "binding_id": "B-1",
        "organization": "A",
        "number": "26447000000000000001",
        "issue_request_id": "R-1",
        "action": "bind",
    },
    "invoice-outcome": {
        "outcome_id": "O-1",
        "organization": "A",
        "issue_request_id": "R-1",
        "invoice_number": "26447000000000000001",
        "outcome": "failed",
        "reuse": False,
    },
}
TOPICS = tuple(_DATA)

#: Values that some reader takes for something else, or that can't be stored.
NASTY_TEXTS = (
    "",
    " ",
    "R-1 ",
    " R-1",
    "r-1",
    "R\u20111",
    "\ufeffR-1",
    "a\x00b",
    "\x00",
    "\x1b[2J",
    "line\r\nbreak",
    "\u2028",
    "\ud800",
    "\udfff\ud800",
    "\U0001f600" * 16,
    "e\u0301",
    "\u202eright to left",
    "x" * 64,
    "x" * 65,
    "号" * 64,
    "x" * 256,
    "x" * 5000,
    "'; DROP TABLE numbers; --",
    "{}",
    "%s%n",
    "${jndi:ldap://x}",
    "2026-02-30",
    "2026-11-25T00:00:00",
    "٢٠٢٦-١١-٢٥",
    "9" * 20,
    "２６４４７０００００００００００００００１",
    "NaN",
    "true",
)
NASTY_VALUES: tuple[object, ...] = (
    *NASTY_TEXTS,
    None,
    True,
    False,
    0,
    -1,
    1.5,
    1e308,
    -0.0,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63) - 1,
    10**400,
    [],
    {},
    [[]],
    [1, "a", None],
    {"a": {"b": [{}]}},
    {"": ""},
)
#: Pieces put anywhere into a body.
NASTY_BYTES = (
    b"\x00",
    b"\xff\xfe",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\\u0000",
    b"\\ud800",
    b"\\udc00\\ud800",
    b'"',
    b"\\",
    b'\\"',
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"9" * 5000,
    b"-0",
    b"01",
    b"/* */",
    b"[" * 70,
    b'{"a":' * 200,
    b"[" * 5000,
    b" " * 1000,
    b"\n",
    b'"id":"2",',
    b'"data":{},',
    b"null",
    b"\x1f\x8b\x08",
)
NASTY_TYPES = (
    STRUCTURED,
    BATCH,
    "application/json",
    None,
    "",
    "APPLICATION/CloudEvents+JSON; charset=utf-16",
    f"{BATCH};{STRUCTURED}",
    f" {STRUCTURED} ",
    "application/cloudevents+avro",
    "application/cloudevents",
    "text/plain",
    "application/x+json",
    "/+json",
    "multipart/form-data; boundary=x",
    "application/cloudevents+json\r\nX-Injected: 1",
    "\ufffd" * 255,
    "x" * 300,
)
NASTY_ENCODINGS = (
    None,
    None,
    None,
    "",
    "utf-8",
    "gzip",
    "deflate",
    "br",
    "GZIP",
    "identity",
    "gzip, gzip",
    "\ufffd" * 255,
)
NASTY_HEADER_VALUES: tuple[object, ...] = (
    *NASTY_TEXTS[:24],
    b"\xff",
    b"1.0",
    bytearray(b"x"),
    2**63 - 1,
    -(2**63),
    datetime(1, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, tzinfo=UTC),
    [],
    {"a": [1]},
    None,
    True,
    1.5,
)
NASTY_HEADER_NAMES = (
    "ce-id",
    "CE-ID",
    "cloudEvents:id",
    "cloudEvents_id",
    "ce-type",
    "ce-specversion",
    "ce-source",
    "ce-time",
    "ce-traceparent",
    "x-fuma-reason",
    "X-Fuma-Topic",
    "x-death",
    "x-delivery-count",
    "",
    "x" * 255,
    "\ufffd" * 255,
    "a\r\nb",
    "x-large",
)

_Damage = Callable[[Dice, bytes], bytes]


def event(topic: str) -> dict[str, Any]:
    """Give a good event of a topic."""
    return {
        "specversion": "1.0",
        "id": "message-1",
        "source": "/tests",
        "type": f"fuma.{topic}.v1",
        "time": "2026-11-25T00:00:00Z",
        "datacontenttype": "application/json",
        "data": dict(_DATA[topic]),
    }


def written(value: object) -> bytes:
    """Write JSON as some senders would: surrogates and NUL as escapes, NaN as a word."""
    return json.dumps(value, ensure_ascii=True).encode()


def _put(dice: Dice, body: bytes) -> bytes:
    place = dice.number(0, len(body))
    return body[:place] + dice.of(NASTY_BYTES) + body[place:]


def _cut(dice: Dice, body: bytes) -> bytes:
    first = dice.number(0, len(body))
    return body[:first] + body[first + dice.number(0, 40) :]


def _repeat(dice: Dice, body: bytes) -> bytes:
    first = dice.number(0, len(body))
    return body[:first] + body[first : first + dice.number(1, 60)] * dice.number(2, 20) + body[first:]


def _flip(dice: Dice, body: bytes) -> bytes:
    if not body:
        return body
    place = dice.number(0, len(body) - 1)
    return body[:place] + bytes([dice.number(0, 255)]) + body[place + 1 :]


def _deepen(dice: Dice, body: bytes) -> bytes:
    depth = dice.of((1, 30, 60, 62, 63, 64, 65, 500, 20_000))
    return b'{"a":' * depth + body + b"}" * depth if dice.coin() else b"[" * depth + body + b"]" * depth


def _pack(dice: Dice, body: bytes) -> bytes:
    packs: tuple[Callable[[bytes], bytes], ...] = (gzip.compress, zlib.compress, base64.b64encode)
    return dice.of(packs)(body)


def _grow(dice: Dice, body: bytes) -> bytes:
    return body + b" " * dice.of((1, 1000, 1024 * 1024 - len(body), 1024 * 1024, 3 * 1024 * 1024))


_DAMAGES: tuple[_Damage, ...] = (_put, _put, _put, _cut, _repeat, _flip, _flip, _deepen, _pack, _grow)


def _hurt(dice: Dice, members: dict[str, Any]) -> None:
    """Change one member of an object for the worse."""
    name = dice.of((*members, "extra", "environment", "number", "data_base64", "ID"))
    step = dice.number(0, 5)
    if step == 0:
        members.pop(name, None)
    elif step == 1:
        members[name.upper()] = members.get(name)
    elif step == 2:
        members[f" {name}"] = members.pop(name, None)
    elif step == 3 and isinstance(members.get("data"), dict):
        encoded = base64.b64encode(written(members.pop("data")))
        members["data_base64"] = dice.of(
            ((encoded.decode(), encoded.decode()[:-3], "!" + encoded.decode(), "")),
        )
    else:
        members[name] = dice.of(NASTY_VALUES)


def _hurt_event(dice: Dice, good: dict[str, Any]) -> object:
    for _ in range(dice.number(0, 3)):
        data = good.get("data")
        inner = isinstance(data, dict) and dice.coin()
        _hurt(dice, data if inner and isinstance(data, dict) else good)
    return good if dice.number(0, 30) else dice.of(NASTY_VALUES)


def hostile_message(dice: Dice) -> tuple[str, Delivery]:
    """Throw a topic's queue and what arrives there."""
    topic = dice.of(TOPICS)
    sent_by = dice.of(TOPICS) if not dice.number(0, 9) else topic
    form = dice.number(0, 9)
    headers: dict[str, object] = {}
    content_type: str | None = STRUCTURED
    if form <= 4:
        body = written(_hurt_event(dice, event(sent_by)))
    elif form <= 7:
        events = [_hurt_event(dice, event(sent_by)) for _ in range(dice.number(0, 6))]
        body = written(events * (dice.of((40, 200, 400)) if not dice.number(0, 40) else 1))
        content_type = BATCH
    else:
        good = event(sent_by)
        headers = {f"ce-{name}": good[name] for name in ("specversion", "id", "source", "type", "time")}
        body = written(good["data"])
        content_type = "application/json"
    for _ in range(dice.of((0, 0, 0, 1, 1, 2, 3))):
        body = dice.of(_DAMAGES)(dice, body)
    for _ in range(dice.of((0, 0, 0, 1, 3))):
        headers[dice.of(NASTY_HEADER_NAMES)] = dice.of(NASTY_HEADER_VALUES)
    if not dice.number(0, 4):
        content_type = dice.of(NASTY_TYPES)
    return topic, Delivery(
        tag=1,
        body=body,
        content_type=content_type,
        content_encoding=dice.of(NASTY_ENCODINGS) if not dice.number(0, 5) else None,
        headers=headers,
        routing_key=dice.of((topic, f"{topic}.x", "\ufffd" * 255, "a\r\nb")),
        message_id=dice.of((None, None, "m-1", "\ufffd" * 255, "x" * 255)),
        redelivered=dice.coin(),
    )
