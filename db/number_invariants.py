"""What must hold of the life of every number: its state, its history, and whoever asked for each change."""

# ruff: noqa: S608 -- every part of these statements is a constant of this file

from dataclasses import dataclass

from db.guards import TRANSITIONS

_NUMBER = "lpad(n.prefix::text, 6, '0') || lpad(n.sequence::text, 14, '0')"

_ALLOWED = ", ".join(f"('{before}', '{after}')" for before, after in TRANSITIONS)

#: Every state that numbers had or have, each with the one before it.
_STATES = """
    SELECT taxpayer_id, environment, prefix, sequence, step, status, event_id, is_present,
           lag(step) OVER of_one AS step_before, lag(status) OVER of_one AS status_before,
           lead(step) OVER of_one IS NULL AS is_last
    FROM (
        SELECT taxpayer_id, environment, prefix, sequence, step, status, event_id, false AS is_present
        FROM number_history
        UNION ALL
        SELECT taxpayer_id, environment, prefix, sequence, step, status, event_id, true FROM numbers
    ) AS every
    WINDOW of_one AS (PARTITION BY taxpayer_id, environment, prefix, sequence ORDER BY step)
"""


@dataclass(frozen=True, slots=True)
class Invariant:
    """A rule with the statement that judges rows by it."""

    name: str
    #: The rule in words, as an operator reads it.
    says: str
    #: May use `:overdue_before` and `:leased_until`, the instants between which something that goes on is due.
    judges: str
    #: Counts what was checked, where that is more than the rows still there.
    counts: str | None = None


NUMBER_INVARIANTS: tuple[Invariant, ...] = (
    Invariant(
        "number-fits-its-state",
        "an assigned, held or used number names its request and its time, a bound one its request, others none",
        f"""
        SELECT {_NUMBER} AS offender,
               (CASE WHEN n.status IN ('assigned', 'held', 'used')
                     THEN num_nonnulls(n.issue_request_id, n.issue_date, n.assigned_at) = 3 AND n.bound_to IS NULL
                     WHEN n.status IN ('available', 'bound', 'voided', 'expired')
                     THEN num_nonnulls(n.issue_request_id, n.issue_date, n.assigned_at) = 0
                          AND (n.status = 'bound') = (n.bound_to IS NOT NULL)
                     ELSE false END) IS NOT TRUE AS broken
        FROM numbers AS n
        """,
    ),
    Invariant(
        "history-leads-to-the-present",
        "every number has each step of its life once, every step is one that there is, and the last is its present",
        f"""
        SELECT {_NUMBER} AS offender,
               (n.step = coalesce(n.step_before, 0) + 1
                AND n.is_last = n.is_present
                AND CASE WHEN n.step_before IS NULL THEN n.status IN ('available', 'assigned')
                         ELSE (n.status_before, n.status) IN ({_ALLOWED}) END) IS NOT TRUE AS broken
        FROM ({_STATES}) AS n
        """,
    ),
    Invariant(
        "change-has-its-request",
        "what was bound, freed, held, used, released or voided was so by a stored request or outcome, and no other way",
        f"""
        SELECT {_NUMBER} AS offender,
               CASE WHEN n.status IN ('held', 'used', 'voided')
                      OR (n.status = 'available' AND n.status_before IN ('assigned', 'held'))
                    THEN o.became IS DISTINCT FROM n.status
                    WHEN n.status = 'bound' THEN b.action IS DISTINCT FROM 'bind'
                    WHEN n.status = 'available' AND n.status_before = 'bound' THEN b.action IS DISTINCT FROM 'unbind'
                    ELSE o.became IS NOT NULL OR b.action IS NOT NULL END AS broken
        FROM ({_STATES}) AS n
        LEFT JOIN invoice_outcomes AS o USING (taxpayer_id, environment, prefix, sequence, event_id)
        LEFT JOIN number_bindings AS b USING (taxpayer_id, environment, prefix, sequence, event_id)
        """,
    ),
    Invariant(
        "used-number-has-its-outcome",
        "a number is used if, and only if, an outcome says that its request was uploaded: for ever",
        f"""
        SELECT {_NUMBER} AS offender,
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
        "bound-number-is-kept",
        "a bound number is a manual one, and the request that it is kept for neither waits nor holds a number",
        f"""
        SELECT {_NUMBER} AS offender,
               n.status = 'bound' AND (r.claim_mode IS DISTINCT FROM 'manual'
                   OR coalesce(q.status IN ('waiting', 'assigned'), false)) AS broken
        FROM numbers AS n
        LEFT JOIN ranges AS r USING (taxpayer_id, environment, range_id)
        LEFT JOIN issue_requests AS q
          ON q.taxpayer_id = n.taxpayer_id AND q.environment = n.environment AND q.issue_request_id = n.bound_to
        """,
    ),
    Invariant(
        "manual-numbers-wait-for-a-hand",
        "issuing took no number of a manual range by itself: its request was bound to it, or named it",
        f"""
        SELECT {_NUMBER} AS offender,
               n.issue_request_id IS NOT NULL
               AND q.named_number IS DISTINCT FROM {_NUMBER}
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
