"""As whom the programs of PostgreSQL run: PostgreSQL refuses to run as root, so root lends them another account.

As an ordinary user nothing changes: they run as that user. As root they run as the owner of the data they work on, or
as `postgres`, or as `nobody`. No folder's permissions are opened for that account: where it can't pass through a
parent folder by itself (a repository below `/root`), it is given the one capability that lets it pass, and none else.
"""

import os
import pwd
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Accounts that may own the data of a server that root starts, in the order of preference.
_PREFERRED_NAMES = ("postgres", "nobody")

#: What the programs see of the caller's environment: none of its PG… variables, no language but C.
_ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath, "TZ": "UTC"}


class NoUsableAccountError(Exception):
    """Run by root, the programs of PostgreSQL need another account here, and none will do."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user that isn't root, by number."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True)
class Invocation:
    """How to start a program: every field is the argument of `subprocess.Popen` of the same name."""

    args: tuple[str, ...]
    env: dict[str, str]
    user: int | None
    group: int | None
    extra_groups: tuple[int, ...] | None


def account_for(data: Path) -> Account | None:
    """Choose who runs the programs that work on `data`; None: as whom we run ourselves.

    Raises `NoUsableAccountError` where we are root and the machine has neither `postgres` nor `nobody`.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and (owner := data.stat()).st_uid != 0:
        return Account(uid=owner.st_uid, gid=owner.st_gid)
    for name in _PREFERRED_NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(uid=entry.pw_uid, gid=entry.pw_gid)
    message = f"PostgreSQL can't run as root, and this machine has none of the users {', '.join(_PREFERRED_NAMES)}"
    raise NoUsableAccountError(message)


def give(path: Path, account: Account | None) -> None:
    """Make `path` the account's, where there is one."""
    if account is not None:
        os.chown(path, account.uid, account.gid)


def invocation(account: Account | None, arguments: Sequence[str], *, reaching: Sequence[Path]) -> Invocation:
    """Say how to run `arguments` as `account`, so that it can reach the folders in `reaching` and the program itself.

    Raises `NoUsableAccountError` where a folder is closed to the account and `setpriv` (util-linux) is missing.
    """
    if account is None:
        return Invocation(tuple(arguments), _ENVIRONMENT, user=None, group=None, extra_groups=None)
    closed = [path for path in (Path(arguments[0]), *reaching) if _is_closed_to(account, path)]
    if not closed:
        return Invocation(tuple(arguments), _ENVIRONMENT, user=account.uid, group=account.gid, extra_groups=())
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:{os.defpath}")
    if setpriv is None:
        message = f"uid {account.uid} can't reach {closed[0]}, and without setpriv (util-linux) root can't help it"
        raise NoUsableAccountError(message)
    passing = (
        setpriv,
        f"--reuid={account.uid}",
        f"--regid={account.gid}",
        "--clear-groups",
        # Else access(2), by which PostgreSQL looks for its own files, would not count the capability.
        "--securebits=+no_setuid_fixup",
        "--inh-caps=-all,+dac_override",
        "--ambient-caps=-all,+dac_override",
        "--bounding-set=-all,+dac_override",
        "--",
    )
    return Invocation((*passing, *arguments), _ENVIRONMENT, user=None, group=None, extra_groups=None)


def _is_closed_to(account: Account, path: Path) -> bool:
    """Whether a folder above `path` refuses the account, by its mode bits alone (an access list may still allow it)."""
    return any(not _may_pass(account, folder.stat()) for folder in path.resolve().parents)


def _may_pass(account: Account, folder: os.stat_result) -> bool:
    if folder.st_uid == account.uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == account.gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)
