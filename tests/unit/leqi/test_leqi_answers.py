"""What each answer means, with answers written out by hand from the domain page."""

# ruff: noqa: RUF001 - the authority writes Chinese, with its full-width punctuation

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from schemas.leqi import read_claim_result, read_envelope
from worker.leqi.answers import REFUSALS, judge
from worker.leqi.port import Answer, Granted, Refused, Throttled, Unknown
from worker.leqi.sm4 import Sm4

KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
CIPHER = Sm4(KEY)
GRANT = Granted("26447000000000000001", "26447000000000001000", 1000)

# Made with `openssl enc -sm4-ecb -base64`: returncode 00, returnmsg 成功, lysl as a string, the two numbers of GRANT.
GRANTED_DATA = (
    "pjJcxQs6RaLuqi8Uea4mkizork/J0TEZIwfNUmPkThF8Lh+A18E6qCsUWcKQymqBsP+G5FqkH4MhURK7rWHQ8GeY6AWGDo+WmwprI9mvEwKw"
    "/4bkWqQfgyFRErutYdDweLjoB0bU/aFc7CrcjL1rzwBmgidG4XKZMEVi6ebux2A="
)
# Made the same way: returncode 99, returnmsg 纳税人状态异常.
REFUSED_DATA = "nOtybUx123iaF44IhEEYfQFH4LbD6DMD+RMlFyfWxd2chUzRbvW0+toL5FT0EVBcGpBQT8Xby5fkJ9UzgKif/Q=="

NOTICE = "当前访问请求较多，请5分钟后重试，将访问并发控制在3以内"


def heard(content: str | bytes, http_status: int = 200) -> Answer:
    return judge(http_status, content.encode() if isinstance(content, str) else content, CIPHER)


def with_data(fields: dict[str, Any] | str) -> str:
    """An envelope around `fields`, encrypted."""
    text = fields if isinstance(fields, str) else json.dumps(fields, ensure_ascii=False)
    data = CIPHER.encrypt(text.encode()).decode()
    return json.dumps({"httpStatusCode": "200", "body": {"Response": {"RequestId": "r1", "Data": data}}})


def with_error(status: object, code: object, message: str) -> str:
    error = {"Code": code, "Message": message}
    return json.dumps({"httpStatusCode": status, "body": {"Response": {"RequestId": "r1", "Error": error}}})


# ------------------------------------------------------------------------------------------------ grants

GRANTS_AS_SPELLED = [
    '{"httpStatusCode":"200","body":{"Response":{"RequestId":"r1","Data":"%s"}}}',
    '{"httpStatusCode":200,"body":{"Response":{"RequestId":"r1","Data":"%s"}}}',
    r'{"httpStatusCode":"200","body":"{\"Response\":{\"RequestId\":\"r1\",\"Data\":\"%s\"}}"}',
    r'{"httpStatusCode":200,"body":"{\"Response\":{\"Data\":\"%s\"}}"}',
    '\ufeff{"body":{"Response":{"Data":"%s","Error":null,"More":[1]},"More":1},"httpStatusCode":200.0,"more":{}}',
    '{"httpStatusCode":" 200 ","body":{"Response":{"Data":"%s","Error":{}}}}',
    '{"httpStatusCode":"200","body":{"Response":{"Data":"%s","Error":{"Code":"","Message":null}}}}',
]


@pytest.mark.parametrize("envelope", GRANTS_AS_SPELLED)
def test_a_grant_is_read_in_every_spelling(envelope: str) -> None:
    assert heard(envelope % GRANTED_DATA) == GRANT


@pytest.mark.parametrize("quantity", [1000, "1000", " 1000 ", 1000.0], ids=repr)
@pytest.mark.parametrize("code", ["00", 0], ids=repr)
def test_quantity_and_code_may_be_strings_or_numbers(quantity: object, code: object) -> None:
    fields = {"returncode": code, "fpqshm": GRANT.first_number, "fpzzhm": GRANT.last_number, "lysl": quantity, "x": [1]}
    assert heard(with_data(fields)) == GRANT


def test_numbers_that_came_as_json_numbers_keep_every_digit() -> None:
    text = '{"returncode":"00","fpqshm":26447000000000000001,"fpzzhm":26447000000000001000,"lysl":1000}'
    assert heard(with_data(text)) == GRANT


def test_a_grant_is_not_checked_but_can_be_stored_whatever_it_holds() -> None:
    fields = {"returncode": "00", "fpqshm": "2644\u0000号码1", "fpzzhm": "9" * 500, "lysl": -7}
    assert heard(with_data(fields)) == Granted("2644???1", "9" * 64, -7)


@pytest.mark.parametrize("missing", ["fpqshm", "fpzzhm", "lysl"])
@pytest.mark.parametrize("value", [None, "", [], True, 1.5], ids=repr)
def test_a_grant_without_its_numbers_is_unknown(missing: str, value: object) -> None:
    fields = {"returncode": "00", "fpqshm": GRANT.first_number, "fpzzhm": GRANT.last_number, "lysl": 1000}
    assert isinstance(heard(with_data(fields | {missing: value})), Unknown)


def test_a_grant_stands_even_if_its_envelope_speaks_of_throttling() -> None:
    envelope = {"httpStatusCode": 200, "msg": NOTICE, "body": {"Response": {"Data": GRANTED_DATA}}}
    assert heard(json.dumps(envelope)) == GRANT


# ---------------------------------------------------------------------------------------------- refusals


def test_another_return_code_is_a_refusal_in_leqis_words() -> None:
    assert heard(GRANTS_AS_SPELLED[0] % REFUSED_DATA) == Refused("99", "LeQi refused the claim (LeQi: 纳税人状态异常)")


@pytest.mark.parametrize("code", sorted(REFUSALS))
@pytest.mark.parametrize("as_number", [True, False])
def test_a_platform_refusal_is_definite_as_status_and_as_error_code(code: str, *, as_number: bool) -> None:
    spelled = int(code) if as_number else code
    for content in (
        with_error(spelled, "01", "无权限"),
        with_error("200", spelled, "无权限"),
        with_error(spelled, spelled, "无权限"),
        json.dumps({"httpStatusCode": spelled, "body": None}),
        json.dumps({"httpStatusCode": spelled, "body": {"Response": {"Data": GRANTED_DATA}}}),
    ):
        answer = heard(content)
        assert isinstance(answer, Refused)
        assert answer.code == code
        assert answer.message.startswith(REFUSALS[code])


def test_the_refusals_are_those_of_the_domain_page() -> None:
    listed = "40321/40322 unit not qualified; 4032/4033 no grant; 4047; 4049; 4054/4055; 4056; 4057; 4061; 4063"
    assert set(REFUSALS) == set(re.findall("[0-9]+", listed))


def test_a_business_error_under_status_200_is_a_refusal() -> None:
    assert heard(with_error("200", "01", "参数错误")) == Refused("01", "LeQi refused the claim (LeQi: 参数错误)")


# ----------------------------------------------------------------------------------------------- unknown


@pytest.mark.parametrize(
    "status", ["500", 500, "5001", 5001, "-1", -1, None, "", "201", "4099", True, [], "2 00"], ids=repr
)
def test_data_under_another_status_is_never_opened(status: object) -> None:
    content = json.dumps({"httpStatusCode": status, "body": {"Response": {"Data": GRANTED_DATA}}})
    assert isinstance(heard(content), Unknown)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("500", "01"),
        (5001, ""),
        ("-1", None),
        ("200", "500"),
        (200, "-1"),
        ("200", "00"),
        ("200", "X1"),
        ("4099", "01"),
    ],
)
def test_doubtful_errors_are_unknown(status: object, code: object) -> None:
    assert isinstance(heard(with_error(status, code, "系统异常")), Unknown)


def test_data_beside_an_error_is_not_opened() -> None:
    response = {"Data": GRANTED_DATA, "Error": {"Code": "5001", "Message": "平台应答异常"}}
    answer = heard(json.dumps({"httpStatusCode": "200", "body": {"Response": response}}))
    assert answer == Unknown("trouble on LeQi's platform (status 200, error 5001) (LeQi: 平台应答异常)")


@pytest.mark.parametrize("http_status", [500, 502, 503, 504])
def test_a_server_error_is_unknown_whatever_it_carries(http_status: int) -> None:
    for content in ("", "<html>", with_error("4033", "4033", "x"), GRANTS_AS_SPELLED[0] % GRANTED_DATA):
        assert isinstance(heard(content, http_status), Unknown)


def test_a_plain_403_is_the_firewall_and_says_what_to_check() -> None:
    answer = heard("<html>403 Forbidden</html>", 403)
    assert answer == Unknown("LeQi's firewall refused this address (HTTP 403): check the IP allow-list")


@pytest.mark.parametrize("http_status", [204, 301, 302, 400, 401, 404, 405])
def test_what_is_no_claim_service_is_unknown(http_status: int) -> None:
    answer = heard("", http_status)
    assert isinstance(answer, Unknown)
    assert "FUMA_LEQI_URL" in answer.detail


@pytest.mark.parametrize(
    "data",
    ["AAAA", "no base64", GRANTED_DATA[:-24], Sm4(bytes(16)).encrypt(b'{"returncode":"00"}').decode(), "   ", 5, {}],
)
def test_data_that_cannot_be_opened_is_unknown(data: object) -> None:
    content = json.dumps({"httpStatusCode": "200", "body": {"Response": {"Data": data}}})
    answer = heard(content)
    assert isinstance(answer, Unknown)
    assert "FUMA_LEQI_KEY_FILE" in answer.detail


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "5", "{}", '{"returncode":null}', "[" * 5000, '{"returncode":"00"'], ids=repr
)
def test_data_that_says_nothing_is_unknown(text: str) -> None:
    assert isinstance(heard(with_data(text)), Unknown)


@pytest.mark.parametrize(
    "fields",
    [
        {"returncode": "10", "returnmsg": "申请处理中，请稍后再试"},
        {"returncode": "99", "fpqshm": GRANT.first_number, "fpzzhm": GRANT.last_number, "lysl": 1000},
    ],
)
def test_a_return_code_that_does_not_settle_it_is_unknown(fields: dict[str, Any]) -> None:
    assert isinstance(heard(with_data(fields)), Unknown)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b"9" * 100_000,
        b'{"httpStatusCode":"200","body":"' + b"[" * 100_000 + b'"}',
        rb'{"httpStatusCode":"200","body":"\ud800"}',
        b'{"httpStatusCode":"200"}',
        b'{"httpStatusCode":"200","body":[]}',
        b'{"httpStatusCode":"200","body":{"Response":7}}',
        b'{"httpStatusCode":1e999,"body":{}}',
    ],
)
def test_unreadable_answers_are_unknown(content: bytes) -> None:
    assert isinstance(heard(content), Unknown)


# ---------------------------------------------------------------------------------------------- throttle


@pytest.mark.parametrize(
    ("notice", "concurrency"),
    [
        (NOTICE, 3),
        ("当前访问请求较多，请5分钟后重试，将访问并发控制在12以内", 12),
        ("当前访问请求较多，请５分钟后重试，将访问并发控制在７以内", 7),
        ("请5分钟后重试", None),
        ("将访问并发控制在 10 个以内", 10),
        ("当前访问请求较多，请5分钟后重试，将访问并发控制在x以内", None),
        ("当前访问请求较多, 请 5 分钟后重试, 将访问并发控制在【２】以内。", 2),
        ("请5分钟后重试，将访问并发控制在以内", None),
        ("请5分钟后重试，将访问并发控制在0以内", None),
    ],
)
def test_the_throttle_notice_is_recognised_wherever_it_stands(notice: str, concurrency: int | None) -> None:
    for content in (
        with_error("200", "01", notice),
        with_error(500, "5001", notice),
        with_data({"returncode": "99", "returnmsg": notice}),
        json.dumps({"httpStatusCode": "500", "body": notice}, ensure_ascii=False),
        json.dumps({"httpStatusCode": "500", "body": json.dumps({"Response": {"Error": notice}})}),
        json.dumps({"code": 1, "msg": notice}),
        notice,
    ):
        answer = heard(content)
        assert isinstance(answer, Throttled), content
        assert answer.concurrency == concurrency
        assert answer.message


@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
@pytest.mark.parametrize("http_status", [200, 403, 429, 503])
def test_the_throttle_notice_is_recognised_as_a_plain_page(encoding: str, http_status: int) -> None:
    assert heard(f"<p>{NOTICE}</p>".encode(encoding), http_status) == Throttled(3, f"<p>{NOTICE}</p>")


def test_http_429_throttles_without_words() -> None:
    assert heard("", 429) == Throttled(None, "HTTP 429: too many calls")


@pytest.mark.parametrize("message", ["请稍后重试", "5分钟", "并发", "系统繁忙"])
def test_other_requests_for_patience_are_no_throttle(message: str) -> None:
    assert not isinstance(heard(with_error("500", "500", message)), Throttled)


# ------------------------------------------------------------------------------------- what operators see


def test_words_from_outside_are_short_printable_and_show_no_secret() -> None:
    quoted = f"bad key {KEY.hex()}\n\x1b[31m\x00{GRANTED_DATA} " + "长" * 5000
    for content in (
        with_error("4057", "4057", quoted),
        with_error("500", "1" * 5000, quoted),
        with_data({"returncode": "99", "returnmsg": quoted}),
    ):
        answer = heard(content)
        assert isinstance(answer, Refused | Unknown)
        shown = answer.message if isinstance(answer, Refused) else answer.detail
        assert shown.isprintable()
        assert len(shown) < 400
        assert KEY.hex() not in shown
        assert GRANTED_DATA[:40] not in shown


# ---------------------------------------------------------------------------------------------- anything

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
results = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(("returncode", "returnmsg", "fpqshm", "fpzzhm", "lysl"), json_values)
    | {"returncode": st.sampled_from(["00", "99"])},
)
responses = st.fixed_dictionaries(
    {},
    optional={
        "Data": json_values | results.map(lambda fields: CIPHER.encrypt(json.dumps(fields).encode()).decode()),
        "Error": json_values | st.fixed_dictionaries({"Code": json_values, "Message": json_values}),
    },
)
bodies = json_values | st.fixed_dictionaries({"Response": json_values | responses})
envelopes = st.fixed_dictionaries(
    {"httpStatusCode": json_values | st.sampled_from(["200", 200, "500", "4033"])},
    optional={"body": bodies | bodies.map(json.dumps)},
)


@settings(deadline=None)
@given(st.integers(100, 999), st.binary(max_size=300) | json_values.map(json.dumps).map(str.encode))
@example(200, b'{"httpStatusCode":"200","body":"\\"{}\\""}')
def test_no_bytes_raise(http_status: int, content: bytes) -> None:
    assert not isinstance(judge(http_status, content, CIPHER), Granted)


@settings(deadline=None)
@given(envelopes)
def test_no_envelope_raises_and_everything_told_can_be_stored(envelope: dict[str, Any]) -> None:
    answer = heard(json.dumps(envelope))
    told = {
        Granted: lambda a: a.first_number + a.last_number,
        Refused: lambda a: a.code + a.message,
        Throttled: lambda a: a.message,
        Unknown: lambda a: a.detail,
    }[type(answer)](answer)
    assert isinstance(told, str)
    assert told.isprintable()
    assert len(told) < 500


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_the_readers_never_raise(content: bytes) -> None:
    envelope = read_envelope(content)
    assert envelope is None or content
    result = read_claim_result(content)
    assert result is None or result.return_code
