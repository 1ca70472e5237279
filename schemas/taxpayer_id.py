"""The tax id of a company: its shape, which must hold, and the check character, which only most have.

Source: the domain, "Tax id"; the check is that of GB 32100-2015 (the 18-character unified social credit code, USCI).
"""

import re

#: 15 to 20 capital letters and digits.
PATTERN = r"^[0-9A-Z]{15,20}$"

_SHAPE = re.compile(PATTERN.strip("^$"))
_USCI_LENGTH = 18
_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
_MODULUS = len(_ALPHABET)
_WEIGHTS = tuple(pow(3, place, _MODULUS) for place in range(_USCI_LENGTH - 1))


class TaxpayerIdError(ValueError):
    """A text that can't be a tax id. Never quotes the text."""


def check_taxpayer_id(text: str) -> None:
    """Refuse with `TaxpayerIdError` a text that isn't 15 to 20 capital ASCII letters and digits."""
    if not _SHAPE.fullmatch(text):
        msg = "a tax id has 15 to 20 capital letters and digits"
        raise TaxpayerIdError(msg)


def usci_warning(text: str) -> str | None:
    """Say what speaks against an 18-character tax id being a USCI; None where nothing does, or for other lengths.

    A warning and never a refusal: older ids exist, and some real ids fail the check.
    """
    if len(text) != _USCI_LENGTH:
        return None
    if any(character not in _VALUES for character in text):
        return "the tax id has a character that no unified social credit code has (I, O, S, V or Z)"
    weighted = sum(_VALUES[character] * weight for character, weight in zip(text, _WEIGHTS, strict=False))
    expected = _ALPHABET[-weighted % _MODULUS]
    if text[-1] != expected:
        return f"the tax id's check character is not {expected}, as the rest of a unified social credit code asks for"
    return None
