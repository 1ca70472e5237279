"""The stage of the demo: everything that Fuma works with, embedded in this process, with a worker among it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pydantic import SecretStr
from sqlalchemy import Engine

from db.embedded import EmbeddedPostgres
from db.engine import open_engine
from db.migrate import migrate
from db.organizations import import_organizations
from schemas.organizations import OrganizationEntry
from schemas.topics import CONSUMED
from schemas.vocabulary import Environment
from worker.broker import open_broker
from worker.broker.port import Broker, Message, Outcome
from worker.clock import Clock
from worker.composition import Surroundings, Worker, open_authority, open_listing
from worker.demo.audience import Audience
from worker.demo.throwaway import throwaway_database
from worker.leqi.simulator import Simulator
from worker.metrics import Metrics
from worker.settings import Settings

ENVIRONMENT = Environment.SANDBOX

_CONNECTIONS = 16
_DRAIN_SECONDS = 10.0
_CLOSE_SECONDS = 3.0


class DemoError(Exception):
    """The demo can't go on; the text says why in one line."""


class Stage:
    """A running worker, the database and the broker that it uses, LeQi, and an audience of its events."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        broker: Broker,
        simulator: Simulator,
        clock: Clock,
        audience: type[Audience] = Audience,
    ) -> None:
        self.engine = engine
        self.clock = clock
        self.simulator = simulator
        self.broker_url = settings.broker_url.get_secret_value()
        self.audience = audience(self.broker_url)
        self._broker = broker
        self._worker = Worker(
            Surroundings(
                settings,
                engine,
                broker,
                open_authority(settings),
                open_listing(settings),
                clock,
                Metrics(),
            ),
            CONSUMED,
        )
        self._works = False

    def start(self) -> None:
        """Let the worker work."""
        self._worker.start()
        self._works = True

    def stop(self) -> bool:
        """Let the worker finish what it has in work, and the audience hear the last of it; harmless a second time.

        False where the worker didn't end in time.
        """
        if not self._works:
            return True
        self._works = False
        unfinished = self._worker.stop(_DRAIN_SECONDS)
        self._broker.close(_CLOSE_SECONDS)
        self.audience.stop()
        return not unfinished

    def hurry(self) -> None:
        """Let the worker do all its timed work now."""
        self._worker.timed.wake_all()

    def check(self) -> None:
        """Raise `DemoError` where a part has ended by a fault."""
        self.audience.check()
        if self._works and self._worker.broken is not None:
            message = f"the consumer of {self._worker.broken} ended by a fault"
            raise DemoError(message)

    def register(self, entries: Sequence[OrganizationEntry]) -> None:
        """Import organisations as an operator does."""
        with self.engine.begin() as connection:
            import_organizations(connection, ENVIRONMENT.value, entries, self.clock.now())

    def publish(self, messages: Sequence[Message]) -> None:
        """Publish as an invoicing system does. Raises `DemoError` for a message that the broker did not take."""
        outcomes = self._broker.publish(messages).result()
        lost = sum(outcome is not Outcome.CONFIRMED for outcome in outcomes)
        if lost:
            message = f"the broker did not take {lost} of {len(messages)} messages"
            raise DemoError(message)


@contextmanager
def set_stage(
    settings: Settings,
    name: str,
    *,
    keep: bool,
    clock: Clock | None = None,
    audience: type[Audience] = Audience,
) -> Iterator[Stage]:
    """Set the stage, the worker not started yet; afterwards nothing of it is left running, nor on disk without `keep`.

    Of the settings only the folder and the sizes of batches count: what they say of a database, a broker and LeQi is
    not the demo's to touch.
    """
    clock = clock or Clock(settings.clock)
    with ExitStack() as stack:
        home = kept_home(settings, name)
        database = EmbeddedPostgres(home) if keep else throwaway_database(settings.home, name)
        address = stack.enter_context(database)
        engine = open_engine(address, application="fuma-demo", pool_size=_CONNECTIONS)
        stack.callback(engine.dispose)
        migrate(engine, ENVIRONMENT.value)
        simulator = stack.enter_context(Simulator())
        if settings.clock is not None:
            simulator.put_clock(clock.now())
        own = _embedded(settings, address, f"memory://demo-{name}", simulator.base_url)
        broker = open_broker(own.broker_url.get_secret_value(), ENVIRONMENT)
        stage = Stage(own, engine, broker, simulator, clock, audience)
        broker.start()
        stack.enter_context(stage.audience)
        stack.callback(stage.stop)
        yield stage


def kept_home(settings: Settings, name: str) -> Path:
    """Give the folder in which a run that is kept has its PostgreSQL, to be used as `FUMA_HOME` afterwards."""
    return settings.home / f"demo-{name}"


def _embedded(settings: Settings, address: str, broker_url: str, leqi_url: str) -> Settings:
    """Give settings under which nothing outside this process is touched, whatever the environment says."""
    return Settings.model_construct(
        home=settings.home,
        environment=ENVIRONMENT,
        database_url=SecretStr(address),
        broker_url=SecretStr(broker_url),
        leqi_url=leqi_url,
        channel_gateway_url=leqi_url,
        clock=settings.clock,
        batch_size=settings.batch_size,
        batch_age_ms=settings.batch_age_ms,
        prefetch=settings.prefetch,
        leqi_concurrency=settings.leqi_concurrency,
    )
