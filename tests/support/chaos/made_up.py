"""A made-up record of a small run in which all is well, for the checker's own tests to spoil."""

from collections.abc import Mapping
from typing import Any
from uuid import NAMESPACE_OID, uuid5

from tests.support.chaos.evidence import Evidence, read_journal
from tests.support.chaos.journal import Line

TAXPAYER = "91440300587908164C"
COMPANY = "ORG-1"
NOBODYS = "ORG-2"

_AT = "2026-12-31T12:00:00+08:00"


def number(sequence: int) -> str:
    """Give a number of the taxpayer's ranges: 1 to 10 automatic, 11 to 12 manual, from 21 on claimed later."""
    return f"264470{sequence:014}"


def event_id(name: str) -> str:
    """Give the id of an event by a name for it."""
    return str(uuid5(NAMESPACE_OID, name))


def sent(message: str, topic: str, *elements: tuple[str, Mapping[str, Any]], again: bool = False) -> list[Line]:
    """Give the lines of a message that was sent and confirmed."""
    events = [
        {"id": element, "type": f"fuma.{topic}.v1", "data": {"organization": COMPANY, **data}}
        for element, data in elements
    ]
    line = {"sent": message, "topic": topic, "single": False, "again": again, "events": events}
    return [line, {"confirmed": message}]


def came(topic: str, name: str, at: str = _AT, **data: Any) -> Line:  # noqa: ANN401 -- as JSON has it
    """Give the line of an event that came."""
    told = {"organization": COMPANY, "taxpayer_id": TAXPAYER, **data}
    return {"came": [{"id": event_id(name), "type": f"fuma.{topic}.v1", "time": at, "data": told}]}


def invoice(key: str, **more: object) -> dict[str, Any]:
    """Give the data of an issue request."""
    return {"issue_request_id": key, "issue_date": "2026-12-31", "kind": "blue", **more}


def assigned(name: str, key: str, sequence: int) -> Line:
    """Give an assignment of a number."""
    return came("number-assigned", name, invoice_number=number(sequence), **invoice(key))


def lines() -> list[Line]:
    """Give the journal of the run."""
    return [
        *sent("m1", "invoice-issuing", ("i1", invoice("I-1")), ("i3", invoice("I-3"))),
        *sent("m2", "invoice-issuing", ("i9", {**invoice("I-9"), "organization": NOBODYS})),
        came("range-exhausted", "x1", channel_mode="self-use", year=2026, episode=1),
        came("range-claimed", "c1", claim_id="AUTO", range_id="r1", first_number=number(1), last_number=number(10)),
        assigned("a1", "I-1", 1),
        assigned("a3", "I-3", 2),
        assigned("a3", "I-3", 2),
        *sent("m3", "invoice-outcome", ("o4", {"outcome_id": "O-4", "invoice_number": number(1)})),
        came("number-released", "f4", outcome_id="O-4", issue_request_id="I-1", invoice_number=number(1)),
        *sent("m4", "invoice-issuing", ("i1-anew", invoice("I-1"))),
        assigned("a1-anew", "I-1", 1),
        came("number-refused", "late", issue_request_id="I-1", reason="released"),
        *sent("m5", "invoice-outcome", ("o5", {"outcome_id": "O-5", "invoice_number": number(2)})),
        came("number-used", "u5", outcome_id="O-5", issue_request_id="I-3", invoice_number=number(2)),
        *sent("m6", "claim-requested", ("c6", {"claim_id": "C-6", "quantity": 2})),
        came("range-claimed", "c6", claim_id="C-6", range_id="r2", first_number=number(11), last_number=number(12)),
        *sent("m7", "number-binding-requested", ("b7", {"binding_id": "B-7", "number": number(11)})),
        came("number-bound", "b7", binding_id="B-7", issue_request_id="I-8", invoice_number=number(11)),
        *sent("m8", "invoice-issuing", ("i8", invoice("I-8"))),
        assigned("a8", "I-8", 11),
        *sent("m10", "refresh-requested", ("f10", {"refresh_id": "F-10"})),
        came("range-refreshed", "f10", refresh_id="F-10"),
        {"sent": "m11", "garbage": "G-11"},
        {"confirmed": "m11"},
    ]


def well() -> Evidence:
    """Give the record of a run in which all is well."""
    evidence = read_journal(lines())
    evidence.dead_letters = ["G-11", "G-11"]
    evidence.may_wait = frozenset({NOBODYS})
    evidence.grants = [_grant("S-1", 1, 10), _grant("S-2", 11, 12)]
    evidence.tables.update(
        numbers=[
            _state(1, 3, "assigned", "a1-anew", "I-1"),
            _state(2, 2, "used", "u5", "I-3"),
            _state(11, 3, "assigned", "a8", "I-8"),
            _state(12, 1, "available", "c6", None),
        ],
        number_history=[
            _state(1, 1, "assigned", "a1", "I-1"),
            _state(1, 2, "available", "f4", None),
            _state(2, 1, "assigned", "a3", "I-3"),
            _state(11, 1, "available", "c6", None),
            _state(11, 2, "bound", "b7", None),
        ],
        ranges=[_range("r1", "AUTO", 1, 10), _range("r2", "C-6", 11, 12)],
        claims=[_claim("AUTO", "S-1"), _claim("C-6", "S-2")],
        issue_requests=[_request("I-1"), _request("I-3"), _request("I-8"), _request("I-9", "waiting", NOBODYS)],
        bindings=[{"binding_id": "B-7", "event_id": event_id("b7")}],
        outcomes=[
            {"outcome_id": "O-4", "event_id": event_id("f4")},
            {"outcome_id": "O-5", "event_id": event_id("u5")},
        ],
        refreshes=[{"refresh_id": "F-10", "taxpayer_id": TAXPAYER}],
        stocks=[{"taxpayer_id": TAXPAYER, "channel_mode": "self-use", "year": 2026, "episode": 1}],
        outbox=[],
    )
    return evidence


def add(evidence: Evidence, *more: Line) -> None:
    """Go on with the journal."""
    longer = read_journal([*lines(), *more])
    evidence.asked, evidence.seen, evidence.marks = longer.asked, longer.seen, longer.marks


def _grant(serial: str, first: int, last: int) -> dict[str, object]:
    return {
        "taxpayer_id": TAXPAYER,
        "business_serial": serial,
        "first_number": number(first),
        "last_number": number(last),
    }


def _state(sequence: int, step: int, status: str, told_by: str, request: str | None) -> dict[str, object]:
    return {
        "taxpayer_id": TAXPAYER,
        "number": number(sequence),
        "step": step,
        "status": status,
        "event_id": event_id(told_by),
        "issue_request_id": request,
        "issue_date": None if request is None else "2026-12-31",
    }


def _range(range_id: str, claim_id: str, first: int, last: int) -> dict[str, object]:
    extent = {"first_number": number(first), "last_number": number(last)}
    return {"taxpayer_id": TAXPAYER, "range_id": range_id, "claim_id": claim_id, "status": "active", **extent}


def _claim(claim_id: str, serial: str) -> dict[str, object]:
    return {"taxpayer_id": TAXPAYER, "claim_id": claim_id, "business_serial": serial, "status": "granted"}


def _request(key: str, status: str = "assigned", organization: str = COMPANY) -> dict[str, object]:
    return {"taxpayer_id": TAXPAYER, "issue_request_id": key, "organization": organization, "status": status}
