"""The upstream as a process: asks at a steady pace, listens, and writes both down.

It takes commands on its standard input and tells its state on its standard output, a JSON object a line each.
`python -m tests.support.chaos.upstream PLAN.json`
"""

import json
import random
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pika
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError, NackError, UnroutableError
from pika.exchange_type import ExchangeType
from pika.spec import Basic, BasicProperties

from tests.support.chaos.book import Book
from tests.support.chaos.journal import Journal, Line, read
from tests.support.outside.contract import EVENT_FIELDS
from tests.support.outside.envelopes import BATCH, STRUCTURED, Event, as_json, event
from tests.support.outside.identities import CHINA

#: Where every event of Fuma's goes: durable, so that nothing is missed while nobody listens or the broker is away.
LISTENING = "chaos.listening"

_TICK = 0.25


@dataclass(frozen=True, slots=True)
class Plan:
    """What the upstream is told at its start."""

    broker_url: str
    journal: str
    seed: int
    #: Codes of organisations that numbers are claimed for.
    organizations: list[str]
    #: Codes of organisations that nobody claims for, once for each request that waits.
    waiting: list[str]
    #: Requests a second, and how many may be without an answer before no new ones are asked.
    rate: float
    most_open: int
    largest_batch: int
    #: Seconds that the world's clock is ahead of the machine's.
    ahead: float
    paused: bool = True


class Upstream:
    """Asks, listens, writes down."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._dice = random.Random(plan.seed)
        self._book = Book(self._dice)
        self._lock = threading.Lock()
        #: Messages written down and not confirmed, the oldest first.
        self._outgoing: deque[tuple[str, str, bytes, str]] = deque()
        self._recover(Path(plan.journal))
        self._journal = Journal(Path(plan.journal))
        self._ahead, self._paused, self._ending = plan.ahead, plan.paused, False
        self._came, self._obeyed = 0, 0
        self._fresh = 0.0

    def run(self) -> None:
        """Go on until told to end."""
        for work in (self._listen, self._obey, self._tell):
            threading.Thread(target=work, name=work.__name__, daemon=True).start()
        while not self._ending:
            try:
                with self._connected() as channel:
                    channel.confirm_delivery()
                    self._send(channel)
            except (AMQPError, OSError):
                time.sleep(0.3)

    # ------------------------------------------------------------------ asking

    def _send(self, channel: BlockingChannel) -> None:
        last = time.monotonic()
        while not self._ending:
            now = time.monotonic()
            self._fresh = min(self._fresh + (now - last) * self._plan.rate, self._plan.rate)
            last = now
            if not self._outgoing and not self._paused:
                self._write_message()
            if self._outgoing:
                self._publish(channel, *self._outgoing[0])
            else:
                channel.connection.process_data_events(0.02)

    def _publish(self, channel: BlockingChannel, message: str, topic: str, body: bytes, content_type: str) -> None:
        """Publish what is written down already; what goes wrong leaves it the next to be published."""
        properties = BasicProperties(content_type=content_type, message_id=message, delivery_mode=2)
        try:
            channel.basic_publish("fuma", topic, body, properties, mandatory=True)
        except (UnroutableError, NackError):
            channel.connection.process_data_events(0.3)
            return
        self._journal.write({"confirmed": message})
        self._outgoing.popleft()

    def _write_message(self) -> None:
        with self._lock:
            topic, events = self._next()
            if not events:
                return
            self._book.sent(topic, events)
            single = len(events) == 1 and self._dice.random() < 0.7
            self._put(topic, events, single=single)

    def _put(self, topic: str, events: list[Event], *, single: bool, again: bool = False) -> None:
        self._write({"sent": uuid4().hex, "topic": topic, "single": single, "again": again, "events": events})

    def _write(self, line: Line) -> None:
        self._journal.write(line)
        self._outgoing.append(_outgoing(line))

    def _put_garbage(self) -> None:
        """Send what nobody can read, to a queue that no hand deletes."""
        self._write({"sent": uuid4().hex, "garbage": self._book.new_key("G")})

    def _next(self) -> tuple[str, list[Event]]:
        size = self._dice.choice((1, self._dice.randint(2, self._plan.largest_batch), self._plan.largest_batch))
        if not self._book.asked:
            day = self._day().date()
            return "invoice-issuing", [self._book.issuing(code, day) for code in self._plan.waiting]
        waiting = [topic for topic, events in self._book.todo.items() if events]
        if waiting and self._dice.random() < 0.5:
            topic = self._dice.choice(waiting)
            todo = self._book.todo[topic]
            return topic, [todo.popleft() for _ in range(min(size, len(todo)))]
        if self._fresh < size or len(self._book.open) > self._plan.most_open:
            return "", []
        self._fresh -= size
        if size == 1 and self._dice.random() < 0.1:
            return self._by_hand()
        if size == 1 and self._dice.random() < 0.03:
            self._put_garbage()
            return "", []
        events = [
            self._book.issuing(self._dice.choice(self._plan.organizations), self._day().date()) for _ in range(size)
        ]
        if self._dice.random() < 0.3:
            repeated = [each for _ in range(1 + size // 20) if (each := self._book.repetition()) is not None]
            events += repeated + events[:1]
        return "invoice-issuing", events

    def _by_hand(self) -> tuple[str, list[Event]]:
        organization = self._dice.choice(self._plan.organizations)
        if self._dice.random() < 0.5:
            told = {"refresh_id": self._book.new_key("F"), "organization": organization}
            return "refresh-requested", [event("refresh-requested", told)]
        told = {"claim_id": self._book.new_key("C"), "organization": organization, "requested_by": "li.na"}
        return "claim-requested", [event("claim-requested", {**told, "quantity": self._dice.randint(1, 20)})]

    def _day(self) -> datetime:
        return datetime.now(CHINA) + timedelta(seconds=self._ahead)  # noqa: TID251 -- its own clock

    # ------------------------------------------------------------------ listening

    def _listen(self) -> None:
        while True:
            try:
                with self._connected() as channel:
                    channel.basic_qos(prefetch_count=200)
                    channel.basic_consume(LISTENING, self._take)
                    channel.start_consuming()
            except (AMQPError, OSError):
                time.sleep(0.3)

    def _take(self, channel: BlockingChannel, method: Basic.Deliver, properties: BasicProperties, body: bytes) -> None:
        told = json.loads(body)
        events = told if properties.content_type == BATCH else [told]
        with self._lock:
            self._journal.write({"came": events})
            for each in events:
                self._book.came(each)
            self._came += len(events)
        channel.basic_ack(method.delivery_tag)

    # ------------------------------------------------------------------ commands

    def _obey(self) -> None:
        for line in sys.stdin:
            command: Line = json.loads(line)
            with self._lock:
                self._do(command)
                self._obeyed = command["number"]
            self._say()
        self._ending = True

    def _do(self, command: Line) -> None:
        match command["do"]:
            case "pause" | "go-on":
                self._paused = command["do"] == "pause"
            case "ahead":
                self._ahead = command["seconds"]
            case "mark":
                self._journal.write({name: value for name, value in command.items() if name not in {"do", "number"}})
                self._mind(command)
            case "send-again":
                self._send_again()
            case unknown:
                message = f"no such command: {unknown}"
                raise ValueError(message)

    def _mind(self, line: Line) -> None:
        match line["mark"]:
            case "dumped":
                self._book.dumped()
            case "restored":
                self._book.restored()
            case "deleted":
                self._book.deleted(line["topic"])
            case _:
                pass

    def _send_again(self) -> None:
        """Ask again, under the same ids, what an operator's hand has thrown away and what has no answer."""
        for topic, lost in self._book.to_ask_again().items():
            for start in range(0, len(lost), self._plan.largest_batch):
                self._put(topic, lost[start : start + self._plan.largest_batch], single=False, again=True)

    def _tell(self) -> None:
        while True:
            time.sleep(_TICK)
            self._say()

    def _say(self) -> None:
        with self._lock:
            told = {
                "obeyed": self._obeyed,
                "open": len(self._book.open),
                "some": list(self._book.open)[:5],
                "asked": len(self._book.asked),
                "outgoing": len(self._outgoing),
                "came": self._came,
                "todo": sum(len(each) for each in self._book.todo.values()),
            }
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()

    # ------------------------------------------------------------------ its own end and beginning

    def _recover(self, path: Path) -> None:
        if not path.exists():
            return
        unconfirmed: dict[str, Line] = {}
        for line in read(path):
            if "sent" in line:
                unconfirmed[line["sent"]] = line
            if "events" in line:
                self._book.sent(line["topic"], line["events"])
            elif "confirmed" in line:
                unconfirmed.pop(line["confirmed"], None)
            elif "came" in line:
                for each in line["came"]:
                    self._book.came(each)
            elif "mark" in line:
                self._mind(line)
        # What followed from answers and was not sent is let go: nobody was promised that.
        self._book.todo.clear()
        self._outgoing.extend(_outgoing(line) for line in unconfirmed.values())

    def _connected(self) -> "_Channel":
        return _Channel(self._plan.broker_url)


class _Channel:
    """A connection with one channel, over which the exchange and the listening queue are declared."""

    def __init__(self, url: str) -> None:
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 10
        parameters.blocked_connection_timeout = 60
        parameters.socket_timeout = 5
        self._connection = pika.BlockingConnection(parameters)

    def __enter__(self) -> BlockingChannel:
        channel = self._connection.channel()
        channel.exchange_declare("fuma", ExchangeType.topic, durable=True)
        channel.queue_declare(LISTENING, durable=True, arguments={"x-queue-type": "quorum"})
        for topic in EVENT_FIELDS:
            channel.queue_bind(LISTENING, "fuma", f"{topic}.#")
        return channel

    def __exit__(self, *_: object) -> None:
        if self._connection.is_open:
            self._connection.close()


def _outgoing(line: Line) -> tuple[str, str, bytes, str]:
    """Give the message that a line tells of: its id, routing key, body and content type."""
    if "garbage" in line:
        return line["sent"], "claim-requested", line["garbage"].encode(), STRUCTURED
    body, content_type = (
        (as_json(line["events"][0]), STRUCTURED) if line["single"] else (as_json(line["events"]), BATCH)
    )
    return line["sent"], line["topic"], body, content_type


def main() -> None:
    """Run by a plan."""
    plan: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Upstream(Plan(**plan)).run()


if __name__ == "__main__":
    main()
