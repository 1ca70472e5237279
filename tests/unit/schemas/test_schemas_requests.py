"""What Fuma is asked: what is read, what is refused, and in which words."""

from datetime import date
from typing import TypeAlias

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.reasons import Reason
from schemas.requests import (
    ClaimRequested,
    InvoiceIssuing,
    InvoiceOutcome,
    NumberBindingRequested,
    RangeExhausted,
    RangeLow,
    RefreshRequested,
    Refusal,
    Request,
    read_request,
)
from schemas.topics import CONSUMED, Topic
from schemas.vocabulary import BindingAction, ChannelMode, Environment, InvoiceKind, UploadOutcome

Json: TypeAlias = dict[str, object]

ISSUING: Json = {"issue_request_id": "R-1", "organization": "A", "issue_date": "2026-03-04"}
CLAIM: Json = {"claim_id": "C-1", "organization": "A", "quantity": 10}
REFRESH: Json = {"refresh_id": "F-1"}
EXHAUSTED: Json = {
    "environment": "sandbox",
    "taxpayer_id": "91350100M000100Y43",
    "channel_mode": "self-use",
    "year": 2026,
    "episode": 3,
    "last_number": "26447000000000000001",
    "waiting": 7,
    "exhausted_at": "2026-03-04T05:06:07.123456Z",
}
LOW: Json = {
    "environment": "sandbox",
    "taxpayer_id": "91350100M000100Y43",
    "channel_mode": "joint",
    "year": 2026,
    "episode": 3,
    "remaining": 100,
    "threshold": 200,
    "days_left": None,
}
BINDING: Json = {
    "binding_id": "B-1",
    "organization": "A",
    "number": "26447000000000000001",
    "issue_request_id": "R-1",
    "action": "bind",
}
OUTCOME: Json = {
    "outcome_id": "O-1",
    "organization": "A",
    "issue_request_id": "R-1",
    "invoice_number": "26447000000000000001",
    "outcome": "failed",
}
SOUND: dict[Topic, Json] = {
    Topic.INVOICE_ISSUING: ISSUING,
    Topic.CLAIM_REQUESTED: CLAIM,
    Topic.REFRESH_REQUESTED: REFRESH,
    Topic.NUMBER_BINDING_REQUESTED: BINDING,
    Topic.INVOICE_OUTCOME: OUTCOME,
    Topic.RANGE_EXHAUSTED: EXHAUSTED,
    Topic.RANGE_LOW: LOW,
}


def read(topic: Topic, data: object) -> Request | Refusal:
    return read_request(topic, data, Environment.SANDBOX)


def malformed(topic: Topic, data: object) -> str:
    refusal = read(topic, data)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.reason is Reason.MALFORMED
    return refusal.detail


# -------------------------------------------------------------------------------------------------- what is read


def test_an_issue_request_is_blue_and_names_no_number_unless_it_says_so() -> None:
    assert read(Topic.INVOICE_ISSUING, ISSUING) == InvoiceIssuing(
        issue_request_id="R-1",
        organization="A",
        issue_date=date(2026, 3, 4),
        kind=InvoiceKind.BLUE,
        number=None,
    )


def test_an_issue_request_is_read_in_full() -> None:
    request = read(
        Topic.INVOICE_ISSUING,
        ISSUING | {"kind": "red", "number": "26447000000000000001", "environment": "sandbox"},
    )
    assert isinstance(request, InvoiceIssuing)
    assert request.kind is InvoiceKind.RED
    assert request.number == "26447000000000000001"
    assert request.environment is Environment.SANDBOX


@pytest.mark.parametrize("quantity", [1, 1000, 0, -5, 1001, 2**63 - 1, -(2**63)])
def test_any_integer_is_kept_as_the_quantity(quantity: int) -> None:
    request = read(Topic.CLAIM_REQUESTED, CLAIM | {"quantity": quantity})
    assert isinstance(request, ClaimRequested)
    assert request.quantity == quantity


@pytest.mark.parametrize("quantity", [1.0, 1.5, True, "10", None, [], 2**63, -(2**63) - 1])
def test_a_quantity_that_is_no_integer_is_malformed(quantity: object) -> None:
    assert malformed(Topic.CLAIM_REQUESTED, CLAIM | {"quantity": quantity}).startswith("quantity: expected")


@pytest.mark.parametrize(
    ("subject", "organization", "taxpayer_id"),
    [
        ({}, None, None),
        ({"organization": "A"}, "A", None),
        ({"taxpayer_id": "91350100M000100Y43"}, None, "91350100M000100Y43"),
        ({"organization": None, "taxpayer_id": "91350100M000100Y43"}, None, "91350100M000100Y43"),
    ],
)
def test_a_refresh_is_for_one_organization_or_one_tax_id_or_all(
    subject: Json,
    organization: str | None,
    taxpayer_id: str | None,
) -> None:
    request = read(Topic.REFRESH_REQUESTED, REFRESH | subject)
    assert isinstance(request, RefreshRequested)
    assert (request.organization, request.taxpayer_id) == (organization, taxpayer_id)


def test_a_refresh_for_two_subjects_is_malformed() -> None:
    detail = malformed(Topic.REFRESH_REQUESTED, REFRESH | {"organization": "A", "taxpayer_id": "91350100M000100Y43"})
    assert detail == "organization and taxpayer_id: expected one of them, or neither"


def test_our_own_events_are_read_back() -> None:
    exhausted = read(Topic.RANGE_EXHAUSTED, EXHAUSTED)
    assert isinstance(exhausted, RangeExhausted)
    assert exhausted.channel_mode is ChannelMode.SELF_USE
    assert exhausted.exhausted_at.isoformat() == "2026-03-04T05:06:07.123456+00:00"
    assert exhausted == RangeExhausted.model_validate_json(exhausted.model_dump_json())
    low = read(Topic.RANGE_LOW, LOW)
    assert isinstance(low, RangeLow)
    assert (low.remaining, low.threshold, low.days_left) == (100, 200, None)


def test_a_stock_that_never_had_a_number_has_no_last_one() -> None:
    exhausted = read(Topic.RANGE_EXHAUSTED, EXHAUSTED | {"last_number": None})
    assert isinstance(exhausted, RangeExhausted)
    assert exhausted.last_number is None


def test_a_binding_is_read_in_full() -> None:
    request = read(Topic.NUMBER_BINDING_REQUESTED, BINDING | {"action": "unbind", "requested_by": "Li"})
    assert isinstance(request, NumberBindingRequested)
    assert (request.action, request.requested_by) == (BindingAction.UNBIND, "Li")


def test_a_number_of_a_failed_upload_may_be_used_again_unless_it_says_not() -> None:
    request = read(Topic.INVOICE_OUTCOME, OUTCOME)
    assert isinstance(request, InvoiceOutcome)
    assert (request.outcome, request.reuse) == (UploadOutcome.FAILED, True)
    voided = read(Topic.INVOICE_OUTCOME, OUTCOME | {"reuse": False})
    assert isinstance(voided, InvoiceOutcome)
    assert voided.reuse is False


@pytest.mark.parametrize(
    ("topic", "field", "value"),
    [
        (Topic.NUMBER_BINDING_REQUESTED, "action", "rebind"),
        (Topic.NUMBER_BINDING_REQUESTED, "number", "2644700000000000001"),
        (Topic.INVOICE_OUTCOME, "outcome", "lost"),
        (Topic.INVOICE_OUTCOME, "reuse", "false"),
        (Topic.INVOICE_OUTCOME, "reuse", None),
        (Topic.INVOICE_OUTCOME, "invoice_number", 26447000000000000001),
    ],
)
def test_a_word_that_is_none_of_the_contracts_is_malformed(topic: Topic, field: str, value: object) -> None:
    assert malformed(topic, SOUND[topic] | {field: value}).startswith(f"{field}: expected")


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("topic", CONSUMED)
def test_every_consumed_topic_reads_sound_data(topic: Topic) -> None:
    assert not isinstance(read(topic, SOUND[topic]), Refusal)


@pytest.mark.parametrize("topic", [topic for topic in Topic if topic not in CONSUMED])
def test_a_topic_that_is_not_consumed_is_an_unknown_type(topic: Topic) -> None:
    refusal = read(topic, {})
    assert isinstance(refusal, Refusal)
    assert refusal.reason is Reason.UNKNOWN_TYPE


REQUIRED = [
    *((Topic.INVOICE_ISSUING, field) for field in ISSUING),
    *((Topic.CLAIM_REQUESTED, field) for field in CLAIM),
    (Topic.REFRESH_REQUESTED, "refresh_id"),
    *((Topic.NUMBER_BINDING_REQUESTED, field) for field in BINDING),
    *((Topic.INVOICE_OUTCOME, field) for field in OUTCOME),
    *((Topic.RANGE_EXHAUSTED, field) for field in EXHAUSTED),
    *((Topic.RANGE_LOW, field) for field in LOW),
]


@pytest.mark.parametrize(("topic", "field"), REQUIRED)
def test_a_missing_field_is_named(topic: Topic, field: str) -> None:
    rest = {key: value for key, value in SOUND[topic].items() if key != field}
    assert malformed(topic, rest).startswith(f"{field}: missing, expected")


@pytest.mark.parametrize("topic", CONSUMED)
@pytest.mark.parametrize("environment", ["production", "Sandbox", "", "test", "\ud800", "secret"])
def test_another_environment_is_a_wrong_one_even_where_the_rest_is_unsound(topic: Topic, environment: str) -> None:
    for data in (SOUND[topic] | {"environment": environment}, {"environment": environment, "unknown": 1}):
        refusal = read(topic, data)
        assert refusal == Refusal(Reason.WRONG_ENVIRONMENT, "environment: this Fuma serves sandbox")


@pytest.mark.parametrize("topic", CONSUMED)
def test_an_environment_that_is_no_text_is_malformed(topic: Topic) -> None:
    assert malformed(topic, SOUND[topic] | {"environment": 5}) == "environment: expected production or sandbox"


@pytest.mark.parametrize("topic", CONSUMED)
@pytest.mark.parametrize("unknown", ["secret", "Organization", "secret\ud800", "", "model_config"])
def test_an_unknown_field_is_refused_without_repeating_its_name(topic: Topic, unknown: str) -> None:
    for data in (SOUND[topic] | {unknown: 1}, {unknown: 1}):
        detail = malformed(topic, data)
        assert "data: a field is unknown here; known are environment" in detail
        assert "secret" not in detail


def test_very_many_unknown_fields_are_one_fault() -> None:
    detail = malformed(Topic.INVOICE_ISSUING, ISSUING | {str(number): 1 for number in range(100_000)})
    assert detail.count("unknown") == 1


@pytest.mark.parametrize("data", [None, [], [ISSUING], "text", 5, True, b"{}"])
def test_data_that_is_no_object_is_malformed(data: object) -> None:
    assert malformed(Topic.INVOICE_ISSUING, data) == "data: expected a JSON object"


KEYS = [
    (Topic.INVOICE_ISSUING, "issue_request_id"),
    (Topic.INVOICE_ISSUING, "organization"),
    (Topic.CLAIM_REQUESTED, "claim_id"),
    (Topic.REFRESH_REQUESTED, "refresh_id"),
    *((Topic.NUMBER_BINDING_REQUESTED, key) for key in ("binding_id", "organization", "issue_request_id")),
    *((Topic.INVOICE_OUTCOME, key) for key in ("outcome_id", "organization", "issue_request_id")),
    (Topic.REFRESH_REQUESTED, "organization"),
]


@pytest.mark.parametrize(("topic", "field"), KEYS)
@pytest.mark.parametrize("value", ["", "x" * 65, "a\0b", "a\n", "a\x85", "\ud800", 5, 5.0, True, [], {}])
def test_a_key_is_a_text_of_1_to_64_characters(topic: Topic, field: str, value: object) -> None:
    detail = malformed(topic, SOUND[topic] | {field: value})
    assert detail == f"{field}: expected 1 to 64 characters, none of them a control character"


@pytest.mark.parametrize("value", ["r-1", " R-1", "R-1 ", "赋" * 64, "😀", "'; --"])
def test_a_key_is_kept_exactly(value: str) -> None:
    request = read(Topic.INVOICE_ISSUING, ISSUING | {"issue_request_id": value})
    assert isinstance(request, InvoiceIssuing)
    assert request.issue_request_id == value


@pytest.mark.parametrize(
    "value",
    [
        "2026-02-30",
        "2025-02-29",
        "2026-13-01",
        "1999-12-31",
        "2100-01-01",
        "2026-3-4",
        "20260304",
        "2026-W10-3",
        "2026-03-04T00:00:00",
        "2026-03-04 ",
        "\uff12026-03-04",
        "",
        "x" * 10,
        pytest.param(20260304, id="an integer"),
        1.5,
        True,
        None,
    ],
)
def test_an_issue_date_is_a_real_one(value: object) -> None:
    detail = malformed(Topic.INVOICE_ISSUING, ISSUING | {"issue_date": value})
    assert detail == "issue_date: expected a real date of the years 2000 to 2099, written YYYY-MM-DD"


@given(st.dates(date(2000, 1, 1), date(2099, 12, 31)))
def test_every_date_of_the_century_is_read(day: date) -> None:
    request = read(Topic.INVOICE_ISSUING, ISSUING | {"issue_date": day.isoformat()})
    assert isinstance(request, InvoiceIssuing)
    assert request.issue_date == day


@pytest.mark.parametrize("value", ["2644700000000000001", "264470000000000000012", "2" * 19 + "x", "\uff12" * 20, 5])
def test_a_number_has_20_digits(value: object) -> None:
    detail = malformed(Topic.INVOICE_ISSUING, ISSUING | {"number": value})
    assert detail == "number: expected an invoice number: exactly 20 digits"


@pytest.mark.parametrize("value", ["green", "Blue", "", None, 1, ["blue"]])
def test_a_kind_is_blue_or_red(value: object) -> None:
    assert malformed(Topic.INVOICE_ISSUING, ISSUING | {"kind": value}) == "kind: expected blue or red"


@pytest.mark.parametrize("value", ["x" * 129, "a\0", 5])
def test_who_asked_is_a_short_text(value: object) -> None:
    assert malformed(Topic.CLAIM_REQUESTED, CLAIM | {"requested_by": value}).startswith(
        "requested_by: expected at most"
    )


@pytest.mark.parametrize("value", ["x" * 14, "x" * 15, "91350100m000100y43", "91350100M000100Y43\n", 5])
def test_a_tax_id_has_its_shape(value: object) -> None:
    assert malformed(Topic.REFRESH_REQUESTED, REFRESH | {"taxpayer_id": value}).startswith(
        "taxpayer_id: expected a tax"
    )


@pytest.mark.parametrize("value", ["2026-03-04", "2026-03-04T05:06:07", "2026-02-30T05:06:07Z", 1772600767, None])
def test_an_instant_has_date_time_and_zone(value: object) -> None:
    assert malformed(Topic.RANGE_EXHAUSTED, EXHAUSTED | {"exhausted_at": value}).startswith("exhausted_at: expected an")


@pytest.mark.parametrize(("field", "value"), [("year", 1999), ("episode", -1), ("waiting", "7"), ("channel_mode", "x")])
def test_the_fields_of_an_event_are_checked_too(field: str, value: object) -> None:
    assert malformed(Topic.RANGE_EXHAUSTED, EXHAUSTED | {field: value}).startswith(f"{field}: expected")


def test_every_faulty_field_is_named_once() -> None:
    assert malformed(Topic.INVOICE_ISSUING, {"issue_request_id": "", "issue_date": "x"}) == (
        "issue_request_id: expected 1 to 64 characters, none of them a control character; "
        "organization: missing, expected 1 to 64 characters, none of them a control character; "
        "issue_date: expected a real date of the years 2000 to 2099, written YYYY-MM-DD"
    )


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary()
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=5,
)
FIELDS = st.sampled_from(sorted({field for data in SOUND.values() for field in data}))


@given(st.sampled_from(list(Topic)), ANYTHING | st.dictionaries(FIELDS | st.text(st.characters()), ANYTHING))
def test_no_data_whatever_makes_the_reader_fail(topic: Topic, data: object) -> None:
    answer = read(topic, data)
    if isinstance(answer, Refusal):
        assert answer.detail.isprintable()


@given(st.sampled_from(CONSUMED), FIELDS, st.text("secrt", min_size=6) | st.just(["secret"]) | st.just({"secret": 1}))
def test_no_detail_repeats_a_value(topic: Topic, field: str, value: object) -> None:
    answer = read(topic, SOUND[topic] | {field: value})
    if isinstance(answer, Refusal):
        assert str(value) not in answer.detail
        assert "secret" not in answer.detail
