"""Refreshing without a gateway: replays, recounts, expires, and answers once for each taxpayer (rule 11)."""

import pytest

from schemas.topics import Topic
from tests.support.core.asked import claim, invoice, invoices, refresh
from tests.support.core.authority import REFUSED, THROTTLED, UNKNOWN
from tests.support.core.clock import in_china
from tests.support.core.world import OTHER_TAXPAYER, TAXPAYER, Core, at_once, of


def test_a_refresh_counts_from_the_ledger(core: Core) -> None:
    core.fill(10)
    core.fill(5)
    core.issue(*invoices(12))
    core.request_claims(claim(quantity=7))
    core.call()

    [refreshed] = core.refresh(refresh("F1"))

    assert refreshed.data == {
        "refresh_id": "F1",
        "taxpayer_id": TAXPAYER,
        "ranges": 3,
        "claimed": 22,
        "remaining": 10,
        "resolved_claims": 0,
        "unresolved_claims": 0,
        "expired": 0,
        "foreign": 0,
        "differences": [],
        "environment": "sandbox",
    }


@pytest.mark.parametrize(
    ("item", "concerned"),
    [
        pytest.param(refresh("F1"), {TAXPAYER, OTHER_TAXPAYER}, id="all"),
        pytest.param(refresh("F1", organization="B"), {OTHER_TAXPAYER}, id="organization"),
        pytest.param(refresh("F1", taxpayer_id=TAXPAYER), {TAXPAYER}, id="taxpayer"),
    ],
)
def test_a_refresh_answers_for_each_taxpayer_concerned(core: Core, item: object, concerned: set[str]) -> None:
    core.register("A2")
    core.register("B", OTHER_TAXPAYER)

    told = core.refresh(item)  # type: ignore[arg-type]

    assert sorted(each.data["taxpayer_id"] for each in told) == sorted(concerned)
    assert len({each.id for each in told}) == len(concerned)


def test_a_refresh_id_already_answered_gets_the_same_event(core: Core) -> None:
    core.fill(10)
    first = core.refresh(refresh("F1"))
    core.clock.advance(days=1)
    core.issue(invoice("R1"))
    core.told()

    assert core.refresh(refresh("F1")) == first


def test_a_refresh_id_already_answered_asks_nobody_again(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(UNKNOWN, UNKNOWN)
    core.call()
    core.refresh(refresh("F1"))
    core.refresh(refresh("F1"))

    assert len(core.authority.calls) == 2


def test_one_refresh_id_by_workers_at_once_has_one_answer(core: Core, second: Core) -> None:
    core.fill(10)

    at_once(*[lambda worker=worker: worker.refreshing.handle([refresh("F1")]) for worker in (core, second) * 2])

    told = core.told()
    assert len(told) == 4
    assert all(each == told[0] for each in told)


def test_a_refresh_replays_unknown_claims_without_waiting_for_their_time(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(core.authority.lose)
    core.call()

    told = core.refresh(refresh("F1"))

    assert [each.topic for each in told] == [Topic.RANGE_CLAIMED, Topic.RANGE_REFRESHED]
    assert (told[1].data["resolved_claims"], told[1].data["unresolved_claims"]) == (1, 0)
    assert told[1].data["remaining"] == 10


def test_a_refresh_replays_each_unknown_claim_once(core: Core) -> None:
    core.request_claims(claim("C1"), claim("C2"))
    core.authority.will(*[UNKNOWN] * 4)
    core.call()

    [refreshed] = core.refresh(refresh("F1"))

    assert (refreshed.data["resolved_claims"], refreshed.data["unresolved_claims"]) == (0, 2)
    assert len(core.authority.calls) == 4


@pytest.mark.parametrize("answer", [REFUSED, THROTTLED], ids=["refused", "throttled"])
def test_a_replay_by_a_refresh_that_is_not_granted_settles_nothing(core: Core, answer: object) -> None:
    core.request_claims(claim())
    core.authority.will(UNKNOWN, answer)  # type: ignore[arg-type]
    core.call()

    core.refresh(refresh("F1"))

    assert core.statuses == {"C1": "open"}


def test_a_refresh_keeps_to_the_throttle(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(THROTTLED)
    core.call()

    core.refresh(refresh("F1"))

    assert len(core.authority.calls) == 1


def test_a_claim_in_another_workers_turn_is_not_called_by_a_refresh(core: Core, second: Core) -> None:
    core.request_claims(claim())
    assert second.calls._take(most=1)  # noqa: SLF001 -- a call under way elsewhere

    [refreshed] = core.refresh(refresh("F1"))

    assert refreshed.data["unresolved_claims"] == 1
    assert core.authority.calls == []


def test_a_refresh_expires_what_the_year_rule_ends(core: Core) -> None:
    core.fill(10, year=2026)
    core.clock.set(in_china("2027-01-03", "00:00"))

    told = core.refresh(refresh("F1"))

    [refreshed] = of(Topic.RANGE_REFRESHED, told)
    assert [each.topic for each in told] == [Topic.RANGE_EXPIRED, Topic.RANGE_REFRESHED]
    assert (refreshed.data["expired"], refreshed.data["remaining"], refreshed.data["ranges"]) == (1, 0, 0)


@pytest.mark.parametrize(
    "item",
    [refresh("F1", organization="nobody"), refresh("F1", taxpayer_id=OTHER_TAXPAYER)],
    ids=["organization", "taxpayer"],
)
def test_a_refresh_of_somebody_unknown_says_so(core: Core, item: object) -> None:
    [refreshed] = core.refresh(item)  # type: ignore[arg-type]

    assert [each["kind"] for each in refreshed.data["differences"]] == ["not-registered"]
    assert refreshed.data["ranges"] == 0


def test_several_refreshes_in_one_batch_are_each_answered(core: Core) -> None:
    told = core.refresh(refresh("F1"), refresh("F2"), refresh("F1"))

    assert [each.data["refresh_id"] for each in told] == ["F1", "F2", "F1"]
    assert told[0] == told[2]
