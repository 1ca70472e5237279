"""`fuma forecast`, `days_left` of `fuma ranges`, and `fuma taxpayers pause` and `resume`."""

from datetime import timedelta

import pytest
from sqlalchemy import insert, text

from db.tables import usage
from tests.support.commands import Fuma, objects
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger


@pytest.fixture
def stocks(ledger: Ledger) -> Ledger:
    """100 numbers of a taxpayer that takes 20 a day, and 100 of one that takes none."""
    for taxpayer_id, code in ((TAXPAYER, "A"), (OTHER_TAXPAYER, "B")):
        ledger.channel(taxpayer_id)
        ledger.stock(taxpayer_id)
        ledger.organization(code, taxpayer_id)
        ledger.claim(f"claim of {code}", taxpayer_id=taxpayer_id)
    ledger.range(100, claim_id="claim of A")
    ledger.range(300, claim_id="claim of B", taxpayer_id=OTHER_TAXPAYER)
    ledger.connection.execute(
        insert(usage).values(
            taxpayer_id=TAXPAYER,
            environment="sandbox",
            channel_mode="self-use",
            hour=NOW - timedelta(days=5),
            taken=100,
        ),
    )
    ledger.connection.commit()
    return ledger


@pytest.mark.usefixtures("stocks")
def test_the_first_to_be_empty_comes_first(fuma: Fuma) -> None:
    first, second = objects(fuma("forecast", "--json"))

    assert (first["organizations"], first["taxpayer_id"], first["remaining"]) == (["A"], TAXPAYER, 100)
    assert (first["per_day"], first["days_left"]) == (pytest.approx(20, abs=0.5), pytest.approx(5, abs=0.5))
    assert first["wasted_at_year_end"] == 0
    assert str(first["empty_at"]).startswith("2026-06-20")
    assert (second["days_left"], second["empty_at"], second["wasted_at_year_end"]) == (None, None, 100)
    assert [row["taxpayer_id"] for row in objects(fuma("forecast", "--json", "--organization", "B"))] == [
        OTHER_TAXPAYER,
    ]
    assert TAXPAYER in fuma("forecast", "--taxpayer", TAXPAYER)


@pytest.mark.usefixtures("stocks")
def test_ranges_tell_how_long_their_stock_lasts(fuma: Fuma) -> None:
    left = {row["taxpayer_id"]: row["days_left"] for row in objects(fuma("ranges", "--json"))}

    assert left[OTHER_TAXPAYER] is None
    assert left[TAXPAYER] == pytest.approx(5, abs=0.5)


def test_a_taxpayer_is_paused_and_resumed(stocks: Ledger, fuma: Fuma) -> None:
    said = fuma("taxpayers", "pause", "--taxpayer", TAXPAYER, "--reason", "moving house")
    assert said == f"{TAXPAYER} is paused: its requests wait\n"
    assert [row["paused"] for row in objects(fuma("forecast", "--json", "--taxpayer", TAXPAYER))] == [True]
    assert stocks.connection.execute(
        text("SELECT paused_because FROM stocks WHERE paused"),
    ).scalars().all() == ["moving house"]
    stocks.connection.rollback()

    assert "is resumed" in fuma("taxpayers", "resume", "--taxpayer", TAXPAYER, "--reason", "moved")

    assert "is not paused" in fuma("taxpayers", "resume", "--taxpayer", TAXPAYER, "--reason", "moved", status=1)
    assert "no organisation" in fuma(
        "taxpayers", "pause", "--taxpayer", "91440300587908164C", "--reason", "x", status=1
    )
