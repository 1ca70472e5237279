"""The AsyncAPI document: sound in itself, and in agreement with the contract."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from schemas.asyncapi import asyncapi_document
from schemas.topics import CONSUMED, EVENTS, PUBLISHED, REQUESTS, Topic, event_type

# Any: what is walked here is JSON.
DOCUMENT: dict[str, Any] = asyncapi_document()
CHANNELS, OPERATIONS = DOCUMENT["channels"], DOCUMENT["operations"]
MESSAGES, SCHEMAS = DOCUMENT["components"]["messages"], DOCUMENT["components"]["schemas"]


def references(part: object) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def resolve(reference: str) -> Any:  # noqa: ANN401  (any part of a JSON document)
    part: Any = DOCUMENT
    assert reference.startswith("#/")
    for step in reference.removeprefix("#/").split("/"):
        part = part[step]
    return part


def data_schema(topic: Topic) -> dict[str, Any]:
    own = MESSAGES[topic.value]["payload"]["allOf"][1]["properties"]
    assert own["type"] == {"const": event_type(topic)}
    schema: dict[str, Any] = resolve(own["data"]["$ref"])
    return schema


def test_it_is_plain_json_of_asyncapi_3() -> None:
    assert DOCUMENT["asyncapi"] == "3.0.0"
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    assert asyncapi_document() == DOCUMENT


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert len(found) > 100
    for reference in found:
        assert isinstance(resolve(reference), dict)


def test_every_channel_is_served_by_an_operation() -> None:
    served = {operation["channel"]["$ref"].rpartition("/")[2] for operation in OPERATIONS.values()}
    assert served == set(CHANNELS)


def test_every_name_is_one_that_asyncapi_allows() -> None:
    for name in (*CHANNELS, *OPERATIONS, *MESSAGES, *SCHEMAS):
        assert re.fullmatch(r"[\w.\-]+", name)


@pytest.mark.parametrize("topic", Topic)
def test_every_topic_has_a_message_of_its_type(topic: Topic) -> None:
    assert MESSAGES[topic.value]["name"] == event_type(topic)
    assert MESSAGES[topic.value]["contentType"] == "application/cloudevents+json"
    assert MESSAGES[f"{topic}-batch"]["contentType"] == "application/cloudevents-batch+json"
    assert MESSAGES[f"{topic}-batch"]["payload"]["maxItems"] == 1000
    assert data_schema(topic)["additionalProperties"] is False


def test_what_is_received_and_sent_is_what_the_worker_does() -> None:
    received = {name for name, operation in OPERATIONS.items() if operation["action"] == "receive"}
    sent = {name for name, operation in OPERATIONS.items() if operation["action"] == "send"}
    assert received == {f"receive-{topic}" for topic in CONSUMED}
    assert sent == {f"send-{topic}" for topic in PUBLISHED} | {"send-dead-letters"}


def test_an_operation_speaks_only_of_messages_of_its_channel() -> None:
    for operation in OPERATIONS.values():
        channel = operation["channel"]["$ref"]
        assert operation["messages"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_the_queues_and_their_arguments_are_those_of_the_contract() -> None:
    bindings = [channel["bindings"]["amqp"] for channel in CHANNELS.values()]
    queues = {binding["queue"]["name"]: binding for binding in bindings if binding["is"] == "queue"}
    dead = queues.pop("fuma.dead-letters")
    assert sorted(queues) == [
        "fuma.claim-requested",
        "fuma.invoice-issuing",
        "fuma.invoice-outcome",
        "fuma.number-binding-requested",
        "fuma.range-exhausted",
        "fuma.range-low",
        "fuma.refresh-requested",
    ]
    for name, binding in queues.items():
        topic = name.removeprefix("fuma.")
        assert binding["queue"]["durable"] is True
        assert binding["x-arguments"] == {
            "x-queue-type": "quorum",
            "x-delivery-limit": 1000,
            "x-dead-letter-exchange": "fuma.dead",
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
        assert binding["x-bound-to"]["exchange"]["name"] == "fuma"
        assert binding["x-bound-to"]["routingKeys"] == [topic, f"{topic}.#"]
    assert dead["x-arguments"] == {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000}
    assert dead["x-bound-to"]["exchange"]["name"] == "fuma.dead"
    assert dead["x-bound-to"]["routingKeys"] == ["#"]


def test_the_exchanges_are_durable_and_route_by_topic() -> None:
    exchanges = [
        exchange
        for channel in CHANNELS.values()
        for exchange in [
            channel["bindings"]["amqp"].get("exchange") or channel["bindings"]["amqp"]["x-bound-to"]["exchange"],
        ]
    ]
    assert {exchange["name"] for exchange in exchanges} == {"fuma", "fuma.dead"}
    assert all(exchange["type"] == "topic" and exchange["durable"] is True for exchange in exchanges)


def test_an_event_is_found_by_its_topic_and_tax_id() -> None:
    for topic in EVENTS:
        channel = CHANNELS[topic.value]
        assert channel["address"] == f"{topic}.{{taxpayer_id}}"
        assert list(channel["parameters"]) == ["taxpayer_id"]
        assert channel["bindings"]["amqp"]["is"] == "routingKey"


@pytest.mark.parametrize(
    ("topic", "fields", "required"),
    [
        (
            Topic.INVOICE_ISSUING,
            {"issue_request_id", "organization", "issue_date", "kind", "number"},
            {"issue_request_id", "organization", "issue_date"},
        ),
        (
            Topic.CLAIM_REQUESTED,
            {"claim_id", "organization", "quantity", "requested_by"},
            {"claim_id", "organization", "quantity"},
        ),
        (Topic.REFRESH_REQUESTED, {"refresh_id", "organization", "taxpayer_id"}, {"refresh_id"}),
        (
            Topic.NUMBER_BINDING_REQUESTED,
            {"binding_id", "organization", "number", "issue_request_id", "action", "requested_by"},
            {"binding_id", "organization", "number", "issue_request_id", "action"},
        ),
        (
            Topic.INVOICE_OUTCOME,
            {"outcome_id", "organization", "issue_request_id", "invoice_number", "outcome", "reuse"},
            {"outcome_id", "organization", "issue_request_id", "invoice_number", "outcome"},
        ),
    ],
)
def test_a_request_has_the_fields_of_the_contract(topic: Topic, fields: set[str], required: set[str]) -> None:
    schema = data_schema(topic)
    assert set(schema["properties"]) == fields | {"environment"}
    assert set(schema["required"]) == required


def test_every_event_says_its_environment() -> None:
    for topic in EVENTS:
        assert "environment" in data_schema(topic)["required"]


def test_the_bounds_that_callers_rely_on_are_in_the_schemas() -> None:
    quantity = data_schema(Topic.CLAIM_REQUESTED)["properties"]["quantity"]
    assert (quantity["minimum"], quantity["maximum"]) == (1, 1000)
    key = data_schema(Topic.INVOICE_ISSUING)["properties"]["issue_request_id"]
    assert (key["minLength"], key["maxLength"]) == (1, 64)
    assert data_schema(Topic.INVOICE_ISSUING)["properties"]["issue_date"]["format"] == "date"
    assert data_schema(Topic.INVOICE_ISSUING)["properties"]["kind"]["default"] == "blue"


def test_a_binary_request_names_its_headers() -> None:
    for topic in REQUESTS:
        message = MESSAGES[f"{topic}-binary"]
        assert message["headers"]["required"] == ["ce-specversion", "ce-id", "ce-source", "ce-type"]
        assert message["headers"]["properties"]["ce-type"] == {"const": event_type(topic)}
        assert resolve(message["payload"]["$ref"]) == data_schema(topic)


def test_a_dead_letter_says_why_in_its_headers() -> None:
    headers = MESSAGES["dead-letters"]["headers"]
    assert headers["required"] == ["x-fuma-reason", "x-fuma-detail", "x-fuma-topic", "x-fuma-at"]
    assert {"malformed", "unknown-type", "too-large", "wrong-environment"} <= set(
        headers["properties"]["x-fuma-reason"]["enum"],
    )
