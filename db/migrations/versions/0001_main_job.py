"""The first version: organisations, stocks, ranges, numbers and their history, claims, requests, outbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

#: Functions and triggers that keep the history of numbers, as they were when this version was written.
_GUARDS = (
    """
CREATE FUNCTION keep_number_history() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.taxpayer_id, OLD.environment, OLD.prefix, OLD.sequence, OLD.range_id, OLD.range_first, OLD.range_last)
       IS DISTINCT FROM
       (NEW.taxpayer_id, NEW.environment, NEW.prefix, NEW.sequence, NEW.range_id, NEW.range_first, NEW.range_last)
       OR NEW.step <> OLD.step + 1
       OR (OLD.status, NEW.status) NOT IN (('available', 'bound')
        , ('available', 'assigned')
        , ('available', 'expired')
        , ('bound', 'available')
        , ('bound', 'assigned')
        , ('bound', 'expired')
        , ('assigned', 'held')
        , ('assigned', 'used')
        , ('assigned', 'available')
        , ('assigned', 'voided')
        , ('held', 'used')
        , ('held', 'available')
        , ('held', 'voided'))
    THEN
        RAISE EXCEPTION 'a number goes from % to % by no step that there is', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'number_transition';
    END IF;
    INSERT INTO number_history (taxpayer_id, environment, prefix, sequence, step, status, issue_request_id, bound_to,
        issue_date, assigned_at, changed_at, changed_by, requested_by, event_id)
    VALUES (OLD.taxpayer_id, OLD.environment, OLD.prefix, OLD.sequence, OLD.step, OLD.status, OLD.issue_request_id,
        OLD.bound_to, OLD.issue_date, OLD.assigned_at, OLD.changed_at, OLD.changed_by, OLD.requested_by, OLD.event_id);
    RETURN NEW;
END
$$
""",
    """
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are kept as they are', TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation', CONSTRAINT = TG_NAME;
END
$$
""",
    """
CREATE TRIGGER number_changes_by_steps BEFORE UPDATE ON numbers
FOR EACH ROW EXECUTE FUNCTION keep_number_history()
""",
    """
CREATE TRIGGER number_begins_available_or_assigned BEFORE INSERT ON numbers
FOR EACH ROW WHEN (NEW.status NOT IN ('available', 'assigned') OR NEW.step <> 1)
EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER number_is_never_removed BEFORE DELETE ON numbers
FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
    """
CREATE TRIGGER history_is_append_only BEFORE UPDATE OR DELETE ON number_history
FOR EACH ROW EXECUTE FUNCTION refuse_change()
""",
)


def upgrade() -> None:
    """Build every table, and the guards of the numbers' history."""
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
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("recovered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("overdue_until", sa.DateTime(timezone=True), nullable=True),
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
        sa.Column("low_at", sa.Integer(), server_default="0", nullable=False),
        sa.Column("claim_not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claim_at_most", sa.Integer(), nullable=True),
        sa.Column("failed_claims", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("paused", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("paused_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("paused_because", sa.Text(), nullable=True),
        sa.CheckConstraint("channel_mode IN ('self-use', 'on-behalf', 'joint')", name=op.f("ck_stocks_mode")),
        sa.CheckConstraint("level <> 'exhausted' OR exhausted_at IS NOT NULL", name=op.f("ck_stocks_exhausted_at")),
        sa.CheckConstraint("level IN ('new', 'ok', 'low', 'exhausted')", name=op.f("ck_stocks_level")),
        sa.CheckConstraint("claim_at_most BETWEEN 1 AND 5000", name=op.f("ck_stocks_claim_at_most")),
        sa.CheckConstraint(
            "paused = (paused_at IS NOT NULL) AND paused = (paused_because IS NOT NULL)", name=op.f("ck_stocks_paused")
        ),
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
        "usage",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("channel_mode", sa.Text(), nullable=False),
        sa.Column("hour", sa.DateTime(timezone=True), nullable=False),
        sa.Column("taken", sa.Integer(), nullable=False),
        sa.CheckConstraint("taken > 0", name=op.f("ck_usage_taken")),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "channel_mode", "hour", name=op.f("pk_usage")),
        comment="How many automatic numbers a taxpayer took in each hour: the rate that claims ahead go by.",
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
            "CASE WHEN status IN ('open', 'unresolved') THEN next_attempt_at IS NOT NULL AND settled_at IS NULL ELSE next_attempt_at IS NULL AND settled_at IS NOT NULL END",
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
        sa.Column("named_number", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("closed_because", sa.Text(), nullable=True),
        sa.Column("form", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("traceparent", sa.Text(), nullable=True),
        sa.Column("queue_position", sa.BigInteger(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("(status = 'closed') = (closed_because IS NOT NULL)", name=op.f("ck_issue_requests_closed")),
        sa.CheckConstraint(
            "(status = 'waiting') = (queue_position IS NOT NULL) AND (queue_position IS NULL) = (waiting_since IS NULL) AND (status <> 'waiting' OR message IS NOT NULL)",
            name=op.f("ck_issue_requests_waiting"),
        ),
        sa.CheckConstraint(
            "channel_mode IN ('self-use', 'on-behalf', 'joint')", name=op.f("ck_issue_requests_channel_mode")
        ),
        sa.CheckConstraint("form IN ('single', 'batch')", name=op.f("ck_issue_requests_form")),
        sa.CheckConstraint("kind IN ('blue', 'red')", name=op.f("ck_issue_requests_kind")),
        sa.CheckConstraint("named_number ~ '^[0-9]{20}$'", name=op.f("ck_issue_requests_named_number")),
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
        "answered_messages",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("issue_request_id", sa.Text(), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "issue_request_id"],
            ["issue_requests.taxpayer_id", "issue_requests.environment", "issue_requests.issue_request_id"],
            name=op.f("fk_answered_messages_issue_request"),
        ),
        sa.PrimaryKeyConstraint(
            "taxpayer_id", "environment", "issue_request_id", "message", name=op.f("pk_answered_messages")
        ),
        comment="Messages that repeated an answered request: once its number is released, a late copy gets no new one.",
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
                    "numrange(prefix::numeric * 100000000000000 + first_sequence, prefix::numeric * 100000000000000 + last_sequence, '[]')"
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
                    "numrange(prefix::numeric * 100000000000000 + first_sequence, prefix::numeric * 100000000000000 + last_sequence, '[]')"
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
            "status = 'quarantined' OR prefix % 100 = CASE channel_mode WHEN 'self-use' THEN 70 WHEN 'on-behalf' THEN 71 WHEN 'joint' THEN 72 END",
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
        sa.Column("bound_to", sa.Text(), nullable=True),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("step", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.CheckConstraint("(status = 'bound') = (bound_to IS NOT NULL)", name=op.f("ck_numbers_bound")),
        sa.CheckConstraint(
            "(status IN ('assigned', 'held', 'used')) = (issue_request_id IS NOT NULL) AND (issue_request_id IS NULL) = (issue_date IS NULL) AND (issue_request_id IS NULL) = (assigned_at IS NULL)",
            name=op.f("ck_numbers_assigned"),
        ),
        sa.CheckConstraint(
            "status IN ('available', 'bound', 'assigned', 'held', 'used', 'voided', 'expired')",
            name=op.f("ck_numbers_status"),
        ),
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
        comment="One row for each number that was assigned, or split off a manual range: its present state.",
    )
    op.create_index("ix_numbers_assigned_at", "numbers", ["assigned_at"], unique=False, postgresql_using="brin")
    op.create_index(
        "ix_numbers_available",
        "numbers",
        ["taxpayer_id", "environment", "range_id"],
        unique=False,
        postgresql_where=sa.text("status = 'available'"),
    )
    op.create_index(
        "ix_numbers_bound",
        "numbers",
        ["taxpayer_id", "environment", "bound_to"],
        unique=False,
        postgresql_where=sa.text("status = 'bound'"),
    )
    op.create_index(
        "uq_numbers_issue_request",
        "numbers",
        ["taxpayer_id", "environment", sa.literal_column("(coalesce(issue_request_id, bound_to))")],
        unique=True,
        postgresql_where=sa.text("issue_request_id IS NOT NULL OR bound_to IS NOT NULL"),
    )
    op.create_table(
        "invoice_outcomes",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("outcome_id", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("issue_request_id", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reuse", sa.Boolean(), nullable=False),
        sa.Column("became", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "became IN ('used', 'available', 'voided', 'held')", name=op.f("ck_invoice_outcomes_became")
        ),
        sa.CheckConstraint("outcome IN ('uploaded', 'failed', 'unknown')", name=op.f("ck_invoice_outcomes_outcome")),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "prefix", "sequence"],
            ["numbers.taxpayer_id", "numbers.environment", "numbers.prefix", "numbers.sequence"],
            name=op.f("fk_invoice_outcomes_number"),
        ),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "outcome_id", name=op.f("pk_invoice_outcomes")),
        comment="Outcomes of uploads that moved a number, so that the same one again gets the same answer.",
    )
    op.create_table(
        "number_bindings",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("binding_id", sa.Text(), nullable=False),
        sa.Column("organization", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("issue_request_id", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.Column("answered_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("action IN ('bind', 'unbind')", name=op.f("ck_number_bindings_action")),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "prefix", "sequence"],
            ["numbers.taxpayer_id", "numbers.environment", "numbers.prefix", "numbers.sequence"],
            name=op.f("fk_number_bindings_number"),
        ),
        sa.PrimaryKeyConstraint("taxpayer_id", "environment", "binding_id", name=op.f("pk_number_bindings")),
        comment="Bindings (绑定) and unbindings that were done, so that the same one again gets the same answer.",
    )
    op.create_table(
        "number_history",
        sa.Column("taxpayer_id", sa.Text(), nullable=False),
        sa.Column("environment", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Integer(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.SmallInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("issue_request_id", sa.Text(), nullable=True),
        sa.Column("bound_to", sa.Text(), nullable=True),
        sa.Column("issue_date", sa.Date(), nullable=True),
        sa.Column("assigned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("changed_by", sa.Text(), nullable=False),
        sa.Column("requested_by", sa.Text(), nullable=True),
        sa.Column("event_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["taxpayer_id", "environment", "prefix", "sequence"],
            ["numbers.taxpayer_id", "numbers.environment", "numbers.prefix", "numbers.sequence"],
            name=op.f("fk_number_history_number"),
        ),
        sa.PrimaryKeyConstraint(
            "taxpayer_id", "environment", "prefix", "sequence", "step", name=op.f("pk_number_history")
        ),
        comment="The states that numbers had before; written by the database itself at each change, never changed.",
    )
    op.create_index(
        "ix_number_history_issue_request",
        "number_history",
        ["taxpayer_id", "environment", "issue_request_id"],
        unique=False,
    )
    for guard in _GUARDS:
        op.execute(sa.text(guard))


def downgrade() -> None:
    """Remove every table, and with them all that they hold."""
    op.drop_table("number_history")
    op.drop_table("number_bindings")
    op.drop_table("invoice_outcomes")
    op.drop_table("numbers")
    op.drop_table("ranges")
    op.drop_table("answered_messages")
    op.drop_table("issue_requests")
    op.drop_table("claims")
    op.drop_table("organizations")
    op.drop_table("usage")
    op.drop_table("stocks")
    op.drop_table("refreshes")
    op.drop_table("outbox")
    op.drop_table("direct_units")
    op.drop_table("deployment")
    op.drop_table("channels")
    op.execute(sa.schema.DropSequence(sa.Sequence("queue_positions")))
    op.execute("DROP FUNCTION keep_number_history()")
    op.execute("DROP FUNCTION refuse_change()")
