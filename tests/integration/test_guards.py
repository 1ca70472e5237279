"""What the database's own triggers refuse: steps of a number that there are not, and any change of what is past."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.exc import IntegrityError, OperationalError

from db.engine import constraint, open_engine
from db.guards import TRANSITIONS
from db.tables import metadata, number_history, numbers
from tests.support.core.rows import DAY, NOW, put_first_rows, second, table
from tests.support.event_ids import of_change, of_range
from tests.support.postgres import PrivatePostgres

#: The drawing, written out once more (docs/states.md).
DRAWN = {
    "available": {"bound", "assigned", "expired"},
    "bound": {"available", "assigned", "expired"},
    "assigned": {"held", "used", "available", "voided"},
    "held": {"used", "available", "voided"},
    "used": set(),
    "voided": set(),
    "expired": set(),
}

_NOBODYS = {"issue_request_id": None, "bound_to": None, "issue_date": None, "assigned_at": None}
_BOUND = {**_NOBODYS, "bound_to": "I2"}
_HELD_BY_ONE = {**_NOBODYS, "issue_request_id": "I2", "issue_date": DAY, "assigned_at": NOW}
#: What each state says of whose the number is.
WHOSE: dict[str, dict[str, Any]] = {
    "available": _NOBODYS,
    "bound": _BOUND,
    "assigned": _HELD_BY_ONE,
    "held": _HELD_BY_ONE,
    "used": _HELD_BY_ONE,
    "voided": _NOBODYS,
    "expired": _NOBODYS,
}

IS_SECOND = numbers.c.sequence == 2


@pytest.fixture(scope="module")
def engine(postgres: PrivatePostgres) -> Iterator[Engine]:
    url = postgres.new_migrated_database()
    made = open_engine(url, application="fuma-test-guards")
    yield made
    made.dispose()
    postgres.drop_database(url)


@pytest.fixture
def connection(engine: Engine) -> Iterator[Connection]:
    """A transaction with a row in every table and a request without a number, which is rolled back."""
    with engine.connect() as made, made.begin() as transaction:
        put_first_rows(made)
        made.execute(insert(table("issue_requests")).values(second("issue_requests")))
        yield made
        transaction.rollback()


def event_of(status: str, step: int) -> UUID:
    """Make the id of the event by which the second number came to this state."""
    return of_range() if status == "expired" else of_change(264470, 2, step)


def put_number(connection: Connection, status: str) -> None:
    """Put in the second number, in any state, as if it had come there by its steps."""
    connection.execute(text("ALTER TABLE numbers DISABLE TRIGGER number_begins_available_or_assigned"))
    row = second("numbers", status=status, step=5, event_id=event_of(status, 5), **WHOSE[status])
    connection.execute(insert(numbers).values(row))
    connection.execute(text("ALTER TABLE numbers ENABLE TRIGGER number_begins_available_or_assigned"))


def step_to(connection: Connection, status: str, **changes: object) -> None:
    values = {"status": status, "step": 6, "event_id": event_of(status, 6), **WHOSE[status], **changes}
    connection.execute(update(numbers).where(IS_SECOND).values(values))


def test_the_guards_know_the_drawing() -> None:
    assert set(TRANSITIONS) == {(before, after) for before, others in DRAWN.items() for after in others}


@pytest.mark.parametrize(("before", "after"), list(product(DRAWN, DRAWN)), ids=str)
def test_a_number_goes_only_by_a_step_of_the_drawing(connection: Connection, before: str, after: str) -> None:
    put_number(connection, before)

    if after in DRAWN[before]:
        step_to(connection, after)
        assert connection.execute(select(numbers.c.status).where(IS_SECOND)).scalar_one() == after
    else:
        with pytest.raises(IntegrityError) as refusal:
            step_to(connection, after)
        assert constraint(refusal.value) == "number_transition"


def tell(connection: Connection, *event_ids: UUID, **other: object) -> None:
    connection.execute(insert(table("outbox")).values(second("outbox", event_ids=list(event_ids), **other)))


def look_as_at_the_commit(connection: Connection) -> None:
    connection.execute(text("SET CONSTRAINTS change_is_told IMMEDIATE"))


def put_two_changes(connection: Connection) -> tuple[UUID, UUID]:
    """Store the second number, and let it be assigned; gives the events that are to tell of it."""
    stored, assigned = of_range(), of_change(264470, 2, 2)
    connection.execute(insert(numbers).values(second("numbers", event_id=stored)))
    connection.execute(
        update(numbers).where(IS_SECOND).values(status="assigned", step=2, event_id=assigned, **WHOSE["assigned"])
    )
    return stored, assigned


def test_changes_that_are_told_in_their_own_transaction_are_committed(connection: Connection) -> None:
    stored, assigned = put_two_changes(connection)
    tell(connection, of_range(), assigned)
    tell(connection, stored)

    look_as_at_the_commit(connection)

    assert connection.execute(select(table("untold_changes"))).all() == []


@pytest.mark.parametrize(
    ("told", "other"),
    [((), {}), ((0,), {}), ((1,), {}), ((0, 1), {"transaction_id": 1})],
    ids=["neither", "the first alone", "the second alone", "both, by another transaction"],
)
def test_a_change_that_nobody_is_told_of_is_not_committed(
    connection: Connection, told: tuple[int, ...], other: dict[str, int]
) -> None:
    changes = put_two_changes(connection)
    tell(connection, *(changes[each] for each in told), **other)

    with pytest.raises(IntegrityError) as refusal:
        look_as_at_the_commit(connection)

    assert constraint(refusal.value) == "change_is_told"


@pytest.mark.parametrize(
    "taken_back",
    ["DELETE FROM outbox", "UPDATE outbox SET event_ids = '{}'", "UPDATE outbox SET transaction_id = 1"],
)
def test_what_was_told_is_not_taken_back_before_the_commit(connection: Connection, taken_back: str) -> None:
    tell(connection, *put_two_changes(connection))
    look_as_at_the_commit(connection)

    with pytest.raises(IntegrityError) as refusal:
        connection.execute(text(taken_back))

    assert constraint(refusal.value) == "outbox_keeps_what_it_told"


@pytest.mark.parametrize("step", [4, 5, 7])
def test_no_step_is_left_out_or_counted_twice(connection: Connection, step: int) -> None:
    put_number(connection, "assigned")

    with pytest.raises(IntegrityError) as refusal:
        step_to(connection, "used", step=step)

    assert constraint(refusal.value) == "number_transition"


@pytest.mark.parametrize(
    "changes",
    [
        {"taxpayer_id": "91110000101623741K"},
        {"environment": "production"},
        {"prefix": 264471},
        {"sequence": 3},
        {"range_id": UUID(int=2)},
        {"range_first": 2},
        {"range_last": 9},
    ],
    ids=str,
)
def test_a_number_stays_the_number_that_it_is(connection: Connection, changes: dict[str, Any]) -> None:
    put_number(connection, "assigned")

    with pytest.raises(IntegrityError) as refusal:
        step_to(connection, "used", **changes)

    assert constraint(refusal.value) == "number_transition"


def test_the_state_before_is_kept_whole(connection: Connection) -> None:
    put_number(connection, "assigned")
    before = connection.execute(select(numbers).where(IS_SECOND)).mappings().one()

    later = {"changed_at": NOW + timedelta(hours=1), "changed_by": "/tests outcome"}
    step_to(connection, "available", requested_by="somebody", **later)

    [kept] = connection.execute(select(number_history).where(number_history.c.sequence == 2)).mappings()
    assert dict(kept) == {name: before[name] for name in kept}
    # All of a number but where its range lies, which never changes.
    assert set(before) - set(kept) == {"range_id", "range_first", "range_last"}


@pytest.mark.parametrize("status", sorted(set(DRAWN) - {"available", "assigned"}))
def test_a_number_begins_available_or_assigned(connection: Connection, status: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(insert(numbers).values(second("numbers", status=status, **WHOSE[status])))

    assert constraint(refusal.value) == "number_begins_available_or_assigned"


@pytest.mark.parametrize("status", ["available", "assigned"])
@pytest.mark.parametrize("step", [0, 2])
def test_a_number_begins_with_its_first_step(connection: Connection, status: str, step: int) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(insert(numbers).values(second("numbers", status=status, step=step, **WHOSE[status])))

    assert constraint(refusal.value) == "number_begins_available_or_assigned"


def test_no_number_is_removed(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(numbers.delete())

    assert constraint(refusal.value) == "number_is_never_removed"


def test_history_is_not_changed(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(update(number_history).values(changed_by="nobody"))

    assert constraint(refusal.value) == "history_is_append_only"


def test_history_is_not_removed(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(number_history.delete())

    assert constraint(refusal.value) == "history_is_append_only"


@pytest.mark.parametrize(
    "change",
    ["DELETE FROM answered_messages", "UPDATE answered_messages SET answered = false"],
)
def test_a_message_that_was_answered_is_kept(connection: Connection, change: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(text(change))

    assert constraint(refusal.value) == "answered_message_is_kept"


def test_a_copy_of_what_waits_may_be_answered_or_forgotten(connection: Connection) -> None:
    messages = table("answered_messages")
    for message in ("waits", "waited in vain"):
        connection.execute(insert(messages).values(second("answered_messages", message=message, answered=False)))

    connection.execute(text("DELETE FROM answered_messages WHERE message = 'waited in vain' AND NOT answered"))
    connection.execute(text("UPDATE answered_messages SET answered = true WHERE NOT answered"))

    kept = connection.execute(select(messages.c.message).where(messages.c.answered))
    assert "waits" in kept.scalars()
    assert connection.execute(select(messages.c.message).where(~messages.c.answered)).first() is None


@pytest.mark.parametrize("column", ["range_first", "range_last", "range_id"])
def test_a_number_stored_among_others_lies_in_a_range_that_is_there(connection: Connection, column: str) -> None:
    wrong = {"range_first": 0, "range_last": 11, "range_id": UUID(int=9)}[column]
    rows = [second("numbers"), second("numbers", sequence=3, **{column: wrong})]

    with pytest.raises(IntegrityError) as refusal:
        connection.execute(insert(numbers), rows)

    assert constraint(refusal.value) == "fk_numbers_range"


@pytest.mark.parametrize(("cursor", "stored"), [(11, []), (12, [11]), (14, [11, 12, 13])])
def test_a_number_is_stored_only_once_the_cursor_has_passed_it(
    connection: Connection, cursor: int, stored: list[int]
) -> None:
    connection.execute(insert(table("ranges")), second("ranges", next_sequence=cursor))
    inside = {"range_id": UUID(int=2), "range_first": 11, "range_last": 20}
    for sequence in stored:
        connection.execute(insert(numbers), second("numbers", sequence=sequence, **inside))
    rows = [second("numbers", sequence=sequence, **inside) for sequence in (cursor, *range(15, 18))]

    with pytest.raises(IntegrityError) as refusal:
        connection.execute(insert(numbers), rows)

    assert constraint(refusal.value) == "fk_numbers_range"


def test_a_number_is_not_given_to_a_request_that_is_not_there(connection: Connection) -> None:
    put_number(connection, "available")
    with pytest.raises(IntegrityError) as refusal:
        step_to(connection, "assigned", **{**_HELD_BY_ONE, "issue_request_id": "I9"})

    assert constraint(refusal.value) == "fk_numbers_issue_request"


def test_a_request_is_not_passed_to_an_organization_that_is_not_there(connection: Connection) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(update(table("issue_requests")).values(organization="B"))

    assert constraint(refusal.value) == "fk_issue_requests_organization"


@pytest.mark.parametrize(
    "change", [{"taxpayer_id": "91110000101623741K"}, {"code": "B"}, {"environment": "production"}]
)
def test_an_organization_that_has_requests_keeps_its_key(connection: Connection, change: dict[str, str]) -> None:
    connection.execute(text("ALTER TABLE organizations DROP CONSTRAINT fk_organizations_channel"))
    connection.execute(text("ALTER TABLE claims DROP CONSTRAINT fk_claims_organization"))
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(update(table("organizations")).values(change))

    assert constraint(refusal.value) == "fk_issue_requests_organization"


def test_an_organization_that_has_requests_is_not_removed(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE claims DROP CONSTRAINT fk_claims_organization"))
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(table("organizations").delete())

    assert constraint(refusal.value) == "fk_issue_requests_organization"


def test_an_organization_that_has_requests_may_change_its_name(connection: Connection) -> None:
    renamed = connection.execute(text("UPDATE organizations SET name = 'another', taxpayer_id = taxpayer_id"))

    assert renamed.rowcount == 1


def test_an_organization_does_not_move_while_its_first_request_is_being_stored(engine: Engine) -> None:
    with engine.connect() as storing, storing.begin() as transaction:
        put_first_rows(storing)
        transaction.commit()
    try:
        with engine.connect() as storing, engine.connect() as moving:
            storing.execute(insert(table("issue_requests")).values(second("issue_requests")))
            moving.execute(text("SET LOCAL lock_timeout = '200ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                moving.execute(text("UPDATE organizations SET code = 'B'"))
            storing.rollback()
            moving.rollback()
    finally:
        with engine.begin() as emptying:
            emptying.execute(text("SET LOCAL session_replication_role = replica"))
            for each in metadata.tables.values():
                emptying.execute(each.delete())


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        ("UPDATE ranges SET last_sequence = last_sequence - 1", "range_keeps_its_extent"),
        ("UPDATE ranges SET range_id = gen_random_uuid()", "range_keeps_its_extent"),
        ("DELETE FROM ranges", "range_keeps_its_extent"),
        ("UPDATE ranges SET next_sequence = next_sequence - 1", "range_cursor_never_goes_back"),
        ("UPDATE issue_requests SET issue_request_id = issue_request_id || '!'", "request_keeps_its_key"),
        ("DELETE FROM issue_requests", "request_keeps_its_key"),
    ],
)
def test_what_is_pointed_at_stays(connection: Connection, change: str, guard: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(text(change))

    assert constraint(refusal.value) == guard


@pytest.mark.parametrize(
    ("change", "guard"),
    [
        ("TRUNCATE organizations, claims, ranges", "organizations_are_not_emptied"),
        ("TRUNCATE ranges", "ranges_are_not_emptied"),
        ("TRUNCATE issue_requests, answered_messages", "requests_are_not_emptied"),
    ],
)
def test_what_is_pointed_at_is_not_emptied(connection: Connection, change: str, guard: str) -> None:
    with pytest.raises(IntegrityError) as refusal:
        connection.execute(text(change))

    assert constraint(refusal.value) == guard


def test_everything_may_be_emptied_together(connection: Connection) -> None:
    look_as_at_the_commit(connection)

    connection.execute(text(f"TRUNCATE {', '.join(metadata.tables)}"))

    assert connection.execute(select(numbers)).first() is None


def test_every_trigger_is_tested_here(connection: Connection) -> None:
    triggers = connection.execute(text("SELECT tgname::text FROM pg_trigger WHERE NOT tgisinternal")).scalars()

    assert set(triggers) == {
        "number_changes_by_steps",
        "number_begins_available_or_assigned",
        "number_is_never_removed",
        "history_is_append_only",
        "request_has_its_organization",
        "changed_request_has_its_organization",
        "organization_keeps_its_requests",
        "moved_organization_keeps_its_requests",
        "number_has_its_range_and_request",
        "changed_number_has_its_range_and_request",
        "range_keeps_its_extent",
        "range_cursor_never_goes_back",
        "request_keeps_its_key",
        "organizations_are_not_emptied",
        "ranges_are_not_emptied",
        "requests_are_not_emptied",
        "answered_message_is_kept",
        "number_is_to_be_told",
        "changed_number_is_to_be_told",
        "change_is_told",
        "outbox_keeps_what_it_told",
    }
