"""The stage: a RabbitMQ, a PostgreSQL, an authority, workers behind proxies, and the upstream."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import pika
import psycopg
from pika.exceptions import AMQPError

from tests.support.chaos.proxy import Proxy
from tests.support.chaos.upstream import LISTENING, Plan
from tests.support.outside.authority import Authority
from tests.support.outside.identities import CHINA, Organization
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Fuma, Worker
from tests.support.postgres import PrivatePostgres
from tests.support.rabbitmq import PrivateRabbitMQ

ROOT = Path(__file__).parents[3]

#: SIGTERM to exit, as the contract has it, and some for a machine that has other things to do.
_DRAIN_LIMIT = 30.0
#: Seconds after which a worker that has not drained yet is asked what it waits for.
_SLOW_DRAIN = 8.0
#: Seconds for a beat of the pulse from which on the machine stands still.
_STILL = 3.0


class Pulse:
    """Watches whether the machine goes on: how long a short rest and a few bytes on its disk take at most."""

    def __init__(self, folder: Path) -> None:
        #: The longest, in seconds.
        self.longest = 0.0
        self._file = folder / "pulse"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="pulse", daemon=True)

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """End, once the last write is done."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        with self._file.open("wb") as file:
            began = time.monotonic()
            while not self._over.wait(0.1):
                file.write(b"written")
                file.flush()
                os.fsync(file.fileno())
                self.longest = max(self.longest, time.monotonic() - began)
                began = time.monotonic()


class Stage:
    """Everything of one run; a context manager that leaves nothing behind."""

    def __init__(self, *, workers: int, disk_mb: int) -> None:
        self._stack = contextlib.ExitStack()
        self._disk_mb = disk_mb
        #: Where the database's disk can be filled up; None where mounting is not allowed.
        self.small_disk: Path | None = None
        #: How far the world's clock is ahead of the machine's.
        self.ahead = timedelta()
        self.slots: list[Worker | None] = [None] * workers
        #: Deaths at crash points, and drains, by name.
        self.deaths: Counter[str] = Counter()
        #: Workers that did not drain while the machine stood still.
        self.stood_still = 0
        #: What went wrong that no record shows, as a worker that did not drain.
        self.complaints: list[str] = []
        self._armed: list[str | None] = [None] * workers
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the servers, without workers."""
        try:
            self._enter()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End everything."""
        self._stack.close()

    def _enter(self) -> None:
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="fuma-chaos-")))
        self.small_disk = self._stack.enter_context(_small_disk(self.folder / "disk", self._disk_mb))
        self.node = self._stack.enter_context(PrivateRabbitMQ())
        self.postgres = self._stack.enter_context(PrivatePostgres(self.small_disk))
        self.broker_url = self.node.new_vhost()
        self.database_url = self.postgres.new_database()
        self.broker_proxy = self._stack.enter_context(Proxy(self.node.port))
        self.database_proxy = self._stack.enter_context(Proxy(self.postgres.port))
        self._stack.callback(self._kill_workers)
        settings = {
            "FUMA_BROKER_URL": _through(self.broker_url, self.node.port, self.broker_proxy.port),
            "FUMA_DATABASE_URL": _through(self.database_url, self.postgres.port, self.database_proxy.port),
            # Without an outcome for months: an invoice's clock is not what is tried here.
            "FUMA_OVERDUE_HOURS": "8000",
        }
        self.authority = Authority(Fuma(self.folder, **settings), state=self.folder / "authority.state")
        self._stack.callback(self._end_authority)
        leqi = {"FUMA_LEQI_URL": self.authority.url, "FUMA_CHANNEL_GATEWAY_URL": self.authority.url}
        self.fuma = Fuma(self.folder, **settings, **leqi)
        self.direct = Fuma(self.folder, **leqi, FUMA_BROKER_URL=self.broker_url, FUMA_DATABASE_URL=self.database_url)
        self.direct.ok("migrate")

    def register(self, organizations: list[Organization]) -> None:
        """Import organisations."""
        file = self.folder / "organizations.json"
        file.write_text(json.dumps([each.entry() for each in organizations], ensure_ascii=False), encoding="utf-8")
        self.direct.ok("organizations", "import", str(file))

    # ------------------------------------------------------------------ time

    def now(self) -> datetime:
        """Tell what time it is in the world of this run."""
        return datetime.now(CHINA) + self.ahead  # noqa: TID251 -- what the workers' clocks are set by

    def begin_at(self, instant: datetime) -> None:
        """Let the run begin at this instant of its own world."""
        self.ahead = instant - datetime.now(CHINA)  # noqa: TID251 -- the machine's, to be ahead of
        self.authority.clock(instant.isoformat())

    def set_clock(self, instant: datetime) -> None:
        """Let it be this instant, for who asks from now on; time never flows back."""
        self.ahead += max(timedelta(), instant - self.now())
        self.authority.clock(self.now().isoformat())

    # --------------------------------------------------------------- workers

    def start_worker(self, slot: int, crash_at: str | None = None) -> None:
        """Start a worker; returns before it is ready."""
        self._armed[slot] = crash_at
        self.slots[slot] = self.fuma.worker(FUMA_CLOCK=self.now().isoformat(), FUMA_CRASH_AT=crash_at)

    def gone(self) -> list[int]:
        """Tell which workers have ended by themselves, and count those that came to their crash point."""
        found = []
        for slot, worker in enumerate(self.slots):
            if worker is None:
                found.append(slot)
            elif worker.code is not None:
                armed = self._armed[slot]
                if worker.code == -9 and armed is not None:
                    self.deaths[f"crash {armed.split(':')[0]}"] += 1
                else:
                    self.complaints.append(f"a worker ended with {worker.code}: {worker.log(3)}")
                self.slots[slot] = None
                found.append(slot)
        return found

    def has_crashed(self, slot: int, code: int) -> bool:
        """Tell whether a worker that ended so came to its crash point, and count it."""
        armed = self._armed[slot]
        if code != -signal.SIGKILL or armed is None:
            return False
        with self._lock:
            self.deaths[f"crash {armed.split(':')[0]}"] += 1
        return True

    def kill_worker(self, slot: int) -> None:
        """SIGKILL."""
        worker, self.slots[slot] = self.slots[slot], None
        if worker is not None:
            worker.kill()

    def stop_worker(self, slot: int) -> None:
        """SIGTERM, and insist on exit status 0 in time."""
        # Another takes its place as soon as it is free, armed with a crash point of its own.
        worker, armed, self.slots[slot] = self.slots[slot], self._armed[slot], None
        if worker is None:
            return
        worker.terminate()
        with contextlib.suppress(AssertionError):
            worker.wait(_SLOW_DRAIN)
        worker.show_threads()
        try:
            code = worker.wait(_DRAIN_LIMIT - _SLOW_DRAIN)
        except AssertionError as late:
            self.complaints.append(f"a worker did not end within {_DRAIN_LIMIT} s of SIGTERM: {late}")
            worker.kill()
            return
        if code == -9 and armed is not None:
            with self._lock:
                self.deaths[f"crash {armed.split(':')[0]}"] += 1
        # Told before it could listen, it had begun nothing; asked for its threads when it had ended all but itself.
        elif code != 0 and not (code == -15 and not worker.err()) and code != -signal.SIGUSR1:
            self.complaints.append(f"a worker ended with {code} after SIGTERM: {worker.log(5)}")

    def restart_all(self) -> None:
        """Restart every worker, none armed; returns when all are ready. Only at a calm, when each can drain."""
        self.drain_all()
        for slot in range(len(self.slots)):
            self.start_worker(slot)
        self.wait_until_ready()

    def drain_all(self) -> None:
        """End every worker at a calm, and insist that each finished what it had in work: none of its parts hangs.

        While the machine or its disk stands still no server confirms anything, and nobody can finish: that is told of,
        and nobody is blamed for it.
        """
        workers = [worker for worker in self.slots if worker is not None]
        with Pulse(self.folder) as pulse, ThreadPoolExecutor(len(self.slots)) as pool:
            list(pool.map(self.stop_worker, range(len(self.slots))))
        for worker in workers:
            # Who still waited for a server to begin with had nothing in work.
            if (
                worker.code not in {0, -signal.SIGUSR1}
                or '"worker-started"' not in worker.err()
                or '"drained": true' in worker.err()
            ):
                continue
            if pulse.longest > _STILL:
                self.stood_still += 1
            else:
                self.complaints.append(f"a worker could not drain at a calm: {worker.log(200)}")

    def wait_until_ready(self, within: float = 120) -> None:
        """Wait until every worker says that it is ready."""
        for worker in self.slots:
            if worker is not None:
                worker.ready(within)

    def _kill_workers(self) -> None:
        for slot in range(len(self.slots)):
            self.kill_worker(slot)

    def _end_authority(self) -> None:
        with contextlib.suppress(AssertionError):
            self.authority.close()

    # -------------------------------------------------------------- looking

    def grants(self) -> list[dict[str, Any]]:
        """Give all that the authority ever granted."""
        return self.authority.grants()

    def undecided(self) -> tuple[int, int, datetime | None]:
        """Count messages in the outbox and undecided claims, and tell when the first of these may be called."""
        with psycopg.connect(self.database_url) as connection:
            row = connection.execute(
                "SELECT (SELECT count(*) FROM outbox),"
                " (SELECT count(*) FROM claims WHERE status IN ('open', 'unresolved')),"
                " (SELECT min(greatest(next_attempt_at, calling_until, throttled_until)) FROM claims"
                "  CROSS JOIN (SELECT max(throttled_until) AS throttled_until FROM direct_units) AS throttle"
                "  WHERE status IN ('open', 'unresolved'))"
            ).fetchone()
        assert row is not None
        return row[0], row[1], row[2]

    def queue_length(self, queue: str) -> int:
        """Count the messages of a queue that no consumer has."""
        connection = pika.BlockingConnection(pika.URLParameters(self.broker_url))
        try:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)
        finally:
            connection.close()

    def delete_queue(self, queue: str) -> int:
        """Delete a queue with all that is in it; gives how many messages were ready in it."""
        connection = pika.BlockingConnection(pika.URLParameters(self.broker_url))
        try:
            return int(connection.channel().queue_delete(queue).method.message_count)
        finally:
            connection.close()

    def wait_until_stored(self, queue: str) -> None:
        """Wait until a deleted queue is declared again, and some more: see `faults._cancel`.

        A worker whose connection says nothing declares it only when it has noticed that.
        """
        eventually(lambda: self._stands(queue), within=120, what=f"{queue} declared again")
        time.sleep(3)

    def _stands(self, queue: str) -> bool:
        with contextlib.suppress(AMQPError, OSError):
            self.queue_length(queue)
            return True
        return False

    def dead_letters(self) -> list[str]:
        """Give the bodies of the dead letters, which stay where they are."""
        connection = pika.BlockingConnection(pika.URLParameters(self.broker_url))
        bodies: list[str] = []
        try:
            channel = connection.channel()
            while (body := channel.basic_get("fuma.dead-letters")[2]) is not None:
                bodies.append(body.decode(errors="replace"))
        finally:
            connection.close()
        return bodies

    def listening_is_empty(self) -> bool:
        """Tell whether the upstream has read every event."""
        return self.queue_length(LISTENING) == 0


class UpstreamProcess:
    """The upstream, and what it tells of itself; may be killed and started again."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._folder, self._plan = folder, plan
        self._number = 0
        self.told: dict[str, Any] = {}
        self._ahead = plan.ahead
        self._paused = True
        self._start()

    def kill(self) -> None:
        """End it as `kill -9` does."""
        self._process.kill()
        self._process.wait(10)
        self._reader.join(10)
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self._start()

    def tell(self, do: str, **more: object) -> None:
        """Give a command and wait until it is obeyed."""
        if do in {"pause", "go-on"}:
            self._paused = do == "pause"
        self._number += 1
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"number": self._number, "do": do, **more}) + "\n")
        self._process.stdin.flush()
        eventually(
            lambda: self.told.get("obeyed") == self._number,
            within=60,
            what=lambda: f"the upstream to {do}; it says {self.told} and {self.log()}",
        )

    def pause(self) -> None:
        """Ask nothing more, and wait until all that was written down is confirmed."""
        self.tell("pause")
        eventually(lambda: self.told["outgoing"] == 0, within=120, what=lambda: f"confirms: {self.told}")

    def set_ahead(self, ahead: timedelta) -> None:
        """Set its clock."""
        self._ahead = ahead.total_seconds()
        self.tell("ahead", seconds=self._ahead)

    def log(self) -> str:
        """Give what it complained of."""
        return (self._folder / "upstream.log").read_text(encoding="utf-8", errors="replace")[-2000:]

    def _start(self) -> None:
        self.told = {}
        plan = self._folder / "plan.json"
        # Another seed at each start, or it would throw the same dice again.
        told = {**asdict(self._plan), "seed": self._plan.seed + self._number, "ahead": self._ahead}
        plan.write_text(json.dumps({**told, "paused": self._paused}), encoding="utf-8")
        with (self._folder / "upstream.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.chaos.upstream", str(plan)],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
            )
        self._reader = threading.Thread(target=self._read, args=(self._process,), name="upstream-reader", daemon=True)
        self._reader.start()
        eventually(lambda: self.told, within=60, what=lambda: f"the upstream's first word: {self.log()}")

    def _read(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        with contextlib.suppress(ValueError):
            for line in process.stdout:
                self.told = json.loads(line)


def _through(url: str, port: int, proxy: int) -> str:
    """Give a URL that leads through a proxy."""
    return url.replace(f":{port}/", f":{proxy}/")


@contextlib.contextmanager
def _small_disk(folder: Path, size_mb: int) -> Iterator[Path | None]:
    """Mount a disk that can be filled up; None where that is not allowed."""
    folder.mkdir(mode=0o711)
    folder.parent.chmod(0o711)
    mounted = subprocess.run(
        ["/bin/mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0711", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        for _ in range(50):
            if subprocess.run(["/bin/umount", str(folder)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
