"""Composition: the one place that sees concrete parts, and puts a worker together from them."""

import ssl
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import cast

from sqlalchemy import Connection, Engine

from db.asking import ask_and_commit, begin
from db.audit.judging import Limits
from db.engine import DATABASE_ERRORS
from db.fence import Fence
from db.stocks import channels_of_organizations
from schemas.plain_requests import PlainIssuing
from schemas.requests import InvoiceIssuing, InvoiceOutcome
from schemas.topics import Topic
from worker.answers import Answer
from worker.bad_input import Judged
from worker.binding import Binding
from worker.broker.port import Broker
from worker.claim_calls import ClaimCalls
from worker.claiming import Claiming
from worker.clock import Clock
from worker.comparing import Comparing
from worker.decisions.claims import ClaimTerms
from worker.decoding import Item
from worker.events import EventWriter
from worker.expiry import Expiry
from worker.issuing import Issuing
from worker.lane import Gathering, Handler, Lane
from worker.leqi.client import LeqiClient, SandboxTest
from worker.leqi.gateway import ChannelGateway
from worker.leqi.identity import KeyFileError, new_business_serial, read_key
from worker.leqi.port import Authority, RangeListing
from worker.leqi.simulator_identity import SIMULATOR_DIRECT_UNIT_ID, SIMULATOR_KEY_HEX
from worker.leqi.tokens import TokenFolder
from worker.letting_go import LettingGo
from worker.metrics import Metrics
from worker.new_year import NewYear
from worker.outcomes import Outcomes
from worker.refreshing import Refreshing
from worker.relay import Relay
from worker.settings import Settings, SettingsError
from worker.settling import Settling
from worker.telemetry import worker_name
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
        transactions = Transactions(around.engine, self.relay, clock, self.fence.look)
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
        letting_go = LettingGo(environment, clock)
        overdue = partial(letting_go.end_overdue, waiting_limit=timedelta(hours=settings.waiting_limit_hours))
        self._refreshing = Refreshing(
            environment,
            transactions,
            self._calls,
            Comparing(environment, settling),
            expiry,
            around.listing,
        )
        claim = partial(partial, _claim_for_a_portion, transactions, claiming)
        self.timed = TimedWork(
            [
                Task(_CALL_DUE, 0.5, self._calls.call_due),
                Task("sweep-outbox", 5, self.relay.sweep),
                Task("claim-for-stocks", 5, claim(claiming.claim_for_stocks_without)),
                Task("open-new-year", 5, claim(new_year.open_stocks)),
                Task("expire-old-years", 60, partial(_tell_a_portion, transactions, expiry.expire)),
                Task("end-overdue-requests", 30, partial(_tell_a_portion, transactions, overdue)),
                Task("tell-overdue-outcomes", 10, partial(_tell_a_portion, transactions, tell_overdue)),
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
                tell_input=partial(tell_input, transactions, EventWriter(environment)),
                owners=partial(taxpayers_of, around.engine, environment) if topic in _BUSY else None,
            )
            for topic in topics
        ]

    def start(self) -> None:
        """Begin to work."""
        self.relay.start()
        self.timed.start()
        for lane in self.lanes:
            lane.start()

    def stop(self, timeout: float) -> list[str]:
        """Finish what is in work, publish it, and end; names the parts for which the time was not enough.

        What is not finished then is not lost: deliveries come again, claims are replayed, the outbox is swept.
        """
        ends_at = time.monotonic() + timeout
        for lane in self.lanes:
            lane.stop()
        ended = {lane.topic.value: lane.join(_left(ends_at)) for lane in self.lanes}
        ended["timed-work"] = self.timed.stop(_left(ends_at))
        self._refreshing.close()
        ended["claim-calls"] = self._calls.close(_left(ends_at))
        ended["confirms"] = self.relay.close(_left(ends_at))
        return [part for part, in_time in ended.items() if not in_time]

    @property
    def broken(self) -> str | None:
        """Name a part that ended by a fault of ours; None where none did. The process should end, and start anew."""
        return next((lane.topic.value for lane in self.lanes if lane.broken), None)

    @property
    def trouble(self) -> str | None:
        """Tell what keeps a topic's requests from being handled just now; None where nothing does."""
        troubles = ((lane.topic.value, lane.trouble or lane.watch.trouble) for lane in self.lanes)
        return next((f"{topic}: {trouble}" for topic, trouble in troubles if trouble), None)

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


def tell_input(transactions: Transactions, events: EventWriter, judged: Judged) -> None:
    """Tell by an event that a topic's input is bad, or that it is readable again; of this worker alone."""
    event = events.of_input(
        Topic.INPUT_DEGRADED if judged.bad else Topic.INPUT_RECOVERED,
        judged.topic,
        worker=worker_name(),
        counted=(judged.unreadable, judged.of),
        reason=judged.reason,
        at=judged.at,
    )
    transactions.run(lambda _: [Answer(event)])


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
            tls=leqi_authorities(settings),
            pins=settings.leqi_public_key_pins or (),
        )
    except ValueError as error:
        raise SettingsError(str(error)) from None


def leqi_authorities(settings: Settings) -> ssl.SSLContext | None:
    """Read the authorities that LeQi is trusted by; None for the usual ones. Raises `SettingsError`."""
    if settings.leqi_ca_file is None:
        return None
    try:
        return ssl.create_default_context(cafile=str(settings.leqi_ca_file))
    except OSError as error:
        why = error.strerror or type(error).__name__
        message = f"FUMA_LEQI_CA_FILE: {settings.leqi_ca_file} can't be used as certificates in PEM: {why}"
        raise SettingsError(message) from None


def open_listing(settings: Settings) -> ChannelGateway | None:
    """Make the client of the gateway that can list ranges; None where there is none. Raises `SettingsError`."""
    if settings.channel_gateway_url is None:
        return None
    try:
        return ChannelGateway(settings.channel_gateway_url)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def claim_terms(settings: Settings) -> ClaimTerms:
    """Give what the settings say of the size of automatic claims."""
    return ClaimTerms(floor=settings.claim_floor, hours=settings.demand_hours)


def audit_limits(settings: Settings) -> Limits:
    """Give how long a worker of these settings lets things wait: what the audit judges by."""
    return Limits(
        waiting=timedelta(hours=settings.waiting_limit_hours),
        outcome=timedelta(hours=settings.overdue_hours),
        claim=ABANDON_AFTER,
    )


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


def taxpayers_of(engine: Engine, environment: str, items: Sequence[Item]) -> list[str | None]:
    """Tell the taxpayer of each request that names an organisation; one for all where the database doesn't answer.

    That is no loss: the transactions that follow meet the same trouble, and deal with it.
    """
    organizations = [
        cast("InvoiceIssuing | PlainIssuing | InvoiceOutcome", item.request).organization for item in items
    ]
    try:
        with begin(engine) as connection:
            [channels] = ask_and_commit(connection, [channels_of_organizations(environment, set(organizations))])
    except DATABASE_ERRORS:
        return [None] * len(items)
    return [channels[each].taxpayer_id if each in channels else None for each in organizations]


def _tell_a_portion(transactions: Transactions, work: Callable[[Connection], list[Answer]]) -> bool:
    """Do a portion of work; there may be more as long as it has something to tell."""
    return transactions.run(work) > 0


def _claim_for_a_portion(
    transactions: Transactions,
    claiming: Claiming,
    work: Callable[[Connection], list[Answer]],
) -> bool:
    """Record the claims of a portion of stocks; there may be more as long as any is recorded."""
    before = claiming.recorded
    transactions.run(work)
    return claiming.recorded > before


def _serial(unit_id: str, using_unit_id: str) -> str:
    return new_business_serial(using_unit_id, unit_id)


def _left(ends_at: float) -> float:
    return max(0.1, ends_at - time.monotonic())
