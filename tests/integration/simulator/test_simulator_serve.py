"""The fake authority as a process of its own: signals, crashes and its state file."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.support.leqi_by_hand import HEADERS, sealed_claim

PROGRAM = """
import sys
from pathlib import Path
import structlog
from worker.leqi.simulator import serve
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
serve(state=Path(sys.argv[1]), on_started=lambda url: print(url, flush=True))
"""


@contextmanager
def serving(path: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def claim(url: str, serial: str) -> httpx.Response:
    path = "/access/sandbox/v2/invoke/202007/QDFPPLFM/"
    return httpx.post(url + path, content=sealed_claim(serial), headers=HEADERS, timeout=20)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_success(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path / "state") as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert claim(url, "S1").status_code == 200
        process.send_signal(number)
        output, errors = process.communicate(timeout=20)
        assert process.returncode == 0
        assert output == ""
        assert "Traceback" not in errors


def test_a_crash_forgets_nothing_that_was_answered(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with serving(path) as (process, url):
        answers = [claim(url, f"S{number}").json() for number in range(10)]
        assert all(str(answer["httpStatusCode"]) == "200" for answer in answers)
        before = httpx.get(url + "/simulator/grants").json()
        process.kill()
        process.wait(timeout=20)
    assert len(path.read_text().splitlines()) == 10
    with serving(path) as (process, url):
        assert httpx.get(url + "/simulator/grants").json() == before
        assert claim(url, "S0").status_code == 200
        after = httpx.get(url + "/simulator/grants").json()
        assert after[0] == before[0] | {"times_asked": 2}


def test_each_record_is_one_line_of_json(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with serving(path) as (_, url):
        claim(url, "S1")
        claim(url, "S1")
        httpx.put(url + "/simulator/clock", json={"now": "2027-01-01T00:00:00+08:00"})
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds == ["grant", "asked", "clock"]


def test_a_damaged_state_file_ends_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("nonsense\n")
    with serving(path) as (process, url):
        assert url == ""
        _, errors = process.communicate(timeout=20)
        assert process.returncode == 1
        assert "line 1 is not a record of the simulator" in errors
