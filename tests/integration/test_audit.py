"""The audit finds every broken invariant, in a database that has lost all its constraints."""

# ruff: noqa: S608 -- the statements are constants of this file

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, insert, text
from sqlalchemy.exc import DBAPIError

from db.audit import MOST_NAMED, Finding, audit
from db.engine import open_engine
from db.invariants import INVARIANTS
from db.tables import deployment, metadata
from tests.support.ledger import NOW, OTHER_TAXPAYER, TAXPAYER, Ledger
from tests.support.postgres import PrivatePostgres

#: Takes away every constraint, unique index and trigger, so that nothing but the audit is left to see an offence.
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
        FOR found IN SELECT tgrelid::regclass AS owner, tgname FROM pg_trigger WHERE NOT tgisinternal LOOP
            EXECUTE format('DROP TRIGGER %I ON %s', found.tgname, found.owner);
        END LOOP;
    END $$
""")


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
    for place, name in enumerate(("R1", "R2")):
        ledger.request(name, "A")
        ledger.number(automatic, 100, 100 + place, name)
        ledger.number(manual, 500, 500 + place, quantity=3)
    ledger.request("R3", "A")
    ledger.number(automatic, 100, 102, "R3")
    ledger.use(102, "R3")
    ledger.number(manual, 500, 502, quantity=3)
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
    assert [name for name, finding in _audit(lawless).items() if finding.broken] == []


def test_an_empty_database_shows_that_nothing_was_checked(database_url: str) -> None:
    opened = open_engine(database_url, application="fuma-test")
    assert {(finding.checked, finding.broken) for finding in _audit(opened).values()} == {(0, 0)}
    opened.dispose()


@dataclass(frozen=True, slots=True)
class Offence:
    """A statement that breaks an invariant, and what must stand among the offenders' identifiers."""

    invariant: str
    statement: str
    offender: str


_OF_AUTOMATIC = "WHERE claim_id = 'automatic-1'"

_OFFENCES = (
    Offence(
        "one-environment", "UPDATE claims SET environment = 'production' WHERE claim_id = 'refused-1'", "refused-1"
    ),
    Offence("one-environment", "DELETE FROM deployment", "A"),
    Offence(
        "no-two-ranges-overlap",
        f"UPDATE ranges SET first_sequence = 199, taxpayer_id = '{OTHER_TAXPAYER}' WHERE claim_id = 'manual-1'",
        OTHER_TAXPAYER,
    ),
    Offence("prefix-matches-the-stock", f"UPDATE ranges SET year = 2025 {_OF_AUTOMATIC}", TAXPAYER),
    Offence("prefix-matches-the-stock", f"UPDATE ranges SET channel_mode = 'joint' {_OF_AUTOMATIC}", TAXPAYER),
    Offence("cursor-stands-in-its-range", f"UPDATE ranges SET next_sequence = 201 {_OF_AUTOMATIC}", TAXPAYER),
    Offence("cursor-stands-in-its-range", f"UPDATE ranges SET status = 'used-up' {_OF_AUTOMATIC}", TAXPAYER),
    Offence("cursor-equals-numbers-taken", f"UPDATE ranges SET next_sequence = 104 {_OF_AUTOMATIC}", TAXPAYER),
    Offence("cursor-equals-numbers-taken", f"UPDATE ranges SET next_sequence = 100 {_OF_AUTOMATIC}", TAXPAYER),
    Offence("cursor-equals-numbers-taken", "DELETE FROM numbers WHERE issue_request_id = 'R1'", TAXPAYER),
    Offence("cursor-equals-numbers-taken", "UPDATE numbers SET sequence = 150 WHERE issue_request_id = 'R2'", TAXPAYER),
    Offence("number-in-its-range", "UPDATE numbers SET sequence = 200 WHERE issue_request_id = 'R2'", "00000000000200"),
    Offence("number-in-its-range", f"DELETE FROM ranges {_OF_AUTOMATIC}", "00000000000101"),
    Offence("number-once", "UPDATE numbers SET sequence = 100 WHERE issue_request_id = 'R2'", "00000000000100"),
    Offence(
        "number-once",
        f"UPDATE numbers SET sequence = 100, taxpayer_id = '{OTHER_TAXPAYER}' WHERE issue_request_id = 'R2'",
        "00000000000100",
    ),
    Offence(
        "request-has-one-number",
        "UPDATE numbers SET issue_request_id = 'R1' WHERE issue_request_id = 'R2'",
        "R1",
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'assigned' WHERE issue_request_id = 'W1'",
        "W1",
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'waiting' WHERE issue_request_id = 'R1'",
        "R1",
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'closed' WHERE issue_request_id = 'R1'",
        "R1",
    ),
    Offence(
        "assigned-number-fits-its-request",
        "UPDATE issue_requests SET issue_date = '2025-06-15' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "assigned-number-fits-its-request",
        "UPDATE issue_requests SET channel_mode = 'joint' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "assigned-number-fits-its-request",
        "DELETE FROM issue_requests WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET assigned_at = NULL WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET bound_to = 'R9' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET status = 'bound' WHERE sequence = 501",
        "00000000000501",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET status = 'lost' WHERE sequence = 501",
        "00000000000501",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET step = 2 WHERE sequence = 500",
        "00000000000500",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET step = 3 WHERE sequence = 502",
        "00000000000502",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET step = 2 WHERE sequence = 502",
        "00000000000502",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET step = 4 WHERE sequence = 502",
        "00000000000502",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET status = 'voided' WHERE sequence = 502",
        "00000000000502",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET status = 'voided' WHERE sequence = 500",
        "00000000000500",
    ),
    Offence("history-leads-to-the-present", "DELETE FROM number_history WHERE sequence = 102", "00000000000102"),
    Offence("change-has-its-request", "DELETE FROM number_bindings", "00000000000502"),
    Offence("change-has-its-request", "UPDATE number_bindings SET action = 'unbind'", "00000000000502"),
    Offence("change-has-its-request", "DELETE FROM invoice_outcomes", "00000000000102"),
    Offence(
        "change-has-its-request",
        "UPDATE invoice_outcomes SET became = 'held', event_id = (SELECT event_id FROM numbers WHERE sequence = 102)",
        "00000000000102",
    ),
    Offence("used-number-has-its-outcome", "DELETE FROM invoice_outcomes", "00000000000102"),
    Offence("used-number-has-its-outcome", "UPDATE invoice_outcomes SET issue_request_id = 'R1'", "00000000000102"),
    Offence("used-number-has-its-outcome", "UPDATE numbers SET status = 'assigned' WHERE sequence = 102", "000102"),
    Offence("used-number-has-its-outcome", "UPDATE numbers SET status = 'used' WHERE sequence = 100", "000100"),
    Offence("bound-number-is-kept", "UPDATE ranges SET claim_mode = 'automatic'", "00000000000502"),
    Offence("bound-number-is-kept", "UPDATE numbers SET bound_to = 'R1' WHERE sequence = 502", "00000000000502"),
    Offence(
        "request-has-one-number",
        "UPDATE numbers SET bound_to = 'R1' WHERE sequence = 502",
        "R1",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET issue_date = '2026-01-01' WHERE sequence = 500",
        "00000000000500",
    ),
    Offence("nothing-assigned-while-withheld", f"UPDATE ranges SET status = 'foreign' {_OF_AUTOMATIC}", "000100"),
    Offence(
        "nothing-assigned-while-withheld",
        f"UPDATE ranges SET status = 'quarantined', closed_at = '2026-06-15T03:59:59Z' {_OF_AUTOMATIC}",
        "00000000000100",
    ),
    Offence(
        "manual-numbers-wait-for-a-hand",
        "UPDATE numbers SET status = 'assigned', issue_request_id = 'R1' WHERE sequence = 501",
        "00000000000501",
    ),
    Offence(
        "waiting-only-when-stock-is-empty",
        f"UPDATE ranges SET taxpayer_id = '{OTHER_TAXPAYER}' {_OF_AUTOMATIC}",
        f"{OTHER_TAXPAYER} self-use 2026",
    ),
    Offence(
        "waiting-only-when-stock-is-empty",
        f"UPDATE stocks SET level = 'ok' WHERE taxpayer_id = '{OTHER_TAXPAYER}'",
        f"{OTHER_TAXPAYER} self-use 2026",
    ),
    Offence(
        "waiting-only-when-stock-is-empty",
        "UPDATE issue_requests SET issue_date = '2027-01-01' WHERE issue_request_id = 'W1'",
        f"{OTHER_TAXPAYER} self-use 2027",
    ),
    Offence(
        "requests-that-ever-waited",
        "UPDATE issue_requests SET queue_position = 1, status = 'waiting' WHERE issue_request_id IN ('W1', 'C1')",
        f"{TAXPAYER} C1",
    ),
    Offence(
        "exhausted-stock-is-empty",
        f"UPDATE stocks SET level = 'exhausted' WHERE taxpayer_id = '{TAXPAYER}'",
        f"{TAXPAYER} self-use 2026",
    ),
    Offence(
        "one-open-automatic-claim-per-stock",
        f"UPDATE claims SET status = 'open', taxpayer_id = '{OTHER_TAXPAYER}' WHERE claim_id = 'refused-1'",
        f"{OTHER_TAXPAYER} self-use 2026",
    ),
    Offence(
        "business-serial-once",
        "UPDATE claims SET business_serial = 'serial of open-1' WHERE claim_id = 'refused-1'",
        "open-1",
    ),
    Offence("claim-goes-on", "UPDATE claims SET next_attempt_at = NULL WHERE claim_id = 'open-1'", "open-1"),
    Offence(
        "claim-goes-on",
        "UPDATE claims SET next_attempt_at = '2026-06-14T03:59:59Z' WHERE claim_id = 'open-1'",
        "open-1",
    ),
    Offence("claim-goes-on", "UPDATE claims SET settled_at = NULL WHERE claim_id = 'refused-1'", "refused-1"),
    Offence(
        "granted-claim-has-its-range",
        "UPDATE claims SET quantity = 99 WHERE claim_id = 'automatic-1'",
        "automatic-1",
    ),
    Offence("granted-claim-has-its-range", f"DELETE FROM ranges {_OF_AUTOMATIC}", "automatic-1"),
    Offence(
        "granted-claim-has-its-range",
        f"UPDATE ranges SET claim_id = 'refused-1' {_OF_AUTOMATIC}",
        "refused-1",
    ),
    Offence(
        "granted-claim-has-its-range",
        "UPDATE ranges SET status = 'active' WHERE claim_id = 'bad-1'",
        "bad-1",
    ),
    Offence("range-knows-its-claim", f"UPDATE ranges SET claim_id = NULL {_OF_AUTOMATIC}", TAXPAYER),
    Offence("range-knows-its-claim", "DELETE FROM claims WHERE claim_id = 'automatic-1'", TAXPAYER),
    Offence("message-leaves-the-outbox", "UPDATE outbox SET publish_after = '2026-06-14T03:59:59Z'", "message"),
    Offence("message-leaves-the-outbox", "UPDATE outbox SET publish_after = '2026-07-15T00:00:00Z'", "message"),
)


def test_every_invariant_has_an_offence_that_is_tried() -> None:
    assert {offence.invariant for offence in _OFFENCES} == {invariant.name for invariant in INVARIANTS}


@pytest.mark.parametrize("offence", _OFFENCES, ids=lambda offence: f"{offence.invariant}: {offence.statement}")
def test_the_audit_finds_what_no_constraint_holds_back(lawless: Engine, offence: Offence) -> None:
    with lawless.begin() as connection:
        touched = connection.execute(text(offence.statement)).rowcount
    finding = _audit(lawless)[offence.invariant]
    assert touched > 0
    assert finding.broken > 0
    assert any(offence.offender in offender for offender in finding.offenders)


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
