"""LeQi's side of the wire: the cipher, the request, the answer and its quirks.

Written from the domain page alone and sharing nothing with our client, so that a
mistake on one side shows on the other.
"""

import base64
import binascii
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.padding import PKCS7

from worker.leqi import simulator_messages as messages

MAX_QUANTITY: Final = 5000
MAX_TAXPAYER_ID: Final = 20
MAX_SERIAL: Final = 100
OK: Final = "00"
BLOCK_BITS: Final = 128


class UndecryptableError(Exception):
    """The body is not base64 of an SM4 text under the direct unit's key."""


class InvalidRequestError(Exception):
    """The decrypted request breaks a rule of the service; the text says which."""


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """What a caller asks: `nsrsbh`, `lysl` and `ywlsh`."""

    taxpayer_id: str
    quantity: int
    business_serial: str


@dataclass(frozen=True, slots=True)
class Quirks:
    """The forms that the platform's own samples disagree on, for one answer.

    They follow from the business serial alone: a test that fails, fails again.
    """

    status_is_number: bool
    body_is_object: bool
    quantity_is_text: bool
    empty_fields_on_refusal: bool

    @classmethod
    def of(cls, seed: str) -> "Quirks":
        """Choose the forms for a serial (or for the raw body where none was read)."""
        byte = hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest()[0]
        return cls(
            status_is_number=bool(byte & 1),
            body_is_object=bool(byte & 2),
            quantity_is_text=bool(byte & 4),
            empty_fields_on_refusal=bool(byte & 8),
        )


def encrypt(text: str, key: bytes) -> str:
    """Return base64 of SM4-ECB with PKCS#7 over the text's UTF-8."""
    padder = PKCS7(BLOCK_BITS).padder()
    padded = padder.update(text.encode()) + padder.finalize()
    encryptor = _sm4(key).encryptor()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def decrypt(body: str, key: bytes) -> str:
    """Undo `encrypt`; raises `UndecryptableError` for anything it didn't make."""
    try:
        sealed = base64.b64decode(body, validate=True)
        decryptor = _sm4(key).decryptor()
        padded = decryptor.update(sealed) + decryptor.finalize()
        unpadder = PKCS7(BLOCK_BITS).unpadder()
        return (unpadder.update(padded) + unpadder.finalize()).decode()
    except (binascii.Error, ValueError) as error:
        raise UndecryptableError from error


def read_request(text: str) -> ClaimRequest:
    """Check a decrypted request; raises `InvalidRequestError` in the platform's words.

    Unknown fields are ignored, as such platforms do.
    """
    if "\\u" in text:
        raise InvalidRequestError(messages.ESCAPED)
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(messages.NOT_JSON) from error
    if not isinstance(fields, dict):
        raise InvalidRequestError(messages.NOT_JSON)
    taxpayer_id, quantity = fields.get("nsrsbh"), fields.get("lysl")
    serial = fields.get("ywlsh")
    if not _is_text(taxpayer_id, MAX_TAXPAYER_ID):
        raise InvalidRequestError(messages.BAD_TAXPAYER)
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        raise InvalidRequestError(messages.BAD_QUANTITY)
    if not _is_text(serial, MAX_SERIAL):
        raise InvalidRequestError(messages.BAD_SERIAL)
    return ClaimRequest(str(taxpayer_id), quantity, str(serial))


def granted_body(first_number: str, last_number: str, quantity: int, quirks: Quirks, key: bytes) -> str:
    """Write the answer that carries a range."""
    result = {
        "returncode": OK,
        "returnmsg": messages.GRANTED,
        "fpqshm": first_number,
        "fpzzhm": last_number,
        "lysl": str(quantity) if quirks.quantity_is_text else quantity,
    }
    return _sealed(result, quirks, key)


def declined_body(code: str, message: str, quirks: Quirks, key: bytes) -> str:
    """Write the service's own no: a return code other than 00, encrypted as well."""
    result = {"returncode": code, "returnmsg": message}
    if quirks.empty_fields_on_refusal:
        result |= {"fpqshm": "", "fpzzhm": "", "lysl": ""}
    return _sealed(result, quirks, key)


def error_body(status: str, code: str, message: str, quirks: Quirks) -> str:
    """Write the platform's no: an `Error`, which is never encrypted."""
    return _envelope(status, {"Error": {"Code": code, "Message": message}}, quirks)


def _sealed(result: Mapping[str, object], quirks: Quirks, key: bytes) -> str:
    return _envelope("200", {"Data": encrypt(_json(result), key)}, quirks)


def _envelope(status: str, content: Mapping[str, object], quirks: Quirks) -> str:
    inner = {"Response": {"RequestId": str(uuid.uuid4()), **content}}
    return _json(
        {
            "httpStatusCode": int(status) if quirks.status_is_number else status,
            "body": inner if quirks.body_is_object else _json(inner),
        }
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_text(value: object, longest: int) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= longest


def _sm4(key: bytes) -> Cipher[ECB]:
    return Cipher(SM4(key), ECB())  # noqa: S305 -- the authority's choice, not ours
