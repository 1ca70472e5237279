"""JSON with one meaning only, bounded before it is read."""

import json
from typing import TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.strict_json import MAX_DEPTH, NotJSONError, UnfitJSONError, decode, depth, elements, read

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"))
Json: TypeAlias = "bool | int | str | list[Json] | dict[str, Json] | None"
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS | st.sampled_from(['"[{', "\\", '\\"[', "}]"]),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


def depth_of(value: Json) -> int:
    """Count the levels of a value the slow way."""
    match value:
        case list():
            return 1 + max(map(depth_of, value), default=0)
        case dict():
            return 1 + max(map(depth_of, value.values()), default=0)
        case _:
            return 0


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@given(VALUES, st.booleans())
def test_what_json_wrote_is_read_back(value: Json, ascii_only: bool) -> None:  # noqa: FBT001  (hypothesis gives it)
    assert read(decode(json.dumps(value, ensure_ascii=ascii_only).encode())) == value


@given(VALUES, st.booleans())
def test_the_depth_of_json_is_told_exactly(value: Json, ascii_only: bool) -> None:  # noqa: FBT001  (hypothesis gives it)
    assert depth(json.dumps(value, ensure_ascii=ascii_only).encode()) == depth_of(value)


def met(text: str) -> int:
    """Count how deep a reader may have got in a text, JSON or not, before it finds the fault."""
    level = deepest = 0
    quoted = escaped = False
    for character in text:
        if escaped:
            escaped = False
        elif quoted:
            quoted, escaped = character != '"', character == "\\"
        elif character == "\\":
            break
        else:
            quoted = character == '"'
            level += (character in "[{") - (character in "]}")
            deepest = max(deepest, level)
    return deepest


@given(st.text('[]{}"\\,:a', max_size=40))
def test_a_reader_never_gets_deeper_than_was_told(text: str) -> None:
    assert depth(text.encode()) >= met(text)


def test_the_deepest_json_is_read_and_one_level_more_is_not() -> None:
    assert read(decode(nested(MAX_DEPTH))) is not None
    with pytest.raises(UnfitJSONError, match="deep"):
        decode(nested(MAX_DEPTH + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        nested(100_000),
        b'"\\\\"' + b"[" * 100_000,
        b'["\\"",' + b"[" * 100_000,
        b'["[",' * 100_000,
    ],
)
def test_very_deep_nesting_is_refused_unread(body: bytes) -> None:
    with pytest.raises(UnfitJSONError, match="deep"):
        decode(body)


def test_brackets_in_texts_are_no_nesting() -> None:
    body = json.dumps(["[" * 1000, '"[[' * 1000, "\\[" * 1000]).encode()
    assert depth(body) == 1
    assert read(decode(body)) == ["[" * 1000, '"[[' * 1000, "\\[" * 1000]


@pytest.mark.parametrize("body", [b"\xff", b'"\xc3"', b'"\xed\xa0\x80"', b'"\xc0\x80"', "[]".encode("utf-16")])
def test_bytes_that_are_not_utf_8_are_no_json(body: bytes) -> None:
    with pytest.raises(NotJSONError):
        decode(body)


@pytest.mark.parametrize(
    "text",
    ["", " ", "{", "[1,]", "{'a':1}", "01", "1 2", "{}{}", '"\n"', '"\x00"', "\ufeff{}", "nul", '"\\x"', "{1:2}", "+1"],
)
def test_what_is_not_json_is_refused(text: str) -> None:
    with pytest.raises(NotJSONError):
        read(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"a":1,"a":1}', "same key twice"),
        ('{"a":{"b":1,"\\u0062":2}}', "same key twice"),
        ("[NaN]", "NaN"),
        ("-Infinity", "NaN"),
        ("1e400", "too large"),
        ("-1e400", "too large"),
        ("9223372036854775808", "64 bits"),
        ("-9223372036854775809", "64 bits"),
        ("9" * 100_000, "64 bits"),
        ('"a\\u0000b"', "NUL"),
        ('{"a\\u0000b":1}', "NUL"),
        ('["\\ud800"]', "surrogate"),
        ('["\\uDFFFx"]', "surrogate"),
        ('"\\udc00\\ud800"', "surrogate"),
    ],
)
def test_what_readers_understand_differently_is_refused(text: str, words: str) -> None:
    with pytest.raises(UnfitJSONError, match=words):
        read(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\\\u0000"', "\\u0000"),
        ('"\\\\ud800"', "\\ud800"),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        (" \r\n\t1 ", 1),
        ('[{"a":1},{"a":1}]', [{"a": 1}, {"a": 1}]),
    ],
)
def test_what_only_looks_doubtful_is_read(text: str, value: object) -> None:
    assert read(text) == value


def test_errors_never_repeat_the_text() -> None:
    for text in ('{"secret":1,"secret":2}', "secret", '"secret', '["secret\\u0000"]', '{"secret":1e999}'):
        with pytest.raises((NotJSONError, UnfitJSONError)) as refusal:
            read(text)
        assert "secret" not in str(refusal.value)


@settings(max_examples=30)
@given(st.lists(VALUES, max_size=5), st.sampled_from([",", " , ", ",\n"]))
def test_an_array_is_cut_into_exactly_its_elements(values: list[Json], separator: str) -> None:
    written = [json.dumps(value, ensure_ascii=False) for value in values]
    assert list(elements(f" [ {separator.join(written)} ]\n")) == written


def test_elements_that_are_not_fit_are_cut_out_as_they_stand() -> None:
    unfit = ['{"a":1, "a":2}', "NaN", "9" * 10_000, '"\\ud800"', "1e999"]
    assert list(elements(f"[{','.join(unfit)}]")) == unfit


@pytest.mark.parametrize("text", ["", "{}", "[", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "[1]]", "[1] 2", "[]]", "[a]"])
def test_what_is_no_array_has_no_elements(text: str) -> None:
    with pytest.raises(NotJSONError):
        list(elements(text))
