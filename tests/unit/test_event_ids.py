"""The id of an event that tells of one change of one number spells which change it is, and is no other fact's."""

import re
from itertools import product
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from db.records import RequestKey, TakenNumber
from schemas.topics import Topic
from worker.event_ids import EventIds

IDS = EventIds("/fuma/sandbox")
TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=64)
TAXPAYERS = st.text("ABCDEFGHJK0123456789", min_size=15, max_size=20)
PREFIXES = st.integers(0, 10**6 - 1)
SEQUENCES = st.integers(0, 10**14 - 1)
#: What a smallint holds.
STEPS = st.integers(1, 2**15 - 1)
TOPICS = st.sampled_from(Topic)

TAXPAYER = "91350100M000100Y43"


def change(prefix: int = 264470, sequence: int = 12345678901234, step: int = 1) -> TakenNumber:
    return TakenNumber(UUID(int=1), prefix, sequence, 0, 10**14 - 1, "automatic", step)


def test_an_operator_reads_the_invoice_number_in_it() -> None:
    event_id = IDS.of_change(Topic.NUMBER_USED, TAXPAYER, change(step=0x2A), "O1")

    assert re.fullmatch("26447012-3456-8789-8012-34002a[0-9a-f]{6}", str(event_id))


@given(TOPICS, TAXPAYERS, PREFIXES, SEQUENCES, STEPS, TEXTS)
def test_it_is_a_uuid_of_version_8_that_spells_its_fact(
    topic: Topic,
    taxpayer_id: str,
    prefix: int,
    sequence: int,
    step: int,
    asked_by: str,
) -> None:
    event_id = IDS.of_change(topic, taxpayer_id, change(prefix, sequence, step), asked_by)

    assert (event_id.version, event_id.variant) == (8, RFC_4122)
    digits = event_id.hex
    assert digits[:12] + digits[13:16] + digits[17:22] == f"{prefix:06}{sequence:014}"
    assert int(digits[22:26], 16) == step


@given(TAXPAYERS, PREFIXES, SEQUENCES, STEPS, TEXTS)
def test_an_assignment_has_it_too(taxpayer_id: str, prefix: int, sequence: int, step: int, request_id: str) -> None:
    taken = change(prefix, sequence, step)

    written = IDS.of_assignment(RequestKey(taxpayer_id, request_id), taken)

    assert written == str(IDS.of_change(Topic.NUMBER_ASSIGNED, taxpayer_id, taken, request_id))
    assert written == str(UUID(written))


def test_what_tells_two_facts_apart_makes_two_ids() -> None:
    facts = list(
        product(
            (Topic.NUMBER_ASSIGNED, Topic.NUMBER_USED, Topic.NUMBER_RELEASED),
            (TAXPAYER, "91110000101623741K"),
            (change(), change(step=2), change(sequence=12345678901235), change(prefix=254470)),
            ("one", "another"),
        ),
    )

    made = {ids.of_change(*fact) for ids in (IDS, EventIds("/fuma/production")) for fact in facts}

    assert len(made) == 2 * len(facts)
    again = (EventIds("/fuma/sandbox"), EventIds("/fuma/production"))
    assert made == {ids.of_change(*fact) for ids in again for fact in facts}


def test_what_a_restored_database_does_once_more_for_another_is_told_under_another_id() -> None:
    """By 24 bits of a digest; here for many that ask for the same step."""
    asked_by = [f"request {each}" for each in range(200)]

    ids = {IDS.of_assignment(RequestKey(TAXPAYER, each), change()) for each in asked_by}

    assert len(ids) == len(asked_by)


def test_the_id_of_what_happens_to_a_whole_range_is_of_version_5() -> None:
    assert IDS.of_fact(Topic.RANGE_EXPIRED, (TAXPAYER, "range")).version == 5
