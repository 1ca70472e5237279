"""What a run costs: processor seconds and memory of whole process trees."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Processor seconds of each tree so far, and the memory of the worker's."""

    cpu: Mapping[str, float]
    memory_mb: float


class Meter:
    """Reads trees of processes by their roots; `worker` is the one whose memory counts."""

    def __init__(self, roots: Mapping[str, Sequence[int]]) -> None:
        """Keep the roots: process ids by the name of what they belong to."""
        self._roots = {name: [psutil.Process(pid) for pid in pids] for name, pids in roots.items()}

    def read(self) -> Reading:
        """Read all trees now."""
        return Reading(
            {name: sum(map(_cpu_seconds, map(_tree, roots))) for name, roots in self._roots.items()},
            max((_memory_mb(_tree(root)) for root in self._roots.get("worker", [])), default=0.0),
        )


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _cpu_seconds(tree: Sequence[psutil.Process]) -> float:
    """Add up user and system time, that of children which ended by now among it: their parents keep it."""
    seconds = 0.0
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def _memory_mb(tree: Sequence[psutil.Process]) -> float:
    held = 0
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            held += process.memory_info().rss
    return held / _MB
