"""Releasing: a foreign range becomes usable by an operator's word, unless anything of it may be used."""

import json
from uuid import UUID, uuid4

import pytest

from schemas.topics import Topic
from tests.support.core.asked import invoice, refresh
from tests.support.core.authority import ScriptedListing, listed, number
from tests.support.core.clock import in_china
from tests.support.core.world import Core, Told, of
from worker.releasing import ReleaseRefusedError


def foreign(core: Core, listing: ScriptedListing, *, unused: int = 10) -> UUID:
    """Let a range of ten numbers from sequence 100 be listed and kept as foreign."""
    listing.put(listed(100, 10, unused=unused))
    core.refresh(refresh(f"F{uuid4()}"))
    found = core.value("SELECT range_id FROM ranges WHERE status = 'foreign'")
    assert isinstance(found, UUID)
    return found


def release(core: Core, range_id: UUID) -> list[Told]:
    return core.run(lambda connection: core.releasing.release(connection, range_id, "checked by hand"))


def test_a_released_range_is_issued_from(listed_core: Core, listing: ScriptedListing) -> None:
    assert release(listed_core, foreign(listed_core, listing)) == []

    [assigned] = listed_core.issue(invoice("R1"))

    assert assigned.data["invoice_number"] == number(100)
    assert listed_core.rows("SELECT status, claim_mode, detail FROM ranges") == [
        ("active", "automatic", "released: checked by hand"),
    ]


def test_a_release_serves_those_who_wait_first(listed_core: Core, listing: ScriptedListing) -> None:
    listed_core.issue(*[invoice(f"R{n}") for n in range(12)])
    range_id = foreign(listed_core, listing)

    told = release(listed_core, range_id)

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)] == [f"R{n}" for n in range(10)]
    [exhausted] = of(Topic.RANGE_EXHAUSTED, told)
    assert (exhausted.data["waiting"], exhausted.data["episode"]) == (2, 2)


def test_however_many_wait_a_release_leaves_nobody_behind_whom_its_range_can_serve(
    listed_core: Core,
    listing: ScriptedListing,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.stocking._MOST_AT_ONCE", 3)
    listed_core.issue(*[invoice(f"R{n}") for n in range(8)])

    told = release(listed_core, foreign(listed_core, listing))

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)] == [f"R{n}" for n in range(8)]
    assert listed_core.rows("SELECT last_sequence - next_sequence + 1 FROM ranges") == [(2,)]


def test_an_unknown_range_is_not_released(core: Core) -> None:
    with pytest.raises(ReleaseRefusedError, match="there is no range"):
        release(core, uuid4())


def test_only_a_foreign_range_is_released(core: Core) -> None:
    core.fill(10)

    with pytest.raises(ReleaseRefusedError, match="it is active"):
        release(core, core.value("SELECT range_id FROM ranges"))


def test_a_range_is_released_once(listed_core: Core, listing: ScriptedListing) -> None:
    range_id = foreign(listed_core, listing)
    release(listed_core, range_id)

    with pytest.raises(ReleaseRefusedError, match="it is active"):
        release(listed_core, range_id)


def test_a_range_of_which_the_gateway_counts_uses_is_not_released(listed_core: Core, listing: ScriptedListing) -> None:
    range_id = foreign(listed_core, listing, unused=9)

    with pytest.raises(ReleaseRefusedError, match="9 of 10"):
        release(listed_core, range_id)
    assert listed_core.value("SELECT status FROM ranges") == "foreign"


def test_a_range_whose_year_is_over_is_not_released(listed_core: Core, listing: ScriptedListing) -> None:
    range_id = foreign(listed_core, listing)
    listed_core.clock.set(in_china("2027-01-03"))

    with pytest.raises(ReleaseRefusedError, match="its year 2026 is over"):
        release(listed_core, range_id)


def test_a_range_that_overlaps_one_held_is_not_released(listed_core: Core, listing: ScriptedListing) -> None:
    range_id = foreign(listed_core, listing)
    listed_core.fill(10, first=105)

    with pytest.raises(ReleaseRefusedError, match="overlaps"):
        release(listed_core, range_id)


def test_a_range_that_nobody_could_draw_from_is_not_released(listed_core: Core, listing: ScriptedListing) -> None:
    range_id = foreign(listed_core, listing)
    listed_core.change("DELETE FROM organizations")

    with pytest.raises(ReleaseRefusedError, match="no organisation"):
        release(listed_core, range_id)


def test_a_refusal_names_the_range(core: Core) -> None:
    core.fill(10)
    range_id = core.value("SELECT range_id FROM ranges")

    with pytest.raises(ReleaseRefusedError) as refusal:
        release(core, range_id)

    assert str(range_id) in str(refusal.value)
    assert core.rows("SELECT status FROM ranges") == [("active",)]
    assert json.dumps(str(refusal.value)).count("\\n") == 0
