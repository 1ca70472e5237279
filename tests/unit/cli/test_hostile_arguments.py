"""Hostile arguments and files: one line that says what is wrong, and never a traceback, a stall or a full memory."""

import os
from pathlib import Path

import pytest

from worker.cli.entry import run

_TEXTS = (
    "",
    " ",
    "\x1b[2J",
    "a\nb",
    "\ud800",
    os.fsdecode(b"\xff\xfe"),
    "\u202e",
    "9" * 5000,
    "-1",
    "1e9",
    "NaN",
    "--",
    "x" * 100_000,
    "'; DROP TABLE numbers; --",
    "../../../etc/passwd",
    "%n%s",
    "\uff12\uff10\uff12\uff16",
)
#: Commands with one place each where anything may stand.
_PLACES = (
    ("organizations", "import"),
    ("ranges", "--organization"),
    ("ranges", "--taxpayer"),
    ("ranges", "--year"),
    ("ranges", "--created-from"),
    ("ranges", "--status"),
    ("ranges", "--limit"),
    ("numbers", "--number"),
    ("numbers", "--range"),
    ("dead-letters", "list", "--created-from"),
    ("dead-letters", "redrive", "--topic"),
    ("emit", "issue", "--organization"),
    ("emit", "claim", "--quantity"),
    ("watch", "--topic"),
    ("worker", "--topics"),
    ("leqi-simulator", "--port"),
    ("demo", "--invoices"),
    ("no-such-command",),
)


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUMA_BROKER_URL", "amqp://nobody@127.0.0.1:1/")
    monkeypatch.setenv("FUMA_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.delenv("FUMA_LEQI_URL", raising=False)


@pytest.mark.parametrize("place", _PLACES, ids=" ".join)
def test_whatever_stands_there_is_refused_in_one_printable_line(
    place: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    for text in _TEXTS:
        assert run([*place, text]) != 0
        shown = capsys.readouterr().err
        assert "Traceback" not in shown
        assert shown.count("\n") == 1, (place, text[:20], shown[:300])
        assert shown.rstrip("\n").isprintable(), (place, text[:20], shown[:300])
        assert len(shown) < 2100, (place, text[:20])


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.yaml", b"\x00"),
        ("a.yaml", b"\xff\xfe"),
        ("a.yaml", b"- &a [*a, *a]"),
        ("a.yaml", b"[" * 3_000),
        ("a.yaml", b"!!python/object/apply:os.system [echo]"),
        ("a.json", b"[" * 100_000),
        ("a.json", b'[{"code": "\\ud800"}]'),
        ("a.json", b'[{"code": "a", "code": "b"}]'),
        ("a.json", b"9" * 100_000),
        ("a.exe", b"MZ"),
    ],
)
def test_whatever_a_file_holds_is_refused_in_one_line(
    name: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(content)
    assert run(["organizations", "import", name]) != 0
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1, shown[:300]
    assert "Traceback" not in shown


def test_a_huge_file_and_a_device_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with (tmp_path / "huge.yaml").open("wb") as huge:
        huge.truncate(10 * 1024**3)
    for name in ("huge.yaml", "/dev/zero", "."):
        assert run(["organizations", "import", name]) != 0
        assert capsys.readouterr().err.count("\n") == 1
