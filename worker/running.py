"""Running: a worker's life as a process, from its first look at the settings to the drain at SIGTERM."""

import signal
import threading
from collections.abc import Collection
from types import FrameType

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.engine import is_permanent_refusal, open_engine, sqlstate
from db.fence import AnotherDatabaseError, refuse_another_database
from db.migrate import WrongDatabaseError, check_database
from schemas.topics import Topic
from worker.broker import BrokerUrlError, open_broker
from worker.broker.port import Broker
from worker.clock import Clock
from worker.composition import Surroundings, Worker, leqi_key, open_authority, open_listing
from worker.health import Health, serve_health
from worker.leqi.guard import refuse_simulator
from worker.metrics import Metrics
from worker.settings import Settings, SettingsError, check_able_to_claim, database_address

_log = structlog.get_logger()

#: SIGTERM to exit takes 20 s at most; the rest of it is for closing connections.
_DRAIN_SECONDS = 15.0
_CLOSE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0

#: A worker takes this many connections at most: one for each lane, timed work, claim calls, removals, and some.
_CONNECTIONS = 24


class StartRefusedError(Exception):
    """The worker can't work as things are, and waiting would not help; the text says why and what to do."""


def run_worker(settings: Settings, topics: Collection[Topic]) -> int:
    """Consume `topics` until SIGTERM or SIGINT, then drain; gives the exit status 0.

    While broker or database are away at the start it is not ready, and keeps trying.
    Raises `StartRefusedError` or `SettingsError` where no waiting helps.
    """
    check_able_to_claim(settings)
    stopping = threading.Event()
    _stop_at_signals(stopping)
    health = Health()
    with database_address(settings) as address, serve_health(settings.http_port, health):
        engine = open_engine(address, application="fuma-worker", pool_size=_CONNECTIONS)
        try:
            if _wait_for_database(engine, settings.environment.value, stopping):
                _work(settings, topics, engine, health, stopping)
        finally:
            engine.dispose()
    return 0


def _work(
    settings: Settings,
    topics: Collection[Topic],
    engine: Engine,
    health: Health,
    stopping: threading.Event,
) -> None:
    authority = open_authority(settings)
    _refuse_simulator_in_production(settings)
    broker = _open_broker(settings)
    metrics = Metrics()
    clock = Clock(settings.clock)
    around = Surroundings(settings, engine, broker, authority, open_listing(settings), clock, metrics)
    worker = Worker(around, topics)
    health.watch(broker, worker, metrics, engine)
    broker.start()
    worker.start()
    _log.info("worker-started", topics=[topic.value for topic in topics], environment=settings.environment.value)
    try:
        while not stopping.wait(0.2):
            if broker.refusal is not None:
                raise StartRefusedError(broker.refusal)
            if worker.fence.refusal is not None:
                raise StartRefusedError(worker.fence.refusal)
            if worker.broken is not None:
                message = f"the consumer of {worker.broken} ended by a fault: see the log, then start the worker anew"
                raise StartRefusedError(message)
    finally:
        _log.info("worker-draining")
        drained = worker.stop(_DRAIN_SECONDS)
        broker.close(_CLOSE_SECONDS)
        _log.info("worker-stopped", drained=drained)


def _wait_for_database(engine: Engine, environment: str, stopping: threading.Event) -> bool:
    """Wait until the database answers and is ours; False where the worker is to stop before."""
    pause = _FIRST_PAUSE
    while not stopping.is_set():
        try:
            with engine.begin() as connection:
                check_database(connection, environment)
                refuse_another_database(connection)
        except (WrongDatabaseError, AnotherDatabaseError) as error:
            raise StartRefusedError(str(error)) from None
        except DBAPIError as error:
            if is_permanent_refusal(error):
                message = "the database refuses us: check user, password and database name in FUMA_DATABASE_URL"
                raise StartRefusedError(message) from None
            _log.warning("database-unreachable", sqlstate=sqlstate(error))
        else:
            return True
        stopping.wait(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return False


def _open_broker(settings: Settings) -> Broker:
    url = settings.broker_url.get_secret_value()
    if url.startswith("memory:"):
        message = "FUMA_BROKER_URL is memory://, a broker inside one process only: set it to amqp://…"
        raise StartRefusedError(message)
    try:
        return open_broker(url, settings.environment)
    except BrokerUrlError as error:
        raise StartRefusedError(str(error)) from None


def _refuse_simulator_in_production(settings: Settings) -> None:
    refusal = refuse_simulator(settings.leqi_url or "", leqi_key(settings).hex(), settings.environment)
    if refusal is not None:
        raise SettingsError(refusal)


def _stop_at_signals(stopping: threading.Event) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
