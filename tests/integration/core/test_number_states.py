"""The states of a number: each step of the drawing is possible, the database refuses every other."""

import pytest
from sqlalchemy.exc import DBAPIError

from db.engine import constraint
from db.guards import TRANSITIONS
from tests.support.core.asked import binding, invoice, outcome
from tests.support.core.world import Core
from tests.support.event_ids import of_range, written_of_change

STATES = ("available", "bound", "assigned", "held", "used", "voided", "expired")

#: The drawing once more, by hand.
ALLOWED = {
    "available": {"bound", "assigned", "expired"},
    "bound": {"available", "assigned", "expired"},
    "assigned": {"held", "used", "available", "voided"},
    "held": {"used", "available", "voided"},
    "used": set[str](),
    "voided": set[str](),
    "expired": set[str](),
}

_HOLDS = {"assigned", "held", "used"}

_MOVE = f"""
    UPDATE numbers SET status = :status, step = step + 1,
        event_id = CASE WHEN :status = 'expired' THEN CAST(:of_range AS uuid)
                        ELSE {written_of_change(step="step + 1")} END,
        bound_to = CASE WHEN :status = 'bound' THEN 'R1' END,
        issue_request_id = CASE WHEN :holds THEN 'R1' END,
        issue_date = CASE WHEN :holds THEN DATE '2026-11-23' END,
        assigned_at = CASE WHEN :holds THEN changed_at END
"""  # noqa: S608 -- constants


def move(core: Core, status: str) -> None:
    core.change(_MOVE, status=status, holds=status in _HOLDS, of_range=str(of_range()))


def one_number(core: Core, status: str) -> str:
    """Bring one manual number to this state by the shortest way."""
    [number] = core.manual(1)
    core.change(
        "INSERT INTO issue_requests (taxpayer_id, environment, issue_request_id, organization, issue_date, kind,"
        " channel_mode, status, form) VALUES"
        " ('91350100M000100Y43', 'sandbox', 'R1', 'A', '2026-11-23', 'blue', 'self-use', 'assigned', 'single')",
    )
    ways = {
        "held": ["assigned", "held"],
        "used": ["assigned", "used"],
        "voided": ["assigned", "voided"],
        "available": [],
    }
    for step in ways.get(status, [status]):
        move(core, step)
    assert core.value("SELECT status FROM numbers") == status
    return number


def test_the_guards_know_the_drawing() -> None:
    assert sorted(TRANSITIONS) == sorted((before, after) for before, follow in ALLOWED.items() for after in follow)


@pytest.mark.parametrize("after", STATES)
@pytest.mark.parametrize("before", STATES)
def test_the_database_lets_no_other_step_pass(core: Core, before: str, after: str) -> None:
    one_number(core, before)
    steps = core.value("SELECT count(*) FROM number_history")

    if after in ALLOWED[before]:
        move(core, after)
        assert core.rows("SELECT status, step FROM numbers") == [(after, steps + 2)]
        assert core.value("SELECT status FROM number_history ORDER BY step DESC LIMIT 1") == before
        return
    with pytest.raises(DBAPIError) as refused:
        move(core, after)
    assert constraint(refused.value) == "number_transition"
    assert core.value("SELECT count(*) FROM number_history") == steps


@pytest.mark.parametrize("status", ["bound", "held", "used", "voided", "expired"])
def test_a_number_begins_available_or_assigned(core: Core, status: str) -> None:
    one_number(core, "available")

    with pytest.raises(DBAPIError) as refused:
        core.change(
            "INSERT INTO numbers SELECT (jsonb_populate_record(n, jsonb_build_object('status', CAST(:status AS text),"
            " 'sequence', n.sequence + 1))).* FROM numbers AS n",
            status=status,
        )
    assert constraint(refused.value) == "number_begins_available_or_assigned"


@pytest.mark.parametrize(
    "change",
    [
        "sequence = sequence + 1",
        "range_first = range_first - 1",
        "step = step + 2",
        "step = step",
    ],
)
def test_a_step_changes_neither_the_number_nor_its_count(core: Core, change: str) -> None:
    one_number(core, "available")

    steps = change if change.startswith("step") else f"{change}, step = step + 1"
    with pytest.raises(DBAPIError) as refused:
        core.change(f"UPDATE numbers SET {steps}, status = 'expired'")  # noqa: S608 -- a constant of this file
    assert constraint(refused.value) == "number_transition"


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM numbers", "DELETE FROM number_history", "UPDATE number_history SET changed_by = 'somebody else'"],
)
def test_nothing_of_a_number_is_forgotten(core: Core, statement: str) -> None:
    one_number(core, "bound")

    with pytest.raises(DBAPIError) as refused:
        core.change(statement)
    assert constraint(refused.value) in {"number_is_never_removed", "history_is_append_only"}


def test_a_whole_life_is_in_the_history(core: Core) -> None:
    [number] = core.manual(1)
    core.bind(binding(number, "R1", binding_id="B1"))
    core.bind(binding(number, "R1", binding_id="B2", action="unbind"))
    core.issue(invoice("R1", number=number))
    core.report(outcome(number, "unknown", outcome_id="O1"))
    core.report(outcome(number, "failed", outcome_id="O2"))
    core.issue(invoice("R1", number=number, message_id="anew"))
    core.report(outcome(number, "uploaded", outcome_id="O3"))

    states = core.rows("SELECT step, status FROM number_history UNION SELECT step, status FROM numbers ORDER BY 1")

    assert [status for _, status in states] == [
        "available",
        "bound",
        "available",
        "assigned",
        "held",
        "available",
        "assigned",
        "used",
    ]
    assert [step for step, _ in states] == list(range(1, 9))


def test_every_change_of_a_life_has_the_id_of_the_event_that_told_of_it(core: Core) -> None:
    [number] = core.manual(1)
    told = core.bind(binding(number))
    told += core.issue(invoice("R1"))
    told += core.report(outcome(number, "unknown", outcome_id="O1"))
    told += core.report(outcome(number, "failed", outcome_id="O2", reuse=False))

    ids = core.rows("SELECT step, event_id FROM number_history UNION SELECT step, event_id FROM numbers ORDER BY 1")

    assert [str(event_id) for _, event_id in ids[1:]] == [each.id for each in told]
