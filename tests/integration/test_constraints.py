"""What must never happen is refused by the database itself: a case for every constraint that the models have."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, func, insert, null, select, text
from sqlalchemy.exc import IntegrityError

from db.engine import constraint, open_engine, sqlstate
from db.tables import metadata
from tests.support.core.rows import DAY, FIRST, NOW, put_first_rows, second, table
from tests.support.event_ids import of_change, of_range
from tests.support.postgres import PrivatePostgres


@dataclass(frozen=True)
class Case:
    """A row that one constraint alone refuses."""

    constraint: str
    what: str
    table: str
    changes: dict[str, Any] = field(default_factory=dict)
    #: Rows that are there before it.
    before: tuple[tuple[str, dict[str, Any]], ...] = ()
    #: A narrower constraint that would speak first.
    without: str | None = None
    #: A trigger that would speak first.
    unguarded: str | None = None

    def __str__(self) -> str:
        """Name the case as its test."""
        return f"{self.constraint}: {self.what}"


_PRODUCTION = {"environment": "production"}
_OPEN = {"status": "open", "settled_at": None, "next_attempt_at": NOW}
#: Names the event of a change of the second number.
_TOLD = {"event_id": of_change(264470, 2, 1)}
_ASSIGNED = {**_TOLD, "status": "assigned", "issue_request_id": "I2", "issue_date": DAY, "assigned_at": NOW}

CASES = [
    Case("pk_channels", "a channel twice", "channels", {"channel_mode": "self-use"}),
    Case("ck_channels_mode", "a mode that isn't one", "channels", {"channel_mode": "other"}),
    Case("ck_channels_quantity", "claims of none", "channels", {"claim_quantity": 0}),
    Case("ck_channels_quantity", "claims of more than LeQi grants", "channels", {"claim_quantity": 5001}),
    Case("ck_channels_sizing", "a sizing that isn't one", "channels", {"claim_sizing": "huge"}),
    Case("ck_channels_threshold", "more than all is low", "channels", {"low_threshold": 1.1}),
    Case("ck_channels_threshold", "less than nothing is low", "channels", {"low_threshold": -0.1}),
    Case("pk_deployment", "two environments", "deployment", {"environment": "production"}),
    Case("ck_deployment_single", "another row", "deployment", {"single": False}),
    Case("ck_deployment_environment", "an environment that isn't one", "deployment", {"environment": "test"}),
    Case("pk_direct_units", "a direct unit twice", "direct_units", {"direct_unit_id": "DU1"}),
    Case("ck_direct_units_limit", "no calls at all", "direct_units", {"concurrency_limit": 0}),
    Case("ck_outbox_events", "a message without events", "outbox", {"events": [0]}),
    Case("ck_outbox_events", "more events than a batch may have", "outbox", {"events": [1001]}),
    Case(
        "ck_outbox_messages",
        "no message",
        "outbox",
        {"message_ids": [], "routing_keys": [], "content_types": [], "events": [], "sizes": []},
    ),
    *(
        Case("ck_outbox_messages", f"{column} of another count", "outbox", {column: two})
        for column, two in {
            "message_ids": ["M1", "M2"],
            "routing_keys": ["k", "k"],
            "content_types": ["t", "t"],
            "events": [1, 1],
            "sizes": [1, 1],
        }.items()
    ),
    Case("pk_refreshes", "a refresh answered twice", "refreshes", {"refresh_id": "F1"}),
    Case("pk_organizations", "a code twice", "organizations", {"code": "A"}),
    Case("pk_organizations", "a code of two taxpayers", "organizations", {"code": "A", "taxpayer_id": "B"}),
    Case("uq_organizations_taxpayer", "a code twice", "organizations", {"code": "A"}, without="pk_organizations"),
    Case("fk_organizations_channel", "a channel that isn't there", "organizations", {"channel_mode": "joint"}),
    Case("pk_stocks", "a stock twice", "stocks", {"year": 2026}),
    Case("ck_stocks_mode", "a mode that isn't one", "stocks", {"channel_mode": "other"}),
    Case("ck_stocks_year", "a year before the numbers'", "stocks", {"year": 1999}),
    Case("ck_stocks_year", "a year after the numbers'", "stocks", {"year": 2100}),
    Case("ck_stocks_level", "a level that isn't one", "stocks", {"level": "half"}),
    Case("ck_stocks_exhausted_at", "exhausted at no time", "stocks", {"level": "exhausted"}),
    Case("ck_stocks_claim_at_most", "claims of none", "stocks", {"claim_at_most": 0}),
    Case("ck_stocks_claim_at_most", "claims of more than LeQi grants", "stocks", {"claim_at_most": 5001}),
    Case("ck_stocks_paused", "paused since no time", "stocks", {"paused": True, "paused_because": "a move"}),
    Case("ck_stocks_paused", "paused for no reason", "stocks", {"paused": True, "paused_at": NOW}),
    Case("ck_stocks_paused", "at work and paused since", "stocks", {"paused_at": NOW, "paused_because": "a move"}),
    Case("pk_claims", "a claim id twice", "claims", {"claim_id": "C1"}),
    Case("uq_claims_business_serial", "a serial twice", "claims", {"business_serial": "S1"}),
    Case(
        "uq_claims_one_open_automatic",
        "two open automatic claims of a stock",
        "claims",
        _OPEN,
        before=(("claims", {**_OPEN, "claim_id": "C3", "business_serial": "S3"}),),
    ),
    Case("fk_claims_organization", "an organization that isn't there", "claims", {"organization": "B"}),
    Case("fk_claims_stock", "a stock that isn't there", "claims", {"year": 2027}),
    Case("ck_claims_mode", "a mode that isn't one", "claims", {"claim_mode": "foreign"}),
    Case(
        "ck_claims_manual_organization",
        "a manual claim of nobody",
        "claims",
        {"claim_mode": "manual", "organization": None},
    ),
    Case("ck_claims_quantity", "none", "claims", {"quantity": 0}),
    Case(
        "ck_claims_quantity",
        "more by hand than the product allows",
        "claims",
        {"claim_mode": "manual", "quantity": 1001},
    ),
    Case("ck_claims_quantity", "more than LeQi grants", "claims", {"quantity": 5001}),
    Case("ck_claims_business_serial", "an empty serial", "claims", {"business_serial": ""}),
    Case("ck_claims_business_serial", "a serial of 101 characters", "claims", {"business_serial": "S" * 101}),
    Case("ck_claims_status", "a status that isn't one", "claims", {"status": "lost"}),
    Case("ck_claims_goes_on", "open, and never tried again", "claims", {**_OPEN, "next_attempt_at": None}),
    Case("ck_claims_goes_on", "open and settled", "claims", {**_OPEN, "settled_at": NOW}),
    Case("ck_claims_goes_on", "unresolved, and never tried again", "claims", {"status": "unresolved"}),
    Case("ck_claims_goes_on", "granted, and tried again", "claims", {"next_attempt_at": NOW}),
    Case("ck_claims_goes_on", "refused at no time", "claims", {"status": "refused", "settled_at": None}),
    Case("ck_claims_form", "a form that isn't one", "claims", {"form": "binary"}),
    Case("pk_ranges", "a range id twice", "ranges", {"range_id": UUID(int=1)}),
    Case(
        "uq_ranges_extent",
        "a range twice",
        "ranges",
        {"range_id": UUID(int=1), "first_sequence": 1, "last_sequence": 10, "status": "quarantined"},
        without="pk_ranges",
    ),
    Case("uq_ranges_claim", "two ranges of one claim", "ranges", {"claim_id": "C1"}),
    Case("fk_ranges_claim", "a claim that isn't there", "ranges", {"claim_id": "C9"}),
    Case("fk_ranges_stock", "a stock that isn't there", "ranges", {"year": 2027, "prefix": 274470}),
    Case("ck_ranges_year", "a prefix of another year", "ranges", {"prefix": 274470}),
    Case("ck_ranges_channel", "a prefix of another mode", "ranges", {"prefix": 264471}),
    Case("ck_ranges_extent", "a negative sequence", "ranges", {"first_sequence": -1, "next_sequence": -1}),
    Case("ck_ranges_extent", "fifteen digits", "ranges", {"last_sequence": 10**14}),
    Case(
        "ck_ranges_extent",
        "last before first",
        "ranges",
        {"first_sequence": 21, "next_sequence": 21},
        without="ex_ranges_overlap_sandbox",
    ),
    Case("ck_ranges_cursor", "a cursor before the range", "ranges", {"next_sequence": 10}),
    Case("ck_ranges_cursor", "a cursor behind the range", "ranges", {"next_sequence": 22}),
    Case("ck_ranges_mode", "a mode that isn't one", "ranges", {"claim_mode": "foreign", "next_sequence": 21}),
    Case("ck_ranges_status", "a status that isn't one", "ranges", {"status": "lost"}),
    Case("ck_ranges_manual_is_split", "a manual range to take from", "ranges", {"claim_mode": "manual"}),
    Case("ck_ranges_confirmed", "in use and confirmed", "ranges", {"confirmed_at": NOW}),
    Case("ck_ranges_confirmed", "bad and confirmed", "ranges", {"status": "quarantined", "confirmed_at": NOW}),
    Case("ck_ranges_used_up", "used up with numbers left", "ranges", {"status": "used-up"}),
    Case(
        "ck_ranges_foreign_is_untouched", "foreign and taken from", "ranges", {"status": "foreign", "next_sequence": 12}
    ),
    *(
        Case(
            "ex_ranges_overlap_sandbox",
            what,
            "ranges",
            {"first_sequence": first, "next_sequence": last, "last_sequence": last},
        )
        for what, first, last in [
            ("the last number twice", 10, 15),
            ("a range within", 3, 4),
            ("a range around", 0, 30),
        ]
    ),
    Case(
        "ex_ranges_overlap_sandbox",
        "another taxpayer's numbers",
        "ranges",
        {"taxpayer_id": "B", "first_sequence": 10},
        before=(("stocks", {"taxpayer_id": "B", "year": 2026}),),
    ),
    Case(
        "ex_ranges_overlap_production",
        "the last number twice",
        "ranges",
        {**_PRODUCTION, "first_sequence": 20, "next_sequence": 20},
        before=(
            ("stocks", {**_PRODUCTION, "year": 2026}),
            ("ranges", {**_PRODUCTION, "range_id": UUID(int=3)}),
        ),
    ),
    Case("pk_issue_requests", "a request twice", "issue_requests", {"issue_request_id": "I1"}),
    Case("fk_issue_requests_organization", "an organization that isn't there", "issue_requests", {"organization": "B"}),
    Case("ck_issue_requests_kind", "a kind that isn't one", "issue_requests", {"kind": "green"}),
    Case("ck_issue_requests_channel_mode", "a mode that isn't one", "issue_requests", {"channel_mode": "other"}),
    Case("ck_issue_requests_form", "a form that isn't one", "issue_requests", {"form": "binary"}),
    Case("ck_issue_requests_status", "a status that isn't one", "issue_requests", {"status": "lost"}),
    Case("ck_issue_requests_waiting", "waiting nowhere", "issue_requests", {"status": "waiting"}),
    Case(
        "ck_issue_requests_waiting",
        "waiting since no time",
        "issue_requests",
        {"status": "waiting", "queue_position": 1},
    ),
    Case(
        "ck_issue_requests_waiting",
        "assigned and in the queue",
        "issue_requests",
        {"queue_position": 1, "waiting_since": NOW},
    ),
    Case(
        "ck_issue_requests_waiting",
        "waiting with no message to answer",
        "issue_requests",
        {"status": "waiting", "queue_position": 1, "waiting_since": NOW},
    ),
    Case("ck_issue_requests_closed", "closed for no reason", "issue_requests", {"status": "closed"}),
    Case("ck_issue_requests_closed", "assigned and closed", "issue_requests", {"closed_because": "released"}),
    *(
        Case("ck_issue_requests_named_number", what, "issue_requests", {"named_number": named})
        for what, named in [
            ("19 digits", "2" * 19),
            ("21 digits", "2" * 21),
            ("a letter", "x" * 20),
            ("a line after it", "2" * 20 + "\n"),
        ]
    ),
    Case("pk_numbers", "a number twice", "numbers", {"sequence": 1}),
    Case("fk_numbers_range", "a range that isn't there", "numbers", {"range_id": UUID(int=9)}),
    Case("fk_numbers_range", "a range of another extent", "numbers", {"range_last": 11}),
    Case("fk_numbers_issue_request", "a request that isn't there", "numbers", _ASSIGNED),
    Case("uq_numbers_issue_request", "two numbers of one request", "numbers", {**_ASSIGNED, "issue_request_id": "I1"}),
    Case("ck_numbers_in_range", "a number outside its range", "numbers", {"sequence": 11}),
    Case(
        "ck_numbers_status",
        "a status that isn't one",
        "numbers",
        {**_TOLD, "status": "lost"},
        unguarded="number_begins_available_or_assigned",
    ),
    Case("ck_numbers_bound", "available and bound to somebody", "numbers", {"bound_to": "I2"}),
    Case(
        "ck_numbers_bound",
        "bound to nobody",
        "numbers",
        {"status": "bound"},
        unguarded="number_begins_available_or_assigned",
    ),
    *(
        Case(
            "ck_numbers_assigned",
            f"{status} for nobody",
            "numbers",
            {"status": status},
            unguarded="number_begins_available_or_assigned",
        )
        for status in ("held", "used")
    ),
    *(
        Case(
            "ck_numbers_assigned",
            f"{status} and somebody's",
            "numbers",
            {**_ASSIGNED, "status": status},
            unguarded="number_begins_available_or_assigned",
        )
        for status in ("voided", "expired")
    ),
    Case(
        "ck_numbers_assigned",
        "bound and somebody's",
        "numbers",
        {**_ASSIGNED, "status": "bound", "bound_to": "I2"},
        unguarded="number_begins_available_or_assigned",
    ),
    Case(
        "uq_numbers_issue_request",
        "bound to a request that holds a number",
        "numbers",
        {**_TOLD, "status": "bound", "bound_to": "I1"},
        unguarded="number_begins_available_or_assigned",
    ),
    Case("ck_numbers_assigned", "assigned to nobody", "numbers", {"status": "assigned"}),
    Case("ck_numbers_assigned", "available and somebody's", "numbers", {**_ASSIGNED, "status": "available"}),
    Case("ck_numbers_assigned", "assigned for no date", "numbers", {**_ASSIGNED, "issue_date": None}),
    Case("ck_numbers_year", "an invoice of another year", "numbers", {**_ASSIGNED, "issue_date": date(2027, 1, 1)}),
    *(
        Case("ck_numbers_event", what, "numbers", {**_ASSIGNED, "event_id": event_id})
        for what, event_id in [
            ("the event of another number", of_change(264470, 1, 1)),
            ("the event of another step", of_change(264470, 2, 2)),
            ("the event of a number of another prefix", of_change(264471, 2, 1)),
            ("an assignment told for a range", of_range()),
        ]
    ),
    Case("ck_numbers_event", "a split told for one number", "numbers", _TOLD),
    Case(
        "ck_numbers_event",
        "an expiry told for one number",
        "numbers",
        {**_TOLD, "status": "expired"},
        unguarded="number_begins_available_or_assigned",
    ),
    Case("pk_number_history", "a step twice", "number_history", {"step": 1, "event_id": of_range()}),
    Case(
        "fk_number_history_number",
        "a number that isn't there",
        "number_history",
        {"sequence": 9, "event_id": of_change(264470, 9, 2)},
    ),
    *(
        Case("ck_number_history_event", what, "number_history", {"event_id": event_id})
        for what, event_id in [
            ("the event of another number", of_change(264470, 2, 2)),
            ("the event of another step", of_change(264470, 1, 1)),
            ("a change of one number told for a range", of_range()),
        ]
    ),
    Case("ck_number_history_event", "a split told for one number", "number_history", {"step": 1}),
    Case("pk_answered_messages", "a message twice", "answered_messages", {"message": "/tests message"}),
    Case(
        "fk_answered_messages_issue_request",
        "a request that isn't there",
        "answered_messages",
        {"issue_request_id": "I9"},
    ),
    Case("pk_number_bindings", "a binding done twice", "number_bindings", {"binding_id": "B1"}),
    Case("fk_number_bindings_number", "a number that isn't there", "number_bindings", {"sequence": 9}),
    Case("ck_number_bindings_action", "an action that isn't one", "number_bindings", {"action": "lend"}),
    Case("pk_invoice_outcomes", "an outcome done twice", "invoice_outcomes", {"outcome_id": "O1"}),
    Case("fk_invoice_outcomes_number", "a number that isn't there", "invoice_outcomes", {"sequence": 9}),
    Case("ck_invoice_outcomes_outcome", "an outcome that isn't one", "invoice_outcomes", {"outcome": "lost"}),
    Case("ck_invoice_outcomes_became", "a state that no outcome leads to", "invoice_outcomes", {"became": "bound"}),
    Case("pk_usage", "an hour twice", "usage", {"hour": NOW}),
    Case("ck_usage_taken", "an hour in which none was taken", "usage", {"taken": 0}),
]
NOT_NULL = [
    (name, column.name)
    for name in FIRST
    for column in table(name).columns
    if not column.nullable and not column.identity
]


#: Kept by guards under the names of the keys that they replace (`db.guards`).
GUARDED = {"fk_issue_requests_organization", "fk_numbers_range", "fk_numbers_issue_request"}


@pytest.fixture(scope="module")
def engine(postgres: PrivatePostgres) -> Iterator[Engine]:
    url = postgres.new_migrated_database()
    made = open_engine(url, application="fuma-test-constraints")
    yield made
    made.dispose()
    postgres.drop_database(url)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction with a row in every table, which is rolled back."""
    with engine.connect() as made, made.begin() as transaction:
        put_first_rows(made)
        yield made
        transaction.rollback()


def is_accepted(connection: Connection, name: str, row: dict[str, Any]) -> bool:
    """Insert a row, and look whether it is there."""
    count = select(func.count()).select_from(table(name))
    before = connection.execute(count).scalar_one()
    connection.execute(insert(table(name)).values(row))
    return bool(connection.execute(count).scalar_one() == before + 1)


def test_every_constraint_of_the_models_has_a_case() -> None:
    constraints = {str(each.name) for name in metadata.tables for each in table(name).constraints}
    unique = {str(index.name) for name in metadata.tables for index in table(name).indexes if index.unique}
    # An identity that is always generated can't be given twice: its key has nothing to refuse.
    assert constraints | unique | GUARDED == {case.constraint for case in CASES} | {"pk_outbox", "pk_untold_changes"}


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_constraint_refuses(connection: Connection, case: Case) -> None:
    for name, changes in case.before:
        connection.execute(insert(table(name)).values(second(name, **changes)))
    if case.without is not None:
        connection.execute(text(f"ALTER TABLE {case.table} DROP CONSTRAINT {case.without}"))
    if case.unguarded is not None:
        connection.execute(text(f"ALTER TABLE {case.table} DISABLE TRIGGER {case.unguarded}"))

    with pytest.raises(IntegrityError) as refusal:
        connection.execute(insert(table(case.table)).values(second(case.table, **case.changes)))

    assert constraint(refusal.value) == case.constraint


@pytest.mark.parametrize("name", [name for name in FIRST if name != "deployment"])
def test_the_row_that_a_case_changes_is_accepted_without_its_change(connection: Connection, name: str) -> None:
    assert is_accepted(connection, name, second(name))


@pytest.mark.parametrize(("name", "column"), NOT_NULL, ids=str)
def test_what_must_be_there_can_not_be_left_out(connection: Connection, name: str, column: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(insert(table(name)).values({**second(name), column: null()}))

    assert sqlstate(refusal.value) == "23502"


@pytest.mark.parametrize("status", ["quarantined", "foreign"])
def test_ranges_that_nobody_issues_from_may_overlap(connection: Connection, status: str) -> None:
    row = second("ranges", first_sequence=5, next_sequence=5, last_sequence=8, status=status)

    assert is_accepted(connection, "ranges", row)


def test_ranges_of_two_environments_may_overlap(connection: Connection) -> None:
    connection.execute(insert(table("stocks")).values(second("stocks", environment="production", year=2026)))
    row = second("ranges", environment="production", first_sequence=1, next_sequence=1, last_sequence=10)

    assert is_accepted(connection, "ranges", row)


def test_a_quarantined_range_may_have_a_prefix_of_another_mode(connection: Connection) -> None:
    row = second("ranges", prefix=264499, status="quarantined")

    assert is_accepted(connection, "ranges", row)
