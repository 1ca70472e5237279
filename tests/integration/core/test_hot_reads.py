"""What issuing reads does not grow with the tables: it scans none, and reads as many rows as while they are empty.

The database itself counts what a transaction reads, in its guards and checks too (`pg_stat_xact_user_tables`).
"""

import pytest
from sqlalchemy import text

from db.asking import carry_out
from db.outbox import add_messages
from tests.support.core.asked import invoices
from tests.support.core.world import Core
from tests.support.event_ids import written_of_change
from worker.answers import pack

#: The tables that grow with the years.
GROWING = (
    "issue_requests",
    "numbers",
    "number_history",
    "answered_messages",
    "ranges",
    "claims",
    "usage",
    "outbox",
    "untold_changes",
)
PAST = 30_000
PAST_RANGES = 300
#: As many as a broker that is away for a while leaves there.
PAST_MESSAGES = 3000
#: As many as a large batch has.
INVOICES = 1000

_READS = text("""
    SELECT relname, seq_scan, coalesce(seq_tup_read, 0), coalesce(idx_tup_fetch, 0)
    FROM pg_stat_xact_user_tables WHERE relname = ANY(:tables)
""")

#: A past of numbers that were assigned, of ranges that are used up, each with its history, as years of work leave it.
_PAST = f"""
    SET LOCAL session_replication_role = replica;
    INSERT INTO ranges (taxpayer_id, environment, range_id, channel_mode, year, prefix, first_sequence, last_sequence,
        next_sequence, claim_mode, status, created_at, closed_at)
    SELECT r.taxpayer_id, r.environment, gen_random_uuid(), r.channel_mode, r.year, r.prefix,
        500000000 + n * 100, 500000099 + n * 100, 500000100 + n * 100, 'automatic', 'used-up',
        r.created_at, r.created_at
    FROM ranges AS r, generate_series(0, {PAST_RANGES - 1}) AS n;
    INSERT INTO issue_requests (taxpayer_id, environment, issue_request_id, organization, issue_date, kind,
        channel_mode, status, form)
    SELECT o.taxpayer_id, o.environment, 'past-' || n, o.code, '2026-11-01', 'blue', o.channel_mode,
        'assigned', 'single'
    FROM organizations AS o, generate_series(0, {PAST - 1}) AS n;
    INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last, status,
        issue_request_id, issue_date, assigned_at, changed_at, changed_by, event_id)
    SELECT r.taxpayer_id, r.environment, r.prefix, r.first_sequence + n, r.range_id, r.first_sequence, r.last_sequence,
        'assigned', 'past-' || (r.first_sequence - 500000000 + n), '2026-11-01', r.created_at, r.created_at, 'm',
        {written_of_change(sequence="r.first_sequence + n", step="1")}
    FROM ranges AS r, generate_series(0, 99) AS n WHERE r.status = 'used-up';
    INSERT INTO number_history (taxpayer_id, environment, prefix, sequence, step, status, changed_at, changed_by,
        event_id)
    SELECT taxpayer_id, environment, prefix, sequence, 0, 'available', changed_at, 'm',
        {written_of_change(step="0")} FROM numbers;
    INSERT INTO answered_messages (taxpayer_id, environment, issue_request_id, message)
    SELECT taxpayer_id, environment, issue_request_id, 'again' FROM issue_requests;
    INSERT INTO outbox (message_ids, routing_keys, content_types, events, sizes, body, publish_after, transaction_id,
        event_ids)
    SELECT ARRAY['m'], ARRAY['k'], ARRAY['t'], ARRAY[1], ARRAY[0], '', now(), n, ARRAY[gen_random_uuid()]
    FROM generate_series(1, {PAST_MESSAGES}) AS n;
"""  # noqa: S608 -- constants of this file


@pytest.fixture
def stocked(core: Core) -> Core:
    """A core with a stock that lasts."""
    core.fill(10_000, low_at=0)
    return core


def reads(core: Core, prefix: str) -> dict[str, tuple[int, int, int]]:
    """Issue in one transaction, and give of each growing table: scans, rows read by them, rows fetched by index."""
    with core.engine.connect() as connection, connection.begin():
        # What this session read before is counted too, until it was reported.
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    with core.engine.begin() as connection:
        answers = core.issuing.handle(connection, invoices(INVOICES, prefix=prefix))
        assert len(answers) == INVOICES
        carry_out(connection, add_messages(pack(answers), now=core.clock.now()))
        # What the database looks for at the commit belongs to it.
        connection.execute(text("SET CONSTRAINTS change_is_told IMMEDIATE"))
        rows = connection.execute(_READS, {"tables": list(GROWING)}).all()
        return {row[0]: (row[1], row[2], row[3]) for row in rows}


def put_past(core: Core, *, analyze: bool) -> None:
    with core.engine.begin() as connection:
        connection.exec_driver_sql(_PAST)
    if analyze:
        with core.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE"))


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed since it was empty"])
@pytest.mark.parametrize("warm", [False, True], ids=["new session", "session from before the tables grew"])
def test_issuing_scans_no_table_that_grows(stocked: Core, *, warm: bool, analyzed: bool) -> None:
    empty = reads(stocked, "first-")
    if warm:
        # From the sixth time on a session keeps what it planned.
        for time in range(6):
            stocked.issue(*invoices(2, prefix=f"warm-{time}-"))
    else:
        stocked.engine.dispose()
    put_past(stocked, analyze=analyzed)

    grown = reads(stocked, "second-")

    assert stocked.value("SELECT count(*) FROM numbers") == PAST + 2 * INVOICES + (12 if warm else 0)
    assert {name: scans for name, (scans, _, _) in grown.items() if scans} == {}
    fetched = {name: rows for name, (_, _, rows) in grown.items()}
    # What a batch finds of its own rows and of the one open range; nothing of the past.
    assert sum(fetched.values()) <= sum(scanned + rows for _, scanned, rows in empty.values()) + INVOICES


@pytest.mark.parametrize("analyzed", [True, False], ids=["analyzed", "not analyzed since it was empty"])
def test_the_same_requests_again_read_their_own_rows_alone(stocked: Core, *, analyzed: bool) -> None:
    reads(stocked, "first-")
    for time in range(6):
        stocked.issue(*invoices(2, prefix=f"warm-{time}-"))
    put_past(stocked, analyze=analyzed)

    again = reads(stocked, "first-")

    assert {name: scans for name, (scans, _, _) in again.items() if scans} == {}
    assert all(rows <= 4 * INVOICES for _, _, rows in again.values()), again
