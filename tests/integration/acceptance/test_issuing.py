"""Issuing, seen from outside: one request, one number, one answer, however it is asked."""

from datetime import timedelta

import pytest

from tests.support.outside.contract import REASONS
from tests.support.outside.envelopes import batch
from tests.support.outside.identities import CHANNEL_DIGITS, Organization, china_today, organization
from tests.support.outside.shop import Shop
from tests.support.outside.world import issuing, numbers_of


def refusal(shop: Shop, org: Organization | str, key: str, **data: object) -> tuple[str, str]:
    """Ask for a number and give reason and routing key of the refusal."""
    shop.world.send(issuing(org, key, **data))
    record = shop.world.events.one("number-refused", issue_request_id=key)
    assert record.data["detail"]
    assert record.data["reason"] in REASONS
    return str(record.data["reason"]), record.routing_key


def test_a_request_gets_a_number_of_its_taxpayer_year_and_channel(shop: Shop) -> None:
    org = shop.organization()
    (record,) = shop.world.issue(org, "first", kind="red")
    number = record.data["invoice_number"]
    assert record.data == {
        "environment": "sandbox",
        "issue_request_id": "first",
        "organization": org.code,
        "taxpayer_id": org.taxpayer_id,
        "invoice_number": number,
        "issue_date": china_today().isoformat(),
        "kind": "red",
        "range_id": record.data["range_id"],
        "claim_mode": "automatic",
        "assigned_at": record.data["assigned_at"],
    }
    assert number[:2] == f"{china_today().year % 100:02d}"
    assert number[4:6] == CHANNEL_DIGITS["self-use"]
    (span,) = shop.world.authority.spans(org.taxpayer_id)
    assert span.holds(number)
    (row,) = shop.world.numbers("--taxpayer", org.taxpayer_id)
    assert (row["invoice_number"], row["issue_request_id"], row["range_id"]) == (
        number,
        "first",
        record.data["range_id"],
    )


@pytest.mark.parametrize("mode", ["on-behalf", "joint"])
def test_another_channel_mode_has_its_own_stock_and_digits(shop: Shop, mode: str) -> None:
    usual = shop.organization()
    other = organization(taxpayer_id=usual.taxpayer_id, channel_mode=mode, claim_quantity=5)
    shop.world.register(other)
    usual_number, other_number = numbers_of(
        [*shop.world.issue(usual, "by-usual"), *shop.world.issue(other, f"by-{mode}")]
    )
    assert usual_number[4:6] == CHANNEL_DIGITS["self-use"]
    assert other_number[4:6] == CHANNEL_DIGITS[mode]


def test_the_same_request_gets_the_same_event_however_it_comes_again(shop: Shop) -> None:
    org = shop.organization()
    request = issuing(org, "again")
    shop.world.send(request)
    first = shop.world.events.one("number-assigned", issue_request_id="again", taxpayer_id=org.taxpayer_id)
    shop.world.send(request)
    shop.world.send(issuing(org, "again"))
    told = shop.world.events.wait("number-assigned", count=3, issue_request_id="again", taxpayer_id=org.taxpayer_id)
    assert [record.event for record in told] == [first.event] * 3
    assert len(shop.world.numbers("--taxpayer", org.taxpayer_id)) == 1


@pytest.mark.parametrize("changed", ["issue_date", "kind", "organization", "number"])
def test_other_content_under_the_same_key_is_a_conflict(shop: Shop, changed: str) -> None:
    org = shop.organization()
    key = f"conflict-{changed}"
    twin = organization(taxpayer_id=org.taxpayer_id, claim_quantity=20)
    if changed == "organization":
        shop.world.register(twin)
    (first,) = shop.world.issue(org, key)
    other: dict[str, object] = {
        "issue_date": (china_today() - timedelta(days=1)).isoformat(),
        "kind": "red",
        "organization": twin.code,
        "number": first.data["invoice_number"],
    }
    assert refusal(shop, org, key, **{changed: other[changed]})[0] == "conflicting-request"
    shop.world.send(issuing(org, key))
    told = shop.world.events.wait("number-assigned", count=2, issue_request_id=key)
    assert told[1].event == first.event


def test_one_key_of_two_taxpayers_is_two_requests(shop: Shop) -> None:
    one, other = shop.organization(), shop.organization()
    shop.world.send(issuing(one, "shared-key"), issuing(other, "shared-key"))
    told = [
        shop.world.events.one("number-assigned", issue_request_id="shared-key", taxpayer_id=org.taxpayer_id)
        for org in (one, other)
    ]
    assert len(set(numbers_of(told))) == 2
    assert len({record.id for record in told}) == 2


def test_an_unknown_organization_is_refused(shop: Shop) -> None:
    assert refusal(shop, "ORG-NOBODY", "unknown") == ("unknown-organization", "number-refused")


def test_a_refusal_is_not_remembered(shop: Shop) -> None:
    late = organization(claim_quantity=20)
    assert refusal(shop, late, "too-early")[0] == "unknown-organization"
    shop.world.register(late)
    (record,) = shop.world.issue(late, "too-early")
    assert record.data["taxpayer_id"] == late.taxpayer_id


def test_a_named_manual_number_is_used_once(shop: Shop) -> None:
    org = shop.organization()
    claimed = shop.world.claim(org, "to-be-named", 3)
    shop.world.send(issuing(org, "names-one", number=claimed.data["first_number"]))
    told = shop.world.events.one("number-assigned", issue_request_id="names-one", taxpayer_id=org.taxpayer_id)
    assert told.data["invoice_number"] == claimed.data["first_number"]
    assert told.data["claim_mode"] == "manual"
    reason, routing_key = refusal(shop, org, "names-it-too", number=claimed.data["first_number"])
    assert reason == "number-not-available"
    assert routing_key == f"number-refused.{org.taxpayer_id}"


def test_organizations_of_one_tax_id_and_mode_draw_from_one_stock(shop: Shop) -> None:
    first = shop.organization()
    second = organization(taxpayer_id=first.taxpayer_id, claim_quantity=20)
    third = organization(taxpayer_id=first.taxpayer_id, claim_quantity=20)
    shop.world.register(second, third)
    told = [*shop.world.issue(first, "of-first"), *shop.world.issue(second, "of-second")]
    told += shop.world.issue(third, "of-third")
    assert len({record.data["range_id"] for record in told}) == 1
    assert len(set(numbers_of(told))) == 3
    shown = [
        {row["range_id"] for row in shop.world.ranges("--organization", org.code)} for org in (first, second, third)
    ]
    assert shown == [{told[0].data["range_id"]}] * 3


def test_a_thousand_requests_in_one_batch_outrun_many_grants(shop: Shop) -> None:
    org = organization(claim_quantity=150)
    shop.world.register(org)
    keys = [f"bulk-{n}" for n in range(1000)]
    shop.world.publisher.send(batch([issuing(org, key) for key in keys]))
    told = shop.world.events.wait("number-assigned", count=1000, taxpayer_id=org.taxpayer_id, within=60)
    assert sorted(record.data["issue_request_id"] for record in told) == sorted(keys)
    assert len(set(numbers_of(told))) == 1000
    spans = list(shop.world.authority.spans(org.taxpayer_id))
    assert all(any(span.holds(number) for span in spans) for number in numbers_of(told))
    assert {len(span) for span in spans} == {150}
