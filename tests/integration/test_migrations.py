"""Migrations build exactly what the models say, however often and by however many they are run."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, bindparam, event, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import IntegrityError

import db.migrations
from db.asking import carry_out
from db.audit.judging import audit
from db.engine import open_engine
from db.guards import set_guards
from db.migrate import migrate
from db.outbox import OutgoingMessage, add_messages
from db.schema_version import MIGRATIONS, WrongDatabaseError, check_database, newest_version
from db.tables import metadata
from tests.support.core.catalog import catalog
from tests.support.core.world import at_once
from tests.support.event_ids import of_change
from tests.support.ledger import NOW, Ledger, prefix_of
from tests.support.postgres import PrivatePostgres

NewEngine = Callable[[], Engine]


@pytest.fixture
def new_engine(postgres: PrivatePostgres) -> Iterator[NewEngine]:
    """Make empty databases, each with an engine."""
    made: list[tuple[str, Engine]] = []

    def make() -> Engine:
        url = postgres.new_database()
        made.append((url, open_engine(url, application="fuma-test-migrations")))
        return made[-1][1]

    yield make
    for url, engine in made:
        engine.dispose()
        postgres.drop_database(url)


@pytest.fixture
def migrated(database_url: str) -> Iterator[Engine]:
    """An engine for a database that `migrate` built."""
    engine = open_engine(database_url, application="fuma-test-migrations")
    yield engine
    engine.dispose()


def alembic(engine: Engine, run: Callable[[Config], None]) -> None:
    """Run an Alembic command over the project's migrations."""
    configuration = Config()
    configuration.set_main_option("script_location", str(Path(db.migrations.__file__).parent))
    configuration.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        configuration.attributes["connection"] = connection
        run(configuration)


def recorded(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT environment FROM deployment")).scalars())


def check(engine: Engine, environment: str = "sandbox") -> None:
    with engine.connect() as connection:
        check_database(connection, environment)


def test_migrations_build_exactly_what_the_models_say(new_engine: NewEngine, migrated: Engine) -> None:
    modelled = new_engine()
    assert event.contains(metadata, "after_create", set_guards), "the models bring their guards along"
    metadata.create_all(modelled)

    wanted = catalog(modelled)

    assert catalog(migrated) == wanted
    assert all(wanted.values())


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        (
            [
                "ALTER TABLE outbox DROP CONSTRAINT ck_outbox_events",
                "ALTER TABLE outbox ADD CONSTRAINT ck_outbox_events CHECK (999 >= ALL (events))",
            ],
            "constraints",
        ),
        (
            ["CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'"],
            "functions",
        ),
        (["ALTER TABLE numbers DISABLE TRIGGER number_is_never_removed"], "triggers"),
        (
            [
                "DROP TRIGGER number_begins_available_or_assigned ON numbers",
                (
                    "CREATE TRIGGER number_begins_available_or_assigned BEFORE INSERT ON numbers"
                    " FOR EACH ROW WHEN (NEW.step <> 1) EXECUTE FUNCTION refuse_change()"
                ),
            ],
            "triggers",
        ),
    ],
)
def test_the_catalog_sees_what_differs(migrated: Engine, changes: list[str], kind: str) -> None:
    before = catalog(migrated)
    with migrated.begin() as connection:
        for change in changes:
            connection.execute(text(change))

    after = catalog(migrated)

    assert [each for each in before if before[each] != after[each]] == [kind]


def test_down_and_up_again_builds_the_same(migrated: Engine) -> None:
    before = catalog(migrated)

    alembic(migrated, lambda configuration: command.downgrade(configuration, "base"))
    left = catalog(migrated)
    alembic(migrated, lambda configuration: command.upgrade(configuration, "head"))

    assert {kind: left[kind] for kind in left if kind != "others"} == {
        "tables": [],
        "columns": [],
        "constraints": [],
        "indexes": [],
        "sequences": [],
        "functions": [],
        "triggers": [],
    }
    assert catalog(migrated) == before


def test_migrating_twice_changes_nothing(migrated: Engine) -> None:
    before = catalog(migrated)

    migrate(migrated, "sandbox")

    assert catalog(migrated) == before
    assert recorded(migrated) == ["sandbox"]


def test_several_may_migrate_at_once(new_engine: NewEngine) -> None:
    engine = new_engine()

    at_once(*[lambda: migrate(engine, "sandbox")] * 4)

    check(engine)
    assert recorded(engine) == ["sandbox"]


def test_two_environments_at_once_leave_one_of_them(new_engine: NewEngine) -> None:
    engine = new_engine()

    def attempt(environment: str) -> str:
        try:
            migrate(engine, environment)
        except WrongDatabaseError:
            return "refused"
        return environment

    outcomes = at_once(lambda: attempt("sandbox"), lambda: attempt("production"))

    assert "refused" in outcomes
    assert recorded(engine) == [next(each for each in outcomes if each != "refused")]


def test_another_environment_is_refused_and_nothing_changed(migrated: Engine) -> None:
    with pytest.raises(WrongDatabaseError, match="serves the environment sandbox, FUMA_ENVIRONMENT says production"):
        migrate(migrated, "production")

    assert recorded(migrated) == ["sandbox"]


def test_a_migrated_database_is_fit_for_work(migrated: Engine) -> None:
    check(migrated)


def test_a_database_of_another_environment_is_not_fit_for_work(migrated: Engine) -> None:
    with pytest.raises(WrongDatabaseError, match="use another database"):
        check(migrated, "production")


def test_an_empty_database_is_not_fit_for_work(new_engine: NewEngine) -> None:
    with pytest.raises(WrongDatabaseError, match="run `fuma migrate`"):
        check(new_engine())


def test_a_database_of_another_version_is_not_fit_for_work(migrated: Engine) -> None:
    with migrated.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '0000'"))

    with pytest.raises(WrongDatabaseError, match="version 0000"):
        check(migrated)


def test_a_database_without_its_environment_is_not_fit_for_work(migrated: Engine) -> None:
    with migrated.begin() as connection:
        connection.execute(text("DELETE FROM deployment"))

    with pytest.raises(WrongDatabaseError):
        check(migrated)


def test_a_migration_that_fails_leaves_nothing_behind(new_engine: NewEngine) -> None:
    engine = new_engine()
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE stocks (something integer)"))
    before = catalog(engine)

    with pytest.raises(Exception, match="stocks"):
        migrate(engine, "sandbox")

    assert catalog(engine) == before


def test_messages_that_lie_in_the_outbox_are_kept_when_they_become_parcels_and_back(migrated: Engine) -> None:
    with migrated.begin() as connection:
        for ids in (["M1"], ["M2", "M3"]):
            parcel = [OutgoingMessage(each, f"of {each}", "text/plain", 1, f"says {each}".encode()) for each in ids]
            carry_out(connection, add_messages(parcel, now=datetime(2026, 6, 15, tzinfo=UTC)))
    rows = text("SELECT message_id, routing_key, content_type, events, body FROM outbox ORDER BY outbox_id")
    columns = "message_ids, routing_keys, content_types, events, sizes, body"
    parcels = text(f"SELECT {columns} FROM outbox ORDER BY outbox_id")  # noqa: S608 -- a constant

    alembic(migrated, lambda configuration: command.downgrade(configuration, "0003"))
    with migrated.connect() as connection:
        apart = [tuple(row) for row in connection.execute(rows)]
    alembic(migrated, lambda configuration: command.upgrade(configuration, "head"))
    with migrated.connect() as connection:
        together = [tuple(row) for row in connection.execute(parcels)]

    every = ("M1", "M2", "M3")
    assert apart == [(each, f"of {each}", "text/plain", 1, f"says {each}".encode()) for each in every]
    assert together == [([each], [f"of {each}"], ["text/plain"], [1], [7], f"says {each}".encode()) for each in every]


def fill_with_numbers(connection: Connection, assigned: UUID, used: UUID) -> UUID:
    """Put in a number that is assigned and one that was used, whose assignments were told by these events."""
    ledger = Ledger(connection)
    ledger.channel()
    ledger.organization("A")
    ledger.stock()
    ledger.claim("automatic-1")
    range_id = ledger.range(100, taken=2, claim_id="automatic-1")
    for sequence, event_id in ((100, assigned), (101, used)):
        ledger.request(f"R{sequence}", "A")
        ledger.number(range_id, 100, sequence, f"R{sequence}", event_id=event_id)
    ledger.use(101, "R101")
    return range_id


def test_numbers_whose_events_had_other_ids_keep_them_and_go_on(migrated: Engine) -> None:
    assigned, used = uuid4(), uuid4()
    alembic(migrated, lambda configuration: command.downgrade(configuration, "0010"))
    with migrated.begin() as connection:
        range_id = fill_with_numbers(connection, assigned, used)

    alembic(migrated, lambda configuration: command.upgrade(configuration, "head"))

    with migrated.begin() as connection:
        ledger = Ledger(connection)
        ledger.use(100, "R100")
        kept = connection.execute(text("SELECT event_id FROM number_history ORDER BY sequence")).scalars()
        assert list(kept) == [assigned, used]
        ledger.request("R102", "A")
    # What is changed since names its own event, in both tables.
    later = NOW + timedelta(seconds=1)
    with pytest.raises(IntegrityError, match="ck_numbers_event"), migrated.begin() as connection:
        Ledger(connection).number(range_id, 100, 102, "R102", event_id=uuid4(), changed_at=later)
    with pytest.raises(IntegrityError, match="ck_number_history_event"), migrated.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO number_history SELECT (jsonb_populate_record(h, :changes)).* FROM number_history AS h"
            ).bindparams(bindparam("changes", {"step": 9, "changed_at": later.isoformat()}, JSONB)),
        )
    with migrated.connect() as connection:
        assert [finding.offenders for finding in audit(connection, NOW) if finding.name == "guards-stand"] == [()]


def test_numbers_that_name_their_events_already_are_held_to_it_all(migrated: Engine) -> None:
    before = catalog(migrated)
    with migrated.begin() as connection:
        first = prefix_of(2026, "self-use")
        fill_with_numbers(connection, of_change(first, 100, 1), of_change(first, 101, 1))

    alembic(migrated, lambda configuration: command.downgrade(configuration, "0010"))
    alembic(migrated, lambda configuration: command.upgrade(configuration, "head"))

    assert catalog(migrated) == before


def test_the_newest_version_is_the_one_that_alembic_goes_to() -> None:
    assert newest_version() == ScriptDirectory(str(MIGRATIONS)).get_current_head()
