"""How processes share a topic's shards, look by look, at a broker that serves the first who stands at each."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from types import SimpleNamespace
from typing import cast

from schemas.topics import Topic, queue_name
from worker.broker.port import Delivery
from worker.broker.rabbitmq_subscription import RabbitMQSubscription
from worker.broker.rabbitmq_wire import Answered, Channel, Connection, Frame
from worker.broker.topology import shard_queue

TOPIC = Topic.INVOICE_ISSUING
QUEUE = queue_name(TOPIC)
SHARDS = [shard_queue(TOPIC, number).name for number in range(1, 9)]
PREFETCH = 2000


@dataclass
class SmallBroker:
    """Queues of single active consumers, and what it still has to answer."""

    queues: dict[str, list[str]] = field(default_factory=lambda: {queue: [] for queue in [QUEUE, *SHARDS]})
    answers: deque[Callable[[], object]] = field(default_factory=deque)
    told: dict[str, Callable[[Sequence[Delivery]], None]] = field(default_factory=dict)
    tags: "count[int]" = field(default_factory=lambda: count(1))

    def deliver(self) -> None:
        """Bring a message to the one consumer served at each shard."""
        for shard in SHARDS:
            self.told[self.queues[shard][0]]([delivery(next(self.tags))])

    def answer_all(self) -> None:
        while self.answers:
            self.answers.popleft()()


class SmallChannel:
    """A process's channel at it; answers come when the broker gives them."""

    is_open, channel_number = True, 1

    def __init__(self, broker: SmallBroker, process: str) -> None:
        self._broker, self._process = broker, process

    def add_on_close_callback(self, _callback: object) -> None:
        """Never called: it stays open."""

    add_on_cancel_callback = add_on_close_callback

    def basic_qos(self, *, prefetch_count: int, callback: Answered) -> None:
        self._broker.answers.append(lambda: callback(prefetch_count))

    def basic_consume(self, queue: str, _by_pika: object, *, callback: Answered) -> str:
        tag = f"{self._process}-{next(self._broker.tags)}"
        self._broker.queues[queue].append(tag)
        self._broker.answers.append(lambda: callback(tag))
        return tag

    def basic_cancel(self, tag: str, *, callback: Answered) -> None:
        for waiting in self._broker.queues.values():
            if tag in waiting:
                waiting.remove(tag)
        self._broker.answers.append(lambda: callback(tag))

    def basic_ack(self, _tag: int, *, multiple: bool) -> None:
        assert multiple

    def queue_declare(self, queue: str, *, passive: bool, callback: Callable[[Frame], object]) -> None:
        assert passive
        counted = SimpleNamespace(method=SimpleNamespace(consumer_count=len(self._broker.queues[queue])))
        self._broker.answers.append(lambda: callback(cast("Frame", counted)))


class Process:
    """A process of its own: one connection, and the subscription over it."""

    def __init__(self, name: str, broker: SmallBroker) -> None:
        self.name = name
        self.is_open = True
        self.ioloop = self
        self._broker = broker
        self._looks: list[Callable[[], None]] = []
        self.subscription = RabbitMQSubscription(
            TOPIC,
            PREFETCH,
            call=broker.answers.append,
            share=lambda: 64 * 1024 * 1024,
            recover=lambda _subscription: None,
        )
        self.subscription.attach(cast("Connection", self), SHARDS)
        broker.answer_all()

    def channel(self, *, on_open_callback: Callable[[Channel], None]) -> Channel:
        channel = cast("Channel", SmallChannel(self._broker, self.name))
        self._broker.answers.append(lambda: on_open_callback(channel))
        return channel

    def call_later(self, _seconds: float, callback: Callable[[], None]) -> None:
        self._looks.append(callback)

    def tell_deliveries(self, _channel: int, tag: str, delivered: Callable[[Sequence[Delivery]], None]) -> None:
        self._broker.told[tag] = delivered

    def leave_to_pika(self, _channel: int, tag: str) -> None:
        del self._broker.told[tag]

    def work(self) -> None:
        """Take and acknowledge what came, which is when the window grows."""
        while (batch := self.subscription.next_batch(size=100, age=0, wait=0)) is not None:
            self.subscription.acknowledge(batch)
        self._broker.answer_all()

    def look(self) -> None:
        """Let the time of its next look come."""
        looks, self._looks = self._looks, []
        for each in looks:
            each()
        self._broker.answer_all()

    @property
    def shards(self) -> int:
        """At how many shards it is the one that is served."""
        return sum(self._broker.queues[shard][0].startswith(self.name) for shard in SHARDS)


def delivery(tag: int) -> Delivery:
    return Delivery(tag, b"{}", None, None, {}, "", None, redelivered=False)


def test_two_processes_that_widened_in_turn_are_spread_at_their_first_look() -> None:
    broker = SmallBroker()
    processes = [Process("first", broker), Process("second", broker)]
    # Each in turn is served everywhere, and steps back once to let more messages be out.
    for each in processes:
        broker.deliver()
        assert each.shards == len(SHARDS)
        each.work()
    broker.deliver()
    assert processes[0].shards == len(SHARDS)

    for each in processes:
        each.look()
    broker.deliver()

    assert [each.shards for each in processes] == [4, 4]


def test_processes_that_hold_their_share_hand_on_no_more() -> None:
    broker = SmallBroker()
    processes = [Process("first", broker), Process("second", broker)]
    for _ in range(3):
        broker.deliver()
        for each in processes:
            each.work()
            each.look()
    before = {shard: list(waiting) for shard, waiting in broker.queues.items()}

    for _ in range(3):
        broker.deliver()
        for each in processes:
            each.work()
            each.look()

    assert broker.queues == before
    assert [each.subscription.shards_served for each in processes] == [4, 4]


def test_three_processes_are_spread_after_two_looks() -> None:
    broker = SmallBroker()
    processes = [Process(name, broker) for name in ("first", "second", "third")]
    for each in processes:
        broker.deliver()
        each.work()

    for _ in range(2):
        broker.deliver()
        for each in processes:
            each.work()
            each.look()

    assert sorted(each.shards for each in processes) == [2, 3, 3]
