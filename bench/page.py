"""The tables of docs/performance.md, which are never written by hand."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.report import tables

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"

#: What stands where nothing was measured yet.
UNMEASURED = "(not measured yet: `make bench` writes it)"

_PLOT = "![Throughput, latency and growth](../bench/results/latest.png)"
_PLACE = re.compile(r"(<!-- measured: ([a-z]+) -->\n\n).*?(\n\n<!-- end -->)", re.DOTALL)


def write_page(results: Mapping[str, Any], page: Path = PAGE) -> None:
    """Put the results into the page's tables."""
    page.write_text(filled(page.read_text(encoding="utf-8"), results), encoding="utf-8")


def filled(text: str, results: Mapping[str, Any]) -> str:
    """Give a page's text with each marked place filled by the table of its name."""
    made = {**tables(results), "plot": _PLOT}
    return _PLACE.sub(lambda found: found[1] + made[found[2]] + found[3], text)


def places(text: str) -> dict[str, str]:
    """Give what stands in each marked place of a page, by its name."""
    return {found[2]: found[0].removeprefix(found[1]).removesuffix(found[3]) for found in _PLACE.finditer(text)}
