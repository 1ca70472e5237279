"""What must hold of the rows, whatever happened: each invariant as one statement that recomputes it.

A statement gives every row that it judges, as `offender` (identifiers, never contents) and `broken` (never null).
It relies on no constraint and no copied column: where the constraint that forbids an offence was lost, or the row
came in past it, the statement still sees it.
"""

# ruff: noqa: S608 -- every part of these statements is a constant of this file

from db.number_invariants import NUMBER_INVARIANTS, Invariant

#: Numbers and range ends as 20 digits.
_NUMBER = "lpad(n.prefix::text, 6, '0') || lpad(n.sequence::text, 14, '0')"
_RANGE = "r.taxpayer_id || ' ' || r.range_id::text"
_REQUEST = "q.taxpayer_id || ' ' || q.issue_request_id"
_CLAIM = "c.taxpayer_id || ' ' || c.claim_id"
_STOCK = "s.taxpayer_id || ' ' || s.channel_mode || ' ' || s.year::text"

#: Quarantined and foreign ranges are withheld: shown, counted, never issued from.
_WITHHELD = "('quarantined', 'foreign')"

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


INVARIANTS: tuple[Invariant, ...] = (
    *NUMBER_INVARIANTS,
    Invariant(
        "one-environment",
        "every row belongs to the environment that the database serves",
        """
        SELECT kind || ' ' || identifier AS offender,
               environment IS DISTINCT FROM (SELECT min(environment) FROM deployment) AS broken
        FROM (
            SELECT 'organisation', code, environment FROM organizations
            UNION ALL SELECT 'stock', taxpayer_id || ' ' || channel_mode || ' ' || year, environment FROM stocks
            UNION ALL SELECT 'claim', taxpayer_id || ' ' || claim_id, environment FROM claims
            UNION ALL SELECT 'range', taxpayer_id || ' ' || range_id, environment FROM ranges
            UNION ALL SELECT 'request', taxpayer_id || ' ' || issue_request_id, environment FROM issue_requests
            UNION ALL SELECT 'number', taxpayer_id || ' ' || prefix || '-' || sequence, environment FROM numbers
        ) AS every (kind, identifier, environment)
        """,
    ),
    Invariant(
        "no-two-ranges-overlap",
        "no number lies in two ranges that are held, of one taxpayer or of two",
        f"""
        SELECT {_RANGE} AS offender, coalesce(r.first_sequence <= r.highest_before, false) AS broken
        FROM (
            SELECT taxpayer_id, range_id, first_sequence,
                   max(last_sequence) OVER (
                       PARTITION BY environment, prefix ORDER BY first_sequence, last_sequence, range_id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest_before
            FROM ranges WHERE status NOT IN {_WITHHELD}
        ) AS r
        """,
    ),
    Invariant(
        "prefix-matches-the-stock",
        "digits 1-2 of a range are its stock's year, digits 5-6 its channel mode",
        f"""
        SELECT {_RANGE} AS offender,
               2000 + r.prefix / 10000 <> r.year OR (r.status <> 'quarantined' AND r.prefix % 100 IS DISTINCT FROM
               CASE r.channel_mode WHEN 'self-use' THEN 70 WHEN 'on-behalf' THEN 71 WHEN 'joint' THEN 72 END) AS broken
        FROM ranges AS r
        """,
    ),
    Invariant(
        "cursor-stands-in-its-range",
        "what is next lies between the first number and one past the last; a range used up has nothing next",
        f"""
        SELECT {_RANGE} AS offender,
               r.first_sequence > r.last_sequence
               OR r.next_sequence NOT BETWEEN r.first_sequence AND r.last_sequence + 1
               OR (r.status = 'used-up' AND r.next_sequence <= r.last_sequence) AS broken
        FROM ranges AS r
        """,
    ),
    Invariant(
        "cursor-equals-numbers-taken",
        "claimed = assigned + available + expired + untouched: every number behind the cursor has its row, no other",
        f"""
        SELECT {_RANGE} AS offender,
               coalesce(n.taken, 0) <> r.next_sequence - r.first_sequence
               OR coalesce(n.highest >= r.next_sequence, false) AS broken
        FROM ranges AS r
        LEFT JOIN (
            SELECT taxpayer_id, environment, range_id, count(*) AS taken, max(sequence) AS highest
            FROM numbers GROUP BY taxpayer_id, environment, range_id
        ) AS n USING (taxpayer_id, environment, range_id)
        """,
    ),
    Invariant(
        "number-in-its-range",
        "a number lies between the first and the last of the range that it names",
        f"""
        SELECT {_NUMBER} AS offender,
               (n.prefix = r.prefix AND n.sequence BETWEEN r.first_sequence AND r.last_sequence) IS NOT TRUE AS broken
        FROM numbers AS n
        LEFT JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        """,
    ),
    Invariant(
        "number-once",
        "a number stands once, of one taxpayer",
        f"""
        SELECT {_NUMBER} AS offender, n.times > 1 AS broken
        FROM (
            SELECT prefix, sequence, count(*) AS times FROM numbers GROUP BY environment, prefix, sequence
        ) AS n
        """,
    ),
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
        SELECT {_REQUEST} AS offender,
               (q.status = 'assigned') <> EXISTS (
                   SELECT FROM numbers AS n
                   WHERE n.taxpayer_id = q.taxpayer_id AND n.environment = q.environment
                     AND coalesce(n.issue_request_id, n.bound_to) = q.issue_request_id
                     AND n.issue_request_id IS NOT NULL) AS broken
        FROM issue_requests AS q
        """,
    ),
    Invariant(
        "assigned-number-fits-its-request",
        "year and channel mode of an assigned number are those of the request that holds it, which is stored",
        f"""
        SELECT {_NUMBER} AS offender,
               (2000 + n.prefix / 10000 = EXTRACT(year FROM q.issue_date) AND n.issue_date = q.issue_date
                AND r.channel_mode = q.channel_mode) IS NOT TRUE AS broken
        FROM numbers AS n
        LEFT JOIN issue_requests AS q USING (taxpayer_id, environment, issue_request_id)
        LEFT JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        WHERE n.status IN ('assigned', 'held', 'used')
        """,
    ),
    Invariant(
        "nothing-assigned-while-withheld",
        "no number was assigned from a range while it was quarantined or foreign",
        f"""
        SELECT {_NUMBER} AS offender,
               r.status = 'foreign'
               OR (r.status = 'quarantined' AND n.assigned_at > coalesce(r.closed_at, r.created_at)) AS broken
        FROM numbers AS n
        JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        WHERE n.status IN ('assigned', 'held', 'used')
        """,
    ),
    Invariant(
        "waiting-only-when-stock-is-empty",
        "nobody waits for a stock that has an automatic number, or that does not know that it ran out, unless paused",
        f"""
        SELECT {_STOCK} AS offender,
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
        "requests-that-ever-waited",
        "each request that waits has a turn that no other has; counted are all that ever waited",
        f"""
        SELECT {_REQUEST} AS offender, q.queue_position IS NULL OR q.times > 1 AS broken
        FROM (
            SELECT taxpayer_id, issue_request_id, queue_position, count(*) OVER (PARTITION BY queue_position) AS times
            FROM issue_requests WHERE status = 'waiting'
        ) AS q
        """,
        # Who was served has left the queue; the sequence of turns remembers how many there were.
        counts="SELECT coalesce(pg_sequence_last_value('queue_positions'::regclass), 0)",
    ),
    Invariant(
        "exhausted-stock-is-empty",
        "a stock that counts as run out has no automatic number",
        f"""
        SELECT {_STOCK} AS offender, s.level = 'exhausted' AND {_HAS_NUMBERS} AS broken
        FROM stocks AS s
        """,
    ),
    Invariant(
        "one-open-automatic-claim-per-stock",
        "a stock has at most one automatic claim under way",
        f"""
        SELECT {_STOCK} AS offender,
               (SELECT count(*) FROM claims AS c
                WHERE c.taxpayer_id = s.taxpayer_id AND c.environment = s.environment
                  AND c.channel_mode = s.channel_mode AND c.year = s.year
                  AND c.status = 'open' AND c.claim_mode = 'automatic') > 1 AS broken
        FROM stocks AS s
        """,
    ),
    Invariant(
        "business-serial-once",
        "no two claims share a business serial, or a replay of one would bring the other's range",
        f"""
        SELECT {_CLAIM} AS offender, c.times > 1 AS broken
        FROM (
            SELECT taxpayer_id, claim_id, count(*) OVER (PARTITION BY environment, business_serial) AS times
            FROM claims
        ) AS c
        """,
    ),
    Invariant(
        "claim-goes-on",
        "a claim whose outcome is unknown has a time for its next try that is not long past, a settled one has none",
        f"""
        SELECT {_CLAIM} AS offender,
               (CASE WHEN c.status IN ('open', 'unresolved')
                     THEN c.next_attempt_at >= :overdue_before AND c.settled_at IS NULL
                     ELSE c.next_attempt_at IS NULL AND c.settled_at IS NOT NULL END) IS NOT TRUE AS broken
        FROM claims AS c
        """,
    ),
    Invariant(
        "granted-claim-has-its-range",
        "a granted claim has one range, of its quantity, mode and channel; one not granted has none",
        f"""
        SELECT {_CLAIM} AS offender,
               (CASE c.status
                     WHEN 'granted' THEN r.ranges = 1 AND r.fitting = 1
                     WHEN 'quarantined' THEN coalesce(r.ranges = r.withheld AND r.ranges = 1, true)
                     ELSE r.ranges IS NULL END) IS NOT TRUE AS broken
        FROM claims AS c
        LEFT JOIN (
            SELECT r.taxpayer_id, r.environment, r.claim_id, count(*) AS ranges,
                   count(*) FILTER (WHERE r.status = 'quarantined') AS withheld,
                   count(*) FILTER (WHERE r.last_sequence - r.first_sequence + 1 = c.quantity
                                      AND r.claim_mode = c.claim_mode
                                      AND r.channel_mode = c.channel_mode) AS fitting
            FROM ranges AS r
            JOIN claims AS c USING (taxpayer_id, environment, claim_id)
            GROUP BY r.taxpayer_id, r.environment, r.claim_id
        ) AS r USING (taxpayer_id, environment, claim_id)
        """,
    ),
    Invariant(
        "range-knows-its-claim",
        "a range comes from a stored claim, or is foreign by origin: listed by the channel",
        f"""
        SELECT {_RANGE} AS offender,
               CASE WHEN r.claim_id IS NULL THEN r.listed_serial IS NULL AND r.listed_unused IS NULL
                    ELSE c.claim_id IS NULL END AS broken
        FROM ranges AS r
        LEFT JOIN claims AS c USING (taxpayer_id, environment, claim_id)
        """,
    ),
    Invariant(
        "message-leaves-the-outbox",
        "of all messages ever written, none lies in the outbox a day after it was due, or leased far ahead",
        """
        SELECT 'message ' || o.outbox_id AS offender,
               o.publish_after NOT BETWEEN :overdue_before AND :leased_until AS broken
        FROM outbox AS o
        """,
        # What was confirmed has left; the identity column remembers how many there were.
        counts="SELECT coalesce(pg_sequence_last_value(pg_get_serial_sequence('outbox', 'outbox_id')::regclass), 0)",
    ),
)
