"""The whole life of a number, played at random over a real database; after each step everything is looked at."""

from collections import Counter
from collections.abc import Callable

import pytest

from db.audit.invariants import INVARIANTS
from tests.support.life.games import NUMBERS, RUNS, STEPS, Game, Played, play_all
from tests.support.life.machine import rules_of
from tests.support.life.passing import Life
from tests.support.postgres import PrivatePostgres

#: How many runs there are at least, all together, and how often each rule fires at least.
LEAST_RUNS, LEAST_FIRINGS = 300, 100

Say = Callable[[str], None]


@pytest.mark.timeout(1200)
def test_the_database_agrees_with_the_model_after_every_step(postgres: PrivatePostgres, say: Say) -> None:
    games = [Game(postgres.new_migrated_database(), RUNS, STEPS, number) for number in NUMBERS]

    played = list(play_all(games))

    for each in played:
        assert each.failure is None, f"game {each.game.number}:\n{each.failure}"
    fired, told, judged = _tell(played, say)
    assert sum(each.runs for each in played) >= LEAST_RUNS
    assert {name: count for name, _ in rules_of(Life) if (count := fired[name]) < LEAST_FIRINGS} == {}
    assert {invariant.name for invariant in INVARIANTS if judged[invariant.name] == 0} == set()
    assert told.total() > 0


def _tell(played: list[Played], say: Say) -> tuple["Counter[str]", "Counter[str]", "Counter[str]"]:
    fired: Counter[str] = Counter()
    told: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for each in played:
        fired += each.rules
        told += each.events
        judged += each.judged
    runs, steps = sum(each.runs for each in played), sum(each.steps for each in played)
    say(f"{runs} runs, {steps} looks at the database, {judged.total()} rows judged by invariants")
    say("rules fired: " + ", ".join(f"{name} {count}" for name, count in sorted(fired.items())))
    say("events told: " + ", ".join(f"{name} {count}" for name, count in sorted(told.items())))
    return fired, told, judged
