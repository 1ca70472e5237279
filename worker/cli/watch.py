"""`fuma watch`: the monitoring side, events as they pass."""

import json
from datetime import datetime
from typing import Annotated

import typer

from schemas.cloudevents import CloudEvent, Unreadable, encode_event, read_message
from schemas.topics import Topic, topic_of_type
from worker.broker.port import Delivery
from worker.broker.tap import tap
from worker.cli.broker import network_broker
from worker.cli.output import printable, readable, say
from worker.settings import load_settings
from worker.telemetry import configure_logging


def watch(
    *,
    topic: Annotated[Topic | None, typer.Option(help="Only this one. Default: all.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object for each event, one a line.")] = False,
) -> None:
    """Show requests and events live, from a queue of its own, until interrupted; takes nothing from anybody."""
    settings = load_settings()
    configure_logging(settings.log_level)
    for delivery in tap(network_broker(settings), topic):
        for line in _lines(delivery, as_json=as_json):
            say(line)


def _lines(delivery: Delivery, *, as_json: bool) -> list[str]:
    read = read_message(delivery.body, delivery.content_type, delivery.content_encoding, delivery.headers)
    write = _as_json if as_json else _as_words
    return [write(item) for item in read.items]


def _as_json(item: CloudEvent | Unreadable) -> str:
    if isinstance(item, Unreadable):
        return json.dumps({"unreadable": item.reason, "detail": item.detail})
    event = {"id": item.id, "source": item.source, "type": item.type, "time": item.time, "data": item.data}
    return encode_event(event).decode()


def _as_words(item: CloudEvent | Unreadable) -> str:
    if isinstance(item, Unreadable):
        return f"{'-':19}  unreadable: {item.reason}, {printable(item.detail)}"
    topic = topic_of_type(item.type)
    told = item.data if isinstance(item.data, dict) else {}
    fields = " ".join(f"{printable(str(name))}={_value(value)}" for name, value in told.items())
    return f"{_time(item.time):19}  {topic or printable(item.type)}  {fields}"


def _time(text: str | None) -> str:
    try:
        return readable(None if text is None else datetime.fromisoformat(text))
    except ValueError:
        return "-"


def _value(value: object) -> str:
    if isinstance(value, str):
        return printable(value)
    return printable(json.dumps(value, ensure_ascii=False))
