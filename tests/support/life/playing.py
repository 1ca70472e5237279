"""Playing: so many runs of the machine, the same whenever they are played."""

import gc
import logging
import traceback
from unittest.mock import patch

import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.internal.conjecture.providers import HypothesisProvider
from hypothesis.stateful import run_state_machine_as_test

from tests.support.life.games import Game, Played
from tests.support.life.hands import Hands
from tests.support.life.machine import Stage, Tally
from tests.support.life.passing import Life
from tests.support.life.snapshot import Looking

#: Of more runs at once Hypothesis would make the first ones short, and most of the others copies with small changes.
_RUNS_OF_A_PART = 9

#: More than any game has.
_MOST_PARTS = 1000


def play(game: Game) -> Played:
    """Play one game; it ends with its runs, or with the first run that fails."""
    # What is there by now stays: without this a tenth of the time goes into looking for what could be let go of.
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    tally = Tally()
    failure = None
    try:
        # Hypothesis likes to draw what it finds written in our code: with any constant there a game would change.
        with patch.object(HypothesisProvider, "_maybe_draw_constant", return_value=None):
            _play(game, tally)
    except Exception:  # noqa: BLE001 -- whatever ends a run is what a game is played for
        failure = traceback.format_exc()
    return Played(game, tally.runs, tally.steps, tally.rules, tally.events, tally.judged, failure)


def _play(game: Game, tally: Tally) -> None:
    stage = Stage(Hands(game.url), Looking(game.url), tally, game.number * _MOST_PARTS)

    class Staged(Life):
        """The machine on this stage."""

        def __init__(self) -> None:
            super().__init__(stage)

    try:
        while tally.runs < game.runs:
            runs = min(_RUNS_OF_A_PART, game.runs - tally.runs)
            run_state_machine_as_test(seed(stage.part)(Staged), settings=_settings(game, runs))
            stage.part += 1
    finally:
        stage.hands.close()
        stage.looking.close()


def _settings(game: Game, runs: int) -> settings:
    return settings(
        max_examples=runs,
        stateful_step_count=game.steps,
        database=None,
        deadline=None,
        # To find the shortest run that fails would take long; the one that failed is told step by step.
        phases=(Phase.generate,),
        print_blob=False,
        # A step is a transaction or two over a real database, on a machine that does other things too.
        suppress_health_check=[HealthCheck.too_slow],
    )
