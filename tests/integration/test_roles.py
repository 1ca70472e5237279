"""The database's roles: each may what it needs, and is refused the rest, whatever was given by hand before."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.engine import open_engine
from db.migrate import migrate
from db.roles import WORKER_MAY, Roles, RolesError, establish
from db.tables import metadata
from tests.support.least_privilege import PASSWORDS, DatabaseUrls, with_roles
from tests.support.postgres import PrivatePostgres
from worker.cli.entry import run

REFUSED = psycopg.errors.InsufficientPrivilege

#: Fills one row of each table that the statements below touch.
LEDGER = """
    INSERT INTO channels VALUES ('T', 'sandbox', 'self-use', 'U', true, 10, 'fixed', 0.2);
    INSERT INTO organizations VALUES ('T', 'sandbox', 'A', 'name', 'self-use', now());
    INSERT INTO stocks (taxpayer_id, environment, channel_mode, year) VALUES ('T', 'sandbox', 'self-use', 2026);
    INSERT INTO ranges VALUES ('T', 'sandbox', '00000000-0000-0000-0000-000000000001', 'self-use', 2026, 264470, 1, 10,
        2, 'automatic', 'active', NULL, NULL, NULL, NULL, NULL, now());
    INSERT INTO issue_requests VALUES
        ('T', 'sandbox', 'R', 'A', '2026-05-05', 'blue', 'self-use', NULL, 'assigned', NULL, 'single');
    INSERT INTO numbers VALUES ('T', 'sandbox', 264470, 1, '00000000-0000-0000-0000-000000000001', 1, 10, 'assigned',
        'R', NULL, '2026-05-05', now(), 1, now(), 'me', NULL, '26447000-0000-8000-8000-010001000000');
"""
USE_IT = "UPDATE numbers SET status = 'used', step = step + 1, event_id = '26447000-0000-8000-8000-010002000000'"
#: Tells, in the same transaction, of what a statement before it changed.
TOLD = """;
    INSERT INTO outbox (message_ids, routing_keys, content_types, events, sizes, body, publish_after, event_ids)
    SELECT '{M}', '{number-used}', '{application/json}', '{1}', '{2}', '{}', now(), array_agg(event_id) FROM numbers
"""


@pytest.fixture
def urls(postgres: PrivatePostgres) -> Iterator[DatabaseUrls]:
    """A database of the test's own, migrated by its owner."""
    urls = with_roles(postgres, postgres.new_database())
    engine = open_engine(urls.owner, application="fuma-test-roles")
    migrate(engine, "sandbox")
    engine.dispose()
    yield urls
    postgres.drop_database(urls.administrator)


def execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url, autocommit=True) as connection:
        done = connection.execute(statement.encode())
        return done.fetchall() if done.description else []


def is_refused(url: str, statement: str) -> bool:
    try:
        execute(url, statement)
    except REFUSED:
        return True
    return False


def refused(url: str, statement: str) -> None:
    assert is_refused(url, statement), statement


def test_the_worker_works_and_the_database_itself_writes_the_history(urls: DatabaseUrls) -> None:
    execute(urls.worker, LEDGER + TOLD)
    execute(urls.worker, USE_IT + TOLD)
    assert execute(urls.reader, "SELECT status, step FROM number_history") == [("assigned", 1)]
    assert execute(urls.worker, "SELECT nextval('queue_positions')") == [(1,)]


#: What a worker that was taken over would try.
CRIMES = (
    "CREATE TABLE another (id int)",
    "CREATE TEMP TABLE number_history (LIKE numbers)",
    "CREATE SCHEMA another",
    "CREATE FUNCTION another() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "ALTER TABLE numbers ADD COLUMN another int",
    "ALTER TABLE numbers DISABLE TRIGGER ALL",
    "ALTER TABLE numbers DROP CONSTRAINT ck_numbers_year",
    "SET session_replication_role = replica",
    "DROP TRIGGER number_is_never_removed ON numbers",
    "DROP TABLE outbox",
    "DELETE FROM untold_changes",
    "INSERT INTO untold_changes (event_ids) VALUES ('{}')",
    "ALTER FUNCTION require_told() SECURITY INVOKER",
    "DROP TRIGGER change_is_told ON untold_changes",
    "CREATE OR REPLACE FUNCTION keep_number_history() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
    "ALTER FUNCTION keep_number_history() SECURITY INVOKER",
    "DELETE FROM numbers",
    "TRUNCATE numbers CASCADE",
    "DELETE FROM number_history",
    "UPDATE number_history SET status = 'used'",
    "INSERT INTO number_history SELECT FROM number_history",
    "DELETE FROM ranges",
    "DELETE FROM claims",
    "DELETE FROM issue_requests",
    "UPDATE answered_messages SET message = 'another'",
    "UPDATE invoice_outcomes SET became = 'used'",
    "UPDATE deployment SET environment = 'production'",
    "DELETE FROM deployment",
    "UPDATE alembic_version SET version_num = '0000'",
    "SELECT setval('queue_positions', 1)",
    "SET ROLE fuma_test_owner",
    "CREATE ROLE another",
    "COPY numbers TO PROGRAM 'cat'",
)


def test_the_worker_changes_no_schema_and_removes_no_number(urls: DatabaseUrls) -> None:
    execute(urls.worker, LEDGER + TOLD)
    done = [crime for crime in CRIMES if not is_refused(urls.worker, crime)]
    assert done == []


def test_the_reader_reads_all_and_changes_nothing(urls: DatabaseUrls) -> None:
    for table in metadata.tables:
        execute(urls.reader, f"TABLE {table}")
        for statement in (
            f"INSERT INTO {table} DEFAULT VALUES",
            f"BEGIN; LOCK {table} IN EXCLUSIVE MODE; COMMIT",
            f"TRUNCATE {table} CASCADE",
        ):
            refused(urls.reader, statement)
    for statement in ("SELECT nextval('queue_positions')", "CREATE TABLE another (id int)", "SET ROLE fuma_test_owner"):
        refused(urls.reader, statement)
    refused(urls.reader, "SELECT FROM stocks FOR UPDATE")
    # What the audit asks: to whom it is refused, 18 would answer that nothing was drawn.
    execute(urls.owner, "SELECT nextval('queue_positions')")
    for reading in (urls.reader, urls.worker):
        assert execute(reading, "SELECT pg_sequence_last_value('queue_positions')") == [(1,)]


def test_readers_listings_and_audit_work_and_nothing_else(
    urls: DatabaseUrls, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    execute(urls.worker, LEDGER + TOLD)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUMA_DATABASE_URL", urls.reader)
    for command in ("ranges", "claims", "numbers", "waiting", "forecast"):
        assert run([command, "--json"]) == 0
    assert run(["organizations", "list"]) == 0
    assert run(["numbers", "--history", "26447000000000000001"]) == 0
    assert run(["audit"]) in {0, 1}
    assert "numbers" in capsys.readouterr().out
    for words in (["migrate"], ["recovered", "--reason", "x"]):
        assert run(words) == 1
        assert "permission" in capsys.readouterr().err


def test_every_table_has_its_place_in_what_a_worker_may() -> None:
    assert set(WORKER_MAY) == set(metadata.tables)
    removable = {table for table, rights in WORKER_MAY.items() if "DELETE" in rights}
    # Of the messages only those are removed that repeated a request which waited in vain: no number came of them.
    removed = {"answered_messages", "channels", "outbox"}
    assert removable == removed, "nothing that a number's way could be told from is ever removed"


def test_nobody_else_may_even_connect(urls: DatabaseUrls, postgres: PrivatePostgres) -> None:
    execute(urls.administrator, "CREATE ROLE fuma_test_stranger LOGIN PASSWORD 'stranger'")
    stranger = urls.administrator.replace(f"fuma:{postgres.password}@", "fuma_test_stranger:stranger@")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        execute(stranger, "SELECT 1")
    execute(urls.administrator, "DROP ROLE fuma_test_stranger")


def test_what_was_given_by_hand_is_taken_back_and_what_is_new_can_be_read(
    urls: DatabaseUrls, postgres: PrivatePostgres
) -> None:
    execute(urls.administrator, "GRANT ALL ON numbers, number_history TO fuma_test_worker, fuma_test_reader")
    execute(urls.administrator, "ALTER TABLE claims OWNER TO fuma")
    before = execute(urls.owner, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
    with_roles(postgres, urls.administrator)
    refused(urls.worker, "DELETE FROM numbers")
    refused(urls.reader, "INSERT INTO number_history SELECT FROM number_history")
    assert execute(urls.owner, "SELECT tableowner FROM pg_tables WHERE tablename = 'claims'") == [("fuma_test_owner",)]
    # A later migration's table.
    execute(urls.owner, "CREATE TABLE later (id int)")
    for reading in (urls.reader, urls.worker):
        assert execute(reading, "SELECT * FROM later") == []
        refused(reading, "INSERT INTO later VALUES (1)")
    assert before[0] != (0,)


def test_a_migration_by_the_administrator_belongs_to_the_owner_too(postgres: PrivatePostgres) -> None:
    urls = with_roles(postgres, postgres.new_database())
    engine = open_engine(urls.administrator, application="fuma-test-roles")
    migrate(engine, "sandbox")
    engine.dispose()
    owners = execute(urls.reader, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
    assert owners == [("fuma_test_owner",)]
    execute(urls.worker, LEDGER + TOLD)
    postgres.drop_database(urls.administrator)


def test_a_database_that_was_migrated_before_there_were_roles_is_handed_over(
    postgres: PrivatePostgres, database_url: str
) -> None:
    execute(database_url, LEDGER + TOLD)
    urls = with_roles(postgres, database_url)
    execute(urls.worker, USE_IT + TOLD)
    refused(urls.worker, "ALTER TABLE numbers DISABLE TRIGGER ALL")
    execute(urls.owner, "ALTER TABLE numbers ADD COLUMN later int")


def test_the_database_owner_needs_no_superuser(postgres: PrivatePostgres) -> None:
    url = postgres.new_database()
    execute(url, "CREATE ROLE fuma_test_admin LOGIN CREATEROLE PASSWORD 'admin'")
    name = url.rsplit("/", 1)[1]
    execute(url, f'ALTER DATABASE "{name}" OWNER TO fuma_test_admin')
    execute(url, "ALTER SCHEMA public OWNER TO fuma_test_admin")
    engine = open_engine(url.replace(f"fuma:{postgres.password}@", "fuma_test_admin:admin@"), application="fuma-test")
    with engine.begin() as connection:
        establish(connection, Roles("fuma_managed"), {"fuma_managed_worker": "w"})
    migrate(engine, "sandbox")
    engine.dispose()
    worker = url.replace(f"fuma:{postgres.password}@", "fuma_managed_worker:w@")
    execute(worker, LEDGER + TOLD)
    execute(worker, USE_IT + TOLD)
    refused(worker, "DELETE FROM numbers")
    postgres.drop_database(url)
    other = postgres.new_database()
    for role in ("owner", "worker", "reader"):
        execute(other, f"DROP ROLE fuma_managed_{role}")
    execute(other, "DROP ROLE fuma_test_admin")
    postgres.drop_database(other)


def test_the_command_takes_passwords_from_files_and_no_log_of_statements_has_them(
    postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    url = postgres.new_database()
    execute(url, f"ALTER DATABASE \"{url.rsplit('/', 1)[1]}\" SET log_statement = 'all'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FUMA_DATABASE_URL", url)
    (tmp_path / "worker-password").write_text("from-a-file-%s\n", encoding="utf-8")
    monkeypatch.setenv("FUMA_DATABASE_WORKER_PASSWORD_FILE", str(tmp_path / "worker-password"))
    monkeypatch.setenv("FUMA_DATABASE_READER_PASSWORD", "from-the-environment")
    for _ in range(2):
        assert run(["roles", "--prefix", "fuma_filed"]) == 0
        assert "the passwords of fuma_filed_owner are as they were" in capsys.readouterr().out
    assert run(["migrate"]) == 0
    for role, password in (("worker", "from-a-file-%25s"), ("reader", "from-the-environment")):
        execute(url.replace(f"fuma:{postgres.password}@", f"fuma_filed_{role}:{password}@"), "SELECT 1")
    assert "ALTER ROLE" in postgres.log
    for secret in ("from-a-file", "from-the-environment", *PASSWORDS.values()):
        assert secret not in postgres.log
    monkeypatch.setenv("FUMA_DATABASE_WORKER_PASSWORD", "both")
    assert run(["roles", "--prefix", "fuma_filed"]) == 1
    assert "not both" in capsys.readouterr().err
    postgres.drop_database(url)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("CREATE ROLE fuma_mighty_worker LOGIN SUPERUSER", "may more than it should"),
        ("CREATE ROLE fuma_mighty_worker LOGIN; GRANT pg_monitor TO fuma_mighty_worker", "may more than it should"),
    ],
)
def test_a_role_that_may_more_is_no_workers(empty_database_url: str, change: str, said: str) -> None:
    execute(empty_database_url, change)
    engine = open_engine(empty_database_url, application="fuma-test")
    with pytest.raises(RolesError, match=said), engine.begin() as connection:
        establish(connection, Roles("fuma_mighty"), {})
    engine.dispose()
    execute(empty_database_url, "DROP ROLE fuma_mighty_worker")


def test_who_may_not_make_roles_is_told_so(urls: DatabaseUrls) -> None:
    engine = open_engine(urls.owner, application="fuma-test")
    with pytest.raises(RolesError, match="use an administrator"), engine.begin() as connection:
        establish(connection, Roles("fuma_another"), {})
    engine.dispose()


@pytest.mark.parametrize("prefix", ["", "pg_fuma", "Fuma", "fuma-x", 'x"; DROP', "a" * 42])
def test_a_prefix_makes_plain_names(prefix: str) -> None:
    with pytest.raises(RolesError, match="prefix"):
        Roles(prefix)
