"""Arrays are written so that PostgreSQL reads them as they were."""

from datetime import date
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from db.arrays import dates, integers, texts, texts_or_nulls, uuids

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.text('\\\\",{} N', max_size=5)


def as_postgres_reads(written: str) -> list[str | None]:
    """Read an array as PostgreSQL's documentation says."""
    assert written[0] == "{"
    assert written[-1] == "}"
    elements: list[str | None] = []
    rest = written[1:-1]
    while rest:
        if rest.startswith('"'):
            text, at = "", 1
            while rest[at] != '"':
                at += rest[at] == "\\"
                text, at = text + rest[at], at + 1
            elements.append(text)
            rest = rest[at + 1 :]
        else:
            word, comma, behind = rest.partition(",")
            elements.append(None if word == "NULL" else word)
            rest = comma + behind
        assert not rest or rest[0] == ","
        rest = rest[1:]
    return elements


@given(st.lists(TEXTS))
def test_texts(values: list[str]) -> None:
    assert as_postgres_reads(texts(values)) == values


@given(st.lists(TEXTS | st.none()))
def test_texts_or_nulls(values: list[str | None]) -> None:
    assert as_postgres_reads(texts_or_nulls(values)) == values


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers(values: list[int]) -> None:
    assert as_postgres_reads(integers(values)) == [str(each) for each in values]


@given(st.lists(st.dates(date(2000, 1, 1))))
def test_dates(values: list[date]) -> None:
    assert as_postgres_reads(dates(values)) == [each.isoformat() for each in values]


def test_uuids() -> None:
    given_id: UUID = uuid4()

    assert as_postgres_reads(uuids([given_id, str(given_id)])) == [str(given_id)] * 2
