"""A broker that keeps what it is given, and hands over what a test puts in."""

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future

from schemas.cloudevents import BATCH, STRUCTURED
from schemas.topics import Topic
from worker.broker.port import Delivery, DeliveryBatch, Message, Outcome


def delivery(
    body: bytes,
    content_type: str | None = STRUCTURED,
    *,
    headers: Mapping[str, object] | None = None,
    content_encoding: str | None = None,
) -> Delivery:
    """Make a delivery of this body; its tag is given when it is put in."""
    return Delivery(0, body, content_type, content_encoding, headers or {}, "invoice-issuing", None, redelivered=False)


def batch_delivery(events: Sequence[bytes]) -> Delivery:
    """Make a delivery of events in the batch form."""
    return delivery(b"[" + b",".join(events) + b"]", BATCH)


class ScriptedSubscription:
    """Implements `Subscription`: what is put in is handed over in its order, and again if it is given back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[Delivery] = []
        self._out: list[Delivery] = []
        self._generation = 1
        self._tag = 0
        self._suspended = False
        self._closed = False
        self._gone = False
        self.acknowledged: list[Delivery] = []
        self.suspensions = 0
        #: How old each batch was let grow, and how many deliveries it had.
        self.gathered: list[tuple[float, int]] = []

    def put(self, *deliveries: Delivery) -> None:
        """Put deliveries at the end of the queue, at once."""
        with self._changed:
            self._waiting.extend(deliveries)
            self._changed.notify_all()

    def take_away(self) -> None:
        """Let another worker have all that is here, and all that was handed over and is given back."""
        with self._changed:
            self._gone = True
            self._waiting = []

    def wait_until_acknowledged(self, count: int, seconds: float = 30.0) -> list[Delivery]:
        """Wait until so many deliveries are acknowledged, and give them."""
        return self._wait(lambda: len(self.acknowledged) >= count, seconds)

    def wait_until_suspended(self, seconds: float = 60.0) -> None:
        """Wait until everything was given back."""
        self._wait(lambda: self.suspensions > 0, seconds)

    def next_batch(self, *, size: int, age: float, wait: float) -> DeliveryBatch | None:
        """See `Subscription.next_batch`; whatever is there makes the batch."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or (self._waiting and not self._suspended), wait)
            if self._suspended or not self._waiting:
                return None
            taken, self._waiting = self._waiting[:size], self._waiting[size:]
            self.gathered.append((age, len(taken)))
            tagged = []
            for each in taken:
                self._tag += 1
                tagged.append(
                    Delivery(
                        self._tag,
                        each.body,
                        each.content_type,
                        each.content_encoding,
                        each.headers,
                        each.routing_key,
                        each.message_id,
                        each.redelivered,
                    ),
                )
            self._out += tagged
            return DeliveryBatch(tuple(tagged), self._generation)

    def acknowledge(self, batch: DeliveryBatch) -> None:
        """See `Subscription.acknowledge`."""
        with self._changed:
            if batch.generation != self._generation:
                return
            last = batch.deliveries[-1].tag
            self.acknowledged += [each for each in self._out if each.tag <= last]
            self._out = [each for each in self._out if each.tag > last]
            self._changed.notify_all()

    @property
    def shards_served(self) -> int:
        """See `Subscription.shards_served`: there are none."""
        return 0

    def suspend(self) -> None:
        """See `Subscription.suspend`."""
        with self._changed:
            self._waiting = [] if self._gone else self._out + self._waiting
            self._out = []
            self._generation += 1
            self._suspended = True
            self.suspensions += 1
            self._changed.notify_all()

    def resume(self) -> None:
        """See `Subscription.resume`."""
        with self._changed:
            self._suspended = False
            self._changed.notify_all()

    def close(self) -> None:
        """Keep nobody waiting who asks for a batch."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _wait(self, condition: Callable[[], bool], seconds: float) -> list[Delivery]:
        with self._changed:
            assert self._changed.wait_for(condition, seconds), f"waited {seconds:.0f} s in vain"
            return list(self.acknowledged)


class RecordingBroker:
    """Implements `Broker`: every message is kept, and settled as `outcome` says."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        #: Every message that was published and not taken out by a test yet, in order.
        self.published: list[Message] = []
        self.outcome: Callable[[Message], Outcome] = lambda _: Outcome.CONFIRMED
        self.subscriptions: dict[Topic, ScriptedSubscription] = {}

    def take(self) -> list[Message]:
        """Take out what was published."""
        with self._lock:
            taken, self.published = self.published, []
        return taken

    def start(self) -> None:
        """Nothing to connect to."""

    def subscribe(self, topic: Topic, *, prefetch: int) -> ScriptedSubscription:
        """See `Broker.subscribe`."""
        del prefetch
        return self.subscriptions.setdefault(topic, ScriptedSubscription())

    def publish(self, messages: Sequence[Message]) -> "Future[list[Outcome]]":
        """See `Broker.publish`; settled at once."""
        with self._lock:
            self.published.extend(messages)
        done: Future[list[Outcome]] = Future()
        done.set_result([self.outcome(message) for message in messages])
        return done

    @property
    def ready(self) -> bool:
        """Always."""
        return True

    @property
    def refusal(self) -> str | None:
        """Never."""
        return None

    def close(self, timeout: float) -> None:
        """Nothing to wait for."""
