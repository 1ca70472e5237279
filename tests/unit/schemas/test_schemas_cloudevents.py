"""CloudEvents in their three forms, good ones and bad ones."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from schemas.cloudevents import (
    MAX_BODY,
    STRUCTURED,
    CloudEvent,
    Form,
    Unreadable,
    read_message,
)
from schemas.reasons import Reason

DATA = {"issue_request_id": "R-1", "organization": "A", "issue_date": "2026-03-04"}
EVENT: dict[str, object] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/erp",
    "type": "fuma.invoice-issuing.v1",
    "data": DATA,
}
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BINARY_HEADERS = {"ce-specversion": "1.0", "ce-id": "e-1", "ce-source": "/erp", "ce-type": "fuma.invoice-issuing.v1"}


def read_one(
    body: bytes,
    content_type: str | None = STRUCTURED,
    content_encoding: str | None = None,
    headers: Mapping[str, object] | None = None,
) -> CloudEvent | Unreadable:
    reading = read_message(body, content_type, content_encoding, headers or {})
    assert reading.form is Form.SINGLE
    (item,) = reading.items
    return item


def read_event(**changes: object) -> CloudEvent | Unreadable:
    return read_one(json.dumps(EVENT | changes).encode())


def event(item: CloudEvent | Unreadable) -> CloudEvent:
    assert isinstance(item, CloudEvent), item
    return item


def bad(item: CloudEvent | Unreadable, words: str, reason: Reason = Reason.MALFORMED) -> Unreadable:
    assert isinstance(item, Unreadable), item
    assert item.reason is reason
    assert words in item.detail
    return item


# ------------------------------------------------------------------------------------------------- structured


def test_a_structured_event_is_read_with_all_its_attributes() -> None:
    item = read_event(time="2026-03-04T05:06:07Z", subject="s", traceparent=TRACEPARENT, tracestate="a=b", other=5)
    assert item == CloudEvent(
        id="e-1",
        source="/erp",
        type="fuma.invoice-issuing.v1",
        data=DATA,
        time="2026-03-04T05:06:07Z",
        subject="s",
        traceparent=TRACEPARENT,
        tracestate="a=b",
    )


@pytest.mark.parametrize(
    "content_type",
    [
        "Application/CloudEvents+JSON",
        "application/cloudevents+json; charset=latin-1",
        " application/cloudevents+json ;x",
    ],
)
def test_a_media_type_is_known_in_any_case_and_with_any_parameters(content_type: str) -> None:
    assert event(read_one(json.dumps(EVENT).encode(), content_type)).id == "e-1"


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
@pytest.mark.parametrize("value", [None, "", 1, True, ["1.0"], {"a": 1}])
def test_a_required_attribute_is_a_text_that_is_not_empty(name: str, value: object) -> None:
    bad(read_event(**{name: value}), f"{name}:")


@pytest.mark.parametrize("name", ["specversion", "id", "source", "type"])
def test_a_missing_attribute_is_named(name: str) -> None:
    bad(read_one(json.dumps({key: value for key, value in EVENT.items() if key != name}).encode()), f"{name}:")


@pytest.mark.parametrize("version", ["0.3", "1.1", "1", "1.0 "])
def test_another_version_of_cloudevents_is_malformed(version: str) -> None:
    bad(read_event(specversion=version), "specversion: expected 1.0")


@pytest.mark.parametrize("id_", ["E-1", "e-1 ", " e-1", "e\u00a01", "赋码", "e" * 1024])
def test_an_id_is_kept_exactly_as_it_came(id_: str) -> None:
    assert event(read_event(id=id_)).id == id_


@pytest.mark.parametrize("id_", ["e\n", "\te", "e\x7f", "e\x85", "e" * 1025])
@pytest.mark.parametrize("name", ["id", "source", "type", "subject"])
def test_control_characters_and_endless_attributes_are_malformed(name: str, id_: str) -> None:
    bad(read_event(**{name: id_}), f"{name}: expected")


@pytest.mark.parametrize("name", ["time", "subject", "datacontenttype", "traceparent", "data_base64", "whatever"])
def test_an_attribute_that_is_null_counts_as_absent(name: str) -> None:
    assert event(read_event(**{name: None})).data == DATA


@pytest.mark.parametrize("time", ["yesterday", "2026-02-30T00:00:00Z", "2026-03-04T05:06:07", "2026-03-04", 5, ""])
def test_a_time_that_is_none_is_malformed(time: object) -> None:
    bad(read_event(time=time), "time: expected")


@pytest.mark.parametrize(
    "time",
    ["2026-03-04T05:06:07+08:00", "2026-03-04t05:06:07.1z", "2026-03-04T05:06:07.123456789-00:00"],
)
def test_every_way_to_write_a_time_is_kept_as_it_came(time: str) -> None:
    assert event(read_event(time=time)).time == time


@pytest.mark.parametrize("media", ["application/json", "Application/JSON; charset=utf-8", "text/json", "a/b+json"])
def test_data_of_any_json_media_type_is_read(media: str) -> None:
    assert event(read_event(datacontenttype=media)).data == DATA


@pytest.mark.parametrize("media", ["application/xml", "text/plain", "json", "application/jsonx", "", 5])
def test_data_of_another_media_type_is_malformed(media: object) -> None:
    bad(read_event(datacontenttype=media), "datacontenttype: expected")


def test_an_event_without_data_has_none() -> None:
    body = json.dumps({key: value for key, value in EVENT.items() if key != "data"}).encode()
    assert event(read_one(body)).data is None


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "x",
        5,
        TRACEPARENT.upper(),
        TRACEPARENT + "-more",
        "ff" + TRACEPARENT[2:],
        "00-" + "0" * 32 + TRACEPARENT[35:],
    ],
)
def test_a_trace_context_that_is_not_valid_counts_as_absent(traceparent: object) -> None:
    item = event(read_event(traceparent=traceparent, tracestate="a=b"))
    assert (item.traceparent, item.tracestate) == (None, None)


def test_a_trace_state_that_is_too_long_counts_as_absent() -> None:
    assert event(read_event(traceparent=TRACEPARENT, tracestate="a" * 513)).tracestate is None


# ------------------------------------------------------------------------------------------------ data_base64


def in_base64(content: bytes, /, **changes: object) -> CloudEvent | Unreadable:
    members = {key: value for key, value in EVENT.items() if key != "data"}
    return read_one(json.dumps(members | {"data_base64": base64.b64encode(content).decode()} | changes).encode())


def test_json_in_base64_is_read() -> None:
    assert event(in_base64(json.dumps(DATA).encode(), datacontenttype="application/json")).data == DATA


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a":1,"a":2}', b'"\\u0000"'])
def test_what_is_in_base64_is_read_as_strictly(data: bytes) -> None:
    bad(in_base64(data), "data_base64: ")


@pytest.mark.parametrize("text", ["a", "%%%%", "e30\n=", "e30=e30=", "赋码", 5, ["e30="]])
def test_what_is_not_base64_is_malformed(text: object) -> None:
    bad(in_base64(b"", data_base64=text), "data_base64: expected")


def test_data_and_data_base64_exclude_each_other() -> None:
    bad(in_base64(b"{}", data={}), "data and data_base64")


# ----------------------------------------------------------------------------------------------------- binary


def binary(
    headers: Mapping[str, object], body: bytes = b'{"a":1}', content_type: str | None = "application/json"
) -> CloudEvent | Unreadable:
    return read_one(body, content_type, headers=headers)


@pytest.mark.parametrize("prefix", ["ce-", "CE-", "cloudEvents:", "cloudEvents_"])
def test_a_binary_event_has_its_attributes_in_headers(prefix: str) -> None:
    headers = {
        f"{prefix}specversion": "1.0",
        f"{prefix}id": "e-1",
        f"{prefix}source": "/erp",
        f"{prefix}type": "t",
        f"{prefix}time": "2026-03-04T05:06:07Z",
        f"{prefix}subject": "s",
        f"{prefix}traceparent": TRACEPARENT,
        f"{prefix}tracestate": "a=b",
        f"{prefix}other": [1],
        "x-death": [{"count": 1}],
    }
    assert binary(headers) == CloudEvent("e-1", "/erp", "t", {"a": 1}, "2026-03-04T05:06:07Z", "s", TRACEPARENT, "a=b")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"e-1", "e-1"),
        (bytearray("赋".encode()), "赋"),
        (5, "5"),
        (True, "true"),
        (datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC), "2026-03-04T05:06:07+00:00"),
    ],
)
def test_header_values_of_other_types_are_read_as_text(value: object, text: str) -> None:
    assert event(binary(BINARY_HEADERS | {"ce-id": value})).id == text


def test_a_timestamp_header_that_names_no_zone_is_utc() -> None:
    naive = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC).replace(tzinfo=None)
    assert event(binary(BINARY_HEADERS | {"ce-time": naive})).time == "2026-03-04T05:06:07+00:00"


@pytest.mark.parametrize(
    "value", [b"\xff", "\ud800", "", None, [], {}, 1.5, pytest.param(10**5000, id="endless"), memoryview(b"e"), "a\0b"]
)
def test_header_values_that_are_no_text_are_malformed(value: object) -> None:
    bad(binary(BINARY_HEADERS | {"ce-id": value}), "id:")


def test_two_spellings_of_an_attribute_must_agree() -> None:
    assert event(binary(BINARY_HEADERS | {"cloudEvents:id": b"e-1"})).id == "e-1"
    bad(binary(BINARY_HEADERS | {"cloudEvents:id": "e-2"}), "id: two headers")


@pytest.mark.parametrize("content_type", [None, "", "application/json; charset=utf-8", "text/json", "a/b+json"])
def test_binary_data_is_json_where_nothing_else_is_said(content_type: str | None) -> None:
    assert event(binary(BINARY_HEADERS, content_type=content_type)).data == {"a": 1}


def test_binary_data_of_another_media_type_is_malformed() -> None:
    bad(binary(BINARY_HEADERS, content_type="text/plain"), "content-type: expected JSON")


def test_a_binary_event_with_an_empty_body_has_no_data() -> None:
    assert event(binary(BINARY_HEADERS, b"")).data is None


@pytest.mark.parametrize("content_type", [None, "application/json", "text/plain", "application/octet-stream"])
def test_a_message_without_any_attribute_is_no_cloudevent(content_type: str | None) -> None:
    item = bad(read_one(json.dumps(EVENT).encode(), content_type, headers={"id": "e-1"}), "no CloudEvent")
    assert item.body == json.dumps(EVENT).encode()
    assert item.content_type == (content_type or "application/octet-stream")


@pytest.mark.parametrize("content_type", ["application/cloudevents+xml", "application/cloudevents-batch+avro"])
def test_formats_of_cloudevents_other_than_json_are_malformed(content_type: str) -> None:
    bad(binary(BINARY_HEADERS, content_type=content_type), "content-type:")


# --------------------------------------------------------------------------------------- bounds and encodings


@pytest.mark.parametrize("content_type", [STRUCTURED, "application/json"])
def test_a_body_over_one_mebibyte_is_too_large_whatever_it_is(content_type: str) -> None:
    body = b"x" * (MAX_BODY + 1)
    item = bad(read_one(body, content_type, "gzip"), "1048576 bytes", Reason.TOO_LARGE)
    assert item.body == body


def test_a_body_of_exactly_one_mebibyte_is_read() -> None:
    body = json.dumps(EVENT).encode()
    assert event(read_one(body + b" " * (MAX_BODY - len(body)))).id == "e-1"


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd", "x-gzip", "utf-16", "gzip, identity"])
def test_an_encoded_body_is_refused_unread(encoding: str) -> None:
    bad(read_one(json.dumps(EVENT).encode(), content_encoding=encoding), "content-encoding:")


@pytest.mark.parametrize("encoding", [None, "", "identity", "utf-8", "UTF-8", "binary"])
def test_a_character_set_in_the_place_of_an_encoding_is_no_encoding(encoding: str | None) -> None:
    assert event(read_one(json.dumps(EVENT).encode(), content_encoding=encoding)).id == "e-1"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"[" * 100_000, "deep"),
        (b'{"data":' * 100_000, "deep"),
        (b"null", "JSON object"),
        (b"[]", "JSON object"),
        (json.dumps([EVENT]).encode(), "JSON object"),
        (b'{"id":NaN}', "NaN"),
        (b'{"id":1,"id":2}', "same key twice"),
        (b'{"id":' + b"9" * 10_000 + b"}", "64 bits"),
        (b'{"id":"\\u0000"}', "NUL"),
        (b'{"id":"\\ud800"}', "surrogate"),
    ],
)
def test_a_body_that_is_no_event_is_malformed_and_kept_unchanged(body: bytes, words: str) -> None:
    item = bad(read_one(body), words)
    assert item.body == body
    assert item.content_type == STRUCTURED


def test_no_detail_repeats_what_came() -> None:
    for name in ("specversion", "id", "source", "type", "time", "subject", "datacontenttype", "data_base64"):
        item = read_event(**{name: "secret\n"})
        assert "secret" not in bad(item, name).detail
