"""A lane of issuing over a core, with a subscription that a test feeds."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from schemas.topics import Topic
from schemas.vocabulary import Environment
from tests.support.core.asked import TODAY
from tests.support.core.broker import ScriptedSubscription
from tests.support.core.world import Core, Told, events_of
from worker.broker.port import Message
from worker.broker.topology import DEAD_EXCHANGE
from worker.composition import taxpayers_of, tell_input
from worker.decoding import Item
from worker.events import EventWriter
from worker.lane import Gathering, Handler, Lane


def body(issue_request_id: str = "R1", organization: str = "A", **changes: object) -> bytes:
    """Write an `invoice-issuing` as its sender would; `changes` are those of the envelope."""
    event: dict[str, object] = {
        "specversion": "1.0",
        "id": f"message {issue_request_id}",
        "source": "/tests",
        "type": "fuma.invoice-issuing.v1",
        "data": {"issue_request_id": issue_request_id, "organization": organization, "issue_date": TODAY},
    }
    return json.dumps({**event, **changes}).encode()


class LaneOfIssuing:
    """One running lane, and what came of it."""

    def __init__(self, core: Core, handler: Handler | None = None) -> None:
        """Handle with `handler`, or as the worker does."""
        self.core = core
        self.lane = Lane(
            Topic.INVOICE_ISSUING,
            Environment.SANDBOX,
            handler or self.issue,
            broker=core.broker,
            relay=core.relay,
            engine=core.engine,
            clock=core.clock,
            metrics=core.metrics,
            gathering=Gathering(size=500, age=0.01, prefetch=1500),
            tell_input=partial(tell_input, core.transactions, EventWriter("sandbox")),
            owners=partial(taxpayers_of, core.engine, "sandbox"),
        )

    @property
    def subscription(self) -> ScriptedSubscription:
        """Where deliveries are put in."""
        return self.core.broker.subscriptions[Topic.INVOICE_ISSUING]

    def issue(self, items: Sequence[Item]) -> None:
        """Handle as the worker does."""
        self.core.transactions.run(lambda connection: self.core.issuing.handle(connection, items))

    @property
    def dead(self) -> list[Message]:
        """The dead letters, in order."""
        return [message for message in self.core.broker.published if message.exchange == DEAD_EXCHANGE]

    @property
    def told(self) -> list[Told]:
        """The events, in order."""
        messages = [message for message in self.core.broker.published if message.exchange != DEAD_EXCHANGE]
        return [told for message in messages for told in events_of(message)]

    @property
    def answered(self) -> dict[str, Topic]:
        """What each request was answered with."""
        return {each.data["issue_request_id"]: each.topic for each in self.told if "issue_request_id" in each.data}


@contextmanager
def running(lane: LaneOfIssuing) -> Iterator[LaneOfIssuing]:
    """Let a lane run while the block does."""
    lane.lane.start()
    try:
        yield lane
    finally:
        lane.lane.stop()
        lane.subscription.close()
        assert lane.lane.join(30), "the lane did not end"
