"""Composition: the one place that sees concrete parts, and puts a worker together from them."""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from sqlalchemy import Connection, Engine

from db.fence import Fence
from schemas.topics import Topic
from worker.answers import Answer
from worker.binding import Binding
from worker.broker.port import Broker
from worker.claim_calls import ClaimCalls
from worker.claiming import Claiming
from worker.clock import Clock
from worker.comparing import Comparing
from worker.decisions.claims import ClaimTerms
from worker.decoding import Item
from worker.expiry import Expiry
from worker.issuing import Issuing
from worker.lane import Gathering, Handler, Lane
from worker.leqi.client import LeqiClient, SandboxTest
from worker.leqi.gateway import ChannelGateway
from worker.leqi.identity import KeyFileError, new_business_serial, read_key
from worker.leqi.port import Authority, RangeListing
from worker.leqi.simulator_identity import SIMULATOR_DIRECT_UNIT_ID, SIMULATOR_KEY_HEX
from worker.leqi.tokens import TokenFolder
from worker.metrics import Metrics
from worker.new_year import NewYear
from worker.outcomes import Outcomes
from worker.refreshing import Refreshing
from worker.relay import Relay
from worker.settings import Settings, SettingsError
from worker.settling import Settling
from worker.timed import Task, TimedWork
from worker.transactions import Transactions

#: How long replays of a claim go on before it is given up; how long LeQi keeps a serial was not found.
ABANDON_AFTER = timedelta(days=7)

#: Topics that bring a message for each invoice.
_BUSY = (Topic.INVOICE_ISSUING, Topic.INVOICE_OUTCOME)

#: Topics whose requests are few and slow take smaller batches, and are in no hurry to fill them.
_CALM = Gathering(size=100, age=0.02, prefetch=200)

_CALL_DUE = "call-due-claims"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a worker works with; made, opened and closed by who runs it."""

    settings: Settings
    engine: Engine
    broker: Broker
    authority: Authority
    listing: RangeListing | None
    clock: Clock
    metrics: Metrics


class Worker:
    """All parts of one worker, not started yet."""

    def __init__(self, around: Surroundings, topics: Collection[Topic]) -> None:
        settings, clock = around.settings, around.clock
        environment = settings.environment.value
        unit_id = direct_unit_id(settings)
        self.relay = Relay(around.engine, around.broker, clock, around.metrics)
        self.fence = Fence(around.engine)
        transactions = Transactions(around.engine, self.relay, clock, self.fence.check)
        settling = Settling(environment, unit_id, clock, ABANDON_AFTER, claim_terms(settings))
        self._calls = ClaimCalls(
            environment,
            unit_id,
            around.authority,
            transactions,
            settling,
            settings.leqi_concurrency,
        )
        issuing = Issuing(environment, clock)
        claiming = Claiming(
            environment,
            clock,
            partial(_serial, unit_id),
            settings.next_year_from,
            claim_terms(settings),
        )
        grace = timedelta(hours=settings.old_year_grace_hours)
        binding = Binding(environment, clock)
        outcomes = Outcomes(environment, clock, grace)
        tell_overdue = partial(outcomes.tell_overdue, limit=timedelta(hours=settings.overdue_hours))
        expiry = Expiry(environment, clock, grace)
        new_year = NewYear(environment, clock, claiming, settings.next_year_from)
        overdue = partial(issuing.end_overdue, waiting_limit=timedelta(hours=settings.waiting_limit_hours))
        self._refreshing = Refreshing(
            environment,
            transactions,
            self._calls,
            Comparing(environment, settling),
            expiry,
            around.listing,
        )
        self.timed = TimedWork(
            [
                Task(_CALL_DUE, 0.5, self._calls.call_due),
                Task("sweep-outbox", 5, self.relay.sweep),
                Task("claim-for-stocks", 5, partial(transactions.run, claiming.claim_for_stocks_without)),
                Task("open-new-year", 5, partial(transactions.run, new_year.open_stocks)),
                Task("expire-old-years", 60, partial(_run_until_done, transactions, expiry.expire)),
                Task("end-overdue-requests", 30, partial(transactions.run, overdue)),
                Task("tell-overdue-outcomes", 10, partial(transactions.run, tell_overdue)),
            ],
        )
        self._calls.when_done = partial(self.timed.wake, _CALL_DUE)
        handlers: dict[Topic, Handler] = {
            Topic.INVOICE_ISSUING: _in_transaction(transactions, issuing.handle),
            Topic.CLAIM_REQUESTED: self._then_call(_in_transaction(transactions, claiming.handle_requests)),
            Topic.RANGE_EXHAUSTED: self._then_call(_in_transaction(transactions, claiming.handle_stock_events)),
            Topic.RANGE_LOW: self._then_call(_in_transaction(transactions, claiming.handle_stock_events)),
            Topic.REFRESH_REQUESTED: self._refreshing.handle,
            Topic.NUMBER_BINDING_REQUESTED: _in_transaction(transactions, binding.handle),
            Topic.INVOICE_OUTCOME: _in_transaction(transactions, outcomes.handle),
        }
        busy = Gathering(settings.batch_size, settings.batch_age_ms / 1000, settings.prefetch)
        self.lanes = [
            Lane(
                topic,
                settings.environment,
                handlers[topic],
                broker=around.broker,
                relay=self.relay,
                engine=around.engine,
                clock=clock,
                metrics=around.metrics,
                gathering=busy if topic in _BUSY else _CALM,
            )
            for topic in topics
        ]

    def start(self) -> None:
        """Begin to work."""
        self.relay.start()
        self.timed.start()
        for lane in self.lanes:
            lane.start()

    def stop(self, timeout: float) -> bool:
        """Finish what is in work, publish it, and end; False where the time was not enough.

        What is not finished then is not lost: deliveries come again, claims are replayed, the outbox is swept.
        """
        ends_at = time.monotonic() + timeout
        for lane in self.lanes:
            lane.stop()
        ended = [lane.join(_left(ends_at)) for lane in self.lanes]
        ended.append(self.timed.stop(_left(ends_at)))
        self._refreshing.close()
        ended.append(self._calls.close(_left(ends_at)))
        ended.append(self.relay.close(_left(ends_at)))
        return all(ended)

    @property
    def broken(self) -> str | None:
        """Name a part that ended by a fault of ours; None where none did. The process should end, and start anew."""
        return next((lane.topic.value for lane in self.lanes if lane.broken), None)

    def lags(self, longest: float) -> str | None:
        """Name a part that has not turned round for `longest` seconds; None where all go on.

        A refresh of all taxpayers takes its time, up to ten seconds for each: its lane is not meant.
        """
        oldest = time.monotonic() - longest
        hurried = [lane for lane in self.lanes if lane.topic is not Topic.REFRESH_REQUESTED]
        late = [lane.topic.value for lane in hurried if lane.turned_at < oldest]
        late += ["timed-work"] if self.timed.turned_at < oldest else []
        return late[0] if late else None

    def _then_call(self, handler: Handler) -> Handler:
        """After the claims that a handler wrote are committed, call LeQi for them at once."""

        def handle(items: Sequence[Item]) -> None:
            handler(items)
            self.timed.wake(_CALL_DUE)

        return handle


def open_authority(settings: Settings) -> Authority:
    """Make the client of the LeQi that the settings name; raises `SettingsError` where they can't work together."""
    if settings.leqi_url is None:
        message = "FUMA_LEQI_URL is not set: give the address of LeQi or of a simulator"
        raise SettingsError(message)
    folder = settings.leqi_access_token_dir
    try:
        return LeqiClient(
            settings.leqi_url,
            direct_unit_id(settings),
            leqi_key(settings),
            settings.environment,
            path=settings.leqi_path,
            sandbox_test=SandboxTest(settings.leqi_sandbox_case or "", settings.leqi_joint_test),
            access_tokens=None if folder is None else TokenFolder(folder),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def open_listing(settings: Settings) -> ChannelGateway | None:
    """Make the client of the gateway that can list ranges; None where the settings name none."""
    return None if settings.channel_gateway_url is None else ChannelGateway(settings.channel_gateway_url)


def claim_terms(settings: Settings) -> ClaimTerms:
    """Give what the settings say of the size of automatic claims."""
    return ClaimTerms(floor=settings.claim_floor, hours=settings.demand_hours)


def direct_unit_id(settings: Settings) -> str:
    """Give the platform id of the direct unit (直连单位); the simulator's where none is set."""
    return settings.leqi_direct_unit_id or SIMULATOR_DIRECT_UNIT_ID


def leqi_key(settings: Settings) -> bytes:
    """Read the direct unit's SM4 key; the simulator's where no file is set. Raises `SettingsError`."""
    if settings.leqi_key_file is None:
        return bytes.fromhex(SIMULATOR_KEY_HEX)
    try:
        return read_key(settings.leqi_key_file)
    except KeyFileError as error:
        raise SettingsError(str(error)) from None


def _in_transaction(
    transactions: Transactions,
    work: Callable[[Connection, Sequence[Item]], list[Answer]],
) -> Handler:
    def handle(items: Sequence[Item]) -> None:
        transactions.run(lambda connection: work(connection, items))

    return handle


def _run_until_done(transactions: Transactions, work: Callable[[Connection], list[Answer]]) -> None:
    """Do work portion by portion, each in its own transaction, until one has nothing to tell."""
    while transactions.run(work):
        pass


def _serial(unit_id: str, using_unit_id: str) -> str:
    return new_business_serial(using_unit_id, unit_id)


def _left(ends_at: float) -> float:
    return max(0.1, ends_at - time.monotonic())
