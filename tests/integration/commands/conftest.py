"""A database and a broker that commands find by their settings, and a way to run commands in this process."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from db.engine import open_engine
from tests.support.commands import Fuma
from tests.support.ledger import NOW, Ledger
from worker.cli.entry import run


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUMA_ENVIRONMENT", "sandbox")
    monkeypatch.delenv("FUMA_CLOCK", raising=False)


@pytest.fixture
def database(database_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FUMA_DATABASE_URL", database_url)
    return database_url


@pytest.fixture
def ledger(database: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ledger]:
    """Write rows; they are there for commands after `commit`, and it is the day on which they were written."""
    # On the machine's own day the audit would find that much was left for too long.
    monkeypatch.setenv("FUMA_CLOCK", NOW.isoformat())
    engine = open_engine(database, application="fuma-test")
    with engine.connect() as connection:
        yield Ledger(connection)
    engine.dispose()


@pytest.fixture
def broker(rabbitmq_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("FUMA_BROKER_URL", rabbitmq_url)
    return rabbitmq_url


@pytest.fixture
def fuma(capsys: pytest.CaptureFixture[str]) -> Fuma:
    """Run a command that must end with `status`; give what it printed, on stderr if it failed and said why."""

    def run_it(*arguments: str, status: int = 0) -> str:
        capsys.readouterr()
        ended = run(arguments)
        shown = capsys.readouterr()
        assert ended == status, shown.err
        return (shown.err or shown.out) if status else shown.out

    return run_it


@pytest.fixture
def stored(ledger: Ledger) -> Ledger:
    """One range with one number on one request, and one request that waits, a second before midnight in China."""
    ledger.channel()
    ledger.stock()
    ledger.stock(year=2027, level="exhausted")
    ledger.organization("A")
    ledger.claim("automatic-1", organization="A")
    before_midnight = NOW.replace(hour=15, minute=59, second=59)
    first = ledger.range(100, taken=1, claim_id="automatic-1", organization="A", created_at=before_midnight)
    ledger.request("R1", "A")
    ledger.number(first, 100, 100, "R1", assigned_at=before_midnight)
    ledger.request("W1", "A", status="waiting", issue_date=NOW.date().replace(year=2027), waiting_since=NOW)
    ledger.connection.commit()
    return ledger
