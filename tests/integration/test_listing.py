"""Listings: the contract's fields, every filter, and what remains of a range."""

from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from db.engine import open_engine
from db.listing import Filters, is_registered, list_claims, list_numbers, list_ranges, list_waiting
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, TODAY, Ledger
from tests.support.postgres import PrivatePostgres

Listing = Callable[[Connection, Filters], Iterator[Mapping[str, object]]]

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def engine(postgres: PrivatePostgres) -> Iterator[Engine]:
    """One database for all: nothing in it is ever committed."""
    url = postgres.new_migrated_database()
    opened = open_engine(url, application="fuma-test")
    yield opened
    opened.dispose()
    postgres.drop_database(url)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as opened:
        _fill(Ledger(opened))
        yield opened


def _fill(ledger: Ledger) -> None:
    """Two organisations on one stock, one on another; a range in every state; the other environment's rows."""
    for taxpayer_id in (TAXPAYER, OTHER_TAXPAYER):
        ledger.channel(taxpayer_id)
        ledger.stock(taxpayer_id)
    ledger.stock(year=2025)
    ledger.organization("A")
    ledger.organization("B")
    ledger.organization("C", OTHER_TAXPAYER)
    ledger.claim("automatic", organization="A")
    ledger.claim(
        "manual", claim_mode="manual", organization="B", quantity=4, requested_by="clerk", created_at=NOW + DAY
    )
    ledger.claim("open", taxpayer_id=OTHER_TAXPAYER, status="open", organization="C", created_at=NOW - DAY)
    ledger.claim("old", status="refused", year=2025, reason="leqi-refused", detail="no", created_at=NOW - 2 * DAY)
    automatic = ledger.range(100, taken=2, claim_id="automatic", organization="A")
    manual = ledger.range(
        500,
        taken=4,
        quantity=4,
        claim_id="manual",
        claim_mode="manual",
        organization="B",
        created_at=NOW + DAY,
    )
    ledger.range(1000, taken=10, quantity=10, status="used-up", created_at=NOW - DAY)
    ledger.range(2000, taken=1, quantity=10, status="expired", year=2025, created_at=NOW - 2 * DAY)
    ledger.range(3000, quantity=10, status="quarantined", created_at=NOW - 3 * DAY)
    ledger.range(4000, quantity=10, status="foreign", created_at=NOW - 4 * DAY, taxpayer_id=OTHER_TAXPAYER)
    ledger.range(5000, taken=1, quantity=10, status="retired", created_at=NOW - 5 * DAY)
    ledger.request("R1", "A")
    ledger.request("R2", "B", kind="red")
    ledger.number(automatic, 100, 100, "R1")
    ledger.number(automatic, 100, 101, "R2", assigned_at=NOW + 2 * DAY)
    for place in range(3):
        ledger.number(manual, 500, 500 + place, quantity=4)
    ledger.number(manual, 500, 503, quantity=4)
    ledger.expire(503)
    ledger.request("W1", "B", status="waiting", waiting_since=NOW + DAY)
    ledger.request("W2", "A", status="waiting", issue_date=TODAY.replace(year=2027))
    ledger.request("W3", "C", status="waiting", taxpayer_id=OTHER_TAXPAYER)
    other = Ledger(ledger.connection, "production")
    other.channel()
    other.stock()
    other.organization("P")
    other.range(100)
    other.claim("production")


def first_numbers(connection: Connection, **filters: object) -> list[str]:
    listed = list_ranges(connection, Filters("sandbox", **filters))  # type: ignore[arg-type]
    return [str(row["first_number"])[-4:].lstrip("0") for row in listed]


def column(connection: Connection, listing: Listing, name: str, **filters: object) -> list[object]:
    return [row[name] for row in listing(connection, Filters("sandbox", **filters))]  # type: ignore[arg-type]


def test_ranges_have_exactly_the_contracts_fields_the_newest_first(connection: Connection) -> None:
    rows = list(list_ranges(connection, Filters("sandbox")))
    assert [str(row["first_number"])[-4:] for row in rows] == ["0500", "0100", "1000", "2000", "3000", "4000", "5000"]
    second = dict(rows[1])
    assert str(second.pop("range_id")) == str(column(connection, list_numbers, "range_id")[0])
    assert second == {
        "organization": "A",
        "taxpayer_id": TAXPAYER,
        "environment": "sandbox",
        "channel_mode": "self-use",
        "year": 2026,
        "first_number": "26447000000000000100",
        "last_number": "26447000000000000199",
        "claimed": 100,
        "remaining": 98,
        "claim_mode": "automatic",
        "status": "active",
        "claim_id": "automatic",
        "created_at": NOW,
    }


def test_what_remains_is_what_can_be_issued_now_or_after_a_release(connection: Connection) -> None:
    remaining = {str(row["status"]): row["remaining"] for row in list_ranges(connection, Filters("sandbox"))}
    assert remaining == {
        "used-up": 0,
        "expired": 0,
        "retired": 0,
        "quarantined": 10,
        "foreign": 10,
        "active": 98,
    }
    manual = list(list_ranges(connection, Filters("sandbox", claim_mode="manual")))
    assert [(row["claimed"], row["remaining"]) for row in manual] == [(4, 3)]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"organization": "A"}, ["500", "100", "1000", "2000", "3000", "5000"]),
        ({"organization": "B"}, ["500", "100", "1000", "2000", "3000", "5000"]),
        ({"organization": "C"}, ["4000"]),
        ({"organization": "P"}, []),
        ({"taxpayer_id": OTHER_TAXPAYER}, ["4000"]),
        ({"year": 2025}, ["2000"]),
        ({"created_from": NOW}, ["500", "100"]),
        ({"created_before": NOW}, ["1000", "2000", "3000", "4000", "5000"]),
        ({"created_from": NOW - DAY, "created_before": NOW + DAY}, ["100", "1000"]),
        ({"status": "foreign"}, ["4000"]),
        ({"claim_mode": "manual"}, ["500"]),
        ({"organization": "A", "year": 2026, "claim_mode": "automatic", "status": "active"}, ["100"]),
        ({"limit": 2}, ["500", "100"]),
    ],
)
def test_ranges_are_filtered(connection: Connection, filters: dict[str, object], expected: list[str]) -> None:
    assert first_numbers(connection, **filters) == expected


def test_claims_have_exactly_the_contracts_fields(connection: Connection) -> None:
    (row,) = list_claims(connection, Filters("sandbox", claim_mode="manual"))
    assert row == {
        "claim_id": "manual",
        "claim_mode": "manual",
        "organization": "B",
        "taxpayer_id": TAXPAYER,
        "quantity": 4,
        "business_serial": "serial of manual",
        "status": "granted",
        "reason": None,
        "detail": None,
        "requested_by": "clerk",
        "created_at": NOW + DAY,
        "next_attempt_at": None,
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["manual", "automatic", "open", "old"]),
        ({"organization": "B"}, ["manual"]),
        ({"taxpayer_id": OTHER_TAXPAYER}, ["open"]),
        ({"year": 2025}, ["old"]),
        ({"created_from": NOW}, ["manual", "automatic"]),
        ({"created_before": NOW}, ["open", "old"]),
        ({"status": "refused"}, ["old"]),
        ({"claim_mode": "automatic"}, ["automatic", "open", "old"]),
        ({"limit": 1}, ["manual"]),
    ],
)
def test_claims_are_filtered(connection: Connection, filters: dict[str, object], expected: list[str]) -> None:
    assert column(connection, list_claims, "claim_id", **filters) == expected


def test_numbers_have_exactly_the_contracts_fields(connection: Connection) -> None:
    (row,) = list_numbers(connection, Filters("sandbox", number=(264470, 100)))
    assert dict(row) == {
        "invoice_number": "26447000000000000100",
        "range_id": row["range_id"],
        "taxpayer_id": TAXPAYER,
        "status": "assigned",
        "claim_mode": "automatic",
        "issue_request_id": "R1",
        "issue_date": TODAY,
        "assigned_at": NOW,
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [100, 101, 500, 501, 502, 503]),
        ({"organization": "A"}, [100, 500, 501, 502, 503]),
        ({"organization": "B"}, [101, 500, 501, 502, 503]),
        ({"organization": "C"}, []),
        ({"taxpayer_id": TAXPAYER, "limit": 1}, [100]),
        ({"taxpayer_id": OTHER_TAXPAYER}, []),
        ({"year": 2026}, [100, 101, 500, 501, 502, 503]),
        ({"year": 2025}, []),
        ({"created_from": NOW + DAY}, [101, 500, 501, 502, 503]),
        ({"created_from": NOW + 2 * DAY}, [101]),
        ({"created_before": NOW + DAY}, [100]),
        ({"status": "assigned"}, [100, 101]),
        ({"status": "expired"}, [503]),
        ({"claim_mode": "manual"}, [500, 501, 502, 503]),
        ({"number": (264470, 501)}, [501]),
        ({"number": (254470, 501)}, []),
    ],
)
def test_numbers_are_filtered(connection: Connection, filters: dict[str, object], expected: list[int]) -> None:
    listed = column(connection, list_numbers, "invoice_number", **filters)
    assert [int(str(number)[6:]) for number in listed] == expected


def test_numbers_of_one_range(connection: Connection) -> None:
    (manual,) = column(connection, list_ranges, "range_id", claim_mode="manual")
    assert len(column(connection, list_numbers, "invoice_number", range_id=manual)) == 4


def test_waiting_requests_have_exactly_the_contracts_fields(connection: Connection) -> None:
    (row,) = list_waiting(connection, Filters("sandbox", taxpayer_id=OTHER_TAXPAYER))
    assert row == {
        "issue_request_id": "W3",
        "organization": "C",
        "taxpayer_id": OTHER_TAXPAYER,
        "issue_date": TODAY,
        "waiting_since": NOW,
    }


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["W1", "W2", "W3"]),
        ({"organization": "B"}, ["W1"]),
        ({"taxpayer_id": TAXPAYER}, ["W1", "W2"]),
        ({"year": 2027}, ["W2"]),
        ({"created_from": NOW + DAY}, ["W1"]),
        ({"created_before": NOW + DAY}, ["W2", "W3"]),
        ({"status": "waiting"}, ["W1", "W2", "W3"]),
        ({"claim_mode": "automatic"}, ["W1", "W2", "W3"]),
        ({"claim_mode": "manual"}, []),
        ({"limit": 1}, ["W1"]),
    ],
)
def test_waiting_requests_are_filtered(connection: Connection, filters: dict[str, object], expected: list[str]) -> None:
    assert column(connection, list_waiting, "issue_request_id", **filters) == expected


def test_the_other_environments_rows_are_not_listed(connection: Connection) -> None:
    assert [row["claim_id"] for row in list_claims(connection, Filters("production"))] == ["production"]
    assert len(list(list_ranges(connection, Filters("production")))) == 1
    assert list(list_numbers(connection, Filters("production"))) == []


def test_whether_a_code_is_registered(connection: Connection) -> None:
    assert is_registered(connection, "sandbox", "A")
    assert not is_registered(connection, "sandbox", "P")
