"""Key file, business serial, and what production refuses."""

import re
from pathlib import Path

import httpx
import pytest

from schemas.vocabulary import Environment
from worker.leqi.guard import refuse_simulator
from worker.leqi.identity import KeyFileError, new_business_serial, read_key
from worker.leqi.transport import BoundedHttp, Peer

KEY_HEX = "00112233445566778899aabbccddeeff"
SIMULATOR_KEY_HEX = "0123456789abcdeffedcba9876543210"


# ---------------------------------------------------------------------------------------------- serial


def test_a_serial_is_both_units_and_32_alphanumerics() -> None:
    assert re.fullmatch(r"USING1DIRECT2[0-9A-Za-z]{32}", new_business_serial("USING1", "DIRECT2"))


def test_serials_differ() -> None:
    assert len({new_business_serial("U", "D") for _ in range(1000)}) == 1000


def test_a_serial_may_have_100_characters_and_no_more() -> None:
    assert len(new_business_serial("U" * 34, "D" * 34)) == 100
    with pytest.raises(ValueError, match=r"35 \+ 34 characters, 68 are allowed"):
        new_business_serial("U" * 35, "D" * 34)


# ------------------------------------------------------------------------------------------------- key


@pytest.mark.parametrize(
    "content",
    [KEY_HEX, KEY_HEX.upper() + "\r\n", f"\ufeff {KEY_HEX[:16]}\n{KEY_HEX[16:]}\t", " ".join(KEY_HEX)],
)
def test_a_key_is_read_with_white_space_anywhere(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content, encoding="utf-8")
    assert read_key(file) == bytes.fromhex(KEY_HEX)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        KEY_HEX[:-1].encode(),
        KEY_HEX.encode() + b"0",
        b"0x" + KEY_HEX.encode(),
        b"g" * 32,
        bytes(range(256)),
        b" " * 5000,
    ],
)
def test_another_content_is_refused_without_showing_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(content)
    with pytest.raises(KeyFileError) as refusal:
        read_key(file)
    text = str(refusal.value)
    assert str(file) in text
    assert "32 hex digits" in text
    assert KEY_HEX[:8] not in text
    assert refusal.value.__cause__ is None


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"nothere can't be read: No such file"):
        read_key(tmp_path / "nothere")


# ----------------------------------------------------------------------------------------------- guard


def peer(status: int, content: bytes) -> tuple[BoundedHttp, list[str]]:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(f"{request.method} {request.url}")
        return httpx.Response(status, stream=httpx.ByteStream(content))

    return BoundedHttp(Peer("LeQi", "FUMA_LEQI_URL"), largest=1000, transport=httpx.MockTransport(answer)), asked


def refused(http: BoundedHttp, key_hex: str = KEY_HEX, environment: Environment = Environment.PRODUCTION) -> str | None:
    return refuse_simulator("http://h/base/", key_hex, environment, http=http)


@pytest.mark.parametrize("content", [b"[]", b' [{"taxpayer_id":"x"}]', b"{}", b"[" + b" " * 2000])
def test_a_server_that_lists_grants_is_refused(content: bytes) -> None:
    http, asked = peer(200, content)
    reason = refused(http)
    assert reason is not None
    assert "simulator" in reason
    assert asked == ["GET http://h/base/simulator/grants"]


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (404, b"[]"),
        (403, b""),
        (302, b""),
        (500, b"{}"),
        (200, b""),
        (200, b"<html>blocked</html>"),
        (200, b'{"httpStatusCode":"4049","body":""}'),
    ],
)
def test_a_server_that_does_not_is_accepted(status: int, content: bytes) -> None:
    http, asked = peer(status, content)
    assert refused(http) is None
    assert len(asked) == 1


@pytest.mark.parametrize("key_hex", [SIMULATOR_KEY_HEX, f" {SIMULATOR_KEY_HEX.upper()}\n"])
def test_the_simulators_key_is_refused_without_asking(key_hex: str) -> None:
    http, asked = peer(404, b"")
    reason = refused(http, key_hex)
    assert reason is not None
    assert "FUMA_LEQI_KEY_FILE" in reason
    assert SIMULATOR_KEY_HEX not in reason.lower()
    assert not asked


def test_elsewhere_a_simulator_is_welcome() -> None:
    http, asked = peer(200, b"[]")
    assert refused(http, SIMULATOR_KEY_HEX, Environment.SANDBOX) is None
    assert not asked


def test_a_server_that_is_away_is_not_refused() -> None:
    away = httpx.ConnectError("refused")

    def fail(_: httpx.Request) -> httpx.Response:
        raise away

    assert refused(BoundedHttp(Peer("LeQi", "FUMA_LEQI_URL"), transport=httpx.MockTransport(fail))) is None
