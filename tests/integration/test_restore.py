"""A restored database: it has forgotten what was given out since its backup, and nobody issues from it unawares."""

import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text, update

from db.asking import ask
from db.engine import open_engine
from db.fence import REFUSAL, AnotherDatabaseError, Fence, is_another_database, refuse_another_database
from db.tables import deployment
from schemas.topics import Topic
from tests.support.commands import FUMA
from tests.support.core.asked import claim, invoice, invoices, outcome
from tests.support.core.clock import HandClock
from tests.support.core.world import Core, Told, of
from tests.support.postgres import PrivatePostgres
from worker.cli.entry import run

#: Puts the backup of a database in its place.
Restore = Callable[[], None]


@pytest.fixture
def core(database_url: str) -> Iterator[Core]:
    """A worker's core with stock of which some is given out, requests that wait, and a claim without an answer."""
    core = Core(database_url, clock=HandClock())
    core.register(claim_quantity=20)
    core.register("OFF", "91110000101623741K", automatic_claims=False)
    yield core
    core.close()


@pytest.fixture
def environment(database_url: str, core: Core, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let commands find the database."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "FUMA_DATABASE_URL": database_url,
        "FUMA_BROKER_URL": "amqp://127.0.0.1:9/",
        "FUMA_LEQI_URL": "http://127.0.0.1:9",
        "FUMA_ENVIRONMENT": "sandbox",
        "FUMA_CLOCK": core.clock.now().isoformat(),
    }.items():
        monkeypatch.setenv(name, value)


def by_dump_beside(postgres: PrivatePostgres, url: str, file: Path) -> Restore:
    postgres.dump(url, file)

    def restore() -> None:
        postgres.recreate_database(url)
        postgres.restore(url, file)

    return restore


def by_dump_over_it(postgres: PrivatePostgres, url: str, file: Path) -> Restore:
    """Nobody is thrown out: connections that were there go on."""
    postgres.dump(url, file)
    return partial(postgres.restore, url, file)


def by_copy(postgres: PrivatePostgres, url: str, _file: Path) -> Restore:
    copy = postgres.copy_database(url)
    return partial(postgres.recreate_database, url, copy)


WAYS = pytest.mark.parametrize("back_up", [by_dump_beside, by_dump_over_it, by_copy])


def refused(*command: str) -> str:
    """Run a command in a process of its own, which must fail; gives its line."""
    done = subprocess.run([*FUMA, *command], capture_output=True, text=True, check=False, env=os.environ, timeout=100)
    assert done.returncode == 1, done
    return [line for line in done.stderr.splitlines() if line.startswith("fuma:")][-1]


def begin(core: Core) -> list[Told]:
    told = core.issue(*invoices(5, prefix="FIRST-"))
    core.authority.will(core.authority.grant)
    told += core.claim_and_call()
    told += core.issue(invoice("WAITS", organization="OFF"))
    core.authority.will(core.authority.lose)
    core.request_claims(claim("OPEN", quantity=5))
    return told + core.call()


def go_on(core: Core) -> list[Told]:
    """What the backup will have forgotten: numbers, ranges, what became of the open claim, outcomes."""
    told = core.issue(*invoices(14, prefix="SECOND-"))
    core.clock.advance(minutes=1)
    told += core.claim_and_call()
    told += core.issue(*invoices(10, prefix="THIRD-"))
    [first, *_] = of(Topic.NUMBER_ASSIGNED, told)
    told += core.report(
        outcome(first.data["invoice_number"], "failed", first.data["issue_request_id"], outcome_id="AGAIN"),
    )
    return told + core.issue(*invoices(3, prefix="FOURTH-"))


def test_a_server_that_was_killed_and_started_again_is_no_other(own_postgres: PrivatePostgres) -> None:
    engine = open_engine(own_postgres.new_migrated_database(), application="fuma-test")
    fence = Fence(engine)
    with engine.begin() as connection:
        ask(connection, fence.look())
    own_postgres.kill()
    own_postgres.start()
    with engine.begin() as connection:
        ask(connection, fence.look())
    assert fence.refusal is None
    engine.dispose()


@pytest.mark.usefixtures("environment")
@WAYS
def test_a_database_restored_in_mid_run_is_refused_then_taken_into_use_and_no_number_comes_twice(
    core: Core,
    postgres: PrivatePostgres,
    tmp_path: Path,
    back_up: Callable[[PrivatePostgres, str, Path], Restore],
) -> None:
    told = begin(core)
    core.engine.dispose()
    restore = back_up(postgres, core.url, tmp_path / "backup")
    told += go_on(core)
    if back_up is not by_dump_over_it:
        # Whom the restore throws out; the connections of one that throws nobody out go on.
        core.engine.dispose()

    restore()

    # With nothing but its own constraints the database would give out the same numbers again.
    assert forgotten(core, told)
    with pytest.raises(AnotherDatabaseError, match="fuma recovered"):
        core.issue(invoice("FIFTH"))
    assert "fuma recovered --reason" in refused("worker")
    assert "fuma recovered --reason" in refused(
        "taxpayers", "pause", "--taxpayer", "91350100M000100Y43", "--reason", "x"
    )
    assert "fuma recovered --reason" in refused("waiting", "cancel", "WAITS", "--reason", "x")
    assert core.rows("SELECT count(*) FROM issue_requests WHERE issue_request_id = 'FIFTH'") == [(0,)]

    assert run(["recovered", "--reason", "the disk was lost"]) == 0

    core.clock.advance(minutes=1)
    after = core.issue(*invoices(8, prefix="FIFTH-"))
    after += core.claim_and_call()
    after += core.issue(*invoices(8, prefix="SIXTH-"))
    after += core.call()
    given = Counter(each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, after))
    assert set(given.values()) == {1}
    assert given.keys() & {each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, told)} == set()
    answered = {each.data["issue_request_id"] for each in of(Topic.NUMBER_ASSIGNED, after)}
    assert answered == {f"{prefix}-{n}" for prefix in ("FIFTH", "SIXTH") for n in range(1, 9)}
    assert core.rows("SELECT issue_request_id FROM issue_requests WHERE status = 'waiting'") == [("WAITS",)]
    assert core.statuses["OPEN"] == "abandoned"
    assert run(["audit"]) == 0


@pytest.mark.usefixtures("environment")
def test_what_is_told_after_a_restore_bears_no_id_of_what_it_forgot(
    core: Core, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    [number, *_] = [each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, begin(core))]
    core.engine.dispose()
    restore = by_dump_beside(postgres, core.url, tmp_path / "backup")
    [forgotten] = of(Topic.NUMBER_USED, core.report(outcome(number, "uploaded", "FIRST-1", outcome_id="O1")))
    core.engine.dispose()
    restore()
    assert run(["recovered", "--reason", "the disk was lost"]) == 0

    [told] = of(Topic.NUMBER_USED, core.report(outcome(number, "uploaded", "FIRST-1", outcome_id="O2")))

    assert told.id != forgotten.id


@pytest.mark.usefixtures("environment")
def test_a_number_that_went_to_another_after_the_backup_is_told_to_nobody_anew(
    core: Core, postgres: PrivatePostgres, tmp_path: Path
) -> None:
    begin(core)
    [number, *_] = [row[0] for row in core.rows("SELECT sequence FROM numbers ORDER BY sequence")]
    core.engine.dispose()
    restore = by_dump_beside(postgres, core.url, tmp_path / "backup")
    first = invoice("FIRST-1", message_id="anew")
    [before] = core.issue(invoice("FIRST-1"))
    core.report(outcome(before.data["invoice_number"], "failed", "FIRST-1", outcome_id="O1"))
    [other] = of(Topic.NUMBER_ASSIGNED, core.issue(invoice("OTHER")))
    assert other.data["invoice_number"] == before.data["invoice_number"]
    assert int(before.data["invoice_number"][6:]) == number
    core.engine.dispose()
    restore()
    assert run(["recovered", "--reason", "the disk was lost"]) == 0

    [refused] = of(Topic.NUMBER_REFUSED, core.issue(first))
    assert refused.data["reason"] == "restored"
    # What was reported since the backup, reported again: the request gets another number, and so does the other.
    [voided] = core.report(outcome(before.data["invoice_number"], "failed", "FIRST-1", outcome_id="O1"))
    assert voided.topic is Topic.NUMBER_VOIDED
    core.clock.advance(minutes=1)
    after = [*core.issue(first, invoice("OTHER")), *core.claim_and_call()]
    given = {each.data["issue_request_id"]: each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, after)}
    assert given.keys() == {"FIRST-1", "OTHER"}
    assert before.data["invoice_number"] not in given.values()

    # Of the others it is known that none was released.
    [kept] = of(Topic.NUMBER_REFUSED, core.issue(invoice("FIRST-2", message_id="anew")))
    assert kept.data["reason"] == "restored"
    assert run(["ranges", "confirm", "--all", "--reason", "no other number was released"]) == 0
    [told] = core.issue(invoice("FIRST-2", message_id="anew"))
    assert told.topic is Topic.NUMBER_ASSIGNED
    assert run(["audit"]) == 0


@pytest.mark.usefixtures("environment")
def test_a_word_is_given_for_something_that_is_in_doubt(core: Core, capsys: pytest.CaptureFixture[str]) -> None:
    core.fill(3)
    reason = ("--reason", "x")
    for words, said in (
        ([], "say which ranges"),
        (["--all", "--taxpayer", "91350100M000100Y43"], "say which ranges"),
        (["--all"], "no number of it is in doubt"),
        (["not-an-id"], "not-an-id"),
        (["--all", "--reason", " "], "--reason"),
    ):
        assert run(["ranges", "confirm", *reason, *words]) != 0
        assert said in capsys.readouterr().err


def forgotten(core: Core, told: list[Told]) -> set[str]:
    """Numbers that were given out and that the database doesn't know."""
    known = {f"{prefix:06}{sequence:014}" for prefix, sequence in core.rows("SELECT prefix, sequence FROM numbers")}
    return {each.data["invoice_number"] for each in of(Topic.NUMBER_ASSIGNED, told)} - known


@pytest.mark.usefixtures("environment")
def test_who_only_reads_is_warned(
    core: Core,
    postgres: PrivatePostgres,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin(core)
    core.engine.dispose()
    by_copy(postgres, core.url, tmp_path)()
    for command in (["ranges"], ["claims", "--json"], ["numbers"], ["waiting"], ["organizations", "list"], ["audit"]):
        assert run(command) == 0
        assert "fuma recovered" in capsys.readouterr().err


@pytest.mark.usefixtures("environment")
def test_without_a_restore_an_operator_may_know_better(core: Core) -> None:
    begin(core)

    assert run(["recovered", "--reason", "a snapshot of the disk was put back"]) == 0

    assert core.rows("SELECT DISTINCT status FROM ranges") == [("quarantined",)]
    [assigned] = of(Topic.NUMBER_ASSIGNED, [*core.issue(invoice("NEXT")), *core.claim_and_call()])
    assert assigned.data["issue_request_id"] == "NEXT"


@pytest.mark.usefixtures("environment")
def test_a_recovery_needs_its_reason(core: Core) -> None:
    core.fill(3)
    assert "--reason" in refused("recovered", "--reason", " ")
    assert core.rows("SELECT status FROM ranges") == [("active",)]


def test_every_new_connection_looks_and_the_fence_stays_shut(core: Core, postgres: PrivatePostgres) -> None:
    engine = open_engine(core.url, application="fuma-test", pool_size=2)
    fence = Fence(engine)
    with engine.connect() as connection:
        ask(connection, fence.look())
    core.engine.dispose()
    engine.dispose()
    by_copy(postgres, core.url, Path())()

    with pytest.raises(AnotherDatabaseError):
        engine.connect()
    assert fence.refusal == REFUSAL
    with core.engine.connect() as connection, pytest.raises(AnotherDatabaseError):
        ask(connection, fence.look())
    engine.dispose()


def test_a_database_that_is_being_restored_is_another_one(core: Core) -> None:
    engine = open_engine(core.url, application="fuma-test")
    fence = Fence(engine)
    engine.connect().close()
    core.engine.dispose()
    with psycopg.connect(core.url) as connection:
        connection.execute("ALTER TABLE deployment RENAME TO not_yet")
    with engine.connect() as connection, pytest.raises(AnotherDatabaseError):
        ask(connection, fence.look())
    engine.dispose()
    with pytest.raises(AnotherDatabaseError):
        engine.connect()


def test_a_promoted_standbys_timeline_is_told_from_the_old_one(core: Core) -> None:
    """What a promotion changes is the timeline, which the name of the WAL file in use begins with."""
    with core.engine.begin() as connection:
        connection.execute(text("UPDATE deployment SET identity = regexp_replace(identity, '/0*1/', '/00000002/')"))
        assert is_another_database(connection)


def test_an_ordinary_user_may_look(core: Core) -> None:
    with psycopg.connect(core.url) as connection:
        connection.execute("CREATE ROLE plain")
        connection.execute("GRANT SELECT ON deployment, ranges TO plain")
        connection.commit()
    with core.engine.connect() as connection:
        connection.execute(text("SET ROLE plain"))
        assert not is_another_database(connection)
        connection.execute(text("RESET ROLE"))
    with psycopg.connect(core.url) as connection:
        connection.execute("DROP OWNED BY plain")
        connection.execute("DROP ROLE plain")


def test_a_worker_that_never_stopped_is_refused_like_any_other(core: Core) -> None:
    core.fill(5)
    core.issue(invoice("R1"))
    with psycopg.connect(core.url) as connection:
        connection.execute("UPDATE deployment SET identity = 'another'")

    with pytest.raises(AnotherDatabaseError):
        core.issue(invoice("R2"))


def test_a_copy_that_never_held_a_range_is_taken_into_use_as_it_is(database_url: str) -> None:
    """As a database made from a migrated template is: it has forgotten nothing."""
    engine = open_engine(database_url, application="test")
    with engine.begin() as connection:
        connection.execute(update(deployment).values(identity="another"))
        assert is_another_database(connection)
        refuse_another_database(connection)
        assert not is_another_database(connection)
    engine.dispose()
