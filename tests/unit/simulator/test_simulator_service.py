"""The claim service call by call, spoken to with texts written out by hand."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.support import leqi_by_hand as by_hand
from worker.leqi.simulator_clock import SHANGHAI
from worker.leqi.simulator_faults import Faults, FaultSettings
from worker.leqi.simulator_service import Call, ClaimService, Ending, Reply, Terms
from worker.leqi.simulator_state import AuthorityState, GrantRow

# openssl enc -sm4-ecb of {"returncode":"00","returnmsg":"处理成功",
# "fpqshm":"26957057465700000001","fpzzhm":"26957057465700001000","lysl":"1000"}
GRANT_SEALED = (
    "pjJcxQs6RaLuqi8Uea4mkizork/J0TEZIwfNUmPkThFSgRAxi5EUbMXV9cVXloyG2U4CzKw7gY2/JsAT"
    "SuC4RCkS6yDHpf9dpzOfwDmLGQqoEiL6ngltfFfAZhHNbzgfEY+Tu6usqiHGtXCJlv+l3TYuzreGSvaH"
    "5zC4OU3bdIM="
)
THROTTLED = "当前访问请求较多，请5分钟后重试，将访问并发控制在{}以内"  # noqa: RUF001 -- as the guide writes it
HEADERS = {name.lower(): value for name, value in by_hand.HEADERS.items()}


def call(
    body: bytes | None = None,
    *,
    serial: str = "S1",
    quantity: int = 10,
    **changes: Any,  # noqa: ANN401 -- fields of a call
) -> Call:
    fields: dict[str, Any] = {
        "environment": "sandbox",
        "capability": "202007",
        "service": "QDFPPLFM",
        "headers": HEADERS,
        "is_json": True,
        "body": by_hand.sealed_claim(serial, quantity) if body is None else body,
    }
    return Call(**(fields | changes))


def opened(reply: Reply) -> tuple[str, dict[str, Any]]:
    return by_hand.opened(reply.text)


def result_of(reply: Reply) -> dict[str, Any]:
    return by_hand.result_of(reply.text)


def status_of(reply: Reply) -> str:
    return opened(reply)[0]


class Authority:
    """The service with a memory and faults of its own, in July 2026."""

    def __init__(self, terms: Terms | None = None, **faults: float) -> None:
        """Serve on these terms under these faults."""
        self.state = AuthorityState(None)
        self.state.set_clock(datetime(2026, 7, 1, tzinfo=SHANGHAI))
        self.faults = Faults()
        self.faults.put(FaultSettings.model_validate(faults))
        self.service = ClaimService(terms or Terms(), self.state, self.faults)

    def answer(self, body: bytes | None = None, **changes: Any) -> Reply:  # noqa: ANN401 -- fields of a call
        return self.service.answer(call(body, **changes))


def test_the_vector_of_the_domain_page_is_granted_word_for_word() -> None:
    reply = Authority().answer(by_hand.REQUEST_SEALED.encode())
    assert (reply.http_status, reply.ending) == (200, Ending.ANSWERED)
    status, response = opened(reply)
    assert status == "200"
    assert response.keys() == {"RequestId", "Data"}
    assert response["Data"] == GRANT_SEALED


def test_the_same_call_again_brings_the_same_range() -> None:
    authority = Authority()
    first = result_of(authority.answer())
    assert result_of(authority.answer()) == first
    (row,) = authority.state.grants()
    assert (row.business_serial, row.times_asked) == ("S1", 2)


def test_a_changed_quantity_under_the_same_serial_is_declined() -> None:
    authority = Authority()
    authority.answer(quantity=10)
    result = result_of(authority.answer(quantity=11))
    assert result["returncode"] == "02"
    assert "业务流水号" in result["returnmsg"]
    assert len(authority.state.grants()) == 1


def test_an_invalid_request_is_declined_in_words() -> None:
    authority = Authority()
    result = result_of(authority.answer(quantity=5001))
    assert result["returncode"] == "01"
    assert "5000" in result["returnmsg"]
    assert authority.state.grants() == []


@pytest.mark.parametrize("capability", ["202007", "202077", "202076"])
@pytest.mark.parametrize("environment", ["production", "sandbox"])
def test_every_capability_is_served(capability: str, environment: str) -> None:
    headers = HEADERS | {"nlbm": capability}
    reply = Authority().answer(capability=capability, headers=headers, environment=environment)
    channel = {"202007": "70", "202077": "71", "202076": "72"}[capability]
    assert result_of(reply)["fpqshm"][:6] == "2695" + channel


@pytest.mark.parametrize(
    ("status", "changes"),
    [
        ("4049", {"capability": "202008"}),
        ("4049", {"service": "QDFPSC"}),
        ("4049", {"headers": HEADERS | {"nlbm": "202076"}}),
        ("4049", {"headers": HEADERS | {"fwbm": "QDFPSC"}}),
        ("4049", {"headers": {}}),
        ("4054", {"headers": HEADERS | {"jrdwptbh": "DU00000000000002"}}),
        ("4054", {"headers": HEADERS | {"jrdwptbh": ""}}),
        ("4055", {"headers": HEADERS | {"sydwptbh": " "}}),
        (
            "4047",
            {"headers": HEADERS | {"ylbm": "A1"}, "environment": "production"},
        ),
        (
            "4047",
            {"headers": HEADERS | {"sxcsbz": "1"}, "environment": "production"},
        ),
        ("4057", {"is_json": False}),
        ("4057", {"body": b"{}"}),
        ("4057", {"body": "密文".encode()}),
    ],
)
def test_a_call_that_does_not_reach_the_service(status: str, changes: dict[str, Any]) -> None:
    authority = Authority()
    answered, response = opened(authority.answer(**changes))
    assert answered == status
    assert response["Error"]["Code"] == status
    assert authority.state.grants() == []


def test_test_headers_are_welcome_in_the_sandbox() -> None:
    headers = HEADERS | {"ylbm": "A1", "sxcsbz": "1"}
    assert result_of(Authority().answer(headers=headers))["returncode"] == "00"


def test_a_client_trace_id_has_32_alphanumerics() -> None:
    good = Authority().answer(headers=HEADERS | {"clienttid": "a1" * 16})
    assert result_of(good)["returncode"] == "00"
    status, response = opened(Authority().answer(headers=HEADERS | {"clienttid": "a-" * 16}))
    assert (status, response["Error"]["Code"]) == ("200", "01")


def test_the_authority_may_know_its_using_units() -> None:
    authority = Authority(Terms(using_unit_ids=frozenset({"UU00000000000001"})))
    assert result_of(authority.answer())["returncode"] == "00"
    stranger = HEADERS | {"sydwptbh": "UU00000000000002"}
    assert status_of(authority.answer(headers=stranger, serial="S2")) == "4055"


def test_a_unit_not_controlled_needs_its_token_except_for_itself() -> None:
    authority = Authority(Terms(access_tokens={"UU00000000000001": "secret"}))
    joint = HEADERS | {"nlbm": "202076"}
    without = authority.answer(capability="202076", headers=joint)
    assert status_of(without) == "4032"
    wrong = authority.answer(capability="202076", headers=joint | {"access_token": "other"})
    assert status_of(wrong) == "4032"
    right = authority.answer(capability="202076", headers=joint | {"access_token": "secret"})
    assert result_of(right)["returncode"] == "00"
    assert result_of(authority.answer(serial="S2"))["returncode"] == "00"


@pytest.mark.parametrize("key_hex", ["", "00", "0123456789abcdeffedcba987654321g"])
def test_a_key_has_16_bytes(key_hex: str) -> None:
    with pytest.raises(ValueError, match=r"SM4 key|hex"):
        Authority(Terms(key_hex=key_hex))


def test_secrets_do_not_show() -> None:
    terms = Terms(access_tokens={"U": "secret"})
    assert "secret" not in repr(terms)
    assert terms.key_hex not in repr(terms)


def replies(fault: str, calls: int = 40) -> tuple[Authority, list[Reply]]:
    authority = Authority(None, **{fault: 1.0, "seed": 1})
    return authority, [authority.answer(serial=f"S{n}") for n in range(calls)]


def test_a_refusal_is_definite_in_both_ways() -> None:
    authority, answers = replies("refuse")
    by_status = [a for a in answers if status_of(a) == "4033"]
    by_code = [a for a in answers if a not in by_status]
    assert by_status
    assert by_code
    for answer in by_code:
        result = result_of(answer)
        assert result["returncode"] == "99"
        assert not result.get("fpqshm")
    assert authority.state.grants() == []


def test_a_throttle_says_its_limit_in_both_ways() -> None:
    authority, answers = replies("throttle")
    said = set()
    for answer in answers:
        status, response = opened(answer)
        assert status == "200"
        error = response.get("Error")
        text = error["Message"] if error else by_hand.unsealed(response["Data"])["returnmsg"]
        said.add((bool(error), text))
    limits = {text for _, text in said}
    assert limits <= {THROTTLED.format(limit) for limit in range(1, 11)}
    assert {is_error for is_error, _ in said} == {True, False}
    assert authority.state.grants() == []


def test_a_server_error_comes_on_http_or_in_the_envelope() -> None:
    authority, answers = replies("error_500")
    assert {answer.http_status for answer in answers} == {200, 500}
    enveloped = [answer for answer in answers if answer.http_status == 200]
    assert {status_of(answer) for answer in enveloped} == {"500"}
    assert authority.state.grants() == []


def test_a_bad_key_looks_like_a_body_that_can_not_be_decrypted() -> None:
    authority, answers = replies("bad_key")
    assert {status_of(answer) for answer in answers} == {"4057"}
    assert authority.state.grants() == []


def test_a_lost_answer_is_granted_all_the_same() -> None:
    authority, answers = replies("lost_answer")
    assert {answer.ending for answer in answers} == {Ending.CLOSED, Ending.RESET}
    assert len(authority.state.grants()) == len(answers)


@pytest.mark.parametrize(
    ("fault", "is_bad"),
    [
        ("short_grant", lambda result: int(result["lysl"]) < 10),
        ("wrong_year", lambda result: result["fpqshm"][:2] in {"24", "28"}),
        ("wrong_channel", lambda result: result["fpqshm"][4:6] in {"71", "72"}),
    ],
)
def test_a_bad_grant_is_answered_stored_and_replayed(fault: str, is_bad: Callable[[dict[str, Any]], bool]) -> None:
    authority, (answer,) = replies(fault, calls=1)
    result = result_of(answer)
    assert result["returncode"] == "00"
    assert is_bad(result)
    (row,) = authority.state.grants()
    assert (row.first_number, row.last_number) == (result["fpqshm"], result["fpzzhm"])
    assert row.quantity == int(result["lysl"])
    authority.faults.put(FaultSettings())
    assert result_of(authority.answer(serial="S0")) == result


def test_an_overlapping_grant_meets_an_earlier_one() -> None:
    _, answers = replies("overlapping_grant", calls=2)
    first, second = (result_of(answer) for answer in answers)
    assert first["fpqshm"] <= second["fpqshm"] <= first["fpzzhm"]
    assert int(second["fpzzhm"]) - int(second["fpqshm"]) + 1 == int(second["lysl"])


@pytest.mark.parametrize(
    "fault",
    [
        "refuse",
        "bad_key",
        "short_grant",
        "overlapping_grant",
        "wrong_year",
        "wrong_channel",
    ],
)
def test_a_replay_is_never_refused_or_reshaped(fault: str) -> None:
    authority = Authority()
    first = result_of(authority.answer())
    authority.faults.put(FaultSettings.model_validate({fault: 1.0}))
    assert result_of(authority.answer()) == first


@pytest.mark.parametrize("fault", ["throttle", "error_500", "lost_answer"])
def test_a_replay_may_be_held_up_again(fault: str) -> None:
    authority = Authority()
    first = authority.answer()
    authority.faults.put(FaultSettings.model_validate({fault: 1.0}))
    second = authority.answer()
    assert (second.text, second.ending) != (first.text, first.ending)
    authority.faults.put(FaultSettings())
    assert result_of(authority.answer()) == result_of(first)
    assert len(authority.state.grants()) == 1


def test_the_same_seed_and_calls_bring_the_same_answers() -> None:
    def run() -> tuple[list[tuple[int, Ending]], list[GrantRow]]:
        authority = Authority(lost_answer=0.3, refuse=0.2, throttle=0.2, error_500=0.2, seed=5)
        answers = [authority.answer(serial=f"S{n}") for n in range(60)]
        return [(a.http_status, a.ending) for a in answers], authority.state.grants()

    assert run() == run()


def test_answers_come_in_every_form_of_the_samples() -> None:
    forms = set()
    authority = Authority()
    for number in range(60):
        reply = authority.answer(serial=f"S{number}")
        envelope = json.loads(reply.text)
        forms.add(
            (
                type(envelope["httpStatusCode"]),
                type(envelope["body"]),
                type(result_of(reply)["lysl"]),
            )
        )
    assert len(forms) == 8
