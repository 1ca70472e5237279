"""What the stage says of a machine that can't keep up: no worker is blamed for it."""

import os
import threading
from pathlib import Path

import pytest

from tests.support.chaos.stage import Pulse


def test_a_disk_that_stands_still_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moves, waited_for = threading.Event(), threading.Event()

    def stand_still(_file: int) -> None:
        waited_for.set()
        moves.wait(30)

    monkeypatch.setattr(os, "fsync", stand_still)
    with Pulse(tmp_path) as pulse:
        assert waited_for.wait(30)
        assert not moves.wait(0.3)
        moves.set()

    assert pulse.longest >= 0.2


def test_a_machine_that_goes_on_beats(tmp_path: Path) -> None:
    written = threading.Event()
    with Pulse(tmp_path) as pulse:
        written.wait(0.5)

    assert pulse.longest > 0
