"""Whatever arrives is answerable or refused with a reason: the short form; `make fuzz` is the long one."""

from tests.support.hostile.fuzzing import fuzz_answers, fuzz_listings, fuzz_messages


def test_hostile_messages_are_read_or_refused_with_a_reason() -> None:
    seen = fuzz_messages(4000, seed=1)
    assert {"requests", "malformed", "unknown-type", "wrong-environment"} <= seen.keys(), seen


def test_hostile_answers_of_leqi_have_a_meaning() -> None:
    seen = fuzz_answers(4000, seed=1)
    assert {"granted", "refused", "throttled", "unknown"} <= seen.keys(), seen


def test_hostile_listings_are_read_whole_or_refused() -> None:
    seen = fuzz_listings(1000, seed=1)
    assert {"read", "refused"} <= seen.keys(), seen
