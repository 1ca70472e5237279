"""Misfortunes that repeat, as often as they were asked for."""

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from worker.leqi.simulator_faults import Fate, Faults, FaultSettings
from worker.leqi.simulator_records import Shape

PROBABILITIES = [
    "lost_answer",
    "refuse",
    "throttle",
    "error_500",
    "bad_key",
    "short_grant",
    "overlapping_grant",
    "wrong_year",
    "wrong_channel",
]


def fates(settings: FaultSettings, calls: int) -> list[Fate]:
    faults = Faults()
    faults.put(settings)
    return [faults.next_fate() for _ in range(calls)]


def test_nothing_befalls_a_call_at_first() -> None:
    fate = Faults().next_fate()
    assert fate == Fate(fraction=fate.fraction, variant=fate.variant)


def test_the_fields_are_the_contract_s() -> None:
    assert FaultSettings().model_dump() == {
        "latency_ms": 0,
        **dict.fromkeys(PROBABILITIES, 0.0),
        "seed": 0,
    }


@pytest.mark.parametrize("name", PROBABILITIES)
@pytest.mark.parametrize("value", [-0.1, 1.1, "0.5", True, None, float("nan")])
def test_a_probability_is_a_number_from_0_to_1(name: str, value: object) -> None:
    with pytest.raises(ValidationError):
        FaultSettings.model_validate({name: value})


@pytest.mark.parametrize(
    "fields",
    [{"latency_ms": -1}, {"latency_ms": 0.5}, {"seed": "1"}, {"lost_answers": 0.1}],
)
def test_other_fields_and_values_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        FaultSettings.model_validate(fields)


def test_a_whole_number_is_a_probability_too() -> None:
    assert FaultSettings.model_validate({"refuse": 1}).refuse == 1.0


def test_the_same_seed_brings_the_same_faults() -> None:
    settings = FaultSettings(lost_answer=0.3, error_500=0.2, short_grant=0.5, seed=7)
    assert fates(settings, 200) == fates(settings, 200)
    other = settings.model_copy(update={"seed": 8})
    assert fates(settings, 200) != fates(other, 200)


def test_putting_the_settings_again_starts_the_seed_again() -> None:
    settings = FaultSettings(refuse=0.5, seed=3)
    faults = Faults()
    faults.put(settings)
    before = [faults.next_fate() for _ in range(50)]
    faults.put(settings)
    assert [faults.next_fate() for _ in range(50)] == before


def test_one_fault_does_not_shift_another() -> None:
    alone = fates(FaultSettings(lost_answer=0.3, seed=1), 200)
    together = fates(FaultSettings(lost_answer=0.3, throttle=0.5, seed=1), 200)
    assert [f.lost_answer for f in alone] == [f.lost_answer for f in together]


@pytest.mark.parametrize(
    ("name", "befell"),
    [
        ("lost_answer", lambda fate: fate.lost_answer),
        ("refuse", lambda fate: fate.refuse),
        ("throttle", lambda fate: fate.throttle),
        ("error_500", lambda fate: fate.error_500),
        ("bad_key", lambda fate: fate.bad_key),
        ("short_grant", lambda fate: fate.shape is Shape.SHORT),
        ("overlapping_grant", lambda fate: fate.shape is Shape.OVERLAPPING),
        ("wrong_year", lambda fate: fate.shape is Shape.WRONG_YEAR),
        ("wrong_channel", lambda fate: fate.shape is Shape.WRONG_CHANNEL),
    ],
)
def test_each_fault_comes_as_often_as_asked(name: str, befell: Callable[[Fate], bool]) -> None:
    drawn = fates(FaultSettings.model_validate({name: 0.25, "seed": 1}), 2000)
    assert 400 < sum(befell(fate) for fate in drawn) < 600
    always = fates(FaultSettings.model_validate({name: 1.0}), 50)
    assert all(befell(fate) for fate in always)
