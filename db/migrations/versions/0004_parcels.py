"""A row of the outbox is a parcel of messages: a row for each cost as much as its number's row."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make a parcel of each message that lies there."""
    op.execute("CREATE TEMP TABLE messages ON COMMIT DROP AS SELECT * FROM outbox")
    op.drop_table("outbox")
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_ids", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("routing_keys", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("content_types", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.SmallInteger()), nullable=False),
        sa.Column("sizes", postgresql.ARRAY(sa.Integer()), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("publish_after", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("1 <= ALL (events) AND 1000 >= ALL (events)", name=op.f("ck_outbox_events")),
        sa.CheckConstraint(
            "cardinality(message_ids) BETWEEN 1 AND 1000 AND cardinality(routing_keys) = cardinality(message_ids)"
            " AND cardinality(content_types) = cardinality(message_ids)"
            " AND cardinality(events) = cardinality(message_ids) AND cardinality(sizes) = cardinality(message_ids)",
            name=op.f("ck_outbox_messages"),
        ),
        sa.PrimaryKeyConstraint("outbox_id", name=op.f("pk_outbox")),
        comment="Parcels of messages whose facts are committed, and that the broker has not confirmed yet; one body behind"
        " the other.",
    )
    op.execute(
        """
        INSERT INTO outbox (message_ids, routing_keys, content_types, events, sizes, body, publish_after)
        SELECT ARRAY[message_id], ARRAY[routing_key], ARRAY[content_type], ARRAY[events], ARRAY[octet_length(body)],
            body, publish_after
        FROM messages ORDER BY outbox_id
        """,
    )


def downgrade() -> None:
    """Make a row of each message of the parcels."""
    op.execute("CREATE TEMP TABLE parcels ON COMMIT DROP AS SELECT * FROM outbox")
    op.drop_table("outbox")
    op.create_table(
        "outbox",
        sa.Column("outbox_id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("routing_key", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("events", sa.SmallInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("publish_after", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("events BETWEEN 1 AND 1000", name=op.f("ck_outbox_events")),
        sa.PrimaryKeyConstraint("outbox_id", name=op.f("pk_outbox")),
        comment="Messages whose facts are committed and that the broker has not confirmed yet.",
    )
    op.execute(
        """
        INSERT INTO outbox (message_id, routing_key, content_type, events, body, publish_after)
        SELECT v.message_id, v.routing_key, v.content_type, v.events,
            substr(p.body, CAST(1 + v.until - v.size AS integer), v.size), p.publish_after
        FROM parcels AS p, LATERAL (
            SELECT *, sum(size) OVER (ORDER BY place) AS until
            FROM unnest(p.message_ids, p.routing_keys, p.content_types, p.events, p.sizes) WITH ORDINALITY
                AS each (message_id, routing_key, content_type, events, size, place)) AS v
        ORDER BY p.outbox_id, v.place
        """,
    )
