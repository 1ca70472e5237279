"""The fake authority's wire form, pinned by texts sealed with openssl, not with it."""

import base64
import json

import pytest

from tests.support.leqi_by_hand import KEY, REQUEST_SEALED, REQUEST_TEXT
from worker.leqi.simulator_wire import (
    ClaimRequest,
    InvalidRequestError,
    Quirks,
    UndecryptableError,
    declined_body,
    decrypt,
    encrypt,
    error_body,
    granted_body,
    read_request,
)

# openssl enc -sm4-ecb of {"returncode":"00","returnmsg":"处理成功",
# "fpqshm":"26957000000000000001","fpzzhm":"26957000000000001000","lysl":1000}
GRANT_SEALED = (
    "pjJcxQs6RaLuqi8Uea4mkizork/J0TEZIwfNUmPkThFSgRAxi5EUbMXV9cVXloyGUv5Tq337hUpF6VU8"
    "rT/ZHD59U+i96uOCKC6FOwJYNFZR0Du1afL83vorjwfkrogqPCGIt0KsESG+veBxHvtMB1j7QltK+579"
    "DAzzR6Mpi74="
)
PLAIN = Quirks(
    status_is_number=False,
    body_is_object=False,
    quantity_is_text=False,
    empty_fields_on_refusal=False,
)
TURNED = Quirks(
    status_is_number=True,
    body_is_object=True,
    quantity_is_text=True,
    empty_fields_on_refusal=True,
)


def test_the_vector_of_the_domain_page_is_read_and_made() -> None:
    assert decrypt(REQUEST_SEALED, KEY) == REQUEST_TEXT
    assert encrypt(REQUEST_TEXT, KEY) == REQUEST_SEALED
    assert read_request(REQUEST_TEXT) == ClaimRequest(
        "91440300587908164C", 1000, "U000001D0000010123456789abcdef0123456789ABCDEF"
    )


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{}",
        REQUEST_TEXT,
        "not base64!",
        REQUEST_SEALED[:-4],
        REQUEST_SEALED.replace("+", "%2B") + "%3D",
        REQUEST_SEALED.replace("=", " "),
        f'"{REQUEST_SEALED}"',
        base64.b64encode(b"fifteen bytes..").decode(),
        base64.b64encode(bytes(16)).decode(),
        "密文",
    ],
)
def test_what_the_key_did_not_seal_is_undecryptable(body: str) -> None:
    with pytest.raises(UndecryptableError):
        decrypt(body, KEY)


def test_another_key_is_undecryptable() -> None:
    with pytest.raises(UndecryptableError):
        decrypt(REQUEST_SEALED, bytes(16))


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("", "JSON"),
        ("[]", "JSON"),
        ("null", "JSON"),
        ('{"nsrsbh":', "JSON"),
        ("[" * 100_000, "JSON"),
        (r'{"nsrsbh":"\u0039","lysl":1,"ywlsh":"S"}', "Unicode"),
        ('{"lysl":1,"ywlsh":"S"}', "纳税人识别号"),
        ('{"nsrsbh":"","lysl":1,"ywlsh":"S"}', "纳税人识别号"),
        ('{"nsrsbh":" ","lysl":1,"ywlsh":"S"}', "纳税人识别号"),
        ('{"nsrsbh":9,"lysl":1,"ywlsh":"S"}', "纳税人识别号"),
        ('{"nsrsbh":"' + "9" * 21 + '","lysl":1,"ywlsh":"S"}', "纳税人识别号"),
        ('{"nsrsbh":"T","ywlsh":"S"}', "领用数量"),
        ('{"nsrsbh":"T","lysl":0,"ywlsh":"S"}', "领用数量"),
        ('{"nsrsbh":"T","lysl":5001,"ywlsh":"S"}', "领用数量"),
        ('{"nsrsbh":"T","lysl":1.0,"ywlsh":"S"}', "领用数量"),
        ('{"nsrsbh":"T","lysl":true,"ywlsh":"S"}', "领用数量"),
        ('{"nsrsbh":"T","lysl":"10","ywlsh":"S"}', "领用数量"),
        ('{"nsrsbh":"T","lysl":1}', "业务流水号"),
        ('{"nsrsbh":"T","lysl":1,"ywlsh":""}', "业务流水号"),
        ('{"nsrsbh":"T","lysl":1,"ywlsh":"' + "S" * 101 + '"}', "业务流水号"),
    ],
)
def test_a_request_that_breaks_a_rule_is_told_which(text: str, about: str) -> None:
    with pytest.raises(InvalidRequestError, match=about):
        read_request(text)


@pytest.mark.parametrize("quantity", [1, 5000])
def test_the_limits_themselves_are_accepted(quantity: int) -> None:
    text = json.dumps({"nsrsbh": "T" * 20, "lysl": quantity, "ywlsh": "S" * 100})
    assert read_request(text) == ClaimRequest("T" * 20, quantity, "S" * 100)


def test_a_grant_in_the_plain_form() -> None:
    text = granted_body("26957000000000000001", "26957000000000001000", 1000, PLAIN, KEY)
    envelope = json.loads(text)
    assert envelope.keys() == {"httpStatusCode", "body"}
    assert envelope["httpStatusCode"] == "200"
    inner = json.loads(envelope["body"])["Response"]
    assert inner.keys() == {"RequestId", "Data"}
    assert inner["Data"] == GRANT_SEALED


def test_a_grant_in_the_other_forms() -> None:
    text = granted_body("26957000000000000001", "26957000000000000009", 9, TURNED, KEY)
    envelope = json.loads(text)
    assert envelope["httpStatusCode"] == 200
    sealed = envelope["body"]["Response"]["Data"]
    assert json.loads(decrypt(sealed, KEY)) == {
        "returncode": "00",
        "returnmsg": "处理成功",
        "fpqshm": "26957000000000000001",
        "fpzzhm": "26957000000000000009",
        "lysl": "9",
    }


def test_a_refusal_of_the_service_is_sealed_and_carries_no_number() -> None:
    bare = json.loads(declined_body("02", "不允许", PLAIN, KEY))
    sealed = json.loads(bare["body"])["Response"]["Data"]
    assert json.loads(decrypt(sealed, KEY)) == {
        "returncode": "02",
        "returnmsg": "不允许",
    }
    empty = json.loads(declined_body("02", "不允许", TURNED, KEY))
    sealed = empty["body"]["Response"]["Data"]
    assert json.loads(decrypt(sealed, KEY)) == {
        "returncode": "02",
        "returnmsg": "不允许",
        "fpqshm": "",
        "fpzzhm": "",
        "lysl": "",
    }


def test_an_error_of_the_platform_is_open() -> None:
    envelope = json.loads(error_body("4057", "4057", "解密失败", TURNED))
    assert envelope["httpStatusCode"] == 4057
    inner = envelope["body"]["Response"]
    assert inner.keys() == {"RequestId", "Error"}
    assert inner["Error"] == {"Code": "4057", "Message": "解密失败"}


def test_the_quirks_repeat_for_a_serial_and_cover_every_form() -> None:
    serials = [f"serial-{number}" for number in range(100)]
    chosen = {Quirks.of(serial) for serial in serials}
    assert len(chosen) == 16
    assert [Quirks.of(s) for s in serials] == [Quirks.of(s) for s in serials]
