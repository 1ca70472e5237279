"""Fuma's tables as they are in mid-life: taxpayers, ranges in stock, and millions of numbers given out before.

Written in bulk, by what the worker would have written one after the other: every constraint holds, and `fuma audit`
finds nothing to complain of.
"""

from typing import LiteralString

import psycopg

from bench.load import Load, organization_code, taxpayer_id
from tests.support.event_ids import written_of_change
from tests.support.outside.identities import china_today

#: LeQi's most for one claim, and so the size of every range here.
RANGE_SIZE = 5000

_TAXPAYERS: LiteralString = """
    CREATE TEMPORARY TABLE t AS
    SELECT * FROM unnest(%(ids)s::text[], %(codes)s::text[]) WITH ORDINALITY AS t (taxpayer_id, code, position);
    INSERT INTO channels (taxpayer_id, environment, channel_mode, using_unit_id, automatic_claims, claim_quantity,
        claim_sizing, low_threshold)
    SELECT taxpayer_id, 'sandbox', 'self-use', 'UU' || right(taxpayer_id, 12), true, %(size)s, 'fixed', 0 FROM t;
    INSERT INTO organizations (taxpayer_id, environment, code, name, channel_mode, created_at)
    SELECT taxpayer_id, 'sandbox', code, 'Company ' || code, 'self-use', now() FROM t;
    INSERT INTO stocks (taxpayer_id, environment, channel_mode, year, level, episode, last_claimed, low_at)
    SELECT taxpayer_id, 'sandbox', 'self-use', %(year)s, 'ok', 1, %(size)s, 0 FROM t
"""

# Ranges of one taxpayer lie one behind the other; those before `used` are used up. Its id follows from its place.
_RANGES: LiteralString = """
    CREATE TEMPORARY TABLE g AS
    SELECT t.taxpayer_id, t.code, t.position, r AS place, r < %(used)s AS used_up,
        md5('range ' || t.taxpayer_id || r)::uuid AS range_id, 'CLAIM-' || lpad(r::text, 8, '0') AS claim_id,
        t.position * 10000000000 + r * %(size)s::bigint AS first_sequence,
        t.position * 10000000000 + (r + 1) * %(size)s::bigint - 1 AS last_sequence,
        now() - interval '1 day' + r * interval '1 millisecond' AS created_at
    FROM t, generate_series(0, %(used)s + %(fresh)s - 1) AS r;
    INSERT INTO claims (taxpayer_id, environment, claim_id, claim_mode, channel_mode, year, episode, quantity,
        using_unit_id, business_serial, status, form, created_at, settled_at)
    SELECT taxpayer_id, 'sandbox', claim_id, 'automatic', 'self-use', %(year)s, 1, %(size)s,
        'UU' || right(taxpayer_id, 12), 'SERIAL-' || taxpayer_id || claim_id, 'granted', 'single', created_at,
        created_at
    FROM g;
    INSERT INTO ranges (taxpayer_id, environment, range_id, channel_mode, year, prefix, first_sequence, last_sequence,
        next_sequence, claim_mode, status, claim_id, created_at, closed_at)
    SELECT taxpayer_id, 'sandbox', range_id, 'self-use', %(year)s, %(prefix)s, first_sequence, last_sequence,
        CASE WHEN used_up THEN last_sequence + 1 ELSE first_sequence END, 'automatic',
        CASE WHEN used_up THEN 'used-up' ELSE 'active' END, claim_id, created_at,
        CASE WHEN used_up THEN created_at END
    FROM g
"""

_OLD_REQUESTS: LiteralString = """
    INSERT INTO issue_requests (taxpayer_id, environment, issue_request_id, organization, issue_date, kind,
        channel_mode, status, form)
    SELECT g.taxpayer_id, 'sandbox', 'BEFORE-' || lpad((s - g.position * 10000000000)::text, 9, '0'), g.code,
        %(today)s, 'blue', 'self-use', 'assigned', 'single'
    FROM (SELECT * FROM g WHERE used_up ORDER BY place, taxpayer_id) AS g,
        generate_series(g.first_sequence, g.last_sequence) AS s
"""

_OLD_NUMBERS: LiteralString = f"""
    INSERT INTO numbers (taxpayer_id, environment, prefix, sequence, range_id, range_first, range_last, status,
        issue_request_id, issue_date, assigned_at, changed_at, changed_by, event_id)
    SELECT g.taxpayer_id, 'sandbox', %(prefix)s, s, g.range_id, g.first_sequence, g.last_sequence, 'assigned',
        'BEFORE-' || lpad((s - g.position * 10000000000)::text, 9, '0'), %(today)s, g.created_at, g.created_at,
        'before-' || s, {written_of_change(prefix="%(prefix)s", sequence="s", step="1")}
    FROM (SELECT * FROM g WHERE used_up ORDER BY place, taxpayer_id) AS g,
        generate_series(g.first_sequence, g.last_sequence) AS s
"""  # noqa: S608 -- constants


def fill_stock(
    database_url: str,
    load: Load,
    *,
    used_ranges: int = 0,
    fresh_ranges: int | None = None,
    range_size: int = RANGE_SIZE,
) -> None:
    """Register a load's taxpayers and give each stock enough for it, behind `used_ranges` that are given out.

    Unless told otherwise each range has 5,000 numbers, and one more than the load needs is in stock, so that none
    runs out.
    """
    today = china_today()
    fresh = -(-load.invoices // load.taxpayers // range_size) + 1 if fresh_ranges is None else fresh_ranges
    values = {
        "ids": [taxpayer_id(each) for each in range(load.taxpayers)],
        "codes": [organization_code(each) for each in range(load.taxpayers)],
        "size": range_size,
        "year": today.year,
        "prefix": today.year % 100 * 10_000 + 44 * 100 + 70,
        "today": today,
        "used": used_ranges,
        "fresh": fresh,
    }
    with psycopg.connect(database_url, cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(_TAXPAYERS, values)
        connection.execute(_RANGES, values)
        if used_ranges:
            # Foreign keys aren't asked for each of millions of rows that are made from the rows they point to; all
            # constraints and triggers stay, and hold (tests/integration/test_bench_stock.py).
            connection.execute("SET LOCAL session_replication_role = replica")
            connection.execute(_OLD_REQUESTS, values)
            connection.execute(_OLD_NUMBERS, values)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")
