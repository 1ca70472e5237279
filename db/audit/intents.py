"""What must hold of everything that is under way: it goes on, or somebody was told that it does not.

Times allow a day beyond every wait of the worker, and so an evening without any worker.
"""

# ruff: noqa: S608 -- every part of these statements is a constant of this package

from db.audit.invariant import CLAIM, NUMBER, REQUEST, STOCK, Invariant

INTENT_INVARIANTS = (
    Invariant(
        "one-open-automatic-claim-per-stock",
        "a stock has at most one automatic claim under way",
        """
        SELECT c.taxpayer_id || ' ' || c.channel_mode || ' ' || c.year::text AS offender, count(*) > 1 AS broken
        FROM claims AS c WHERE c.status = 'open' AND c.claim_mode = 'automatic'
        GROUP BY c.taxpayer_id, c.environment, c.channel_mode, c.year
        """,
        # Claims that were settled left room for the next.
        counts="SELECT count(*) FROM claims WHERE claim_mode = 'automatic'",
    ),
    Invariant(
        "business-serial-once",
        "no two claims share a business serial, or a replay of one would bring the other's range",
        f"""
        SELECT {CLAIM} AS offender, c.times > 1 AS broken
        FROM (
            SELECT taxpayer_id, claim_id, count(*) OVER (PARTITION BY environment, business_serial) AS times
            FROM claims
        ) AS c
        """,
    ),
    Invariant(
        "granted-claim-has-its-range",
        "a granted claim has one range, of its quantity, mode and channel; one not granted has none",
        f"""
        SELECT {CLAIM} AS offender,
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
        "claim-goes-on",
        "a claim whose outcome is unknown has a time for its next try that is not long past, a settled one has none",
        f"""
        SELECT {CLAIM} AS offender,
               (CASE WHEN c.status IN ('open', 'unresolved')
                     THEN c.next_attempt_at >= :overdue_before AND c.settled_at IS NULL
                     ELSE c.next_attempt_at IS NULL AND c.settled_at IS NOT NULL END) IS NOT TRUE AS broken
        FROM claims AS c
        """,
    ),
    Invariant(
        "old-claim-was-told-of",
        "a claim without an answer was told of as unresolved within a day, and is given up when its days are over",
        f"""
        SELECT {CLAIM} AS offender,
               c.reason IS DISTINCT FROM 'leqi-throttled'
               AND (c.status = 'open' AND c.created_at < :overdue_before
                    OR c.status IN ('open', 'unresolved') AND c.created_at < :given_up_before) AS broken
        FROM claims AS c
        """,
    ),
    Invariant(
        "empty-stock-is-claimed-for",
        "for a stock of this year that ran out a claim is under way or was made within a day, where its policy has it",
        f"""
        SELECT {STOCK} AS offender,
               s.exhausted_at < :overdue_before
               AND (s.claim_not_before IS NULL OR s.claim_not_before < :now OR s.claim_not_before > :leased_until)
               AND NOT EXISTS (
                   SELECT FROM claims AS c
                   WHERE c.taxpayer_id = s.taxpayer_id AND c.environment = s.environment
                     AND c.channel_mode = s.channel_mode AND c.year = s.year AND c.claim_mode = 'automatic'
                     AND (c.status = 'open' OR c.created_at >= :overdue_before)) AS broken
        FROM stocks AS s
        JOIN channels AS p USING (taxpayer_id, environment, channel_mode)
        WHERE s.level = 'exhausted' AND p.automatic_claims AND NOT s.paused
          AND s.year = EXTRACT(year FROM CAST(:now AS timestamptz) AT TIME ZONE 'Asia/Shanghai')
          AND EXISTS (
            SELECT FROM organizations AS o
            WHERE o.taxpayer_id = s.taxpayer_id AND o.environment = s.environment AND o.channel_mode = s.channel_mode)
        """,
        counts="SELECT count(*) FROM stocks",
    ),
    Invariant(
        "nobody-waits-past-the-limit",
        "no request has waited a day longer than the limit that refuses it",
        f"""
        SELECT {REQUEST} AS offender, q.waiting_since < :waiting_before AS broken
        FROM issue_requests AS q WHERE q.status = 'waiting' AND q.waiting_since IS NOT NULL
        """,
        counts="SELECT coalesce(pg_sequence_last_value('queue_positions'::regclass), 0)",
    ),
    Invariant(
        "overdue-outcome-was-told-of",
        "of each number whose upload has had no outcome for a day too long, somebody was told",
        f"""
        SELECT {NUMBER} AS offender,
               n.assigned_at < :outcome_before
               AND n.assigned_at > coalesce((SELECT max(overdue_until) FROM deployment), '-infinity') AS broken
        FROM numbers AS n WHERE n.status IN ('assigned', 'held') AND n.assigned_at IS NOT NULL
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
