"""JSON as a worker may trust it: bounded in depth, and with one meaning only.

Python's own reader takes more than JSON (NaN), keeps the last of two equal keys, and makes integers of any length and
texts that no UTF-8 has. Each of these means something else to another reader of the same bytes, so each is refused.
"""

import json
import re
from array import array
from collections.abc import Iterator
from itertools import accumulate
from typing import NoReturn

from schemas.fields import LARGEST_INTEGER, SMALLEST_INTEGER

#: How deep arrays and objects may stand in each other; a batch of our events needs 3.
MAX_DEPTH = 64

_SPACE = " \t\n\r"
_NOT_SPACE = re.compile(rf"[^{_SPACE}]")
_LONGEST_INTEGER = len(str(SMALLEST_INTEGER))
#: An escape that may stand for NUL or half a surrogate pair; whether it does, only the read text tells.
_DOUBTFUL_ESCAPE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNFIT_CHARACTER = re.compile("[\x00\ud800-\udfff]")
_STRUCTURE = b'"[]{}'
_ALL_BUT_STRUCTURE = bytes(set(range(256)) - set(_STRUCTURE))
#: Brackets as signed bytes: +1 opens, -1 closes.
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")


class NotJSONError(ValueError):
    """The text is no JSON at all. Its message never quotes the text."""


class UnfitJSONError(ValueError):
    """JSON, but with something in it that readers understand differently. Its message never quotes the text."""


def depth(body: bytes) -> int:
    """Tell how deep brackets stand in each other in a JSON text, without reading it.

    Exact for JSON. For anything else never less than what a reader meets before it finds the fault.
    """
    if b"\\" in body:
        # Escaped backslashes first, so that what is left before a quote does escape it.
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    structure = body.translate(None, _ALL_BUT_STRUCTURE).replace(b'""', b"")
    if b'"' in structure:
        # Some texts have brackets in them: only what stands outside of quotes counts.
        structure = b"".join(structure.split(b'"')[::2])
    return max(accumulate(array("b", structure.translate(_STEPS)), initial=0))


def decode(body: bytes) -> str:
    """Give the text of a body whose depth is bounded.

    Raises `NotJSONError` for what isn't UTF-8, `UnfitJSONError` for deeper nesting than `MAX_DEPTH`.
    """
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and depth(body) > MAX_DEPTH:
        msg = f"nested more than {MAX_DEPTH} deep"
        raise UnfitJSONError(msg)
    try:
        return body.decode()
    except UnicodeDecodeError:
        msg = "not UTF-8"
        raise NotJSONError(msg) from None


def read(text: str) -> object:
    """Read one JSON value from what `decode` gave; raises `NotJSONError` or `UnfitJSONError`."""
    text = text.strip(_SPACE)
    try:
        value, end = _STRICT.raw_decode(text)
    except json.JSONDecodeError as fault:
        _not_json(fault.pos)
    if end != len(text):
        _not_json(end)
    if "\\u" in text and _DOUBTFUL_ESCAPE.search(text) and any(map(_UNFIT_CHARACTER.search, _texts(value))):
        msg = "a text has a NUL character or half a surrogate pair"
        raise UnfitJSONError(msg)
    return value


def elements(text: str) -> Iterator[str]:
    """Cut a JSON array into the texts of its elements, exactly as they stand there, fit or not.

    Raises `NotJSONError`, perhaps after some elements.
    """
    text = text.strip(_SPACE)
    if not text.startswith("["):
        _not_json(0)
    end = _skip_space(text, 1)
    closed = text.startswith("]", end)
    while not closed:
        place = end
        try:
            _, end = _LENIENT.raw_decode(text, place)
        except json.JSONDecodeError as fault:
            _not_json(fault.pos)
        yield text[place:end]
        end = _skip_space(text, end)
        closed = text.startswith("]", end)
        if not closed and not text.startswith(",", end):
            _not_json(end)
        end = end if closed else _skip_space(text, end + 1)
    if end + 1 != len(text):
        _not_json(end + 1)


def _not_json(place: int) -> NoReturn:
    msg = f"not JSON from character {place} on"
    raise NotJSONError(msg) from None


def _skip_space(text: str, place: int) -> int:
    found = _NOT_SPACE.search(text, place)
    return found.start() if found else len(text)


def _texts(value: object) -> Iterator[str]:
    """Give every text of a JSON value, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        for member in value.values():
            yield from _texts(member)
    elif isinstance(value, list):
        for element in value:
            yield from _texts(element)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        msg = "an object has the same key twice"
        raise UnfitJSONError(msg)
    return members


def _integer(digits: str) -> int:
    # Length first: reading very many digits takes very long.
    value = int(digits) if len(digits) <= _LONGEST_INTEGER else LARGEST_INTEGER + 1
    if not SMALLEST_INTEGER <= value <= LARGEST_INTEGER:
        msg = "an integer doesn't fit 64 bits"
        raise UnfitJSONError(msg)
    return value


def _real(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        msg = "a number is too large"
        raise UnfitJSONError(msg)
    return value


def _constant(_name: str) -> NoReturn:
    msg = "NaN and Infinity are no JSON"
    raise UnfitJSONError(msg)


def _unread(_digits: str) -> None:
    """Stand in for a number that nobody looks at."""


_STRICT = json.JSONDecoder(
    object_pairs_hook=_object,
    parse_int=_integer,
    parse_float=_real,
    parse_constant=_constant,
)
#: Finds where a value ends, whatever is in it.
_LENIENT = json.JSONDecoder(parse_int=_unread, parse_float=_unread, parse_constant=_unread)
