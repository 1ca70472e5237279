"""What an answer of LeQi means for a claim: one of four, and never an exception.

The rule behind each branch: a claim may be called refused only where nothing can have been
granted. Everything doubtful is `Unknown`, whose replay settles it at no cost.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from schemas.leqi import (
    GRANTED_CODES,
    OK_STATUS,
    ClaimResult,
    Envelope,
    read_claim_result,
    read_envelope,
)
from worker.leqi.port import Answer, Granted, Refused, Throttled, Unknown
from worker.leqi.sm4 import DecryptionError, Sm4
from worker.leqi.wording import as_claimed, one_line, simplified

REFUSALS: Final[Mapping[str, str]] = {
    "40321": "the using unit isn't qualified: check its state with the tax authority",
    "40322": "the direct unit isn't qualified: check its state with the tax authority",
    "4032": "the using unit has no grant for this service: subscribe to it on the LeQi platform",
    "4033": "this service isn't granted to us: subscribe to it on the LeQi platform",
    "4047": "the test batch wasn't found: start it on the LeQi platform",
    "4049": "capability or service unknown: check the channel mode",
    "4054": "the direct unit's id is unknown: check FUMA_LEQI_DIRECT_UNIT_ID",
    "4055": "the using unit's id is unknown: check using_unit_id of the organisation",
    "4056": "the application wasn't found: check the subscription on the LeQi platform",
    "4057": "LeQi couldn't decrypt the request: check FUMA_LEQI_KEY_FILE and its environment",
    "4061": "the service's description wasn't found: check the subscription",
    "4063": "the sandbox's own check failed: check the test case",
}
"""Statuses that say that the call never reached the service, and what to do about each."""

_PLATFORM: Final = frozenset({"500", "5001", "-1"})  # after, before or while granting: not said
_BUSINESS_CODE: Final = re.compile(r"[0-9]{2}")
_IN_PROGRESS: Final = "处理中"

_HTTP_OK: Final = range(200, 300)
_HTTP_REDIRECTS: Final = range(300, 400)
_HTTP_FIREWALL: Final = 403
_HTTP_NOT_FOUND: Final = 404
_HTTP_TOO_MANY: Final = 429
_HTTP_SERVER_ERROR: Final = 500

_WAIT: Final = re.compile(r"[0-9]{1,3}分钟后(?:重试|再试)")
_CONCURRENCY: Final = re.compile(r"并发.{0,4}?控制在(.{0,12}?)以内")
_NOTICE_CHARACTERS: Final = 4096  # read of each text in search of the notice


def judge(http_status: int, content: bytes, cipher: Sm4) -> Answer:
    """Return what the answer to a claim means. Raises nothing, whatever the content.

    `content` must be bounded in size by the caller.
    """
    envelope = read_envelope(content)
    result = _decrypted(envelope, cipher)
    answer = _judge_http(http_status, envelope, result)
    if isinstance(answer, Granted):
        return answer
    return _throttle(_spoken(envelope, result, content)) or (
        Throttled(None, f"HTTP {http_status}: too many calls") if http_status == _HTTP_TOO_MANY else answer
    )


def _judge_http(
    http_status: int,
    envelope: Envelope | None,
    result: ClaimResult | DecryptionError | None,
) -> Answer:
    if http_status >= _HTTP_SERVER_ERROR:
        return Unknown(f"LeQi answered HTTP {http_status}: trouble on its platform")
    if envelope is not None:
        refusal = _refusal(envelope)
        if refusal is not None:
            return refusal
        if http_status in _HTTP_OK:
            return _judge_envelope(envelope, result)
    return _judge_bare(http_status)


def _judge_bare(http_status: int) -> Unknown:
    """Judge an answer that isn't the claim service's own."""
    if http_status == _HTTP_FIREWALL:
        return Unknown(
            "LeQi's firewall refused this address (HTTP 403): check the IP allow-list",
        )
    if http_status == _HTTP_NOT_FOUND or http_status in _HTTP_REDIRECTS:
        return Unknown(
            f"nobody serves claims at this address (HTTP {http_status}): check FUMA_LEQI_URL and the path",
        )
    if http_status in _HTTP_OK:
        return Unknown("what answered isn't LeQi's claim service: check FUMA_LEQI_URL")
    return Unknown(f"unexpected answer (HTTP {http_status}): check FUMA_LEQI_URL")


def _refusal(envelope: Envelope) -> Refused | None:
    """Return a refusal by LeQi's platform, by the more specific of its two codes."""
    said = envelope.error.message if envelope.error else ""
    for code in (envelope.error.code if envelope.error else "", envelope.status or ""):
        if code in REFUSALS:
            return Refused(code, _with_words(REFUSALS[code], said))
    return None


def _judge_envelope(
    envelope: Envelope,
    result: ClaimResult | DecryptionError | None,
) -> Answer:
    error = envelope.error
    if envelope.status != OK_STATUS or error is not None:
        code = error.code if error else ""
        said = error.message if error else ""
        status = envelope.status or "missing"
        if (
            envelope.status == OK_STATUS
            and _BUSINESS_CODE.fullmatch(code)
            and code not in GRANTED_CODES
            and _IN_PROGRESS not in said
        ):
            return Refused(code, _with_words("LeQi refused the claim", said))
        trouble = (
            "trouble on LeQi's platform"
            if code in _PLATFORM or status in _PLATFORM
            else "LeQi's answer decides nothing"
        )
        codes = f"status {status}" + (f", error {code}" if code else "")
        return Unknown(one_line(_with_words(f"{trouble} ({codes})", said)))
    if isinstance(result, DecryptionError):
        return Unknown(
            f"LeQi's answer couldn't be decrypted ({result}): check FUMA_LEQI_KEY_FILE",
        )
    if result is None:
        return Unknown(
            "LeQi's answer couldn't be read: if it stays so, check FUMA_LEQI_KEY_FILE",
        )
    return _judge_result(result)


def _judge_result(result: ClaimResult) -> Answer:
    numbered = result.first_number is not None or result.last_number is not None
    if result.return_code not in GRANTED_CODES:
        if numbered or _IN_PROGRESS in result.return_message:
            code = one_line(result.return_code)
            return Unknown(
                _with_words(f"LeQi hasn't decided (returncode {code})", result.return_message),
            )
        return Refused(
            one_line(result.return_code),
            _with_words("LeQi refused the claim", result.return_message),
        )
    if result.first_number is None or result.last_number is None or result.quantity is None:
        return Unknown("LeQi granted a range without saying which: first, last or count missing")
    return Granted(
        as_claimed(result.first_number),
        as_claimed(result.last_number),
        result.quantity,
    )


def _decrypted(
    envelope: Envelope | None,
    cipher: Sm4,
) -> ClaimResult | DecryptionError | None:
    """Open `Data` where the base document allows it: status 200 and no error."""
    if envelope is None or envelope.data is None or envelope.error is not None or envelope.status != OK_STATUS:
        return None
    try:
        plain = cipher.decrypt(envelope.data)
    except DecryptionError as error:
        return error
    return read_claim_result(plain)


def _spoken(
    envelope: Envelope | None,
    result: ClaimResult | DecryptionError | None,
    content: bytes,
) -> Iterable[str]:
    """Return every text that may hold LeQi's notice to slow down."""
    if isinstance(result, ClaimResult):
        return (result.return_message,)
    if envelope is not None:
        return envelope.texts
    head = content[:_NOTICE_CHARACTERS]
    # A page of a firewall in China may come in either encoding.
    return (head.decode(errors="replace"), head.decode("gb18030", errors="replace"))


def _throttle(texts: Iterable[str]) -> Throttled | None:
    """Recognise the notice by either half: "请5分钟后重试" or "并发控制在x以内", x given or not."""
    for text in texts:
        plain = simplified(text[:_NOTICE_CHARACTERS])
        limit = _CONCURRENCY.search(plain)
        if limit is None and _WAIT.search(plain) is None:
            continue
        digits = re.search(r"[0-9]{1,6}", limit.group(1)) if limit else None
        concurrency = int(digits.group()) if digits else 0
        return Throttled(concurrency or None, one_line(text))
    return None


def _with_words(what: str, said: str) -> str:
    """Add LeQi's own words, where it used any, to what we make of them."""
    words = one_line(said)
    return f"{what} (LeQi: {words})" if words else what
