"""A steady load in a process of its own: sends at a pace, counts the numbers that are assigned, tells how it went.

    python -m tests.support.outside.steady <plan as JSON>

Plain pika on one thread: persistent messages with pipelined confirms, and a queue of its own for the answers.
Apart from the limit on what is unanswered, if there is one, nothing that the worker does slows the sending down.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import pika
from pika.adapters.select_connection import SelectConnection
from pika.channel import Channel
from pika.exchange_type import ExchangeType
from pika.frame import Method
from pika.spec import Basic, BasicProperties

from tests.support.outside.envelopes import batch, structured
from tests.support.outside.world import issuing

#: How often it looks whether something is due to be sent, in seconds.
_TICK = 0.005


@dataclass(frozen=True, slots=True)
class Plan:
    """What is sent: `requests` of the organisations in turn, `rate` a second all together."""

    broker_url: str
    organizations: Sequence[str]
    requests: int
    rate: float
    #: Requests that one message carries; 1: each alone, in structured form.
    batch: int
    #: Requests that may be sent and not answered; 0: however many, so that the pace is the plan's alone.
    most_unanswered: int = 0
    #: Seconds without any answer after which it gives up.
    patience: float = 60

    def as_json(self) -> str:
        """Write it as an argument."""
        return json.dumps(asdict(self))


@dataclass(slots=True)
class Sent:
    """How it went, in requests and seconds from the first message on."""

    requests: int = 0
    answered: int = 0
    #: Until the last message was handed to the connection, and until the last answer came.
    sending: float = 0.0
    seconds: float = 0.0
    #: The most that was sent and not answered, and by how much sending was behind its time at worst.
    most_unanswered: int = 0
    most_late: float = 0.0
    refused: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, text: str) -> Self:
        """Read what the program printed."""
        return cls(**json.loads(text))


class _Sender:
    def __init__(self, plan: Plan) -> None:
        self.told = Sent()
        self._plan = plan
        self._channel: Any = None
        self._unconfirmed: set[int] = set()
        self._messages = 0
        self._began = self._last_answer = 0.0
        self._connection = SelectConnection(
            pika.URLParameters(plan.broker_url),
            on_open_callback=lambda connection: connection.channel(on_open_callback=self._opened),
            on_open_error_callback=lambda _, error: self._give_up(f"no connection: {error!r}"),
            on_close_callback=lambda _, reason: self._give_up(f"disconnected: {reason}"),
        )

    def run(self) -> Sent:
        """Send everything, and wait for every answer and every confirm."""
        self._connection.ioloop.start()
        return self.told

    def _opened(self, channel: Channel) -> None:
        self._channel = channel
        channel.add_on_close_callback(lambda _, reason: self._give_up(f"the channel closed: {reason}"))
        channel.add_on_return_callback(lambda *_: self._give_up("a message was not routed"))
        channel.confirm_delivery(self._confirm)
        channel.exchange_declare("fuma", ExchangeType.topic, durable=True)
        channel.queue_declare("", exclusive=True, callback=self._bind)

    def _bind(self, declared: Method) -> None:
        queue = declared.method.queue
        self._channel.queue_bind(queue, "fuma", "number-assigned.#")
        self._channel.basic_consume(queue, self._answer, auto_ack=True, callback=self._begin)

    def _begin(self, _consuming: Method) -> None:
        self._began = self._last_answer = time.monotonic()
        self._tick()

    def _tick(self) -> None:
        plan, told = self._plan, self.told
        passed = time.monotonic() - self._began
        while told.requests < plan.requests:
            late = passed - told.requests / plan.rate
            unanswered = told.requests - told.answered
            if late < 0 or (plan.most_unanswered and unanswered >= plan.most_unanswered):
                break
            told.most_late = max(told.most_late, late)
            self._send()
            told.most_unanswered = max(told.most_unanswered, told.requests - told.answered)
            told.sending = time.monotonic() - self._began
        if told.requests == plan.requests and told.answered >= told.requests and not self._unconfirmed:
            self._connection.ioloop.stop()
        elif time.monotonic() - self._last_answer > plan.patience:
            self._give_up(f"no answer for {plan.patience:g} s")
        else:
            self._connection.ioloop.call_later(_TICK, self._tick)

    def _send(self) -> None:
        plan, at = self._plan, self.told.requests
        numbers = range(at, min(at + plan.batch, plan.requests))
        events = [issuing(plan.organizations[each % len(plan.organizations)], f"INV-{each:07d}") for each in numbers]
        message = structured(events[0]) if plan.batch == 1 else batch(events)
        self._channel.basic_publish(
            message.exchange,
            message.routing_key,
            message.body,
            BasicProperties(content_type=message.content_type, message_id=message.message_id, delivery_mode=2),
            mandatory=True,
        )
        self._messages += 1
        self._unconfirmed.add(self._messages)
        self.told.requests += len(events)

    def _confirm(self, frame: Method) -> None:
        if frame.method.NAME != "Basic.Ack":
            self._give_up("the broker refused a message")
        tag = frame.method.delivery_tag
        if frame.method.multiple:
            self._unconfirmed = {each for each in self._unconfirmed if each > tag}
        else:
            self._unconfirmed.discard(tag)

    def _answer(self, _channel: Channel, _how: Basic.Deliver, _properties: BasicProperties, body: bytes) -> None:
        self.told.answered += body.count(b'"specversion"')
        self._last_answer = time.monotonic()
        self.told.seconds = self._last_answer - self._began

    def _give_up(self, why: str) -> None:
        self.told.refused.append(why)
        self._connection.ioloop.stop()


def main() -> int:
    """Play the plan that is the argument; gives 1 where it could not be played to its end."""
    told = _Sender(Plan(**json.loads(sys.argv[1]))).run()
    sys.stdout.write(json.dumps(asdict(told)) + "\n")
    return 1 if told.refused else 0


if __name__ == "__main__":
    sys.exit(main())
