"""One worker's core over a database, put together as the composition does, and driven step by step."""

import json
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, TypeVar
from uuid import uuid4

from sqlalchemy import Connection, insert, text
from sqlalchemy.dialects.postgresql import insert as upsert

from db.asking import carry_out
from db.claims import undecided_claims
from db.engine import open_engine
from db.fence import refuse_another_database
from db.outbox import add_messages
from db.ranges import add_range
from db.records import Claim, StockKey
from db.stocks import lock_stocks, replenish
from db.tables import channels, organizations
from schemas.cloudevents import BATCH
from schemas.invoice_number import InvoiceNumber
from schemas.topics import Topic, topic_of_type
from schemas.vocabulary import ChannelMode
from tests.support.core.asked import claim, item
from tests.support.core.authority import ScriptedAuthority, ScriptedListing, number
from tests.support.core.broker import RecordingBroker
from tests.support.core.clock import HandClock
from tests.support.telling import tell_all
from worker.answers import Answer, pack
from worker.binding import Binding
from worker.broker.port import Message
from worker.claim_calls import ClaimCalls
from worker.claiming import Claiming
from worker.clock import china_date
from worker.comparing import Comparing
from worker.composition import ABANDON_AFTER
from worker.decisions.claims import ClaimTerms
from worker.decoding import Item
from worker.expiry import Expiry
from worker.issuing import Issuing
from worker.leqi.port import new_business_serial
from worker.letting_go import LettingGo
from worker.metrics import Metrics
from worker.outcomes import Outcomes
from worker.refreshing import Refreshing
from worker.relay import Relay
from worker.releasing import Releasing
from worker.settling import Settling
from worker.transactions import Transactions

ENVIRONMENT = "sandbox"
DIRECT_UNIT = "DU-TEST"
TAXPAYER = "91350100M000100Y43"
OTHER_TAXPAYER = "91110000101623741K"
GRACE = timedelta(hours=48)
WAITING_LIMIT = timedelta(hours=24)

_TERMS = ClaimTerms()

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Told:
    """One event as it was published."""

    topic: Topic
    id: str
    time: str
    data: dict[str, Any]


def events_of(message: Message) -> list[Told]:
    """Read the events of a published message."""
    body = json.loads(message.body)
    events = body if message.content_type == BATCH else [body]
    told = []
    for event in events:
        topic = topic_of_type(event["type"])
        assert topic is not None
        told.append(Told(topic, event["id"], event["time"], event["data"]))
    return told


def of(topic: Topic, told: Sequence[Told]) -> list[Told]:
    """Pick the events of one topic."""
    return [each for each in told if each.topic is topic]


def at_once(*works: Callable[[], _Result]) -> list[_Result]:
    """Do works in threads that set off together; gives their results, raises what one of them raises."""
    gate = threading.Barrier(len(works))

    def set_off(work: Callable[[], _Result]) -> _Result:
        gate.wait(30)
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [each.result(60) for each in [pool.submit(set_off, work) for work in works]]


class Core:
    """The core of one worker. Its relay's remover is not running unless a test starts it."""

    def __init__(
        self,
        url: str,
        *,
        clock: HandClock | None = None,
        authority: ScriptedAuthority | None = None,
        broker: RecordingBroker | None = None,
        listing: ScriptedListing | None = None,
        next_year_from: tuple[int, int] | None = None,
        terms: ClaimTerms = _TERMS,
    ) -> None:
        self.url = url
        self.clock = clock or HandClock()
        self.authority = authority or ScriptedAuthority(self.clock)
        self.broker = broker or RecordingBroker()
        self.engine = open_engine(url, application="fuma-core-test", pool_size=10)
        with self.engine.begin() as connection:
            # A copy of the template, as an operator's empty copy is: taken into use.
            refuse_another_database(connection)
        self.metrics = Metrics()
        self.relay = Relay(self.engine, self.broker, self.clock, self.metrics)
        self.transactions = Transactions(self.engine, self.relay, self.clock)
        self.settling = Settling(ENVIRONMENT, DIRECT_UNIT, self.clock, ABANDON_AFTER, terms)
        self.calls = ClaimCalls(ENVIRONMENT, DIRECT_UNIT, self.authority, self.transactions, self.settling, 8)
        self._ended = threading.Semaphore(0)
        self.calls.when_done = self._ended.release
        self.issuing = Issuing(ENVIRONMENT, self.clock)
        self.letting_go = LettingGo(ENVIRONMENT, self.clock)
        self.claiming = Claiming(
            ENVIRONMENT,
            self.clock,
            partial(new_business_serial, direct_unit_id=DIRECT_UNIT),
            next_year_from,
            terms,
        )
        self.expiry = Expiry(ENVIRONMENT, self.clock, GRACE)
        self.binding = Binding(ENVIRONMENT, self.clock)
        self.outcomes = Outcomes(ENVIRONMENT, self.clock, GRACE)
        self.releasing = Releasing(ENVIRONMENT, self.clock, GRACE)
        self.refreshing = Refreshing(
            ENVIRONMENT,
            self.transactions,
            self.calls,
            Comparing(ENVIRONMENT, self.settling),
            self.expiry,
            listing,
        )
        self._sequences = count(1, 1_000)
        self._claims = count(1)

    def close(self) -> None:
        """End its threads and connections."""
        self.refreshing.close()
        self.calls.close(10)
        self.engine.dispose()

    # What there is to begin with.

    def register(
        self,
        code: str = "A",
        taxpayer_id: str = TAXPAYER,
        channel_mode: str = "self-use",
        *,
        automatic_claims: bool = True,
        claim_quantity: int = 1000,
        claim_sizing: str = "fixed",
        low_threshold: float = 0.2,
    ) -> None:
        """Register an organisation; the first of a channel sets its policy."""
        with self.engine.begin() as connection:
            connection.execute(
                upsert(channels)
                .values(
                    taxpayer_id=taxpayer_id,
                    environment=ENVIRONMENT,
                    channel_mode=channel_mode,
                    using_unit_id=f"UU-{taxpayer_id[-4:]}",
                    automatic_claims=automatic_claims,
                    claim_quantity=claim_quantity,
                    claim_sizing=claim_sizing,
                    low_threshold=low_threshold,
                )
                .on_conflict_do_nothing(),
            )
            connection.execute(
                insert(organizations).values(
                    taxpayer_id=taxpayer_id,
                    environment=ENVIRONMENT,
                    code=code,
                    name=code,
                    channel_mode=channel_mode,
                    created_at=self.clock.now(),
                ),
            )

    def fill(
        self,
        quantity: int,
        *,
        taxpayer_id: str = TAXPAYER,
        channel_mode: str = "self-use",
        year: int | None = None,
        first: int | None = None,
        low_at: int = 0,
    ) -> list[str]:
        """Put a range of so many numbers into a stock, by no claim; gives its numbers."""
        year = china_date(self.clock.now()).year if year is None else year
        first = next(self._sequences) if first is None else first
        key = StockKey(taxpayer_id, channel_mode, year)
        digits = ChannelMode(channel_mode).digits
        with self.engine.begin() as connection:
            lock_stocks(connection, ENVIRONMENT, [key])
            replenish(connection, ENVIRONMENT, key, quantity=quantity, low_at=low_at)
            add_range(
                connection,
                ENVIRONMENT,
                key,
                range_id=uuid4(),
                prefix=int(number(0, year=year, digits=digits)[:6]),
                first_sequence=first,
                last_sequence=first + quantity - 1,
                next_sequence=first,
                claim_mode="automatic",
                status="active",
                created_at=self.clock.now(),
            )
        return [number(first + n, year=year, digits=digits) for n in range(quantity)]

    # What happens.

    def issue(self, *items: Item) -> list[Told]:
        """Handle issue requests in one transaction; gives the events published since the last look."""
        self.transactions.run(lambda connection: self.issuing.handle(connection, items))
        return self.told()

    def request_claims(self, *items: Item) -> list[Told]:
        """Handle `claim-requested`."""
        self.transactions.run(lambda connection: self.claiming.handle_requests(connection, items))
        return self.told()

    def hear(self, *told: Told) -> None:
        """Handle `range-exhausted` events as they were published."""
        items = [item(each.topic, each.data) for each in told]
        self.transactions.run(lambda connection: self.claiming.handle_stock_events(connection, items))

    def look_for_claimless_stocks(self) -> None:
        """Do the timed look."""
        self.transactions.run(self.claiming.claim_for_stocks_without)

    def call(self) -> list[Told]:
        """Make every call that is due, and wait for its end; gives the events published since the last look."""
        for _ in range(self.calls.call_due()):
            assert self._ended.acquire(timeout=60), "a call did not end"
        return self.told()

    def claim_and_call(self) -> list[Told]:
        """Claim for each stock that ran out, and call."""
        self.look_for_claimless_stocks()
        return self.call()

    def refresh(self, *items: Item) -> list[Told]:
        """Handle `refresh-requested`."""
        self.refreshing.handle(items)
        return self.told()

    def run(self, work: Callable[[Connection], list[Answer]]) -> list[Told]:
        """Do any work in a transaction."""
        self.transactions.run(work)
        return self.told()

    def end_overdue(self) -> list[Told]:
        """Do the timed work that ends what has waited too long."""
        return self.run(partial(self.letting_go.end_overdue, waiting_limit=WAITING_LIMIT))

    def commit_without_publishing(self, work: Callable[[Connection], list[Answer]]) -> None:
        """Do work and crash between its commit and its publishing."""
        with self.engine.begin() as connection:
            carry_out(connection, add_messages(pack(work(connection)), now=self.clock.now()))

    def bind(self, *items: Item) -> list[Told]:
        """Handle `number-binding-requested`."""
        return self.run(lambda connection: self.binding.handle(connection, items))

    def report(self, *items: Item) -> list[Told]:
        """Handle `invoice-outcome`."""
        return self.run(lambda connection: self.outcomes.handle(connection, items))

    def manual(self, quantity: int, **said: Any) -> list[str]:  # noqa: ANN401 -- as of a claim
        """Claim numbers by hand; gives them."""
        self.request_claims(claim(f"manual-{next(self._claims)}", quantity=quantity, **said))
        [claimed] = of(Topic.RANGE_CLAIMED, self.call())
        first = InvoiceNumber.parse(claimed.data["first_number"])
        return [str(first.plus(n)) for n in range(quantity)]

    # What can be seen.

    def told(self) -> list[Told]:
        """Give the events published since the last look."""
        return [told for message in self.broker.take() for told in events_of(message)]

    def rows(self, query: str, **values: object) -> list[tuple[Any, ...]]:
        """Read rows."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query), values)]

    def value(self, query: str, **values: object) -> Any:  # noqa: ANN401 -- a column of any type
        """Read the one value of the one row."""
        with self.engine.connect() as connection:
            return connection.execute(text(query), values).scalar_one()

    def undecided_claims(self, taxpayer_id: str = TAXPAYER) -> list[Claim]:
        """Read the claims whose outcome is not known."""
        with self.engine.connect() as connection:
            return undecided_claims(connection, ENVIRONMENT, taxpayer_id)

    def change(self, statement: str, **values: object) -> None:
        """Change rows behind the worker's back; of numbers a message tells, as the database insists."""
        with self.engine.begin() as connection:
            connection.execute(text(statement), values)
            tell_all(connection)

    @property
    def statuses(self) -> dict[str, str]:
        """The status of each claim, by its id."""
        return dict(self.rows("SELECT claim_id, status FROM claims ORDER BY created_at, claim_id"))
