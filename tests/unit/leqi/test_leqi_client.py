"""What the client sends, and that nothing which the network does escapes it as an exception."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from schemas.vocabulary import ChannelMode, Environment
from worker.leqi.client import NOT_SENT, LeqiClient, SandboxTest
from worker.leqi.port import Answer, Authority, ClaimCall, Refused, Unknown
from worker.leqi.tokens import TokenFolder

KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
CALL = ClaimCall(
    taxpayer_id="91440300587908164C",
    channel_mode=ChannelMode.SELF_USE,
    using_unit_id="U000001",
    quantity=1000,
    business_serial="U000001D0000010123456789abcdef0123456789ABCDEF",
)
# The domain page's vector for exactly this call.
COVERED = (
    b"lhXvfeCDi90doSbmW/9T4ZYmBAQvaFGP0pWqIZTh0JGqPZxxpTDnxSZ9rAkgpTN8Fpx9t51ePEaWq12usqLZcWDzObMRl7Sdbc1QKj1r7a4n"
    b"UTPpexYUem1MiqErkDSK/4YnveQ/EM5HVVqSMFFfbQ=="
)


class Recorder:
    """A peer that keeps what came."""

    def __init__(self, answer: Callable[[httpx.Request], httpx.Response] | None = None) -> None:
        """Answer each request with `answer`, or with nothing that means anything."""
        self.requests: list[httpx.Request] = []
        self._answer = answer or (lambda _: streamed(b"{}"))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        return self._answer(request)


def streamed(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> httpx.Response:
    return httpx.Response(status, headers=headers, stream=httpx.ByteStream(content))


def client(
    peer: Callable[[httpx.Request], httpx.Response],
    base_url: str = "https://lq.example:8443",
    environment: Environment = Environment.SANDBOX,
    **options: Any,  # noqa: ANN401 - the client's own, handed on
) -> LeqiClient:
    transport = httpx.MockTransport(peer)
    return LeqiClient(base_url, "D000001", KEY, environment, transport=transport, **options)


def sent(environment: Environment = Environment.SANDBOX, call: ClaimCall = CALL, **options: Any) -> httpx.Request:  # noqa: ANN401 - as above
    peer = Recorder()
    client(peer, environment=environment, **options).claim(call)
    (request,) = peer.requests
    return request


def test_the_client_is_an_authority() -> None:
    authority: Authority = client(Recorder())
    authority.close()


def test_the_body_is_the_vector() -> None:
    assert sent().content == COVERED


def test_the_headers_are_those_of_the_base_document() -> None:
    headers = sent(Environment.PRODUCTION).headers
    expected = {
        "content-type": "application/json",
        "jrdwptbh": "D000001",
        "sydwptbh": "U000001",
        "fwbm": "QDFPPLFM",
        "nlbm": "202007",
        "access_signature": "",
        "sxcsbz": "",
        "ylbm": "",
    }
    assert {name: headers[name] for name in expected} == expected
    assert "access_token" not in headers


def test_each_call_has_a_trace_id_of_its_own() -> None:
    peer = Recorder()
    asking = client(peer)
    for _ in range(20):
        asking.claim(CALL)
    ids = {request.headers["clientTid"] for request in peer.requests}
    assert len(ids) == 20
    assert all(re.fullmatch(r"[0-9A-Za-z]{32}", each) for each in ids)


@pytest.mark.parametrize(
    ("mode", "capability"),
    [(ChannelMode.SELF_USE, "202007"), (ChannelMode.ON_BEHALF, "202077"), (ChannelMode.JOINT, "202076")],
)
@pytest.mark.parametrize(
    ("environment", "path"),
    [(Environment.PRODUCTION, "/access/v2/invoke"), (Environment.SANDBOX, "/access/sandbox/v2/invoke")],
)
def test_path_and_header_follow_channel_mode_and_environment(
    mode: ChannelMode, capability: str, environment: Environment, path: str
) -> None:
    request = sent(environment, replace(CALL, channel_mode=mode))
    assert request.method == "POST"
    assert str(request.url) == f"https://lq.example:8443{path}/{capability}/QDFPPLFM/"
    assert request.headers["nlbm"] == capability


@pytest.mark.parametrize("base_url", ["http://h:1/vendor", "http://h:1/vendor/", " http://h:1/vendor// "])
def test_the_base_address_may_have_a_path_and_a_slash(base_url: str) -> None:
    assert str(sent(base_url=base_url).url) == "http://h:1/vendor/access/sandbox/v2/invoke/202007/QDFPPLFM/"


def test_the_path_can_be_replaced() -> None:
    request = sent(path="access/newsandbox/v2/invoke/{nlbm}/{fwbm}/")
    assert request.url.path == "/access/newsandbox/v2/invoke/202007/QDFPPLFM/"


def test_the_sandboxs_tests_have_their_headers() -> None:
    acceptance = sent(sandbox_test=SandboxTest(acceptance_case="C-17")).headers
    assert (acceptance["ylbm"], acceptance["sxcsbz"]) == ("C-17", "")
    joint = sent(sandbox_test=SandboxTest(joint=True)).headers
    assert (joint["ylbm"], joint["sxcsbz"]) == ("", "1")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"environment": Environment.PRODUCTION, "sandbox_test": SandboxTest(joint=True)}, "production"),
        ({"sandbox_test": SandboxTest(acceptance_case="C", joint=True)}, "not both"),
        ({"sandbox_test": SandboxTest(acceptance_case="用例")}, "acceptance case"),
        ({"base_url": "lq.example"}, "FUMA_LEQI_URL: .*http://"),
        ({"base_url": "ftp://lq.example"}, "FUMA_LEQI_URL: .*http://"),
        ({"base_url": "http://"}, "FUMA_LEQI_URL: .*host"),
        ({"base_url": "http://h:99999999"}, "FUMA_LEQI_URL: not an address"),
        ({"base_url": "http://h/?a=1"}, "FUMA_LEQI_URL: .*no \\?"),
        ({"base_url": "http://a..b/"}, "FUMA_LEQI_URL: not an address"),
        ({"base_url": f"http://{'a' * 64}/"}, "FUMA_LEQI_URL: not an address"),
        ({"base_url": "http://h/\nx"}, "FUMA_LEQI_URL: not an address"),
        ({"path": "/{nlbm.x}/"}, "braces"),
        ({"path": "/{other}/"}, "braces"),
        ({"path": "/{"}, "braces"),
    ],
)
def test_settings_that_cannot_work_are_refused(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        client(Recorder(), **options)


@pytest.mark.parametrize("unit", ["", "两", "D 1", "D\n1"])
def test_a_direct_unit_that_fits_no_header_is_refused(unit: str) -> None:
    with pytest.raises(ValueError, match="FUMA_LEQI_DIRECT_UNIT_ID"):
        LeqiClient("http://h", unit, KEY, Environment.SANDBOX)


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": 0},
        {"quantity": 5001},
        {"taxpayer_id": ""},
        {"taxpayer_id": "9" * 21},
        {"taxpayer_id": "\ud800"},
        {"business_serial": ""},
        {"business_serial": "s" * 101},
        {"business_serial": "a\x00b"},
        {"using_unit_id": ""},
        {"using_unit_id": "单位"},
        {"using_unit_id": "a\r\nb: c"},
    ],
)
def test_a_call_that_can_never_be_sent_is_a_definite_refusal(change: dict[str, Any]) -> None:
    peer = Recorder()
    answer = client(peer).claim(replace(CALL, **change))
    assert isinstance(answer, Refused)
    assert answer.code == NOT_SENT
    assert not peer.requests


# ---------------------------------------------------------------------------------------------- tokens


def test_the_token_is_read_at_each_call(tmp_path: Path) -> None:
    peer = Recorder()
    asking = client(peer, access_tokens=TokenFolder(tmp_path))
    call = replace(CALL, channel_mode=ChannelMode.JOINT)
    asking.claim(call)
    (tmp_path / "U000001").write_text("first.token\n")
    asking.claim(call)
    (tmp_path / "U000001").write_text("  second-token")
    asking.claim(call)
    asking.claim(replace(call, channel_mode=ChannelMode.ON_BEHALF))
    asking.claim(CALL)
    tokens = [request.headers.get("access_token") for request in peer.requests]
    assert tokens == [None, "first.token", "second-token", "second-token", None]


@pytest.mark.parametrize("content", [b"", b"two tokens", "令牌".encode(), b"x" * 9000])
def test_a_token_that_cannot_be_used_leaves_the_claim_open(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "U000001").write_bytes(content)
    peer = Recorder()
    answer = client(peer, access_tokens=TokenFolder(tmp_path)).claim(replace(CALL, channel_mode=ChannelMode.JOINT))
    assert answer == Unknown(f"the access token file {tmp_path / 'U000001'} must hold one token and nothing else")
    assert not peer.requests


def test_an_unreadable_token_file_leaves_the_claim_open(tmp_path: Path) -> None:
    (tmp_path / "U000001").mkdir()
    answer = client(Recorder(), access_tokens=TokenFolder(tmp_path)).claim(
        replace(CALL, channel_mode=ChannelMode.JOINT)
    )
    assert isinstance(answer, Unknown)
    assert "can't be read: Is a directory" in answer.detail


def test_no_file_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "tokens").mkdir()
    folder = TokenFolder(tmp_path / "tokens")
    assert [folder.token_for(each) for each in ("../secret", "..", ".", "", str(tmp_path / "secret"))] == [None] * 5


# ---------------------------------------------------------------------------------------------- trouble

ERRORS = [
    (httpx.ConnectTimeout(""), "no connection to LeQi within 5 s"),
    (httpx.ConnectError("[Errno 111] Connection refused"), r"\[Errno 111\] Connection refused"),
    (httpx.ReadTimeout(""), "no whole answer within 10 s"),
    (httpx.WriteTimeout(""), "no whole answer within 10 s"),
    (httpx.PoolTimeout(""), "every connection to LeQi is busy"),
    (httpx.ReadError(""), "broke before its answer"),
    (httpx.WriteError(""), "broke before its answer"),
    (httpx.RemoteProtocolError("Server disconnected"), "broke before its answer"),
    (httpx.LocalProtocolError("Illegal header value b'secret'"), "could not be put into HTTP"),
    (OSError("odd"), "broke before its answer"),
]


@pytest.mark.parametrize(("error", "why"), ERRORS)
def test_what_the_network_does_is_unknown(error: Exception, why: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    answer = client(fail).claim(CALL)
    assert isinstance(answer, Unknown)
    assert re.search(why, answer.detail)
    assert "secret" not in answer.detail


def answered(response: httpx.Response) -> Answer:
    return client(lambda _: response).claim(CALL)


def test_an_answer_beyond_a_mebibyte_is_unknown() -> None:
    assert answered(streamed(b" " * 1_048_577)) == Unknown("LeQi's answer is longer than 1048576 bytes")


def test_an_answer_of_a_mebibyte_is_read() -> None:
    refusal = json.dumps({"httpStatusCode": 4033})
    assert isinstance(answered(streamed(refusal.ljust(1_048_576).encode())), Refused)


def test_a_redirect_is_not_followed() -> None:
    peer = Recorder(lambda _: streamed(b"", 307, {"Location": "https://elsewhere.example/"}))
    answer = client(peer).claim(CALL)
    assert isinstance(answer, Unknown)
    assert len(peer.requests) == 1


def test_a_cookie_is_not_kept() -> None:
    peer = Recorder(lambda _: streamed(b"", 200, {"Set-Cookie": "node=7"}))
    asking = client(peer)
    asking.claim(CALL)
    asking.claim(CALL)
    assert "cookie" not in peer.requests[1].headers
