"""The upstream's journal: one JSON line for each thing that it did or saw, in the order in which it happened.

A line is written before what it tells of is acted upon, so a killed upstream has forgotten nothing; a line that the
kill tore is cut off, for nothing followed from it.
"""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Line = dict[str, Any]


class Journal:
    """Appends lines; usable from any thread."""

    def __init__(self, path: Path) -> None:
        """Go on behind the last whole line."""
        self._lock = threading.Lock()
        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.lseek(self._file, _whole(self._file), os.SEEK_SET)
        os.ftruncate(self._file, os.lseek(self._file, 0, os.SEEK_CUR))

    def write(self, line: Line) -> None:
        """Append one line; it is the system's when this returns."""
        text = json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            while text:
                text = text[os.write(self._file, text) :]


def read(path: Path) -> Iterator[Line]:
    """Give the whole lines of a journal."""
    with path.open("rb") as file:
        for line in file:
            if line.endswith(b"\n"):
                yield json.loads(line)


def _whole(file: int) -> int:
    """Tell where the last whole line ends."""
    size, step = os.fstat(file).st_size, 1 << 16
    end = size
    while end > 0:
        start = max(0, end - step)
        found = os.pread(file, end - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0
