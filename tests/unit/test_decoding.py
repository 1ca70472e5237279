"""Dead letters: every broker can carry them, whatever was sent, and they say where the message came from."""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from schemas.cloudevents import read_message
from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import Environment
from worker.broker.port import Delivery
from worker.broker.publication import require_publishable
from worker.decoding import dead_letter, decode

NOW = datetime(2026, 11, 25, tzinfo=UTC)
BATCH = "application/cloudevents-batch+json"


def delivered(body: bytes, content_type: str | None = "application/cloudevents+json", **more: object) -> Delivery:
    told: Mapping[str, object] = {
        "content_encoding": None,
        "headers": {},
        "routing_key": "invoice-issuing.x",
        "message_id": None,
        "redelivered": False,
        **more,
    }
    return Delivery(tag=1, body=body, content_type=content_type, **told)  # type: ignore[arg-type]


def event(**changes: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": "m", "source": "/t", "type": "fuma.invoice-issuing.v1", "data": {}, **changes}


@pytest.mark.parametrize(
    "delivery",
    [
        delivered(json.dumps(event(id="x" * 1000)).encode()),
        delivered(json.dumps(event(id="号" * 100)).encode()),
        delivered(b"{", "\ufffd" * 255),
        delivered(b"{", content_encoding="\ufffd" * 255),
        delivered(b"{", message_id="\ufffd" * 255),
        delivered(b"{", routing_key="\ufffd" * 255),
        delivered(b"{", headers={"\ufffd" * 255: "a", "b": "\ud800", "c": 2**64, "d": [1], "e": "x" * 200_000}),
        delivered(json.dumps([event(id="x" * 1000)]).encode(), BATCH, message_id="\ufffd" * 255),
    ],
)
def test_every_letter_can_be_carried(delivery: Delivery) -> None:
    """A letter that the broker's client refuses would end the lane, and come again to end the next."""
    [rejected] = decode(Topic.INVOICE_ISSUING, Environment.SANDBOX, [delivery]).rejected
    require_publishable(dead_letter(Topic.INVOICE_ISSUING, rejected, NOW))


def test_a_letter_says_where_it_came_from() -> None:
    [rejected] = decode(Topic.INVOICE_ISSUING, Environment.SANDBOX, [delivered(b"{")]).rejected
    headers = dead_letter(Topic.INVOICE_ISSUING, rejected, NOW).headers
    assert headers["x-fuma-queue"] == "fuma.invoice-issuing"
    assert headers["x-fuma-routing-key"] == "invoice-issuing.x"
    assert str(headers["x-fuma-worker"]).endswith(f":{os.getpid()}")
    assert "x-fuma-element" not in headers


def test_an_element_says_which_of_its_batch_it_was() -> None:
    body = json.dumps([event(), 7]).encode()
    decoded = decode(Topic.INVOICE_ISSUING, Environment.SANDBOX, [delivered(body, BATCH, message_id="b-1")])
    letters = [dead_letter(Topic.INVOICE_ISSUING, each, NOW).headers for each in decoded.rejected]
    assert [(each["x-fuma-batch"], each["x-fuma-element"]) for each in letters] == [("b-1", 0), ("b-1", 1)]


def test_nobody_else_speaks_under_our_headers() -> None:
    forged = {"x-fuma-batch": "forged", "X-Fuma-Element": 3, "x-fuma-reason": "none", "team": "billing"}
    [rejected] = decode(Topic.INVOICE_ISSUING, Environment.SANDBOX, [delivered(b"{", headers=forged)]).rejected
    headers = dead_letter(Topic.INVOICE_ISSUING, rejected, NOW).headers
    assert (headers["x-fuma-reason"], headers["team"]) == ("malformed", "billing")
    assert "x-fuma-batch" not in headers
    assert "X-Fuma-Element" not in headers


def test_a_fault_in_the_reader_costs_one_message_and_not_the_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(body: bytes, *more: object) -> object:
        if body == b"bad":
            raise RecursionError
        return read_message(body, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("worker.decoding.read_message", broken)
    decoded = decode(Topic.INVOICE_ISSUING, Environment.SANDBOX, [delivered(b"bad"), delivered(b"{")])
    assert [each.reason for each in decoded.rejected] == [Reason.PROCESSING_FAILED, Reason.MALFORMED]
    assert "RecursionError" in decoded.rejected[0].detail
