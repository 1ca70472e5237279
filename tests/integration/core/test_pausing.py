"""Pausing a taxpayer: nothing leaves its automatic stock, nothing is claimed, and who waits is served on resuming."""

from collections.abc import Callable
from functools import partial

import pytest

from schemas.topics import Topic
from tests.support.core.asked import invoice, invoices
from tests.support.core.clock import in_china
from tests.support.core.world import DIRECT_UNIT, ENVIRONMENT, OTHER_TAXPAYER, TAXPAYER, Core, Told, of
from worker.claiming import Claiming
from worker.decisions.claims import ClaimTerms
from worker.leqi.port import new_business_serial
from worker.pausing import Pausing, PausingRefusedError

Hand = Callable[[str], list[Told]]


@pytest.fixture
def pausing(core: Core) -> Pausing:
    serial = partial(new_business_serial, direct_unit_id=DIRECT_UNIT)
    return Pausing(ENVIRONMENT, core.clock, Claiming(ENVIRONMENT, core.clock, serial, None, ClaimTerms()))


@pytest.fixture
def pause(core: Core, pausing: Pausing) -> Hand:
    return lambda taxpayer_id: core.run(lambda connection: pausing.pause(connection, taxpayer_id, "a reason"))


@pytest.fixture
def resume(core: Core, pausing: Pausing) -> Hand:
    return lambda taxpayer_id: core.run(lambda connection: pausing.resume(connection, taxpayer_id, "a reason"))


def test_a_paused_taxpayers_requests_wait_and_are_served_in_their_order(core: Core, pause: Hand, resume: Hand) -> None:
    numbers = core.fill(10)
    pause(TAXPAYER)

    assert of(Topic.NUMBER_ASSIGNED, core.issue(*invoices(3))) == []
    assert core.value("SELECT count(*) FROM issue_requests WHERE status = 'waiting'") == 3

    told = of(Topic.NUMBER_ASSIGNED, resume(TAXPAYER))
    assert [(each.data["issue_request_id"], each.data["invoice_number"]) for each in told] == [
        ("R1", numbers[0]),
        ("R2", numbers[1]),
        ("R3", numbers[2]),
    ]


def test_nothing_is_claimed_while_paused_and_at_once_when_resumed(core: Core, pause: Hand, resume: Hand) -> None:
    pause(TAXPAYER)
    exhausted = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("R1")))
    core.hear(*exhausted)
    core.look_for_claimless_stocks()
    assert core.value("SELECT count(*) FROM claims") == 0

    resume(TAXPAYER)

    assert core.value("SELECT count(*) FROM claims WHERE status = 'open'") == 1
    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, core.call())] == ["R1"]


def test_a_grant_that_comes_while_paused_is_kept_for_those_who_wait(core: Core, pause: Hand, resume: Hand) -> None:
    core.hear(*core.issue(invoice("R1")))
    pause(TAXPAYER)

    assert of(Topic.NUMBER_ASSIGNED, core.call()) == []

    assert len(of(Topic.NUMBER_ASSIGNED, resume(TAXPAYER))) == 1


def test_more_waiting_than_one_turn_serves_are_all_served(
    core: Core,
    pause: Hand,
    resume: Hand,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("worker.stocking._MOST_AT_ONCE", 2)
    core.fill(5)
    pause(TAXPAYER)
    core.issue(*invoices(7))

    told = resume(TAXPAYER)

    assert len(of(Topic.NUMBER_ASSIGNED, told)) == 5
    [exhausted] = of(Topic.RANGE_EXHAUSTED, told)
    assert exhausted.data["waiting"] == 2


def test_a_stock_that_is_made_later_is_paused_too(core: Core, pause: Hand) -> None:
    pause(TAXPAYER)
    core.clock.set(in_china("2027-01-02"))
    core.issue(invoice("R1", issue_date="2027-01-02"))

    assert core.rows("SELECT DISTINCT paused, paused_because FROM stocks") == [(True, "a reason")]


def test_another_taxpayer_goes_on(core: Core, pause: Hand) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(1, taxpayer_id=OTHER_TAXPAYER)
    pause(TAXPAYER)

    assert len(of(Topic.NUMBER_ASSIGNED, core.issue(invoice("R1", organization="B")))) == 1


def test_waiting_limits_go_on(core: Core, pause: Hand) -> None:
    core.fill(1)
    pause(TAXPAYER)
    core.issue(invoice("R1"))
    core.clock.advance(hours=25)

    [refused] = of(Topic.NUMBER_REFUSED, core.end_overdue())
    assert refused.data["reason"] == "no-stock"


def test_who_is_unknown_or_not_paused_is_said(pause: Hand, resume: Hand) -> None:
    with pytest.raises(PausingRefusedError, match="no organisation"):
        pause(OTHER_TAXPAYER)
    with pytest.raises(PausingRefusedError, match="not paused"):
        resume(TAXPAYER)
