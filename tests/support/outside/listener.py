"""Queues of our own: one that records every event that Fuma publishes, one that empties the dead letters."""

import json
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exchange_type import ExchangeType
from pika.spec import Basic, BasicProperties

from tests.support.outside.contract import EVENT_FIELDS
from tests.support.outside.envelopes import BATCH, STRUCTURED
from tests.support.outside.polling import eventually

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Record:
    """One event as it came: alone, or as one of a batch message."""

    topic: str
    event: dict[str, Any]
    routing_key: str
    content_type: str
    #: Counts the AMQP messages: elements of one batch share it.
    message: int

    @property
    def data(self) -> dict[str, Any]:
        """The event's data."""
        data: dict[str, Any] = self.event["data"]
        return data

    @property
    def id(self) -> str:
        """The CloudEvents id."""
        return str(self.event["id"])

    @property
    def batched(self) -> bool:
        """Whether it came in a batch message."""
        return self.content_type == BATCH


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of the dead-letter queue."""

    body: bytes
    content_type: str | None
    headers: dict[str, Any]
    routing_key: str

    @property
    def reason(self) -> str:
        """Why Fuma put it there."""
        return str(self.headers.get("x-fuma-reason"))

    def parsed(self) -> dict[str, Any]:
        """Give the body, a JSON object; raises ValueError where it is no JSON."""
        parsed: dict[str, Any] = json.loads(self.body)
        return parsed


class _Consumer:
    """A blocking connection on a thread of its own, that hands every delivery to `take`."""

    def __init__(self, url: str, name: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self._thread = threading.Thread(target=self._consume, name=name, daemon=True)
        self.channel: BlockingChannel = self._connection.channel()
        self.trouble: BaseException | None = None

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        if self._thread.is_alive():
            self._connection.add_callback_threadsafe(self.channel.stop_consuming)
            self._thread.join(10)
        if self._connection.is_open:
            self._connection.close()

    def _consume(self) -> None:
        try:
            self.channel.start_consuming()
        except pika.exceptions.AMQPError as error:
            self.trouble = error


class Listener:
    """Records every event published to `fuma` since it was made, but no request."""

    def __init__(self, url: str) -> None:
        """Declare an exclusive queue, bind it for every event topic of the contract, and consume."""
        self._consumer = _Consumer(url, "outside-listener")
        self._lock = threading.Lock()
        self._records: dict[str, list[Record]] = defaultdict(list)
        self._messages = 0
        #: What came and was no event by the contract's form.
        self.unreadable: list[str] = []
        channel = self._consumer.channel
        channel.exchange_declare("fuma", ExchangeType.topic, durable=True)
        queue = channel.queue_declare("", exclusive=True).method.queue
        for topic in EVENT_FIELDS:
            channel.queue_bind(queue, "fuma", f"{topic}.#")
        channel.basic_consume(queue, self._take, auto_ack=True)
        self._consumer.start()

    def close(self) -> None:
        """Disconnect; the queue goes with the connection."""
        self._consumer.close()

    def records(self, topic: str, **data: object) -> list[Record]:
        """Give what came of a topic so far, in order, where the data has these values."""
        with self._lock:
            found = list(self._records[topic])
        return [record for record in found if _agrees(record, data)]

    def everything(self) -> list[Record]:
        """Give all that came so far."""
        with self._lock:
            return [record for records in self._records.values() for record in records]

    def count(self, topic: str) -> int:
        """Tell how many events of a topic came so far."""
        with self._lock:
            return len(self._records[topic])

    def wait(self, topic: str, *, count: int = 1, within: float = 20, **data: object) -> list[Record]:
        """Give the records of a topic with these data once there are `count` of them.

        Repetitions count. Raises AssertionError after `within` seconds, telling what came instead.
        """
        return self._wait(topic, count, within, data)

    def one(self, topic: str, *, within: float = 20, **data: object) -> Record:
        """Give the first record of a topic with these data, waiting for it."""
        return self._wait(topic, 1, within, data)[0]

    def _wait(self, topic: str, count: int, within: float, data: Mapping[str, object]) -> list[Record]:
        return self.until(
            lambda: found if len(found := self.records(topic, **data)) >= count else None,
            within=within,
            what=f"{count} {topic} {data}",
        )

    def until(self, probe: Callable[[], T | None], *, within: float, what: str, step: float = 0.05) -> T:
        """Give the first true value of `probe`; where there is none, fail and tell what came."""

        def connected() -> T | None:
            assert self._consumer.trouble is None, f"the outside listener was cut off: {self._consumer.trouble}"
            return probe()

        return eventually(connected, within=within, what=lambda: f"{what}; came: {self.summary()}", step=step)

    def summary(self) -> str:
        """Tell what came, in short, for a failing test's message."""
        with self._lock:
            counted = {topic: len(records) for topic, records in self._records.items() if records}
            last = [records[-1].data for topic, records in self._records.items() if records and "fail" in topic]
        return f"{counted} {last or ''}"

    def _take(self, _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        content_type = str(properties.content_type)
        try:
            decoded = json.loads(body)
            events = decoded if content_type == BATCH else [decoded]
            assert content_type in {BATCH, STRUCTURED}, f"content type {content_type}"
            taken = [
                Record(
                    event["type"].removeprefix("fuma.").removesuffix(".v1"),
                    event,
                    method.routing_key,
                    content_type,
                    self._messages,
                )
                for event in events
            ]
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            self.unreadable.append(f"{method.routing_key}: {error!r}: {body[:200]!r}")
            return
        with self._lock:
            self._messages += 1
            for record in taken:
                self._records[record.topic].append(record)


class DeadLetters:
    """Reads `fuma.dead-letters` without taking anything away: all goes back at `close`."""

    def __init__(self, url: str) -> None:
        """Consume the queue, which must exist."""
        self._consumer = _Consumer(url, "outside-dead-letters")
        self._letters: list[Letter] = []
        self._consumer.channel.basic_consume("fuma.dead-letters", self._take, auto_ack=False)
        self._consumer.start()

    def close(self) -> None:
        """Give every letter back to the queue."""
        self._consumer.close()

    def all(self) -> list[Letter]:
        """Give what was read so far."""
        return list(self._letters)

    def _take(self, _channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        self._letters.append(Letter(body, properties.content_type, dict(properties.headers or {}), method.routing_key))


@contextmanager
def dead_letters(url: str) -> Iterator[DeadLetters]:
    """Read the dead letters for as long as the block lasts."""
    reader = DeadLetters(url)
    try:
        yield reader
    finally:
        reader.close()


def _agrees(record: Record, data: Mapping[str, object]) -> bool:
    return all(record.data.get(name) == value for name, value in data.items())
