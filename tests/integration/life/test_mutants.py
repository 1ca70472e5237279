"""Rule-breaking changes of the code: the machine that finds nothing wrong with the code catches each of them."""

from collections.abc import Callable, Iterator

import pytest

from tests.support.life.games import NUMBERS, RUNS, STEPS, Game, Played, play_all
from tests.support.life.mutants import MUTANTS, Mutant
from tests.support.postgres import PrivatePostgres

#: What would end a game but says nothing of a rule.
_MADE_BY_THE_TEST = ("Flaky", "SyntaxError", "has its old text", "is imported already", "OperationalError")

Say = Callable[[str], None]

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def played(postgres: PrivatePostgres) -> Iterator[dict[str | None, Played]]:
    """The game of each mutant, two at a time; it ends with the first run that fails."""
    games = [Game(postgres.new_migrated_database(), RUNS, STEPS, each.game, each.name) for each in MUTANTS]
    yield {each.game.mutant: each for each in play_all(games)}
    for game in games:
        postgres.drop_database(game.url)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_rule_is_caught(mutant: Mutant, played: dict[str | None, Played], say: Say) -> None:
    game = played[mutant.name]
    say(f"noticed in run {game.runs}, at look {game.steps} at the database")

    # Whether the model sees it, the audit does, or the database refuses it.
    assert game.failure is not None, f"{game.runs} runs, {game.steps} looks, and nothing was noticed"
    for made_by_the_test in _MADE_BY_THE_TEST:
        assert made_by_the_test not in game.failure


def test_there_are_twenty_different_ones() -> None:
    broken = {(mutant.file, mutant.old) for mutant in MUTANTS}
    assert len(broken) == len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_each_is_caught_in_a_game_in_which_the_code_as_it_is_breaks_no_rule() -> None:
    assert {mutant.game for mutant in MUTANTS} <= set(NUMBERS)
