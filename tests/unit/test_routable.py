"""Which statements look at all taxpayers at once: docs/scaling.md names them, for tables distributed by taxpayer."""

import importlib
import pkgutil
import re
from pathlib import Path

from sqlalchemy import TextClause

import db

PAGE = Path(__file__).resolve().parents[2] / "docs" / "scaling.md"
SCRIPT = PAGE.with_name("partition-by-taxpayer.sql")

#: Not the worker's: read by hand, or run while nobody works.
BY_HAND = {"audit", "invariants", "number_invariants", "listing", "migrate", "migrations", "embedded", "guards"}

_ONE = re.compile(r"taxpayer_id = (CAST\()?:taxpayer_id")
_OF_A_BATCH = re.compile(r"unnest\(CAST\(:taxpayer_ids|ANY\((CAST\()?:taxpayer_ids")


def statements() -> dict[str, str]:
    """Give the text of each statement of `db`, by `module.name`."""
    return {
        f"{module.name}.{name}": str(value)
        for module in pkgutil.iter_modules(db.__path__)
        if module.name not in BY_HAND
        for name, value in vars(importlib.import_module(f"db.{module.name}")).items()
        if isinstance(value, TextClause)
    }


def split_tables() -> list[str]:
    found = re.search(r"split CONSTANT text\[\] := ARRAY\[(.*?)\]", SCRIPT.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return re.findall(r"'([a-z_]+)'", found.group(1))


def test_the_page_names_every_statement_that_looks_at_all_taxpayers() -> None:
    tables = re.compile(rf"\b(FROM|JOIN|UPDATE|INTO)\s+({'|'.join(split_tables())})\b")
    over_split = {name: text for name, text in statements().items() if tables.search(text)}
    everywhere = {name for name, text in over_split.items() if not _ONE.search(text) and not _OF_A_BATCH.search(text)}

    row = next(line for line in PAGE.read_text(encoding="utf-8").splitlines() if "look for work over all" in line)
    named = set(re.findall(r"`([a-z_]+\._[A-Z_]+)`", row))

    assert len(over_split) > 30
    assert named == everywhere


def test_none_of_them_locks_rows() -> None:
    page = PAGE.read_text(encoding="utf-8")

    assert all("FOR UPDATE" not in text for name, text in statements().items() if f"`{name}`" in page)
