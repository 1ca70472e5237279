"""Fuma as processes: commands that end by themselves, and workers that are told to."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from tests.support.outside.polling import eventually

_FUMA = Path(sys.executable).parent / "fuma"
_COMMAND_LIMIT_S = 110
_TRACEBACK = "Traceback (most recent call last)"


def free_port() -> int:
    """Give a TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@dataclass(frozen=True, slots=True)
class Finished:
    """A command that ended."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    def refused(self) -> str:
        """Insist that it failed as the contract says: non-zero, one line on stderr, no traceback. Gives the line."""
        assert self.code != 0, f"fuma {self.args} was expected to fail, and printed: {self.out}"
        lines = [line for line in self.err.splitlines() if line.strip()]
        assert _TRACEBACK not in self.err, f"fuma {self.args} shows a traceback:\n{self.err}"
        assert len(lines) == 1, f"fuma {self.args} must say why in one line, said {len(lines)}:\n{self.err}"
        return lines[0]


class Running:
    """A command that goes on until it is stopped."""

    def __init__(self, args: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        """Start it, its output to files in `folder`."""
        self.args = args
        name = f"{args[0]}-{time.monotonic_ns()}"
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [str(_FUMA), *args], env=dict(environment), cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def __enter__(self) -> Self:
        """Leave it running."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill it if it still runs."""
        self.kill()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def out(self) -> str:
        """Give what it printed so far."""
        return self._out.read_text(errors="replace")

    def err(self) -> str:
        """Give what it wrote to stderr so far."""
        return self._err.read_text(errors="replace")

    def log(self, lines: int = 30) -> str:
        """Give the end of all that it wrote."""
        return "\n".join([*self.out().splitlines()[-lines:], *self.err().splitlines()[-lines:]])

    def wait(self, within: float) -> int:
        """Wait for its end; raises AssertionError with its log where it goes on for longer."""
        try:
            return self._process.wait(within)
        except subprocess.TimeoutExpired:
            message = f"fuma {self.args} did not end within {within} s:\n{self.log()}"
            raise AssertionError(message) from None

    def finished(self, within: float) -> Finished:
        """Wait for its end and give what it said."""
        code = self.wait(within)
        return Finished(self.args, code, self.out(), self.err())

    def terminate(self) -> None:
        """Ask it to end, as `SIGTERM` does."""
        self._process.send_signal(signal.SIGTERM)

    def show_threads(self) -> None:
        """Let it write to stderr where each of its threads stands, as `SIGUSR1` does."""
        self._process.send_signal(signal.SIGUSR1)

    def interrupt(self) -> None:
        """Ask it to end, as `SIGINT` does."""
        self._process.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End it at once, as `SIGKILL` does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def resident_mb(self) -> float:
        """Tell how much memory it holds, in MB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        held = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(held.split()[1]) / 1000


class Worker(Running):
    """A `fuma worker` with its HTTP port."""

    def __init__(self, args: tuple[str, ...], environment: Mapping[str, str], folder: Path) -> None:
        """Start it, with a free HTTP port."""
        self._port = free_port()
        super().__init__(("worker", *args), {**environment, "FUMA_HTTP_PORT": str(self._port)}, folder)

    def get(self, path: str) -> int | None:
        """Ask its HTTP port; gives the status, None where nobody answers."""
        try:
            return httpx.get(f"http://127.0.0.1:{self._port}{path}", timeout=5).status_code
        except httpx.TransportError:
            return None

    def metrics(self) -> str:
        """Give its metrics page."""
        return httpx.get(f"http://127.0.0.1:{self._port}/metrics", timeout=5).text

    def is_ready(self) -> bool:
        """Tell whether it says that it is ready. Raises AssertionError where it has ended."""
        assert self.code is None, f"the worker ended with {self.code}:\n{self.log()}"
        return self.get("/readyz") == httpx.codes.OK

    def ready(self, within: float = 30) -> Self:
        """Wait until it says that it is ready."""
        eventually(self.is_ready, within=within, what=lambda: f"a ready worker:\n{self.log()}")
        return self

    def alive_but_not_ready(self, within: float = 30) -> None:
        """Wait until it answers that it lives, and that it is not ready."""
        eventually(
            lambda: not self.is_ready() and self.get("/healthz") == httpx.codes.OK,
            within=within,
            what=lambda: f"a worker that lives and is not ready:\n{self.log()}",
        )

    def drain(self, within: float = 20) -> None:
        """Ask it to end, and insist on exit status 0 within the seconds given."""
        self.terminate()
        assert self.wait(within) == 0, f"the worker ended with {self.code}:\n{self.log()}"


class Fuma:
    """The `fuma` command with one environment, called from a folder without a `.env`."""

    def __init__(self, folder: Path, **settings: str) -> None:
        """Keep the settings; nothing of the caller's own `FUMA_…` goes through."""
        self.folder = folder
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("FUMA_")}
        self._environment = {**inherited, "FUMA_HOME": str(folder / "home"), "COLUMNS": "300", **settings}

    def environment(self, settings: Mapping[str, str | None]) -> dict[str, str]:
        """Give the environment with these settings over the usual; None takes one away."""
        merged: dict[str, str | None] = {**self._environment, **settings}
        return {name: value for name, value in merged.items() if value is not None}

    def run(self, *args: str, **settings: str | None) -> Finished:
        """Run a command to its end, within 110 s."""
        with self.start(*args, **settings) as running:
            return running.finished(_COMMAND_LIMIT_S)

    def ok(self, *args: str, **settings: str | None) -> str:
        """Run a command that must succeed; gives what it printed."""
        done = self.run(*args, **settings)
        assert done.code == 0, f"fuma {args} exited {done.code}:\n{done.out}\n{done.err}"
        return done.out

    def rows(self, *args: str, **settings: str | None) -> list[dict[str, Any]]:
        """Run a listing with `--json`; gives its objects."""
        told = self.ok(*args, "--json", **settings)
        rows = json.loads(told)
        assert isinstance(rows, list), f"fuma {args} --json is no array: {told[:200]}"
        return rows

    def start(self, *args: str, **settings: str | None) -> Running:
        """Start a command that goes on."""
        return Running(args, self.environment(settings), self.folder)

    def worker(self, *args: str, **settings: str | None) -> Worker:
        """Start a worker; it may not be ready yet."""
        return Worker(args, self.environment(settings), self.folder)

    def said(self) -> dict[str, str]:
        """Give all that its processes wrote to stdout and stderr so far, and others' from the same folder, by file."""
        files = (file for file in self.folder.iterdir() if file.suffix in {".out", ".err"})
        return {file.name: file.read_text(errors="replace") for file in files}
