"""Store a number only once its range's cursor has passed it, and let no cursor go back.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_PASSED = """
CREATE OR REPLACE FUNCTION require_range_and_request() RETURNS trigger LANGUAGE plpgsql
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

_NAMED = """
CREATE OR REPLACE FUNCTION require_range_and_request() RETURNS trigger LANGUAGE plpgsql
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
"""


def upgrade() -> None:
    """Look at the cursor where the range is looked up anyway."""
    op.execute(sa.text(_PASSED))
    op.execute(
        sa.text("""
CREATE TRIGGER range_cursor_never_goes_back BEFORE UPDATE OF next_sequence ON ranges
FOR EACH ROW WHEN (NEW.next_sequence < OLD.next_sequence) EXECUTE FUNCTION refuse_change()
"""),
    )


def downgrade() -> None:
    """Look at the range alone."""
    op.execute(sa.text("DROP TRIGGER range_cursor_never_goes_back ON ranges"))
    op.execute(sa.text(_NAMED))
