"""The state file: one JSON record a line, only ever appended to.

A record is on the disk (fsync) before anybody is told of it.
So a last line without its line feed was never answered, and is dropped; any other
damage means that answers were lost, and the file is refused.
"""

import errno
import fcntl
import os
from pathlib import Path

import structlog
from pydantic import ValidationError

from worker.leqi.simulator_records import RECORD, Record

log = structlog.get_logger()


class StateError(Exception):
    """The state file can't be used; the text says why, in one line."""


class StateNotWrittenError(Exception):
    """A record could not be stored, so what it tells has not happened."""

    def __init__(self, number: int | None) -> None:
        """Keep the system's error number."""
        super().__init__(number)
        self.errno = number


class Journal:
    """An open state file, held by one process; without a path it keeps nothing."""

    def __init__(self, path: Path | None) -> None:
        """Open or create the file; raises `StateError` when it can't be used."""
        self.recovered: list[Record] = []
        """What the file held when it was opened, in order."""
        self._keeps_nothing = path is None
        self._descriptor: int | None = None
        self._size = 0
        self._is_torn = False
        if path is not None:
            self._open(path)

    def append(self, record: Record) -> None:
        """Store a record for good; raises `StateNotWrittenError` when it isn't."""
        if self._keeps_nothing:
            return
        if self._descriptor is None:
            raise StateNotWrittenError(errno.EBADF)
        line = record.model_dump_json().encode() + b"\n"
        try:
            if self._is_torn:
                os.ftruncate(self._descriptor, self._size)
            self._is_torn = True
            _write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            raise StateNotWrittenError(error.errno) from error
        self._is_torn = False
        self._size += len(line)

    def close(self) -> None:
        """Let go of the file; harmless when done twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self, path: Path) -> None:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            message = f"state file {path}: {error.strerror}"
            raise StateError(message) from error
        try:
            self._recover(path, descriptor)
        except (StateError, OSError) as error:
            os.close(descriptor)
            message = f"state file {path}: {_reason(error)}"
            raise StateError(message) from error
        self._descriptor = descriptor

    def _recover(self, path: Path, descriptor: int) -> None:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            message = "another simulator is using it"
            raise StateError(message) from error
        content = path.read_bytes()
        whole, torn = _split_torn(content)
        if torn:
            log.warning("simulator-torn-record-dropped", bytes=len(torn))
            os.ftruncate(descriptor, len(whole))
        self.recovered = [_read(line, number) for number, line in enumerate(whole.splitlines(), start=1)]
        self._size = len(whole)
        os.fsync(descriptor)
        _fsync_folder(path.parent)


def _split_torn(content: bytes) -> tuple[bytes, bytes]:
    end = content.rfind(b"\n") + 1
    return content[:end], content[end:]


def _read(line: bytes, number: int) -> Record:
    try:
        return RECORD.validate_json(line)
    except ValidationError as error:
        message = f"line {number} is not a record of the simulator"
        raise StateError(message) from error


def _write_all(descriptor: int, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _fsync_folder(folder: Path) -> None:
    """Make the name of a new file as durable as its content."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or "it can't be read"
    return str(error)
