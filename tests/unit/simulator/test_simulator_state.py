"""What the fake authority remembers over restarts, crashes and full disks."""

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from worker.clock import Clock
from worker.leqi.simulator_clock import SHANGHAI, ClockError, read_instant
from worker.leqi.simulator_journal import StateError, StateNotWrittenError
from worker.leqi.simulator_records import (
    Grant,
    ListedChange,
    ListedRange,
    ListingEdits,
    Order,
    Shape,
)
from worker.leqi.simulator_state import (
    AuthorityState,
    SerialConflictError,
    UnknownSerialError,
)

TAXPAYER = "91440300587908164C"
NEW_YEAR = datetime(2027, 1, 1, tzinfo=SHANGHAI)
FOREIGN: dict[str, object] = {
    "first_number": "26957000000000000001",
    "last_number": "26957000000000000050",
    "quantity": 50,
    "unused": 20,
    "taxpayer_id": TAXPAYER,
}


def order(serial: str = "S1", other: dict[str, object] | None = None) -> Order:
    fields: dict[str, object] = {
        "environment": "sandbox",
        "channel": "70",
        "taxpayer_id": TAXPAYER,
        "quantity": 100,
        "business_serial": serial,
    }
    return Order.model_validate(fields | (other or {}))


def claim(state: AuthorityState, an_order: Order, shape: Shape = Shape.WHOLE) -> Grant:
    return state.claim(an_order, shape, 0.5)


def test_a_replay_brings_the_same_range_and_is_counted() -> None:
    state = AuthorityState(None)
    first = claim(state, order())
    assert claim(state, order(), Shape.WRONG_YEAR) == first
    (row,) = state.grants()
    assert (row.first_number, row.last_number) == (
        first.first_number,
        first.last_number,
    )
    assert row.times_asked == 2


@pytest.mark.parametrize(
    "other",
    [
        {"quantity": 99},
        {"taxpayer_id": "91110000101623741K"},
        {"channel": "71"},
        {"environment": "production"},
    ],
)
def test_a_serial_can_not_be_used_for_anything_else(other: dict[str, object]) -> None:
    state = AuthorityState(None)
    claim(state, order())
    with pytest.raises(SerialConflictError):
        claim(state, order("S1", other))
    (row,) = state.grants()
    assert row.times_asked == 1


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state"
    before = AuthorityState(path)
    claim(before, order("S1"))
    claim(before, order("S1"))
    claim(before, order("S2"), Shape.OVERLAPPING)
    claim(before, order("S3"), Shape.WRONG_CHANNEL)
    claim(before, order("S4"), Shape.SHORT)
    before.set_clock(NEW_YEAR)
    before.edit_listing(
        ListingEdits(
            add=(ListedRange.model_validate(FOREIGN),),
            change={"S1": ListedChange(unused=7)},
            hide=("S2",),
        )
    )
    grants, listed, edits = before.grants(), before.listed(None), before.listing_edits()
    expected = claim(before, order("S5"))
    before.close()

    after = AuthorityState(path)
    assert after.grants()[:-1] == grants
    assert after.listed(None)[:3] == listed[:3]
    assert after.listing_edits() == edits
    assert timedelta() <= after.now() - NEW_YEAR < timedelta(minutes=5)
    assert claim(after, order("S5")) == expected
    following = claim(after, order("S6"))
    assert int(following.first_number) == int(expected.last_number) + 1
    after.close()


def test_a_torn_last_line_was_never_answered_and_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = AuthorityState(path)
    first = claim(state, order("S1"))
    claim(state, order("S2"))
    state.close()
    content = path.read_bytes()
    path.write_bytes(content[:-5])

    state = AuthorityState(path)
    assert [row.business_serial for row in state.grants()] == ["S1"]
    second = claim(state, order("S3"))
    assert int(second.first_number) == int(first.last_number) + 1
    state.close()
    state = AuthorityState(path)
    assert [row.business_serial for row in state.grants()] == ["S1", "S3"]
    state.close()


@pytest.mark.parametrize(
    "content",
    [
        b"not a record\n",
        b'{"kind":"grant"}\n',
        b'{"kind":"other"}\n',
        b"\n",
        b'{"kind":"asked","business_serial":"never granted"}\n',
        b'{"kind":"clock","ahead_seconds":1e300}\n',
        b"\xff\xfe\n",
    ],
)
def test_any_other_damage_is_refused_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state"
    path.write_bytes(content)
    with pytest.raises(StateError) as caught:
        AuthorityState(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == content


def test_a_state_file_has_one_user_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "state"
    state = AuthorityState(path)
    with pytest.raises(StateError, match="another simulator"):
        AuthorityState(path)
    state.close()
    AuthorityState(path).close()


@pytest.mark.parametrize("name", [".", "missing/state"])
def test_a_path_that_can_not_be_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StateError, match="state file"):
        AuthorityState(tmp_path / name)


def test_a_grant_that_can_not_be_stored_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    state = AuthorityState(path)
    claim(state, order("S1"))

    def full_disk(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(StateNotWrittenError):
            claim(state, order("S2"))
    assert [row.business_serial for row in state.grants()] == ["S1"]
    claim(state, order("S3"))
    state.close()
    state = AuthorityState(path)
    assert [row.business_serial for row in state.grants()] == ["S1", "S3"]
    state.close()


def test_a_closed_state_file_takes_no_more(tmp_path: Path) -> None:
    state = AuthorityState(tmp_path / "state")
    state.close()
    with pytest.raises(StateNotWrittenError):
        claim(state, order())
    assert state.grants() == []


def test_time_flows_on_from_the_set_instant() -> None:
    state = AuthorityState(None)
    assert abs(state.now() - Clock().now()) < timedelta(minutes=1)
    set_to = state.set_clock(datetime(2026, 12, 31, 16, tzinfo=UTC))
    assert set_to.isoformat().startswith("2027-01-01T00:00:00")
    assert set_to.utcoffset() == timedelta(hours=8)
    assert state.now() >= set_to
    assert claim(state, order()).first_number.startswith("27")


@pytest.mark.parametrize(
    "text",
    ["", "now", "2027-01-01T00:00:00", "1999-01-01T00:00:00Z", None, 7, "9999-12-31"],
)
def test_what_is_no_instant_is_refused(text: object) -> None:
    with pytest.raises(ClockError, match="now must"):
        read_instant(text)


def test_the_listing_shows_grants_unless_it_was_edited() -> None:
    state = AuthorityState(None)
    first, second = claim(state, order("S1")), claim(state, order("S2"))
    other = claim(state, order("S3", {"taxpayer_id": "91110000101623741K"}))
    assert [item.business_serial for item in state.listed(TAXPAYER)] == ["S1", "S2"]
    assert len(state.listed(None)) == 3
    item = state.listed(TAXPAYER)[0]
    assert item.model_dump() == {
        "first_number": first.first_number,
        "last_number": first.last_number,
        "quantity": 100,
        "unused": 100,
        "claimed_at": first.claimed_at,
        "taxpayer_id": TAXPAYER,
        "business_serial": "S1",
    }

    state.edit_listing(
        ListingEdits.model_validate(
            {
                "add": [FOREIGN],
                "change": {
                    "S2": {
                        "quantity": 90,
                        "unused": 4,
                        "last_number": first.last_number,
                    }
                },
                "hide": ["S1"],
            }
        )
    )
    changed, added = state.listed(TAXPAYER)
    assert (changed.first_number, changed.last_number) == (
        second.first_number,
        first.last_number,
    )
    assert (changed.quantity, changed.unused) == (90, 4)
    assert added == ListedRange.model_validate(FOREIGN)
    assert [item.business_serial for item in state.listed(other.order.taxpayer_id)] == ["S3"]


def test_the_truth_is_not_changed_by_the_listing() -> None:
    state = AuthorityState(None)
    claim(state, order("S1"))
    before = state.grants()
    state.edit_listing(ListingEdits(change={"S1": ListedChange(quantity=1)}, hide=("S1",)))
    assert state.grants() == before


def test_numbers_that_another_system_claimed_are_not_granted() -> None:
    state = AuthorityState(None)
    first = claim(state, order("S1"))
    taken = int(first.last_number) + 51
    foreign = FOREIGN | {"first_number": str(taken), "last_number": str(taken + 9)}
    state.edit_listing(ListingEdits.model_validate({"add": [foreign]}))
    assert int(claim(state, order("S2")).first_number) == taken + 10


@pytest.mark.parametrize(
    "edits",
    [ListingEdits(hide=("S9",)), ListingEdits(change={"S9": ListedChange(unused=1)})],
)
def test_edits_of_a_serial_never_granted_are_refused(edits: ListingEdits) -> None:
    state = AuthorityState(None)
    claim(state, order("S1"))
    with pytest.raises(UnknownSerialError, match="S9"):
        state.edit_listing(edits)


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_number": "2695700000000000001"},
        {"first_number": 26957000000000000001},
        {"last_number": "26957100000000000050"},
        {"last_number": "26957000000000000000"},
        {"last_number": "26957099000000000000"},
        {"quantity": -1},
        {"unused": "20"},
        {"taxpayer_id": ""},
        {"more": 1},
    ],
)
def test_an_added_range_must_make_sense(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ListedRange.model_validate(FOREIGN | wrong)
