"""The folder of an embedded PostgreSQL: what lies where under `FUMA_HOME/postgres`, and the locks in it."""

import fcntl
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

#: The server is reached through a socket in a folder of its own, so every one of them can have the same port.
PORT = 5432


class FileLock:
    """An advisory lock on a file (`flock`): the kernel releases it when its holder ends, however it ends.

    Every instance is a holder of its own, also within one process.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, making it where it is missing; nothing is locked yet."""
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_exclusive(self) -> bool:
        """Hold it alone, if nobody else holds it at all."""
        return self._try(fcntl.LOCK_EX)

    def try_shared(self) -> bool:
        """Hold it together with others, if nobody holds it alone."""
        return self._try(fcntl.LOCK_SH)

    def release(self) -> None:
        """Hold it no longer."""
        fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Release it and close the file."""
        os.close(self._descriptor)

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self._descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@dataclass(frozen=True, slots=True)
class ServerFolder:
    """`FUMA_HOME/postgres`."""

    path: Path

    @classmethod
    def under(cls, home: Path) -> "ServerFolder":
        """Name the folder under `home`; nothing is made yet."""
        return cls(home.resolve() / "postgres")

    def make(self) -> None:
        """Make the folder. Others may pass through it, as the server's account must, but not look into it."""
        if not self.path.is_dir():
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(0o711)

    @property
    def data(self) -> Path:
        """PostgreSQL's data directory."""
        return self.path / "data"

    @property
    def password(self) -> Path:
        """The password of the role `fuma`."""
        return self.path / "password"

    @property
    def log(self) -> Path:
        """What the server says; the log of earlier starts lies beside it once this one grows."""
        return self.path / "server.log"

    @property
    def socket_record(self) -> Path:
        """Names the folder of the server's socket."""
        return self.path / "socket-directory"

    @property
    def leases(self) -> Path:
        """Held shared by everyone who uses the server; held alone by the keeper while it stops the server."""
        return self.path / "leases.lock"

    @property
    def starting(self) -> Path:
        """Held alone by the one user of the server who sees to it that it runs."""
        return self.path / "starting.lock"

    @property
    def keeper(self) -> Path:
        """Held alone by the keeper as long as it lives."""
        return self.path / "keeper.lock"

    @property
    def mark(self) -> str:
        """What the command line of every process of this folder's server has in it, and no other's."""
        return f"fuma-{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}"

    def socket_directory(self) -> Path | None:
        """Where the server's socket is, if it was ever started and not stopped since."""
        try:
            return Path(self.socket_record.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None

    def server_status(self) -> tuple[int, str] | None:
        """Process id and status (`starting`, `ready`, …) as the server's own file has them; it may be a dead one's."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
            return int(lines[0]), lines[7].strip() if len(lines) > 7 else "starting"  # noqa: PLR2004 (line 8 of 8)
        except (FileNotFoundError, IndexError, ValueError):
            # Missing, or being written just now.
            return None
