"""Access tokens of using units that the direct unit doesn't control.

They live 60 minutes and are renewed by others, so the file is read at each call.
"""

import re
from pathlib import Path
from typing import Final

_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")
_TOKEN: Final = re.compile(r"[!-~]+")
_LONGEST: Final = 8192  # bytes


class TokenError(Exception):
    """There is a token, but it can't be used; the text never shows it."""


class TokenFolder:
    """A folder with one file for each using unit that needs a token, named as its id."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; it needn't exist before a token is asked for."""
        self._folder = folder

    def token_for(self, using_unit_id: str) -> str | None:
        """Return the unit's token as of now, None if it has no file (a unit under control).

        Raises `TokenError` if the file can't be read or holds anything but one token.
        """
        if not _FILE_NAME.fullmatch(using_unit_id):
            return None
        path = self._folder / using_unit_id
        try:
            with path.open("rb") as file:
                content = file.read(_LONGEST + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            message = f"the access token file {path} can't be read: {error.strerror}"
            raise TokenError(message) from None
        token = content.decode("ascii", errors="replace").strip()
        if len(content) > _LONGEST or not _TOKEN.fullmatch(token):
            message = f"the access token file {path} must hold one token and nothing else"
            raise TokenError(message)
        return token
