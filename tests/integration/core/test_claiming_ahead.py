"""Claiming ahead: the crossing to low is told once, and leads to one claim before anybody waits (rule 7)."""

from datetime import timedelta

from schemas.topics import Topic
from tests.support.core.asked import invoice, invoices
from tests.support.core.authority import REFUSED
from tests.support.core.clock import in_china
from tests.support.core.world import OTHER_TAXPAYER, Core, of

_LEVEL = "SELECT level, low_at FROM stocks"
_QUANTITIES = "SELECT quantity FROM claims ORDER BY created_at, claim_id"


def stocked(core: Core, requests: int = 1) -> None:
    """Let the first requests wait for the stock's first claim, and be served by it."""
    core.hear(*of(Topic.RANGE_EXHAUSTED, core.issue(*invoices(requests, prefix="first"))))
    core.call()


def use(core: Core, taken: int, *, organization: str = "A") -> None:
    """Have used so many numbers in an hour of yesterday."""
    core.change(
        "INSERT INTO usage SELECT o.taxpayer_id, o.environment, o.channel_mode, :hour, :taken"
        " FROM organizations AS o WHERE o.code = :code",
        hour=core.clock.now().replace(minute=0) - timedelta(days=1),
        taken=taken,
        code=organization,
    )


def test_the_crossing_is_told_once_and_claims_once(core: Core, second: Core) -> None:
    stocked(core)
    assert core.rows(_LEVEL) == [("ok", 200)]

    assert of(Topic.RANGE_LOW, core.issue(*invoices(798, prefix="A"))) == []
    [low] = of(Topic.RANGE_LOW, core.issue(invoice("B")))
    assert of(Topic.RANGE_LOW, core.issue(invoice("C"))) == []
    core.hear(low, low)
    second.hear(low)

    assert (low.data["remaining"], low.data["threshold"], low.data["episode"]) == (200, 200, 1)
    assert low.data["days_left"] == 0.25
    assert core.rows(_QUANTITIES) == [(1000,), (1000,)]


def test_the_next_range_arms_it_again_and_late_copies_do_nothing(core: Core) -> None:
    stocked(core)
    [first] = of(Topic.RANGE_LOW, core.issue(*invoices(799, prefix="A")))
    core.hear(first)
    core.call()
    core.hear(first)
    assert len(core.rows(_QUANTITIES)) == 2
    assert core.rows(_LEVEL) == [("ok", 200)]

    [second_low] = of(Topic.RANGE_LOW, core.issue(*invoices(1000, prefix="B")))

    assert second_low.id != first.id
    assert core.value("SELECT count(*) FROM issue_requests WHERE status = 'waiting'") == 0


def test_a_batch_that_crosses_both_is_told_as_exhausted(core: Core) -> None:
    stocked(core)

    told = core.issue(*invoices(999, prefix="A"))

    assert of(Topic.RANGE_LOW, told) == []
    assert len(of(Topic.RANGE_EXHAUSTED, told)) == 1


def test_a_refused_claim_of_a_low_stock_is_followed_by_another(core: Core) -> None:
    stocked(core)
    [low] = of(Topic.RANGE_LOW, core.issue(*invoices(799, prefix="A")))
    core.authority.will(REFUSED)
    core.hear(low)
    core.call()
    core.hear(low)
    core.look_for_claimless_stocks()
    assert len(core.rows(_QUANTITIES)) == 2

    core.clock.advance(seconds=11)
    core.claim_and_call()

    assert core.rows(_LEVEL) == [("ok", 200)]


def test_with_a_threshold_of_nothing_only_an_empty_stock_claims(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER, low_threshold=0)
    core.hear(*core.issue(invoice("R1", organization="B")))
    core.call()

    told = core.issue(*invoices(999, organization="B", prefix="S"))

    assert of(Topic.RANGE_LOW, told) == []
    assert len(of(Topic.RANGE_EXHAUSTED, told)) == 1


def test_by_demand_the_claim_covers_the_busiest_hour(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER, claim_sizing="demand")
    use(core, 3_000, organization="B")
    core.hear(*core.issue(invoice("R1", organization="B")))

    assert core.rows(_QUANTITIES) == [(3_001,)]


def test_by_demand_claims_follow_each_other_where_one_is_not_enough(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER, claim_sizing="demand")
    use(core, 12_000, organization="B")
    told = core.issue(invoice("R1", organization="B"))
    while told:
        core.hear(*of(Topic.RANGE_EXHAUSTED, told), *of(Topic.RANGE_LOW, told))
        told = core.call()
        told = of(Topic.RANGE_LOW, told)

    assert sorted(core.rows(_QUANTITIES)) == [(3_001,), (5_000,), (5_000,)]
    assert core.rows("SELECT level FROM stocks") == [("ok",)]


def test_in_december_a_low_stock_that_lasts_the_year_claims_nothing(core: Core) -> None:
    stocked(core)
    core.clock.set(in_china("2026-12-30"))
    core.change("DELETE FROM usage")
    use(core, 10)
    core.change("UPDATE stocks SET level = 'low'")

    core.look_for_claimless_stocks()

    assert len(core.rows(_QUANTITIES)) == 1
    assert core.rows(_LEVEL) == [("ok", 0)]


def test_in_december_an_empty_stock_claims_what_the_year_still_uses(core: Core) -> None:
    core.clock.set(in_china("2026-12-30"))
    use(core, 240)
    core.hear(*core.issue(invoice("R1", issue_date="2026-12-30")))

    # Two days that have begun, a quarter more, and the one who waits.
    assert core.rows(_QUANTITIES) == [(601,)]
