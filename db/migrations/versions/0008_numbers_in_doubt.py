"""Keep an operator's word that the numbers of a range put out of use by a restore are on their requests' invoices alone.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add when it was given."""
    op.add_column("ranges", sa.Column("confirmed_at", sa.DateTime(timezone=True)))
    op.create_check_constraint(
        op.f("ck_ranges_confirmed"),
        "ranges",
        "confirmed_at IS NULL OR (status = 'quarantined' AND closed_at IS NOT NULL)",
    )


def downgrade() -> None:
    """Forget it: these numbers are in doubt again."""
    op.drop_constraint(op.f("ck_ranges_confirmed"), "ranges")
    op.drop_column("ranges", "confirmed_at")
