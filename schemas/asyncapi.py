"""The contract for programs: an AsyncAPI 3 document, made from the same models that read and write the messages.

Names and arguments are those of the contract, "On the broker".
"""

from collections.abc import Iterable

from pydantic.json_schema import models_json_schema

from schemas import requests
from schemas.cloudevents import BATCH, MAX_ATTRIBUTE, MAX_EVENTS, STRUCTURED
from schemas.events import EVENT_MODELS
from schemas.fields import Data
from schemas.reasons import DEAD_LETTER_REASONS
from schemas.topics import CONSUMED, EVENTS, PUBLISHED, REQUESTS, Topic, event_type, queue_name

#: A part of the document; its values are texts, numbers, booleans, lists and other parts.
Part = dict[str, object]

_BINDING_VERSION = "0.3.0"
_DEAD_LETTERS = "dead-letters"
_TAXPAYER_PARAMETER = "taxpayer_id"

_REQUEST_MODELS: dict[Topic, type[Data]] = {
    Topic.REFRESH_REQUESTED: requests.RefreshRequested,
    Topic.CLAIM_REQUESTED: requests.ClaimRequested,
    Topic.INVOICE_ISSUING: requests.InvoiceIssuing,
    Topic.NUMBER_BINDING_REQUESTED: requests.NumberBindingRequested,
    Topic.INVOICE_OUTCOME: requests.InvoiceOutcome,
}
_MODELS: dict[Topic, type[Data]] = {**_REQUEST_MODELS, **EVENT_MODELS}
#: Topics with a queue of Fuma's: every request's, and those of the events that it acts upon.
_QUEUED: tuple[Topic, ...] = (*REQUESTS, *(topic for topic in CONSUMED if topic not in REQUESTS))

_ATTRIBUTES: Part = {
    "specversion": {"const": "1.0"},
    "id": {"type": "string", "minLength": 1, "maxLength": MAX_ATTRIBUTE},
    "source": {
        "type": "string",
        "format": "uri-reference",
        "minLength": 1,
        "maxLength": MAX_ATTRIBUTE,
        "description": "Of Fuma's events: /fuma/<environment>.",
    },
    "type": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
    "subject": {"type": "string", "minLength": 1, "maxLength": MAX_ATTRIBUTE},
    "datacontenttype": {"type": "string", "description": "A JSON media type, or absent."},
    "traceparent": {"type": "string", "description": "W3C trace context, carried through."},
    "tracestate": {"type": "string"},
}
_REQUIRED = ["specversion", "id", "source", "type"]


def asyncapi_document() -> Part:
    """Make the document: plain values only, ready to be written as JSON or YAML."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fuma",
            "version": "1.0.0",
            "description": (
                "Gives every invoice exactly one number that the tax authority granted before."
                " Messages are CloudEvents 1.0: structured, in batches, or (requests) binary."
                " Each is delivered at least once; the business key in the data makes a repetition harmless."
            ),
        },
        "defaultContentType": STRUCTURED,
        "channels": {
            **{queue_name(topic): _queue_channel(topic) for topic in _QUEUED},
            **{topic.value: _event_channel(topic) for topic in EVENTS},
            f"fuma.{_DEAD_LETTERS}": _dead_letter_channel(),
        },
        "operations": {
            **{f"receive-{topic}": _receive(topic) for topic in CONSUMED},
            **{f"send-{topic}": _send(topic) for topic in PUBLISHED},
            f"send-{_DEAD_LETTERS}": _operation("send", f"fuma.{_DEAD_LETTERS}", (_DEAD_LETTERS,)),
        },
        "components": {
            "messages": {
                **{name: message for topic in Topic for name, message in _messages(topic).items()},
                _DEAD_LETTERS: _dead_letter_message(),
            },
            "schemas": {"CloudEvent": _envelope(), **_schemas()},
        },
    }


def queue_arguments() -> dict[str, str | int]:
    """Give the arguments that every consumed queue is declared with; another value is a conflict on the broker."""
    return {
        "x-queue-type": "quorum",
        "x-delivery-limit": 1000,
        "x-dead-letter-exchange": "fuma.dead",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }


def _schemas() -> Part:
    """Give the schema of every topic's data, and of what those refer to."""
    _, document = models_json_schema(
        [(model, "validation") for model in _MODELS.values()],
        ref_template="#/components/schemas/{model}",
    )
    return dict(document["$defs"])


def _envelope() -> Part:
    return {
        "type": "object",
        "description": "The envelope of a structured message (CloudEvents 1.0, JSON event format).",
        "required": [*_REQUIRED, "data"],
        "properties": {**_ATTRIBUTES, "data": {"type": "object"}},
        "additionalProperties": {"description": "Extensions; unknown ones are ignored."},
    }


def _messages(topic: Topic) -> Part:
    """Give the message of a topic in each form that it may have."""
    described = {"title": topic.value, "summary": _summary(topic)}
    messages: Part = {
        topic.value: {
            "name": event_type(topic),
            **described,
            "contentType": STRUCTURED,
            "payload": _event(topic),
        },
        f"{topic}-batch": {
            "name": event_type(topic),
            **described,
            "contentType": BATCH,
            "payload": {"type": "array", "maxItems": MAX_EVENTS, "items": _event(topic)},
        },
    }
    if topic in _QUEUED:
        messages[f"{topic}-binary"] = {
            "name": event_type(topic),
            **described,
            "contentType": "application/json",
            "headers": _binary_headers(topic),
            "payload": _data(topic),
        }
    return messages


def _event(topic: Topic) -> Part:
    own = {"type": {"const": event_type(topic)}, "data": _data(topic)}
    return {"allOf": [_reference("components", "schemas", "CloudEvent"), {"properties": own}]}


def _binary_headers(topic: Topic) -> Part:
    attributes = {name: schema for name, schema in _ATTRIBUTES.items() if name != "datacontenttype"}
    attributes["type"] = {"const": event_type(topic)}
    return {
        "type": "object",
        "description": "The attributes; cloudEvents:… is read for ce-… too.",
        "required": [f"ce-{name}" for name in _REQUIRED],
        "properties": {f"ce-{name}": schema for name, schema in attributes.items()},
    }


def _data(topic: Topic) -> Part:
    return _reference("components", "schemas", _MODELS[topic].__name__)


def _summary(topic: Topic) -> str:
    return (_MODELS[topic].__doc__ or "").partition("\n")[0]


def _queue_channel(topic: Topic) -> Part:
    return {
        "address": queue_name(topic),
        "description": f"Publish to the exchange fuma with the routing key {topic} or {topic}.<taxpayer_id>.",
        "messages": _message_references(_messages(topic)),
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": _queue(queue_name(topic)),
                "x-arguments": queue_arguments(),
                "x-bound-to": {"exchange": _exchange("fuma"), "routingKeys": [topic.value, f"{topic}.#"]},
                "bindingVersion": _BINDING_VERSION,
            },
        },
    }


def _event_channel(topic: Topic) -> Part:
    return {
        "address": f"{topic}.{{{_TAXPAYER_PARAMETER}}}",
        "description": f"Where no tax id is known, the routing key is {topic} alone.",
        "parameters": {_TAXPAYER_PARAMETER: {"description": "The tax id, 15 to 20 capital letters and digits."}},
        "messages": _message_references((topic.value, f"{topic}-batch")),
        "bindings": {
            "amqp": {"is": "routingKey", "exchange": _exchange("fuma"), "bindingVersion": _BINDING_VERSION},
        },
    }


def _dead_letter_channel() -> Part:
    return {
        "address": f"fuma.{_DEAD_LETTERS}",
        "description": "What could not be read, and why. Letters that the broker itself moved have only x-death.",
        "messages": _message_references((_DEAD_LETTERS,)),
        "bindings": {
            "amqp": {
                "is": "queue",
                "queue": _queue(f"fuma.{_DEAD_LETTERS}"),
                "x-arguments": {"x-queue-type": "quorum", "x-delivery-limit": 1_000_000},
                "x-bound-to": {"exchange": _exchange("fuma.dead"), "routingKeys": ["#"]},
                "bindingVersion": _BINDING_VERSION,
            },
        },
    }


def _dead_letter_message() -> Part:
    return {
        "name": _DEAD_LETTERS,
        "title": "dead letter",
        "summary": "A message that could not be read, its body unchanged.",
        "headers": {
            "type": "object",
            "required": ["x-fuma-reason", "x-fuma-detail", "x-fuma-topic", "x-fuma-at"],
            "properties": {
                "x-fuma-reason": {"enum": sorted(reason.value for reason in DEAD_LETTER_REASONS)},
                "x-fuma-detail": {"type": "string", "description": "For people; never quotes the message."},
                "x-fuma-topic": {"type": "string", "description": "The topic whose queue it came from."},
                "x-fuma-at": {"type": "string", "format": "date-time"},
                "x-fuma-queue": {"type": "string", "description": "The topic's queue, to which a redrive brings it."},
                "x-fuma-routing-key": {"type": "string", "description": "The routing key that it was sent with."},
                "x-fuma-worker": {"type": "string", "description": "Host and process of the worker that moved it."},
                "x-fuma-batch": {
                    "type": "string",
                    "description": "The message id of an element's batch, if it had one.",
                },
                "x-fuma-element": {"type": "integer", "description": "An element's place in its batch, from 0."},
            },
        },
        "payload": {"description": "Whatever came."},
    }


def _receive(topic: Topic) -> Part:
    return _operation("receive", queue_name(topic), _messages(topic))


def _send(topic: Topic) -> Part:
    return _operation("send", topic.value, (topic.value, f"{topic}-batch"))


def _operation(action: str, channel: str, messages: Iterable[str]) -> Part:
    manner: Part = {"ack": True} if action == "receive" else {"deliveryMode": 2, "mandatory": True}
    return {
        "action": action,
        "channel": _reference("channels", channel),
        "messages": [_reference("channels", channel, "messages", name) for name in messages],
        "bindings": {"amqp": {**manner, "bindingVersion": _BINDING_VERSION}},
    }


def _message_references(names: Iterable[str]) -> Part:
    return {name: _reference("components", "messages", name) for name in names}


def _queue(name: str) -> Part:
    return {"name": name, "durable": True, "exclusive": False, "autoDelete": False}


def _exchange(name: str) -> Part:
    return {"name": name, "type": "topic", "durable": True, "autoDelete": False}


def _reference(*path: str) -> Part:
    return {"$ref": "#/" + "/".join(path)}
