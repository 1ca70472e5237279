"""Guards in place of three foreign keys, whose look at each row by itself took most of the database's time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: Functions and triggers that take the place of the keys, as they were when this version was written.
_GUARDS = (
    """
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
""",
    """
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
""",
    """
CREATE FUNCTION require_range_and_request() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
BEGIN
    IF EXISTS (
        SELECT FROM (
            SELECT DISTINCT taxpayer_id, environment, range_id, prefix, range_first, range_last FROM stored) AS k
        WHERE NOT EXISTS (
            SELECT FROM ranges AS r
            WHERE r.taxpayer_id = k.taxpayer_id AND r.environment = k.environment AND r.range_id = k.range_id
              AND r.prefix = k.prefix AND r.first_sequence = k.range_first AND r.last_sequence = k.range_last))
    THEN
        RAISE EXCEPTION 'a number names a range of that extent that is not there'
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
""",
    """
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
""",
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

_FUNCTIONS = (
    "require_organization",
    "keep_organization_of_requests",
    "require_range_and_request",
    "keep_while_pointed_at",
)


def upgrade() -> None:
    """Put the guards up, then take the keys away; every row that is there was let in by a key."""
    for guard in _GUARDS:
        op.execute(sa.text(guard))
    op.drop_constraint("fk_issue_requests_organization", "issue_requests")
    op.drop_constraint("fk_numbers_range", "numbers")
    op.drop_constraint("fk_numbers_issue_request", "numbers")


def downgrade() -> None:
    """Bring the keys back, which judges every row, then take the guards away."""
    op.create_foreign_key(
        "fk_issue_requests_organization",
        "issue_requests",
        "organizations",
        ["taxpayer_id", "environment", "organization"],
        ["taxpayer_id", "environment", "code"],
    )
    op.create_foreign_key(
        "fk_numbers_range",
        "numbers",
        "ranges",
        ["taxpayer_id", "environment", "range_id", "prefix", "range_first", "range_last"],
        ["taxpayer_id", "environment", "range_id", "prefix", "first_sequence", "last_sequence"],
    )
    op.create_foreign_key(
        "fk_numbers_issue_request",
        "numbers",
        "issue_requests",
        ["taxpayer_id", "environment", "issue_request_id"],
        ["taxpayer_id", "environment", "issue_request_id"],
    )
    for function in _FUNCTIONS:
        op.execute(f"DROP FUNCTION {function}() CASCADE")
    op.execute("DROP TRIGGER range_keeps_its_extent ON ranges")
    op.execute("DROP TRIGGER request_keeps_its_key ON issue_requests")
