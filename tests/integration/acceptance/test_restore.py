"""A database that is restored under a running worker: it stops and says what to do, and no number comes twice."""

import threading
from collections import Counter
from pathlib import Path

from tests.support.outside.envelopes import structured
from tests.support.outside.identities import organization
from tests.support.outside.processes import Finished
from tests.support.outside.publisher import Publisher
from tests.support.outside.world import World, issuing, numbers_of
from tests.support.postgres import PrivatePostgres


def test_a_restore_under_load_stops_the_worker_and_after_recovered_no_number_comes_twice(
    world: World,
    postgres: PrivatePostgres,
    tmp_path: Path,
) -> None:
    org = organization(claim_quantity=100)
    world.register(org)
    assert world.events.everything() == []
    worker = world.worker()
    world.issue(org, *(f"before-{n}" for n in range(30)))
    postgres.dump(world.database_url, tmp_path / "backup")
    world.issue(org, *(f"forgotten-{n}" for n in range(150)))

    stopping = threading.Event()
    load = threading.Thread(target=_load, args=(world, org.code, stopping))
    load.start()
    postgres.recreate_database(world.database_url)
    postgres.restore(world.database_url, tmp_path / "backup")
    ended = worker.finished(within=60)
    stopping.set()
    load.join()

    assert ended.code == 1
    said = [line for line in ended.err.splitlines() if not line.startswith("{")]
    assert "fuma recovered --reason" in Finished(ended.args, ended.code, ended.out, "\n".join(said)).refused()
    again = world.worker(wait=False).finished(within=30)
    assert again.code == 1
    assert "fuma recovered" in world.fuma.run("ranges").err
    assert "quarantined" in world.fuma.ok("recovered", "--reason", "a test of the backup")
    world.worker()
    world.issue(org, *(f"after-{n}" for n in range(150)))
    [told] = world.events.records("number-assigned", issue_request_id="before-0")
    world.send(issuing(org, "before-0"))
    refused = world.events.one("number-refused", issue_request_id="before-0")
    assert refused.data["reason"] == "restored", "another may have got its number since the backup"
    world.fuma.ok("ranges", "confirm", "--all", "--reason", "nobody reported a failed upload")
    world.send(issuing(org, "before-0"))
    answers = world.events.wait("number-assigned", count=2, issue_request_id="before-0")
    assert [each.event for each in answers] == [told.event] * 2

    world.waiting_until(world.waiting, lambda rows: not rows, "nobody waits")
    records = world.events.records("number-assigned")
    holders = Counter(
        number for number, _ in {(*numbers_of([each]), each.data["issue_request_id"]) for each in records}
    )
    assert [number for number, times in holders.items() if times > 1] == []
    assert {row["status"] for row in world.ranges("--created-to", "2099-12-31")} >= {"quarantined"}
    assert world.queue_length("fuma.dead-letters") == 0
    world.audit()


def _load(world: World, code: str, stopping: threading.Event) -> None:
    publisher = Publisher(world.broker_url)
    number = 0
    while not stopping.wait(0.02):
        number += 1
        publisher.send(structured(issuing(code, f"under-load-{number}")))
    publisher.close()
