"""Requests as the lanes hand them over: each read by the schema, so that no test asks what nobody can ask."""

from collections.abc import Mapping

from schemas.cloudevents import STRUCTURED, CloudEvent, Form
from schemas.requests import Refusal, read_request
from schemas.topics import Topic, event_type
from schemas.vocabulary import Environment
from worker.broker.port import Delivery
from worker.decoding import Item

TODAY = "2026-11-23"


def item(
    topic: Topic,
    data: Mapping[str, object],
    *,
    form: Form = Form.SINGLE,
    group: int = 0,
    traceparent: str | None = None,
    message_id: str = "message",
) -> Item:
    """Make an item of data that the topic's schema accepts."""
    request = read_request(topic, dict(data), Environment.SANDBOX)
    assert not isinstance(request, Refusal), request
    event = CloudEvent(message_id, "/tests", event_type(topic), data, None, None, traceparent, None)
    delivery = Delivery(1, b"", STRUCTURED, None, {}, topic.value, None, redelivered=False)
    return Item(request, event, form, group, delivery, 0)


def invoice(  # noqa: PLR0913 -- all that a request can say
    issue_request_id: str = "R1",
    *,
    organization: str = "A",
    issue_date: str = TODAY,
    kind: str = "blue",
    number: str | None = None,
    form: Form = Form.SINGLE,
    group: int = 0,
    traceparent: str | None = None,
    message_id: str = "message",
) -> Item:
    """An `invoice-issuing`."""
    data: dict[str, object] = {
        "issue_request_id": issue_request_id,
        "organization": organization,
        "issue_date": issue_date,
        "kind": kind,
    }
    if number is not None:
        data["number"] = number
    return item(Topic.INVOICE_ISSUING, data, form=form, group=group, traceparent=traceparent, message_id=message_id)


def invoices(count: int, *, organization: str = "A", prefix: str = "R", form: Form = Form.SINGLE) -> list[Item]:
    """So many `invoice-issuing`, R1 and up."""
    return [invoice(f"{prefix}{n}", organization=organization, form=form) for n in range(1, count + 1)]


def claim(
    claim_id: str = "C1",
    *,
    organization: str = "A",
    quantity: int = 10,
    form: Form = Form.SINGLE,
    group: int = 0,
) -> Item:
    """A `claim-requested`."""
    data = {
        "claim_id": claim_id,
        "organization": organization,
        "quantity": quantity,
        "requested_by": "an operator",
    }
    return item(Topic.CLAIM_REQUESTED, data, form=form, group=group)


def refresh(
    refresh_id: str = "F1",
    *,
    organization: str | None = None,
    taxpayer_id: str | None = None,
    form: Form = Form.SINGLE,
) -> Item:
    """A `refresh-requested`."""
    data = {"refresh_id": refresh_id, "organization": organization, "taxpayer_id": taxpayer_id}
    return item(
        Topic.REFRESH_REQUESTED,
        {name: value for name, value in data.items() if value is not None},
        form=form,
    )


def binding(
    number: str,
    issue_request_id: str = "R1",
    *,
    binding_id: str = "B1",
    organization: str = "A",
    action: str = "bind",
    requested_by: str | None = "an operator",
    form: Form = Form.SINGLE,
) -> Item:
    """A `number-binding-requested`."""
    data = {
        "binding_id": binding_id,
        "organization": organization,
        "number": number,
        "issue_request_id": issue_request_id,
        "action": action,
        "requested_by": requested_by,
    }
    return item(Topic.NUMBER_BINDING_REQUESTED, data, form=form, message_id=f"message {binding_id}")


def outcome(  # noqa: PLR0913 -- all that a report can say
    number: str,
    said: str = "uploaded",
    issue_request_id: str = "R1",
    *,
    outcome_id: str = "O1",
    organization: str = "A",
    reuse: bool = True,
    form: Form = Form.SINGLE,
    group: int = 0,
) -> Item:
    """An `invoice-outcome`."""
    data = {
        "outcome_id": outcome_id,
        "organization": organization,
        "issue_request_id": issue_request_id,
        "invoice_number": number,
        "outcome": said,
        "reuse": reuse,
    }
    return item(Topic.INVOICE_OUTCOME, data, form=form, group=group, message_id=f"message {outcome_id}")
