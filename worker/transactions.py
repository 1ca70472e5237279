"""One way to change anything: in a transaction, with its answers in the outbox, published once it is committed."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from db.asking import Query, ask_and_commit, begin
from db.fence import look
from db.outbox import add_messages
from worker.answers import Answer, pack
from worker.clock import Clock
from worker.crash_points import CrashPoint, reached
from worker.relay import Relay


@dataclass(frozen=True, slots=True)
class Transactions:
    """Runs work in transactions, and hands what they tell to the relay."""

    engine: Engine
    relay: Relay
    clock: Clock
    #: Gives what each begins with: a look that raises where the database is not the one to issue from.
    look: Callable[[], Query[None]] = look

    def run(self, work: Callable[[Connection], list[Answer]]) -> int:
        """Do the work and store its answers in one transaction, then publish them.

        Returns when both are committed; what could not be published by then is in the outbox. Gives how many it told.
        Raises `AnotherDatabaseError`, and does nothing, in a database that was restored.
        """
        with begin(self.engine, self.look()) as connection:
            answers = work(connection)
            messages = add_messages(pack(answers), now=self.clock.now())
            reached(CrashPoint.BEFORE_COMMIT)
            stored = ask_and_commit(connection, messages)
        reached(CrashPoint.AFTER_COMMIT)
        self.relay.publish(stored)
        return len(answers)
