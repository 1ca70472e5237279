"""Looks at the dead letters, or redrives them, and is killed at a chosen step of it, as by `kill -9`.

`python -m tests.support.interrupted list|redrive STEP` at the broker of `FUMA_BROKER_URL`: a listing dies once it holds
so many letters, a redrive when that letter is confirmed in its queue and still among the dead.
"""

import os
import signal
import sys
from collections.abc import Iterator
from itertools import count

from worker.broker.command_channel import CommandChannel, Taken
from worker.broker.dead_letters import EVERYTHING, read_letters, redrive


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _die_holding(letters: int) -> None:
    taking = CommandChannel.take_all

    def take_all(channel: CommandChannel, queue: str) -> Iterator[Taken]:
        for held, taken in enumerate(taking(channel, queue), start=1):
            yield taken
            if held == letters:
                _die()

    CommandChannel.take_all = take_all  # type: ignore[method-assign,assignment]  # parameters by other names


def _die_before_acknowledging(letter: int) -> None:
    acknowledging, turns = CommandChannel.acknowledge, count(1)

    def acknowledge(channel: CommandChannel, taken: Taken) -> None:
        if next(turns) == letter:
            _die()
        acknowledging(channel, taken)

    CommandChannel.acknowledge = acknowledge  # type: ignore[method-assign,assignment]  # parameters by other names


def main(work: str, step: int) -> None:
    """Begin the work, and die in its midst."""
    url = os.environ["FUMA_BROKER_URL"]
    if work == "list":
        _die_holding(step)
        read_letters(url)
    else:
        _die_before_acknowledging(step)
        redrive(url, EVERYTHING)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
