"""Speaking Erlang to a RabbitMQ node through the shell on its standard input."""

import contextlib
import itertools
import subprocess
import threading
import time
from queue import Empty, Queue
from typing import IO

DEADLINE = 30.0


class RabbitMQUnavailableError(RuntimeError):
    """RabbitMQ isn't installed, its node did not come up, or it can't do what it was asked."""


class ErlangShell:
    """The Erlang shell on a node's standard input."""

    def __init__(self, node: subprocess.Popen[str]) -> None:
        if node.stdin is None or node.stdout is None:
            message = "the node was started without pipes"
            raise RabbitMQUnavailableError(message)
        self._input: IO[str] = node.stdin
        self._results: Queue[str] = Queue()
        self._printed: list[str] = []
        self._turn = threading.Lock()
        self._numbers = itertools.count(1)
        self._reader = threading.Thread(target=self._read, args=(node.stdout,), name="rabbitmq-shell", daemon=True)
        self._reader.start()

    def evaluate(self, expression: str) -> str:
        with self._turn:
            mark = f"@@{next(self._numbers)}@@"
            self.send(f'io:format("~n{mark}~0p{mark}~n", [catch ({expression})]).')
            deadline = time.monotonic() + DEADLINE
            while True:
                try:
                    line = self._results.get(timeout=max(0.0, deadline - time.monotonic()))
                except Empty:
                    message = f"the node did not answer: {self.last_lines()}"
                    raise RabbitMQUnavailableError(message) from None
                if line.startswith(mark):
                    return self._checked(line.strip().removeprefix(mark).removesuffix(mark))

    def send(self, line: str) -> None:
        with contextlib.suppress(OSError):
            self._input.write(line + "\n")
            self._input.flush()

    def last_lines(self) -> str:
        return " | ".join(line for line in self._printed[-15:] if line)

    def join(self) -> None:
        self._reader.join(DEADLINE)

    @staticmethod
    def _checked(result: str) -> str:
        if result.startswith("{'EXIT'"):
            message = f"the node refused: {result}"
            raise RabbitMQUnavailableError(message)
        return result

    def _read(self, output: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError):
            for line in output:
                if line.startswith("@@"):
                    self._results.put(line)
                else:
                    self._printed.append(line.strip())
                    del self._printed[:-50]
