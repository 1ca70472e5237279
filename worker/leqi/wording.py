"""Words from outside, made fit for a log line, a table and a database column."""

import re
import unicodedata
from typing import Final

LONGEST_MESSAGE: Final = 200
LONGEST_NUMBER: Final = 64

# Keys, tokens, ciphertext and serials are long unbroken runs; words and codes are not.
_UNBROKEN: Final = re.compile(r"[A-Za-z0-9+/=_]{28,}")


def one_line(text: str, longest: int = LONGEST_MESSAGE) -> str:
    """Return `text` on one line: printable, at most `longest` characters, no long secrets.

    A clumsy server may quote our own request or key back at us: runs of 28 and more letters and
    digits become `[…]`.
    """
    # Cut first: what follows must not cost time in proportion to a hostile answer.
    printable = "".join(character if character.isprintable() else " " for character in text[: 20 * longest])
    line = " ".join(_UNBROKEN.sub("[…]", printable).split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def as_claimed(number: str) -> str:
    """Return a number as it was granted, in a form that can be stored whatever it is."""
    folded = "".join(
        character if character.isascii() and character.isprintable() else "?"
        for character in number[: LONGEST_NUMBER + 1]
    )
    return folded[:LONGEST_NUMBER]


def simplified(text: str) -> str:
    """Return `text` with full-width forms made plain and no white space, for recognition."""
    return "".join(unicodedata.normalize("NFKC", text).split())
