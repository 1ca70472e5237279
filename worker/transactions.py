"""One way to change anything: in a transaction, with its answers in the outbox, published once it is committed."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from db.outbox import add_messages
from worker.answers import Answer, pack
from worker.clock import Clock
from worker.relay import Relay


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs work in transactions, and hands what they tell to the relay."""

    engine: Engine
    relay: Relay
    clock: Clock

    def run(self, work: Callable[[Connection], list[Answer]]) -> None:
        """Do the work and store its answers in one transaction, then publish them.

        Returns when both are committed; what could not be published by then is in the outbox.
        """
        with self.engine.begin() as connection:
            answers = work(connection)
            stored = add_messages(connection, pack(answers), now=self.clock.now())
        self.relay.publish(stored)
