"""The requests that every contender gets: the same invoices, singly or in CloudEvents batches."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, cached_property

from tests.support.outside.envelopes import BATCH, STRUCTURED, Outgoing
from tests.support.outside.identities import china_today

_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"

#: Requests that one batch message carries.
BATCH_SIZE = 100


class Form(StrEnum):
    """How requests are put into messages."""

    #: One structured CloudEvent a message.
    SINGLE = "single"
    #: 100 events a message, all of one taxpayer.
    BATCH = "batch"
    #: 100 events a message, over all taxpayers in turn.
    MIXED = "mixed"


@dataclass(frozen=True)
class Load:
    """So many invoices of so many taxpayers, in one form; frozen, so that it can be a key."""

    invoices: int
    taxpayers: int = 20
    form: Form = Form.SINGLE
    #: What the ids of the requests begin with: two loads on one database must differ in it.
    series: str = "INV"

    @cached_property
    def answers(self) -> int:
        """How many messages answer it: one for each, or one for each batch and taxpayer."""
        match self.form:
            case Form.SINGLE:
                return self.invoices
            case Form.BATCH:
                return self.invoices // BATCH_SIZE
            case Form.MIXED:
                return self.invoices // BATCH_SIZE * min(self.taxpayers, BATCH_SIZE)

    def request_id(self, number: int) -> str:
        """Give the business key of the invoice with this number, counted from 0."""
        return f"{self.series}-{number:09d}"

    def number_of(self, request_id: str) -> int:
        """Undo `request_id`."""
        return int(request_id.rsplit("-", 1)[1])

    def requests(self) -> Iterator[bytes]:
        """Give every request as a CloudEvent in JSON, about 400 bytes, in the order of sending."""
        today = china_today().isoformat()
        for number in range(self.invoices):
            yield _event(self.request_id(number), organization_code(self._taxpayer_of(number)), today)

    def messages(self) -> list[Outgoing]:
        """Give the messages to publish, in their order."""
        if self.form is Form.SINGLE:
            return [Outgoing("invoice-issuing", body, STRUCTURED) for body in self.requests()]
        events = list(self.requests())
        return [
            Outgoing("invoice-issuing", b"[" + b",".join(events[at : at + BATCH_SIZE]) + b"]", BATCH)
            for at in range(0, len(events), BATCH_SIZE)
        ]

    def _taxpayer_of(self, number: int) -> int:
        # In a batch of one taxpayer, a hundred requests in a row are the same one's.
        return (number // BATCH_SIZE if self.form is Form.BATCH else number) % self.taxpayers


def organization_code(taxpayer: int) -> str:
    """Give the code of the one organisation of a taxpayer, counted from 0."""
    return f"ORG-{taxpayer:05d}"


@cache
def taxpayer_id(taxpayer: int) -> str:
    """Give a taxpayer's id with the right check character (GB 32100-2015)."""
    body = f"9144030{taxpayer:010d}"
    total = sum(_ALPHABET.index(character) * (3**place % 31) for place, character in enumerate(body))
    return body + _ALPHABET[(31 - total % 31) % 31]


def _event(request_id: str, organization: str, today: str) -> bytes:
    return json.dumps(
        {
            "specversion": "1.0",
            "id": f"bench-{request_id}",
            "source": "/bench/invoicing",
            "type": "fuma.invoice-issuing.v1",
            "time": "2026-01-02T03:04:05.678+08:00",
            "datacontenttype": "application/json",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "data": {
                "issue_request_id": request_id,
                "organization": organization,
                "issue_date": today,
                "kind": "blue",
            },
        },
        separators=(",", ":"),
    ).encode()
