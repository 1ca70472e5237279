"""Misfortunes on demand, drawn from a seed so that a run can be repeated."""

import random
from dataclasses import dataclass
from threading import Lock
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from worker.leqi.simulator_records import Shape

Probability = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class FaultSettings(BaseModel):
    """The contract's fields; each probability is for one call of the claim service."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    latency_ms: Annotated[int, Field(ge=0, le=3_600_000)] = 0
    lost_answer: Probability = 0.0
    refuse: Probability = 0.0
    throttle: Probability = 0.0
    error_500: Probability = 0.0
    bad_key: Probability = 0.0
    short_grant: Probability = 0.0
    overlapping_grant: Probability = 0.0
    wrong_year: Probability = 0.0
    wrong_channel: Probability = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Fate:
    """What befalls one call.

    Several may hit at once.
    Then the first of throttle, error_500, bad_key and refuse decides, nothing is
    granted and the answer isn't lost; else the grant gets its shape, and its answer
    may be lost on top.
    """

    throttle: bool = False
    error_500: bool = False
    bad_key: bool = False
    refuse: bool = False
    shape: Shape = Shape.WHOLE
    lost_answer: bool = False
    fraction: float = 0.0
    """0 to below 1, for the grant's details."""
    variant: float = 0.0
    """0 to below 1, for the way in which a refusal or a loss shows."""


class Faults:
    """The settings in force and their generator; usable from any thread."""

    def __init__(self) -> None:
        """Begin with no misfortune at all."""
        self._lock = Lock()
        self.put(FaultSettings())

    @property
    def settings(self) -> FaultSettings:
        """What is in force."""
        with self._lock:
            return self._settings

    def put(self, settings: FaultSettings) -> None:
        """Replace what is in force; the generator starts again at the seed."""
        with self._lock:
            self._settings = settings
            self._random = random.Random(settings.seed)  # noqa: S311 -- must repeat

    def next_fate(self) -> Fate:
        """Draw the next call's fate.

        Every call draws equally often, in one order: which faults are switched on
        never shifts what the others do.
        """
        with self._lock:
            settings = self._settings
            throttle = self._hits(settings.throttle)
            error_500 = self._hits(settings.error_500)
            bad_key = self._hits(settings.bad_key)
            refuse = self._hits(settings.refuse)
            shapes = (
                (self._hits(settings.wrong_year), Shape.WRONG_YEAR),
                (self._hits(settings.wrong_channel), Shape.WRONG_CHANNEL),
                (self._hits(settings.overlapping_grant), Shape.OVERLAPPING),
                (self._hits(settings.short_grant), Shape.SHORT),
                (True, Shape.WHOLE),
            )
            return Fate(
                throttle=throttle,
                error_500=error_500,
                bad_key=bad_key,
                refuse=refuse,
                shape=next(shape for hit, shape in shapes if hit),
                lost_answer=self._hits(settings.lost_answer),
                fraction=self._random.random(),
                variant=self._random.random(),
            )

    def _hits(self, probability: float) -> bool:
        return self._random.random() < probability
