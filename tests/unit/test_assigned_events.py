"""`number-assigned` is written by hand, for every invoice: to what the general way would write."""

import json
from datetime import UTC, date, datetime

from hypothesis import given
from hypothesis import strategies as st

from db.records import RequestKey
from schemas.cloudevents import encode_event
from worker.events import EventWriter, Number

WRITER = EventWriter("sandbox")
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
TAXPAYERS = st.text("ABCDEFGHJK0123456789", min_size=15, max_size=20)

NUMBERS = st.builds(
    Number,
    st.just(264470),
    st.integers(0, 10**14 - 1),
    st.uuids(),
    st.sampled_from(["automatic", "manual"]),
    st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
    st.uuids().map(str),
)


@given(
    TEXTS,
    TEXTS,
    TAXPAYERS,
    st.none() | st.just("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    st.dates(date(2000, 1, 1), date(2099, 12, 31)),
    NUMBERS,
)
def test_it_is_written_as_every_other_event(
    request_id: str,
    organization: str,
    taxpayer_id: str,
    traceparent: str | None,
    issue_date: date,
    number: Number,
) -> None:
    event = WRITER.number_assigned(
        RequestKey(taxpayer_id, request_id),
        organization=organization,
        issue_date=issue_date,
        kind="blue",
        number=number,
        traceparent=traceparent,
    )

    said = number.assigned_at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    envelope: dict[str, object] = {
        "specversion": "1.0",
        "id": number.event_id,
        "source": "/fuma/sandbox",
        "type": "fuma.number-assigned.v1",
        "time": said,
        "datacontenttype": "application/json",
    }
    if traceparent is not None:
        envelope["traceparent"] = traceparent
    envelope["data"] = {
        "issue_request_id": request_id,
        "organization": organization,
        "taxpayer_id": taxpayer_id,
        "invoice_number": f"264470{number.sequence:014}",
        "issue_date": issue_date,
        "kind": "blue",
        "range_id": number.range_id,
        "claim_mode": number.claim_mode,
        "assigned_at": said,
        "environment": "sandbox",
    }
    assert event.body == encode_event(envelope)
    assert json.loads(event.body) == json.loads(encode_event(envelope))
