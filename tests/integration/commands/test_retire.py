"""`fuma taxpayers retire-ranges`: what it shows, what it changes, and what it refuses."""

from datetime import timedelta

from db.outbox import backlog
from tests.support.commands import Fuma, objects
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger

DAY_AFTER = (NOW + timedelta(days=1)).date().isoformat()
RETIRE = ("taxpayers", "retire-ranges", "--taxpayer", TAXPAYER, "--reason", "moved to Hainan")


def statuses(fuma: Fuma) -> list[object]:
    return [row["status"] for row in objects(fuma("ranges", "--json"))]


def test_a_dry_run_shows_what_would_go_and_changes_nothing(stored: Ledger, fuma: Fuma) -> None:
    shown = fuma(*RETIRE, "--before", DAY_AFTER, "--dry-run")

    assert "1 ranges with 99 unused numbers would be retired; nothing was changed" in shown
    assert statuses(fuma) == ["active"]
    assert backlog(stored.connection)[0] == 0


def test_what_was_shown_is_retired_and_lies_in_the_outbox(stored: Ledger, fuma: Fuma) -> None:
    assert "1 ranges with 99 unused numbers retired" in fuma(*RETIRE, "--before", DAY_AFTER)

    assert statuses(fuma) == ["retired"]
    assert backlog(stored.connection)[0] == 2  # range-expired, range-exhausted.
    assert "0 ranges" in fuma(*RETIRE, "--before", DAY_AFTER)
    assert fuma("audit")


def test_the_day_is_chinas(stored: Ledger, fuma: Fuma) -> None:
    """The range came at 23:59:59 in China, which is 15:59:59 in UTC."""
    assert "0 ranges" in fuma(*RETIRE, "--before", NOW.date().isoformat(), "--dry-run")
    assert "1 ranges" in fuma(*RETIRE, "--before", DAY_AFTER, "--dry-run")
    assert stored.environment == "sandbox"


def test_what_makes_no_sense_is_refused_in_a_line(stored: Ledger, fuma: Fuma) -> None:
    assert stored.environment == "sandbox"
    unknown = ("taxpayers", "retire-ranges", "--taxpayer", OTHER_TAXPAYER, "--reason", "x")
    assert "no organisation" in fuma(*unknown, "--before", DAY_AFTER, status=1)
    assert "no organisation" in fuma(*unknown, "--before", DAY_AFTER, "--dry-run", status=1)
    assert "--reason" in fuma(*RETIRE[:4], "--reason", " ", "--before", DAY_AFTER, status=1)
    assert "--before" in fuma(*RETIRE, "--before", "yesterday", status=2)
