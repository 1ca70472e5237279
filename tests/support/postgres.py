"""A PostgreSQL server of the tests' own: nothing of the machine's servers is read, used or touched.

Which one is chosen by `FUMA_TEST_POSTGRES`: `wheel18` (the default: every machine has it as soon as the project is
installed), `wheel16`, or `system` (the newest under `/usr/lib/postgresql`).
With `FUMA_TEST_PARTITIONS` its migrated databases are split into so many partitions by taxpayer.
A shell that waits for the end of its standard input is the leash: when the process that started the server dies,
however it dies, the pipe closes and the shell ends the server and removes its folder.
"""

import contextlib
import itertools
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil
import psycopg
from sqlalchemy import update

from db.embedded_account import account_for, give, invocation
from db.embedded_server import wheel_programs
from db.engine import open_engine
from db.fence import present_identity
from db.migrate import migrate
from db.tables import deployment
from tests.support.certificates import write_certificates
from tests.support.partitioned import split_by_taxpayer
from tests.support.ports import lasting_ports

START_DEADLINE = 60.0
STOP_DEADLINE = 30.0

#: What a server that lives for a test run needn't do: its data must outlive its own death, not the machine's.
SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "unix_socket_directories": "",
}

#: Ends the server ($0) and removes its folder ($1) as soon as nobody holds the other end of the standard input.
LEASH = 'read -r _; kill -QUIT "$0"; rm -rf "$1"'


class PostgresUnavailableError(RuntimeError):
    """There is no PostgreSQL of the wanted kind, or it did not come up."""


class PrivatePostgres:
    """One server with its own port, password and folder; a context manager.

    The addresses of its databases stay the same over `kill`, `stop` and `start`, and so does what they hold.
    """

    #: What it is started with; a benchmark's server has durable ones.
    settings: ClassVar[Mapping[str, str]] = SETTINGS
    #: Which PostgreSQL it is; None: the one that the environment names.
    kind: ClassVar[str | None] = None

    def __init__(self, parent: Path | None = None) -> None:
        """Make the folder, in `parent` where one is named, and an empty server in it; nothing runs yet."""
        self._programs = _find_programs(self.kind or os.environ.get("FUMA_TEST_POSTGRES", "wheel18"))
        self._folder = Path(tempfile.mkdtemp(prefix="fuma-test-postgres-", dir=parent))
        # The server's account must pass; what is inside is closed by itself.
        self._folder.chmod(0o711)
        self._data = self._folder / "data"
        self._account = account_for(self._data)
        self._password = secrets.token_hex(12)
        (self._port,) = lasting_ports(1)
        self._numbers = itertools.count(1)
        self._templates: dict[str, str] = {}
        self._server: psutil.Popen | None = None
        self._leash: subprocess.Popen[bytes] | None = None
        self._run_initdb()

    @property
    def port(self) -> int:
        """Where it listens, on 127.0.0.1."""
        return self._port

    @property
    def password(self) -> str:
        """What no log line may show."""
        return self._password

    @property
    def folder(self) -> Path:
        """Where its data are."""
        return self._folder

    @property
    def programs(self) -> Path:
        """The folder of PostgreSQL's own programs."""
        return self._programs

    @property
    def process_id(self) -> int:
        """The running server's."""
        assert self._server is not None
        return self._server.pid

    @property
    def log(self) -> str:
        """What the server has said so far."""
        return (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def url_of(self, database: str) -> str:
        """Address a database, as the administrator."""
        return f"postgresql://fuma:{self._password}@127.0.0.1:{self._port}/{database}"

    def new_database(self) -> str:
        """Make an empty database and give its URL."""
        return self._create("template1")

    def new_migrated_database(self, environment: str = "sandbox") -> str:
        """Make a database with the newest schema for an environment and give its URL; migrated once, then copied."""
        if environment not in self._templates:
            template = self._create("template1")
            engine = open_engine(template, application="fuma-test-template")
            migrate(engine, environment)
            engine.dispose()
            if partitions := os.environ.get("FUMA_TEST_PARTITIONS"):
                split_by_taxpayer(template, int(partitions))
            self._templates[environment] = template.rsplit("/", 1)[1]
        return self._record_copy(self._create(self._templates[environment]))

    def drop_database(self, url: str) -> None:
        """Remove a database; whoever is connected to it is thrown out."""
        self._administer(f'DROP DATABASE "{url.rsplit("/", 1)[1]}" WITH (FORCE)')

    def dump(self, url: str, file: Path) -> None:
        """Back a database up, as an administrator does."""
        self._program("pg_dump", "--format=custom", f"--file={file}", url)

    def restore(self, url: str, file: Path) -> None:
        """Put a backup into an empty database, or over what is there."""
        self._program("pg_restore", "--clean", "--if-exists", "--exit-on-error", f"--dbname={url}", str(file))

    def recreate_database(self, url: str, template: str | None = None) -> None:
        """Replace a database by an empty one or a copy of another; whoever is connected is thrown out."""
        self.drop_database(url)
        copied = "template1" if template is None else template.rsplit("/", 1)[1]
        self._administer(f'CREATE DATABASE "{url.rsplit("/", 1)[1]}" TEMPLATE "{copied}"')

    def copy_database(self, url: str) -> str:
        """Copy a database that nobody is connected to, and give the copy's URL."""
        return self._create(url.rsplit("/", 1)[1])

    def start(self) -> None:
        """Start the server, for the first time or again with the same data, and wait until it takes connections."""
        if self._server is not None:
            return
        arguments = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self._port)]
        for name, value in self.settings.items():
            arguments += ["-c", f"{name}={value}"]
        how = invocation(self._account, arguments, reaching=(self._data,))
        with (self._folder / "log").open("ab") as log:
            self._server = psutil.Popen(
                how.args,
                env=how.env,
                user=how.user,
                group=how.group,
                extra_groups=how.extra_groups,
                cwd=self._data,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._leash = subprocess.Popen(
            ["/bin/sh", "-c", LEASH, str(self._server.pid), str(self._folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self._wait_until_started(self._server)

    def kill(self) -> None:
        """End the server and its sessions as a power cut would."""
        if self._server is None:
            return
        self._loosen_leash()
        # Stopped first, so that it makes no new children while they are counted.
        self._server.suspend()
        processes = [self._server, *self._server.children(recursive=True)]
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(processes, timeout=STOP_DEADLINE)
        self._server = None

    def send_signal(self, number: int) -> None:
        """Send a signal to the server, and then to its sessions; one that ends just now is left out."""
        server = psutil.Process(self.process_id)
        for process in [server, *server.children(recursive=True)]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def stop(self) -> None:
        """End the server in order; sessions are cut. Its data stay for the next `start`."""
        if self._server is None:
            return
        self._loosen_leash()
        self._server.send_signal(signal.SIGINT)
        self._server.wait(STOP_DEADLINE)
        self._server = None

    def remove(self) -> None:
        """End the server and remove all that it stored."""
        self.stop()
        shutil.rmtree(self._folder)

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove it."""
        self.remove()

    def _prepare(self) -> None:
        """Add to the new server's folder what its settings want."""

    def _create(self, template: str) -> str:
        name = f"test_{next(self._numbers)}"
        self._administer(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url_of(name)

    def _program(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._programs / name), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def _record_copy(self, url: str) -> str:
        """Let a copy be the database to issue from: to Fuma a copied database is a restored one."""
        engine = open_engine(url, application="fuma-test-copy")
        with engine.begin() as connection:
            connection.execute(update(deployment).values(identity=present_identity(connection)))
        engine.dispose()
        return url

    def _administer(self, statement: str) -> None:
        with psycopg.connect(self.url_of("postgres"), autocommit=True) as connection:
            connection.execute(statement.encode())

    def _loosen_leash(self) -> None:
        if self._leash is None:
            return
        self._leash.kill()
        self._leash.communicate()
        self._leash = None

    def _run_initdb(self) -> None:
        self._data.mkdir(mode=0o700)
        give(self._data, self._account)
        password_file = self._folder / "password"
        password_file.touch(mode=0o600)
        password_file.write_text(self._password, encoding="utf-8")
        give(password_file, self._account)
        arguments = [
            str(self._programs / "initdb"),
            f"--pgdata={self._data}",
            f"--pwfile={password_file}",
            "--username=fuma",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-locale",
            "--no-sync",
        ]
        how = invocation(self._account, arguments, reaching=(self._data, password_file))
        done = subprocess.run(
            how.args,
            env=how.env,
            user=how.user,
            group=how.group,
            extra_groups=how.extra_groups,
            cwd=self._data,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            shutil.rmtree(self._folder)
            raise PostgresUnavailableError(done.stderr)
        self._prepare()

    def _wait_until_started(self, server: psutil.Popen) -> None:
        deadline = time.monotonic() + START_DEADLINE
        while True:
            try:
                psycopg.connect(self.url_of("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as refusal:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise PostgresUnavailableError(self.log) from refusal
                time.sleep(0.02)
            else:
                return


class TlsPostgres(PrivatePostgres):
    """The machine's PostgreSQL with a certificate for 127.0.0.1: the wheel's speaks no TLS."""

    settings: ClassVar[Mapping[str, str]] = {
        **SETTINGS,
        "ssl": "on",
        "ssl_cert_file": "server.pem",
        "ssl_key_file": "server.key",
    }
    kind: ClassVar[str | None] = "system"

    @property
    def ca_file(self) -> Path:
        """The authority that a client must trust."""
        return self._folder / "ca.pem"

    def _prepare(self) -> None:
        write_certificates(self._folder)
        for name in ("server.pem", "server.key"):
            file = self._data / name
            shutil.copyfile(self._folder / name, file)
            file.chmod(0o600)
            give(file, self._account)


def _find_programs(wanted: str) -> Path:
    match wanted:
        case "wheel16" | "wheel18":
            return wheel_programs(wanted.removeprefix("wheel"))
        case "system":
            found = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
            if not found:
                message = "the machine's own PostgreSQL is wanted, but there is no /usr/lib/postgresql/*/bin/postgres"
                raise PostgresUnavailableError(message)
            return max(found, key=lambda folder: int(folder.parent.name))
        case _:
            message = f"FUMA_TEST_POSTGRES must be wheel16, wheel18 or system, not {wanted!r}"
            raise PostgresUnavailableError(message)
