"""What the benchmark writes in bulk is what the worker would have written: the audit finds nothing to complain of."""

import pytest

from bench import audit_at_scale
from bench.load import Load
from bench.stock import fill_stock
from db.audit.judging import audit
from db.engine import open_engine
from worker.clock import Clock


def test_tables_that_were_filled_in_bulk_are_as_the_worker_leaves_them(database_url: str) -> None:
    fill_stock(database_url, Load(100, 3), used_ranges=4, fresh_ranges=2, range_size=10)
    engine = open_engine(database_url, application="fuma-test")
    with engine.connect() as connection:
        findings = {finding.name: finding for finding in audit(connection, Clock().now())}
    engine.dispose()
    assert [finding for finding in findings.values() if finding.broken] == []
    assert findings["granted-claim-has-its-range"].checked == 3 * (4 + 2)
    assert findings["number-in-its-range"].checked == 3 * 4 * 10


def test_the_audit_at_scale_finds_its_own_tables_sound(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["audit_at_scale", "--numbers", "1"])

    assert audit_at_scale.main() == 0

    assert "memory at most" in capsys.readouterr().out
