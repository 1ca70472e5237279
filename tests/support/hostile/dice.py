"""Dice with a number: the same number throws the same case, on every machine."""

import random
from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")


class Dice:
    """What chooses one case."""

    def __init__(self, seed: int, case: int) -> None:
        """Throw for case number `case` of a run with this seed."""
        self._random = random.Random(f"{seed}:{case}")

    def of(self, choices: Sequence[_T]) -> _T:
        """Choose one."""
        return self._random.choice(choices)

    def number(self, least: int, most: int) -> int:
        """Choose a number, both ends included."""
        return self._random.randint(least, most)

    def coin(self) -> bool:
        """Choose yes or no."""
        return bool(self._random.getrandbits(1))
