"""Let the database write a number's history under its owner's rights, so that no worker's role needs to.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Run the function that keeps the history as its owner, on the tables of this schema alone."""
    op.execute(
        sa.text("""
DO $$ BEGIN
    EXECUTE format('ALTER FUNCTION keep_number_history() SECURITY DEFINER SET search_path = %I, pg_temp',
                   current_schema());
END $$
"""),
    )


def downgrade() -> None:
    """Run it as whoever changes a number."""
    op.execute(sa.text("ALTER FUNCTION keep_number_history() SECURITY INVOKER RESET search_path"))
