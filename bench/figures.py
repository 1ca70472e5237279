"""The benchmark's arithmetic: rates, medians, spreads, percentiles."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Sample:
    """How many were done by an instant (seconds, of any clock that only goes on)."""

    at: float
    done: int


def steady_rate(samples: Sequence[Sample], expected: int, *, warm_up: float = 0.1) -> tuple[float, Sample, Sample]:
    """Give how many were done a second once a contender had got going, with the two samples between which it counts.

    From the first sample at which a tenth was done to the first at which all was: who has just started, and fills its
    caches, is measured as little as who has nothing left to do.
    Raises `ValueError` where the samples don't reach that far, or there is no time between the two.
    """
    began = next((sample for sample in samples if sample.done >= expected * warm_up), None)
    ended = next((sample for sample in samples if sample.done >= expected), None)
    if began is None or ended is None or ended.at <= began.at or ended.done <= began.done:
        message = "too few samples: nothing was measured"
        raise ValueError(message)
    return (ended.done - began.done) / (ended.at - began.at), began, ended


def percentile(values: Sequence[float], share: float) -> float:
    """Give the smallest value that at least this share of all do not exceed (nearest rank).

    No interpolation: what is told was measured.
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values: Sequence[float]) -> float:
    """Give the distance of the largest from the smallest, as a share of the median: how much rounds differed."""
    return (max(values) - min(values)) / median(values)


def intended(number: int, began: float, rate: float) -> float:
    """Give the instant at which an open-loop generator means to send request `number`, counted from 0.

    Latency counts from here, whether or not the request could go out by then: a worker that stalls is charged for
    every request that the stall delayed (no coordinated omission).
    """
    return began + number / rate
