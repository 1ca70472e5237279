"""`fuma demo`, which `make run` calls: everything embedded, and a report that adds up."""

import json
from pathlib import Path

from tests.support.outside.processes import Fuma


def test_the_demo_ends_well_and_reports_what_it_did(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    told = Fuma(tmp_path).ok(
        "demo", "--invoices", "300", "--organizations", "4", "--seed", "7", "--report", str(report)
    )
    assert told
    counted = json.loads(report.read_text())
    assert {"requests", "assigned", "refused", "waiting", "dead_letters", "claims", "ranges", "invariants"} <= set(
        counted
    )
    assert counted["requests"] >= 300
    assert counted["assigned"] > 0
    assert counted["refused"] > 0
    assert counted["dead_letters"] > 0
    assert counted["claims"] > 0
    assert counted["ranges"] > 0
    assert counted["invariants"]
    assert {name: told["broken"] for name, told in counted["invariants"].items() if told["broken"]} == {}
    assert {name for name, told in counted["invariants"].items() if told["checked"] == 0} == set()
