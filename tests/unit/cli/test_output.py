"""How rows are shown: JSON for programs, tables for people."""

import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from uuid import UUID

import pytest

from worker.cli.output import Layout, Row, print_json, print_table, printable, readable

LAYOUT = Layout("things", (("first", "second"), ("third",)))
RANGE = UUID("6f1d2a0c-54a7-5b43-9d0a-3b1d6c7f2e11")
INSTANT = datetime(2026, 12, 31, 16, 0, 0, 5, tzinfo=UTC)


def row(first: object, second: object = "b", third: object = "c") -> Row:
    return {"first": first, "second": second, "third": third}


def shown_as_json(capsys: pytest.CaptureFixture[str], *values: object) -> list[object]:
    print_json([{"value": value} for value in values])
    return [each["value"] for each in json.loads(capsys.readouterr().out)]


def test_json_is_one_array_of_objects(capsys: pytest.CaptureFixture[str]) -> None:
    print_json(iter([row(1), row(2)]))
    assert json.loads(capsys.readouterr().out) == [row(1), row(2)]


def test_no_rows_are_an_empty_array(capsys: pytest.CaptureFixture[str]) -> None:
    print_json([])
    assert json.loads(capsys.readouterr().out) == []


def test_json_values(capsys: pytest.CaptureFixture[str]) -> None:
    given = (None, True, 3, "甲", RANGE, date(2026, 6, 15), INSTANT, Decimal("0.2000"), ["a"], {"at": INSTANT})
    assert shown_as_json(capsys, *given) == [
        None,
        True,
        3,
        "甲",
        str(RANGE),
        "2026-06-15",
        "2026-12-31T16:00:00.000005Z",
        0.2,
        ["a"],
        {"at": "2026-12-31T16:00:00.000005Z"},
    ]


def test_json_says_the_same_where_the_stream_lacks_its_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_json([row("甲公司 🧾")])
    stream.flush()
    assert json.loads(stream.buffer.getvalue()) == [row("甲公司 🧾")]


def test_rows_are_printed_as_they_come(capsys: pytest.CaptureFixture[str]) -> None:
    def rows() -> Iterator[Row]:
        yield row(1)
        assert '"first": 1' in capsys.readouterr().out
        yield row(2)

    print_json(rows())
    assert '"first": 2' in capsys.readouterr().out


def test_a_table_for_a_file_has_a_line_for_each_row_and_folds_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    long = "x" * 500
    print_table([row(long), row("a")], LAYOUT, 10)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines if "─" not in line] == [
        ["first", "second", "third"],
        [long, "b", "c"],
        ["a", "b", "c"],
    ]


def test_brackets_are_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([row("[bold]name[/bold]")], LAYOUT, 10)
    assert "[bold]name[/bold]" in capsys.readouterr().out


@pytest.mark.parametrize(("count", "told"), [(2, False), (3, True)])
def test_a_table_tells_that_there_are_more_rows(count: int, told: bool, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: FBT001
    print_table([row(place) for place in range(count)], LAYOUT, 2)
    assert ("there are more" in capsys.readouterr().out) is told


def test_a_table_without_rows_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([], LAYOUT, 2)
    assert capsys.readouterr().out == "no things\n"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("columns", "stacked"), [(30, True), (100, False)])
def test_a_narrow_terminal_gets_fields_below_each_other(
    columns: int,
    stacked: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    print_table([row("one" * 5, "two" * 5)], LAYOUT, 2)
    lines = [line.split() for line in terminal.getvalue().splitlines()]
    assert (["one" * 5, "c"] in lines) is stacked
    assert (["one" * 5, "two" * 5, "c"] in lines) is not stacked


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (INSTANT, "2027-01-01 00:00:00"),
        (Decimal("0.2000"), "0.2"),
        (Decimal("0.0000"), "0"),
        (Decimal("1.0000"), "1"),
        (RANGE, str(RANGE)),
        ("甲公司", "甲公司"),
    ],
)
def test_values_for_people(value: object, expected: str) -> None:
    assert readable(value) == expected


@pytest.mark.parametrize("text", ["\x1b[2J", "a\nb", "a\u202eb", "\x00", "\ud800"])
def test_what_would_upset_a_terminal_is_escaped(text: str) -> None:
    assert printable(text).isprintable()
    assert printable(text) != text
