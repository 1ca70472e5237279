"""How a run went, for people: a table for the terminal, and the figures on the page of the documentation."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

#: What the table tells of the load, by the name of the figure.
_FIGURES: Mapping[str, str] = {
    "requests": "requests that the broker confirmed",
    "issue_requests": "of them for a number",
    "repetitions_of_requests": "repetitions of requests",
    "asked_again_after_a_hand": "asked again after a hand threw them away",
    "events": "events",
    "repetitions_of_events": "repetitions of events, under the same id",
    "numbers_assigned": "numbers assigned",
    "grants": "ranges granted",
    "forgotten": "numbers that restores forgot",
    "stood_still": "workers that could not drain, the machine stood still",
    "broken_in_all": "lost, doubled, or otherwise wrong",
}

_PLACE = re.compile(r"(?<=<!-- figures of the last long run -->\n\n).*?(?=\n<!-- end of the figures -->)", re.DOTALL)


def table(told: Mapping[str, Any]) -> str:
    """Say how a run went: faults by kind, requests, events, repetitions, checks, losses."""
    lines = [f"{'fault':<56} {'times':>8}"]
    lines += [f"{name:<56} {count:>8}" for name, count in told["faults"].items()]
    lines += [f"{name:<56} {'-':>8}" for name in told["not_tried"]]
    lines += [f"{'in all':<56} {told['faults_in_all']:>8}", ""]
    lines += [f"{says:<56} {told[name]:>8}" for name, says in _FIGURES.items()]
    lines += ["", f"{'check':<56} {'checked':>8} {'broken':>8}"]
    lines += [f"{name:<56} {each['checked']:>8} {each['broken']:>8}" for name, each in told["checks"].items()]
    lines += ["", f"{told['seconds']} s, seed {told['seed']}, {told['rounds']} stretches of faults with a calm behind"]
    lines += [f"BROKEN: {line}" for line in told["broken"]]
    lines += [f"COMPLAINT: {each}" for each in told["complaints"]]
    return "\n".join(lines) + "\n"


def write_on_page(page: Path, told: Mapping[str, Any]) -> None:
    """Put the figures into their place on a page."""
    text = page.read_text(encoding="utf-8")
    changed, places = _PLACE.subn(lambda _: _in_markdown(told), text)
    if places != 1:
        message = f"{page} has no place for the figures"
        raise ValueError(message)
    page.write_text(changed, encoding="utf-8")


def _in_markdown(told: Mapping[str, Any]) -> str:
    run = f"{told['at']} for {told['seconds'] / 60:.0f} minutes with the seed {told['seed']}"
    lines = [
        f"Run at {run}: {told['rounds']} stretches of faults, {told['faults_in_all']} faults in all.",
        "",
        "| fault | times |",
        "| --- | ---: |",
        *(f"| {name} | {count} |" for name, count in told["faults"].items()),
        *(f"| {name} | not tried |" for name in told["not_tried"]),
        "",
        "| what | how many |",
        "| --- | ---: |",
        *(f"| {says} | {told[name]:,} |" for name, says in _FIGURES.items()),
        "",
        "| check | looked at | broken |",
        "| --- | ---: | ---: |",
        *(f"| `{name}` | {each['checked']:,} | {each['broken']} |" for name, each in told["checks"].items()),
    ]
    return "\n".join(lines) + "\n"
