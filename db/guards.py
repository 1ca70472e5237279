"""Guards: what constraints can't say, kept by the database's own triggers.

A number changes its state only by a step of the drawing, and every state that it had is kept.
"""

from sqlalchemy import Connection, MetaData, event, text

from db.tables import metadata

#: Which state of a number may follow which (docs/states.md); any other change is refused by the database.
TRANSITIONS = (
    ("available", "bound"),
    ("available", "assigned"),
    ("available", "expired"),
    ("bound", "available"),
    ("bound", "assigned"),
    ("bound", "expired"),
    ("assigned", "held"),
    ("assigned", "used"),
    ("assigned", "available"),
    ("assigned", "voided"),
    ("held", "used"),
    ("held", "available"),
    ("held", "voided"),
)

# The number itself never changes, its state only by a step of the drawing, and the state before is kept.
_KEEP_HISTORY = """
CREATE FUNCTION keep_number_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.taxpayer_id, OLD.environment, OLD.prefix, OLD.sequence, OLD.range_id, OLD.range_first, OLD.range_last)
       IS DISTINCT FROM
       (NEW.taxpayer_id, NEW.environment, NEW.prefix, NEW.sequence, NEW.range_id, NEW.range_first, NEW.range_last)
       OR NEW.step <> OLD.step + 1
       OR (OLD.status, NEW.status) NOT IN (TRANSITIONS)
    THEN
        RAISE EXCEPTION 'a number goes from % to % by no step that there is', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'number_transition';
    END IF;
    INSERT INTO number_history (taxpayer_id, environment, prefix, sequence, step, status, issue_request_id, bound_to,
        issue_date, assigned_at, changed_at, changed_by, requested_by, event_id)
    VALUES (OLD.taxpayer_id, OLD.environment, OLD.prefix, OLD.sequence, OLD.step, OLD.status, OLD.issue_request_id,
        OLD.bound_to, OLD.issue_date, OLD.assigned_at, OLD.changed_at, OLD.changed_by, OLD.requested_by, OLD.event_id);
    RETURN NEW;
END
$$
""".replace("TRANSITIONS", "\n        , ".join(f"('{before}', '{after}')" for before, after in TRANSITIONS))

_REFUSE_CHANGE = """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are kept as they are', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END
$$
"""

#: Functions and triggers, in the order of their making.
GUARDS = (
    _KEEP_HISTORY,
    _REFUSE_CHANGE,
    """
CREATE TRIGGER number_changes_by_steps BEFORE UPDATE ON numbers
FOR EACH ROW EXECUTE FUNCTION keep_number_history()
""",
    """
CREATE TRIGGER number_begins_available_or_assigned BEFORE INSERT ON numbers
FOR EACH ROW WHEN (NEW.status NOT IN ('available', 'assigned') OR NEW.step <> 1)
EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER number_is_never_removed BEFORE DELETE ON numbers
FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER history_is_append_only BEFORE UPDATE OR DELETE ON number_history
FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
)


@event.listens_for(metadata, "after_create")
def set_guards(_target: MetaData, connection: Connection, **_options: object) -> None:
    """Set the guards where the tables are made from the models."""
    for guard in GUARDS:
        connection.execute(text(guard))
