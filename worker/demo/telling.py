"""What the demo says while it runs: a progress bar on a terminal, a line now and then anywhere else."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

#: Wide enough that no table for a file or another program is folded.
_UNFOLDED = 10_000
#: Where no bar is: shares of the whole after which a line says how far it is.
_STEPS = 4


def open_console() -> Console:
    """Give the console for stdout: as wide as the terminal; where there is none, nothing is folded."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=_UNFOLDED)


class Teller:
    """Tells how far the demo is while the block runs: issue requests that have their answer, of all."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._began = time.monotonic()
        self._told = 0
        self._bar = Progress(
            TextColumn("answered"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("answered", total=total)

    def __enter__(self) -> Self:
        """Show the bar where it can be seen."""
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave the bar as it is."""
        self._bar.stop()

    @property
    def seconds(self) -> float:
        """How long it has been telling."""
        return time.monotonic() - self._began

    def say(self, line: str) -> None:
        """Tell one thing that happened, with its second."""
        self._console.print(Text(f"{self.seconds:5.1f} s  {line}"))

    def advance(self, answered: int) -> None:
        """Tell how many requests have their answer now."""
        self._bar.update(self._task, completed=answered)
        step = answered * _STEPS // self._total
        if not self._console.is_terminal and step > self._told:
            self._told = step
            self.say(f"answered {answered} of {self._total}")
