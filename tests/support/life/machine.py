"""The machine: plays the model and the real handlers side by side, and looks after each step."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any, TypeVar

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant
from hypothesis.stateful import rule as hypothesis_rule

from tests.support.core.clock import in_china
from tests.support.core.world import Told
from tests.support.life.agreement import agree, hold
from tests.support.life.expected import Facts
from tests.support.life.hands import Hands
from tests.support.life.ledger import Claim
from tests.support.life.model import Model
from tests.support.life.snapshot import Looking, Snapshot

_Thing = TypeVar("_Thing")
_Method = TypeVar("_Method", bound=Callable[..., None])

#: A choice among as many things as there are just now.
PICK = st.integers(0, 40)

#: By how many places what a draw means moves from step to step, and from part to part: farther than a rule has places.
_BETWEEN_STEPS, _BETWEEN_PARTS = 37, 61

#: When a run begins: an ordinary day, or so shortly before New Year that it comes within the run.
_BEGINNINGS = (
    ("2026-12-30", "09:00"),
    ("2026-12-31", "10:00"),
    ("2026-12-31", "23:58"),
    ("2026-11-23", "10:00"),
    ("2027-01-01", "00:00"),
)


@dataclass(slots=True)
class Tally:
    """How often what happened."""

    runs: int = 0
    steps: int = 0
    rules: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    #: Rows judged by each invariant, summed over all steps.
    judged: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Stage:
    """What all runs share."""

    hands: Hands
    looking: Looking
    tally: Tally
    #: Which part of which game is played.
    part: int


@dataclass(frozen=True, slots=True)
class Rule:
    """One thing that may happen: how often compared with others, when at all, and what is drawn for it."""

    weight: int
    when: Callable[[Any], object]
    drawn: st.SearchStrategy[dict[str, Any]]


def rule(
    *,
    weight: int,
    when: Callable[[Any], object] = lambda _: True,
    **drawn: st.SearchStrategy[Any],
) -> Callable[[_Method], _Method]:
    """Make a method a rule.

    Hypothesis' own rules are drawn from a small part of them in each run, and all alike: few runs would be rich.
    """

    def mark(method: _Method) -> _Method:
        method.rule = Rule(weight, when, st.fixed_dictionaries(drawn))  # type: ignore[attr-defined]
        return method

    return mark


class Machine(RuleBasedStateMachine):
    """What every rule needs: a step of both sides, and the look after it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.hands, self.looking, self.tally = stage.hands, stage.looking, stage.tally
        self.tally.runs += 1
        self._turn = stage.part * _BETWEEN_PARTS
        self.model = Model(self.hands.clock.now())
        self.facts = Facts()
        self.seen = Snapshot([], [], [], [], [], [], {})
        #: Events that lead to claims, as they were told.
        self.stock_events: list[Told] = []
        #: The messages that each request was asked by.
        self.sent: dict[tuple[str, str], list[str]] = {}
        self._asked = 0

    @initialize(beginning=st.sampled_from(_BEGINNINGS), opened=st.integers(0, 4))
    def begin(self, beginning: tuple[str, str], opened: int) -> None:
        """Begin with nothing but who takes part; or, mostly, with some numbers of each kind."""
        self.hands.clock.set(in_china(*beginning))
        self.model = Model(self.now)
        self.hands.begin()
        self.looking.begin()
        if opened:
            self.open(opened)

    def open(self, opened: int) -> None:
        """Let the first ranges come."""

    @property
    def now(self) -> datetime:
        """The present instant."""
        return self.hands.clock.now()

    @hypothesis_rule(data=st.data())
    def step(self, data: st.DataObject) -> None:
        """Let one thing happen of those that may."""
        rules = {name: method.rule for name, method in rules_of(type(self)) if method.rule.when(self)}
        names = _weighed(tuple((name, each.weight) for name, each in rules.items()))
        # Whatever is drawn means another rule in each step and in each part: a part begins with a run of which
        # everything drawn is the simplest, and that would do the same all the time.
        name = names[(data.draw(_place(len(names))) + self._turn) % len(names)]
        self._turn += _BETWEEN_STEPS
        note(f"That is {name}.")
        drawn = data.draw(rules[name].drawn)
        self.tally.rules[name] += 1
        getattr(self, name)(**drawn)

    def play(self, real: Callable[[], Sequence[Told]], model: Callable[[], object]) -> None:
        """Let the real side act, then the model, and compare what was told with what had to be."""
        self.tick()
        self.compare(real(), model)

    def tick(self) -> None:
        """Let a moment pass: no two steps happen at one instant."""
        self.hands.clock.advance(milliseconds=1)
        self.model.now = self.now

    def compare(self, told: Sequence[Told], model: Callable[[], object]) -> None:
        """Let the model act, and hold its events against those that were told."""
        model()
        self.facts.compare(self.model.expected, told)
        self.model.expected.clear()
        self.tally.events.update(_kind(each) for each in told)
        self.stock_events += [each for each in told if each.topic.value in {"range-exhausted", "range-low"}]

    @invariant()
    def everything_agrees(self) -> None:
        """After each step: what was published was stored, every invariant holds, and both sides agree."""
        self.tally.steps += 1
        seen = self.looking.look(self.now)
        assert sorted(seen.outbox) == sorted(self.hands.published), "published is not what was stored"
        self.hands.published.clear()
        agree(self.model, seen)
        hold(seen)
        self.tally.judged.update({name: checked for name, (checked, _) in seen.invariants.items()})
        self.seen = seen

    # Choices.

    def has(self, *states: str) -> bool:
        """Whether any number is in one of these states."""
        return any(number.state in states for number in self.model.numbers())

    def next_id(self, letter: str) -> str:
        """Make an id that nobody used."""
        self._asked += 1
        return f"{letter}{self._asked}"

    def claim_of_serial(self, serial: str) -> Claim:
        """Find the claim that was made under a serial."""
        return next(each for each in self.model.claims if each.serial == serial)


@cache
def rules_of(machine: type) -> list[tuple[str, Any]]:
    """Give the rules of a machine, with their names."""
    found = {name: getattr(machine, name, None) for name in dir(machine)}
    return [(name, method) for name, method in found.items() if isinstance(getattr(method, "rule", None), Rule)]


@cache
def _weighed(rules: tuple[tuple[str, int], ...]) -> list[str]:
    return [name for name, weight in rules for _ in range(weight)]


@cache
def _place(places: int) -> st.SearchStrategy[int]:
    return st.sampled_from(range(places))


def choose(things: Sequence[_Thing], pick: int) -> _Thing | None:
    """Choose one of the things; None of none."""
    return things[pick % len(things)] if things else None


def _kind(told: Told) -> str:
    reason = told.data.get("reason")
    return told.topic.value if reason is None else f"{told.topic.value}: {reason}"
