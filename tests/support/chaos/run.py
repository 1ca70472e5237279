"""A run: stretches of faults under load, each followed by a calm in which all must come to its end; then the check."""

import random
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from pika.exceptions import AMQPError

from tests.support.chaos.checker import Finding, check, forgotten_requests
from tests.support.chaos.evidence import Evidence, read_journal, read_tables
from tests.support.chaos.faults import CRASH_POINTS, FAULTS, Fault, NothingToHitError
from tests.support.chaos.journal import read
from tests.support.chaos.stage import Stage, UpstreamProcess
from tests.support.chaos.upstream import Plan
from tests.support.outside.identities import CHINA, Organization, organization
from tests.support.outside.polling import eventually

#: When a run begins in its own world: late enough that New Year is near, early enough that it isn't reached by itself.
BEGINS = datetime(2026, 12, 31, 12, tzinfo=CHINA)
NEW_YEAR = datetime(2027, 1, 1, tzinfo=CHINA)

#: A claim that is due no sooner than in so many seconds is not waited for: the clock is stepped.
_SOON = 20.0

#: LeQi's wait after it throttled, and a request's for stock; some more each.
_THROTTLE = timedelta(minutes=5, seconds=30)
_WAITING_LIMIT = timedelta(hours=24, minutes=1)

#: Requests of the organisation that nobody claims for.
_WAITING_FOR_EVER = 3


class UnsettledError(AssertionError):
    """The calm did not bring all to its end; the text says what is left."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How much of what."""

    seed: int
    workers: int = 3
    rate: float = 1500.0
    largest_batch: int = 200
    claim_quantity: int = 500
    #: Mean seconds between two faults, and how long a stretch of them lasts.
    pause: float = 1.2
    stretch: float = 150.0
    #: How long a calm may take.
    patience: float = 240.0
    disk_mb: int = 3000


@dataclass
class Result:
    """How a run went."""

    faults: Counter[str]
    findings: list[Finding]
    complaints: list[str]
    audit: str
    seconds: float
    evidence: Evidence
    #: What was not possible on this machine.
    not_tried: list[str]
    #: Workers that did not drain while the machine stood still.
    stood_still: int

    @property
    def holds(self) -> bool:
        """Whether nothing was lost, nothing doubled, and nothing else complained of."""
        return not self.complaints and not any(finding.broken for finding in self.findings)


def companies(terms: Terms) -> list[Organization]:
    """Give the companies of a run: three channel modes, two with one stock, one that claims by demand."""
    shared = organization(claim_quantity=terms.claim_quantity)
    return [
        shared,
        organization(taxpayer_id=shared.taxpayer_id, claim_quantity=terms.claim_quantity),
        organization(claim_quantity=terms.claim_quantity, low_threshold=0),
        organization(claim_quantity=terms.claim_quantity, channel_mode="on-behalf"),
        organization(claim_quantity=terms.claim_quantity, channel_mode="joint"),
        organization(claim_quantity=terms.claim_quantity, claim_sizing="demand"),
    ]


class Run:
    """One run on a stage."""

    def __init__(self, stage: Stage, terms: Terms) -> None:
        self.stage, self.terms = stage, terms
        self._dice = random.Random(terms.seed)
        self.counted: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(16, thread_name_prefix="fault")
        self._held: dict[str, Future[None]] = {}
        self._crashes: list[str] = []
        self._starts_at: dict[int, float] = {}
        #: Whether a hand threw requests away since the last calm, and whether New Year has passed.
        self._thrown_away = self._crossed = False
        self._journal = stage.folder / "journal"
        self._began = time.monotonic()

    def begin(self) -> None:
        """Set the clock, register, start workers and upstream."""
        self.stage.begin_at(BEGINS)
        asking = companies(self.terms)
        self._waits = organization(automatic_claims=False)
        self.stage.register([*asking, self._waits])
        for slot in range(self.terms.workers):
            self.stage.start_worker(slot)
        self.upstream = UpstreamProcess(
            self.stage.folder,
            Plan(
                broker_url=self.stage.broker_url,
                journal=str(self._journal),
                seed=self.terms.seed,
                organizations=[each.code for each in asking],
                waiting=[self._waits.code] * _WAITING_FOR_EVER,
                rate=self.terms.rate,
                most_open=int(self.terms.rate * 10),
                largest_batch=self.terms.largest_batch,
                ahead=self.stage.ahead.total_seconds(),
            ),
        )
        self.stage.wait_until_ready()

    @property
    def faults(self) -> "Counter[str]":
        """All that befell it so far, by kind."""
        return self.counted + self.stage.deaths

    def close(self) -> None:
        """End the upstream and wait for the faults under way."""
        self._pool.shutdown(wait=True)
        if hasattr(self, "upstream"):
            self.upstream.kill()

    # --------------------------------------------------------------- stretches

    def disturb(self, seconds: float, faults: Sequence[Fault] = FAULTS) -> None:
        """Put the load on, and faults at random, alone and mixed, for so long."""
        self.upstream.tell("go-on")
        ends_at = time.monotonic() + seconds
        next_at = time.monotonic() + 1.0
        while time.monotonic() < ends_at:
            self._keep_workers(armed=True)
            if time.monotonic() >= next_at:
                self._begin_one(faults)
                next_at = time.monotonic() + self._dice.expovariate(1 / self.terms.pause)
            time.sleep(0.05)
        self._end_all()

    def disturb_with(self, faults: Iterable[Fault], pause: float) -> None:
        """Put the load on, and these faults one after the other, as soon as each has something to hold."""
        self.upstream.tell("go-on")
        for fault in faults:
            while fault.holds in self._held:
                self._keep_workers(armed=True)
                time.sleep(0.05)
                self._let_go()
            self._start(fault)
            self._watch(pause)
        self._end_all()

    def crash_at_each_point(self, within: float) -> None:
        """Let a worker die at every crash point, under load."""
        self.upstream.tell("go-on")
        self._crashes = list(CRASH_POINTS)
        wanted = {f"crash {point}" for point in CRASH_POINTS}
        for slot in range(self.terms.workers):
            self.stage.kill_worker(slot)
        ends_at = time.monotonic() + within
        while not wanted <= self.stage.deaths.keys():
            assert time.monotonic() < ends_at, f"no worker came to {wanted - self.stage.deaths.keys()}"
            self._keep_workers(armed=bool(self._crashes))
            time.sleep(0.05)

    def delete_queue(self, topic: str) -> None:
        """Delete a queue with requests in it, and note what may have been in it."""
        self.upstream.tell("go-on")
        eventually(lambda: self.upstream.told["open"] > _WAITING_FOR_EVER, within=60, what="requests under way")
        self.upstream.tell("mark", mark="deleting", topic=topic)
        ready = self.stage.delete_queue(f"fuma.{topic}")
        self.upstream.tell("mark", mark="deleted", topic=topic, ready=ready)
        self._thrown_away = True
        self.counted["queue deleted"] += 1
        self.stage.wait_until_stored(f"fuma.{topic}")

    def restore_after(self, seconds: float, faults: Sequence[Fault] = FAULTS) -> None:
        """Dump at a calm, go on under faults, put the dump in the database's place in mid-run, and recover."""
        file = self.stage.folder / "dump"
        self.upstream.tell("mark", mark="dumped", grants=self._serials())
        self.stage.postgres.dump(self.stage.database_url, file)
        self.disturb(seconds, faults)
        eventually(self._all_ready, within=120, what="workers to be restored under")
        self.stage.postgres.recreate_database(self.stage.database_url)
        self.stage.postgres.restore(self.stage.database_url, file)
        self.upstream.pause()
        self._all_refuse()
        eventually(self._heard_all, within=120, what="the last events of the old database read")
        self.upstream.tell("mark", mark="restored", grants=self._serials())
        self.counted["database restored"] += 1
        self.stage.direct.ok("recovered", "--reason", "a run of chaos", FUMA_CLOCK=self.stage.now().isoformat())
        for slot in range(self.terms.workers):
            self.stage.start_worker(slot)
        self.stage.wait_until_ready()
        self._thrown_away = True

    def cross_new_year(self) -> None:
        """Step every clock to just before midnight, with the load on."""
        for slot in range(self.terms.workers):
            self.stage.stop_worker(slot)
        self._set_clock(NEW_YEAR - timedelta(seconds=10))
        self._crossed = True
        self.counted["clock stepped to New Year"] += 1
        for slot in range(self.terms.workers):
            self.stage.start_worker(slot)

    def kill_upstream(self) -> None:
        """Kill the upstream in the middle of its work, and start it again."""
        self.upstream.restart()
        self.counted["upstream: SIGKILL"] += 1

    # ------------------------------------------------------------------- calm

    def settle(self) -> None:
        """Ask nothing more, and wait until everything came to its end; raises `UnsettledError` where it does not."""
        self._end_all()
        self.upstream.pause()
        ends_at = time.monotonic() + self.terms.patience
        moved_at, before = time.monotonic(), -1
        # All workers too: whatever befell them, each must be ready again, and then be able to drain.
        while not (self._settled() and self._all_ready()):
            self._keep_workers(armed=False)
            left = self.upstream.told["open"]
            if left != before:
                moved_at, before = time.monotonic(), left
            if time.monotonic() - moved_at > 4 and self._thrown_away and left > _WAITING_FOR_EVER:
                self.upstream.tell("send-again")
                self._thrown_away = False
            if self._waits_for_the_clock():
                self._step_clock(_THROTTLE)
            elif self._crossed and time.monotonic() - moved_at > 15 and left > _WAITING_FOR_EVER:
                # Who waited for the old year's stock at midnight gets none any more, and is told so at the limit.
                self._crossed = False
                self._step_clock(_WAITING_LIMIT)
            if time.monotonic() > ends_at:
                raise UnsettledError(self._left())
            time.sleep(0.3)
        self._thrown_away = self._crossed = False

    def _settled(self) -> bool:
        if self.upstream.told["open"] > _WAITING_FOR_EVER:
            return False
        outbox, claims, _ = self.stage.undecided()
        return outbox == claims == 0 and self._heard_all()

    def _heard_all(self) -> bool:
        """Tell whether the upstream has written down every event: none waits, and none is on its way."""
        before = self.upstream.told["came"]
        time.sleep(1.5)
        return self.stage.listening_is_empty() and self.upstream.told["came"] == before

    def _waits_for_the_clock(self) -> bool:
        _, claims, due = self.stage.undecided()
        return claims > 0 and due is not None and (due - self.stage.now()).total_seconds() > _SOON

    def _step_clock(self, by: timedelta) -> None:
        self._set_clock(self.stage.now() + by)
        self.stage.restart_all()
        self.counted["clock stepped"] += 1

    def _left(self) -> str:
        outbox, claims, due = self.stage.undecided()
        told = self.upstream.told
        ready = [worker is not None and worker.get("/readyz") == HTTPStatus.OK for worker in self.stage.slots]
        left = f"{outbox} in the outbox, {claims} undecided claims, the first due {due}"
        return f"not settled: {told}, {left}, workers ready: {ready}"

    # -------------------------------------------------------------- the result

    def result(self) -> Result:
        """Gather what is left and check it; the run must have settled."""
        self.stage.drain_all()
        evidence = read_journal(read(self._journal))
        evidence.tables = read_tables(self.stage.database_url)
        evidence.grants = self.stage.grants()
        evidence.dead_letters = self.stage.dead_letters()
        evidence.may_wait = frozenset({self._waits.code})
        audit = self.stage.direct.run("audit", FUMA_CLOCK=self.stage.now().isoformat())
        complaints = [*self.stage.complaints]
        if audit.code != 0:
            complaints.append(f"fuma audit exited {audit.code}: {audit.out} {audit.err}")
        return Result(
            faults=self.faults,
            findings=check(evidence),
            complaints=complaints,
            audit=audit.out,
            seconds=time.monotonic() - self._began,
            evidence=evidence,
            stood_still=self.stage.stood_still,
            not_tried=[] if self.stage.small_disk else ["database: disk full (mounting a small disk is not allowed)"],
        )

    # ------------------------------------------------------------------- parts

    def _begin_one(self, faults: Sequence[Fault]) -> None:
        self._let_go()
        free = [each for each in faults if each.holds not in self._held and self._is_possible(each)]
        if free:
            self._start(self._dice.choices(free, [each.weight for each in free])[0])

    def _is_possible(self, fault: Fault) -> bool:
        return fault.name != "database: disk full" or self.stage.small_disk is not None

    def _start(self, fault: Fault) -> None:
        dice = random.Random(self._dice.randrange(1 << 62))
        self._held[fault.holds] = self._pool.submit(self._go_through, fault, dice)

    def _go_through(self, fault: Fault, dice: random.Random) -> None:
        try:
            end = fault.begin(self.stage, dice)
        except NothingToHitError:
            return
        except (AMQPError, OSError) as error:
            # Where a fault of another kind is in its way it is none, and not counted.
            self.counted[f"(not begun) {fault.name}: {type(error).__name__}"] += 0
            return
        self.counted[fault.name] += 1
        if end is not None:
            time.sleep(dice.uniform(*fault.lasts))
            end()

    def _let_go(self) -> None:
        for holds, under_way in list(self._held.items()):
            if under_way.done():
                del self._held[holds]
                under_way.result()

    def _end_all(self) -> None:
        while self._held:
            self._keep_workers(armed=False)
            self._let_go()
            time.sleep(0.05)

    def _watch(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            self._keep_workers(armed=True)
            time.sleep(0.05)

    def _keep_workers(self, *, armed: bool) -> None:
        """Start workers that ended anew, after a while; most of them armed with a crash point."""
        for slot in self.stage.gone():
            due = self._starts_at.setdefault(slot, time.monotonic() + self._dice.uniform(0.0, 1.5))
            if time.monotonic() >= due:
                del self._starts_at[slot]
                self.stage.start_worker(slot, self._next_crash() if armed else None)

    def _next_crash(self) -> str | None:
        if self._crashes:
            point = self._crashes.pop(0)
            return f"{point}:1" if point in {"before-call", "after-grant"} else f"{point}:2"
        if self._dice.random() < 0.15:
            return None
        point = self._dice.choice(CRASH_POINTS)
        most = 2 if point in {"before-call", "after-grant"} else 40
        return f"{point}:{self._dice.randint(1, most)}"

    def _all_refuse(self) -> None:
        """Insist that every worker ends by itself, with status 1 and the line that says what to do."""
        for slot, worker in enumerate(self.stage.slots):
            if worker is None:
                continue
            code = worker.wait(90)
            self.stage.slots[slot] = None
            if self.stage.has_crashed(slot, code):
                continue
            if code != 1 or "fuma recovered" not in worker.err():
                self.stage.complaints.append(f"on a restored database a worker ended with {code}: {worker.log(3)}")

    def _all_ready(self) -> bool:
        self._keep_workers(armed=False)
        return all(worker is not None and worker.get("/readyz") == HTTPStatus.OK for worker in self.stage.slots)

    def _serials(self) -> list[str]:
        return [grant["business_serial"] for grant in self.stage.grants()]

    def _set_clock(self, instant: datetime) -> None:
        self.stage.set_clock(instant)
        self.upstream.set_ahead(self.stage.ahead)


def figures(result: Result, terms: Terms, rounds: int) -> dict[str, Any]:
    """Give what the table tells, as JSON."""
    evidence = result.evidence
    elements = [each for each in evidence.asked if each.accepted]
    asked = {each.id: each.topic for each in elements}
    ids = {each.id for each in evidence.seen}
    return {
        "at": datetime.now(UTC).isoformat(timespec="minutes"),  # noqa: TID251 -- when it ran
        "seconds": round(result.seconds),
        "seed": terms.seed,
        "rounds": rounds,
        "faults": dict(sorted(result.faults.items())),
        "faults_in_all": result.faults.total(),
        "not_tried": result.not_tried,
        "stood_still": result.stood_still,
        "requests": len(asked),
        "issue_requests": sum(topic == "invoice-issuing" for topic in asked.values()),
        "requests_by_topic": dict(sorted(Counter(asked.values()).items())),
        "repetitions_of_requests": sum(not each.again for each in elements) - len(asked),
        "asked_again_after_a_hand": sum(each.again for each in elements),
        "events": len(ids),
        "repetitions_of_events": len(evidence.seen) - len(ids),
        "numbers_assigned": len({each.id for each in evidence.seen if each.topic == "number-assigned"}),
        "grants": len(evidence.grants),
        "forgotten": len(forgotten_requests(evidence)),
        "broken_in_all": sum(len(finding.broken) for finding in result.findings) + len(result.complaints),
        "checks": {each.name: {"checked": each.checked, "broken": len(each.broken)} for each in result.findings},
        "broken": [f"{each.name}: {line}" for each in result.findings for line in each.broken[:20]],
        "complaints": result.complaints,
    }
