"""Guards: what constraints can't say, or say too slowly, kept by the database's own triggers.

A number changes its state only by a step of the drawing, and every state that it had is kept.

No change of a number is committed without an outbox row of the same transaction that names its event: whatever code
forgets to tell of one, fails. It holds against mistakes, not against an owner who switches it off.

A number is stored only once its range's cursor has passed it, and a cursor never goes back: so no number is given out
twice, whatever a worker believes of its cursor.

What a request and a number point to is looked up once for a statement's rows together: a foreign key asks for each row
by itself, which took more than half of the database's time of an invoice.
The guards refuse what the keys refused, under their names and SQLSTATE: a row whose other end isn't there.
That it stays there: ranges and requests are never removed and never change what is pointed at, so no lock is needed;
an organisation may move to another taxpayer while nobody has asked for it, so it is locked against that as a key does.
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

# The plans are made once for a session, perhaps while tables are empty: they may use indexes and nothing else.
_REQUIRE_ORGANIZATION = """
CREATE FUNCTION require_organization() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    missing bigint;
BEGIN
    WITH named AS (SELECT DISTINCT taxpayer_id, environment, organization FROM stored),
    found AS (
        SELECT FROM named AS k
        JOIN organizations AS o
          ON o.environment = k.environment AND o.code = k.organization AND o.taxpayer_id = k.taxpayer_id
        FOR KEY SHARE OF o)
    SELECT (SELECT count(*) FROM named) - (SELECT count(*) FROM found) INTO missing;
    IF missing <> 0 THEN
        RAISE EXCEPTION 'a request names an organization that is not there'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'fk_issue_requests_organization';
    END IF;
    RETURN NULL;
END
$$
"""

_KEEP_ORGANIZATION = """
CREATE FUNCTION keep_organization_of_requests() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (
        SELECT FROM issue_requests AS q
        WHERE q.taxpayer_id = OLD.taxpayer_id AND q.environment = OLD.environment AND q.organization = OLD.code)
    THEN
        RAISE EXCEPTION 'an organization that has requests keeps its taxpayer'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'fk_issue_requests_organization';
    END IF;
    RETURN NULL;
END
$$
"""

_REQUIRE_RANGE_AND_REQUEST = """
CREATE FUNCTION require_range_and_request() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (
            SELECT taxpayer_id, environment, range_id, prefix, range_first, range_last, max(sequence) AS furthest
            FROM stored GROUP BY taxpayer_id, environment, range_id, prefix, range_first, range_last) AS k
        WHERE NOT EXISTS (
            SELECT FROM ranges AS r
            WHERE r.taxpayer_id = k.taxpayer_id AND r.environment = k.environment AND r.range_id = k.range_id
              AND r.prefix = k.prefix AND r.first_sequence = k.range_first AND r.last_sequence = k.range_last
              AND r.next_sequence > k.furthest))
    THEN
        RAISE EXCEPTION 'a number names a range of that extent that is not there, or whose cursor has not passed it'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'fk_numbers_range';
    END IF;
    IF EXISTS (
        SELECT FROM stored AS n
        WHERE n.issue_request_id IS NOT NULL AND NOT EXISTS (
            SELECT FROM issue_requests AS q
            WHERE q.taxpayer_id = n.taxpayer_id AND q.environment = n.environment
              AND q.issue_request_id = n.issue_request_id))
    THEN
        RAISE EXCEPTION 'a number names a request that is not there'
            USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'fk_numbers_issue_request';
    END IF;
    RETURN NULL;
END
$$
"""

_KEEP_WHILE_POINTED_AT = """
CREATE FUNCTION keep_while_pointed_at() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    is_pointed_at boolean;
BEGIN
    EXECUTE format('SELECT EXISTS (SELECT FROM %I)', TG_ARGV[0]) INTO is_pointed_at;
    IF is_pointed_at THEN
        RAISE EXCEPTION '% is not emptied while there are %', TG_TABLE_NAME, TG_ARGV[0]
            USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END
$$
"""

_NOTE_CHANGES = """
CREATE FUNCTION note_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO untold_changes (event_ids)
    SELECT array_agg(event_id) FROM (SELECT DISTINCT event_id FROM stored) AS changed HAVING count(*) > 0;
    RETURN NULL;
END
$$
"""

_REQUIRE_TOLD = """
CREATE FUNCTION require_told() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    untold boolean;
BEGIN
    -- The first of a transaction's changes looks for all of them.
    WITH noted AS (DELETE FROM untold_changes WHERE transaction_id = NEW.transaction_id RETURNING event_ids)
    SELECT EXISTS (
        SELECT unnest(event_ids) FROM noted
        EXCEPT
        SELECT unnest(o.event_ids) FROM outbox AS o WHERE o.transaction_id = NEW.transaction_id) INTO untold;
    IF untold THEN
        RAISE EXCEPTION 'a change of a number is told by no event in the outbox'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'change_is_told';
    END IF;
    RETURN NULL;
END
$$
"""

#: What is noted at a change of numbers, and looked for in the outbox at the commit.
_TOLD = (
    _NOTE_CHANGES,
    _REQUIRE_TOLD,
    """
CREATE TRIGGER number_is_to_be_told AFTER INSERT ON numbers
REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION note_changes()
""",
    """
CREATE TRIGGER changed_number_is_to_be_told AFTER UPDATE ON numbers
REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION note_changes()
""",
    """
CREATE CONSTRAINT TRIGGER change_is_told AFTER INSERT ON untold_changes DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION require_told()
""",
    # What was found may not be taken back before the commit.
    """
CREATE TRIGGER outbox_keeps_what_it_told BEFORE DELETE OR UPDATE OF transaction_id, event_ids ON outbox
FOR EACH ROW WHEN (OLD.transaction_id = (pg_current_xact_id())::text::bigint) EXECUTE FUNCTION refuse_change()
""",
)

#: The other ends of what replaced foreign keys.
_ENDS = (
    _REQUIRE_ORGANIZATION,
    _KEEP_ORGANIZATION,
    _REQUIRE_RANGE_AND_REQUEST,
    _KEEP_WHILE_POINTED_AT,
    """
CREATE TRIGGER request_has_its_organization AFTER INSERT ON issue_requests
REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION require_organization()
""",
    """
CREATE TRIGGER changed_request_has_its_organization AFTER UPDATE ON issue_requests
REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION require_organization()
""",
    """
CREATE TRIGGER organization_keeps_its_requests AFTER DELETE ON organizations
FOR EACH ROW EXECUTE FUNCTION keep_organization_of_requests()
""",
    """
CREATE TRIGGER moved_organization_keeps_its_requests AFTER UPDATE ON organizations
FOR EACH ROW WHEN ((OLD.taxpayer_id, OLD.environment, OLD.code) IS DISTINCT FROM
                   (NEW.taxpayer_id, NEW.environment, NEW.code))
EXECUTE FUNCTION keep_organization_of_requests()
""",
    """
CREATE TRIGGER number_has_its_range_and_request AFTER INSERT ON numbers
REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION require_range_and_request()
""",
    """
CREATE TRIGGER changed_number_has_its_range_and_request AFTER UPDATE ON numbers
REFERENCING NEW TABLE AS stored FOR EACH STATEMENT EXECUTE FUNCTION require_range_and_request()
""",
    """
CREATE TRIGGER range_keeps_its_extent BEFORE DELETE
OR UPDATE OF taxpayer_id, environment, range_id, prefix, first_sequence, last_sequence ON ranges
FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER range_cursor_never_goes_back BEFORE UPDATE OF next_sequence ON ranges
FOR EACH ROW WHEN (NEW.next_sequence < OLD.next_sequence) EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER request_keeps_its_key BEFORE DELETE
OR UPDATE OF taxpayer_id, environment, issue_request_id ON issue_requests
FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER organizations_are_not_emptied AFTER TRUNCATE ON organizations
FOR EACH STATEMENT EXECUTE FUNCTION keep_while_pointed_at('issue_requests')
""",
    """
CREATE TRIGGER ranges_are_not_emptied AFTER TRUNCATE ON ranges
FOR EACH STATEMENT EXECUTE FUNCTION keep_while_pointed_at('numbers')
""",
    """
CREATE TRIGGER requests_are_not_emptied AFTER TRUNCATE ON issue_requests
FOR EACH STATEMENT EXECUTE FUNCTION keep_while_pointed_at('numbers')
""",
)

# A worker's role may write neither history nor what is untold: the triggers do, with their owner's rights (`db.roles`).
# Such a function must not find another table of that name first, not even a temporary one.
BY_THE_OWNER = """
DO $$ DECLARE
    function text;
BEGIN
    FOREACH function IN ARRAY ARRAY['keep_number_history', 'note_changes', 'require_told'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SECURITY DEFINER SET search_path = %I, pg_temp',
                       function, current_schema());
    END LOOP;
END $$
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
    *_ENDS,
    *_TOLD,
    # A late copy of such a message would bring a second number; of what waited in vain none came.
    """
CREATE TRIGGER answered_message_is_kept BEFORE DELETE OR UPDATE ON answered_messages
FOR EACH ROW WHEN (OLD.answered) EXECUTE FUNCTION refuse_change()
""",
    BY_THE_OWNER,
)


@event.listens_for(metadata, "after_create")
def set_guards(_target: MetaData, connection: Connection, **_options: object) -> None:
    """Set the guards where the tables are made from the models."""
    for guard in GUARDS:
        connection.execute(text(guard))
