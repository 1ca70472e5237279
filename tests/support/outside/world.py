"""One customer's installation: a vhost, a database, an authority, and Fuma's commands over them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from tests.support.outside.authority import Authority, Span
from tests.support.outside.contract import faults_of
from tests.support.outside.envelopes import Event, event, structured
from tests.support.outside.identities import Organization, china_today
from tests.support.outside.listener import Listener, Record
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Fuma, Worker
from tests.support.outside.publisher import Publisher


@dataclass(frozen=True, slots=True)
class Access:
    """With which users and roles Fuma works."""

    #: A worker's; commands have roles of their own.
    broker_url: str
    database_url: str
    #: Who may change the schema.
    migrating_url: str


class World:
    """Everything of one test's own; closing it ends every process and connection that it started."""

    def __init__(
        self, *, broker_url: str, database_url: str, folder: Path, access: Access | None = None, **settings: str
    ) -> None:
        """Start the authority.

        Fuma works with what `access` names; the test itself, and the commands that it gives at the broker, with the
        administrator's URLs.
        """
        self.broker_url, self.database_url, self.folder = broker_url, database_url, folder
        self.access = access or Access(broker_url, database_url, database_url)
        self._stack = ExitStack()
        self._workers: list[Worker] = []
        self._told = 0
        told = {"FUMA_BROKER_URL": broker_url, "FUMA_DATABASE_URL": self.access.database_url, **settings}
        self.fuma = Fuma(folder, **told)
        self.authority = Authority(self.fuma)
        self._stack.callback(self.authority.close)
        self.fuma = Fuma(folder, FUMA_LEQI_URL=self.authority.url, **told)

    def __enter__(self) -> Self:
        """Bring the database to the newest schema."""
        try:
            self.fuma.ok("migrate", FUMA_DATABASE_URL=self.access.migrating_url)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """End all; where the test itself passed, insist that every event seen had the contract's form."""
        self._stack.close()
        if kind is None and "events" in self.__dict__:
            faults = [*self.events.unreadable, *faults_of(self.events.everything())]
            assert not faults, f"events differ from the contract: {faults}"

    @cached_property
    def events(self) -> Listener:
        """A listener, from its first use on."""
        listener = Listener(self.broker_url)
        self._stack.callback(listener.close)
        return listener

    @cached_property
    def publisher(self) -> Publisher:
        """A publisher, from its first use on."""
        publisher = Publisher(self.broker_url)
        self._stack.callback(publisher.close)
        return publisher

    def register(self, *organizations: Organization) -> None:
        """Import organisations."""
        self._told += 1
        file = self.folder / f"organizations-{self._told}.json"
        file.write_text(json.dumps([each.entry() for each in organizations], ensure_ascii=False))
        self.fuma.ok("organizations", "import", str(file))

    def worker(self, *args: str, wait: bool = True, **settings: str | None) -> Worker:
        """Start a worker and wait until it is ready; it is killed with the world."""
        as_worker: dict[str, str | None] = {"FUMA_BROKER_URL": self.access.broker_url, **settings}
        worker = self._stack.enter_context(self.fuma.worker(*args, **as_worker))
        self._workers.append(worker)
        return worker.ready() if wait else worker

    def logs(self) -> str:
        """Give the end of every worker's log, for a failing test's message."""
        return "\n---\n".join(worker.log() for worker in self._workers)

    def send(self, *events: Event) -> None:
        """Publish events as structured messages, and insist that each was routed."""
        self.publisher.send(*(structured(each) for each in events))

    def issue(self, organization: Organization, *keys: str, **data: object) -> list[Record]:
        """Ask for a number for each key, and give the events that assign them."""
        self.send(*(issuing(organization, key, **data) for key in keys))
        return [self.events.one("number-assigned", issue_request_id=key, within=40) for key in keys]

    def claim(self, organization: Organization, claim_id: str, quantity: int = 10) -> Record:
        """Claim by hand, and give the `range-claimed` that answers."""
        self.send(claiming(organization, claim_id, quantity))
        return self.events.one("range-claimed", claim_id=claim_id)

    def refresh(self, refresh_id: str, **whom: str) -> Record:
        """Refresh, and give the first `range-refreshed` that answers."""
        self.send(refreshing(refresh_id, **whom))
        return self.events.one("range-refreshed", refresh_id=refresh_id, within=40)

    def ranges(self, *filters: str) -> list[dict[str, Any]]:
        """Give `fuma ranges --json`."""
        return self.fuma.rows("ranges", *filters, "--limit", "100000")

    def claims(self, *filters: str) -> list[dict[str, Any]]:
        """Give `fuma claims --json`."""
        return self.fuma.rows("claims", *filters, "--limit", "100000")

    def numbers(self, *filters: str) -> list[dict[str, Any]]:
        """Give `fuma numbers --json`."""
        return self.fuma.rows("numbers", *filters, "--limit", "100000")

    def waiting(self, *filters: str) -> list[dict[str, Any]]:
        """Give `fuma waiting --json`."""
        return self.fuma.rows("waiting", *filters, "--limit", "100000")

    def spans(self, *filters: str) -> Counter[Span]:
        """Give the ranges that Fuma holds."""
        return Counter(
            Span(row["taxpayer_id"], row["first_number"], row["last_number"]) for row in self.ranges(*filters)
        )

    def waiting_until(
        self, rows: Callable[[], list[dict[str, Any]]], wanted: Callable[[list[dict[str, Any]]], bool], what: str
    ) -> list[dict[str, Any]]:
        """Ask for a listing until it is as wanted; gives it."""
        seen: list[dict[str, Any]] = []

        def probe() -> bool:
            seen[:] = rows()
            return wanted(seen)

        eventually(probe, within=40, what=lambda: f"{what}; last seen: {seen[:5]}\n{self.logs()}", step=0.3)
        return seen

    def audit(self, **environment: str) -> str:
        """Insist that every invariant holds; gives what was printed."""
        return self.fuma.ok("audit", **environment)

    def queue_length(self, queue: str) -> int:
        """Tell how many messages of a queue are ready, not counting what consumers hold."""
        with channel_at(self.broker_url) as channel:
            return int(channel.queue_declare(queue, passive=True).method.message_count)

    def purge(self, queue: str) -> None:
        """Throw away what is ready in a queue."""
        with channel_at(self.broker_url) as channel:
            channel.queue_purge(queue)


@contextmanager
def channel_at(broker_url: str) -> Iterator[BlockingChannel]:
    """Give a channel of our own, for what listener and publisher don't do."""
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    try:
        yield connection.channel()
    finally:
        connection.close()


def issuing(org: Organization | str, key: str, /, **data: object) -> Event:
    """Give an `invoice-issuing` for today's date unless another is named."""
    code = org if isinstance(org, str) else org.code
    told = {"issue_request_id": key, "organization": code, "issue_date": china_today().isoformat(), **data}
    return event("invoice-issuing", told)


def claiming(org: Organization | str, claim_id: str, /, quantity: object = 10) -> Event:
    """Give a `claim-requested`."""
    code = org if isinstance(org, str) else org.code
    told = {"claim_id": claim_id, "organization": code, "quantity": quantity, "requested_by": "li.na"}
    return event("claim-requested", told)


def refreshing(refresh_id: str, **whom: str) -> Event:
    """Give a `refresh-requested`, for all unless an organization or a taxpayer_id is named."""
    return event("refresh-requested", {"refresh_id": refresh_id, **whom})


def numbers_of(records: Sequence[Record]) -> list[str]:
    """Give the numbers that events assign."""
    return [str(record.data["invoice_number"]) for record in records]
