"""Commit no change of a number without its event in the outbox.

Parcels of before tell of what is committed: nothing is looked for in them, so they name no events.

Revision ID: 0013
Revises: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_GUARDS = (
    """
CREATE FUNCTION note_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO untold_changes (event_ids)
    SELECT array_agg(event_id) FROM (SELECT DISTINCT event_id FROM stored) AS changed HAVING count(*) > 0;
    RETURN NULL;
END
$$
""",
    """
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
""",
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
    """
CREATE TRIGGER outbox_keeps_what_it_told BEFORE DELETE OR UPDATE OF transaction_id, event_ids ON outbox
FOR EACH ROW WHEN (OLD.transaction_id = (pg_current_xact_id())::text::bigint) EXECUTE FUNCTION refuse_change()
""",
    """
DO $$ DECLARE
    function text;
BEGIN
    FOREACH function IN ARRAY ARRAY['note_changes', 'require_told'] LOOP
        EXECUTE format('ALTER FUNCTION %I() SECURITY DEFINER SET search_path = %I, pg_temp',
                       function, current_schema());
    END LOOP;
END $$
""",
)


def upgrade() -> None:
    """Name the events of parcels, note what changes of numbers are to be told, and look for it at the commit."""
    ids = sa.ARRAY(sa.Uuid())
    own = sa.text("(pg_current_xact_id())::text::bigint")
    op.add_column("outbox", sa.Column("transaction_id", sa.BigInteger(), nullable=False, server_default=own))
    op.add_column("outbox", sa.Column("event_ids", ids, nullable=False, server_default="{}"))
    op.alter_column("outbox", "event_ids", server_default=None)
    op.create_index("ix_outbox_transaction_id", "outbox", ["transaction_id"])
    op.create_table(
        "untold_changes",
        sa.Column("transaction_id", sa.BigInteger(), server_default=own, nullable=False),
        sa.Column("untold_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("event_ids", ids, nullable=False),
        sa.PrimaryKeyConstraint("transaction_id", "untold_id", name="pk_untold_changes"),
        prefixes=["UNLOGGED"],
        comment="The events that changes of numbers name, until the database has found them in the outbox at the"
        " commit; written and emptied by itself.",
    )
    for table in ("outbox", "untold_changes"):
        op.execute(sa.text(f"ALTER TABLE {table} ALTER COLUMN event_ids SET STORAGE EXTERNAL"))
    for guard in _GUARDS:
        op.execute(sa.text(guard))


def downgrade() -> None:
    """Leave it to the worker."""
    for trigger in ("number_is_to_be_told", "changed_number_is_to_be_told"):
        op.execute(sa.text(f"DROP TRIGGER {trigger} ON numbers"))
    op.execute(sa.text("DROP TRIGGER outbox_keeps_what_it_told ON outbox"))
    op.drop_table("untold_changes")
    for function in ("note_changes", "require_told"):
        op.execute(sa.text(f"DROP FUNCTION {function}()"))
    op.drop_index("ix_outbox_transaction_id", table_name="outbox")
    op.drop_column("outbox", "transaction_id")
    op.drop_column("outbox", "event_ids")
