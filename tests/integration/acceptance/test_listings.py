"""What the commands show: for programs exactly the contract's fields, and filters that filter."""

import json
from datetime import timedelta

import pytest

from tests.support.outside.contract import CLAIM_STATUSES, JSON_FIELDS, RANGE_STATUSES
from tests.support.outside.identities import Organization, china_today, organization
from tests.support.outside.polling import eventually
from tests.support.outside.shop import Shop
from tests.support.outside.world import issuing


@pytest.fixture
def org(shop: Shop) -> Organization:
    """An organisation with an automatic range that was used, a manual one, and a request that waits elsewhere."""
    org = shop.organization()
    shop.world.issue(org, "listed-1", "listed-2")
    shop.world.claim(org, "listed-by-hand", 3)
    return org


def test_json_has_exactly_the_contracts_fields(shop: Shop, org: Organization) -> None:
    idle = organization(automatic_claims=False)
    shop.world.register(idle)
    shop.world.send(issuing(idle, "listed-waiting"))
    eventually(lambda: shop.world.waiting("--taxpayer", idle.taxpayer_id), within=20, what="a waiting request")
    shown = {
        "ranges": shop.world.ranges("--taxpayer", org.taxpayer_id),
        "claims": shop.world.claims("--taxpayer", org.taxpayer_id),
        "numbers": shop.world.numbers("--taxpayer", org.taxpayer_id),
        "waiting": shop.world.waiting("--taxpayer", idle.taxpayer_id),
    }
    assert {name: {frozenset(row) for row in rows} for name, rows in shown.items()} == {
        name: {fields} for name, fields in JSON_FIELDS.items()
    }
    assert {row["status"] for row in shown["ranges"]} <= RANGE_STATUSES
    assert {row["status"] for row in shown["claims"]} <= CLAIM_STATUSES
    assert {row["environment"] for row in shown["ranges"]} == {"sandbox"}
    assert {row["year"] for row in shown["ranges"]} == {china_today().year}
    assert {(row["claim_mode"], row["claimed"], row["remaining"]) for row in shown["ranges"]} == {
        ("automatic", 20, 18),
        ("manual", 3, 3),
    }


def test_filters_of_ranges(shop: Shop, org: Organization) -> None:
    taxpayer, today = ("--taxpayer", org.taxpayer_id), china_today()

    def modes(*filters: str) -> list[str]:
        return sorted(row["claim_mode"] for row in shop.world.ranges(*filters))

    assert modes(*taxpayer) == ["automatic", "manual"]
    assert modes("--organization", org.code) == ["automatic", "manual"]
    assert modes(*taxpayer, "--claim-mode", "manual") == ["manual"]
    assert modes(*taxpayer, "--year", str(today.year)) == ["automatic", "manual"]
    assert modes(*taxpayer, "--year", str(today.year - 1)) == []
    assert modes(*taxpayer, "--status", "active") == ["automatic", "manual"]
    assert modes(*taxpayer, "--status", "used-up") == []
    assert modes(*taxpayer, "--created-from", today.isoformat()) == ["automatic", "manual"]
    assert modes(*taxpayer, "--created-from", (today + timedelta(days=1)).isoformat()) == []
    assert modes(*taxpayer, "--created-to", today.isoformat()) == ["automatic", "manual"]
    assert modes(*taxpayer, "--created-to", (today - timedelta(days=1)).isoformat()) == []
    assert len(shop.world.fuma.rows("ranges", *taxpayer, "--limit", "1")) == 1


def test_filters_of_numbers(shop: Shop, org: Organization) -> None:
    taxpayer = ("--taxpayer", org.taxpayer_id)
    rows = shop.world.numbers(*taxpayer)
    assert len(rows) == 5
    used = next(row for row in rows if row["issue_request_id"] == "listed-1")
    assert (used["claim_mode"], used["issue_date"]) == ("automatic", china_today().isoformat())
    assert shop.world.numbers("--number", used["invoice_number"]) == [used]
    by_range = shop.world.numbers("--range", used["range_id"])
    assert sorted(row["issue_request_id"] for row in by_range) == ["listed-1", "listed-2"]
    assert len(shop.world.numbers(*taxpayer, "--claim-mode", "manual")) == 3


def test_the_history_of_a_number_names_its_request(shop: Shop, org: Organization) -> None:
    (used, *_) = shop.world.numbers("--taxpayer", org.taxpayer_id, "--claim-mode", "automatic")
    told = shop.world.fuma.ok("numbers", "--history", used["invoice_number"])
    assert used["issue_request_id"] in told


def test_filters_of_claims(shop: Shop, org: Organization) -> None:
    taxpayer = ("--taxpayer", org.taxpayer_id)
    assert {row["claim_mode"] for row in shop.world.claims(*taxpayer, "--status", "granted")} == {
        "automatic",
        "manual",
    }
    assert shop.world.claims(*taxpayer, "--status", "refused") == []
    (manual,) = shop.world.claims(*taxpayer, "--claim-mode", "manual")
    assert (manual["claim_id"], manual["organization"]) == ("listed-by-hand", org.code)


@pytest.mark.parametrize("command", ["ranges", "claims", "numbers", "waiting"])
def test_people_get_a_table_and_programs_an_empty_array(shop: Shop, org: Organization, command: str) -> None:
    assert shop.world.fuma.rows(command, "--taxpayer", "91350100M000100Y43") == []
    table = shop.world.fuma.ok(command, "--taxpayer", org.taxpayer_id)
    with pytest.raises(json.JSONDecodeError):
        json.loads(table)


@pytest.mark.parametrize(
    "wrong",
    [
        ("ranges", "--created-from", "yesterday"),
        ("ranges", "--year", "old"),
        ("ranges", "--status", "lost"),
        ("claims", "--claim-mode", "magic"),
        ("numbers", "--number", "12345"),
        ("numbers", "--limit", "-1"),
        ("nonsense",),
    ],
)
def test_a_users_mistake_gets_no_traceback(shop: Shop, wrong: tuple[str, ...]) -> None:
    done = shop.world.fuma.run(*wrong)
    assert done.code != 0
    assert done.err
    assert "Traceback" not in done.err + done.out


def test_remaining_goes_down_as_invoices_are_issued(shop: Shop) -> None:
    org = shop.organization()
    shop.world.issue(org, "one")
    (before,) = shop.world.ranges("--organization", org.code)
    shop.world.issue(org, "two", "three")
    (after,) = shop.world.ranges("--organization", org.code)
    assert (before["remaining"], after["remaining"]) == (19, 17)
    assert before["first_number"] == after["first_number"]
    assert before["last_number"] == after["last_number"]
