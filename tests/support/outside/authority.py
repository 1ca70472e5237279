"""The fake authority as a process, its test endpoints, and a caller of LeQi's claim service that is not Fuma's."""

import base64
import json
import secrets
import string
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import httpx
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import SM4

from tests.support.outside.identities import CAPABILITIES, Organization
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Fuma, Running, free_port

_DIRECT_UNIT_ID = "DU00000000000001"
_KEY = bytes.fromhex("0123456789abcdeffedcba9876543210")
_BLOCK_BITS = 128
_ALPHANUMERICS = string.ascii_letters + string.digits


class Span(NamedTuple):
    """A range of numbers of one taxpayer."""

    taxpayer_id: str
    first_number: str
    last_number: str

    def __len__(self) -> int:
        """Count its numbers."""
        return int(self.last_number) - int(self.first_number) + 1

    def holds(self, number: str) -> bool:
        """Tell whether a number lies in it."""
        return self.first_number <= number <= self.last_number


class Authority:
    """A `fuma leqi-simulator` and its HTTP endpoints."""

    def __init__(self, fuma: Fuma, *, state: Path | None = None) -> None:
        """Start it on a free port and wait until it answers."""
        self._fuma, self._state = fuma, state
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._process = self._start()

    def close(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(10)

    def restart(self) -> None:
        """Kill it and start it again on the same port."""
        self.kill()
        self.start_again()

    def kill(self) -> None:
        """Kill it; nobody listens on its port any more."""
        self._process.kill()

    def start_again(self) -> None:
        """Start it on the same port after `kill`."""
        self._process = self._start()

    def grants(self, taxpayer_id: str | None = None) -> list[dict[str, Any]]:
        """Give every grant it ever made, or a taxpayer's."""
        answer = httpx.get(f"{self.url}/simulator/grants", timeout=10)
        assert answer.status_code == httpx.codes.OK, answer.text
        return [grant for grant in answer.json() if taxpayer_id in {None, grant["taxpayer_id"]}]

    def spans(self, taxpayer_id: str | None = None) -> Counter[Span]:
        """Give the ranges it granted."""
        return Counter(
            Span(grant["taxpayer_id"], grant["first_number"], grant["last_number"])
            for grant in self.grants(taxpayer_id)
        )

    def faults(self, **faults: float) -> dict[str, float]:
        """Put these faults in force, and no other; gives what it answers."""
        answer = httpx.put(f"{self.url}/simulator/faults", json=faults, timeout=10)
        assert answer.status_code == httpx.codes.OK, answer.text
        told: dict[str, float] = answer.json()
        return told

    def put_right(self) -> None:
        """Let no fault be in force."""
        self.faults()

    def clock(self, now: str) -> None:
        """Set its clock."""
        answer = httpx.put(f"{self.url}/simulator/clock", json={"now": now}, timeout=10)
        assert answer.status_code < httpx.codes.BAD_REQUEST, answer.text

    def listing(self, taxpayer_id: str, page: int) -> list[dict[str, Any]]:
        """Give the items on a page of its listing gateway."""
        asked: dict[str, str | int] = {"taxpayer_id": taxpayer_id, "page": page}
        answer = httpx.get(f"{self.url}/channel/ranges", params=asked, timeout=10).json()
        items: list[dict[str, Any]] = answer["items"] if isinstance(answer, dict) else answer
        return items

    def claim(self, organization: Organization, quantity: int, *, serial: str | None = None) -> dict[str, Any]:
        """Claim numbers as another system of the company would; gives the decrypted `Data`.

        The form is domain.md's: path, headers, SM4-ECB with PKCS#7 in base64, and an envelope whose status may be a
        string or a number and whose body may be a JSON string or an object.
        """
        unit = str(organization.entry()["using_unit_id"])
        serial = serial or unit + _DIRECT_UNIT_ID + "".join(secrets.choice(_ALPHANUMERICS) for _ in range(32))
        capability = CAPABILITIES[organization.channel_mode]
        told = {"nsrsbh": organization.taxpayer_id, "lysl": quantity, "ywlsh": serial}
        answer = httpx.post(
            f"{self.url}/access/sandbox/v2/invoke/{capability}/QDFPPLFM/",
            content=encrypt(json.dumps(told, ensure_ascii=False, separators=(",", ":")).encode()),
            headers={
                "fwbm": "QDFPPLFM",
                "nlbm": capability,
                "jrdwptbh": _DIRECT_UNIT_ID,
                "sydwptbh": unit,
                "access_signature": "",
                "sxcsbz": "",
                "ylbm": "",
                "Content-Type": "application/json",
            },
            timeout=10,
        )
        assert answer.status_code == httpx.codes.OK, answer.text
        envelope = answer.json()
        assert str(envelope["httpStatusCode"]) == "200", envelope
        body = envelope["body"]
        response = (json.loads(body) if isinstance(body, str) else body)["Response"]
        granted: dict[str, Any] = json.loads(decrypt(response["Data"]))
        assert granted["returncode"] == "00", granted
        return granted

    def _start(self) -> Running:
        state = ("--state", str(self._state)) if self._state else ()
        process = self._fuma.start("leqi-simulator", "--port", str(self._port), *state)
        eventually(lambda: self._answers(process), within=20, what=lambda: f"the simulator:\n{process.log()}")
        return process

    def _answers(self, process: Running) -> bool:
        assert process.code is None, f"the simulator ended with {process.code}:\n{process.log()}"
        try:
            return httpx.get(f"{self.url}/simulator/grants", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def encrypt(text: bytes) -> str:
    """SM4-ECB with the direct unit's key and PKCS#7, base64."""
    padder = padding.PKCS7(_BLOCK_BITS).padder()
    encryptor = Cipher(SM4(_KEY), modes.ECB()).encryptor()  # noqa: S305 -- the authority's own form
    padded = padder.update(text) + padder.finalize()
    return base64.b64encode(encryptor.update(padded) + encryptor.finalize()).decode()


def decrypt(text: str) -> bytes:
    """Undo `encrypt`."""
    unpadder = padding.PKCS7(_BLOCK_BITS).unpadder()
    decryptor = Cipher(SM4(_KEY), modes.ECB()).decryptor()  # noqa: S305 -- the authority's own form
    padded = decryptor.update(base64.b64decode(text)) + decryptor.finalize()
    return unpadder.update(padded) + unpadder.finalize()
