"""Find a request's number by taxpayer and request first, then by environment.

Before a table is first analysed the planner holds every key's first columns for equally telling. With the environment
second, it took the primary key for as good a way to a request's number as this index, and read all numbers of the
taxpayer for each request. What asks for a request's number now names columns that only this index begins with.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NAME = "uq_numbers_issue_request"
_HOLDER = "(coalesce(issue_request_id, bound_to))"
_WHERE = sa.text("issue_request_id IS NOT NULL OR bound_to IS NOT NULL")


def upgrade() -> None:
    """Put the request before the environment."""
    _index("taxpayer_id", _HOLDER, "environment")


def downgrade() -> None:
    """Put the environment before the request."""
    _index("taxpayer_id", "environment", _HOLDER)


def _index(*columns: str) -> None:
    op.drop_index(_NAME, "numbers")
    op.create_index(
        _NAME,
        "numbers",
        [sa.literal_column(column) for column in columns],
        unique=True,
        postgresql_where=_WHERE,
    )
