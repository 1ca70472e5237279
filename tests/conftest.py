"""Fixtures for all tests: the servers that the tests bring with them, and how the tests share the machine."""

import logging
import os
import signal
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

# A shell that runs the tests in the background has them ignore the interrupt, and their children would inherit that:
# a command that is interrupted in a test must end.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more of the machine, which others share, than of the code.
settings.register_profile("shared-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if not os.environ.get("CI"):
    # There Hypothesis brings a profile of its own, which also draws the same examples every time.
    settings.load_profile("shared-machine")

pytest_plugins = ("tests.support.fixtures_postgres", "tests.support.fixtures_rabbitmq")


#: Under which name a test's figures travel with its report, from the process that ran it to the one that prints.
_FIGURE = "figure"


@pytest.fixture
def say(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Print a line of figures at the end of the run, whichever process ran the test."""

    def line(text: str) -> None:
        record_property(_FIGURE, text)

    return line


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests had to say: the figures belong to every run's record."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if getattr(report, "when", None) == "call"
    ]
    for report in reports:
        figures = [text for name, text in report.user_properties if name == _FIGURE]
        if figures:
            terminalreporter.section(report.nodeid, sep="-")
            for text in figures:
                terminalreporter.write_line(str(text))


def pytest_xdist_auto_num_workers() -> int:
    """Run tests side by side: most wait for a broker, a pause or a limit. One broker that is given serves one."""
    return 1 if "FUMA_TEST_BROKER_URL" in os.environ else (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that may take longest, so that none of them is the last one left."""

    def allowed(item: pytest.Item) -> float:
        mark = item.get_closest_marker("timeout")
        return float(mark.args[0]) if mark is not None and mark.args else 0.0

    longest: dict[str, float] = {}
    for item in items:
        file = item.nodeid.partition("::")[0]
        longest[file] = max(longest.get(file, 0.0), allowed(item))
    items.sort(key=lambda item: -longest[item.nodeid.partition("::")[0]])


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """Leave no test the log that another has configured: it may write to a stream that is closed by now."""
    yield
    structlog.reset_defaults()
    root = logging.getLogger()  # noqa: TID251 -- where libraries' logs go, too
    root.handlers = [
        each for each in root.handlers if not isinstance(each.formatter, structlog.stdlib.ProcessorFormatter)
    ]
