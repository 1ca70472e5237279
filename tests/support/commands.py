"""Running `fuma` from tests."""

import json
import sys
from collections.abc import Callable

#: The command as a process of its own.
FUMA = (sys.executable, "-m", "worker")

#: Runs a command that must end with `status` and gives what it printed: on stderr if it failed, else on stdout.
Fuma = Callable[..., str]


def objects(printed: str) -> list[dict[str, object]]:
    """Read one JSON array of objects."""
    rows: list[dict[str, object]] = json.loads(printed)
    return rows
