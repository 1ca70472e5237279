"""Who works at the keyboard: kept in the history of what a command changes."""

import getpass
import os


def operator() -> str:
    """Give the login name of whoever runs the command, or the number of the user where it has no name."""
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):
        return f"user {os.getuid()}"
