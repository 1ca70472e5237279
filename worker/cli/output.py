"""How commands answer: one JSON array for programs, tables and lines for people."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from uuid import UUID

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from worker.clock import CHINA

Row = Mapping[str, object]

#: Shorter words above a column, so that its values decide how wide it is.
_HEADINGS = {"channel_mode": "channel", "automatic_claims": "automatic"}

#: Wide enough that no table for a file or another program is folded.
_UNFOLDED = 10_000


@dataclass(frozen=True, slots=True)
class Layout:
    """How a table shows its rows.

    `stacked` groups the fields for a terminal that is too narrow for a column each: each group is one column, its
    fields stand below each other. Together the groups are the columns, from left to right.
    """

    #: What a row is, in the plural.
    of: str
    stacked: tuple[tuple[str, ...], ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Every field, from left to right."""
        return tuple(field for group in self.stacked for field in group)


def print_json(rows: Iterable[Row]) -> None:
    """Print one JSON array of objects, row by row as they come."""
    # JSON is UTF-8; on a stream that isn't, escapes say the same.
    escaped = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    sys.stdout.write("[")
    separator = "\n"
    for row in rows:
        values = {name: _plain(value) for name, value in row.items()}
        sys.stdout.write(separator + json.dumps(values, ensure_ascii=escaped))
        separator = ",\n"
    sys.stdout.write("\n]\n" if separator.startswith(",") else "]\n")


def print_table(rows: Iterable[Row], layout: Layout, limit: int) -> None:
    """Print up to `limit` rows as a table that fits the terminal, and say when there are more.

    Where the output is no terminal, every row is one line and nothing is folded.
    """
    console = Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=_UNFOLDED)
    coming: Iterator[Row] = iter(rows)
    shown = list(islice(coming, limit))
    if not shown:
        console.print(f"no {layout.of}")
        return
    wide = _table(shown, [(field,) for field in layout.fields])
    unfolded = Measurement.get(console, console.options.update(max_width=_UNFOLDED), wide).maximum
    console.print(wide if unfolded <= console.width else _table(shown, layout.stacked))
    if next(coming, None) is not None:
        console.print(f"{limit} {layout.of} shown, there are more: narrow the question, or raise --limit")


def say(line: str) -> None:
    """Print one line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def warn(line: str) -> None:
    """Print one line to stderr: something to look at that does not stop the command."""
    sys.stderr.write(f"fuma: {line}\n")


def _table(rows: Sequence[Row], columns: Sequence[tuple[str, ...]]) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column in columns:
        numeric = all(isinstance(row[field], int) for row in rows for field in column)
        table.add_column(
            Text("\n".join(_HEADINGS.get(field, field).replace("_", " ") for field in column)),
            justify="right" if numeric else "left",
            overflow="fold",
        )
    stacked = any(len(column) > 1 for column in columns)
    for row in rows:
        # Text, not str: brackets in a name are no markup.
        table.add_row(*(Text("\n".join(readable(row[field]) for field in column)) for column in columns))
        if stacked:
            table.add_section()
    return table


def _plain(value: object) -> object:
    """Give a value the form in which JSON holds it; instants in UTC."""
    match value:
        case datetime():
            plain: object = value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case date():
            plain = value.isoformat()
        case UUID():
            plain = str(value)
        case Decimal():
            plain = float(value)
        case list() | tuple():
            plain = [_plain(item) for item in value]
        case Mapping():
            plain = {name: _plain(item) for name, item in value.items()}
        case _:
            plain = value
    return plain


def readable(value: object) -> str:
    """Give a value the form in which people read it; instants in China's time."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(CHINA).strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, list):
        return ", ".join(readable(item) for item in value)
    return printable(str(value))


def printable(text: str) -> str:
    """Escape what would move the cursor or hide in a terminal: some texts came from outside."""
    return text if text.isprintable() else "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)
