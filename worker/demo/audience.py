"""The audience of the demo: hears every event as a monitoring system would, and keeps what it was told."""

import json
import threading
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import NamedTuple, Self

from pydantic import ValidationError

from schemas.cloudevents import BATCH
from schemas.events import (
    EVENT_MODELS,
    Binding,
    ClaimFailed,
    NumberAssigned,
    NumberRefused,
    Outcome,
    RangeClaimed,
    RangeExhausted,
    RangeLow,
    RangeRefreshed,
    Told,
)
from schemas.reasons import Reason
from schemas.topics import EVENTS, Topic, event_type
from worker.broker.port import Delivery
from worker.broker.tap import Tap

_TOPICS = {topic.value: topic for topic in EVENTS}
_WITHOUT_MOVE = {Topic.BINDING_REFUSED, Topic.OUTCOME_REFUSED, Topic.OUTCOME_OVERDUE}


class Assignment(NamedTuple):
    """A `number-assigned`, with the id of the event that told it."""

    event_id: str
    told: NumberAssigned


class Reply(NamedTuple):
    """An event that answers a binding or an outcome."""

    topic: Topic
    event_id: str
    told: Binding | Outcome


class Move(NamedTuple):
    """One step of a number's life, as an event told it."""

    topic: Topic
    number: str
    issue_request_id: str


class Audience:
    """Listens on a thread of its own while the block runs. What it heard is whole once the block is left."""

    def __init__(self, url: str) -> None:
        self._tap = Tap(url)
        self._stopping = threading.Event()
        self._resources = ExitStack()
        #: Events by topic, each id once; and how many came, with repetitions.
        self.events: Counter[Topic] = Counter()
        self.heard = 0
        #: Events that are not what the contract says.
        self.unfit: list[str] = []
        #: By taxpayer and key, each as often as it was told.
        self.assigned: defaultdict[tuple[str, str], list[Assignment]] = defaultdict(list)
        #: Each refusal of a request once, by its event id; and those of copies of messages whose number is released.
        self.refused: dict[str, NumberRefused] = {}
        self.refused_copies: dict[str, NumberRefused] = {}
        #: By the key of the binding or outcome, each as often as it was told.
        self.replies: defaultdict[str, list[Reply]] = defaultdict(list)
        #: The steps of all numbers, each once, in the order in which they were told.
        self.moves: list[Move] = []
        self.low: list[RangeLow] = []
        self.exhausted: list[RangeExhausted] = []
        self.claimed: defaultdict[str, list[RangeClaimed]] = defaultdict(list)
        self.claims_failed: dict[str, ClaimFailed] = {}
        self.refreshed: list[RangeRefreshed] = []
        self._ids: set[str] = set()

    def __enter__(self) -> Self:
        """Begin to listen."""
        pool = self._resources.enter_context(ThreadPoolExecutor(1, thread_name_prefix="audience"))
        self._resources.enter_context(self._tap)
        self._listening = pool.submit(self._listen)
        self._resources.callback(self._stopping.set)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Hear what is still on its way, and stop."""
        self.stop()

    @property
    def answered(self) -> int:
        """How many issue requests have their answer."""
        return len(self.assigned) + len(self.refused)

    def lives_of(self, key: tuple[str, str]) -> list[Assignment]:
        """Give each assignment of a request once, the first to the last: another one only after it lost its number."""
        lives: dict[str, Assignment] = {}
        for each in self.assigned.get(key, ()):
            lives.setdefault(each.event_id, each)
        return list(lives.values())

    def stop(self) -> None:
        """Hear what is still on its way, and stop."""
        self._stopping.set()
        self._resources.close()

    def check(self) -> None:
        """Raise what ended the listening, if anything did."""
        if self._listening.done():
            self._listening.result()

    def _listen(self) -> None:
        while True:
            stopping = self._stopping.is_set()
            delivery = self._tap.next(wait=0 if stopping else 0.1)
            if delivery is not None:
                self._hear(delivery)
            elif stopping:
                return

    def _hear(self, delivery: Delivery) -> None:
        topic = _TOPICS.get(delivery.routing_key.partition(".")[0])
        if topic is None:
            return  # A request: others ask, we only listen to what is answered.
        content = json.loads(delivery.body)
        for event in content if delivery.content_type == BATCH else [content]:
            self.heard += 1
            self._keep(topic, event)

    def _keep(self, topic: Topic, event: dict[str, object]) -> None:
        event_id = str(event["id"])
        try:
            told = EVENT_MODELS[topic].model_validate(event["data"])
        except ValidationError:
            self.unfit.append(f"{topic} {event_id}")
            return
        if event["type"] != event_type(topic):
            self.unfit.append(f"{topic} {event_id}")
        is_new = event_id not in self._ids
        self._ids.add(event_id)
        self.events[topic] += is_new
        self._sort(topic, event_id, told)
        if is_new:
            self._follow(topic, told)

    def _follow(self, topic: Topic, told: Told) -> None:
        match told:
            case NumberAssigned() | Binding() | Outcome() if topic not in _WITHOUT_MOVE:
                self.moves.append(Move(topic, told.invoice_number, told.issue_request_id))
            case RangeLow():
                self.low.append(told)
            case RangeExhausted():
                self.exhausted.append(told)
            case _:
                pass  # Nothing that a number or a stock goes through.

    def _sort(self, topic: Topic, event_id: str, told: Told) -> None:
        match told:
            case NumberAssigned():
                self.assigned[told.taxpayer_id, told.issue_request_id].append(Assignment(event_id, told))
            case NumberRefused(reason=Reason.RELEASED):
                self.refused_copies[event_id] = told
            case NumberRefused():
                self.refused[event_id] = told
            case RangeClaimed():
                self.claimed[told.claim_id].append(told)
            case ClaimFailed():
                self.claims_failed[told.claim_id] = told
            case RangeRefreshed():
                self.refreshed.append(told)
            case Binding():
                self.replies[told.binding_id].append(Reply(topic, event_id, told))
            case Outcome(outcome_id=str(key)):
                self.replies[key].append(Reply(topic, event_id, told))
            case _:
                pass  # Counted, and that is all.
