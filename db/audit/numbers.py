"""What must hold of every number: where it lies, who holds it, and that nothing has it twice."""

# ruff: noqa: S608 -- every part of these statements is a constant of this package

from db.audit.invariant import HELD, NUMBER, Invariant

NUMBER_INVARIANTS = (
    Invariant(
        "number-in-its-range",
        "a number lies between the first and the last of the range that it names, a range of its taxpayer",
        f"""
        SELECT {NUMBER} AS offender,
               (n.prefix = r.prefix AND n.sequence BETWEEN r.first_sequence AND r.last_sequence
                AND n.range_first = r.first_sequence AND n.range_last = r.last_sequence) IS NOT TRUE AS broken
        FROM numbers AS n
        LEFT JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        """,
    ),
    Invariant(
        "number-once",
        "a number stands once, of one taxpayer",
        f"""
        SELECT {NUMBER} AS offender, n.times > 1 AS broken
        FROM (
            SELECT prefix, sequence, count(*) AS times FROM numbers GROUP BY environment, prefix, sequence
        ) AS n
        """,
    ),
    Invariant(
        "number-fits-its-state",
        "an assigned, held or used number names its request and its time, a bound one its request, others none",
        f"""
        SELECT {NUMBER} AS offender,
               (CASE WHEN n.status IN {HELD}
                     THEN num_nonnulls(n.issue_request_id, n.issue_date, n.assigned_at) = 3 AND n.bound_to IS NULL
                     WHEN n.status IN ('available', 'bound', 'voided', 'expired')
                     THEN num_nonnulls(n.issue_request_id, n.issue_date, n.assigned_at) = 0
                          AND (n.status = 'bound') = (n.bound_to IS NOT NULL)
                     ELSE false END) IS NOT TRUE AS broken
        FROM (
            SELECT prefix, sequence, status, issue_request_id, issue_date, assigned_at, bound_to FROM numbers
            UNION ALL
            SELECT prefix, sequence, status, issue_request_id, issue_date, assigned_at, bound_to FROM number_history
        ) AS n
        """,
    ),
    Invariant(
        "year-is-that-of-the-issue-date",
        "digits 1-2 of a number are the year of the issue date for which it was ever assigned",
        f"""
        SELECT {NUMBER} AS offender, 2000 + n.prefix / 10000 <> EXTRACT(year FROM n.issue_date) AS broken
        FROM (
            SELECT prefix, sequence, issue_date FROM numbers
            UNION ALL
            SELECT prefix, sequence, issue_date FROM number_history
        ) AS n
        WHERE n.issue_date IS NOT NULL
        """,
    ),
    Invariant(
        "assigned-number-fits-its-request",
        "issue date and channel mode of an assigned number are those of the request that holds it, which is stored",
        f"""
        SELECT {NUMBER} AS offender,
               (n.issue_date = q.issue_date AND r.channel_mode = q.channel_mode) IS NOT TRUE AS broken
        FROM numbers AS n
        LEFT JOIN issue_requests AS q USING (taxpayer_id, environment, issue_request_id)
        LEFT JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        WHERE n.status IN {HELD}
        """,
    ),
    Invariant(
        "nothing-assigned-while-withheld",
        "no number was assigned from a range while it was quarantined or foreign",
        f"""
        SELECT {NUMBER} AS offender,
               r.status = 'foreign'
               OR (r.status = 'quarantined' AND n.assigned_at > coalesce(r.closed_at, r.created_at)) AS broken
        FROM numbers AS n
        JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        WHERE n.status IN {HELD}
        """,
    ),
    Invariant(
        "bound-number-is-kept",
        "a bound number is a manual one, and the request that it is kept for neither waits nor holds a number",
        f"""
        SELECT {NUMBER} AS offender,
               r.claim_mode IS DISTINCT FROM 'manual'
               OR coalesce(q.status IN ('waiting', 'assigned'), false) AS broken
        FROM numbers AS n
        LEFT JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        LEFT JOIN issue_requests AS q
          ON q.taxpayer_id = n.taxpayer_id AND q.environment = n.environment AND q.issue_request_id = n.bound_to
        WHERE n.status = 'bound'
        """,
    ),
    Invariant(
        "manual-numbers-wait-for-a-hand",
        "issuing took no number of a manual range by itself: its request was bound to it, or named it",
        f"""
        SELECT {NUMBER} AS offender,
               n.issue_request_id IS NOT NULL
               AND q.named_number IS DISTINCT FROM {NUMBER}
               AND NOT EXISTS (
                   SELECT FROM number_history AS h
                   WHERE h.taxpayer_id = n.taxpayer_id AND h.environment = n.environment
                     AND h.prefix = n.prefix AND h.sequence = n.sequence AND h.bound_to = n.issue_request_id) AS broken
        FROM numbers AS n
        JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        LEFT JOIN issue_requests AS q
          ON q.taxpayer_id = n.taxpayer_id AND q.environment = n.environment
         AND q.issue_request_id = n.issue_request_id
        WHERE r.claim_mode = 'manual'
        """,
    ),
)
