"""What the peers read and write: the same requests and answers as Fuma's."""

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Self

from tests.support.outside.identities import china_today
from worker.broker.topology import EXCHANGE

EVENTS = EXCHANGE
STRUCTURED = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class Request:
    """An issue request as a peer reads it."""

    issue_request_id: str
    organization: str
    issue_date: date
    kind: str

    @classmethod
    def read(cls, body: bytes | str) -> Self:
        """Read a structured CloudEvent."""
        return cls.of(json.loads(body))

    @classmethod
    def of(cls, event: dict[str, Any]) -> Self:
        """Take it from a CloudEvent that is read already."""
        data = event["data"]
        return cls(
            data["issue_request_id"],
            data["organization"],
            date.fromisoformat(data["issue_date"]),
            data["kind"],
        )


def answer(request: Request, invoice_number: str) -> bytes:
    """Give the `number-assigned` that tells of a number, with the fields and about the size of Fuma's."""
    now = datetime.now(UTC).isoformat()  # noqa: TID251 -- a peer has no clock of Fuma's
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"assigned-{invoice_number}",
            "source": "/fuma/sandbox",
            "type": "fuma.number-assigned.v1",
            "time": now,
            "datacontenttype": "application/json",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {
                "environment": "sandbox",
                "issue_request_id": request.issue_request_id,
                "organization": request.organization,
                "taxpayer_id": "91440300587908164C",
                "invoice_number": invoice_number,
                "issue_date": request.issue_date.isoformat(),
                "kind": request.kind,
                "range_id": "7f1d2c1e-8f5e-4c36-9a43-5d1f4e7f9a10",
                "claim_mode": "automatic",
                "assigned_at": now,
            },
        },
        separators=(",", ":"),
    ).encode()


def routing_key(request: Request) -> str:
    """Give the key that an answer is published with."""
    return f"number-assigned.{request.organization}"


def number_text(prefix: int, sequence: int) -> str:
    """Give the 20 digits of a number."""
    return f"{prefix:06d}{sequence:014d}"


def this_years_prefix() -> int:
    """Give digits 1-6 of a number of this year."""
    return china_today().year % 100 * 10_000 + 44 * 100 + 70
