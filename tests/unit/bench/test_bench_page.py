"""The page shows what was measured, and the bars say of a figure what is true."""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.bars import Bar, bars
from bench.page import PAGE, UNMEASURED, filled, places
from bench.report import tables

LATEST = Path(__file__).parents[3] / "bench" / "results" / "latest.json"


def _latencies(p50: float, p99: float) -> dict[str, float]:
    return {"requests": 1000, "p50": p50, "p99": p99, "p99_9": 70.0, "longest": 80.0, "generator_late": 1.0}


def _entry(rate: float) -> dict[str, Any]:
    return {
        "title": "somebody",
        "taxpayers": 20,
        "form": "single",
        "invoices": 1000,
        "invoices_per_second": rate,
        "spread": 0.25,
        "rounds": [rate],
        "cpu_seconds_per_1000": {"worker": 0.1, "postgresql": 0.02, "rabbitmq": 0.03},
        "memory_mb": 101.4,
    }


def results() -> dict[str, Any]:
    """Give results of a run that never was, in the form of the results file."""
    told: dict[str, Any] = {
        "plan": "quick",
        "measured_at": "2026-01-02T03:04:05+00:00",
        "minutes": 4.5,
        "machine": {
            "cores": 2,
            "cpu": "a processor",
            "memory_gib": 23.5,
            "system": "Linux 6",
            "python": "3.11.7",
            "postgresql": "18.4",
            "rabbitmq": "3.10.8",
            "fsyncs_per_second": 1234,
        },
        "prefetch": {"tried": {"textbook": {"1": 300.0, "10": 400.0}}, "chosen": {"textbook": 10}},
        "throughput": {"relay": _entry(9000.0), "fuma_single": _entry(8000.0)},
        "ratios": {"single_to_relay": 0.8888, "single_to_textbook": 20.04, "batch_to_relay": 3.0},
        "profile": {"textbook": {"waiting for the commit": 0.6, "the rest": 0.4}},
        "latency_ms": {
            "single_row_commit": 1.0,
            "quorum_confirm": 2.0,
            "tenth_allowed": 15.0,
            "capacity_per_second": 5000.0,
            "tenth": _latencies(15.0, 20.0),
            "half_load": _latencies(25.0, 100.5),
            "nine_tenths": _latencies(60.0, 200.0),
            "textbook": {"capacity_per_second": 350.0, "half_load": _latencies(5.0, 9.0)},
        },
        "growth": {
            "microseconds_an_invoice": {"0": 100.0, "1000000": 105.0},
            "microseconds_statements_alone": {"0": 50.0, "1000000": 60.0},
            "ten_million_to_empty": None,
            "ranges": {"100": {"used_up": 50.0, "open": 70.0}},
        },
        "memory_mb": {"peak": 120.0, "early": 110.0, "late": 111.0, "growth": 0.009, "invoices": 1_000_000},
    }
    told["bars"] = [bar.as_json() for bar in bars(told)]
    return told


def test_the_page_shows_the_results_that_lie_beside_it() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert places(text).keys() == {*tables(results()), "plot"}
    if LATEST.exists():
        latest = json.loads(LATEST.read_text(encoding="utf-8"))
        assert filled(text, latest) == text
        assert [bar.as_json() for bar in bars(latest)] == latest["bars"]
    else:
        assert set(places(text).values()) == {UNMEASURED}


def test_each_place_is_filled_and_nothing_else_changes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    once = filled(text, results())
    assert filled(once, results()) == once
    assert {name: table for name, table in places(once).items() if name != "plot"} == tables(results())
    assert once.splitlines()[0] == text.splitlines()[0]
    assert once.splitlines()[-1] == text.splitlines()[-1]


def test_a_figure_is_told_as_it_was_measured() -> None:
    made = tables(results())
    assert "| `fuma_single` | somebody | single, 20 | 8,000 | 25% | 0.100 | 0.020 | 0.030 | 101 |" in made["throughput"]
    assert "| `single_to_relay` | 0.889 |" in made["ratios"]
    assert "| `textbook` | 300/s | 400/s (taken) |" in made["prefetch"]
    assert "| Fuma | half of 5,000/s | 1,000 | 25.0 | 100.5 | 70.0 | 80.0 |" in made["latency"]
    assert "| 1,000,000 | 105 | 1.05 | 60 | 1.20 |" in made["growth"]


def test_the_bars_are_reckoned_from_the_figures() -> None:
    verdicts = {bar.measure.split(":")[0]: bar.reached for bar in bars(results())}
    assert verdicts == {
        "single messages against the bare relay": False,
        "single messages against the textbook worker": True,
        "batches of 100 against the bare relay": True,
        "p99 at half load": False,
        "p50 at a tenth of the load": True,
        "cost of an invoice at 10 million numbers against an empty table": None,
        "peak memory of a worker": True,
        "growth of that memory from the second quarter to the last": True,
    }


@pytest.mark.parametrize(
    ("direction", "measured", "reached"),
    [
        ("at least", 0.89, False),
        ("at least", 0.9, True),
        ("at most", 0.9, True),
        ("at most", 0.91, False),
        ("at most", None, None),
    ],
)
def test_a_bar_is_reached_or_missed_or_not_measured(
    direction: str, measured: float | None, *, reached: bool | None
) -> None:
    assert Bar("anything", direction, 0.9, "times", measured).reached is reached
