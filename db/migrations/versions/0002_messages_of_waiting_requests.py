"""What repeats a request that waits is remembered, and counts as answered once its request is."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_COMMENT = "Messages that repeated {}: once its number is released, a late copy gets no new one."


def upgrade() -> None:
    """Tell answered messages from those whose request waits."""
    op.add_column("answered_messages", sa.Column("answered", sa.Boolean, nullable=False, server_default="true"))
    op.create_table_comment("answered_messages", _COMMENT.format("a request"))


def downgrade() -> None:
    """Forget what waits."""
    op.execute("DELETE FROM answered_messages WHERE NOT answered")
    op.drop_column("answered_messages", "answered")
    op.create_table_comment("answered_messages", _COMMENT.format("an answered request"))
