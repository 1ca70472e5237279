"""Wire forms of LeQi's claim service `QDFPPLFM`, as the side that asks sees them.

Source: base document V4.000, section 5.1, and the authority's two Q&As of 2024-2025.
Here is only what an answer says; what it means for a claim is the client's to judge.
The readers never raise: an answer comes from outside, so anything may stand in it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from pydantic_core import from_json, to_json

from schemas.vocabulary import ChannelMode

SERVICE: Final = "QDFPPLFM"
"""`fwbm`: "batch pre-assigned numbers"."""

CAPABILITIES: Final[Mapping[ChannelMode, str]] = {
    ChannelMode.SELF_USE: "202007",
    ChannelMode.ON_BEHALF: "202077",
    ChannelMode.JOINT: "202076",
}
"""`nlbm`: the base capability of each channel mode."""

OK_STATUS: Final = "200"
"""The only `httpStatusCode` whose `Data` is decrypted."""

GRANTED_CODES: Final = frozenset({"00", "0"})
"""`returncode` of a grant: `00`, which a sender of numbers shortens to 0."""

LARGEST_CLAIM: Final = 5000
LONGEST_TAXPAYER_ID: Final = 20
LONGEST_BUSINESS_SERIAL: Final = 100

_LONGEST_QUANTITY = 10  # digits of `lysl`
_LONGEST_CODE = 32
_MOST_WRAPPINGS = 2  # times that `body` may be JSON within JSON


@dataclass(frozen=True, slots=True)
class ClaimBody:
    """The request before encryption; raises `ValueError` where LeQi's own limits forbid it."""

    taxpayer_id: str
    quantity: int
    business_serial: str

    def __post_init__(self) -> None:
        """Refuse what could only come back as a refusal."""
        if not 1 <= self.quantity <= LARGEST_CLAIM:
            message = f"LeQi grants 1 to {LARGEST_CLAIM} numbers a call"
            raise ValueError(message)
        if not 1 <= len(self.taxpayer_id) <= LONGEST_TAXPAYER_ID:
            message = f"the tax id must have 1 to {LONGEST_TAXPAYER_ID} characters"
            raise ValueError(message)
        if not 1 <= len(self.business_serial) <= LONGEST_BUSINESS_SERIAL:
            message = f"the business serial must have 1 to {LONGEST_BUSINESS_SERIAL} characters"
            raise ValueError(message)
        text = self.taxpayer_id + self.business_serial
        if not (text.isascii() and text.isprintable()):
            message = "tax id and business serial must be printable ASCII"
            raise ValueError(message)

    def encode(self) -> bytes:
        r"""Return compact JSON in UTF-8; characters stand as themselves, never as `\uXXXX`."""
        return to_json(
            {
                "nsrsbh": self.taxpayer_id,
                "lysl": self.quantity,
                "ywlsh": self.business_serial,
            },
        )


@dataclass(frozen=True, slots=True)
class ErrorBlock:
    """`Response.Error`: what refused the call; either part may be missing (empty)."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """An answer's outer form, both of its spellings brought to one."""

    status: str | None
    """`httpStatusCode` as text, whether it came as a string or a number."""
    data: str | None
    """`Response.Data`, still encrypted; None where there is none."""
    error: ErrorBlock | None
    texts: tuple[str, ...]
    """Every text of the answer but `Data`, in its order: notices turn up in any field."""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """`Data` after decryption; None stands for missing or unreadable."""

    return_code: str
    return_message: str
    first_number: str | None
    last_number: str | None
    quantity: int | None


def read_envelope(content: bytes) -> Envelope | None:
    """Return the envelope, or None if `content` isn't a JSON object in UTF-8.

    Nesting is bounded by the parser (some 200 levels), the size by whoever fetched it.
    """
    outer = _json(content)
    if not isinstance(outer, dict):
        return None
    body = _unwrapped(outer.get("body"))
    response = body.get("Response") if isinstance(body, dict) else None
    response = response if isinstance(response, dict) else {}
    data = response.get("Data")
    return Envelope(
        status=_code(outer.get("httpStatusCode")) or None,
        data=data if isinstance(data, str) and data.strip() else None,
        error=_error(response.get("Error")),
        texts=tuple(text for text in _texts({**outer, "body": body}) if text != data),
    )


def read_claim_result(content: bytes) -> ClaimResult | None:
    """Return what decrypted `Data` says, or None if it says nothing about a claim."""
    fields = _json(content)
    if not isinstance(fields, dict):
        return None
    return_code = _code(fields.get("returncode"))
    if not return_code:
        return None
    return ClaimResult(
        return_code=return_code,
        return_message=_text(fields.get("returnmsg")),
        first_number=_text(fields.get("fpqshm")) or None,
        last_number=_text(fields.get("fpzzhm")) or None,
        quantity=_quantity(fields.get("lysl")),
    )


def _json(content: bytes) -> object:
    """Return the parsed value, None for anything unreadable (JSON's null is no answer either)."""
    try:
        parsed: object = from_json(content.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=False)
    except ValueError:
        return None
    return parsed


def _unwrapped(body: object) -> object:
    """Return `body` as an object, whether it came as one or as JSON text."""
    for _ in range(_MOST_WRAPPINGS):
        if not isinstance(body, str):
            break
        inner = _json(body.encode())
        if inner is None:
            break
        body = inner
    return body


def _error(value: object) -> ErrorBlock | None:
    if isinstance(value, str) and value.strip():
        return ErrorBlock(code="", message=value.strip())
    if not isinstance(value, dict):
        return None
    block = ErrorBlock(code=_code(value.get("Code")), message=_text(value.get("Message")))
    # Some serializers write an empty block where there is no error.
    return block if block.code or block.message else None


def _texts(value: object) -> Iterator[str]:
    """Yield every string within `value`, depth first (the parser has bounded the depth)."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for member in value:
            yield from _texts(member)


def _text(value: object) -> str:
    """Return a string or whole number as text; empty for anything else.

    A number is exact here, whatever its length: Python's integers are.
    """
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return ""


def _code(value: object) -> str:
    """Return a code as text; 200.0, which some senders make of 200, included."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    code = _text(value)
    return code if len(code) <= _LONGEST_CODE else ""


def _quantity(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    digits = _text(value)
    negative = digits.startswith("-")
    magnitude = digits.removeprefix("-")
    if not (magnitude.isascii() and magnitude.isdigit()) or len(magnitude) > _LONGEST_QUANTITY:
        return None
    return -int(magnitude) if negative else int(magnitude)
