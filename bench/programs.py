"""The processes that a run starts: each with its output in a file, each ended with the run."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

ROOT = Path(__file__).resolve().parent.parent

_STOP_SECONDS = 25

#: Ends the processes as soon as nobody holds the other end of its standard input: when we die, however we die.
_LEASH = 'read -r _; kill -KILL "$@" 2>/dev/null'


class ProgramEndedError(RuntimeError):
    """A program ended although it was not told to; the text has the end of what it said."""


@dataclass(frozen=True, slots=True)
class Program:
    """A Python module to be run as a process."""

    module: str
    arguments: Sequence[str] = ()
    settings: Mapping[str, str] = field(default_factory=dict)


class Running:
    """Programs that run until the block ends; nothing of the caller's own `FUMA_…` reaches them."""

    def __init__(self, programs: Sequence[Program]) -> None:
        """Nothing is started yet."""
        self._programs = programs
        self._folder = tempfile.TemporaryDirectory(prefix="fuma-bench-")
        self._processes: list[subprocess.Popen[bytes]] = []
        self._leash: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start all."""
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FUMA_")}
        folder = Path(self._folder.name)
        for number, program in enumerate(self._programs):
            with (folder / f"{number}.log").open("wb") as log:
                self._processes.append(
                    subprocess.Popen(
                        [sys.executable, "-m", program.module, *program.arguments],
                        env={**inherited, "PYTHONPATH": str(ROOT), **program.settings},
                        cwd=folder,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", _LEASH, "leash", *map(str, self.pids)], stdin=subprocess.PIPE, start_new_session=True
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Ask all to end, and make an end of those that don't."""
        self.terminate()
        ends_at = time.monotonic() + _STOP_SECONDS
        for process in self._processes:
            try:
                process.wait(max(0.1, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._leash is not None:
            self._leash.kill()
            self._leash.communicate()
        self._folder.cleanup()

    @property
    def pids(self) -> list[int]:
        """The process ids."""
        return [process.pid for process in self._processes]

    def terminate(self) -> None:
        """Ask all to end."""
        for process in self._processes:
            if process.poll() is None:
                process.terminate()

    def check(self) -> None:
        """Raise `ProgramEndedError` where one has ended with a failure."""
        for number, process in enumerate(self._processes):
            if process.poll():
                message = f"{self._programs[number].module} ended with {process.returncode}:\n{self.log(number)}"
                raise ProgramEndedError(message)

    def wait(self, within: float) -> None:
        """Wait for the end of all; raises `ProgramEndedError` where one fails or goes on for longer."""
        ends_at = time.monotonic() + within
        for number, process in enumerate(self._processes):
            try:
                process.wait(max(0.1, ends_at - time.monotonic()))
            except subprocess.TimeoutExpired:
                message = f"{self._programs[number].module} did not end in time:\n{self.log(number)}"
                raise ProgramEndedError(message) from None
        self.check()

    def log(self, number: int = 0, lines: int = 30) -> str:
        """Give the end of what a program said."""
        text = (Path(self._folder.name) / f"{number}.log").read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:])

    def output(self, number: int = 0) -> str:
        """Give all that a program said."""
        return (Path(self._folder.name) / f"{number}.log").read_text(encoding="utf-8", errors="replace")
