"""Keep when each message came into the outbox: how old the oldest is shows whether events go out.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time; of what stands there now it is the time of the migration."""
    op.add_column(
        "outbox", sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.text("now()"))
    )


def downgrade() -> None:
    """Forget it."""
    op.drop_column("outbox", "created_at")
