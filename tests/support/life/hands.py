"""The real thing: every handler of a worker over a real database, without a broker's or LeQi's wire."""

import threading
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from itertools import count
from random import Random
from unittest.mock import patch
from uuid import UUID

import psycopg
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.engine import make_url

import worker.claiming
from db.asking import Query, no_answer
from db.tables import metadata
from tests.support.core.broker import RecordingBroker
from tests.support.core.clock import HandClock
from tests.support.core.world import Told, events_of
from tests.support.life.authority import MoodyAuthority, MoodyListing
from tests.support.life.cast import (
    ABANDON_AFTER,
    CAUTIOUS,
    CHANNELS,
    DIRECT_UNIT,
    ENVIRONMENT,
    GRACE,
    NEXT_YEAR_FROM,
    ORGANIZATIONS,
    OUTCOME_LIMIT,
    WAITING_LIMIT,
)
from worker.answers import Answer
from worker.binding import Binding
from worker.claim_calls import ClaimCalls
from worker.claiming import Claiming
from worker.comparing import Comparing
from worker.decisions.claims import ClaimTerms
from worker.decoding import Item
from worker.expiry import Expiry
from worker.issuing import Issuing
from worker.letting_go import LettingGo
from worker.metrics import Metrics
from worker.new_year import NewYear
from worker.outcomes import Outcomes
from worker.pausing import Pausing
from worker.refreshing import Refreshing
from worker.relay import Relay
from worker.releasing import Releasing
from worker.retiring import Retiring
from worker.settling import Settling
from worker.transactions import Transactions


def _no_look() -> Query[None]:
    """Ask nothing: the machine restores no database."""
    return Query(text("SELECT 1"), {}, no_answer)


class Hands:
    """Does by the real handlers what a machine asks for; gives the events that were published by it.

    One for many runs: `begin` empties the database. Calls to LeQi are made one at a time, so that a run is the same
    whenever it is played again.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.clock = HandClock()
        self.authority = MoodyAuthority(self.clock)
        self.listing = MoodyListing()
        self.broker = RecordingBroker()
        #: What was published since somebody looked at the outbox.
        self.published: list[bytes] = []
        self._engine = create_engine(
            make_url(url).set(drivername="postgresql+psycopg"),
            # The tables are tiny: most of a statement's time is its planning.
            connect_args={
                "options": "-c TimeZone=UTC -c synchronous_commit=off -c plan_cache_mode=force_generic_plan",
                "prepare_threshold": 1,
            },
        )
        self._emptying = psycopg.connect(url, autocommit=True)
        self._emptying.execute("ALTER TABLE claims SET (autovacuum_enabled = off)")
        self._relay = Relay(self._engine, self.broker, self.clock, Metrics())
        self.transactions = Transactions(self._engine, self._relay, self.clock, _no_look)
        settling = Settling(ENVIRONMENT, DIRECT_UNIT, self.clock, ABANDON_AFTER, ClaimTerms(cautious=CAUTIOUS))
        # A run must be the same whenever it is played: the spread of replays, and the ids of claims, too.
        self._chance = settling._chance = Random(0)  # noqa: SLF001
        self._ids = count(1)
        worker.claiming.uuid4 = lambda: UUID(int=next(self._ids))  # type: ignore[attr-defined]
        self._calls = ClaimCalls(ENVIRONMENT, DIRECT_UNIT, self.authority, self.transactions, settling, 1)
        self._ended = threading.Semaphore(0)
        self._calls.when_done = self._ended.release
        self._serials = count(1)
        self.issuing = Issuing(ENVIRONMENT, self.clock)
        self.letting_go = LettingGo(ENVIRONMENT, self.clock)
        self.claiming = Claiming(
            ENVIRONMENT, self.clock, self._new_serial, NEXT_YEAR_FROM, ClaimTerms(cautious=CAUTIOUS)
        )
        self.binding = Binding(ENVIRONMENT, self.clock)
        self.outcomes = Outcomes(ENVIRONMENT, self.clock, GRACE)
        self.expiry = Expiry(ENVIRONMENT, self.clock, GRACE)
        self.new_year = NewYear(ENVIRONMENT, self.clock, self.claiming, NEXT_YEAR_FROM)
        self.pausing = Pausing(ENVIRONMENT, self.clock, self.claiming)
        self.retiring = Retiring(ENVIRONMENT, self.clock)
        self.releasing = Releasing(ENVIRONMENT, self.clock, GRACE)
        comparing = Comparing(ENVIRONMENT, settling)
        with patch("worker.refreshing._REPLAYS_AT_ONCE", 1):
            self.refreshing = Refreshing(
                ENVIRONMENT,
                self.transactions,
                self._calls,
                comparing,
                self.expiry,
                self.listing,
            )

    def begin(self) -> None:
        """Begin a run: nothing is stored but who takes part."""
        self.authority.begin()
        self._chance.seed(0)
        self._ids, self._serials = count(1), count(1)
        self.told()
        self.published.clear()
        channels = ", ".join(
            f"('{owner}', '{ENVIRONMENT}', '{mode}', 'UU{owner[-4:]}', {policy.automatic}, {policy.quantity}, 'fixed',"
            f" {policy.threshold})"
            for (owner, mode), policy in CHANNELS.items()
        )
        organizations = ", ".join(
            f"('{owner}', '{ENVIRONMENT}', '{code}', '{code}', '{mode}', now())"
            for code, (owner, mode) in ORGANIZATIONS.items()
        )
        # Far quicker than to truncate; nothing hangs on triggers and keys while everything goes.
        emptying = "; ".join(f"DELETE FROM {name}" for name in metadata.tables if name != "deployment")  # noqa: S608
        self._emptying.execute(
            f"SET session_replication_role = replica; {emptying}; SET session_replication_role = DEFAULT;"  # noqa: S608
            " UPDATE deployment SET overdue_until = NULL;"
            f" INSERT INTO channels VALUES {channels}; INSERT INTO organizations VALUES {organizations}".encode(),
        )

        # Of claims that are due at one instant the first in the table is called first: let it be the same each time.
        self._emptying.execute("VACUUM (INDEX_CLEANUP ON) claims")

    def close(self) -> None:
        """End its threads and connections."""
        self.refreshing.close()
        self._calls.close(10)
        self._engine.dispose()
        self._emptying.close()

    # Requests.

    def issue(self, items: Sequence[Item]) -> list[Told]:
        """Handle `invoice-issuing`."""
        return self._run(lambda connection: self.issuing.handle(connection, items))

    def claim(self, items: Sequence[Item]) -> list[Told]:
        """Handle `claim-requested`."""
        return self._run(lambda connection: self.claiming.handle_requests(connection, items))

    def hear(self, items: Sequence[Item]) -> list[Told]:
        """Handle `range-exhausted` and `range-low`."""
        return self._run(lambda connection: self.claiming.handle_stock_events(connection, items))

    def bind(self, items: Sequence[Item]) -> list[Told]:
        """Handle `number-binding-requested`."""
        return self._run(lambda connection: self.binding.handle(connection, items))

    def report(self, items: Sequence[Item]) -> list[Told]:
        """Handle `invoice-outcome`."""
        return self._run(lambda connection: self.outcomes.handle(connection, items))

    def refresh(self, item: Item) -> list[Told]:
        """Handle `refresh-requested`."""
        self.refreshing.handle([item])
        return self.told()

    # Timed work.

    def call(self) -> list[Told]:
        """Make one call that is due, if any is, and wait for its end."""
        for _ in range(self._calls.call_due()):
            assert self._ended.acquire(timeout=60), "a call did not end"
        return self.told()

    def look_for_stocks(self) -> list[Told]:
        """Look for stocks without a claim."""
        return self._run(self.claiming.claim_for_stocks_without)

    def open_new_year(self) -> list[Told]:
        """Open the new year's stocks."""
        return self._run(self.new_year.open_stocks)

    def expire(self) -> list[Told]:
        """End the ranges of years that are over."""
        return self._run(self.expiry.expire)

    def end_overdue(self) -> list[Told]:
        """End what has waited too long."""
        return self._run(partial(self.letting_go.end_overdue, waiting_limit=WAITING_LIMIT))

    def tell_overdue(self) -> list[Told]:
        """Tell of outcomes that are overdue."""
        return self._run(partial(self.outcomes.tell_overdue, limit=OUTCOME_LIMIT))

    # Operators.

    def cancel(self, taxpayer_id: str, issue_request_id: str) -> list[Told]:
        """Cancel a waiting request, as `fuma waiting cancel` does; nothing happens where none is found."""

        def work(connection: Connection) -> list[Answer]:
            done = self.letting_go.cancel(connection, issue_request_id, taxpayer_id, "not needed")
            return [each for each in done if isinstance(each, Answer)]

        return self._run(work)

    def pause(self, taxpayer_id: str) -> list[Told]:
        """Pause a taxpayer."""
        return self._run(lambda connection: self.pausing.pause(connection, taxpayer_id, "moving"))

    def resume(self, taxpayer_id: str) -> list[Told]:
        """Resume a taxpayer; raises `PausingRefusedError`."""
        return self._run(lambda connection: self.pausing.resume(connection, taxpayer_id, "moved"))

    def retire(self, taxpayer_id: str, before: date) -> list[Told]:
        """Retire a taxpayer's ranges."""

        def work(connection: Connection) -> list[Answer]:
            _, answers = self.retiring.retire(connection, taxpayer_id, before, reason="moved", requested_by="operator")
            return answers

        return self._run(work)

    def release(self, range_id: UUID) -> list[Told]:
        """Release a foreign range; raises `ReleaseRefusedError`."""
        return self._run(lambda connection: self.releasing.release(connection, range_id, "nobody used it"))

    def told(self) -> list[Told]:
        """Give the events published since the last look."""
        messages = self.broker.take()
        self.published += [message.body for message in messages]
        return [told for message in messages for told in events_of(message)]

    def _run(self, work: Callable[[Connection], list[Answer]]) -> list[Told]:
        self.transactions.run(work)
        return self.told()

    def _new_serial(self, using_unit_id: str) -> str:
        return f"{using_unit_id}{DIRECT_UNIT}{next(self._serials):032}"
