"""What must hold of every issue request, and of the stock that it is served from or waits for."""

# ruff: noqa: S608 -- every part of these statements is a constant of this package

from db.audit.invariant import REQUEST, STOCK, Invariant

#: Whether an automatic number could be taken from the stock `s` now.
_HAS_NUMBERS = """
    EXISTS (
        SELECT FROM ranges AS r
        WHERE r.taxpayer_id = s.taxpayer_id AND r.environment = s.environment
          AND r.channel_mode = s.channel_mode AND r.year = s.year
          AND r.status = 'active' AND r.claim_mode = 'automatic'
          AND (r.next_sequence <= r.last_sequence OR EXISTS (
            SELECT FROM numbers AS n
            WHERE n.taxpayer_id = r.taxpayer_id AND n.environment = r.environment
              AND n.range_id = r.range_id AND n.status = 'available')))
"""

#: The requests that wait, counted by the stock that they wait for.
_QUEUES = """
    SELECT taxpayer_id, environment, channel_mode, EXTRACT(year FROM issue_date) AS year, count(*) AS waiting
    FROM issue_requests WHERE status = 'waiting'
    GROUP BY taxpayer_id, environment, channel_mode, EXTRACT(year FROM issue_date)
"""

REQUEST_INVARIANTS = (
    Invariant(
        "request-has-one-number",
        "an issue request holds at most one number, or is bound to it",
        """
        SELECT n.taxpayer_id || ' ' || n.holder AS offender, n.times > 1 AS broken
        FROM (
            SELECT taxpayer_id, coalesce(issue_request_id, bound_to) AS holder, count(*) AS times FROM numbers
            WHERE issue_request_id IS NOT NULL OR bound_to IS NOT NULL
            GROUP BY taxpayer_id, environment, coalesce(issue_request_id, bound_to)
        ) AS n
        """,
    ),
    Invariant(
        "assigned-request-has-its-number",
        "an issue request holds a number if it is assigned, and none while it waits or when it was closed",
        f"""
        SELECT {REQUEST} AS offender,
               (CASE WHEN q.status = 'assigned' THEN n.sequence IS NOT NULL
                     WHEN q.status IN ('waiting', 'closed') THEN n.sequence IS NULL END) IS NOT TRUE AS broken
        FROM issue_requests AS q
        LEFT JOIN numbers AS n USING (taxpayer_id, environment, issue_request_id)
        """,
    ),
    Invariant(
        "request-fits-its-state",
        "a request that waits has its turn and the message to answer, a closed one says why, others have neither",
        f"""
        SELECT {REQUEST} AS offender,
               ((q.status = 'waiting') = (q.queue_position IS NOT NULL)
                AND (q.queue_position IS NULL) = (q.waiting_since IS NULL)
                AND (q.status <> 'waiting' OR q.message IS NOT NULL)
                AND (q.status = 'closed') = (q.closed_because IS NOT NULL)) IS NOT TRUE AS broken
        FROM issue_requests AS q
        """,
    ),
    Invariant(
        "requests-that-ever-waited",
        "each request that waits has a turn that no other has; counted are all that ever waited",
        f"""
        SELECT {REQUEST} AS offender, q.queue_position IS NULL OR q.times > 1 AS broken
        FROM (
            SELECT taxpayer_id, issue_request_id, queue_position, count(*) OVER (PARTITION BY queue_position) AS times
            FROM issue_requests WHERE status = 'waiting'
        ) AS q
        """,
        # Who was served has left the queue; the sequence of turns remembers how many there were.
        counts="SELECT coalesce(pg_sequence_last_value('queue_positions'::regclass), 0)",
    ),
    Invariant(
        "waiting-only-when-stock-is-empty",
        "nobody waits for a stock that has an automatic number, or that does not know that it ran out, unless paused",
        f"""
        SELECT {STOCK} AS offender,
               w.waiting IS NOT NULL AND NOT s.paused AND (s.level <> 'exhausted' OR {_HAS_NUMBERS}) AS broken
        FROM stocks AS s
        LEFT JOIN ({_QUEUES}) AS w USING (taxpayer_id, environment, channel_mode, year)
        UNION ALL
        SELECT w.taxpayer_id || ' ' || w.channel_mode || ' ' || w.year::text, true
        FROM ({_QUEUES}) AS w
        LEFT JOIN stocks AS s USING (taxpayer_id, environment, channel_mode, year)
        WHERE s.taxpayer_id IS NULL
        """,
    ),
    Invariant(
        "exhausted-stock-is-empty",
        "a stock that counts as run out has no automatic number",
        f"""
        SELECT {STOCK} AS offender, s.level = 'exhausted' AND {_HAS_NUMBERS} AS broken
        FROM stocks AS s
        """,
    ),
)
