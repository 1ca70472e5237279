"""What must hold of every range: where it lies, and what became of each of its numbers."""

# ruff: noqa: S608 -- every part of these statements is a constant of this package

from db.audit.invariant import ENDED, RANGE, WITHHELD, Invariant

#: What became of the numbers that have a row, counted by range and state.
_COUNTED = """
    SELECT taxpayer_id, environment, range_id, max(sequence) AS highest,
           count(*) FILTER (WHERE status = 'used') AS used,
           count(*) FILTER (WHERE status = 'assigned') AS assigned,
           count(*) FILTER (WHERE status = 'held') AS held,
           count(*) FILTER (WHERE status = 'bound') AS bound,
           count(*) FILTER (WHERE status = 'available') AS available,
           count(*) FILTER (WHERE status = 'voided') AS voided,
           count(*) FILTER (WHERE status = 'expired') AS expired
    FROM numbers GROUP BY taxpayer_id, environment, range_id
"""

RANGE_INVARIANTS = (
    Invariant(
        "no-two-ranges-overlap",
        "no number lies in two ranges that are held, of one taxpayer or of two",
        f"""
        SELECT {RANGE} AS offender, coalesce(r.first_sequence <= r.highest_before, false) AS broken
        FROM (
            SELECT taxpayer_id, range_id, first_sequence,
                   max(last_sequence) OVER (
                       PARTITION BY environment, prefix ORDER BY first_sequence, last_sequence, range_id
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest_before
            FROM ranges WHERE status NOT IN {WITHHELD}
        ) AS r
        """,
    ),
    Invariant(
        "prefix-matches-the-stock",
        "digits 1-2 of a range are its stock's year, digits 5-6 its channel mode",
        f"""
        SELECT {RANGE} AS offender,
               2000 + r.prefix / 10000 <> r.year OR (r.status <> 'quarantined' AND r.prefix % 100 IS DISTINCT FROM
               CASE r.channel_mode WHEN 'self-use' THEN 70 WHEN 'on-behalf' THEN 71 WHEN 'joint' THEN 72 END) AS broken
        FROM ranges AS r
        """,
    ),
    Invariant(
        "cursor-stands-in-its-range",
        "what is next lies between the first number and one past the last",
        f"""
        SELECT {RANGE} AS offender,
               r.first_sequence > r.last_sequence
               OR r.next_sequence NOT BETWEEN r.first_sequence AND r.last_sequence + 1 AS broken
        FROM ranges AS r
        """,
    ),
    Invariant(
        "claimed-equals-what-became-of-it",
        "claimed = used + assigned + held + bound + available + voided + expired + untouched, of each range",
        f"""
        SELECT {RANGE} AS offender,
               r.last_sequence - r.first_sequence + 1
               <> coalesce(n.used + n.assigned + n.held + n.bound + n.available + n.voided + n.expired, 0)
               + (r.last_sequence - r.next_sequence + 1)
               OR coalesce(n.highest >= r.next_sequence, false) AS broken
        FROM ranges AS r
        LEFT JOIN ({_COUNTED}) AS n USING (taxpayer_id, environment, range_id)
        """,
    ),
    Invariant(
        "status-tells-what-is-left",
        "a range is active while a number of it is free, used up when none is; one that ended has none left to give",
        f"""
        SELECT {RANGE} AS offender,
               (CASE r.status
                     WHEN 'active' THEN r.next_sequence <= r.last_sequence OR n.available + n.bound > 0
                     WHEN 'used-up' THEN r.next_sequence > r.last_sequence AND n.available + n.bound = 0
                     WHEN 'foreign' THEN n.highest IS NULL
                     ELSE r.status IN {ENDED} AND coalesce(n.available + n.bound, 0) = 0 END
                AND (r.status IN {ENDED} OR coalesce(n.expired, 0) = 0)) IS NOT TRUE AS broken
        FROM ranges AS r
        LEFT JOIN ({_COUNTED}) AS n USING (taxpayer_id, environment, range_id)
        """,
    ),
    Invariant(
        "range-knows-its-claim",
        "a range comes from a stored claim, or is foreign by origin: listed by the channel",
        f"""
        SELECT {RANGE} AS offender,
               CASE WHEN r.claim_id IS NULL THEN r.listed_serial IS NULL AND r.listed_unused IS NULL
                    ELSE c.claim_id IS NULL END AS broken
        FROM ranges AS r
        LEFT JOIN claims AS c USING (taxpayer_id, environment, claim_id)
        """,
    ),
)
