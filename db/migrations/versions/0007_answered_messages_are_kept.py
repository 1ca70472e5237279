"""Keep the messages that were answered: only a copy of a request that waited in vain may be forgotten.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Let the database refuse to remove or change what was answered."""
    op.execute(
        sa.text("""
CREATE TRIGGER answered_message_is_kept BEFORE DELETE OR UPDATE ON answered_messages
FOR EACH ROW WHEN (OLD.answered) EXECUTE FUNCTION refuse_change()
"""),
    )


def downgrade() -> None:
    """Take the guard away."""
    op.execute(sa.text("DROP TRIGGER answered_message_is_kept ON answered_messages"))
