"""The audit finds every broken invariant, in a database that has lost all its constraints."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError

from db.audit.invariants import INVARIANTS
from db.audit.judging import MOST_NAMED, USUAL, Finding, audit
from db.engine import open_engine
from db.tables import deployment, metadata
from tests.support.event_ids import of_range
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger
from tests.support.offences import OFFENCES, Offence
from tests.support.postgres import PrivatePostgres

#: Takes away every constraint, unique index, trigger and NOT NULL: nothing but the audit is left to see an offence.
_DROP_CONSTRAINTS = text("""
    DO $$
    DECLARE
        found record;
    BEGIN
        FOR found IN
            SELECT conrelid::regclass AS owner, conname FROM pg_constraint
            WHERE connamespace = 'public'::regnamespace AND contype IN ('c', 'f', 'p', 'u', 'x')
            ORDER BY contype <> 'f'
        LOOP
            EXECUTE format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I CASCADE', found.owner, found.conname);
        END LOOP;
        FOR found IN
            SELECT indexrelid::regclass AS name FROM pg_index JOIN pg_class AS owner ON owner.oid = indrelid
            WHERE indisunique AND owner.relnamespace = 'public'::regnamespace
        LOOP
            EXECUTE format('DROP INDEX %s', found.name);
        END LOOP;
        FOR found IN
            SELECT attrelid::regclass AS owner, attname FROM pg_attribute JOIN pg_class AS owner ON owner.oid = attrelid
            WHERE attnotnull AND attnum > 0 AND attidentity = '' AND owner.relkind = 'r'
              AND owner.relnamespace = 'public'::regnamespace
        LOOP
            EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP NOT NULL', found.owner, found.attname);
        END LOOP;
        FOR found IN SELECT tgrelid::regclass AS owner, tgname FROM pg_trigger WHERE NOT tgisinternal LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.owner);
        END LOOP;
    END $$
""")


#: Broken in a database that has lost its constraints, whatever else is.
GUARDS = "guards-stand"


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """A database in which every invariant holds of at least one row."""
    opened = open_engine(database_url, application="fuma-test")
    with opened.begin() as connection:
        _fill(Ledger(connection))
    yield opened
    opened.dispose()


@pytest.fixture(scope="module")
def lawless_database(postgres: PrivatePostgres) -> Iterator[Engine]:
    """A database without any constraint."""
    url = postgres.new_migrated_database()
    opened = open_engine(url, application="fuma-test")
    with opened.begin() as connection:
        connection.execute(_DROP_CONSTRAINTS)
    yield opened
    opened.dispose()
    postgres.drop_database(url)


@pytest.fixture
def lawless(lawless_database: Engine) -> Engine:
    """The database without constraints, in which every invariant holds."""
    with lawless_database.begin() as connection:
        for table in metadata.sorted_tables:
            connection.execute(text(f"TRUNCATE {table.name} RESTART IDENTITY"))
        connection.execute(insert(deployment).values(environment="sandbox", recorded_at=NOW, identity="the first"))
        _fill(Ledger(connection))
    return lawless_database


def _fill(ledger: Ledger) -> None:
    for taxpayer_id in (TAXPAYER, OTHER_TAXPAYER):
        ledger.channel(taxpayer_id)
    ledger.organization("A")
    ledger.organization("B", OTHER_TAXPAYER)
    ledger.stock()
    ledger.stock(OTHER_TAXPAYER, level="exhausted")
    ledger.claim("automatic-1")
    ledger.claim("manual-1", claim_mode="manual", organization="A", quantity=3)
    ledger.claim("refused-1", status="refused")
    ledger.claim("bad-1", status="quarantined")
    ledger.claim("open-1", status="open", taxpayer_id=OTHER_TAXPAYER)
    automatic = ledger.range(100, taken=3, claim_id="automatic-1")
    manual = ledger.range(500, taken=3, quantity=3, claim_id="manual-1", claim_mode="manual")
    ledger.range(550, claim_id="bad-1", status="quarantined", closed_at=NOW)
    ledger.range(600, status="foreign", listed_serial="theirs", listed_unused=100)
    # One event tells of all numbers of a manual range.
    split = of_range()
    for place, name in enumerate(("R1", "R2")):
        ledger.request(name, "A")
        ledger.number(automatic, 100, 100 + place, name)
        ledger.number(manual, 500, 500 + place, quantity=3, event_id=split)
    ledger.request("R3", "A")
    ledger.number(automatic, 100, 102, "R3")
    ledger.use(102, "R3")
    ledger.number(manual, 500, 502, quantity=3, event_id=split)
    ledger.bind(502, "R9")
    ledger.request("W1", "B", status="waiting", taxpayer_id=OTHER_TAXPAYER)
    ledger.request("C1", "A", status="closed")
    ledger.message()


def _audit(engine: Engine) -> dict[str, Finding]:
    with engine.begin() as connection:
        return {finding.name: finding for finding in audit(connection, NOW)}


def test_a_sound_database_holds_and_every_invariant_has_rows(engine: Engine) -> None:
    findings = _audit(engine)
    assert [name for name, finding in findings.items() if finding.broken or finding.offenders] == []
    assert [name for name, finding in findings.items() if finding.checked == 0] == []


def test_a_sound_database_holds_without_constraints_too(lawless: Engine) -> None:
    assert [name for name, finding in _audit(lawless).items() if finding.broken] == [GUARDS]


def test_an_empty_database_shows_that_nothing_was_checked(database_url: str) -> None:
    opened = open_engine(database_url, application="fuma-test")
    findings = _audit(opened)
    assert findings.pop(GUARDS).broken == 0
    assert {(finding.checked, finding.broken) for finding in findings.values()} == {(0, 0)}
    opened.dispose()


def test_every_invariant_has_an_offence_that_is_tried() -> None:
    names = [invariant.name for invariant in INVARIANTS]
    assert len(set(names)) == len(names)
    assert {offence.invariant for offence in OFFENCES} | {GUARDS} == set(names)


@pytest.mark.parametrize("offence", OFFENCES, ids=lambda offence: f"{offence.invariant}: {offence.statement}")
def test_the_audit_finds_what_no_constraint_holds_back_and_no_more(lawless: Engine, offence: Offence) -> None:
    with lawless.begin() as connection:
        touched = connection.execute(text(offence.statement)).rowcount
    findings = _audit(lawless)
    assert touched > 0
    assert any(offence.offender in offender for offender in findings[offence.invariant].offenders)
    assert {name for name, each in findings.items() if each.broken} == {GUARDS, offence.invariant, *offence.also}


@pytest.mark.parametrize(
    ("statement", "missed"),
    [
        ("ALTER TABLE numbers DROP CONSTRAINT ck_numbers_in_range", "constraint numbers ck_numbers_in_range"),
        ("ALTER TABLE ranges DROP CONSTRAINT ex_ranges_overlap_sandbox", "ex_ranges_overlap_sandbox"),
        (
            "DROP TRIGGER number_has_its_range_and_request ON numbers",
            "trigger numbers number_has_its_range_and_request",
        ),
        ("ALTER TABLE number_history DISABLE TRIGGER ALL", "fk_number_history_number"),
        ("ALTER TABLE numbers DISABLE TRIGGER ALL", "trigger numbers number_changes_by_steps"),
        ("DROP TRIGGER history_is_append_only ON number_history", "history_is_append_only"),
        ("DROP TRIGGER changed_number_is_to_be_told ON numbers", "trigger numbers changed_number_is_to_be_told"),
        (
            (
                "CREATE OR REPLACE TRIGGER number_is_never_removed BEFORE DELETE ON numbers"
                " FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"
            ),
            "trigger numbers number_is_never_removed",
        ),
        ("DROP TRIGGER change_is_told ON untold_changes", "trigger untold_changes change_is_told"),
        ("DROP INDEX uq_claims_one_open_automatic", "uq_claims_one_open_automatic"),
        ("ALTER TABLE numbers ALTER event_id DROP NOT NULL", "column numbers event_id"),
        (
            "ALTER TABLE numbers DROP CONSTRAINT ck_numbers_year,ADD CONSTRAINT ck_numbers_year CHECK (true) NOT VALID",
            "ck_numbers_year",
        ),
        (
            (
                "CREATE OR REPLACE FUNCTION require_told() RETURNS trigger LANGUAGE plpgsql"
                " SECURITY DEFINER SET search_path = public, pg_temp AS 'BEGIN RETURN NULL; END'"
            ),
            "function require_told",
        ),
        (
            "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
            "function refuse_change",
        ),
        ("ALTER FUNCTION keep_number_history() SECURITY INVOKER", "function keep_number_history"),
        ("ALTER FUNCTION note_changes() RESET search_path", "function note_changes"),
        ("ALTER FUNCTION note_changes() SET search_path = pg_temp, public", "function note_changes"),
        ("ALTER FUNCTION require_organization() SECURITY DEFINER", "function require_organization"),
        ("DROP FUNCTION keep_while_pointed_at CASCADE", "function keep_while_pointed_at"),
    ],
)
def test_the_audit_misses_a_guard_that_is_gone(engine: Engine, statement: str, missed: str) -> None:
    with engine.begin() as connection:
        connection.execute(text(statement))
    findings = _audit(engine)
    assert any(missed in offender for offender in findings[GUARDS].offenders)
    assert {name for name, each in findings.items() if each.broken} == {GUARDS}


def test_every_function_that_a_trigger_calls_is_compared(engine: Engine) -> None:
    called = text("SELECT DISTINCT tgfoid::regproc::text FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1")
    with engine.begin() as connection:
        names = list(connection.execute(called).scalars())
        for name in names:
            nothing = "RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
            connection.execute(text(f"CREATE OR REPLACE FUNCTION {name}() {nothing}"))
    missed = [offender for offender in _audit(engine)[GUARDS].offenders if offender.startswith("function ")]
    assert missed == [f"function {name}" for name in names]


def test_few_offenders_are_named_and_all_are_counted(engine: Engine) -> None:
    with engine.begin() as connection:
        ledger = Ledger(connection)
        for place in range(MOST_NAMED + 5):
            ledger.request(f"C{place + 2}", "A", status="closed")
        connection.execute(
            text("UPDATE issue_requests SET status = 'assigned', closed_because = NULL WHERE status = 'closed'")
        )
    finding = _audit(engine)["assigned-request-has-its-number"]
    assert (finding.broken, len(finding.offenders)) == (MOST_NAMED + 6, MOST_NAMED)


def test_a_range_may_keep_the_numbers_that_it_gave_before_its_quarantine(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE ranges SET status = 'quarantined', closed_at = :later WHERE claim_id = 'automatic-1'"),
            {"later": NOW + timedelta(seconds=1)},
        )
    assert _audit(engine)["nothing-assigned-while-withheld"].broken == 0


def test_the_audit_can_change_nothing(engine: Engine) -> None:
    with engine.connect() as connection:
        audit(connection, NOW)
        with pytest.raises(DBAPIError, match="read-only"):
            connection.execute(text("UPDATE stocks SET level = 'ok'"))


def test_the_audit_keeps_nobody_from_working(engine: Engine) -> None:
    with engine.connect() as looking, engine.begin() as working:
        audit(looking, NOW)
        # Whatever changes rows or tends tables locks them less than this.
        for table in metadata.sorted_tables:
            working.execute(text(f"LOCK TABLE {table.name} IN EXCLUSIVE MODE NOWAIT"))


def test_the_audit_asks_for_little_memory_and_tells_what_it_judges(engine: Engine) -> None:
    told: list[str] = []
    with engine.connect() as connection:
        findings = audit(connection, NOW, begins=lambda invariant: told.append(invariant.name))
        terms = connection.execute(
            text("SELECT current_setting('work_mem'), current_setting('max_parallel_workers_per_gather')")
        ).one()
    assert tuple(terms) == ("64MB", "0")
    assert told == [finding.name for finding in findings]


@pytest.mark.parametrize("limit", ["waiting", "outcome", "claim"])
def test_what_counts_as_late_goes_by_the_workers_settings(engine: Engine, limit: str) -> None:
    broken = {
        "waiting": "nobody-waits-past-the-limit",
        "outcome": "overdue-outcome-was-told-of",
        "claim": "old-claim-was-told-of",
    }[limit]
    limits = replace(USUAL, **{limit: timedelta(days=-2)})
    with engine.begin() as connection:
        findings = audit(connection, NOW, limits)
    assert {finding.name for finding in findings if finding.broken} == {broken}


def test_the_audit_sees_one_moment(engine: Engine) -> None:
    with engine.connect() as looking:
        before = audit(looking, NOW)
        _break_now(engine)
        assert _counts(looking) == 1
    assert [finding.broken for finding in before] == [0] * len(INVARIANTS)


def _break_now(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE issue_requests SET status = 'assigned', closed_because = NULL WHERE status = 'closed'")
        )


def _counts(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM issue_requests WHERE status = 'closed'")).scalar_one())


def test_the_audit_must_be_the_first_work_of_its_transaction(engine: Engine) -> None:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
        with pytest.raises(DBAPIError, match="before any query"):
            audit(connection, NOW)
