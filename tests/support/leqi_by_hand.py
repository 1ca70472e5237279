"""LeQi's claim service spoken by hand from the domain page: neither our client's words nor the simulator's."""

import base64
import json
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import SM4
from cryptography.hazmat.primitives.ciphers.modes import ECB

KEY: Final = bytes.fromhex("0123456789abcdeffedcba9876543210")
TAXPAYER: Final = "91440300587908164C"
HEADERS: Final = {
    "Content-Type": "application/json; charset=UTF-8",
    "nlbm": "202007",
    "fwbm": "QDFPPLFM",
    "jrdwptbh": "DU00000000000001",
    "sydwptbh": "UU00000000000001",
    "access_signature": "",
    "sxcsbz": "",
    "ylbm": "",
}

REQUEST_TEXT: Final = (
    '{"nsrsbh":"91440300587908164C","lysl":1000,"ywlsh":"U000001D0000010123456789abcdef0123456789ABCDEF"}'
)
REQUEST_SEALED: Final = (
    "lhXvfeCDi90doSbmW/9T4ZYmBAQvaFGP0pWqIZTh0JGqPZxxpTDnxSZ9rAkgpTN8Fpx9t51ePEaWq12u"
    "sqLZcWDzObMRl7Sdbc1QKj1r7a4nUTPpexYUem1MiqErkDSK/4YnveQ/EM5HVVqSMFFfbQ=="
)
"""The vector of the domain page: `REQUEST_TEXT` under `KEY`."""


def sealed_claim(serial: str, quantity: int = 10, taxpayer_id: str = TAXPAYER) -> bytes:
    """Write and seal a claim request."""
    text = f'{{"nsrsbh":"{taxpayer_id}","lysl":{quantity},"ywlsh":"{serial}"}}'
    data = text.encode()
    filling = 16 - len(data) % 16
    encryptor = _sm4().encryptor()
    return base64.b64encode(encryptor.update(data + bytes([filling]) * filling) + encryptor.finalize())


def opened(envelope: str) -> tuple[str, dict[str, Any]]:
    """Return an envelope's status and its inner `Response`, in whichever form they came."""
    fields = json.loads(envelope)
    assert fields.keys() == {"httpStatusCode", "body"}
    body = fields["body"]
    inner = json.loads(body) if isinstance(body, str) else body
    assert inner.keys() == {"Response"}
    return str(fields["httpStatusCode"]), inner["Response"]


def result_of(envelope: str) -> dict[str, Any]:
    """Return the decrypted result of an answer that must carry one."""
    status, response = opened(envelope)
    assert status == "200"
    assert response.keys() == {"RequestId", "Data"}
    return unsealed(response["Data"])


def unsealed(data: str) -> dict[str, Any]:
    """Decrypt what stands under `Data`."""
    decryptor = _sm4().decryptor()
    text = decryptor.update(base64.b64decode(data)) + decryptor.finalize()
    result = json.loads(text[: -text[-1]])
    assert isinstance(result, dict)
    return result


def _sm4() -> Cipher[ECB]:
    return Cipher(SM4(KEY), ECB())  # noqa: S305 -- the authority's choice
