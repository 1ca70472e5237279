"""The PostgreSQL that tests bring with them: durable over its own death, and gone with whoever started it."""

import signal
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support.postgres import PostgresUnavailableError, PrivatePostgres
from tests.support.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]

STARTER = """
import sys
from tests.support.postgres import PrivatePostgres
server = PrivatePostgres()
server.start()
print(server.process_id, server.folder, flush=True)
sys.stdin.read()
"""


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        return {row[0] for row in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")}


def test_databases_are_apart(postgres: PrivatePostgres) -> None:
    one, other = postgres.new_database(), postgres.new_database()
    with psycopg.connect(one) as connection:
        connection.execute("CREATE TABLE only_here (id int)")
    assert tables(one) == {"only_here"}
    assert tables(other) == set()
    for url in (one, other):
        postgres.drop_database(url)


def test_a_migrated_database_is_ready_for_its_environment(postgres: PrivatePostgres, database_url: str) -> None:
    assert {"stocks", "alembic_version"} <= tables(database_url)
    production = postgres.new_migrated_database("production")
    with psycopg.connect(production) as connection:
        assert connection.execute("SELECT environment FROM deployment").fetchall() == [("production",)]
    postgres.drop_database(production)


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_what_was_committed_outlives_the_server(own_postgres: PrivatePostgres, end: str) -> None:
    url = own_postgres.new_database()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    getattr(own_postgres, end)()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url)
    own_postgres.start()
    assert tables(url) == {"kept"}


def test_the_server_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        pid, folder = starter.stdout.readline().split()
        server = psutil.Process(int(pid))
        starter.send_signal(signal.SIGKILL)
    server.wait(timeout=30)
    wait_until(lambda: not Path(folder).exists(), "the removal of the server's folder")


def test_an_unknown_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUMA_TEST_POSTGRES", "wheel17")
    with pytest.raises(PostgresUnavailableError, match="wheel16, wheel18 or system"):
        PrivatePostgres()
