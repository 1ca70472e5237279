"""Logs: identifiers pass, payloads and secrets don't, whoever writes the line."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from uuid import UUID

import pytest
import structlog

from worker.telemetry import configure_logging

SECRET = "hunter2"  # noqa: S105 -- a password to look for


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Give what is logged at debug and above; afterwards logging is as it was."""
    root = logging.getLogger()  # noqa: TID251 -- what is put back
    before = (root.handlers[:], root.level)
    written = io.StringIO()
    configure_logging("debug", written)
    yield written
    root.handlers, root.level = before
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_its_time_and_level(stream: io.StringIO) -> None:
    structlog.get_logger().info("batch-handled", topic="invoice-issuing", requests=3)
    (line,) = lines(stream)
    assert line.pop("timestamp")
    assert line == {"event": "batch-handled", "level": "info", "topic": "invoice-issuing", "requests": 3}


def test_context_is_on_every_line(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(batch="b1"):
        structlog.get_logger().info("batch-handled")
    assert lines(stream)[0]["batch"] == "b1"


def test_what_is_below_the_level_is_left_out() -> None:
    root = logging.getLogger()  # noqa: TID251 -- what is put back
    before = (root.handlers[:], root.level)
    written = io.StringIO()
    configure_logging("warning", written)
    structlog.get_logger().info("not-this")
    structlog.get_logger().warning("this")
    root.handlers, root.level = before
    structlog.reset_defaults()
    assert [line["event"] for line in lines(written)] == ["this"]


@pytest.mark.parametrize(
    "field",
    ["body", "data", "headers", "key", "parameters", "password", "payload", "row", "secret", "statement", "token"],
)
def test_fields_that_carry_contents_are_masked(field: str, stream: io.StringIO) -> None:
    structlog.get_logger().info("told", **{field: SECRET})
    assert lines(stream)[0][field] == "***"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (b"bytes", "<bytes>"),
        ({"a": SECRET}, "<dict>"),
        (object(), "<object>"),
        ([{"a": SECRET}], ["<dict>"]),
        (f"amqp://fuma:{SECRET}@broker/vhost", "amqp://***@broker/vhost"),
        (f"amqp://fuma:p@{SECRET}@broker/vhost", "amqp://***@broker/vhost"),
        (f"tried amqp://fuma:{SECRET}@one, amqp://fuma:{SECRET}@two", "tried amqp://***@one, amqp://***@two"),
        ("x" * 400, "x" * 300 + "…"),
        (list(range(25)), [*range(20), "…"]),
        (None, None),
        (True, True),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (date(2026, 6, 15), "2026-06-15"),
        (datetime(2026, 6, 15, tzinfo=UTC), "2026-06-15T00:00:00+00:00"),
        (("a", "b"), ["a", "b"]),
    ],
)
def test_only_scalars_and_short_lists_pass(value: object, shown: object, stream: io.StringIO) -> None:
    structlog.get_logger().info("told", thing=value)
    assert lines(stream)[0]["thing"] == shown


class _DatabaseError(Exception):
    sqlstate = "23505"


def _fail(error: Exception) -> None:
    raise error


def test_an_exception_shows_its_kind_and_place_and_not_its_text(stream: io.StringIO) -> None:
    try:
        try:
            _fail(_DatabaseError(SECRET))
        except _DatabaseError as error:
            raise ValueError(SECRET) from error
    except ValueError:
        structlog.get_logger().exception("handler-broken")
    (line,) = lines(stream)
    assert line["exception"] == ["ValueError", "_DatabaseError 23505"]
    assert "test_telemetry.py" in str(line["raised_at"])
    assert SECRET not in stream.getvalue()


def test_libraries_are_heard_from_warnings_on_without_their_arguments(stream: io.StringIO) -> None:
    library = logging.getLogger("aiohttp.server")  # noqa: TID251 -- what libraries do
    library.info("connected to %s", SECRET)
    try:
        _fail(OSError(SECRET))
    except OSError:
        library.exception("lost %s", SECRET)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("lost %s", "aiohttp.server", "error")
    assert SECRET not in stream.getvalue()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_person_reads_lines_and_no_json(monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()  # noqa: TID251 -- what is put back
    before = (root.handlers[:], root.level)
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    configure_logging("info")
    structlog.get_logger().info("batch-handled", requests=3)
    root.handlers, root.level = before
    structlog.reset_defaults()
    assert "batch-handled" in terminal.getvalue()
    assert not terminal.getvalue().startswith("{")
