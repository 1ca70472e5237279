"""The figures of a run of chaos, in the terminal and on the page."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support.chaos.checker import Finding, check
from tests.support.chaos.made_up import well
from tests.support.chaos.report import table, write_on_page
from tests.support.chaos.run import Result, Terms, figures

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"


def of(*more: Finding, complaints: tuple[str, ...] = ()) -> Result:
    evidence = well()
    return Result(
        faults=Counter({"worker: SIGKILL": 3, "crash before-ack": 2}),
        findings=[*check(evidence), *more],
        complaints=[*complaints],
        audit="",
        seconds=120.0,
        evidence=evidence,
        not_tried=["database: disk full (mounting is not allowed)"],
        stood_still=0,
    )


def told(result: Result) -> dict[str, Any]:
    return figures(result, Terms(seed=7), 1)


def test_what_is_counted() -> None:
    counted = told(of())
    assert counted["faults_in_all"] == 5
    assert (counted["requests"], counted["issue_requests"]) == (10, 5)
    assert counted["repetitions_of_events"] == 1
    assert counted["numbers_assigned"] == 4
    assert counted["broken_in_all"] == 0


def test_what_is_broken_or_complained_of_is_shown_and_holds_no_more() -> None:
    assert of().holds
    broken = of(Finding("no-number-twice", "", 1, ("2644: twice",)))
    complained = of(complaints=("a worker hung",))
    assert not broken.holds
    assert not complained.holds
    assert "BROKEN: no-number-twice: 2644: twice" in table(told(broken))
    assert "COMPLAINT: a worker hung" in table(told(complained))
    assert told(broken)["broken_in_all"] == told(complained)["broken_in_all"] == 1


def test_what_was_not_tried_is_said() -> None:
    assert "database: disk full (mounting is not allowed)" in table(told(of()))


def test_the_page_takes_the_figures_again_and_again(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text(encoding="utf-8"), encoding="utf-8")
    for _ in range(2):
        write_on_page(page, told(of()))
    text = page.read_text(encoding="utf-8")
    assert text.count("| worker: SIGKILL | 3 |") == 1
    assert "| database: disk full (mounting is not allowed) | not tried |" in text
    assert text.partition("<!-- fig")[0] == PAGE.read_text(encoding="utf-8").partition("<!-- fig")[0]
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(ValueError, match="no place"):
        write_on_page(page, told(of()))
