"""`fuma demo` as a process: what it reports, what it does when the database lies, what it leaves behind."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

import psutil
import psycopg
import pytest
from sqlalchemy.engine import make_url

from db.embedded import EmbeddedPostgres
from db.embedded_folder import ServerFolder
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Finished, Fuma

#: Loses rows of a table as they are inserted, in every database made from the template.
_LOSE_ROWS = """
    CREATE FUNCTION lose_row() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        RETURN CASE WHEN {losing} THEN NULL ELSE NEW END;
    END $$;
    CREATE FUNCTION make_lossy() RETURNS event_trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF to_regclass('public.{table}') IS NOT NULL
           AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgname = 'lossy') THEN
            CREATE TRIGGER lossy BEFORE INSERT ON public.{table} FOR EACH ROW EXECUTE FUNCTION lose_row();
        END IF;
    END $$;
    CREATE EVENT TRIGGER make_lossy ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION make_lossy();
"""
_LOSE_NOTHING = """
    DROP EVENT TRIGGER make_lossy;
    DROP FUNCTION make_lossy();
    DROP FUNCTION lose_row();
"""

#: The command, with less patience.
_IMPATIENT = """
import worker.demo.story
from worker.__main__ import main
worker.demo.story.PATIENCE = 1.0
main()
"""


#: Where nobody answers: settings that the demo must not use.
_ELSEWHERE = {
    "FUMA_DATABASE_URL": "postgresql://nobody:nothing@127.0.0.1:1/none",
    "FUMA_BROKER_URL": "amqp://nobody:nothing@127.0.0.1:1/none",
    "FUMA_LEQI_URL": "http://127.0.0.1:1",
}


@pytest.fixture(scope="module")
def fuma(tmp_path_factory: pytest.TempPathFactory) -> Fuma:
    """The command in a folder of its own, whose embedded server the tests of this file share."""
    return Fuma(tmp_path_factory.mktemp("demo"))


def home(fuma: Fuma) -> Path:
    return fuma.folder / "home"


def run(fuma: Fuma, *arguments: str, **settings: str) -> tuple[Finished, dict[str, Any]]:
    """Run a small demo to its end; gives what it said, and its report."""
    report = fuma.folder / "report.json"
    report.unlink(missing_ok=True)
    done = fuma.run("demo", "--report", str(report), *arguments, **settings)
    return done, json.loads(report.read_text())


def entries(fuma: Fuma) -> set[str]:
    """What lies in the home folder."""
    return {each.name for each in home(fuma).iterdir()} if home(fuma).is_dir() else set()


def databases(fuma: Fuma) -> set[str]:
    """The databases of the embedded server that are nobody's but the demo's."""
    with EmbeddedPostgres(home(fuma)) as address, psycopg.connect(address) as connection:
        found = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE 'fuma_demo%'")
        return {row[0] for row in found}


def processes(folder: Path) -> list[int]:
    """The processes of the embedded server under a home folder."""
    mark = ServerFolder.under(folder).mark
    return [each.pid for each in psutil.process_iter(["cmdline"]) if mark in " ".join(each.info["cmdline"] or ())]


@contextmanager
def lossy_template(fuma: Fuma, table: LiteralString, *, losing: LiteralString) -> Iterator[None]:
    """Let the template lose rows for which `losing` holds."""
    with EmbeddedPostgres(home(fuma)) as address:
        template = make_url(address).set(database="template1").render_as_string(hide_password=False)
        with psycopg.connect(template) as connection:
            connection.execute(_LOSE_ROWS.format(table=table, losing=losing))
        try:
            yield
        finally:
            with psycopg.connect(template) as connection:
                connection.execute(_LOSE_NOTHING)


def test_a_run_reports_counts_that_add_up_and_leaves_nothing_behind(fuma: Fuma) -> None:
    before = entries(fuma)
    done, report = run(fuma, "--invoices", "250", "--organizations", "6", "--seed", "3", **_ELSEWHERE)
    assert done.code == 0, done.out + done.err
    assert report["requests"] == 250
    assert report["assigned"] + report["refused"] + report["waiting"] == report["requests"]
    assert report["waiting"] == 0
    assert report["refused"] == sum(report["refused_by_reason"].values())
    assert report["refused_by_reason"].keys() == {
        "conflicting-request",
        "unknown-organization",
        "issue-date-out-of-year",
        "number-not-available",
    }
    assert report["dead_letters"] == sum(report["dead_letters_by_reason"].values())
    assert report["dead_letters_by_reason"].keys() == {"malformed", "unknown-type", "wrong-environment", "too-large"}
    assert report["claims"] == report["ranges"] == sum(report["claims_by_mode"].values())
    assert report["claims_by_mode"]["manual"] == 2
    assert report["claims_replayed"] >= 3
    assert report["waited_without_claims"] > 0
    assert report["bindings"] == {"number-bound": 4, "number-unbound": 1, "binding-refused": 1}
    assert report["outcomes"]["outcome-refused"] == 2
    assert report["outcomes"]["number-held"] > report["numbers"]["held"] > 0
    assert report["asked_anew"] == report["outcomes"]["number-released"] + report["outcomes"]["number-voided"]
    assert report["used_again"] == report["outcomes"]["number-released"] > 0
    assert report["numbers"]["used"] + report["numbers"]["held"] == report["assigned"]
    assert report["numbers"]["voided"] == report["outcomes"]["number-voided"]
    assert report["numbers"]["bound"] == 1
    assert report["claimed_ahead"] > 0
    for told in (*report["invariants"].values(), *report["checks"].values()):
        assert told["checked"] > 0
        assert told["broken"] == 0
    assert "BROKEN" not in done.out
    assert databases(fuma) == set()
    assert entries(fuma) == before | {"postgres"}
    assert processes(home(fuma)) == []


def test_a_run_whose_database_loses_numbers_fails_and_says_where(fuma: Fuma) -> None:
    with lossy_template(fuma, "numbers", losing="NEW.status = 'available' AND NEW.sequence % 7 = 0"):
        done, report = run(fuma, "--invoices", "30", "--organizations", "2")
    assert done.code == 1
    assert "Traceback" not in done.err
    broken = {name for name, told in {**report["invariants"], **report["checks"]}.items() if told["broken"]}
    assert broken == {"claimed-equals-what-became-of-it", "refresh-adds-up"}
    assert "The demo failed." in done.out
    for name in broken:
        assert f"{name}: 1 broken: " in done.out


def test_a_run_in_which_nothing_goes_on_ends_and_says_what_it_waited_for(fuma: Fuma) -> None:
    with lossy_template(fuma, "claims", losing="true"):
        done = subprocess.run(
            [sys.executable, "-c", _IMPATIENT, "demo", "--invoices", "30"],
            env=fuma.environment({}),
            cwd=fuma.folder,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
    assert done.returncode == 1
    assert "The demo failed: waited in vain for the first claims: no event for 1 s." in done.stdout
    assert "nothing was there to be checked" in done.stdout
    assert "Traceback" not in done.stderr
    assert databases(fuma) == set()


def test_a_run_that_is_kept_can_be_looked_at_afterwards(fuma: Fuma) -> None:
    done, report = run(fuma, "--invoices", "30", "--organizations", "2", "--keep")
    assert done.code == 0, done.out + done.err
    kept = done.out.partition("FUMA_HOME=")[2].partition(" ")[0]
    assert Path(kept).parent == home(fuma)
    assert len(fuma.rows("ranges", FUMA_HOME=kept)) == report["ranges"]
    fuma.ok("audit", FUMA_HOME=kept)


def test_an_interrupted_run_leaves_nothing_behind(fuma: Fuma) -> None:
    running = fuma.start("demo", "--invoices", "100000")
    try:
        eventually(lambda: "sent:" in running.out(), within=60, what=running.log)
        running.interrupt()
        done = running.finished(within=30)
    finally:
        running.kill()
    assert done.code == 130
    assert done.err.splitlines() == ["fuma: the demo was interrupted; nothing of it is left running"]
    assert processes(home(fuma)) == []
    assert databases(fuma) == set()


def test_a_killed_run_is_cleared_away_by_the_next(fuma: Fuma) -> None:
    killed = fuma.start("demo", "--invoices", "100000")
    try:
        eventually(lambda: "sent:" in killed.out(), within=60, what=killed.log)
    finally:
        killed.kill()
    assert len(databases(fuma)) == 1
    done, _ = run(fuma, "--invoices", "300")
    assert done.code == 0, done.out + done.err
    assert databases(fuma) == set()


def test_a_report_that_can_not_be_written_is_refused_before_anything_starts(fuma: Fuma) -> None:
    refused = fuma.run("demo", "--report", str(fuma.folder / "nowhere" / "report.json")).refused()
    assert "No such file or directory" in refused
