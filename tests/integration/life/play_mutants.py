"""Rule-breaking changes of the code: the machine catches each of them."""

from collections.abc import Iterator

import pytest

from tests.support.life.games import Game, Played, play_all
from tests.support.life.mutants import MUTANTS, Mutant
from tests.support.postgres import PrivatePostgres

#: A game ends with the first run that fails; so many runs are enough to break each of these rules.
RUNS = 150
NUMBER = 7

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def played(postgres: PrivatePostgres) -> Iterator[dict[str | None, Played]]:
    """A game with each mutant, two at a time."""
    games = [Game(postgres.new_migrated_database(), RUNS, NUMBER, mutant.name) for mutant in MUTANTS]
    yield {each.game.mutant: each for each in play_all(games)}
    for game in games:
        postgres.drop_database(game.url)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_caught(mutant: Mutant, played: dict[str | None, Played]) -> None:
    game = played[mutant.name]

    # Whether the model sees it, the audit does, or the database refuses it.
    assert game.failure is not None, f"{game.runs} runs, {game.steps} steps, and nothing was noticed"
    for made_by_the_test in ("Flaky", "SyntaxError", "has its old text", "OperationalError"):
        assert made_by_the_test not in game.failure


def test_there_are_twenty_different_ones() -> None:
    broken = {(mutant.file, mutant.old) for mutant in MUTANTS}
    assert len(broken) == len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20
