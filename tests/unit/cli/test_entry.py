"""The command line without anything behind it: what it offers, and that mistakes are one line each."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from worker.cli.entry import run

COMMANDS = (
    "demo",
    "migrate",
    "worker",
    "emit",
    "watch",
    "organizations",
    "ranges",
    "claims",
    "numbers",
    "waiting",
    "audit",
    "dead-letters",
    "leqi-simulator",
    "asyncapi",
)


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's settings, and a folder that holds none."""
    monkeypatch.chdir(tmp_path)
    for name in ("FUMA_BROKER_URL", "FUMA_DATABASE_URL", "FUMA_ENVIRONMENT", "FUMA_LEQI_URL", "FUMA_CLOCK"):
        monkeypatch.delenv(name, raising=False)
    # Where a test would reach for a database after all, there is none, and no embedded one is started.
    monkeypatch.setenv("FUMA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")


def complaint(capsys: pytest.CaptureFixture[str], *arguments: str, status: int) -> str:
    """Run a command that must fail, and give its one line."""
    assert run(arguments) == status
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("fuma: ")
    assert shown.err.count("\n") == 1
    return shown.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_the_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    assert [command for command in COMMANDS if command not in shown] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    assert f"fuma {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rangs"], "Did you mean 'ranges'"),
        (["ranges", "--colour"], "--colour"),
        (["ranges", "--status", "lost"], "'active'"),
        (["ranges", "--claim-mode", "both"], "'automatic'"),
        (["ranges", "--created-from", "2026-02-30"], "--created-from"),
        (["ranges", "--created-from", "yesterday"], "--created-from"),
        (["ranges", "--year", "26"], "--year"),
        (["claims", "--limit", "0"], "--limit"),
        (["claims", "--status", "active"], "'granted'"),
        (["numbers", "--status", "waiting"], "'available'"),
        (["waiting", "--status", "assigned"], "'waiting'"),
        (["waiting", "cancel"], "ID"),
        (["waiting", "cancel", "R1"], "--reason"),
        (["ranges", "release", "x"], "--reason"),
        (["organizations"], "fuma organizations --help"),
        (["organizations", "import"], "FILE"),
        (["emit", "claim", "--organization", "A", "--quantity", "0"], "--quantity"),
        (["emit", "claim", "--organization", "A", "--quantity", "1001"], "--quantity"),
        (["emit", "issue", "--organization", "A", "--issue-date", "2026-06-15"], "--id"),
        (["emit", "refresh", "--every", "0"], "--every"),
        (["leqi-simulator", "--port", "70000"], "--port"),
    ],
)
def test_a_mistake_in_the_words_is_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in complaint(capsys, *arguments, status=2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ranges", "--taxpayer", "short"], "--taxpayer"),
        (["ranges", "--created-from", "2026-06-15", "--created-to", "2026-06-14"], "--created-to"),
        (["numbers", "--number", "123"], "--number"),
        (["numbers", "--range", "123"], "range id"),
        (["ranges", "release", "123", "--reason", "mine"], "range id"),
        (["waiting", "cancel", "R1", "--reason", " "], "--reason"),
        (["waiting", "cancel", "R1", "--reason", "two\nlines"], "--reason"),
        (["waiting", "cancel", "R1", "--reason", "x" * 501], "--reason"),
        (["organizations", "import", "none.yaml"], "none.yaml: No such file or directory"),
        (["organizations", "import", "."], "Is a directory"),
        (["emit", "refresh", "--id", "R", "--every", "5"], "--every"),
        (["worker", "--topics", "invoice-issuing,nothing"], "nothing is not consumed"),
        (["worker", "--topics", ","], "nothing is not consumed"),
        (["dead-letters", "list", "--topic", "number-assigned"], "FUMA_BROKER_URL"),
    ],
)
def test_a_value_that_cannot_be_meant_is_one_line(
    arguments: list[str],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert said in complaint(capsys, *arguments, status=1)


@pytest.mark.parametrize(
    "arguments",
    [
        ["worker"],
        ["watch"],
        ["emit", "refresh"],
        ["emit", "claim", "--organization", "A", "--quantity", "5"],
        ["emit", "issue", "--organization", "A", "--issue-date", "2026-06-15", "--id", "R1"],
        ["dead-letters", "list"],
        ["dead-letters", "show", "1"],
        ["dead-letters", "redrive"],
    ],
)
def test_a_broker_inside_one_process_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, *arguments, status=1)
    assert "memory://" in said
    assert "amqp://" in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["emit", "issue", "--organization", "A", "--issue-date", "2026-06-15", "--id", "x" * 65],
        ["emit", "issue", "--organization", "A", "--issue-date", "2026-06-15", "--id", "R1", "--number", "1"],
        ["emit", "refresh", "--organization", "A", "--taxpayer", "91350100M000100Y43"],
        ["emit", "refresh", "--taxpayer", "short"],
        ["emit", "claim", "--organization", "", "--quantity", "5"],
    ],
)
def test_a_request_that_nobody_would_accept_is_not_sent(
    arguments: list[str],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FUMA_BROKER_URL", "amqp://127.0.0.1:1/")
    assert "expected" in complaint(capsys, *arguments, status=1)


def test_a_wrong_setting_is_one_line(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_ENVIRONMENT", "test")
    assert "FUMA_ENVIRONMENT" in complaint(capsys, "ranges", status=1)


def test_settings_come_from_a_file_too(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FUMA_HTTP_PORT=many\n", encoding="utf-8")
    assert "FUMA_HTTP_PORT" in complaint(capsys, "ranges", status=1)


@pytest.mark.parametrize("command", ["ranges", "audit", "migrate"])
def test_a_database_that_is_away_is_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = complaint(capsys, command, status=1)
    assert "FUMA_DATABASE_URL" in said
    assert "can't be reached" in said


def test_a_broker_that_is_away_is_one_line(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FUMA_BROKER_URL", "amqp://somebody:secret@127.0.0.1:1/")
    said = complaint(capsys, "emit", "refresh", status=1)
    assert "can't be reached" in said
    assert "secret" not in said


def test_the_document_of_all_messages_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["asyncapi"]) == 0
    assert json.loads(capsys.readouterr().out)["asyncapi"].startswith("3.")


def test_a_reader_that_goes_away_before_a_short_answer_ends_the_command_quietly() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "asyncapi"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.close()
        assert command.stderr.read() == b""
    assert command.returncode == 1


def test_the_module_is_the_command() -> None:
    shown = subprocess.run([sys.executable, "-m", "worker", "--help"], capture_output=True, text=True, check=True)
    assert "Usage: fuma" in shown.stdout


def test_the_help_loads_nothing_heavy() -> None:
    program = (
        "import sys; from worker.cli.entry import run; run(['--help']);"
        "print(sorted({'sqlalchemy', 'pika', 'kombu', 'httpx', 'aiohttp', 'alembic'} & sys.modules.keys()))"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "[]"
