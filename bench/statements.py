"""The ceiling of the database: Fuma's own handling of a batch, transaction after transaction, with no broker.

All is decoded before the clock starts. Then come the worker's handler, its statements, its outbox and the removals
from it, each batch committed before the next begins; what is published counts as confirmed at once.

    python -m bench.statements postgresql://… INVOICES TAXPAYERS SERIES BATCH

Prints the invoices a second.
"""

import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import cast

from bench.load import Load
from db.engine import open_engine
from db.fence import Fence
from schemas.topics import Topic
from schemas.vocabulary import Environment
from tests.support.outside.envelopes import STRUCTURED
from worker.broker.port import Broker, Delivery, Message, Outcome
from worker.clock import Clock
from worker.decoding import decode
from worker.issuing import Issuing
from worker.metrics import Metrics
from worker.relay import Relay
from worker.transactions import Transactions

#: Batches that are handled before the clock starts.
_WARM_UP = 2


class _ConfirmsAtOnce:
    """The publishing half of a broker that has taken over everything already."""

    ready = True

    def publish(self, messages: Sequence[Message]) -> Future[list[Outcome]]:
        """Confirm."""
        confirmed: Future[list[Outcome]] = Future()
        confirmed.set_result([Outcome.CONFIRMED] * len(messages))
        return confirmed


def main() -> None:
    """Handle a load batch by batch."""
    database_url, invoices, taxpayers, series, size = sys.argv[1:]
    load = Load(int(invoices), int(taxpayers), series=series)
    batches = [list(part) for part in _parts(list(load.requests()), int(size))]
    decoded = [decode(Topic.INVOICE_ISSUING, Environment.SANDBOX, part).items for part in batches]
    engine = open_engine(database_url, application="fuma-bench-statements")
    clock = Clock()
    relay = Relay(engine, cast("Broker", _ConfirmsAtOnce()), clock, Metrics())
    transactions = Transactions(engine, relay, clock, Fence(engine).look)
    issuing = Issuing(Environment.SANDBOX.value, clock)
    relay.start()
    began, handled = time.monotonic(), 0
    for number, items in enumerate(decoded):
        if number == _WARM_UP:
            began, handled = time.monotonic(), 0
        transactions.run(lambda connection, items=items: issuing.handle(connection, items))  # type: ignore[misc]
        handled += len(items)
    rate = handled / (time.monotonic() - began)
    relay.close(10)
    engine.dispose()
    print(rate)  # noqa: T201 -- its result


def _parts(bodies: list[bytes], size: int) -> list[list[Delivery]]:
    deliveries = [
        Delivery(tag, body, STRUCTURED, None, {}, "invoice-issuing", None, redelivered=False)
        for tag, body in enumerate(bodies, 1)
    ]
    return [deliveries[at : at + size] for at in range(0, len(deliveries), size)]


if __name__ == "__main__":
    main()
