"""Who asks: the direct unit's key and the serial of each claim."""

import re
import secrets
import string
from pathlib import Path
from typing import Final

from schemas.leqi import LONGEST_BUSINESS_SERIAL

_ALPHANUMERICS: Final = string.ascii_letters + string.digits
_TAIL_LENGTH: Final = 32
_KEY: Final = re.compile(r"[0-9a-fA-F]{32}")
_LONGEST_KEY_FILE: Final = 4096  # bytes: a key with every kind of white space around it


class KeyFileError(ValueError):
    """The key file can't be used; the text names the file and the fault, never the key."""


def random_tail() -> str:
    """Return 32 random alphanumerics from the system's secure source (190 bits)."""
    return "".join(secrets.choice(_ALPHANUMERICS) for _ in range(_TAIL_LENGTH))


def new_business_serial(using_unit_id: str, direct_unit_id: str) -> str:
    """Return a serial (`ywlsh`) for a new claim, by the base document's rule (5.1).

    It is the using unit's id, the direct unit's id and 32 random alphanumerics.
    Raises `ValueError` where that would pass LeQi's 100 characters.
    """
    serial = f"{using_unit_id}{direct_unit_id}{random_tail()}"
    if len(serial) > LONGEST_BUSINESS_SERIAL:
        message = (
            f"using unit's id and direct unit's id are too long together: "
            f"{len(using_unit_id)} + {len(direct_unit_id)} characters, "
            f"{LONGEST_BUSINESS_SERIAL - _TAIL_LENGTH} are allowed"
        )
        raise ValueError(message)
    return serial


def read_key(path: Path) -> bytes:
    """Return the SM4 key of a file that holds its 32 hex digits, white space aside.

    Raises `KeyFileError`, whose text may be shown to anybody.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST_KEY_FILE + 1)
    except OSError as error:
        message = f"the key file {path} can't be read: {error.strerror}"
        raise KeyFileError(message) from None
    if len(content) > _LONGEST_KEY_FILE:
        message = f"the key file {path} is too large: it must hold 32 hex digits and nothing else"
        raise KeyFileError(message)
    digits = "".join(content.decode("utf-8-sig", errors="replace").split())
    if not _KEY.fullmatch(digits):
        message = f"the key file {path} must hold 32 hex digits (an SM4 key of 16 bytes) and nothing else"
        raise KeyFileError(message)
    return bytes.fromhex(digits)
