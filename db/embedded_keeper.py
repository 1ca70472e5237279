"""The keeper of an embedded PostgreSQL: a small process that outlives the commands that use the server.

It starts the server, starts it anew if it dies under its users, and stops it as soon as nobody holds a lease. A lease
is a lock that the kernel releases when its holder ends, so a command that was killed can't keep the server running.
The keeper has a session of its own: signals for the command's process group don't reach it.

Run as `python -m db.embedded_keeper`, by `db.embedded` only. It exits 0 when the server is stopped (or another keeper
is at work), 1 with one line on stderr when the server can't be started.
"""

import contextlib
import json
import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

from db.embedded_account import NoUsableAccountError
from db.embedded_folder import FileLock, ServerFolder
from db.embedded_server import Server, ServerError, wheel_programs

#: Seconds between two looks at the server and at the leases.
_LOOK = 0.1


class Keeper:
    """Keeps one server running while anybody holds a lease on it."""

    def __init__(self, server: Server, leases: FileLock) -> None:
        """Nothing is started yet."""
        self._server = server
        self._leases = leases
        self._told_to_stop = False

    def tell_to_stop(self, _signal: int, _frame: FrameType | None) -> None:
        """Signal handler: stop the server although it may be in use, as when the machine shuts down."""
        self._told_to_stop = True

    def keep(self) -> None:
        """Keep the server until nobody needs it, then stop it.

        Raises `ServerError` when it ends without having been ready: starting it again would end the same way.
        """
        self._server.initialise()
        try:
            if self._server.adopt():
                self._watch(was_ready=True)
            while not self._is_unneeded():
                self._server.start()
                self._watch(was_ready=False)
        finally:
            self._server.stop()

    def _watch(self, *, was_ready: bool) -> None:
        """Return when the server isn't needed any more, or ended although it was once ready."""
        while not self._is_unneeded():
            was_ready = was_ready or self._server.is_ready()
            if self._server.has_ended():
                if not was_ready:
                    raise ServerError(self._server.why_it_ended())
                return
            time.sleep(_LOOK)

    def _is_unneeded(self) -> bool:
        """Whether to stop. From then on nobody else gets a lease, until this process has ended."""
        return self._told_to_stop or self._leases.try_exclusive()


def main() -> int:
    """Keep the server that the one argument (JSON: `folder`, `version`, `settings`) tells of."""
    orders = json.loads(sys.argv[1])
    folder = ServerFolder(Path(orders["folder"]))
    try:
        alone = FileLock(folder.keeper)
        if not alone.try_exclusive():
            return 0
        programs = wheel_programs(orders["version"])
        server = Server(folder, programs=programs, version=orders["version"], settings=orders["settings"])
        keeper = Keeper(server, FileLock(folder.leases))
        signal.signal(signal.SIGTERM, keeper.tell_to_stop)
        signal.signal(signal.SIGINT, keeper.tell_to_stop)
        keeper.keep()
    except (ServerError, NoUsableAccountError, OSError) as error:
        # The command that started this keeper may be gone; then nobody listens.
        with contextlib.suppress(BrokenPipeError):
            os.write(sys.stderr.fileno(), f"{error}\n".encode())
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
