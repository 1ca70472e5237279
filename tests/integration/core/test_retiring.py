"""A move to another province: what was claimed before the day goes out of use, and nothing else (domain rule 7)."""

from datetime import date

import pytest

from schemas.topics import Topic
from tests.support.core.asked import binding, claim, invoice, invoices, outcome, refresh
from tests.support.core.authority import ScriptedListing, granted, listed
from tests.support.core.clock import in_china
from tests.support.core.world import ENVIRONMENT, OTHER_TAXPAYER, TAXPAYER, Core, Told, of
from worker.leqi.port import Answer, ClaimCall
from worker.retiring import Retirement, Retiring, RetiringRefusedError

MOVE = date(2026, 11, 24)
EVENING, MORNING = in_china("2026-11-23", "23:59"), in_china("2026-11-24", "00:00")


def retire(core: Core, taxpayer_id: str = TAXPAYER, before: date = MOVE) -> list[Told]:
    retiring = Retiring(ENVIRONMENT, core.clock)
    return core.run(
        lambda connection: retiring.retire(
            connection,
            taxpayer_id,
            before,
            reason="moved to Hainan",
            requested_by="li",
        )[1],
    )


def foresee(core: Core, before: date = MOVE) -> Retirement:
    with core.engine.connect() as connection:
        return Retiring(ENVIRONMENT, core.clock).foresee(connection, TAXPAYER, before)


def rows_of_everything(core: Core) -> list[object]:
    tables = ("stocks", "ranges", "numbers", "number_history", "claims", "issue_requests", "outbox")
    return [core.rows(f"SELECT * FROM {table} ORDER BY 1, 2, 3, 4, 5") for table in tables]  # noqa: S608 -- constants


def test_every_older_range_goes_with_its_available_released_and_bound_numbers(core: Core) -> None:
    core.clock.set(EVENING)
    numbers = core.fill(10)
    manual = core.manual(4)
    core.issue(*invoices(3))
    core.report(outcome(numbers[0], "failed", "R1"))
    core.bind(binding(manual[1], "LATER"))

    told = retire(core)

    assert sorted((each.data["unused"], each.data["reason"]) for each in of(Topic.RANGE_EXPIRED, told)) == [
        (4, "retired"),
        (8, "retired"),
    ]
    assert core.rows("SELECT DISTINCT status, detail FROM ranges") == [("retired", "retired: moved to Hainan")]
    assert dict(core.rows("SELECT status, count(*) FROM numbers GROUP BY status")) == {"assigned": 2, "expired": 5}
    assert core.rows("SELECT DISTINCT changed_by, requested_by FROM numbers WHERE status = 'expired'") == [
        ("retire-ranges", "li"),
    ]
    assert [each.data["reason"] for each in core.issue(invoice("LATER", number=manual[0]))] == ["number-not-available"]


def test_ranges_claimed_on_the_day_and_those_of_others_stay(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.clock.set(EVENING)
    core.fill(5)
    core.fill(5, taxpayer_id=OTHER_TAXPAYER)
    core.clock.set(MORNING)
    [kept, *_] = core.fill(5)

    assert of(Topic.RANGE_EXHAUSTED, retire(core)) == []

    assert dict(core.rows("SELECT status, count(*) FROM ranges GROUP BY status")) == {"retired": 1, "active": 2}
    [assigned] = core.issue(invoice("R1"))
    assert assigned.data["invoice_number"] == kept


def test_a_number_of_a_retired_range_never_comes_back(core: Core) -> None:
    core.clock.set(EVENING)
    [number] = core.fill(1)
    core.issue(invoice("R1"))
    assert core.rows("SELECT status FROM ranges") == [("used-up",)]
    retire(core)
    core.fill(1)
    core.report(outcome(number, "failed", "R1"))

    told = core.issue(invoice("R2"), invoice("R3"))

    assert number not in [each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, told)]
    assert core.rows("SELECT status FROM ranges ORDER BY created_at, first_sequence")[0] == ("retired",)


def test_a_stock_that_has_nothing_left_is_claimed_for_anew_and_who_waits_goes_on_waiting(core: Core) -> None:
    core.clock.set(EVENING)
    core.fill(5)
    exhausted = of(Topic.RANGE_EXHAUSTED, retire(core))
    assert [each.data["waiting"] for each in exhausted] == [0]
    core.issue(invoice("R1"))
    retire(core)
    assert core.rows("SELECT issue_request_id FROM issue_requests WHERE status = 'waiting'") == [("R1",)]

    core.hear(*exhausted)
    [assigned] = of(Topic.NUMBER_ASSIGNED, core.call())

    assert assigned.data["issue_request_id"] == "R1"


def test_what_is_left_may_be_low(core: Core) -> None:
    core.clock.set(EVENING)
    core.fill(50)
    core.clock.set(MORNING)
    core.fill(5, low_at=10)

    [low] = of(Topic.RANGE_LOW, retire(core))

    assert (low.data["remaining"], low.data["threshold"]) == (5, 10)


def test_a_claim_made_before_the_move_brings_nothing_any_more(core: Core) -> None:
    core.clock.set(EVENING)
    core.issue(invoice("R1"))
    core.authority.will(core.authority.lose)
    core.claim_and_call()
    core.clock.set(MORNING)

    [failed] = of(Topic.CLAIM_FAILED, retire(core))

    assert failed.data["reason"] == "retired"
    assert list(core.statuses.values()) == ["abandoned"]
    core.clock.advance(minutes=1)
    assert core.call() == []
    told = core.claim_and_call()
    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)] == ["R1"]
    assert len({call.business_serial for call in core.authority.calls}) == 2


def test_the_answer_of_a_call_under_way_is_not_stored(core: Core) -> None:
    core.clock.set(EVENING)
    core.issue(invoice("R1"))

    def answer_after_the_move(_call: ClaimCall) -> Answer:
        core.clock.set(MORNING)
        retire(core)
        return granted(700_000, 1000)

    core.authority.will(answer_after_the_move)
    core.claim_and_call()

    assert core.rows("SELECT count(*) FROM ranges") == [(0,)]


def test_a_late_grant_counts_by_when_it_was_asked_for(core: Core) -> None:
    core.clock.set(EVENING)
    core.issue(invoice("R1"))
    core.authority.will(core.authority.lose)
    core.claim_and_call()
    core.clock.set(MORNING)
    core.call()
    assert core.rows("SELECT status FROM ranges") == [("active",)]

    retire(core)

    assert core.rows("SELECT status FROM ranges") == [("retired",)]


def test_a_range_that_the_gateway_lists_for_a_claim_given_up_is_foreign(
    listed_core: Core,
    listing: ScriptedListing,
) -> None:
    core = listed_core
    core.clock.set(EVENING)
    core.request_claims(claim(quantity=10))
    core.authority.will(core.authority.lose)
    core.call()
    serial = core.authority.calls[0].business_serial
    core.clock.set(MORNING)
    retire(core)
    listing.put(listed(500_000, 10, serial=serial))

    core.refresh(refresh())

    assert core.rows("SELECT status FROM ranges") == [("foreign",)]
    assert list(core.statuses.values()) == ["abandoned"]


def test_a_foreign_range_from_before_the_move_is_retired_with_what_its_gateway_counts(
    listed_core: Core,
    listing: ScriptedListing,
) -> None:
    core = listed_core
    core.clock.set(EVENING)
    listing.put(listed(700_000, 10, unused=3))
    core.refresh(refresh())

    [expired] = of(Topic.RANGE_EXPIRED, retire(core))

    assert expired.data["unused"] == 3
    assert core.rows("SELECT status FROM ranges") == [("retired",)]


def test_what_is_foreseen_is_what_happens_and_foreseeing_changes_nothing(core: Core) -> None:
    core.clock.set(EVENING)
    core.fill(10)
    core.manual(4)
    core.issue(*invoices(3))
    core.request_claims(claim("OPEN"))
    before = rows_of_everything(core)

    foreseen = foresee(core)

    assert rows_of_everything(core) == before
    assert [each.claim_id for each in foreseen.claims] == ["OPEN"]
    told = retire(core)
    assert {str(held.range_id): unused for held, unused in foreseen.ranges} == {
        each.data["range_id"]: each.data["unused"] for each in of(Topic.RANGE_EXPIRED, told)
    }
    assert foresee(core) == Retirement([], [])
    assert retire(core) == []


def test_a_taxpayer_that_nobody_registered_is_refused(core: Core) -> None:
    with pytest.raises(RetiringRefusedError, match="no organisation"):
        retire(core, "92330203MA7ETU5T10")
