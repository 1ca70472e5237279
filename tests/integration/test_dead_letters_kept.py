"""Looking at the dead letters and sending them back loses none, also where whoever does it is killed meanwhile."""

import os
import signal
import subprocess
import sys

from schemas.reasons import Reason
from tests.support.fixtures_rabbitmq import OpenBroker
from tests.support.outside.world import channel_at
from tests.support.waiting import wait_until
from worker.broker.dead_letters import EVERYTHING, Selection, read_letters, redrive
from worker.broker.letters import AT_HEADER, DETAIL_HEADER, REASON_HEADER, TOPIC_HEADER
from worker.broker.port import Message, Outcome
from worker.broker.topology import DEAD_EXCHANGE, DEAD_LETTERS

ISSUING = "fuma.invoice-issuing"


def fill(url: str, connect: OpenBroker, letters: int) -> list[str]:
    """Write so many letters; gives their ids in order."""
    ids = [f"letter-{n:06}" for n in range(letters)]
    published = connect(url).publish([letter(each) for each in ids])
    assert set(published.result(60)) == {Outcome.CONFIRMED}
    return ids


def letter(message_id: str) -> Message:
    headers = {
        REASON_HEADER: Reason.MALFORMED.value,
        DETAIL_HEADER: "data: expected a JSON object",
        TOPIC_HEADER: "invoice-issuing",
        AT_HEADER: "2026-05-01T12:00:00+00:00",
    }
    return Message(DEAD_EXCHANGE, "invoice-issuing", b"x" * 200, "application/json", headers, message_id)


def ready(url: str, queue: str) -> int:
    """Tell how many messages lie in a queue and are held by nobody."""
    with channel_at(url) as channel:
        return int(channel.queue_declare(queue, passive=True).method.message_count)


def killed(url: str, work: str, step: int) -> None:
    """Begin to list or to redrive, and be killed at that step."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.interrupted", work, str(step)],
        env={**os.environ, "FUMA_BROKER_URL": url},
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


def listed(url: str, limit: int | None = None) -> list[str | None]:
    return [each.message_id for each in read_letters(url, limit=limit)]


def test_looking_keeps_the_order_though_it_stops_early(private_rabbitmq_url: str, connect: OpenBroker) -> None:
    """More letters than one consumer of a quorum queue is sent where it says nothing: 2,000."""
    ids = fill(private_rabbitmq_url, connect, 2500)
    for limit in (None, 1200, 200, 10, None):
        assert listed(private_rabbitmq_url, limit) == ids[:limit]


def test_looking_keeps_the_order_though_it_is_killed(private_rabbitmq_url: str, connect: OpenBroker) -> None:
    """More letters than a few: RabbitMQ puts up to 32 of them in order by chance."""
    ids = fill(private_rabbitmq_url, connect, 300)
    for step in (250, 100, 3):
        killed(private_rabbitmq_url, "list", step)
        wait_until(lambda: ready(private_rabbitmq_url, DEAD_LETTERS) == len(ids), "the letters to come back")
        assert listed(private_rabbitmq_url) == ids


def test_a_redrive_that_is_killed_in_its_midst_loses_nothing_and_sends_one_twice_at_most(
    private_rabbitmq_url: str, connect: OpenBroker
) -> None:
    ids = fill(private_rabbitmq_url, connect, 60)
    killed(private_rabbitmq_url, "redrive", 20)
    wait_until(lambda: ready(private_rabbitmq_url, DEAD_LETTERS) == len(ids) - 19, "the letters to come back")
    assert ready(private_rabbitmq_url, ISSUING) == 20
    assert redrive(private_rabbitmq_url, EVERYTHING).kept == 0
    assert ready(private_rabbitmq_url, ISSUING) == len(ids) + 1
    assert listed(private_rabbitmq_url) == []


def test_all_are_gone_through_however_many_stay(private_rabbitmq_url: str, connect: OpenBroker) -> None:
    ids = fill(private_rabbitmq_url, connect, 2500)
    last = Selection(which=ids[-1])
    assert redrive(private_rabbitmq_url, EVERYTHING, dry_run=True).sent == len(ids)
    assert redrive(private_rabbitmq_url, last).sent == 1
    assert listed(private_rabbitmq_url) == ids[:-1]
