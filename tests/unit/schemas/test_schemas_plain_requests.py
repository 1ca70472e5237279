"""Plain issue requests mean what the careful readers read, and nothing else is taken for plain."""

import json
import random
from collections.abc import Mapping

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from schemas.cloudevents import BATCH, STRUCTURED, CloudEvent, Form, read_message
from schemas.plain_requests import read_plain
from schemas.requests import InvoiceIssuing, read_request
from schemas.topics import Topic
from schemas.vocabulary import Environment
from tests.support.hostile.messages import NASTY_TEXTS

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
DATA = {"issue_request_id": "R-1", "organization": "沪-01", "issue_date": "2026-11-25", "kind": "red"}
EVENT: Mapping[str, object] = {
    "specversion": "1.0",
    "id": "m-1",
    "source": "/erp",
    "type": "fuma.invoice-issuing.v1",
    "time": "2026-01-02T03:04:05.678+08:00",
    "datacontenttype": "application/json",
    "data": DATA,
}


def written(event: object) -> bytes:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="surrogatepass")


def plainly(body: bytes, content_type: str = STRUCTURED) -> list[CloudEvent] | None:
    """Read a body as plain; where it is, insist that the careful readers read the same."""
    read = read_plain(body, content_type, None, Environment.SANDBOX)
    if read is None:
        return None
    form, found = read
    careful = read_message(body, content_type, None, {})
    assert careful.form is form
    assert len(careful.items) == len(found)
    for (event, request), same in zip(found, careful.items, strict=True):
        assert isinstance(same, CloudEvent)
        assert event._replace(data=None) == same._replace(data=None)
        asked = read_request(Topic.INVOICE_ISSUING, same.data, Environment.SANDBOX)
        assert isinstance(asked, InvoiceIssuing)
        assert request._asdict() == asked.model_dump()
        assert type(request.kind) is type(asked.kind)
    return [event for event, _ in found]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"subject": "an invoice", "traceparent": TRACE, "tracestate": "a=b"},
        {"traceparent": "not one", "tracestate": "a=b"},
        {"traceparent": TRACE, "tracestate": "字"},
        {"tracestate": "a=b"},
        {"data": {**DATA, "environment": "sandbox"}},
        {"data": {name: value for name, value in DATA.items() if name != "kind"}},
        {"data": {**DATA, "issue_request_id": "号" * 64, "organization": "\U0001f600" * 64}},
    ],
)
def test_plain_requests_are_read_as_the_careful_readers_read_them(more: Mapping[str, object]) -> None:
    assert plainly(written({**EVENT, **more}))


def test_an_event_that_has_only_what_it_must_have_is_plain() -> None:
    assert plainly(written({name: value for name, value in EVENT.items() if name not in {"time", "datacontenttype"}}))


def test_a_batch_is_plain_where_all_of_it_is() -> None:
    events = [{**EVENT, "id": f"m-{place}"} for place in range(1000)]
    read = plainly(written(events), BATCH)
    assert read is not None
    assert [event.id for event in read] == [event["id"] for event in events]
    assert plainly(b" [ ] ", BATCH) == []
    assert plainly(written([*events, EVENT]), BATCH) is None
    assert plainly(written([*events[:5], {**EVENT, "data": {}}]), BATCH) is None


def test_a_form_is_taken_for_no_other() -> None:
    assert plainly(written(EVENT), BATCH) is None
    assert plainly(written([EVENT]), STRUCTURED) is None
    for content_type, encoding in [("application/json", None), (None, None), (STRUCTURED, "gzip")]:
        assert read_plain(written(EVENT), content_type, encoding, Environment.SANDBOX) is None
    assert read_plain(written(EVENT), STRUCTURED, None, Environment.PRODUCTION) is not None
    named = written({**EVENT, "data": {**DATA, "environment": "sandbox"}})
    assert read_plain(named, STRUCTURED, None, Environment.PRODUCTION) is None


@pytest.mark.parametrize("name", [*EVENT, *DATA])
@pytest.mark.parametrize("form", Form)
def test_a_member_that_stands_twice_is_not_plain(name: str, form: Form) -> None:
    """Readers differ in which of the two they take; whatever is left out meanwhile must not make up for it."""
    body = written(EVENT)
    value = json.dumps(EVENT.get(name, DATA.get(name)), ensure_ascii=False, separators=(",", ":"))
    member = f'"{name}":{value}'.encode()
    assert body.count(member) == 1
    twice = body.replace(member, member + b"," + member)
    optional = (b',"kind":"red"', b'"time":"2026-01-02T03:04:05.678+08:00",', b'"datacontenttype":"application/json",')
    for left_out in (b"", *(each for each in optional if member not in each and each not in member)):
        faulty = twice.replace(left_out, b"")
        assert faulty.count(member) == 2
        assert plainly(*((faulty, STRUCTURED) if form is Form.SINGLE else (b"[%b,%b]" % (body, faulty), BATCH))) is None


@pytest.mark.parametrize("nasty", NASTY_TEXTS)
def test_whatever_stands_in_a_member_means_the_same_or_is_left_to_the_careful_readers(nasty: str) -> None:
    for name in EVENT:
        plainly(written({**EVENT, name: nasty}))
    for name in DATA:
        plainly(written({**EVENT, "data": {**DATA, name: nasty}}))


@pytest.mark.parametrize(
    "body",
    [
        written(EVENT) + b" x",
        written(EVENT)[:-1],
        written(EVENT).replace(b"R-1", b"R\\u002d1"),
        written(EVENT).replace(b"R-1", b"R\t1"),
        written(EVENT).replace(b"R-1", b"R\xff1"),
        written(EVENT).replace(b'"R-1"', b"1"),
        written(EVENT).replace(b'"R-1"', b"null"),
        written(EVENT).replace(b'"red"', b"null"),
        written(EVENT).replace(b'"red"', b'"red","number":null'),
        written(EVENT).replace(b'"red"', b'"red","number":"26447000000000000001"'),
        written(EVENT).replace(b'"red"', b'"purple"'),
        written(EVENT).replace(b"2026-11-25", b"2026-02-30"),
        written(EVENT).replace(b"2026-11-25", b"1999-12-31"),
        written(EVENT).replace(b"+08:00", b""),
        written({**EVENT, "extension": "x"}),
        written({**EVENT, "type": "fuma.claim-requested.v1"}),
        written({**EVENT, "specversion": "0.3"}),
        written({**EVENT, "id": "x" * 1025}),
        b"\xef\xbb\xbf" + written(EVENT),
        b"",
        b"{}",
        b"null",
        b"[" * 100_000,
    ],
)
def test_what_is_not_plain_is_left_to_the_careful_readers(body: bytes) -> None:
    assert plainly(body) is None


_TEXT = st.text(max_size=70) | st.sampled_from(NASTY_TEXTS)
_ODD = _TEXT | st.none() | st.booleans() | st.integers() | st.floats() | st.lists(_TEXT, max_size=2)


@given(
    members=st.dictionaries(st.sampled_from([*EVENT, "subject", "traceparent", "tracestate", "x"]), _ODD, max_size=2),
    data=st.dictionaries(st.sampled_from([*DATA, "environment", "number", "x"]), _ODD, max_size=2),
    ascii_only=st.booleans(),
    spaced=st.booleans(),
)
@example(members={}, data={}, ascii_only=False, spaced=True)
def test_plain_or_careful_agree_on_anything(
    members: dict[str, object],
    data: dict[str, object],
    *,
    ascii_only: bool,
    spaced: bool,
) -> None:
    event = {**EVENT, "data": {**DATA, **data}, **members}
    text = json.dumps(event, ensure_ascii=ascii_only, separators=None if spaced else (",", ":"))
    plainly(text.encode(errors="surrogatepass"))
    plainly(f"[{text}]".encode(errors="surrogatepass"), BATCH)


def test_plain_or_careful_agree_on_damaged_bytes() -> None:
    dice = random.Random(7)
    pieces = [b'"', b",", b":", b"{", b"}", b"\\", b'"kind":"blue",', b'"id":"m",', b" ", b"\x00", b"1", b"null"]
    still_plain = 0
    for _ in range(20_000):
        body = bytearray(written(EVENT))
        for _ in range(dice.randint(1, 2)):
            start = dice.randrange(len(body))
            body[start : start + dice.randint(0, 3)] = dice.choice([*pieces, bytes([dice.randrange(256)])])
        still_plain += plainly(bytes(body)) is not None
    assert still_plain
