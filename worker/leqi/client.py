"""The claim service of LeQi, asked over HTTP.

Source of path, headers and body: base document V4.000 (chapters 4 and 5), restated in the
project's domain page.
"""

import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from schemas.leqi import CAPABILITIES, SERVICE, ClaimBody
from schemas.vocabulary import ChannelMode, Environment
from worker.leqi.answers import judge
from worker.leqi.identity import random_tail
from worker.leqi.port import Answer, ClaimCall, Refused, Unknown
from worker.leqi.sm4 import Sm4
from worker.leqi.tokens import TokenError, TokenFolder
from worker.leqi.transport import BoundedHttp, FetchError, Peer, TimeLimits, address

NOT_SENT: Final = "not-sent"
"""Code of a refusal that is ours: the call can't be sent as it stands, now or later."""

PATHS: Final[Mapping[Environment, str]] = {
    Environment.PRODUCTION: "/access/v2/invoke/{nlbm}/{fwbm}/",
    Environment.SANDBOX: "/access/sandbox/v2/invoke/{nlbm}/{fwbm}/",
}
"""Where the service is below the base address. It has changed before, so it can be replaced."""


@dataclass(frozen=True, slots=True)
class SandboxTest:
    """What the sandbox's two kinds of test want in the headers (sandbox guide 3.3.2)."""

    acceptance_case: str = ""
    """`ylbm`: the case of an acceptance test."""
    joint: bool = False
    """`sxcsbz` = 1: a joint test after the subscription."""


class LeqiClient:
    """Claims ranges from LeQi; may be shared between threads."""

    def __init__(  # noqa: PLR0913 - what a connection consists of, each by name
        self,
        base_url: str,
        direct_unit_id: str,
        key: bytes,
        environment: Environment,
        *,
        path: str | None = None,
        sandbox_test: SandboxTest | None = None,
        access_tokens: TokenFolder | None = None,
        limits: TimeLimits | None = None,
        tls: ssl.SSLContext | None = None,
        pins: Collection[str] = (),
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Prepare without connecting.

        `key` is the direct unit's SM4 key, 16 bytes.
        `path` replaces the environment's own and may use `{nlbm}` and `{fwbm}`.
        `tls` replaces the usual certificate authorities, `transport` the network (tests); `pins` are the
        public keys that its certificate may have, as `BoundedHttp` has them.
        Raises `ValueError` for settings that can't work, with a text for operators.
        """
        test = sandbox_test or SandboxTest()
        if environment is Environment.PRODUCTION and test != SandboxTest():
            message = "a sandbox test makes no sense in production"
            raise ValueError(message)
        if test.acceptance_case and test.joint:
            message = "the sandbox runs an acceptance case or a joint test, not both"
            raise ValueError(message)
        for name, value in (
            ("FUMA_LEQI_DIRECT_UNIT_ID", direct_unit_id),
            ("the acceptance case", test.acceptance_case or "-"),
        ):
            if not _fits_header(value):
                message = f"{name} must be printable ASCII without spaces, and not empty"
                raise ValueError(message)
        self._urls = {
            mode: _service_url(base_url, path or PATHS[environment], capability)
            for mode, capability in CAPABILITIES.items()
        }
        self._direct_unit_id = direct_unit_id
        self._test = test
        self._access_tokens = access_tokens
        self._cipher = Sm4(key)
        self._http = BoundedHttp(
            Peer(name="LeQi", setting="FUMA_LEQI_URL"),
            limits=limits,
            tls=tls,
            pins=pins,
            transport=transport,
        )

    def claim(self, call: ClaimCall) -> Answer:
        """Ask once and return what is known then; see `Authority`."""
        if not _fits_header(call.using_unit_id):
            return Refused(NOT_SENT, "using_unit_id must be printable ASCII without spaces")
        try:
            body = ClaimBody(call.taxpayer_id, call.quantity, call.business_serial)
        except ValueError as error:
            return Refused(NOT_SENT, str(error))
        try:
            fetched = self._http.post(
                self._urls[call.channel_mode],
                self._cipher.encrypt(body.encode()),
                self._headers(call),
            )
        except (TokenError, FetchError) as error:
            return Unknown(str(error))
        return judge(fetched.status, fetched.content, self._cipher)

    def close(self) -> None:
        """Close the connections; no call may follow."""
        self._http.close()

    def _headers(self, call: ClaimCall) -> dict[str, str]:
        """Return the headers of one call. Raises `TokenError`."""
        headers = {
            "Content-Type": "application/json",
            "jrdwptbh": self._direct_unit_id,
            "sydwptbh": call.using_unit_id,
            "fwbm": SERVICE,
            "nlbm": CAPABILITIES[call.channel_mode],
            "access_signature": "",
            "sxcsbz": "1" if self._test.joint else "",
            "ylbm": self._test.acceptance_case,
            "clientTid": random_tail(),
        }
        if self._access_tokens is not None and call.channel_mode is not ChannelMode.SELF_USE:
            token = self._access_tokens.token_for(call.using_unit_id)
            if token is not None:
                headers["access_token"] = token
        return headers


def _service_url(base_url: str, path: str, capability: str) -> httpx.URL:
    try:
        filled = path.format(nlbm=capability, fwbm=SERVICE)
    except (KeyError, IndexError, AttributeError, ValueError):
        message = "LeQi's path may use {nlbm} and {fwbm}, and no other braces"
        raise ValueError(message) from None
    try:
        return address(base_url, "/" + filled.lstrip("/"))
    except ValueError as error:
        message = f"FUMA_LEQI_URL: {error}"
        raise ValueError(message) from None


def _fits_header(value: str) -> bool:
    return bool(value) and value.isascii() and value.isprintable() and " " not in value
