"""Playing: so many runs of the machine, the same whenever they are played."""

import logging
import traceback

import structlog
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.support.life.games import Game, Played
from tests.support.life.hands import Hands
from tests.support.life.machine import Stage, Tally
from tests.support.life.passing import Life
from tests.support.life.snapshot import Looking

#: Steps of one run at most.
STEPS = 50


def play(game: Game) -> Played:
    """Play one game; it ends with its runs, or with the first run that fails."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    tally = Tally()
    failure = None
    try:
        _play(game, tally)
    except Exception:  # noqa: BLE001 -- whatever ends a run is what a game is played for
        failure = traceback.format_exc()
    return Played(game, tally.runs, tally.steps, tally.rules, tally.events, tally.judged, failure)


def _play(game: Game, tally: Tally) -> None:
    stage = Stage(Hands(game.url), Looking(game.url), tally)

    class Staged(Life):
        """The machine on this stage."""

        def __init__(self) -> None:
            super().__init__(stage)

    try:
        run_state_machine_as_test(
            seed(game.number)(Staged),
            settings=settings(
                max_examples=game.runs,
                stateful_step_count=STEPS,
                database=None,
                deadline=None,
                # To find the shortest run that fails would take long; the one that failed is told step by step.
                phases=(Phase.generate,),
                print_blob=False,
                # A step is a transaction or two over a real database, on a machine that does other things too.
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
    finally:
        stage.hands.close()
        stage.looking.close()
