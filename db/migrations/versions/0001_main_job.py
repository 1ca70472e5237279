"""The main job: organisations, stocks, ranges, numbers, claims, waiting requests, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Build every table of the main job."""
    op.execute(sa.schema.CreateSequence(sa.Sequence("queue_positions")))
    op.create_table(
        "channels",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("using_unit_id", sa.Text(), nullable=False),
        sa.Column("automatic_claims", sa.Boolean(), nullable=False),
        sa.Column("claim_quantity", sa.Integer(), nullable=False),
        sa.Column("claim_sizing", sa.Text(), nullable=False),
        sa.Column("low_threshold", sa.Numeric(precision=5, scale=4), nullable=False),
        sa.CheckConstraint("channel_mode IN ('self-use', 'on-behalf', 'joint')", name=op.f("ck_channels_mode")),
        sa.CheckConstraint("claim_sizing IN ('fixed', 'demand')", name=op.f("ck_channels_sizing")),
        sa.CheckConstraint("claim_quantity BETWEEN 1 AND 5000", name=op.f("ck_channels_quantity")),
        sa.CheckConstraint("low_threshold BETWEEN 0 AND 1", name=op.f("ck_channels_threshold")),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "channel_mode", name=op.f("pk_channels")),
        comment="A taxpayer's line to LeQi in one channel mode: the unit that it uses, and its claim policy.",
    )
    op.create_table(
        "deployment",
        sa.Column("single", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("environment IN ('production', 'sandbox')", name=op.f("ck_deployment_environment")),
        sa.CheckConstraint("single", name=op.f("ck_deployment_single")),
        sa.PrimaryKeyConstraint("single", name=op.f("pk_deployment")),
        comment="Which environment this database serves: one row, written by the first migration run.",
    )
    op.create_table(
        "direct_units",
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("direct_unit_id", sa.Text(), nullable=False),
        sa.Column("throttled_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("concurrency_limit", sa.Integer(), nullable=True),
        sa.CheckConstraint("concurrency_limit >= 1", name=op.f("ck_direct_units_limit")),
        sa.PrimaryKeyConstraint("environment", "direct_unit_id", name=op.f("pk_direct_units")),
        comment="LeQi's throttle binds the direct unit (直连单位), so its wait and limit bind all workers from here.",
    )
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
    op.create_table(
        "refreshes",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("refresh_id", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "refresh_id", name=op.f("pk_refreshes")),
        comment="What each refresh was answered with, so that the same refresh gets the same answer.",
    )
    op.create_table(
        "stocks",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=False),
        sa.Column("level", sa.Text(), server_default="new", nullable=False),
        sa.Column("episode", sa.Integer(), server_default="0", nullable=False),
        sa.Column("exhausted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("wanted_by", sa.Text(), nullable=True),
        sa.Column("last_claimed", sa.Integer(), nullable=True),
        sa.Column("claim_not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_at_most", sa.Integer(), nullable=True),
        sa.Column("failed_claims", sa.SmallInteger(), server_default="0", nullable=False),
        sa.CheckConstraint("channel_mode IN ('self-use', 'on-behalf', 'joint')", name=op.f("ck_stocks_mode")),
        sa.CheckConstraint("level <> 'exhausted' OR exhausted_at IS NOT NULL", name=op.f("ck_stocks_exhausted_at")),
        sa.CheckConstraint("level IN ('new', 'ok', 'low', 'exhausted')", name=op.f("ck_stocks_level")),
        sa.CheckConstraint("claim_at_most BETWEEN 1 AND 5000", name=op.f("ck_stocks_claim_at_most")),
        sa.CheckConstraint("year BETWEEN 2000 AND 2099", name=op.f("ck_stocks_year")),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "channel_mode", "year", name=op.f("pk_stocks")),
        comment="The one lock of issuing and claiming; level and episode make each exhaustion happen once.",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "ix_stocks_claimless",
        "stocks",
        ["environment", "year"],
        unique=False,
        postgresql_where=sa.text("level IN ('new', 'low', 'exhausted')"),
    )
    op.create_table(
        "organizations",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "channel_mode"],
            ["channels.taxpayer_id", "channels.environment", "channels.channel_mode"],
            name=op.f("fk_organizations_channel"),
        ),
        sa.PrimaryKeyConstraint("environment", "code", name=op.f("pk_organizations")),
        sa.UniqueConstraint("taxpayer_id", "environment", "code", name="uq_organizations_taxpayer"),
        comment="The codes by which invoicing names its companies; several may share a channel and so a stock.",
    )
    op.create_table(
        "claims",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=False),
        sa.Column("claim_mode", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=True),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=True),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("using_unit_id", sa.Text(), nullable=False),
        sa.Column("business_serial", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("unknown_outcomes", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("calling_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("settled_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "CASE WHEN status IN ('open', 'unresolved') THEN next_attempt_at IS NOT NULL AND settled_at"
            " IS NULL ELSE next_attempt_at IS NULL AND settled_at IS NOT NULL END",
            name=op.f("ck_claims_goes_on"),
        ),
        sa.CheckConstraint(
            "claim_mode = 'automatic' OR organization IS NOT NULL", name=op.f("ck_claims_manual_organization")
        ),
        sa.CheckConstraint("claim_mode IN ('manual', 'automatic')", name=op.f("ck_claims_mode")),
        sa.CheckConstraint("form IN ('single', 'batch')", name=op.f("ck_claims_form")),
        sa.CheckConstraint(
            "quantity BETWEEN 1 AND CASE claim_mode WHEN 'manual' THEN 1000 ELSE 5000 END",
            name=op.f("ck_claims_quantity"),
        ),
        sa.CheckConstraint(
            "status IN ('open', 'unresolved', 'granted', 'refused', 'quarantined', 'abandoned')",
            name=op.f("ck_claims_status"),
        ),
        sa.CheckConstraint("length(business_serial) BETWEEN 1 AND 100", name=op.f("ck_claims_business_serial")),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "channel_mode", "year"],
            ["stocks.taxpayer_id", "stocks.environment", "stocks.channel_mode", "stocks.year"],
            name=op.f("fk_claims_stock"),
        ),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "organization"],
            ["organizations.taxpayer_id", "organizations.environment", "organizations.code"],
            name=op.f("fk_claims_organization"),
        ),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "claim_id", name=op.f("pk_claims")),
        sa.UniqueConstraint("taxpayer_id", "environment", "business_serial", name="uq_claims_business_serial"),
        comment="Every claim, written before LeQi is called, also a refused one (领用记录).",
    )
    op.create_index(
        "ix_claims_due",
        "claims",
        ["environment", "next_attempt_at"],
        unique=False,
        postgresql_where=sa.text("status IN ('open', 'unresolved')"),
    )
    op.create_index(
        "uq_claims_one_open_automatic",
        "claims",
        ["taxpayer_id", "environment", "channel_mode", "year"],
        unique=True,
        postgresql_where=sa.text("status = 'open' AND claim_mode = 'automatic'"),
    )
    op.create_table(
        "issue_requests",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("issue_request_id", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("issue_date", sa.Date(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("queue_position", sa.BigInteger(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'waiting') = (queue_position IS NOT NULL) AND (queue_position IS NULL) ="
            " (waiting_since IS NULL)",
            name=op.f("ck_issue_requests_waiting"),
        ),
        sa.CheckConstraint(
            "channel_mode IN ('self-use', 'on-behalf', 'joint')", name=op.f("ck_issue_requests_channel_mode")
        ),
        sa.CheckConstraint("form IN ('single', 'batch')", name=op.f("ck_issue_requests_form")),
        sa.CheckConstraint("kind IN ('blue', 'red')", name=op.f("ck_issue_requests_kind")),
        sa.CheckConstraint("status IN ('waiting', 'assigned', 'closed')", name=op.f("ck_issue_requests_status")),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "organization"],
            ["organizations.taxpayer_id", "organizations.environment", "organizations.code"],
            name=op.f("fk_issue_requests_organization"),
        ),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "issue_request_id", name=op.f("pk_issue_requests")),
        comment="One row for each issue request ever accepted: waiting, assigned or closed.",
    )
    op.create_index(
        "ix_issue_requests_waiting",
        "issue_requests",
        [
            "taxpayer_id",
            "environment",
            "channel_mode",
            sa.literal_column("(EXTRACT(year FROM issue_date))"),
            "queue_position",
        ],
        unique=False,
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "ranges",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("range_id", sa.Uuid(), nullable=False),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("year", sa.SmallInteger(), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False),
        sa.Column("last_sequence", sa.BigInteger(), nullable=False),
        sa.Column("next_sequence", sa.BigInteger(), nullable=False),
        sa.Column("claim_mode", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("claim_id", sa.Text(), nullable=True),
        sa.Column("organization", sa.Text(), nullable=True),
        sa.Column("listed_serial", sa.Text(), nullable=True),
        sa.Column("listed_unused", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        postgresql.ExcludeConstraint(
            (
                sa.text(
                    "numrange(prefix::numeric * 100000000000000 + first_sequence, prefix::numeric *"
                    " 100000000000000 + last_sequence, '[]')"
                ),
                "&&",
            ),
            where=sa.text("environment = 'production' AND status NOT IN ('quarantined', 'foreign')"),
            using="gist",
            name="ex_ranges_overlap_production",
        ),
        postgresql.ExcludeConstraint(
            (
                sa.text(
                    "numrange(prefix::numeric * 100000000000000 + first_sequence, prefix::numeric *"
                    " 100000000000000 + last_sequence, '[]')"
                ),
                "&&",
            ),
            where=sa.text("environment = 'sandbox' AND status NOT IN ('quarantined', 'foreign')"),
            using="gist",
            name="ex_ranges_overlap_sandbox",
        ),
        sa.CheckConstraint(
            "claim_mode = 'automatic' OR status IN ('quarantined', 'foreign') OR next_sequence = last_sequence + 1",
            name=op.f("ck_ranges_manual_is_split"),
        ),
        sa.CheckConstraint("claim_mode IN ('manual', 'automatic')", name=op.f("ck_ranges_mode")),
        sa.CheckConstraint(
            "status <> 'foreign' OR next_sequence = first_sequence", name=op.f("ck_ranges_foreign_is_untouched")
        ),
        sa.CheckConstraint("status <> 'used-up' OR next_sequence = last_sequence + 1", name=op.f("ck_ranges_used_up")),
        sa.CheckConstraint(
            "status = 'quarantined' OR prefix % 100 = CASE channel_mode WHEN 'self-use' THEN 70 WHEN"
            " 'on-behalf' THEN 71 WHEN 'joint' THEN 72 END",
            name=op.f("ck_ranges_channel"),
        ),
        sa.CheckConstraint(
            "status IN ('active', 'used-up', 'expired', 'retired', 'quarantined', 'foreign')",
            name=op.f("ck_ranges_status"),
        ),
        sa.CheckConstraint(
            "first_sequence >= 0 AND first_sequence <= last_sequence AND last_sequence < 100000000000000",
            name=op.f("ck_ranges_extent"),
        ),
        sa.CheckConstraint("next_sequence BETWEEN first_sequence AND last_sequence + 1", name=op.f("ck_ranges_cursor")),
        sa.CheckConstraint("prefix / 10000 = year % 100", name=op.f("ck_ranges_year")),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "channel_mode", "year"],
            ["stocks.taxpayer_id", "stocks.environment", "stocks.channel_mode", "stocks.year"],
            name=op.f("fk_ranges_stock"),
        ),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "claim_id"],
            ["claims.taxpayer_id", "claims.environment", "claims.claim_id"],
            name=op.f("fk_ranges_claim"),
        ),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "range_id", name=op.f("pk_ranges")),
        sa.UniqueConstraint("taxpayer_id", "environment", "claim_id", name="uq_ranges_claim"),
        sa.UniqueConstraint(
            "taxpayer_id",
            "environment",
            "range_id",
            "prefix",
            "first_sequence",
            "last_sequence",
            name="uq_ranges_extent",
        ),
        comment="Number ranges (号段): an extent and a cursor; taking k numbers is one update of one row.",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        "ix_ranges_stock",
        "ranges",
        ["taxpayer_id", "environment", "channel_mode", "year", "created_at"],
        unique=False,
        postgresql_where=sa.text("status = 'active' AND claim_mode = 'automatic'"),
    )
    op.create_table(
        "numbers",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("range_id", sa.Uuid(), nullable=False),
        sa.Column("range_first", sa.BigInteger(), nullable=False),
        sa.Column("range_last", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("issue_request_id", sa.Text(), nullable=True),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(status = 'assigned') = (issue_request_id IS NOT NULL) AND (issue_request_id IS NULL) ="
            " (issue_date IS NULL) AND (issue_request_id IS NULL) = (assigned_at IS NULL)",
            name=op.f("ck_numbers_assigned"),
        ),
        sa.CheckConstraint("status IN ('available', 'assigned', 'expired')", name=op.f("ck_numbers_status")),
        sa.CheckConstraint("EXTRACT(year FROM issue_date) = 2000 + prefix / 10000", name=op.f("ck_numbers_year")),
        sa.CheckConstraint("sequence BETWEEN range_first AND range_last", name=op.f("ck_numbers_in_range")),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "issue_request_id"],
            ["issue_requests.taxpayer_id", "issue_requests.environment", "issue_requests.issue_request_id"],
            name=op.f("fk_numbers_issue_request"),
        ),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "range_id", "prefix", "range_first", "range_last"],
            [
                "ranges.taxpayer_id",
                "ranges.environment",
                "ranges.range_id",
                "ranges.prefix",
                "ranges.first_sequence",
                "ranges.last_sequence",
            ],
            name=op.f("fk_numbers_range"),
        ),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "prefix", "sequence", name=op.f("pk_numbers")),
        comment="One row for each number that was assigned, or split off a manual range.",
    )
    op.create_index(
        "ix_numbers_available",
        "numbers",
        ["taxpayer_id", "environment", "range_id"],
        unique=False,
        postgresql_where=sa.text("status = 'available'"),
    )
    op.create_index(
        "uq_numbers_issue_request",
        "numbers",
        ["taxpayer_id", "environment", "issue_request_id"],
        unique=True,
        postgresql_where=sa.text("issue_request_id IS NOT NULL"),
    )


def downgrade() -> None:
    """Remove every table of the main job, and with them all that they hold."""
    op.drop_table("numbers")
    op.drop_table("ranges")
    op.drop_table("issue_requests")
    op.drop_table("claims")
    op.drop_table("organizations")
    op.drop_table("stocks")
    op.drop_table("refreshes")
    op.drop_table("outbox")
    op.drop_table("direct_units")
    op.drop_table("deployment")
    op.drop_table("channels")
    op.execute(sa.schema.DropSequence(sa.Sequence("queue_positions")))
