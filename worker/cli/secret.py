"""Secrets that a command is given: by a file or by the environment, never by a word of the command line."""

import os
from pathlib import Path

from worker.cli.failures import CommandError

_LONGEST = 4096


def read_secret(variable: str) -> str | None:
    """Give the secret of an environment variable, or of the file that `<variable>_FILE` names; None where neither is.

    White space around it is no part of it. Raises `CommandError`, whose text shows neither.
    """
    given, file = os.environ.get(variable, ""), os.environ.get(f"{variable}_FILE", "")
    if given and file:
        message = f"set {variable} or {variable}_FILE, not both"
        raise CommandError(message)
    found = _content(variable, Path(file)) if file else given
    secret = found.strip()
    if file and not secret:
        message = f"the file of {variable}_FILE is empty"
        raise CommandError(message)
    if "\0" in secret or len(secret) > _LONGEST:
        message = f"{variable} is no password: it is longer than {_LONGEST} characters or holds a NUL"
        raise CommandError(message)
    return secret or None


def _content(variable: str, path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(_LONGEST + 2)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"the file of {variable}_FILE can't be read: {why}"
        raise CommandError(message) from None
