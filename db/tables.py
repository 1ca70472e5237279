"""The tables, and in their constraints what must never happen (shared domain rules, "Once" and "Year").

What an issue request and a number point to is kept by guards instead of foreign keys (`db.guards`).

A number is stored as `prefix` (digits 1-6: year, region, channel) and `sequence` (digits 7-20).
Twenty digits do not fit a 64-bit integer, the two parts do, and all numbers of one range share the prefix.
Every key but the overlap exclusion leads with the taxpayer, so that the tables can be distributed by it.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Connection,
    Date,
    DateTime,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    event,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB, ExcludeConstraint

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(constraint_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    },
)

_SEQUENCES = 100_000_000_000_000  # 14 digits

_MODES = "'self-use', 'on-behalf', 'joint'"

# Digits 5-6 of every number belong to the channel mode; a wrong pair blocks the upload.
_DIGITS_MATCH_MODE = (
    "prefix % 100 = CASE channel_mode WHEN 'self-use' THEN 70 WHEN 'on-behalf' THEN 71 WHEN 'joint' THEN 72 END"
)

# The event that tells of a change of one number spells in its id which number and which step it is of
# (`worker.events`), so no two changes can name the same one: prefix, sequence and step are a change's key.
# What happens to a range as a whole is told once for all its numbers; only then is the id of version 5.
_NAMES_ITS_EVENT = """
    CASE WHEN status = 'expired' OR (status = 'available' AND step = 1)
         THEN substr(event_id::text, 15, 1) = '5'
         ELSE starts_with(event_id::text, to_char(prefix, 'FM000000')
                                          || to_char(sequence, 'FM00"-"0000"-8"000"-8"000"-"00')
                                          || lpad(to_hex(step::integer), 4, '0'))
    END
"""


def _owner() -> tuple[Column[str], Column[str]]:
    """The two columns that lead every key: whose it is, and in which world."""
    return Column("taxpayer_id", Text, nullable=False), Column("environment", Text, nullable=False)


deployment = Table(
    "deployment",
    metadata,
    Column("single", Boolean, nullable=False, server_default=text("true")),
    Column("environment", Text, nullable=False),
    Column("recorded_at", DateTime(timezone=True), nullable=False),
    Column("identity", Text, nullable=False),
    Column("recovered_at", DateTime(timezone=True)),
    Column("overdue_until", DateTime(timezone=True)),
    PrimaryKeyConstraint("single"),
    CheckConstraint("single", name="single"),
    CheckConstraint("environment IN ('production', 'sandbox')", name="environment"),
    comment="Which environment this database serves: one row, written by the first migration run.",
)

channels = Table(
    "channels",
    metadata,
    *_owner(),
    Column("channel_mode", Text, nullable=False),
    Column("using_unit_id", Text, nullable=False),
    Column("automatic_claims", Boolean, nullable=False),
    Column("claim_quantity", Integer, nullable=False),
    Column("claim_sizing", Text, nullable=False),
    Column("low_threshold", Numeric(5, 4), nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "channel_mode"),
    CheckConstraint(f"channel_mode IN ({_MODES})", name="mode"),
    CheckConstraint("claim_quantity BETWEEN 1 AND 5000", name="quantity"),
    CheckConstraint("claim_sizing IN ('fixed', 'demand')", name="sizing"),
    CheckConstraint("low_threshold BETWEEN 0 AND 1", name="threshold"),
    comment="A taxpayer's line to LeQi in one channel mode: the unit that it uses, and its claim policy.",
)

organizations = Table(
    "organizations",
    metadata,
    *_owner(),
    Column("code", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("channel_mode", Text, nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("environment", "code"),
    UniqueConstraint("taxpayer_id", "environment", "code", name="uq_organizations_taxpayer"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "channel_mode"],
        [channels.c.taxpayer_id, channels.c.environment, channels.c.channel_mode],
        name="channel",
    ),
    comment="The codes by which invoicing names its companies; several may share a channel and so a stock.",
)

stocks = Table(
    "stocks",
    metadata,
    *_owner(),
    Column("channel_mode", Text, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("level", Text, nullable=False, server_default="new"),
    Column("episode", Integer, nullable=False, server_default="0"),
    Column("exhausted_at", DateTime(timezone=True)),
    Column("wanted_by", Text),
    Column("last_claimed", Integer),
    Column("low_at", Integer, nullable=False, server_default="0"),
    Column("claim_not_before", DateTime(timezone=True)),
    Column("claim_at_most", Integer),
    Column("failed_claims", SmallInteger, nullable=False, server_default="0"),
    Column("paused", Boolean, nullable=False, server_default=text("false")),
    Column("paused_at", DateTime(timezone=True)),
    Column("paused_because", Text),
    PrimaryKeyConstraint("taxpayer_id", "environment", "channel_mode", "year"),
    CheckConstraint(f"channel_mode IN ({_MODES})", name="mode"),
    CheckConstraint("year BETWEEN 2000 AND 2099", name="year"),
    CheckConstraint("level IN ('new', 'ok', 'low', 'exhausted')", name="level"),
    CheckConstraint("level <> 'exhausted' OR exhausted_at IS NOT NULL", name="exhausted_at"),
    CheckConstraint("claim_at_most BETWEEN 1 AND 5000", name="claim_at_most"),
    CheckConstraint("paused = (paused_at IS NOT NULL) AND paused = (paused_because IS NOT NULL)", name="paused"),
    Index("ix_stocks_claimless", "environment", "year", postgresql_where=text("level IN ('new', 'low', 'exhausted')")),
    postgresql_with={"fillfactor": "50"},
    comment="The one lock of issuing and claiming; level and episode make each exhaustion happen once.",
)

claims = Table(
    "claims",
    metadata,
    *_owner(),
    Column("claim_id", Text, nullable=False),
    Column("claim_mode", Text, nullable=False),
    Column("organization", Text),
    Column("channel_mode", Text, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("episode", Integer),
    Column("quantity", Integer, nullable=False),
    Column("using_unit_id", Text, nullable=False),
    Column("business_serial", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text),
    Column("detail", Text),
    Column("requested_by", Text),
    Column("form", Text, nullable=False),
    Column("traceparent", Text),
    Column("unknown_outcomes", Integer, nullable=False, server_default="0"),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("next_attempt_at", DateTime(timezone=True)),
    Column("calling_until", DateTime(timezone=True)),
    Column("settled_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("taxpayer_id", "environment", "claim_id"),
    UniqueConstraint("taxpayer_id", "environment", "business_serial", name="uq_claims_business_serial"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "organization"],
        [organizations.c.taxpayer_id, organizations.c.environment, organizations.c.code],
        name="organization",
    ),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "channel_mode", "year"],
        [stocks.c.taxpayer_id, stocks.c.environment, stocks.c.channel_mode, stocks.c.year],
        name="stock",
    ),
    CheckConstraint("claim_mode IN ('manual', 'automatic')", name="mode"),
    CheckConstraint("claim_mode = 'automatic' OR organization IS NOT NULL", name="manual_organization"),
    CheckConstraint(
        "quantity BETWEEN 1 AND CASE claim_mode WHEN 'manual' THEN 1000 ELSE 5000 END",
        name="quantity",
    ),
    CheckConstraint("length(business_serial) BETWEEN 1 AND 100", name="business_serial"),
    CheckConstraint(
        "status IN ('open', 'unresolved', 'granted', 'refused', 'quarantined', 'abandoned')",
        name="status",
    ),
    # Nothing stays stuck: a claim is either settled or has a time at which it goes on.
    CheckConstraint(
        "CASE WHEN status IN ('open', 'unresolved') THEN next_attempt_at IS NOT NULL AND settled_at IS NULL"
        " ELSE next_attempt_at IS NULL AND settled_at IS NOT NULL END",
        name="goes_on",
    ),
    CheckConstraint("form IN ('single', 'batch')", name="form"),
    Index(
        "uq_claims_one_open_automatic",
        "taxpayer_id",
        "environment",
        "channel_mode",
        "year",
        unique=True,
        postgresql_where=text("status = 'open' AND claim_mode = 'automatic'"),
    ),
    Index(
        "ix_claims_due",
        "environment",
        "next_attempt_at",
        postgresql_where=text("status IN ('open', 'unresolved')"),
    ),
    comment="Every claim, written before LeQi is called, also a refused one (领用记录).",
)

ranges = Table(
    "ranges",
    metadata,
    *_owner(),
    Column("range_id", Uuid, nullable=False),
    Column("channel_mode", Text, nullable=False),
    Column("year", SmallInteger, nullable=False),
    Column("prefix", Integer, nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("last_sequence", BigInteger, nullable=False),
    Column("next_sequence", BigInteger, nullable=False),
    Column("claim_mode", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("claim_id", Text),
    Column("organization", Text),
    Column("listed_serial", Text),
    Column("listed_unused", Integer),
    Column("detail", Text),
    Column("created_at", DateTime(timezone=True), nullable=False),
    Column("closed_at", DateTime(timezone=True)),
    # After a restore: since when an operator stands for it that its numbers are on their requests' invoices alone.
    Column("confirmed_at", DateTime(timezone=True)),
    PrimaryKeyConstraint("taxpayer_id", "environment", "range_id"),
    UniqueConstraint(
        "taxpayer_id",
        "environment",
        "range_id",
        "prefix",
        "first_sequence",
        "last_sequence",
        name="uq_ranges_extent",
    ),
    UniqueConstraint("taxpayer_id", "environment", "claim_id", name="uq_ranges_claim"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "claim_id"],
        [claims.c.taxpayer_id, claims.c.environment, claims.c.claim_id],
        name="claim",
    ),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "channel_mode", "year"],
        [stocks.c.taxpayer_id, stocks.c.environment, stocks.c.channel_mode, stocks.c.year],
        name="stock",
    ),
    CheckConstraint("prefix / 10000 = year % 100", name="year"),
    CheckConstraint(f"status = 'quarantined' OR {_DIGITS_MATCH_MODE}", name="channel"),
    CheckConstraint(
        f"first_sequence >= 0 AND first_sequence <= last_sequence AND last_sequence < {_SEQUENCES}",
        name="extent",
    ),
    CheckConstraint("next_sequence BETWEEN first_sequence AND last_sequence + 1", name="cursor"),
    CheckConstraint("claim_mode IN ('manual', 'automatic')", name="mode"),
    # A manual range is split into number rows when it is claimed: its cursor stands at the end from the start.
    CheckConstraint(
        "claim_mode = 'automatic' OR status IN ('quarantined', 'foreign') OR next_sequence = last_sequence + 1",
        name="manual_is_split",
    ),
    CheckConstraint("status <> 'used-up' OR next_sequence = last_sequence + 1", name="used_up"),
    CheckConstraint(
        "status <> 'foreign' OR next_sequence = first_sequence",
        name="foreign_is_untouched",
    ),
    CheckConstraint(
        "status IN ('active', 'used-up', 'expired', 'retired', 'quarantined', 'foreign')",
        name="status",
    ),
    CheckConstraint(
        "confirmed_at IS NULL OR (status = 'quarantined' AND closed_at IS NOT NULL)",
        name="confirmed",
    ),
    *(
        ExcludeConstraint(
            (
                text(
                    f"numrange(prefix::numeric * {_SEQUENCES} + first_sequence,"
                    f" prefix::numeric * {_SEQUENCES} + last_sequence, '[]')",
                ),
                "&&",
            ),
            where=text(f"environment = '{environment}' AND status NOT IN ('quarantined', 'foreign')"),
            using="gist",
            name=f"ex_ranges_overlap_{environment}",
        )
        for environment in ("production", "sandbox")
    ),
    Index(
        "ix_ranges_stock",
        "taxpayer_id",
        "environment",
        "channel_mode",
        "year",
        "created_at",
        postgresql_where=text("status = 'active' AND claim_mode = 'automatic'"),
    ),
    postgresql_with={"fillfactor": "50"},
    comment="Number ranges (号段): an extent and a cursor; taking k numbers is one update of one row.",
)

# Drawn under the stock's lock, so that the order of the queue is the order of the positions.
queue_positions = Sequence("queue_positions", metadata=metadata)

issue_requests = Table(
    "issue_requests",
    metadata,
    *_owner(),
    Column("issue_request_id", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("issue_date", Date, nullable=False),
    Column("kind", Text, nullable=False),
    Column("channel_mode", Text, nullable=False),
    Column("named_number", Text),
    Column("status", Text, nullable=False),
    Column("closed_because", Text),
    Column("form", Text, nullable=False),
    Column("message", Text),
    Column("traceparent", Text),
    Column("queue_position", BigInteger),
    Column("waiting_since", DateTime(timezone=True)),
    PrimaryKeyConstraint("taxpayer_id", "environment", "issue_request_id"),
    CheckConstraint("kind IN ('blue', 'red')", name="kind"),
    CheckConstraint(f"channel_mode IN ({_MODES})", name="channel_mode"),
    CheckConstraint("form IN ('single', 'batch')", name="form"),
    CheckConstraint("status IN ('waiting', 'assigned', 'closed')", name="status"),
    CheckConstraint(
        "(status = 'waiting') = (queue_position IS NOT NULL) AND (queue_position IS NULL) = (waiting_since IS NULL)"
        " AND (status <> 'waiting' OR message IS NOT NULL)",
        name="waiting",
    ),
    CheckConstraint("(status = 'closed') = (closed_because IS NOT NULL)", name="closed"),
    CheckConstraint("named_number ~ '^[0-9]{20}$'", name="named_number"),
    Index(
        "ix_issue_requests_waiting",
        "taxpayer_id",
        "environment",
        "channel_mode",
        text("(EXTRACT(year FROM issue_date))"),
        "queue_position",
        postgresql_where=text("status = 'waiting'"),
    ),
    comment="One row for each issue request ever accepted: waiting, assigned or closed.",
)

numbers = Table(
    "numbers",
    metadata,
    *_owner(),
    Column("prefix", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("range_id", Uuid, nullable=False),
    Column("range_first", BigInteger, nullable=False),
    Column("range_last", BigInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("issue_request_id", Text),
    Column("bound_to", Text),
    Column("issue_date", Date),
    Column("assigned_at", DateTime(timezone=True)),
    # Which change this is, counted from 1, and its fact: when, by which message, who asked, told by which event.
    Column("step", SmallInteger, nullable=False, server_default="1"),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("requested_by", Text),
    Column("event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "prefix", "sequence"),
    CheckConstraint("sequence BETWEEN range_first AND range_last", name="in_range"),
    CheckConstraint(
        "status IN ('available', 'bound', 'assigned', 'held', 'used', 'voided', 'expired')",
        name="status",
    ),
    CheckConstraint("(status = 'bound') = (bound_to IS NOT NULL)", name="bound"),
    CheckConstraint(
        "(status IN ('assigned', 'held', 'used')) = (issue_request_id IS NOT NULL)"
        " AND (issue_request_id IS NULL) = (issue_date IS NULL)"
        " AND (issue_request_id IS NULL) = (assigned_at IS NULL)",
        name="assigned",
    ),
    CheckConstraint("EXTRACT(year FROM issue_date) = 2000 + prefix / 10000", name="year"),
    CheckConstraint(_NAMES_ITS_EVENT, name="event"),
    # A request has one number at most, whether it holds it or it is bound to it.
    Index(
        "uq_numbers_issue_request",
        "taxpayer_id",
        text("(coalesce(issue_request_id, bound_to))"),
        "environment",
        unique=True,
        postgresql_where=text("issue_request_id IS NOT NULL OR bound_to IS NOT NULL"),
    ),
    Index(
        "ix_numbers_available",
        "taxpayer_id",
        "environment",
        "range_id",
        postgresql_where=text("status = 'available'"),
    ),
    Index(
        "ix_numbers_bound",
        "taxpayer_id",
        "environment",
        "bound_to",
        postgresql_where=text("status = 'bound'"),
    ),
    # Numbers are stored in the order of their assignment, so this says where to look for a time at no cost.
    Index("ix_numbers_assigned_at", "assigned_at", postgresql_using="brin"),
    comment="One row for each number that was assigned, or split off a manual range: its present state.",
)

number_history = Table(
    "number_history",
    metadata,
    *_owner(),
    Column("prefix", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("step", SmallInteger, nullable=False),
    Column("status", Text, nullable=False),
    Column("issue_request_id", Text),
    Column("bound_to", Text),
    Column("issue_date", Date),
    Column("assigned_at", DateTime(timezone=True)),
    Column("changed_at", DateTime(timezone=True), nullable=False),
    Column("changed_by", Text, nullable=False),
    Column("requested_by", Text),
    Column("event_id", Uuid, nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "prefix", "sequence", "step"),
    CheckConstraint(_NAMES_ITS_EVENT, name="event"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "prefix", "sequence"],
        [numbers.c.taxpayer_id, numbers.c.environment, numbers.c.prefix, numbers.c.sequence],
        name="number",
    ),
    Index("ix_number_history_issue_request", "taxpayer_id", "environment", "issue_request_id"),
    comment="The states that numbers had before; written by the database itself at each change, never changed.",
)

answered_messages = Table(
    "answered_messages",
    metadata,
    *_owner(),
    Column("issue_request_id", Text, nullable=False),
    Column("message", Text, nullable=False),
    # False while the request waits: a request that waited in vain was not answered.
    Column("answered", Boolean, nullable=False, server_default="true"),
    PrimaryKeyConstraint("taxpayer_id", "environment", "issue_request_id", "message"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "issue_request_id"],
        [issue_requests.c.taxpayer_id, issue_requests.c.environment, issue_requests.c.issue_request_id],
        name="issue_request",
    ),
    comment="Messages that repeated a request: once its number is released, a late copy gets no new one.",
)

number_bindings = Table(
    "number_bindings",
    metadata,
    *_owner(),
    Column("binding_id", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("prefix", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("issue_request_id", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("requested_by", Text),
    Column("event_id", Uuid, nullable=False),
    Column("answered_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "binding_id"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "prefix", "sequence"],
        [numbers.c.taxpayer_id, numbers.c.environment, numbers.c.prefix, numbers.c.sequence],
        name="number",
    ),
    CheckConstraint("action IN ('bind', 'unbind')", name="action"),
    comment="Bindings (绑定) and unbindings that were done, so that the same one again gets the same answer.",
)

invoice_outcomes = Table(
    "invoice_outcomes",
    metadata,
    *_owner(),
    Column("outcome_id", Text, nullable=False),
    Column("organization", Text, nullable=False),
    Column("issue_request_id", Text, nullable=False),
    Column("prefix", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("reuse", Boolean, nullable=False),
    Column("became", Text, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("answered_at", DateTime(timezone=True), nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "outcome_id"),
    ForeignKeyConstraint(
        ["taxpayer_id", "environment", "prefix", "sequence"],
        [numbers.c.taxpayer_id, numbers.c.environment, numbers.c.prefix, numbers.c.sequence],
        name="number",
    ),
    CheckConstraint("outcome IN ('uploaded', 'failed', 'unknown')", name="outcome"),
    CheckConstraint("became IN ('used', 'available', 'voided', 'held')", name="became"),
    comment="Outcomes of uploads that moved a number, so that the same one again gets the same answer.",
)

usage = Table(
    "usage",
    metadata,
    *_owner(),
    Column("channel_mode", Text, nullable=False),
    Column("hour", DateTime(timezone=True), nullable=False),
    Column("taken", Integer, nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "channel_mode", "hour"),
    CheckConstraint("taken > 0", name="taken"),
    comment="How many automatic numbers a taxpayer took in each hour: the rate that claims ahead go by.",
)

direct_units = Table(
    "direct_units",
    metadata,
    Column("environment", Text, nullable=False),
    Column("direct_unit_id", Text, nullable=False),
    Column("throttled_until", DateTime(timezone=True)),
    Column("concurrency_limit", Integer),
    PrimaryKeyConstraint("environment", "direct_unit_id"),
    CheckConstraint("concurrency_limit >= 1", name="limit"),
    comment="LeQi's throttle binds the direct unit (直连单位), so its wait and limit bind all workers from here.",
)

refreshes = Table(
    "refreshes",
    metadata,
    *_owner(),
    Column("refresh_id", Text, nullable=False),
    Column("answered_at", DateTime(timezone=True), nullable=False),
    Column("data", JSONB, nullable=False),
    PrimaryKeyConstraint("taxpayer_id", "environment", "refresh_id"),
    comment="What each refresh was answered with, so that the same refresh gets the same answer.",
)

_OF_THIS_TRANSACTION = text("(pg_current_xact_id())::text::bigint")

outbox = Table(
    "outbox",
    metadata,
    Column("outbox_id", BigInteger, Identity(always=True), nullable=False),
    Column("message_ids", ARRAY(Text), nullable=False),
    Column("routing_keys", ARRAY(Text), nullable=False),
    Column("content_types", ARRAY(Text), nullable=False),
    Column("events", ARRAY(SmallInteger), nullable=False),
    Column("sizes", ARRAY(Integer), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("publish_after", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=text("now()")),
    # Whose facts its events tell, and which events these are.
    Column("transaction_id", BigInteger, nullable=False, server_default=_OF_THIS_TRANSACTION),
    Column("event_ids", ARRAY(Uuid), nullable=False),
    PrimaryKeyConstraint("outbox_id"),
    Index("ix_outbox_transaction_id", "transaction_id"),
    CheckConstraint("1 <= ALL (events) AND 1000 >= ALL (events)", name="events"),
    CheckConstraint(
        "cardinality(message_ids) BETWEEN 1 AND 1000 AND cardinality(routing_keys) = cardinality(message_ids)"
        " AND cardinality(content_types) = cardinality(message_ids)"
        " AND cardinality(events) = cardinality(message_ids) AND cardinality(sizes) = cardinality(message_ids)",
        name="messages",
    ),
    comment="Parcels of messages whose facts are committed, and that the broker has not confirmed yet; one body behind"
    " the other.",
)


untold_changes = Table(
    "untold_changes",
    metadata,
    Column("transaction_id", BigInteger, nullable=False, server_default=_OF_THIS_TRANSACTION),
    Column("untold_id", BigInteger, Identity(always=True), nullable=False),
    Column("event_ids", ARRAY(Uuid), nullable=False),
    PrimaryKeyConstraint("transaction_id", "untold_id"),
    # Its rows end with the transactions that wrote them: there is nothing to keep.
    prefixes=["UNLOGGED"],
    comment="The events that changes of numbers name, until the database has found them in the outbox at the commit;"
    " written and emptied by itself.",
)


def _store_as_it_is(table: Table, *columns: str) -> None:
    """Compress nothing in these columns: what is removed a moment later is cheaper to write than to make smaller."""

    def alter(_target: Table, connection: Connection, **_options: object) -> None:
        for column in columns:
            connection.execute(text(f"ALTER TABLE {table.name} ALTER COLUMN {column} SET STORAGE EXTERNAL"))

    event.listen(table, "after_create", alter)


_store_as_it_is(outbox, "body", "event_ids")
_store_as_it_is(untold_changes, "event_ids")
