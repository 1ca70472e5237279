"""Running: a worker's life as a process, from its first look at the settings to the drain at SIGTERM."""

import ctypes
import faulthandler
import gc
import signal
import threading
from collections.abc import Collection
from contextlib import suppress
from types import FrameType

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.engine import UNTRUSTED, is_permanent_refusal, is_untrusted, open_engine, sqlstate
from db.fence import AnotherDatabaseError, refuse_another_database
from db.schema_version import WrongDatabaseError, check_database
from schemas.topics import Topic
from worker import crash_points
from worker.broker import BrokerUrlError, open_broker
from worker.broker.port import Broker
from worker.clock import Clock
from worker.composition import Surroundings, Worker, leqi_authorities, leqi_key, open_authority, open_listing
from worker.health import Health, serve_health
from worker.leqi.guard import LEQI, refuse_simulator
from worker.leqi.transport import BoundedHttp
from worker.metrics import Metrics
from worker.settings import Settings, SettingsError, check_able_to_claim, database_address
from worker.waits import Waits
from worker.watching import Watching

_log = structlog.get_logger()

#: SIGTERM to exit takes 20 s at most; the rest of it is for closing connections.
_DRAIN_SECONDS = 15.0
_CLOSE_SECONDS = 3.0
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0

#: A worker takes this many connections at most: two for each busy lane, one for each other, timed work, claim calls,
#: removals, and some.
_CONNECTIONS = 24
#: Objects made, less those that ended, after which the garbage collector looks for cycles among the new ones.
_COLLECT_AFTER = 50_000
#: The parameter of glibc's `mallopt` for the number of its pools, and how many are enough.
_M_ARENA_MAX, _ARENAS = -8, 2
#: Longer than a statement may take, and than several sent together should: who says nothing for so long never will.
_SILENCE = 45.0


class StartRefusedError(Exception):
    """The worker can't work as things are, and waiting would not help; the text says why and what to do."""


def run_worker(settings: Settings, topics: Collection[Topic]) -> int:
    """Consume `topics` until SIGTERM or SIGINT, then drain; gives the exit status 0.

    While broker or database are away at the start it is not ready, and keeps trying.
    Raises `StartRefusedError` or `SettingsError` where no waiting helps.
    """
    check_able_to_claim(settings)
    _spare_memory()
    crash_points.arm(settings.crash_at)
    stopping = threading.Event()
    _stop_at_signals(stopping)
    health = Health()
    with database_address(settings) as address, serve_health(settings.http_port, health):
        try:
            engine = open_engine(address, application="fuma-worker", pool_size=_CONNECTIONS, silence=_SILENCE)
        except ValueError as error:
            raise StartRefusedError(str(error)) from None
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
    _spare_the_collector()
    broker.start()
    worker.start()
    watching = Watching(engine, settings.environment.value, clock, metrics, health.unready)
    if settings.http_port:
        watching.start()
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
        watching.stop()
        unfinished = worker.stop(_DRAIN_SECONDS)
        broker.close(_CLOSE_SECONDS)
        _log.info("worker-stopped", drained=not unfinished, unfinished=unfinished)


def _spare_memory() -> None:
    """Let the C library share a few pools of memory among the threads: with one for each, what one freed lies idle.

    Source: mallopt(3). Another C library than glibc has no such call, and no such pools.
    """
    with suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)


def _spare_the_collector() -> None:
    """Leave what is loaded by now out of every garbage collection, and collect more seldom.

    A batch makes tens of thousands of objects that end with it, none of them in a cycle: with Python's own thresholds
    the collector walks over all modules again and again, for a quarter of a lane's processor time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER, 10, 10)


def _wait_for_database(engine: Engine, environment: str, stopping: threading.Event) -> bool:
    """Wait until the database answers and is ours; False where the worker is to stop before."""
    waits = Waits(_FIRST_PAUSE, _LONGEST_PAUSE)
    while not stopping.is_set():
        try:
            with engine.begin() as connection:
                check_database(connection, environment)
                refuse_another_database(connection)
        except (WrongDatabaseError, AnotherDatabaseError) as error:
            raise StartRefusedError(str(error)) from None
        except DBAPIError as error:
            if is_untrusted(error):
                raise StartRefusedError(UNTRUSTED) from None
            if is_permanent_refusal(error):
                message = "the database refuses us: check user, password and database name in FUMA_DATABASE_URL"
                raise StartRefusedError(message) from None
            _log.warning("database-unreachable", sqlstate=sqlstate(error))
        else:
            return True
        stopping.wait(waits.following())
    return False


def _open_broker(settings: Settings) -> Broker:
    url = settings.broker_url.get_secret_value()
    if url.startswith("memory:"):
        message = "FUMA_BROKER_URL is memory://, a broker inside one process only: set it to amqp://…"
        raise StartRefusedError(message)
    try:
        return open_broker(url, settings.environment, shards=settings.shards)
    except BrokerUrlError as error:
        raise StartRefusedError(str(error)) from None


def _refuse_simulator_in_production(settings: Settings) -> None:
    http = BoundedHttp(LEQI, tls=leqi_authorities(settings), pins=settings.leqi_public_key_pins or ())
    try:
        refusal = refuse_simulator(settings.leqi_url or "", leqi_key(settings).hex(), settings.environment, http=http)
    finally:
        http.close()
    if refusal is not None:
        raise SettingsError(refusal)


def _stop_at_signals(stopping: threading.Event) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    # For people on call: where each thread of a worker that does not go on stands. Places only, no values.
    faulthandler.register(signal.SIGUSR1)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
