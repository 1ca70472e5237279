"""Rows that the database accepts: one of each table, and a second beside it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, insert

from db.tables import metadata
from tests.support.event_ids import of_change, of_range

NOW = datetime(2026, 11, 23, 2, tzinfo=UTC)
DAY = date(2026, 11, 23)

_OWNER = {"taxpayer_id": "91350100M000100Y43", "environment": "sandbox"}
_STOCK = {**_OWNER, "channel_mode": "self-use", "year": 2026}

_ASSIGNED_BY = of_change(264470, 1, 1)

#: The first row of each table, in an order in which they may be inserted.
FIRST: dict[str, dict[str, Any]] = {
    "channels": {
        **_OWNER,
        "channel_mode": "self-use",
        "using_unit_id": "UU1",
        "automatic_claims": True,
        "claim_quantity": 1000,
        "claim_sizing": "fixed",
        "low_threshold": 0.2,
    },
    "organizations": {**_OWNER, "code": "A", "name": "A", "channel_mode": "self-use", "created_at": NOW},
    "stocks": {**_STOCK, "level": "ok"},
    "claims": {
        **_STOCK,
        "claim_id": "C1",
        "claim_mode": "automatic",
        "organization": "A",
        "quantity": 10,
        "using_unit_id": "UU1",
        "business_serial": "S1",
        "status": "granted",
        "form": "single",
        "created_at": NOW,
        "settled_at": NOW,
    },
    "ranges": {
        **_STOCK,
        "range_id": UUID(int=1),
        "prefix": 264470,
        "first_sequence": 1,
        "last_sequence": 10,
        "next_sequence": 11,
        "claim_mode": "automatic",
        "status": "active",
        "claim_id": "C1",
        "created_at": NOW,
    },
    "issue_requests": {
        **_OWNER,
        "issue_request_id": "I1",
        "organization": "A",
        "issue_date": DAY,
        "kind": "blue",
        "channel_mode": "self-use",
        "status": "assigned",
        "form": "single",
    },
    "numbers": {
        **_OWNER,
        "prefix": 264470,
        "sequence": 1,
        "range_id": UUID(int=1),
        "range_first": 1,
        "range_last": 10,
        "status": "assigned",
        "issue_request_id": "I1",
        "issue_date": DAY,
        "assigned_at": NOW,
        "changed_at": NOW,
        "changed_by": "/tests message",
        "event_id": _ASSIGNED_BY,
    },
    "number_history": {
        **_OWNER,
        "prefix": 264470,
        "sequence": 1,
        "step": 1,
        "status": "available",
        "changed_at": NOW,
        "changed_by": "/tests message",
        "event_id": of_range(),
    },
    "answered_messages": {**_OWNER, "issue_request_id": "I1", "message": "/tests message"},
    "number_bindings": {
        **_OWNER,
        "binding_id": "B1",
        "organization": "A",
        "prefix": 264470,
        "sequence": 1,
        "issue_request_id": "I1",
        "action": "bind",
        "event_id": UUID(int=13),
        "answered_at": NOW,
    },
    "invoice_outcomes": {
        **_OWNER,
        "outcome_id": "O1",
        "organization": "A",
        "issue_request_id": "I1",
        "prefix": 264470,
        "sequence": 1,
        "outcome": "unknown",
        "reuse": True,
        "became": "held",
        "event_id": UUID(int=14),
        "answered_at": NOW,
    },
    "usage": {**_OWNER, "channel_mode": "self-use", "hour": NOW, "taken": 1},
    "direct_units": {"environment": "sandbox", "direct_unit_id": "DU1"},
    "refreshes": {**_OWNER, "refresh_id": "F1", "answered_at": NOW, "data": {}},
    "outbox": {
        "message_ids": ["M1"],
        "routing_keys": ["number-assigned"],
        "content_types": ["application/json"],
        "events": [1],
        "sizes": [2],
        "body": b"{}",
        "publish_after": NOW,
        "event_ids": [_ASSIGNED_BY],
    },
    "untold_changes": {"event_ids": [_ASSIGNED_BY]},
    "deployment": {"environment": "sandbox", "recorded_at": NOW, "identity": "1 1"},
}

#: What a second row has other than the first; the deployment has only one.
_OTHER: dict[str, dict[str, Any]] = {
    "channels": {"channel_mode": "joint"},
    "organizations": {"code": "B"},
    "stocks": {"year": 2027},
    "claims": {"claim_id": "C2", "business_serial": "S2"},
    "ranges": {
        "range_id": UUID(int=2),
        "first_sequence": 11,
        "last_sequence": 20,
        "next_sequence": 11,
        "claim_id": None,
    },
    "issue_requests": {"issue_request_id": "I2"},
    "numbers": {
        "sequence": 2,
        "status": "available",
        "issue_request_id": None,
        "issue_date": None,
        "assigned_at": None,
        "event_id": of_range(),
    },
    "number_history": {"step": 2, "event_id": of_change(264470, 1, 2)},
    "answered_messages": {"message": "/tests another message"},
    "number_bindings": {"binding_id": "B2"},
    "invoice_outcomes": {"outcome_id": "O2"},
    "usage": {"hour": NOW + timedelta(hours=1)},
    "direct_units": {"direct_unit_id": "DU2"},
    "refreshes": {"refresh_id": "F2"},
    "outbox": {},
    "untold_changes": {},
    "deployment": {},
}


def table(name: str) -> Table:
    """Give the table of this name."""
    return metadata.tables[name]


def second(name: str, **changes: object) -> dict[str, Any]:
    """Give a second row of a table, with changes."""
    return {**FIRST[name], **_OTHER[name], **changes}


def put_first_rows(connection: Connection) -> None:
    """Insert the first row of each table; the deployment's is there since the migration."""
    for name, row in FIRST.items():
        if name != "deployment":
            connection.execute(insert(table(name)).values(row))
