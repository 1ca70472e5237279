"""The short form of the run of chaos: every crash point, and each server's misfortunes, alone and mixed, once."""

import sys

import pytest

from tests.support.chaos.faults import CRASH_POINTS, FAULTS
from tests.support.chaos.report import table
from tests.support.chaos.run import Run, Terms, figures
from tests.support.chaos.stage import Stage

TERMS = Terms(seed=20261231, workers=2, rate=150, largest_batch=60, claim_quantity=200, disk_mb=400)

#: In this order; what holds different things overlaps.
SHORT = (
    "database: SIGKILL and restart",
    "authority: loses answers",
    "broker: memory alarm",
    "database: connections cut",
    "broker: connections cut",
    "worker: SIGTERM",
    "database: half open, it is gone",
    "broker: half open, workers are gone",
    "broker: SIGKILL and restart",
    "database: stalled from it",
)


@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_comes_twice() -> None:
    named = {fault.name: fault for fault in FAULTS}
    with Stage(workers=TERMS.workers, disk_mb=TERMS.disk_mb) as stage:
        run = Run(stage, TERMS)
        try:
            run.begin()
            run.crash_at_each_point(within=240)
            run.disturb_with((named[name] for name in SHORT), pause=0.5)
            run.settle()
            result = run.result()
        finally:
            run.close()
    sys.stdout.write(table(figures(result, TERMS, 1)))
    assert result.complaints == []
    assert {finding.name: finding.broken for finding in result.findings if finding.broken} == {}
    assert {f"crash {point}" for point in CRASH_POINTS} | set(SHORT) <= set(result.faults)
    # What needs a restore or a queue deleted by hand is the long form's.
    idle = {finding.name for finding in result.findings if not finding.checked}
    assert idle <= {"forgotten-numbers-stay-out-of-use", "asked-again-only-after-a-hand", "refusals-have-a-cause"}
