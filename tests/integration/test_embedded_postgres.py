"""The embedded PostgreSQL: shared by commands, whatever becomes of them and of it."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest

from db.embedded import EmbeddedPostgres, EmbeddedPostgresError
from db.embedded_account import account_for
from db.embedded_folder import ServerFolder
from db.embedded_server import wheel_programs
from tests.support.embedded_holder import THROW_AWAY
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]


def embedded(home: Path, *, version: str = "18") -> EmbeddedPostgres:
    return EmbeddedPostgres(home, version=version, settings=THROW_AWAY)


class Holder:
    """Another process that uses the embedded PostgreSQL."""

    def __init__(self, home: Path) -> None:
        """Start it; `url` waits until it has the server."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.embedded_holder", str(home)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._url = ""

    def url(self) -> str:
        """Wait for the address that it got."""
        if not self._url:
            assert self.process.stdout is not None
            self._url = self.process.stdout.readline().strip()
            assert self._url, "the other process got no server"
        return self._url

    def end(self) -> None:
        """Let it end in order."""
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self.process.kill()
        self.process.communicate(timeout=60)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def holders(home: Path) -> Iterator[list[Holder]]:
    """Two other processes, started at the same moment on the same new home."""
    found = [Holder(home), Holder(home)]
    yield found
    for holder in found:
        holder.kill()
    wait_until(lambda: not processes_of(home), "the server's end after the test")


def processes_of(home: Path) -> list[psutil.Process]:
    """Everything that runs for this home's server: its keeper and all of PostgreSQL."""
    folder = ServerFolder.under(home)
    return [process for process in psutil.process_iter() if belongs_to(process, folder)]


def assert_nothing_runs(home: Path) -> None:
    assert [command_of(process) for process in processes_of(home)] == []


def belongs_to(process: psutil.Process, folder: ServerFolder) -> bool:
    return folder.mark in " ".join(command_of(process)) or is_keeper(process, folder)


def is_keeper(process: psutil.Process, folder: ServerFolder) -> bool:
    command = command_of(process)
    return "db.embedded_keeper" in command and f'"{folder.path}"' in command[-1]


def command_of(process: psutil.Process) -> list[str]:
    """Give how a process was started; nothing of one that ends just now, as PostgreSQL's own do all the time."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return []


def postmaster_of(home: Path) -> psutil.Process:
    recorded = ServerFolder.under(home).server_status()
    assert recorded is not None
    return psutil.Process(recorded[0])


def keepers_of(home: Path) -> list[psutil.Process]:
    folder = ServerFolder.under(home)
    return [process for process in processes_of(home) if is_keeper(process, folder)]


def remember(url: str, number: int) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS remembered (number int)")
        connection.execute("INSERT INTO remembered VALUES (%s)", (number,))


def remembered(url: str) -> list[int]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute("SELECT number FROM remembered ORDER BY number")]


def answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def setting(url: str, name: str) -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    assert row is not None
    return row[0]


def test_what_is_stored_stays_and_nothing_is_left_running(home: Path) -> None:
    with embedded(home) as url:
        remember(url, 1)
    assert_nothing_runs(home)
    with embedded(home) as url:
        remember(url, 2)
        assert remembered(url) == [1, 2]
        socket_directory = ServerFolder.under(home).socket_directory()
    assert_nothing_runs(home)
    assert socket_directory is not None
    assert not socket_directory.exists()


def test_two_leases_of_one_process_are_two(home: Path) -> None:
    with embedded(home) as outer:
        with embedded(home) as inner:
            assert inner == outer
        assert answers(outer)
    assert_nothing_runs(home)


def test_two_processes_share_a_home_that_both_find_empty(home: Path, holders: list[Holder]) -> None:
    first, second = holders
    url = first.url()
    assert second.url() == url
    remember(url, 1)
    first.end()
    assert remembered(url) == [1]
    second.end()
    assert_nothing_runs(home)


def test_a_killed_holder_does_not_take_the_server_from_the_other(holders: list[Holder]) -> None:
    first, second = holders
    url = first.url()
    assert second.url() == url
    first.kill()
    with psycopg.connect(url) as connection:
        pid = connection.info.backend_pid
        # Longer than the keeper takes to see that a lease is gone.
        connection.execute("SELECT pg_sleep(1)")
        assert connection.info.backend_pid == pid
    second.end()


def test_the_server_stops_when_all_its_holders_were_killed(home: Path, holders: list[Holder]) -> None:
    for holder in holders:
        remember(holder.url(), 1)
    for holder in holders:
        holder.kill()
    wait_until(lambda: not processes_of(home), "the end of a server that nobody holds")
    with embedded(home) as url:
        assert remembered(url) == [1, 1]


def test_a_holder_killed_while_the_server_is_set_up_leaves_a_home_that_works(home: Path) -> None:
    holder = Holder(home)
    wait_until(lambda: any(ServerFolder.under(home).path.glob("initdb-*")), "the beginning of the set-up")
    holder.kill()
    with embedded(home) as url:
        remember(url, 1)
        assert remembered(url) == [1]
    assert_nothing_runs(home)


def test_a_killed_server_comes_back_under_the_same_address(home: Path) -> None:
    with embedded(home) as url:
        remember(url, 1)
        killed = postmaster_of(home)
        killed.kill()
        killed.wait(timeout=30)
        wait_until(lambda: answers(url), "the server's return")
        assert remembered(url) == [1]
    assert_nothing_runs(home)


def test_everything_killed_at_once_loses_nothing_that_was_committed(home: Path, holders: list[Holder]) -> None:
    for holder in holders:
        remember(holder.url(), 1)
    with closing(psycopg.connect(holders[0].url(), autocommit=True)) as busy:
        # A session that never looks up outlives its server, and keeps the next one from starting.
        busy.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
        (keeper,), server = keepers_of(home), postmaster_of(home)
        for process in (keeper, server):
            process.kill()
        for holder in holders:
            holder.kill()
        psutil.wait_procs([keeper, server], timeout=30)
        assert [process.pid for process in processes_of(home)] == [busy.info.backend_pid]
        with embedded(home) as url:
            assert remembered(url) == [1, 1]
    assert_nothing_runs(home)


def test_the_last_one_out_stops_the_server_although_its_keeper_was_killed(home: Path) -> None:
    with embedded(home) as url:
        (keeper,) = keepers_of(home)
        keeper.kill()
        keeper.wait(timeout=30)
        remember(url, 1)
        server = postmaster_of(home)
    assert not server.is_running()
    assert_nothing_runs(home)


def test_a_server_whose_keeper_was_killed_is_taken_over(home: Path) -> None:
    with embedded(home) as first:
        (keeper,), server = keepers_of(home), postmaster_of(home)
        keeper.kill()
        keeper.wait(timeout=30)
        with embedded(home) as second:
            assert second == first
            assert postmaster_of(home) == server
            wait_until(lambda: bool(keepers_of(home)), "another keeper")
            server.kill()
            server.wait(timeout=30)
            wait_until(lambda: answers(first), "the server's return")
    assert_nothing_runs(home)


def test_a_dead_servers_process_id_that_another_program_has_now_is_no_hindrance(home: Path) -> None:
    folder = ServerFolder.under(home)
    pid_file = folder.data / "postmaster.pid"
    with embedded(home) as url:
        remember(url, 1)
        lines = pid_file.read_text(encoding="utf-8").splitlines()
    account = account_for(folder.data)
    # PostgreSQL minds only processes of its own user.
    user = account.uid if account is not None else None
    with subprocess.Popen(["sleep", "300"], user=user) as other:  # noqa: S607
        try:
            pid_file.write_text("\n".join([str(other.pid), *lines[1:]]) + "\n", encoding="utf-8")
            pid_file.chmod(0o600)
            if account is not None:
                os.chown(pid_file, account.uid, account.gid)
            with embedded(home) as url:
                assert remembered(url) == [1]
            assert other.poll() is None
        finally:
            other.kill()


def test_no_folder_above_is_opened_to_others(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    home = closed / "home"
    home.mkdir(mode=0o700)
    above = [home, *home.parents, *wheel_programs("18").parents]
    before = [(folder.stat().st_mode, folder.stat().st_uid) for folder in above]
    with embedded(home) as url:
        assert answers(url)
        assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before
    assert [(folder.stat().st_mode, folder.stat().st_uid) for folder in above] == before


def test_only_who_knows_the_password_gets_in(home: Path) -> None:
    with embedded(home) as url:
        folder = ServerFolder.under(home)
        password = urlsplit(url).password
        assert password
        assert folder.password.stat().st_mode & 0o077 == 0
        assert folder.data.stat().st_mode & 0o077 == 0
        assert setting(url, "listen_addresses") == ""
        for wrong in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(url.replace(password, wrong))
        assert password not in folder.log.read_text(encoding="utf-8")


def test_a_home_with_a_very_long_name_works(tmp_path: Path) -> None:
    home = tmp_path / ("a long name, with a comma and 'quotes' " * 4).strip()
    with embedded(home) as url:
        assert answers(url)


def test_settings_of_the_callers_environment_are_not_the_servers(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("PGPORT", "1")
    with embedded(home) as url:
        assert answers(url)


def test_commits_are_durable_unless_the_caller_says_otherwise(tmp_path: Path) -> None:
    with EmbeddedPostgres(tmp_path / "durable") as url:
        assert [setting(url, name) for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3
    with EmbeddedPostgres(tmp_path / "throw-away", settings={"fsync": "off"}) as url:
        assert setting(url, "fsync") == "off"


def test_data_of_another_version_is_refused_and_kept(home: Path) -> None:
    with embedded(home, version="16") as url:
        assert str(setting(url, "server_version")).startswith("16.")
        remember(url, 1)
    with pytest.raises(EmbeddedPostgresError, match="holds the data of PostgreSQL 16, not 18"), embedded(home):
        pass
    with embedded(home, version="16") as url:
        assert remembered(url) == [1]


def test_a_home_that_cannot_be_a_folder_is_a_clear_error(home: Path) -> None:
    home.write_text("a file", encoding="utf-8")
    with (
        pytest.raises(EmbeddedPostgresError, match=r"can't keep PostgreSQL in .*Not a directory"),
        embedded(home),
    ):
        pass


def test_a_setting_that_the_server_refuses_is_a_clear_error(home: Path) -> None:
    with (
        pytest.raises(EmbeddedPostgresError, match=r'can\'t be started: .*"shared_buffers"'),
        EmbeddedPostgres(home, settings={"shared_buffers": "none"}),
    ):
        pass
    assert_nothing_runs(home)
    with embedded(home) as url:
        assert answers(url)


def test_a_missing_password_is_a_clear_error(home: Path) -> None:
    with embedded(home):
        pass
    ServerFolder.under(home).password.unlink()
    with pytest.raises(EmbeddedPostgresError, match="password is missing"), embedded(home):
        pass


def test_a_set_up_that_finds_no_room_leaves_nothing_half_made(home: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The largest file of a new server is its first log segment, 16 MiB; this is what a full disk looks like to it.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * 1024 * 1024, hard))
    try:
        with pytest.raises(EmbeddedPostgresError, match="initdb failed"), embedded(home):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not ServerFolder.under(home).data.exists()
    with embedded(home) as url:
        assert answers(url)


def test_a_home_removed_under_its_users_leaves_no_server(home: Path) -> None:
    with embedded(home):
        running = processes_of(home)
        shutil.rmtree(home)
    psutil.wait_procs(running, timeout=30)
    assert [process for process in running if process.is_running()] == []
