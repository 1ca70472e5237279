"""Waits between tries: each about twice as long as the one before, spread, and never longer than a ceiling."""

import random


class Waits:
    """How long to wait before the next try, and the next; nothing that fails is ever tried again at once."""

    def __init__(self, first: float, longest: float) -> None:
        """Begin with about `first` seconds and grow to about `longest`."""
        self._first = first
        self._longest = longest
        self._pause = first

    def following(self) -> float:
        """Give the seconds to wait now, half to one and a half times the present length; the next are longer."""
        pause = self._pause * random.uniform(0.5, 1.5)  # noqa: S311 -- keeps workers from trying in step
        self._pause = min(self._pause * 2, self._longest)
        return pause

    def reset(self) -> None:
        """Begin anew: a try succeeded."""
        self._pause = self._first
