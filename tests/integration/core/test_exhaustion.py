"""Exhaustion: told once for each time that a stock runs out, and it leads to one claim (rule 7)."""

import pytest

from schemas.topics import Topic
from tests.support.core.asked import invoice, invoices
from tests.support.core.authority import granted
from tests.support.core.clock import in_china
from tests.support.core.world import OTHER_TAXPAYER, Core, at_once, of


def test_the_last_number_taken_exhausts_the_stock(core: Core) -> None:
    numbers = core.fill(3)

    told = core.issue(*invoices(3))

    [exhausted] = of(Topic.RANGE_EXHAUSTED, told)
    assert exhausted.data == {
        "taxpayer_id": "91350100M000100Y43",
        "channel_mode": "self-use",
        "year": 2026,
        "episode": 1,
        "last_number": numbers[-1],
        "waiting": 0,
        "exhausted_at": "2026-11-23T02:00:00.000000Z",
        "environment": "sandbox",
    }


def test_a_first_request_that_finds_none_exhausts_a_stock_that_never_had_any(core: Core) -> None:
    [exhausted] = core.issue(invoice("R1"))

    assert (exhausted.data["episode"], exhausted.data["last_number"], exhausted.data["waiting"]) == (1, None, 1)


def test_one_batch_that_takes_the_last_and_wants_more_exhausts_once(core: Core) -> None:
    core.fill(2)

    [exhausted] = of(Topic.RANGE_EXHAUSTED, core.issue(*invoices(5)))

    assert exhausted.data["waiting"] == 3


def test_an_exhausted_stock_is_not_exhausted_again_by_those_who_come_later(core: Core) -> None:
    core.issue(invoice("R1"))

    assert core.issue(invoice("R2"), invoice("R3")) == []


def test_taking_all_but_one_exhausts_nothing(core: Core) -> None:
    core.fill(3)

    assert of(Topic.RANGE_EXHAUSTED, core.issue(*invoices(2))) == []


def test_each_exhaustion_is_an_episode_of_its_own(core: Core) -> None:
    core.fill(1)
    first = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("R1")))
    core.fill(1)
    second = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("R2")))

    assert [each.data["episode"] for each in first + second] == [1, 2]
    assert first[0].id != second[0].id


def test_the_event_leads_to_one_claim_however_often_it_comes(core: Core, second: Core) -> None:
    [exhausted] = core.issue(invoice("R1"))

    core.hear(exhausted)
    core.hear(exhausted, exhausted)
    second.hear(exhausted)

    assert core.value("SELECT count(*) FROM claims") == 1


def test_a_late_copy_does_nothing(core: Core) -> None:
    [exhausted] = core.issue(invoice("R1"))
    core.hear(exhausted)
    core.call()
    core.hear(exhausted)
    assert core.value("SELECT count(*) FROM claims") == 1

    # Exhausted again, in a second episode: the first one's event is none of it.
    core.change("UPDATE stocks SET level = 'exhausted', episode = 2, exhausted_at = now()")
    core.hear(exhausted)
    assert core.value("SELECT count(*) FROM claims") == 1


@pytest.mark.parametrize("late_first", [True, False], ids=["late-first", "late-last"])
def test_a_late_copy_in_the_same_batch_does_not_hide_the_present_episode(core: Core, *, late_first: bool) -> None:
    core.fill(1)
    [old] = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("R1")))
    core.fill(1)
    [present] = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("R2")))

    core.hear(*([old, present] if late_first else [present, old]))

    assert core.value("SELECT episode FROM claims") == 2


def test_an_event_of_a_stock_that_is_none_of_ours_does_nothing(core: Core) -> None:
    [exhausted] = core.issue(invoice("R1"))
    exhausted.data["taxpayer_id"] = OTHER_TAXPAYER

    core.hear(exhausted)

    assert core.value("SELECT count(*) FROM claims") == 0
    assert core.value("SELECT count(*) FROM stocks") == 1


def test_a_lost_event_is_made_up_for_by_the_timed_look(core: Core) -> None:
    core.issue(invoice("R1"))

    core.look_for_claimless_stocks()
    core.look_for_claimless_stocks()

    assert core.rows("SELECT status, claim_mode, quantity, episode FROM claims") == [("open", "automatic", 1000, 1)]


def test_eight_workers_at_once_make_one_claim(core: Core) -> None:
    [exhausted] = core.issue(invoice("R1"))

    at_once(*([lambda: core.hear(exhausted), core.look_for_claimless_stocks] * 4))

    assert core.value("SELECT count(*) FROM claims") == 1


def test_the_claims_quantity_is_the_organizations_policy(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER, claim_quantity=5000)
    core.issue(invoice("R1", organization="B"))

    core.look_for_claimless_stocks()

    assert core.rows("SELECT quantity, using_unit_id, organization FROM claims") == [(5000, "UU-741K", "B")]


def test_without_automatic_claims_requests_wait_and_nothing_is_claimed(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER, automatic_claims=False)
    [exhausted] = core.issue(invoice("R1", organization="B"))

    core.hear(exhausted)
    core.look_for_claimless_stocks()

    assert core.value("SELECT count(*) FROM claims") == 0
    assert core.value("SELECT status FROM issue_requests") == "waiting"


def test_automatic_claims_switched_on_take_up_what_waits(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER, automatic_claims=False)
    core.issue(invoice("R1", organization="B"))
    core.change("UPDATE channels SET automatic_claims = true")

    told = core.claim_and_call()

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)] == ["R1"]


def test_an_old_years_stock_is_exhausted_but_never_claimed_for(core: Core) -> None:
    core.fill(1, year=2026)
    core.clock.set(in_china("2027-01-01", "08:00"))
    [exhausted] = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("R1", issue_date="2026-12-31")))

    core.hear(exhausted)
    core.look_for_claimless_stocks()

    assert core.value("SELECT count(*) FROM claims") == 0


def test_a_stock_with_a_grant_is_no_stock_that_needs_a_claim(core: Core) -> None:
    core.issue(invoice("R1"))
    core.authority.will(granted(1, 1000))
    core.claim_and_call()

    core.look_for_claimless_stocks()

    assert core.value("SELECT count(*) FROM claims") == 1
