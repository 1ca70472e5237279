"""Both sides of China's midnight, one day in UTC: the rules 3 and 9 of the contract, and the year's first claims."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from schemas.topics import Topic
from tests.support.core.asked import binding, claim, invoice, outcome
from tests.support.core.authority import REFUSED, UNKNOWN, granted
from tests.support.core.clock import HandClock, in_china
from tests.support.core.world import ENVIRONMENT, OTHER_TAXPAYER, TAXPAYER, Core, at_once, of
from worker.leqi.port import Answer, ClaimCall
from worker.new_year import NewYear

MakeCore = Callable[..., Core]

LAST_SECOND = datetime.fromisoformat("2026-12-31T23:59:59+08:00")
NEW_YEAR = datetime.fromisoformat("2027-01-01T00:00:00+08:00")


def open_stocks(core: Core, next_year_from: tuple[int, int] | None = None) -> None:
    """Do the timed look for stocks of the new year."""
    new_year = NewYear(ENVIRONMENT, core.clock, core.claiming, next_year_from)
    core.run(new_year.open_stocks)


def claims_of(core: Core) -> list[tuple[int, int, str]]:
    """The automatic claims: the year of their stock, their size and status."""
    return core.rows(
        "SELECT year, quantity, status FROM claims WHERE claim_mode = 'automatic' ORDER BY created_at, year, claim_id",
    )


def fate(core: Core, issue_date: str) -> str:
    """What becomes of a request of this date: its number's year, `waits`, or the reason of its refusal."""
    told = core.issue(invoice(f"{issue_date} {core.clock.now()}", issue_date=issue_date))
    for each in told:
        if each.topic is Topic.NUMBER_ASSIGNED:
            return str(each.data["invoice_number"][:2])
        if each.topic is Topic.NUMBER_REFUSED:
            return str(each.data["reason"])
    return "waits"


def test_the_two_sides_are_one_day_in_utc() -> None:
    assert LAST_SECOND.astimezone(UTC).date() == NEW_YEAR.astimezone(UTC).date()


@pytest.mark.parametrize(
    ("issue_date", "before", "after"),
    [
        ("2025-12-31", "issue-date-out-of-year", "issue-date-out-of-year"),
        ("2026-12-31", "waits", "issue-date-out-of-year"),
        ("2027-01-01", "waits", "waits"),
        ("2027-01-02", "issue-date-out-of-year", "waits"),
        ("2027-12-31", "issue-date-out-of-year", "waits"),
        ("2028-01-01", "issue-date-out-of-year", "issue-date-out-of-year"),
    ],
)
def test_without_stock_a_date_is_judged_by_chinas_day(core: Core, issue_date: str, before: str, after: str) -> None:
    core.clock.set(LAST_SECOND)
    assert fate(core, issue_date) == before
    core.clock.set(NEW_YEAR)
    assert fate(core, issue_date) == after


@pytest.mark.parametrize("at", [LAST_SECOND, NEW_YEAR], ids=["before", "after"])
def test_with_stock_a_number_is_of_its_dates_year(core: Core, at: datetime) -> None:
    core.clock.set(LAST_SECOND)
    core.fill(5, year=2026)
    core.fill(5, year=2027)
    core.clock.set(at)

    assert [fate(core, day) for day in ("2026-12-31", "2027-01-01", "2027-03-01", "2026-01-01")] == [
        "26",
        "27",
        "27",
        "26",
    ]


def test_the_new_years_first_claim_is_made_at_midnight_before_any_invoice(core: Core) -> None:
    core.clock.set(LAST_SECOND)
    core.fill(5)
    open_stocks(core)
    assert claims_of(core) == []
    core.clock.set(NEW_YEAR)

    open_stocks(core)
    [claimed] = of(Topic.RANGE_CLAIMED, core.call())

    assert claimed.data["year"] == 2027
    assert claims_of(core) == [(2027, 1000, "granted")]
    assert fate(core, "2027-01-01") == "27"


def test_it_is_made_once_however_many_look(core: Core, second: Core) -> None:
    core.fill(5)
    core.clock.set(NEW_YEAR)

    at_once(*[lambda worker=worker: open_stocks(worker) for worker in (core, second) * 3])
    core.call()
    open_stocks(core)

    assert claims_of(core) == [(2027, 1000, "granted")]


def test_not_for_who_was_not_active_has_claims_off_or_is_paused(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)  # Never had a range.
    core.register("OFF", "92330203MA7ETU5T10", automatic_claims=False)
    core.register("PAUSED", "91440300587908164C")
    core.register("HAND", TAXPAYER, "joint")  # Only ever claimed by hand: issuing took nothing by itself.
    core.manual(5, organization="HAND")
    core.fill(5, taxpayer_id="92330203MA7ETU5T10")
    core.fill(5, taxpayer_id="91440300587908164C")
    core.change(
        "UPDATE stocks SET paused = true, paused_because = 'x', paused_at = now() WHERE taxpayer_id LIKE '914%'"
    )
    core.clock.set(NEW_YEAR)

    open_stocks(core)

    assert claims_of(core) == []


def test_a_stock_that_has_run_out_meanwhile_is_claimed_for_once(core: Core) -> None:
    core.fill(5)
    core.clock.set(LAST_SECOND)
    exhausted = of(Topic.RANGE_EXHAUSTED, core.issue(invoice("TOMORROW", issue_date="2027-01-01")))
    core.clock.set(NEW_YEAR)

    core.hear(*exhausted)
    open_stocks(core)
    core.look_for_claimless_stocks()

    assert claims_of(core) == [(2027, 1000, "open")]
    [assigned] = of(Topic.NUMBER_ASSIGNED, core.call())
    assert assigned.data["issue_request_id"] == "TOMORROW"


def test_a_manual_claim_of_the_new_year_does_not_stand_in_its_way(core: Core) -> None:
    core.fill(5)
    core.clock.set(NEW_YEAR)
    core.request_claims(claim())

    open_stocks(core)

    assert claims_of(core) == [(2027, 1000, "open")]


def test_a_refused_first_claim_is_made_again_though_nobody_asked(core: Core) -> None:
    core.fill(5)
    core.clock.set(NEW_YEAR)
    core.authority.will(REFUSED)
    open_stocks(core)
    core.call()
    core.clock.advance(seconds=9)
    open_stocks(core)
    assert claims_of(core) == [(2027, 1000, "refused")]

    core.clock.advance(seconds=1)
    open_stocks(core)
    core.call()

    assert claims_of(core) == [(2027, 1000, "refused"), (2027, 1000, "granted")]


def test_where_the_old_year_is_granted_still_it_goes_on_by_rule_9(core: Core) -> None:
    core.fill(5)
    core.clock.set(NEW_YEAR)
    core.authority.will(granted(700_000, 1000, year=2026), granted(800_000, 100, year=2026))
    open_stocks(core)
    core.call()
    for _ in range(2):
        core.clock.advance(minutes=9, seconds=59)
        open_stocks(core)
        assert core.call() == []
        core.clock.advance(seconds=1)
        open_stocks(core)
        core.call()

    assert [call.quantity for call in core.authority.calls] == [1000, 100, 100]
    assert core.rows("SELECT year, last_sequence - first_sequence + 1 FROM ranges ORDER BY created_at") == [
        (2026, 5),
        (2026, 1000),
        (2026, 100),
        (2027, 100),
    ]


def test_a_claim_in_flight_over_midnight_brings_the_new_year_to_the_new_years_stock(core: Core) -> None:
    core.clock.set(LAST_SECOND)
    core.issue(invoice("OLD", issue_date="2026-12-31"), invoice("NEW", issue_date="2027-01-01"))

    def answer_after_midnight(_call: ClaimCall) -> Answer:
        core.clock.set(NEW_YEAR + timedelta(seconds=2))
        return granted(700_000, 1000, year=2027)

    core.authority.will(answer_after_midnight)
    told = core.claim_and_call()

    assert [each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, told)] == ["NEW"]
    assert core.rows("SELECT issue_request_id FROM issue_requests WHERE status = 'waiting'") == [("OLD",)]
    open_stocks(core)
    assert core.undecided_claims() == []


def test_a_claim_with_unknown_outcome_over_midnight_still_serves_who_waited_for_the_old_year(core: Core) -> None:
    core.clock.set(LAST_SECOND)
    core.issue(invoice("OLD", issue_date="2026-12-31"))
    core.authority.will(UNKNOWN, granted(700_000, 1000, year=2026))
    core.claim_and_call()
    core.clock.set(NEW_YEAR + timedelta(minutes=1))

    told = core.call()

    assert [each.data["invoice_number"][:2] for each in of(Topic.NUMBER_ASSIGNED, told)] == ["26"]


@pytest.mark.parametrize(
    ("at", "years"),
    [(in_china("2026-12-14", "23:59"), []), (in_china("2026-12-15", "00:00"), [2027])],
    ids=["the day before", "from that day"],
)
def test_next_years_first_claim_may_be_made_earlier(make_core: MakeCore, at: datetime, years: list[int]) -> None:
    core = make_core(clock=HandClock(in_china("2026-12-01")), next_year_from=(12, 15))
    core.register()
    core.fill(5, year=2026)
    core.clock.set(at)

    open_stocks(core, (12, 15))

    assert [year for year, _, _ in claims_of(core)] == years


def test_next_years_claim_that_brings_this_year_is_made_again_the_next_day(make_core: MakeCore) -> None:
    core = make_core(clock=HandClock(in_china("2026-12-15")), next_year_from=(12, 15))
    core.register()
    core.fill(5, year=2026)
    open_stocks(core, (12, 15))
    core.call()
    core.clock.set(in_china("2026-12-15", "23:59"))
    open_stocks(core, (12, 15))
    assert core.call() == []
    core.clock.set(in_china("2026-12-16", "00:00"))
    open_stocks(core, (12, 15))
    core.call()

    assert [call.quantity for call in core.authority.calls] == [1000, 100]


def test_within_the_grace_old_dates_take_old_numbers_then_released_and_bound_ones_end_too(core: Core) -> None:
    core.clock.set(LAST_SECOND)
    numbers = core.fill(10)
    manual = core.manual(4)
    core.issue(*[invoice(f"R{n}", issue_date="2026-12-31") for n in range(1, 4)])
    core.report(outcome(numbers[0], "failed", "R1"))  # Released.
    core.bind(binding(manual[1], "LATER"))
    core.clock.set(NEW_YEAR + timedelta(hours=47, minutes=59))
    assert core.run(core.expiry.expire) == []
    assert fate(core, "2026-12-31") == "26"  # The released one, taken first.
    core.report(outcome(numbers[1], "failed", "R2", outcome_id="O2"))  # Released within the grace.
    core.clock.set(NEW_YEAR + timedelta(hours=48))

    told = core.run(core.expiry.expire)

    # Seven untouched and one released; three available and one bound.
    assert sorted(each.data["unused"] for each in of(Topic.RANGE_EXPIRED, told)) == [4, 8]
    assert core.rows("SELECT DISTINCT status FROM ranges") == [("expired",)]
    assert dict(core.rows("SELECT status, count(*) FROM numbers GROUP BY status")) == {"assigned": 2, "expired": 5}
    assert core.rows("SELECT DISTINCT changed_by, bound_to FROM numbers WHERE status = 'expired'") == [
        ("end of 2026", None),
    ]
    assert core.rows("SELECT bound_to FROM number_history WHERE status = 'bound'") == [("LATER",)]
    assert fate(core, "2026-12-31") == "issue-date-out-of-year"
    [refused] = core.issue(invoice("LATER", issue_date="2026-12-31"))
    assert refused.data["reason"] == "issue-date-out-of-year"


def test_all_ranges_expire_however_many_there_are(core: Core) -> None:
    for _ in range(101):
        core.fill(1)
    core.clock.set(NEW_YEAR + timedelta(hours=48))

    counted = [len(core.run(core.expiry.expire)) for _ in range(3)]

    assert counted == [100, 1, 0]


def test_who_waits_for_a_paused_stock_that_expires_waits_for_an_empty_one(core: Core) -> None:
    core.fill(5)
    core.change("UPDATE stocks SET paused = true, paused_because = 'x', paused_at = now()")
    core.issue(invoice("R1"))
    core.clock.set(NEW_YEAR + timedelta(hours=48))

    told = core.run(core.expiry.expire)

    assert [each.topic for each in told] == [Topic.RANGE_EXPIRED, Topic.RANGE_EXHAUSTED]
    assert core.rows("SELECT level FROM stocks WHERE year = 2026") == [("exhausted",)]
