"""What must hold of the life of every number: each step that it took, who asked for it, and which event told of it."""

# ruff: noqa: S608 -- every part of these statements is a constant of this package

from db.audit.invariant import NUMBER, Invariant
from db.guards import TRANSITIONS

_ALLOWED = ", ".join(f"('{before}', '{after}')" for before, after in TRANSITIONS)

#: Every state that numbers had or have.
_STATES = """
    SELECT taxpayer_id, environment, prefix, sequence, step, status, coalesce(issue_request_id, bound_to) AS holder,
           event_id, false AS is_present
    FROM number_history
    UNION ALL
    SELECT taxpayer_id, environment, prefix, sequence, step, status, coalesce(issue_request_id, bound_to),
           event_id, true
    FROM numbers
"""

#: The same, each with the one before it. Numbers alone lead from one to the other, for those are quickly sorted: one
#: that two taxpayers have breaks this too.
_STEPS = f"""
    SELECT prefix, sequence, step, status, holder, is_present,
           lag(step) OVER of_one AS step_before, lag(status) OVER of_one AS status_before,
           lag(holder) OVER of_one AS holder_before, lead(step) OVER of_one IS NULL AS is_last
    FROM ({_STATES}) AS every
    WINDOW of_one AS (PARTITION BY prefix, sequence ORDER BY step)
"""

#: What asked for changes, each with the change that it says it made.
_ASKED = """
    SELECT 'outcome' AS kind, taxpayer_id, environment, outcome_id AS id, prefix, sequence, event_id, became AS made
    FROM invoice_outcomes
    UNION ALL
    SELECT 'binding', taxpayer_id, environment, binding_id, prefix, sequence, event_id,
           CASE action WHEN 'bind' THEN 'bound' WHEN 'unbind' THEN 'available' END
    FROM number_bindings
"""

HISTORY_INVARIANTS = (
    Invariant(
        "history-leads-to-the-present",
        "every number has each step of its life once, each one that there is and with its holder, the last its present",
        f"""
        SELECT {NUMBER} AS offender,
               (n.step = coalesce(n.step_before, 0) + 1
                AND n.is_last = n.is_present
                AND CASE WHEN n.step_before IS NULL THEN n.status IN ('available', 'assigned')
                         ELSE (n.status_before, n.status) IN ({_ALLOWED}) END
                AND (n.holder IS NOT DISTINCT FROM n.holder_before
                     OR NOT (n.status IN ('held', 'used')
                             OR n.status = 'assigned' AND coalesce(n.status_before = 'bound', false))))
               IS NOT TRUE AS broken
        FROM ({_STEPS}) AS n
        """,
    ),
    Invariant(
        "change-has-its-request",
        "what was bound, freed, held, used, released or voided was so by a stored request, which did nothing else",
        f"""
        SELECT coalesce({NUMBER}, r.kind || ' ' || r.taxpayer_id || ' ' || r.id) AS offender,
               (r.made = n.status AND r.taxpayer_id = n.taxpayer_id AND r.environment = n.environment
                AND r.kind = CASE WHEN n.status = 'bound' OR (n.status = 'available' AND EXISTS (
                                      SELECT FROM number_history AS h
                                      WHERE h.taxpayer_id = n.taxpayer_id AND h.environment = n.environment
                                        AND h.prefix = n.prefix AND h.sequence = n.sequence
                                        AND h.step = n.step - 1 AND h.status = 'bound'))
                                  THEN 'binding' ELSE 'outcome' END) IS NOT TRUE AS broken
        FROM (
            SELECT * FROM ({_STATES}) AS every
            WHERE status IN ('bound', 'held', 'used', 'voided') OR (status = 'available' AND step > 1)
        ) AS n
        FULL JOIN ({_ASKED}) AS r USING (prefix, sequence, event_id)
        """,
    ),
    Invariant(
        "used-number-has-its-outcome",
        "a number is used if, and only if, an outcome says that its request was uploaded: for ever",
        f"""
        SELECT {NUMBER} AS offender,
               ((n.status = 'used') = (o.became IS NOT NULL)
                AND (o.became IS NULL OR (o.issue_request_id = n.issue_request_id AND o.outcome = 'uploaded')))
               IS NOT TRUE AS broken
        FROM numbers AS n
        LEFT JOIN invoice_outcomes AS o
          ON o.taxpayer_id = n.taxpayer_id AND o.environment = n.environment
         AND o.prefix = n.prefix AND o.sequence = n.sequence AND o.became = 'used'
        """,
    ),
    Invariant(
        "change-names-its-event",
        "each change of a number names the event that told of it",
        f"""
        SELECT {NUMBER} AS offender, n.event_id IS NULL AS broken FROM ({_STATES}) AS n
        """,
    ),
    Invariant(
        "event-tells-of-one-fact",
        "no event tells of two changes, but for the split or the end of one range, told once for all its numbers",
        f"""
        SELECT n.taxpayer_id || ' ' || {NUMBER} || ' ' || n.event_id::text AS offender,
               (n.whole_range AND n.alike AND EXISTS (
                   SELECT FROM ranges AS r
                   WHERE r.taxpayer_id = n.taxpayer_id AND r.environment = n.environment AND r.prefix = n.prefix
                     AND r.first_sequence <= n.sequence AND r.last_sequence >= n.last_sequence)) IS NOT TRUE AS broken
        FROM (
            SELECT event_id, min(taxpayer_id) AS taxpayer_id, min(environment) AS environment, min(prefix) AS prefix,
                   min(sequence) AS sequence, max(sequence) AS last_sequence,
                   bool_and(status = 'expired' OR (status = 'available' AND step = 1)) AS whole_range,
                   min(status) = max(status) AND min(taxpayer_id) = max(taxpayer_id) AND min(prefix) = max(prefix)
                   AND count(DISTINCT sequence) = count(*) AS alike
            FROM ({_STATES}) AS every
            JOIN (
                SELECT event_id FROM ({_STATES}) AS every GROUP BY event_id HAVING count(*) > 1
            ) AS shared USING (event_id)
            GROUP BY event_id
        ) AS n
        """,
        # Only events that several changes name are judged one by one.
        counts="SELECT (SELECT count(event_id) FROM numbers) + (SELECT count(event_id) FROM number_history)",
    ),
)
