"""Store the bodies of a parcel as they are: compressing what is removed a moment later costs more than writing it.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Compress no more."""
    op.execute(sa.text("ALTER TABLE outbox ALTER COLUMN body SET STORAGE EXTERNAL"))


def downgrade() -> None:
    """Compress again."""
    op.execute(sa.text("ALTER TABLE outbox ALTER COLUMN body SET STORAGE EXTENDED"))
