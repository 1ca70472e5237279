"""The faults, each with its name, what it takes hold of, and how it ends; drawn by a seed."""

import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from tests.support.chaos.proxy import Proxy, Way
from tests.support.chaos.stage import Stage

#: Ends a fault; may take its time.
End = Callable[[], None]

CRASH_POINTS = (
    "after-receive",
    "before-commit",
    "after-commit",
    "after-publish",
    "before-removal",
    "before-ack",
    "before-call",
    "after-grant",
)

#: Queues whose requests Fuma asks itself: who deletes one loses nothing, for the timed look makes them good.
_INNER_QUEUES = ("fuma.range-low", "fuma.range-exhausted")


@dataclass(frozen=True, slots=True)
class Fault:
    """One kind of misfortune."""

    name: str
    #: What no other fault may hold at the same time.
    holds: str
    begin: Callable[[Stage, random.Random], End | None]
    #: Seconds that it lasts, from and to.
    lasts: tuple[float, float] = (0.0, 0.0)
    weight: float = 1.0


class NothingToHitError(Exception):
    """Nothing is there that the fault could befall just now: it is none."""


def _kill(stage: Stage, dice: random.Random) -> None:
    stage.kill_worker(_live(stage, dice))


def _terminate(stage: Stage, dice: random.Random) -> None:
    stage.stop_worker(_live(stage, dice))


def _live(stage: Stage, dice: random.Random) -> int:
    live = [slot for slot, worker in enumerate(stage.slots) if worker is not None and worker.code is None]
    if not live:
        raise NothingToHitError
    return dice.choice(live)


def _kill_broker(stage: Stage, _dice: random.Random) -> End:
    stage.node.kill()
    return stage.node.start


def _kill_database(stage: Stage, _dice: random.Random) -> End:
    stage.postgres.kill()
    return stage.postgres.start


def _on_proxy(which: str, break_it: Callable[[Proxy], None]) -> Callable[[Stage, random.Random], End]:
    def begin(stage: Stage, _dice: random.Random) -> End:
        proxy: Proxy = getattr(stage, f"{which}_proxy")
        break_it(proxy)
        return proxy.heal

    return begin


def _alarm(stage: Stage, _dice: random.Random) -> End:
    """Set the watermark so low that the node is above it, as `rabbitmqctl set_vm_memory_high_watermark` does."""
    stage.node.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.00001)")
    return lambda: _clear_alarm(stage)


def _clear_alarm(stage: Stage) -> None:
    stage.node.evaluate("vm_memory_monitor:set_vm_memory_high_watermark(0.4)")


def _close_connections(stage: Stage, _dice: random.Random) -> None:
    stage.node.close_connections(stage.broker_url.rsplit("/", 1)[1])


def _cancel(stage: Stage, dice: random.Random) -> End:
    """Delete a queue, and let the node live until it has stored the one that is declared in its place.

    RabbitMQ 3.10, killed in the moment of a declaration, may know such a queue after its restart and not be able to
    start it; then only an operator's hand helps (docs/operating.md, "A queue that RabbitMQ can't start").
    """
    queue = dice.choice(_INNER_QUEUES)
    stage.delete_queue(queue)
    return lambda: stage.wait_until_stored(queue)


def _authority(**faults: float) -> Callable[[Stage, random.Random], End]:
    def begin(stage: Stage, dice: random.Random) -> End:
        stage.authority.faults(seed=dice.randrange(1 << 30), **faults)
        return stage.authority.put_right

    return begin


def _kill_authority(stage: Stage, _dice: random.Random) -> End:
    stage.authority.kill()
    return stage.authority.start_again


def _restart_authority(stage: Stage, _dice: random.Random) -> None:
    stage.authority.restart()


def _fill_disk(stage: Stage, _dice: random.Random) -> End:
    assert stage.small_disk is not None
    ballast = stage.small_disk / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(b"\0" * (1 << 20))

    def end() -> None:
        ballast.unlink()
        if not _answers(stage.database_url):
            # A log that can't be written ends the server; it is started again as after a power cut.
            stage.postgres.kill()
            stage.postgres.start()

    return end


def _answers(url: str) -> bool:
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute("SELECT 1")
            return True
        time.sleep(0.2)
    return False


def _of_proxy(which: str, weight: float) -> list[Fault]:
    ways: dict[str, tuple[Callable[[Proxy], None], tuple[float, float]]] = {
        "connections cut": (lambda proxy: proxy.cut(), (0, 0)),
        "stalled towards it": (lambda proxy: proxy.stall(Way.UP), (0.5, 6)),
        "stalled from it": (lambda proxy: proxy.stall(Way.DOWN), (0.5, 6)),
        "stalled both ways": (lambda proxy: proxy.stall(Way.UP, Way.DOWN), (0.5, 12)),
        "slowed": (lambda proxy: proxy.slow(0.02), (1, 6)),
        "half open, it is gone": (lambda proxy: proxy.half_open(Way.UP), (1, 8)),
        "half open, workers are gone": (lambda proxy: proxy.half_open(Way.DOWN), (1, 8)),
    }
    # Nobody says a word for longer than the worker waits: its heartbeats and its patience have to notice.
    lasting = Fault(
        f"{which}: half open for a minute",
        f"{which} proxy",
        _on_proxy(which, lambda it: it.half_open(Way.UP)),
        (50, 60),
        0.25,
    )
    return [lasting] + [
        Fault(f"{which}: {name}", f"{which} proxy", _on_proxy(which, begin), lasts, weight)
        for name, (begin, lasts) in ways.items()
    ]


FAULTS = (
    Fault("worker: SIGKILL", "worker", _kill, weight=6),
    Fault("worker: SIGTERM", "worker", _terminate, weight=3),
    Fault("broker: SIGKILL and restart", "broker", _kill_broker, (0.5, 4), 1),
    Fault("broker: memory alarm", "broker", _alarm, (1, 6), 2),
    Fault("broker: closes connections", "broker", _close_connections, weight=2),
    Fault("broker: consumer cancelled by deletion", "broker", _cancel, (0, 2), 2),
    Fault("database: SIGKILL and restart", "database", _kill_database, (0.2, 12), 2),
    Fault("database: disk full", "database", _fill_disk, (1, 6), 1.5),
    *_of_proxy("broker", 1.2),
    *_of_proxy("database", 1.2),
    Fault("authority: down", "authority", _kill_authority, (1, 8), 2),
    Fault("authority: restarted", "authority", _restart_authority, weight=1),
    Fault("authority: slow", "authority", _authority(latency_ms=2500), (3, 8), 2),
    Fault("authority: loses answers", "authority", _authority(lost_answer=0.7), (3, 8), 3),
    Fault("authority: errors", "authority", _authority(error_500=0.7), (3, 8), 2),
    Fault("authority: throttles", "authority", _authority(throttle=0.5), (2, 5), 0.7),
)
