"""The check that every contender has to pass: each request answered, with one number, which no other has."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.spec import Basic, BasicProperties

from bench.load import Load


class WrongAnswersError(AssertionError):
    """A contender gave out numbers that it must not; the text says what is wrong."""


@dataclass(slots=True)
class Answers:
    """What came back, by request."""

    numbers: dict[str, set[str]] = field(default_factory=dict)

    def add(self, body: bytes) -> None:
        """Read one message: an event, or a batch of them."""
        read: Any = json.loads(body)
        for event in read if isinstance(read, list) else [read]:
            data = event["data"]
            self.numbers.setdefault(data["issue_request_id"], set()).add(data["invoice_number"])

    def insist(self, load: Load, *, before: Iterable[str] = ()) -> None:
        """Raise `WrongAnswersError` where not every request of the load has exactly one number, its own.

        A repeated answer with the same number is none the worse: delivery is at least once.
        """
        wanted = {load.request_id(number) for number in range(load.invoices)}
        missing = wanted - self.numbers.keys()
        strange = self.numbers.keys() - wanted
        several = [request for request, numbers in self.numbers.items() if len(numbers) > 1]
        holders = Counter(number for numbers in self.numbers.values() for number in numbers)
        holders.update(before)
        twice = [number for number, count in holders.items() if count > 1]
        malformed = [number for number in holders if len(number) != 20 or not number.isdecimal()]  # noqa: PLR2004
        for fault, found in (
            ("requests without an answer", missing),
            ("answers to requests that nobody made", strange),
            ("requests with more than one number", several),
            ("numbers given to more than one request", twice),
            ("numbers that are none", malformed),
        ):
            if found:
                message = f"{len(found)} {fault}, such as {next(iter(found))}"
                raise WrongAnswersError(message)


def take_all(broker_url: str, queue: str, messages: int) -> list[bytes]:
    """Take so many messages off a queue; waits for them."""
    taken: list[bytes] = []

    def opened(channel: Channel) -> None:
        channel.basic_consume(queue, deliver, auto_ack=True)

    def deliver(_channel: Channel, _how: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        taken.append(body)
        if len(taken) == messages:
            connection.close()

    connection = SelectConnection(
        pika.URLParameters(broker_url),
        on_open_callback=lambda opening: opening.channel(on_open_callback=opened),
        on_close_callback=lambda closing, _reason: closing.ioloop.stop(),
    )
    connection.ioloop.start()
    connection.ioloop.close()
    return taken
