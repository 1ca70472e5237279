"""A steady load on several taxpayers that use up claim after claim, and how many of its requests had to wait."""

import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support.outside.identities import Organization, organization
from tests.support.outside.polling import eventually
from tests.support.outside.steady import Plan, Sent
from tests.support.outside.world import World, issuing

_ROOT = Path(__file__).resolve().parents[3]

#: Seconds beyond its own time that a load may take.
_SLACK = 300


@dataclass(frozen=True, slots=True)
class Load:
    """How much is asked for, how fast, and of what an authority."""

    taxpayers: int = 10
    #: Claims that each taxpayer uses up, and their size.
    claims: int = 20
    claim_quantity: int = 1000
    #: Requests a second, of all taxpayers together, and how many of them one message carries.
    rate: float = 2000
    batch: int = 50
    latency_ms: float = 300
    workers: int = 1
    #: Seconds of the load that may be sent and not answered; 0: sent at its pace whatever the worker does.
    unanswered_seconds: float = 0.0

    @property
    def requests(self) -> int:
        """All requests but the first one of each taxpayer, which can but wait."""
        return self.taxpayers * (self.claims * self.claim_quantity - 1)


@dataclass(frozen=True, slots=True)
class Course:
    """How a load went."""

    #: Requests that came after each taxpayer had its first range, and those of them that had to wait.
    requests: int
    waited: int
    #: The most rows that `fuma waiting --json` showed at a look, and how many looks there were.
    most_listed: int
    looks: int
    claims: int
    sent: Sent

    @property
    def sent_per_second(self) -> float:
        """Requests a second, as they were sent."""
        return self.requests / self.sent.sending

    @property
    def answered_per_second(self) -> float:
        """Requests a second, as they were answered: from the first one sent to the last one answered."""
        return self.requests / self.sent.seconds

    def __str__(self) -> str:
        """Say it in two lines."""
        return (
            f"{self.requests} requests after the first ranges, {self.claims} claims: {self.waited} waited by the"
            f" audit's report (`fuma waiting --json` showed {self.most_listed} at most, in {self.looks} looks)\n"
            f"    sent at {self.sent_per_second:.0f}/s in {self.sent.sending:.1f} s, answered at"
            f" {self.answered_per_second:.0f}/s; {self.sent.most_unanswered} unanswered at most,"
            f" sent {self.sent.most_late:.2f} s late at most"
        )


def run(world: World, load: Load, *, low_threshold: float) -> Course:
    """Put the load on new workers and tell how it went; each taxpayer has its first range before it begins."""
    organizations = [
        organization(claim_quantity=load.claim_quantity, low_threshold=low_threshold) for _ in range(load.taxpayers)
    ]
    world.register(*organizations)
    workers = [world.worker() for _ in range(load.workers)]
    world.authority.faults(latency_ms=load.latency_ms)
    _give_first_ranges(world, organizations)
    before = ever_waited(world)
    with _Looks(world) as looks:
        sent = _send(world, load, organizations)
    assert world.waiting() == []
    assert sent.answered >= sent.requests == load.requests
    course = Course(
        requests=load.requests,
        waited=ever_waited(world) - before,
        most_listed=looks.most,
        looks=looks.count,
        claims=len(world.claims()),
        sent=sent,
    )
    for worker in workers:
        worker.drain()
    return course


def ever_waited(world: World) -> int:
    """Tell how many requests ever waited, by the audit's report; insists that every invariant holds."""
    report = {row["invariant"]: row for row in world.fuma.rows("audit")}
    return int(report["requests-that-ever-waited"]["checked"])


def _give_first_ranges(world: World, organizations: Sequence[Organization]) -> None:
    world.send(*(issuing(each, "first") for each in organizations))
    eventually(
        lambda: len(world.numbers()) >= len(organizations),
        within=60,
        what=lambda: f"first ranges\n{world.logs()}",
        step=0.5,
    )


def _send(world: World, load: Load, organizations: Sequence[Organization]) -> Sent:
    plan = Plan(
        world.broker_url,
        [each.code for each in organizations],
        load.requests,
        load.rate,
        load.batch,
        int(load.rate * load.unanswered_seconds),
    )
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.outside.steady", plan.as_json()],
        cwd=_ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=load.requests / load.rate + _SLACK,
        check=False,
    )
    assert done.returncode == 0, f"the load broke off: {done.stdout}\n{done.stderr}\n{world.logs()}"
    return Sent.read(done.stdout)


class _Looks:
    """Looks at `fuma waiting --json` again and again while the load goes on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._look, name="outside-looks", daemon=True)
        self.most = 0
        self.count = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(60)

    def _look(self) -> None:
        while not self._ending.wait(2):
            self.most = max(self.most, len(self._world.waiting()))
            self.count += 1
