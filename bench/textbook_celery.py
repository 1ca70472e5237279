"""The textbook worker as a Celery task: the same transaction, acknowledged late, its answer published with confirm.

Run by Celery's own command line, with its default pool of processes:

    python -m celery --app bench.textbook_celery worker --concurrency 1

`BENCH_BROKER_URL`, `BENCH_DATABASE_URL` and `BENCH_PREFETCH` tell it the rest.
"""

import json
import os
from functools import cache
from typing import Any

from celery import Celery
from kombu.entity import Exchange, Queue
from sqlalchemy.orm import Session, sessionmaker

from bench.load import Form, Load
from bench.textbook import assign, open_sessions
from bench.wire import EVENTS, STRUCTURED, Request, answer, routing_key
from schemas.topics import Topic
from tests.support.outside.envelopes import Outgoing
from worker.broker.topology import topic_queue

_REQUESTS = topic_queue(Topic.INVOICE_ISSUING)
_TASK = "bench.assign-number"

app = Celery("bench", broker=os.environ.get("BENCH_BROKER_URL", "memory://"))
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    task_queues=[
        Queue(
            _REQUESTS.name,
            Exchange(_REQUESTS.exchange, "topic"),
            routing_key=_REQUESTS.binding_keys[0],
            queue_arguments=dict(_REQUESTS.arguments),
        )
    ],
    worker_prefetch_multiplier=int(os.environ.get("BENCH_PREFETCH", "1")),
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)


@cache
def sessions() -> sessionmaker[Session]:
    """Make each process's engine and pool, once."""
    return open_sessions(os.environ["BENCH_DATABASE_URL"])


@app.task(name=_TASK)  # type: ignore[untyped-decorator]  # Celery has no types
def assign_number(event: dict[str, Any]) -> None:
    """Give one request its number and answer it."""
    request = Request.of(event)
    number = assign(sessions(), request)
    with app.producer_pool.acquire(block=True) as producer:
        producer.publish(
            answer(request, number),
            exchange=EVENTS,
            routing_key=routing_key(request),
            content_type=STRUCTURED,
            content_encoding="utf-8",
            delivery_mode=2,
        )


def messages(load: Load) -> list[Outgoing]:
    """Give a load's requests as calls of the task, in Celery's message protocol 2."""
    single = Load(load.invoices, load.taxpayers, Form.SINGLE, load.series)
    return [_call(number, body) for number, body in enumerate(single.requests())]


def _call(number: int, body: bytes) -> Outgoing:
    task_id = f"call-{number:09d}"
    return Outgoing(
        "invoice-issuing",
        json.dumps(
            [[json.loads(body)], {}, {"callbacks": None, "errbacks": None, "chain": None, "chord": None}]
        ).encode(),
        "application/json",
        {"lang": "py", "task": _TASK, "id": task_id, "root_id": task_id, "parent_id": None, "group": None},
        content_encoding="utf-8",
    )
