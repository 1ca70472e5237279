"""Games: runs of the machine in processes of their own, with the code as it is or one of its rules broken."""

import multiprocessing
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib import import_module

from tests.support.life.mutants import MUTANTS

#: Packages that every game needs.
_OF_OTHERS = (
    "alembic.op",
    "hypothesis.stateful",
    "psycopg",
    "pydantic",
    "sqlalchemy.dialects.postgresql.psycopg",
    "structlog",
)

#: The games that are played with the code as it is. Other numbers would do as well; where rules of the machine or their
#: weights change, some of these may come to a mutant later, or not at all.
NUMBERS = (1, 2, 3, 4, 7, 8)

#: How many runs each of them has, and of how many steps at most.
RUNS, STEPS = 50, 50


@dataclass(frozen=True, slots=True)
class Game:
    """So many runs over a database of their own."""

    url: str
    runs: int
    #: Steps of one run at most.
    steps: int
    #: Decides everything that is drawn.
    number: int
    #: The name of the one that is played with.
    mutant: str | None = None


@dataclass(frozen=True, slots=True)
class Played:
    """What came of a game: how often what happened, and why it ended early, if it did."""

    game: Game
    runs: int
    steps: int
    rules: "Counter[str]"
    events: "Counter[str]"
    #: Rows judged by each invariant, summed over all steps.
    judged: "Counter[str]"
    failure: str | None


def play_all(games: Iterable[Game]) -> Iterator[Played]:
    """Play games, two at a time; gives each in their order."""
    # Each in a process of its own: what a mutant breaks is broken nowhere else. They begin as copies of one that has
    # imported what no mutant breaks, for that takes longest.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(_OF_OTHERS))
    with ProcessPoolExecutor(2, context, max_tasks_per_child=1) as pool:
        yield from pool.map(_play, games)


def _play(game: Game) -> Played:
    for mutant in MUTANTS:
        if mutant.name == game.mutant:
            mutant.apply()
    # Not before: it imports all that a mutant may break.
    played: Played = import_module("tests.support.life.playing").play(game)
    return played
