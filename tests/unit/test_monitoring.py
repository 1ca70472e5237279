"""Alert rules and dashboard ask for metrics that workers have, in a form that Prometheus and Grafana take."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import Metric

from schemas.topics import Topic
from worker.metrics import Figures, Metrics, StockFigures

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/prometheus/alerts.yml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]
]
DASHBOARD: dict[str, Any] = json.loads((ROOT / "deploy/grafana/dashboards/fuma.json").read_text(encoding="utf-8"))
TARGETS: list[dict[str, Any]] = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
EXPRESSIONS = [rule["expr"] for rule in RULES] + [target["expr"] for target in TARGETS]

#: Width of Grafana's grid.
COLUMNS = 24
#: From this on a panel's datasource is an object; newer Grafanas migrate what is older.
OLDEST_SCHEMA = 36

_NAME = re.compile(r"\b((?:fuma|process)_[a-z_]+)\b")
_LABELS = re.compile(r"\bby \(([a-z_, ]+)\)|\{([a-z_]+)=")


def families() -> list[Metric]:
    """Give every metric of a worker that has done one of everything."""
    metrics = Metrics()
    metrics.handled(Topic.INVOICE_ISSUING, 3, 0.01)
    metrics.rejected("malformed")
    metrics.retried("40001")
    metrics.paused(Topic.INVOICE_ISSUING, paused=True)
    metrics.input_degraded(Topic.INVOICE_ISSUING, bad=True)
    metrics.watch_shards(Topic.INVOICE_ISSUING, lambda: 2)
    stock = StockFigures("91350100M000100Y43", "self-use", 2026, 10, 0.5, 1)
    metrics.figures = Figures((stock,), 1, 1, 2.0, 3, 4.0, 5, 6, 7.0, throttled=True)
    return list(metrics.registry.collect())


SAMPLES = {sample.name: set(sample.labels) for family in families() for sample in family.samples}


def test_every_metric_that_is_asked_for_exists_with_its_labels() -> None:
    for expression in EXPRESSIONS:
        names = _NAME.findall(expression)
        assert names, expression
        assert set(names) <= set(SAMPLES), expression
        wanted = {label for found in _LABELS.findall(expression) for label in re.findall(r"[a-z_]+", "".join(found))}
        # Prometheus itself adds where it asked.
        known = set.union(*(SAMPLES[name] for name in names)) | {"job", "instance"}
        assert wanted <= known, expression


def test_every_metric_of_ours_is_shown_or_watched() -> None:
    asked = set(_NAME.findall(" ".join(EXPRESSIONS)))
    for family in families():
        if family.name.startswith("fuma_"):
            # A counter's name of a sample ends in _total; a histogram's in _bucket, _sum, _count.
            assert any(name.startswith(family.name) for name in asked), family.name


def test_figures_that_are_too_old_are_not_shown() -> None:
    metrics = Metrics()
    stock = StockFigures("91350100M000100Y43", "self-use", 2026, 10, None, 1)
    fresh = Figures((stock,), 1, 1, 2.0, 3, 4.0, 5, 6, 7.0, throttled=False)
    metrics.figures = fresh
    assert metrics.registry.get_sample_value("fuma_waiting_requests") == 1
    labels = {"taxpayer_id": "91350100M000100Y43", "channel_mode": "self-use", "year": "2026"}
    assert metrics.registry.get_sample_value("fuma_stock_remaining", labels) == 10
    assert metrics.registry.get_sample_value("fuma_stock_days_left", labels) is None
    metrics.figures = Figures(
        **{name: getattr(fresh, name) for name in Figures.__slots__} | {"taken_at": fresh.taken_at - 500}
    )
    assert metrics.registry.get_sample_value("fuma_waiting_requests") is None
    assert metrics.registry.get_sample_value("fuma_ready") == 0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_an_alert_says_what_happened_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["alert"].startswith("Fuma")
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert set(rule["annotations"]) == {"summary", "do", "runbook"}
    page, _, section = rule["annotations"]["runbook"].partition("#")
    headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert section in {heading.lower().replace(" ", "-") for heading in headings}


def test_alerts_have_one_name_each() -> None:
    names = [rule["alert"] for rule in RULES]
    assert len(set(names)) == len(names) > 8


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_is_promql(expression: str) -> None:
    """`make lint-alerts` asks Prometheus' own tool."""
    assert promql_parser.parse(expression) is not None


def test_panels_have_what_grafana_wants_and_do_not_overlap() -> None:
    assert DASHBOARD["schemaVersion"] >= OLDEST_SCHEMA
    assert {"uid", "title", "time", "templating", "annotations", "panels"} <= set(DASHBOARD)
    assert DASHBOARD["editable"] is False
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        assert panel["type"] in {"stat", "table", "timeseries"}
        assert panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= COLUMNS
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        refs = [target["refId"] for target in panel["targets"]]
        assert len(set(refs)) == len(refs)


def test_every_panel_asks_the_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((ROOT / "deploy/grafana/datasource.yml").read_text(encoding="utf-8"))["datasources"]
    wanted = {"type": source["type"], "uid": source["uid"]}
    assert all(each["datasource"] == wanted for each in [*DASHBOARD["panels"], *TARGETS])
