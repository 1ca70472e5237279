"""The licences of all that Fuma runs with, as docs/licences.md lists them: `make licences` writes it anew.

What a package says of itself is read from its own metadata: SPDX where it uses that, else the word it has for it.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

from packaging.markers import Marker

ROOT = Path(__file__).parents[1]
LOCK = ROOT / "requirements-runtime.lock"
PAGE = ROOT / "docs/licences.md"

#: What may be used as it is, as a part of a larger work, with its notice kept. LGPL and MPL: used unchanged, as
#: libraries that can be replaced.
ALLOWED = frozenset(
    {"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "LGPL-3.0-only", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0"},
)

#: Words that packages have for a licence, and what SPDX calls it.
_SPDX = {
    "Apache 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
}

_HEAD = """# Licences

What Fuma runs with, by `requirements-runtime.lock`, and under which licence each may be used.
`make licences` writes this page anew.
A test fails where it differs from the lock, or where a licence is none of those that `tools/licences.py` allows.

| package | version | licence |
| --- | --- | --- |
"""

_LINE = re.compile(r"^([a-z0-9._-]+)==([^ \\]+)(?: ; ([^\\]+?))? *\\?$", re.MULTILINE)


def locked(lock: str) -> Iterator[tuple[str, str]]:
    """Give name and version of every package of a lock that belongs on a machine like this."""
    for name, version, marker in _LINE.findall(lock):
        if not marker or Marker(marker).evaluate():
            yield name, version


def licence_of(package: str) -> str | None:
    """Give the licence of an installed package in SPDX's words; None where it names none that is known."""
    try:
        told = metadata(package)
    except PackageNotFoundError:
        return None
    classes = [said.rpartition(" :: ")[2] for said in told.get_all("Classifier") or [] if said.startswith("License")]
    named = [*(told.get_all("License-Expression") or []), *(told.get_all("License") or []), *classes]
    for said in named:
        spdx = _SPDX.get(said, said)
        if all(word in ALLOWED for word in re.split(r" (?:AND|OR) ", spdx)):
            return str(spdx)
    return None


def page() -> str:
    """Write the page. Raises `LookupError` that names the packages whose licence is not known or not allowed."""
    rows, strange = [], []
    for name, version in locked(LOCK.read_text(encoding="utf-8")):
        licence = licence_of(name)
        if licence is None:
            strange.append(name)
        rows.append(f"| {name} | {version} | {licence} |\n")
    if strange:
        message = f"no licence that is allowed: {', '.join(strange)}"
        raise LookupError(message)
    return _HEAD + "".join(rows)


if __name__ == "__main__":
    try:
        PAGE.write_text(page(), encoding="utf-8")
    except LookupError as error:
        sys.exit(f"licences: {error}")
