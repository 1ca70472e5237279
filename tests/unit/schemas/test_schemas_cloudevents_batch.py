"""Batches of CloudEvents, whatever else may come, and what Fuma itself writes."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.cloudevents import (
    BATCH,
    MAX_BODY,
    STRUCTURED,
    CloudEvent,
    Form,
    Unreadable,
    encode_batch,
    encode_event,
    read_message,
)
from schemas.reasons import Reason
from schemas.vocabulary import Environment

EVENT: dict[str, object] = {
    "specversion": "1.0",
    "id": "e-1",
    "source": "/erp",
    "type": "fuma.invoice-issuing.v1",
    "data": {"issue_request_id": "R-1", "organization": "A", "issue_date": "2026-03-04"},
}
HEADERS = ["ce-specversion", "ce-id", "ce-source", "ce-type", "ce-time", "cloudEvents:id"]


def read_one(body: bytes, content_type: str = STRUCTURED) -> CloudEvent | Unreadable:
    (item,) = read_message(body, content_type, None, {}).items
    return item


def event(item: CloudEvent | Unreadable) -> CloudEvent:
    assert isinstance(item, CloudEvent), item
    return item


def bad(item: CloudEvent | Unreadable, words: str, reason: Reason = Reason.MALFORMED) -> Unreadable:
    assert isinstance(item, Unreadable), item
    assert item.reason is reason
    assert words in item.detail
    return item


# ------------------------------------------------------------------------------------------------------ batch


def read_batch(body: bytes) -> tuple[CloudEvent | Unreadable, ...]:
    reading = read_message(body, BATCH, None, {})
    assert reading.form is Form.BATCH
    return reading.items


def batch(*elements: bytes) -> bytes:
    return b"[" + b" ,\n".join(elements) + b"]"


def good(id_: str) -> bytes:
    return json.dumps(EVENT | {"id": id_}).encode()


def test_a_batch_is_read_in_its_order() -> None:
    items = read_batch(batch(*(good(f"e-{place}") for place in range(1000))))
    assert [event(item).id for item in items] == [f"e-{place}" for place in range(1000)]


@pytest.mark.parametrize("body", [b"[]", b" [ \n ] "])
def test_an_empty_batch_has_no_items(body: bytes) -> None:
    assert read_batch(body) == ()


@pytest.mark.parametrize(
    ("element", "words"),
    [
        (b"1", "JSON object"),
        (b"null", "JSON object"),
        (b"[]", "JSON object"),
        (b"{}", "specversion"),
        (b'{"specversion" : "1.0",  "id":"\xe8\xb5\x8b"}', "source"),
        (b'{"id":1, "id":2}', "same key twice"),
        (b'{"id":NaN}', "NaN"),
        (b'{"id":1e999}', "too large"),
        (b"9" * 10_000, "64 bits"),
        (b'{"id":"\\u0000"}', "NUL"),
        (b'{"id":"\\ud800"}', "surrogate"),
    ],
)
def test_a_bad_element_goes_alone_as_it_stood_there(element: bytes, words: str) -> None:
    before, wrong, after = read_batch(batch(good("e-1"), element, good("e-2")))
    assert (event(before).id, event(after).id) == ("e-1", "e-2")
    item = bad(wrong, words)
    assert item.body == element
    assert item.content_type == STRUCTURED
    # Sent on as the structured message that it claims to be, it is just as unreadable.
    assert bad(read_one(item.body, item.content_type), words).reason is item.reason


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "not JSON"),
        (b"{}", "JSON array"),
        (b"[1,]", "not JSON"),
        (b"[" + json.dumps(EVENT).encode(), "not JSON"),
        (b'[NaN, "', "not JSON"),
        (b"[\xff]", "not UTF-8"),
        (b'{"a":NaN}', "not JSON"),
        (b"[" * 100_000, "deep"),
        (b"[" * 65 + b"]" * 65, "deep"),
    ],
)
def test_an_unreadable_batch_goes_whole(body: bytes, words: str) -> None:
    (item,) = read_batch(body)
    whole = bad(item, words)
    assert whole.body == body
    assert whole.content_type == BATCH


@pytest.mark.parametrize("extra", [b"{}", b"NaN"])
def test_a_batch_of_more_than_a_thousand_goes_whole(extra: bytes) -> None:
    body = batch(*[b"{}"] * 1000, extra)
    (item,) = read_batch(body)
    assert bad(item, "1000 events", Reason.TOO_LARGE).body == body


def test_a_batch_over_one_mebibyte_goes_whole() -> None:
    (item,) = read_batch(b"[" + b" " * MAX_BODY + b"]")
    bad(item, "1048576 bytes", Reason.TOO_LARGE)


# --------------------------------------------------------------------------------------------------- any input

HEADER_VALUES = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text())
HEADER_NAMES = st.sampled_from(HEADERS) | st.text()
CONTENT_TYPES = st.none() | st.sampled_from([STRUCTURED, BATCH, "application/json"]) | st.text()
BODIES = (
    st.binary()
    | st.text('[]{}",:\\u08d1.eEnI-', max_size=60).map(str.encode)
    | st.dictionaries(st.sampled_from([*EVENT, "time", "data_base64"]), st.text() | st.integers()).map(
        lambda members: json.dumps(EVENT | members).encode(),
    )
)


@given(BODIES, CONTENT_TYPES, st.none() | st.text(max_size=5), st.dictionaries(HEADER_NAMES, HEADER_VALUES))
def test_no_message_whatever_makes_the_reader_fail(
    body: bytes,
    content_type: str | None,
    content_encoding: str | None,
    headers: dict[str, object],
) -> None:
    reading = read_message(body, content_type, content_encoding, headers)
    for item in reading.items:
        if isinstance(item, Unreadable):
            assert item.detail
            assert item.detail.isprintable()
            assert item.body in body
        else:
            assert item.id


# ----------------------------------------------------------------------------------------------------- writing


def test_what_is_written_is_read_back() -> None:
    written = encode_event(
        EVENT | {"time": datetime(2026, 3, 4, tzinfo=UTC), "data": {"environment": Environment.SANDBOX}}
    )
    item = event(read_one(written))
    assert item.time == "2026-03-04T00:00:00Z"
    assert item.data == {"environment": "sandbox"}


def test_a_batch_holds_the_written_events_as_they_are() -> None:
    one, other = encode_event(EVENT), encode_event(EVENT | {"id": "赋码"})
    assert encode_batch([one, other]) == b"[" + one + b"," + other + b"]"
    assert [event(item).id for item in read_batch(encode_batch([one, other]))] == ["e-1", "赋码"]
    assert read_batch(encode_batch([])) == ()
