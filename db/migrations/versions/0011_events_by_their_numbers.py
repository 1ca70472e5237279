"""Let no two changes of numbers name the same event: an event's id begins with the number and the step that it is of.

Rows of before have ids that say nothing of this, under which their events were told: they are kept as they are, and go
into the history as they are. NOT VALID would pass over them here, but refuse each when the number's next change puts it
into the history, and no restored copy or audit could tell that the constraint holds. So where there are such rows it
holds for what is changed after the last of them; a database without any gets it as the models have it.

Revision ID: 0011
Revises: 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = ("numbers", "number_history")
_NAMES_ITS_EVENT = """
    CASE WHEN status = 'expired' OR (status = 'available' AND step = 1)
         THEN substr(event_id::text, 15, 1) = '5'
         ELSE starts_with(event_id::text, to_char(prefix, 'FM000000')
                                          || to_char(sequence, 'FM00"-"0000"-8"000"-8"000"-"00')
                                          || lpad(to_hex(step::integer), 4, '0'))
    END
"""
_LAST_OF_BEFORE = " UNION ALL ".join(
    f"SELECT max(changed_at) AS changed_at FROM {table} WHERE NOT ({_NAMES_ITS_EVENT})"  # noqa: S608 -- constants
    for table in _TABLES
)


def upgrade() -> None:
    """Hold what is changed from now on to it."""
    last = op.get_bind().scalar(sa.text(f"SELECT max(changed_at) FROM ({_LAST_OF_BEFORE}) AS rows"))  # noqa: S608
    told_before = "" if last is None else f"changed_at <= TIMESTAMPTZ '{last.isoformat()}' OR "
    for table in _TABLES:
        op.create_check_constraint(op.f(f"ck_{table}_event"), table, f"{told_before}{_NAMES_ITS_EVENT}")


def downgrade() -> None:
    """Let any row name any event."""
    for table in _TABLES:
        op.drop_constraint(op.f(f"ck_{table}_event"), table)
