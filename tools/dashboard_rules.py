"""Write the dashboard's expressions to stdout as recording rules, which promtool checks (`make lint-alerts`)."""

import json
import sys
from pathlib import Path

import yaml

DASHBOARD = Path(__file__).parents[1] / "deploy/grafana/dashboards/fuma.json"


def main() -> None:
    """Write one rule for each expression of each panel."""
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    rules = [{"record": f"panel:{number}", "expr": expression} for number, expression in enumerate(expressions)]
    yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)


if __name__ == "__main__":
    main()
