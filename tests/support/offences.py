"""Offences: statements that break an invariant each, where no constraint holds them back."""

# ruff: noqa: S608 -- the statements are constants of this file

from dataclasses import dataclass

from tests.support.ledger import OTHER_TAXPAYER, TAXPAYER


@dataclass(frozen=True, slots=True)
class Offence:
    """A statement that breaks an invariant, and what must stand among the offenders' identifiers."""

    invariant: str
    statement: str
    offender: str
    #: Other invariants that the same statement breaks.
    also: tuple[str, ...] = ()


_OF_AUTOMATIC = "WHERE claim_id = 'automatic-1'"

OFFENCES = (
    Offence(
        "one-environment",
        "UPDATE claims SET environment = 'production' WHERE claim_id = 'refused-1'",
        "refused-1",
        also=("names-only-what-is-stored",),
    ),
    Offence("one-environment", "DELETE FROM deployment", "A"),
    Offence(
        "no-two-ranges-overlap",
        f"UPDATE ranges SET first_sequence = 199, taxpayer_id = '{OTHER_TAXPAYER}' WHERE claim_id = 'manual-1'",
        OTHER_TAXPAYER,
        also=(
            "bound-number-is-kept",
            "claimed-equals-what-became-of-it",
            "event-tells-of-one-fact",
            "granted-claim-has-its-range",
            "number-in-its-range",
            "range-knows-its-claim",
            "status-tells-what-is-left",
        ),
    ),
    Offence(
        "prefix-matches-the-stock",
        f"UPDATE ranges SET year = 2025 {_OF_AUTOMATIC}",
        TAXPAYER,
        also=("names-only-what-is-stored",),
    ),
    Offence(
        "prefix-matches-the-stock",
        f"UPDATE ranges SET channel_mode = 'joint' {_OF_AUTOMATIC}",
        TAXPAYER,
        also=("assigned-number-fits-its-request", "granted-claim-has-its-range", "names-only-what-is-stored"),
    ),
    Offence(
        "cursor-stands-in-its-range",
        f"UPDATE ranges SET next_sequence = 201 {_OF_AUTOMATIC}",
        TAXPAYER,
        also=("claimed-equals-what-became-of-it", "status-tells-what-is-left"),
    ),
    Offence("status-tells-what-is-left", f"UPDATE ranges SET status = 'used-up' {_OF_AUTOMATIC}", TAXPAYER),
    Offence("claimed-equals-what-became-of-it", f"UPDATE ranges SET next_sequence = 104 {_OF_AUTOMATIC}", TAXPAYER),
    Offence("claimed-equals-what-became-of-it", f"UPDATE ranges SET next_sequence = 100 {_OF_AUTOMATIC}", TAXPAYER),
    Offence(
        "claimed-equals-what-became-of-it",
        "DELETE FROM numbers WHERE issue_request_id = 'R1'",
        TAXPAYER,
        also=("assigned-request-has-its-number",),
    ),
    Offence(
        "claimed-equals-what-became-of-it", "UPDATE numbers SET sequence = 150 WHERE issue_request_id = 'R2'", TAXPAYER
    ),
    Offence(
        "number-in-its-range",
        "UPDATE numbers SET sequence = 200 WHERE issue_request_id = 'R2'",
        "00000000000200",
        also=("claimed-equals-what-became-of-it",),
    ),
    Offence(
        "number-in-its-range",
        f"DELETE FROM ranges {_OF_AUTOMATIC}",
        "00000000000101",
        also=("assigned-number-fits-its-request", "granted-claim-has-its-range"),
    ),
    Offence(
        "number-once",
        "UPDATE numbers SET sequence = 100 WHERE issue_request_id = 'R2'",
        "00000000000100",
        also=("history-leads-to-the-present",),
    ),
    Offence(
        "number-once",
        f"UPDATE numbers SET sequence = 100, taxpayer_id = '{OTHER_TAXPAYER}' WHERE issue_request_id = 'R2'",
        "00000000000100",
        also=(
            "assigned-number-fits-its-request",
            "assigned-request-has-its-number",
            "claimed-equals-what-became-of-it",
            "history-leads-to-the-present",
            "number-in-its-range",
        ),
    ),
    Offence(
        "request-has-one-number",
        "UPDATE numbers SET issue_request_id = 'R1' WHERE issue_request_id = 'R2'",
        "R1",
        also=("assigned-request-has-its-number",),
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'assigned' WHERE issue_request_id = 'W1'",
        "W1",
        also=("request-fits-its-state",),
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'waiting' WHERE issue_request_id = 'R1'",
        "R1",
        also=("request-fits-its-state", "requests-that-ever-waited", "waiting-only-when-stock-is-empty"),
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'closed' WHERE issue_request_id = 'R1'",
        "R1",
        also=("request-fits-its-state",),
    ),
    Offence(
        "assigned-number-fits-its-request",
        "UPDATE issue_requests SET issue_date = '2025-06-15' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "assigned-number-fits-its-request",
        "UPDATE issue_requests SET channel_mode = 'joint' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "assigned-number-fits-its-request",
        "DELETE FROM issue_requests WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET assigned_at = NULL WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET bound_to = 'R9' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET status = 'bound' WHERE sequence = 501",
        "00000000000501",
        also=("change-has-its-request", "event-tells-of-one-fact", "history-leads-to-the-present"),
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET status = 'lost' WHERE sequence = 501",
        "00000000000501",
        also=("claimed-equals-what-became-of-it", "event-tells-of-one-fact", "history-leads-to-the-present"),
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET step = 2 WHERE sequence = 500",
        "00000000000500",
        also=("change-has-its-request", "event-tells-of-one-fact"),
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET step = 3 WHERE sequence = 502",
        "00000000000502",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET step = 2 WHERE sequence = 502",
        "00000000000502",
        also=("change-has-its-request", "event-tells-of-one-fact"),
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET step = 4 WHERE sequence = 502",
        "00000000000502",
        also=("change-has-its-request", "event-tells-of-one-fact"),
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET status = 'voided' WHERE sequence = 502",
        "00000000000502",
        also=("change-has-its-request", "event-tells-of-one-fact"),
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET status = 'voided' WHERE sequence = 500",
        "00000000000500",
        also=("change-has-its-request", "event-tells-of-one-fact"),
    ),
    Offence("history-leads-to-the-present", "DELETE FROM number_history WHERE sequence = 102", "00000000000102"),
    Offence("change-has-its-request", "DELETE FROM number_bindings", "00000000000502"),
    Offence("change-has-its-request", "UPDATE number_bindings SET action = 'unbind'", "00000000000502"),
    Offence(
        "change-has-its-request",
        "DELETE FROM invoice_outcomes",
        "00000000000102",
        also=("used-number-has-its-outcome",),
    ),
    Offence(
        "change-has-its-request",
        "UPDATE invoice_outcomes SET became = 'held', event_id = (SELECT event_id FROM numbers WHERE sequence = 102)",
        "00000000000102",
        also=("used-number-has-its-outcome",),
    ),
    Offence(
        "used-number-has-its-outcome",
        "DELETE FROM invoice_outcomes",
        "00000000000102",
        also=("change-has-its-request",),
    ),
    Offence("used-number-has-its-outcome", "UPDATE invoice_outcomes SET issue_request_id = 'R1'", "00000000000102"),
    Offence(
        "used-number-has-its-outcome",
        "UPDATE numbers SET status = 'assigned' WHERE sequence = 102",
        "000102",
        also=("change-has-its-request", "history-leads-to-the-present"),
    ),
    Offence(
        "used-number-has-its-outcome",
        "UPDATE numbers SET status = 'used' WHERE sequence = 100",
        "000100",
        also=("change-has-its-request", "history-leads-to-the-present"),
    ),
    Offence(
        "bound-number-is-kept",
        "UPDATE ranges SET claim_mode = 'automatic'",
        "00000000000502",
        also=("granted-claim-has-its-range",),
    ),
    Offence(
        "bound-number-is-kept",
        "UPDATE numbers SET bound_to = 'R1' WHERE sequence = 502",
        "00000000000502",
        also=("request-has-one-number",),
    ),
    Offence(
        "request-has-one-number",
        "UPDATE numbers SET bound_to = 'R1' WHERE sequence = 502",
        "R1",
        also=("bound-number-is-kept",),
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE numbers SET issue_date = '2026-01-01' WHERE sequence = 500",
        "00000000000500",
    ),
    Offence(
        "nothing-assigned-while-withheld",
        f"UPDATE ranges SET status = 'foreign' {_OF_AUTOMATIC}",
        "000100",
        also=("status-tells-what-is-left",),
    ),
    Offence(
        "nothing-assigned-while-withheld",
        f"UPDATE ranges SET status = 'quarantined', closed_at = '2026-06-15T03:59:59Z' {_OF_AUTOMATIC}",
        "00000000000100",
    ),
    Offence(
        "manual-numbers-wait-for-a-hand",
        "UPDATE numbers SET status = 'assigned', issue_request_id = 'R1' WHERE sequence = 501",
        "00000000000501",
        also=(
            "assigned-number-fits-its-request",
            "event-tells-of-one-fact",
            "number-fits-its-state",
            "request-has-one-number",
        ),
    ),
    Offence(
        "waiting-only-when-stock-is-empty",
        f"UPDATE ranges SET taxpayer_id = '{OTHER_TAXPAYER}' {_OF_AUTOMATIC}",
        f"{OTHER_TAXPAYER} self-use 2026",
        also=(
            "assigned-number-fits-its-request",
            "claimed-equals-what-became-of-it",
            "exhausted-stock-is-empty",
            "granted-claim-has-its-range",
            "number-in-its-range",
            "range-knows-its-claim",
        ),
    ),
    Offence(
        "waiting-only-when-stock-is-empty",
        f"UPDATE stocks SET level = 'ok' WHERE taxpayer_id = '{OTHER_TAXPAYER}'",
        f"{OTHER_TAXPAYER} self-use 2026",
    ),
    Offence(
        "waiting-only-when-stock-is-empty",
        "UPDATE issue_requests SET issue_date = '2027-01-01' WHERE issue_request_id = 'W1'",
        f"{OTHER_TAXPAYER} self-use 2027",
    ),
    Offence(
        "requests-that-ever-waited",
        "UPDATE issue_requests SET queue_position = 1, status = 'waiting' WHERE issue_request_id IN ('W1', 'C1')",
        f"{TAXPAYER} C1",
        also=("request-fits-its-state", "waiting-only-when-stock-is-empty"),
    ),
    Offence(
        "exhausted-stock-is-empty",
        f"UPDATE stocks SET level = 'exhausted' WHERE taxpayer_id = '{TAXPAYER}'",
        f"{TAXPAYER} self-use 2026",
    ),
    Offence(
        "one-open-automatic-claim-per-stock",
        f"UPDATE claims SET status = 'open', taxpayer_id = '{OTHER_TAXPAYER}' WHERE claim_id = 'refused-1'",
        f"{OTHER_TAXPAYER} self-use 2026",
        also=("claim-goes-on",),
    ),
    Offence(
        "business-serial-once",
        "UPDATE claims SET business_serial = 'serial of open-1' WHERE claim_id = 'refused-1'",
        "open-1",
    ),
    Offence("claim-goes-on", "UPDATE claims SET next_attempt_at = NULL WHERE claim_id = 'open-1'", "open-1"),
    Offence(
        "claim-goes-on",
        "UPDATE claims SET next_attempt_at = '2026-06-14T03:59:59Z' WHERE claim_id = 'open-1'",
        "open-1",
    ),
    Offence("claim-goes-on", "UPDATE claims SET settled_at = NULL WHERE claim_id = 'refused-1'", "refused-1"),
    Offence(
        "granted-claim-has-its-range",
        "UPDATE claims SET quantity = 99 WHERE claim_id = 'automatic-1'",
        "automatic-1",
    ),
    Offence(
        "granted-claim-has-its-range",
        f"DELETE FROM ranges {_OF_AUTOMATIC}",
        "automatic-1",
        also=("assigned-number-fits-its-request", "number-in-its-range"),
    ),
    Offence(
        "granted-claim-has-its-range",
        f"UPDATE ranges SET claim_id = 'refused-1' {_OF_AUTOMATIC}",
        "refused-1",
    ),
    Offence(
        "granted-claim-has-its-range",
        "UPDATE ranges SET status = 'active' WHERE claim_id = 'bad-1'",
        "bad-1",
    ),
    Offence(
        "range-knows-its-claim",
        f"UPDATE ranges SET claim_id = NULL {_OF_AUTOMATIC}",
        TAXPAYER,
        also=("granted-claim-has-its-range",),
    ),
    Offence("range-knows-its-claim", "DELETE FROM claims WHERE claim_id = 'automatic-1'", TAXPAYER),
    Offence("message-leaves-the-outbox", "UPDATE outbox SET publish_after = '2026-06-14T03:59:59Z'", "message"),
    Offence("message-leaves-the-outbox", "UPDATE outbox SET publish_after = '2026-07-15T00:00:00Z'", "message"),
    Offence(
        "claimed-equals-what-became-of-it",
        "UPDATE numbers SET status = 'lost' WHERE sequence = 501",
        TAXPAYER,
        also=("event-tells-of-one-fact", "history-leads-to-the-present", "number-fits-its-state"),
    ),
    Offence(
        "status-tells-what-is-left",
        "UPDATE ranges SET status = 'used-up' WHERE claim_id = 'manual-1'",
        TAXPAYER,
    ),
    Offence(
        "status-tells-what-is-left",
        "UPDATE ranges SET status = 'expired' WHERE claim_id = 'manual-1'",
        TAXPAYER,
    ),
    Offence(
        "status-tells-what-is-left",
        f"UPDATE ranges SET last_sequence = 102 {_OF_AUTOMATIC}",
        TAXPAYER,
        also=("granted-claim-has-its-range", "number-in-its-range"),
    ),
    Offence("status-tells-what-is-left", f"UPDATE ranges SET status = 'lost' {_OF_AUTOMATIC}", TAXPAYER),
    Offence(
        "status-tells-what-is-left",
        "UPDATE numbers SET status = 'expired' WHERE sequence = 501",
        TAXPAYER,
        also=("event-tells-of-one-fact", "history-leads-to-the-present"),
    ),
    Offence(
        "year-is-that-of-the-issue-date",
        "UPDATE numbers SET issue_date = '2025-12-31' WHERE issue_request_id = 'R1'",
        "00000000000100",
        also=("assigned-number-fits-its-request",),
    ),
    Offence(
        "year-is-that-of-the-issue-date",
        "UPDATE number_history SET issue_date = '2025-12-31' WHERE sequence = 102",
        "00000000000102",
    ),
    Offence(
        "number-in-its-range",
        "UPDATE numbers SET range_last = 102 WHERE issue_request_id = 'R2'",
        "00000000000101",
    ),
    Offence(
        "number-in-its-range",
        f"UPDATE ranges SET taxpayer_id = '{OTHER_TAXPAYER}' {_OF_AUTOMATIC}",
        "00000000000101",
        also=(
            "assigned-number-fits-its-request",
            "claimed-equals-what-became-of-it",
            "exhausted-stock-is-empty",
            "granted-claim-has-its-range",
            "range-knows-its-claim",
            "waiting-only-when-stock-is-empty",
        ),
    ),
    Offence(
        "number-fits-its-state",
        "UPDATE number_history SET assigned_at = NULL WHERE sequence = 102",
        "00000000000102",
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE numbers SET issue_request_id = 'R9' WHERE sequence = 102",
        "00000000000102",
        also=(
            "assigned-number-fits-its-request",
            "assigned-request-has-its-number",
            "request-has-one-number",
            "used-number-has-its-outcome",
        ),
    ),
    Offence(
        "history-leads-to-the-present",
        "UPDATE number_history SET issue_request_id = 'R9' WHERE sequence = 102",
        "00000000000102",
    ),
    Offence(
        "change-has-its-request",
        "UPDATE invoice_outcomes SET sequence = 100",
        "outcome of 102",
        also=("used-number-has-its-outcome",),
    ),
    Offence("change-has-its-request", "UPDATE invoice_outcomes SET event_id = gen_random_uuid()", "outcome of 102"),
    Offence(
        "change-has-its-request",
        "UPDATE invoice_outcomes SET became = 'held'",
        "00000000000102",
        also=("used-number-has-its-outcome",),
    ),
    Offence("change-names-its-event", "UPDATE numbers SET event_id = NULL WHERE sequence = 101", "00000000000101"),
    Offence(
        "change-names-its-event",
        "UPDATE number_history SET event_id = NULL WHERE sequence = 102",
        "00000000000102",
    ),
    Offence(
        "event-tells-of-one-fact",
        "UPDATE numbers SET event_id = (SELECT event_id FROM numbers WHERE sequence = 100) WHERE sequence = 101",
        "00000000000100",
    ),
    Offence(
        "event-tells-of-one-fact",
        "UPDATE numbers SET event_id = (SELECT event_id FROM number_history WHERE sequence = 102) WHERE sequence = 100",
        "00000000000100",
    ),
    Offence(
        "event-tells-of-one-fact",
        "UPDATE numbers SET event_id = (SELECT event_id FROM numbers WHERE sequence = 501) WHERE sequence = 100",
        "00000000000100",
    ),
    Offence(
        "event-tells-of-one-fact",
        f"UPDATE numbers SET taxpayer_id = '{OTHER_TAXPAYER}' WHERE sequence = 501",
        "00000000000500",
        also=("claimed-equals-what-became-of-it", "number-in-its-range"),
    ),
    Offence(
        "event-tells-of-one-fact",
        "UPDATE ranges SET last_sequence = 501 WHERE claim_id = 'manual-1'",
        "00000000000500",
        also=("cursor-stands-in-its-range", "granted-claim-has-its-range", "number-in-its-range"),
    ),
    Offence(
        "request-fits-its-state",
        "UPDATE issue_requests SET waiting_since = NULL WHERE issue_request_id = 'W1'",
        "W1",
    ),
    Offence("request-fits-its-state", "UPDATE issue_requests SET message = NULL WHERE issue_request_id = 'W1'", "W1"),
    Offence(
        "request-fits-its-state",
        "UPDATE issue_requests SET closed_because = NULL WHERE issue_request_id = 'C1'",
        "C1",
    ),
    Offence(
        "request-fits-its-state",
        "UPDATE issue_requests SET queue_position = 7, waiting_since = now() WHERE issue_request_id = 'R1'",
        "R1",
    ),
    Offence(
        "assigned-request-has-its-number",
        "UPDATE issue_requests SET status = 'lost' WHERE issue_request_id = 'C1'",
        "C1",
        also=("request-fits-its-state",),
    ),
    Offence("names-only-what-is-stored", "DELETE FROM organizations WHERE code = 'A'", "R1"),
    Offence(
        "names-only-what-is-stored",
        f"UPDATE organizations SET taxpayer_id = '{OTHER_TAXPAYER}' WHERE code = 'A'",
        "manual-1",
    ),
    Offence("names-only-what-is-stored", f"DELETE FROM stocks WHERE taxpayer_id = '{TAXPAYER}'", "automatic-1"),
    Offence(
        "names-only-what-is-stored",
        "UPDATE claims SET organization = NULL WHERE claim_id = 'manual-1'",
        "manual-1",
    ),
    Offence(
        "old-claim-was-told-of",
        "UPDATE claims SET created_at = '2026-06-14T03:59:59Z' WHERE claim_id = 'open-1'",
        "open-1",
    ),
    Offence(
        "old-claim-was-told-of",
        "UPDATE claims SET status = 'unresolved', created_at = '2026-06-07T03:59:59Z' WHERE claim_id = 'open-1'",
        "open-1",
    ),
    Offence(
        "empty-stock-is-claimed-for",
        f"""
        WITH settled AS (
            UPDATE claims SET status = 'refused', next_attempt_at = NULL, settled_at = created_at,
                created_at = created_at - interval '25 hours'
            WHERE claim_id = 'open-1'
        )
        UPDATE stocks SET exhausted_at = exhausted_at - interval '25 hours' WHERE taxpayer_id = '{OTHER_TAXPAYER}'
        """,
        f"{OTHER_TAXPAYER} self-use 2026",
    ),
    Offence(
        "empty-stock-is-claimed-for",
        f"""
        WITH settled AS (
            UPDATE claims SET status = 'refused', next_attempt_at = NULL, settled_at = created_at,
                created_at = created_at - interval '25 hours'
            WHERE claim_id = 'open-1'
        )
        UPDATE stocks SET exhausted_at = exhausted_at - interval '25 hours', claim_not_before = '2026-07-15T00:00:00Z'
        WHERE taxpayer_id = '{OTHER_TAXPAYER}'
        """,
        f"{OTHER_TAXPAYER} self-use 2026",
    ),
    Offence(
        "nobody-waits-past-the-limit",
        "UPDATE issue_requests SET waiting_since = '2026-06-13T03:59:59Z' WHERE issue_request_id = 'W1'",
        "W1",
    ),
    Offence(
        "overdue-outcome-was-told-of",
        "UPDATE numbers SET assigned_at = '2026-06-12T11:59:59Z' WHERE issue_request_id = 'R1'",
        "00000000000100",
    ),
)
