"""Waiting for something to become so, with a deadline, in place of sleeping and hoping."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_STEP_S = 0.05


def eventually(
    probe: Callable[[], T | None], *, within: float, what: str | Callable[[], str], step: float = _STEP_S
) -> T:
    """Give the first true value of `probe`, asked again every `step` seconds.

    Raises AssertionError after `within` seconds, saying `what` was waited for.
    """
    deadline = time.monotonic() + within
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > deadline:
            told = what if isinstance(what, str) else what()
            message = f"not within {within:g} s: {told}"
            raise AssertionError(message)
        time.sleep(step)


def stays(probe: Callable[[], object], *, lasting: float, what: str) -> None:
    """Watch that `probe` is true for `lasting` seconds on end.

    Raises AssertionError as soon as it isn't. Only for what must not happen, where there is nothing to wait for.
    """
    deadline = time.monotonic() + lasting
    while time.monotonic() < deadline:
        if not probe():
            message = f"did not last {lasting:g} s: {what}"
            raise AssertionError(message)
        time.sleep(_STEP_S)
