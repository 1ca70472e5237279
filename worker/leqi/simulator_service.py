"""LeQi's claim service: one call in, one answer out.

What the domain page doesn't say was chosen here, and must not be relied on:
a serial asked again for another quantity, taxpayer, capability or environment is
declined with return code 02, and the throttle message comes as an `Error` or as a
return code, since no sample shows where it stands.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Literal

import structlog

from worker.leqi import simulator_messages as messages
from worker.leqi.simulator_faults import Fate, Faults
from worker.leqi.simulator_identity import (
    SIMULATOR_DIRECT_UNIT_ID,
    SIMULATOR_KEY_HEX,
)
from worker.leqi.simulator_ledger import CHANNELS
from worker.leqi.simulator_records import Order
from worker.leqi.simulator_state import AuthorityState, SerialConflictError
from worker.leqi.simulator_wire import (
    ClaimRequest,
    InvalidRequestError,
    Quirks,
    UndecryptableError,
    declined_body,
    decrypt,
    error_body,
    granted_body,
    read_request,
)

SERVICE: Final = "QDFPPLFM"
SELF_USE: Final = "202007"
CLIENT_TID: Final = re.compile(r"[0-9A-Za-z]{32}")

INVALID: Final = "01"
CONFLICT: Final = "02"
REFUSED: Final = "99"

KEY_BYTES: Final = 16
MOST_CONCURRENCY: Final = 10
HALF: Final = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Terms:
    """Whom the authority admits; raises `ValueError` for a key that isn't 16 bytes in hex."""

    direct_unit_id: str = SIMULATOR_DIRECT_UNIT_ID
    key_hex: str = field(default=SIMULATOR_KEY_HEX, repr=False)
    """The direct unit's SM4 key, 16 bytes in hex."""
    using_unit_ids: frozenset[str] | None = None
    """None: any using unit that has a name."""
    access_tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Using units that the direct unit doesn't control, each with the token that its
    on-behalf and joint calls need."""

    def __post_init__(self) -> None:
        """Check the key."""
        if len(self.key) != KEY_BYTES:
            message = "an SM4 key has 16 bytes"
            raise ValueError(message)

    @property
    def key(self) -> bytes:
        """The direct unit's SM4 key."""
        return bytes.fromhex(self.key_hex)


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in; header names in lower case."""

    environment: Literal["production", "sandbox"]
    capability: str
    service: str
    headers: Mapping[str, str]
    is_json: bool
    """Said to be `application/json`; else the wire may have altered the base64."""
    body: bytes


class Ending(Enum):
    """How the connection goes on after the call."""

    ANSWERED = "answered"
    CLOSED = "closed"
    """Ended in good order, with no answer."""
    RESET = "reset"
    """Broken off, with no answer."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back; the text is an envelope unless the HTTP status is an error."""

    text: str
    http_status: int = 200
    ending: Ending = Ending.ANSWERED


class ClaimService:
    """The service QDFPPLFM for one direct unit."""

    def __init__(self, terms: Terms, state: AuthorityState, faults: Faults) -> None:
        """Serve on these terms."""
        self._terms = terms
        self._key = terms.key
        self._state = state
        self._faults = faults

    def answer(self, call: Call) -> Reply:
        """Answer one call; raises `StateNotWrittenError` where a grant can't be stored."""
        quirks = Quirks.of(call.body.decode("latin-1"))
        status = self._objection(call)
        if status is not None:
            return _platform_error(status, quirks)
        try:
            text = decrypt(call.body.decode("ascii"), self._key)
        except (UndecryptableError, UnicodeDecodeError):
            return _platform_error("4057", quirks)
        client_tid = call.headers.get("clienttid", "")
        if client_tid and not CLIENT_TID.fullmatch(client_tid):
            return Reply(error_body("200", "01", messages.BAD_CLIENT_TID, quirks))
        try:
            request = read_request(text)
        except InvalidRequestError as error:
            return Reply(declined_body(INVALID, str(error), quirks, self._key))
        return self._claim(call, request)

    def _objection(self, call: Call) -> str | None:
        """Return the platform's status for a call that doesn't reach the service."""
        headers, terms = call.headers, self._terms
        using_unit = headers.get("sydwptbh", "")
        known_units = terms.using_unit_ids
        objections = (
            ("4049", call.capability not in CHANNELS or call.service != SERVICE),
            ("4049", headers.get("nlbm") != call.capability),
            ("4049", headers.get("fwbm") != call.service),
            ("4054", headers.get("jrdwptbh") != terms.direct_unit_id),
            ("4055", not using_unit.strip()),
            ("4055", known_units is not None and using_unit not in known_units),
            ("4032", not self._is_authorised(call, using_unit)),
            ("4047", call.environment == "production" and _is_test_call(headers)),
            ("4057", not call.is_json),
        )
        return next((status for status, holds in objections if holds), None)

    def _is_authorised(self, call: Call, using_unit: str) -> bool:
        needed = self._terms.access_tokens.get(using_unit)
        if needed is None or call.capability == SELF_USE:
            return True
        return call.headers.get("access_token") == needed

    def _claim(self, call: Call, request: ClaimRequest) -> Reply:
        fate = self._faults.next_fate()
        quirks = Quirks.of(request.business_serial)
        misfortune = self._misfortune(fate, quirks, is_replay=self._state.was_granted(request.business_serial))
        if misfortune is not None:
            return misfortune
        order = Order(
            environment=call.environment,
            channel=CHANNELS[call.capability],
            taxpayer_id=request.taxpayer_id,
            quantity=request.quantity,
            business_serial=request.business_serial,
        )
        try:
            grant = self._state.claim(order, fate.shape, fate.fraction)
        except SerialConflictError:
            message = messages.SERIAL_TAKEN
            return Reply(declined_body(CONFLICT, message, quirks, self._key))
        log.debug(
            "simulator-claim-granted",
            business_serial=request.business_serial,
            first_number=grant.first_number,
            last_number=grant.last_number,
            shape=grant.shape.value,
            answer_lost=fate.lost_answer,
        )
        text = granted_body(grant.first_number, grant.last_number, grant.quantity, quirks, self._key)
        return Reply(text, ending=_ending(fate))

    def _misfortune(self, fate: Fate, quirks: Quirks, *, is_replay: bool) -> Reply | None:
        """Return the answer of a call that fate stops before anything is granted.

        A replay is never refused for good: that would contradict the grant.
        """
        if fate.throttle:
            return self._throttled(fate, quirks)
        if fate.error_500:
            return _server_error(fate, quirks)
        if fate.bad_key and not is_replay:
            return _platform_error("4057", quirks)
        if fate.refuse and not is_replay:
            return self._refused(fate, quirks)
        return None

    def _refused(self, fate: Fate, quirks: Quirks) -> Reply:
        if fate.variant < HALF:
            return _platform_error("4033", quirks)
        return Reply(declined_body(REFUSED, messages.REFUSED, quirks, self._key))

    def _throttled(self, fate: Fate, quirks: Quirks) -> Reply:
        message = messages.throttled(1 + int(fate.fraction * MOST_CONCURRENCY))
        if fate.variant < HALF:
            return Reply(error_body("200", "01", message, quirks))
        return Reply(declined_body(REFUSED, message, quirks, self._key))


def _is_test_call(headers: Mapping[str, str]) -> bool:
    """Say whether a call carries what production leaves empty."""
    return bool(headers.get("ylbm") or headers.get("sxcsbz"))


def _platform_error(status: str, quirks: Quirks) -> Reply:
    return Reply(error_body(status, status, messages.STATUS[status], quirks))


def _server_error(fate: Fate, quirks: Quirks) -> Reply:
    if fate.variant < HALF:
        return Reply("<html><h1>500 Internal Server Error</h1></html>", 500)
    return _platform_error("500", quirks)


def _ending(fate: Fate) -> Ending:
    if not fate.lost_answer:
        return Ending.ANSWERED
    return Ending.CLOSED if fate.variant < HALF else Ending.RESET
