"""The date of an invoice decides the year of its number, and nothing else of it is judged."""

from datetime import timedelta

from tests.support.outside.identities import china_today, organization
from tests.support.outside.polling import stays
from tests.support.outside.shop import Shop
from tests.support.outside.world import World, issuing

NEW_YEARS_EVE = "2026-12-31T12:00:00+08:00"
NEW_YEAR = "2027-01-01T00:05:00+08:00"


def test_an_earlier_year_without_stock_is_refused_at_once(shop: Shop) -> None:
    org = shop.organization()
    last_year = f"{china_today().year - 1}-12-31"
    shop.world.send(issuing(org, "last-year", issue_date=last_year))
    record = shop.world.events.one("number-refused", issue_request_id="last-year")
    assert record.data["reason"] == "issue-date-out-of-year"
    assert record.data["organization"] == org.code
    assert record.routing_key == f"number-refused.{org.taxpayer_id}"
    assert shop.world.authority.grants(org.taxpayer_id) == []


def test_any_day_of_the_present_year_is_served(shop: Shop) -> None:
    org, year = shop.organization(), china_today().year
    days = [f"{year}-01-01", f"{year}-02-28", f"{year}-12-31"]
    told = [shop.world.issue(org, f"on-{day}", issue_date=day)[0] for day in days]
    assert [record.data["issue_date"] for record in told] == days
    assert {record.data["invoice_number"][:2] for record in told} == {f"{year % 100:02d}"}


def test_far_ahead_in_the_next_year_is_refused(shop: Shop) -> None:
    org, today = shop.organization(), china_today()
    day = max(today + timedelta(days=2), today.replace(year=today.year + 1, month=1, day=2))
    shop.world.send(issuing(org, "next-year", issue_date=day.isoformat()))
    record = shop.world.events.one("number-refused", issue_request_id="next-year")
    assert record.data["reason"] == "issue-date-out-of-year"


def test_the_year_turns(world: World) -> None:
    """On New Year's Eve tomorrow's invoice waits; in the new year it is served, and the old stock serves late ones."""
    org = organization(claim_quantity=10)
    world.register(org)
    world.authority.clock(NEW_YEARS_EVE)
    eve = world.worker(FUMA_CLOCK=NEW_YEARS_EVE)
    (old,) = world.issue(org, "eve", issue_date="2026-12-31")
    assert old.data["invoice_number"][:2] == "26"
    world.send(issuing(org, "in-two-days", issue_date="2027-01-02"), issuing(org, "tomorrow", issue_date="2027-01-01"))
    assert world.events.one("number-refused", issue_request_id="in-two-days").data["reason"] == (
        "issue-date-out-of-year"
    )
    (row,) = world.waiting_until(world.waiting, bool, "tomorrow's request waits")
    assert (row["issue_request_id"], row["issue_date"]) == ("tomorrow", "2027-01-01")
    eve.drain()

    world.authority.clock(NEW_YEAR)
    world.worker(FUMA_CLOCK=NEW_YEAR)
    new = world.events.one("number-assigned", issue_request_id="tomorrow", within=60)
    assert new.data["invoice_number"][:2] == "27"
    late = world.issue(org, *(f"late-{n}" for n in range(9)), issue_date="2026-12-31")
    assert {record.data["range_id"] for record in late} == {old.data["range_id"]}
    world.send(issuing(org, "too-late", issue_date="2026-12-31"))
    refused = world.events.one("number-refused", issue_request_id="too-late")
    assert refused.data["reason"] == "issue-date-out-of-year"
    stays(
        lambda: all(grant["first_number"][:2] == "27" for grant in world.authority.grants()[1:]),
        lasting=1,
        what="nothing of the old year is claimed after New Year",
    )
    # Weeks later it would find that nobody told of the outcomes that didn't come.
    world.audit(FUMA_CLOCK=NEW_YEAR)
