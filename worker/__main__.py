"""`python -m worker` is `fuma`."""

import os
import sys
import threading
import time

from worker.cli.entry import run

#: Seconds for threads that have nothing more to do to end.
_GRACE = 0.5


def main() -> None:
    """Run the command line and end the process with its status.

    A thread that still waits for a server, beyond all time that its work was given, holds up no exit: what it had in
    work is done anew, as after SIGKILL.
    """
    status = run(sys.argv[1:])
    if _some_go_on():
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _some_go_on() -> bool:
    """Tell whether threads go on. Python would wait even for daemons, where they belong to a pool."""
    ends_at = time.monotonic() + _GRACE
    others = [each for each in threading.enumerate() if each is not threading.current_thread()]
    for each in others:
        each.join(max(0.0, ends_at - time.monotonic()))
    return any(each.is_alive() for each in others)


if __name__ == "__main__":
    main()
