"""Logs: one static event name and identifiers for each line, to stderr, as JSON where no person is looking.

What a log line may carry is decided here and not by each caller: scalars and short lists of them.
Bodies, parameters and secrets never pass, and an exception shows its kind, its SQLSTATE, its constraint and its place,
not its text: the texts of database errors quote the row.
"""

import logging
import os
import re
import socket
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from datetime import date
from decimal import Decimal
from types import TracebackType
from typing import TextIO
from uuid import UUID

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

_LONGEST_TEXT = 300
_LONGEST_LIST = 20

#: Fields that carry what came in or goes out, or what must stay secret, whatever their value.
_NEVER_SHOWN = frozenset(
    {"body", "content", "data", "headers", "key", "message", "parameters", "params", "password", "payload", "row"}
    | {"secret", "statement", "token", "value", "values"},
)

#: Up to the last "@", for a password may have one that nobody encoded.
_CREDENTIALS = re.compile(r"(?<=://)[^/\s]+@")


def worker_name() -> str:
    """Name this process among all workers: its host and process id, at most 128 characters of printable ASCII."""
    host = "".join(c for c in socket.gethostname() if c.isascii() and c.isprintable()) or "localhost"
    return f"{host[:100]}:{os.getpid()}"


def configure_logging(level: str, stream: TextIO | None = None) -> None:
    """Send all logs of this process, our libraries' warnings included, to `stream` (stderr).

    `level` is one of debug, info, warning, error. May be called again; the last call counts.
    """
    target = sys.stderr if stream is None else stream
    threshold = logging.getLevelNamesMapping()[level.upper()]
    common: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _describe_exception,
        _let_identifiers_pass,
    ]
    renderer: Processor = (
        structlog.dev.ConsoleRenderer() if target.isatty() else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    structlog.configure(
        processors=[*common, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=target),
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_leave_arguments_out, structlog.stdlib.add_logger_name, *common],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        ),
    )
    root = logging.getLogger()  # noqa: TID251 -- other people's logs come in here
    root.handlers = [handler]
    root.setLevel(max(threshold, logging.WARNING))


def _leave_arguments_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep of a library's log line its template: the arguments may be rows, bodies or addresses with passwords."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        event["event"] = str(record.msg)
    return event


def _describe_exception(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace `exc_info` by what the exception is and where it happened, without its text."""
    given = event.pop("exc_info", None)
    if given is None or given is False:
        return event
    error = _exception_of(given)
    if error is None:
        return event
    event["exception"] = _kinds(error)
    event["raised_at"] = _places(error.__traceback__)
    return event


def _exception_of(given: object) -> BaseException | None:
    if isinstance(given, BaseException):
        return given
    if isinstance(given, tuple):
        return given[1] if isinstance(given[1], BaseException) else None
    return sys.exc_info()[1]


def _kinds(error: BaseException) -> list[str]:
    """Name the exception and what led to it, the newest first."""
    kinds: list[str] = []
    seen: BaseException | None = error
    while seen is not None and len(kinds) < _LONGEST_LIST:
        state = getattr(seen, "sqlstate", None)
        constraint = getattr(getattr(seen, "diag", None), "constraint_name", None)
        marks = [str(mark) for mark in (state, constraint) if mark]
        kinds.append(" ".join([type(seen).__qualname__, *marks]))
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return kinds


def _places(raised: TracebackType | None) -> list[str]:
    """Tell the calls that led there, the innermost last."""
    frames = traceback.extract_tb(raised)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[-_LONGEST_LIST:]]


def _let_identifiers_pass(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    guarded: MutableMapping[str, object] = event
    for name, value in list(guarded.items()):
        if name in {"_record", "_from_structlog"}:
            continue
        guarded[name] = "***" if name in _NEVER_SHOWN else _shown(value)
    return event


def _shown(value: object) -> object:
    """Give a value the form in which it may stand in a log."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        masked = _CREDENTIALS.sub("***@", value)
        return masked if len(masked) <= _LONGEST_TEXT else masked[:_LONGEST_TEXT] + "…"
    if isinstance(value, UUID | Decimal):
        return str(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping | bytes | bytearray) or not isinstance(value, list | tuple | set | frozenset):
        return f"<{type(value).__name__}>"
    shown = [_shown(item) for item in list(value)[:_LONGEST_LIST]]
    return [*shown, "…"] if len(value) > _LONGEST_LIST else shown
