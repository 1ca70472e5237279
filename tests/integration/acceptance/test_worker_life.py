"""A worker under load: told to end, killed, cut off from its broker or database. Nothing is lost, nothing is double."""

import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from tests.support.chaos.proxy import Proxy, Way
from tests.support.outside.envelopes import batch, structured
from tests.support.outside.gate import Gate, gate_before
from tests.support.outside.identities import Organization, organization
from tests.support.outside.polling import eventually
from tests.support.outside.world import World, claiming, issuing, numbers_of

_EACH = 700
#: A claim that a worker took with it is another worker's after a minute.
_PATIENCE_S = 100

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def orgs(world: World) -> list[Organization]:
    """Three taxpayers, registered; the listener stands from the start."""
    orgs = [organization(claim_quantity=300) for _ in range(3)]
    world.register(*orgs)
    assert world.events.everything() == []
    return orgs


def load(world: World, orgs: list[Organization]) -> set[str]:
    """Publish requests for every organisation, half of them alone and half in batches; gives their keys."""
    requests = [issuing(org, f"load-{org.code}-{n}") for n in range(_EACH) for org in orgs]
    half = len(requests) // 2
    world.publisher.send(
        *(structured(request) for request in requests[:half]),
        *(batch(requests[start : start + 50]) for start in range(half, len(requests), 50)),
    )
    return {f"load-{org.code}-{n}" for n in range(_EACH) for org in orgs}


def all_answered(world: World, keys: set[str]) -> None:
    """Wait for an answer to each key; insist on one number each, and on a ledger that says the same."""
    world.events.until(
        lambda: keys <= {record.data["issue_request_id"] for record in world.events.records("number-assigned")},
        within=_PATIENCE_S,
        what="every request is answered",
    )
    records = world.events.records("number-assigned")
    answers = {(record.data["issue_request_id"], record.id, record.data["invoice_number"]) for record in records}
    assert len(answers) == len(keys), "one number and one event for each request"
    assert len({number for _, _, number in answers}) == len(keys), "no number twice"
    rows = world.numbers("--claim-mode", "automatic")
    assert {(row["issue_request_id"], row["invoice_number"]) for row in rows} == {
        (key, number) for key, _, number in answers
    }
    assert world.events.records("number-refused") == []
    world.audit()


def some_answered(world: World) -> None:
    """Wait until the load is being worked on."""
    world.events.wait("number-assigned", count=100, within=40)


def test_sigterm_drains_under_load(world: World, orgs: list[Organization]) -> None:
    first = world.worker()
    keys = load(world, orgs)
    some_answered(world)
    first.drain(within=20)
    world.worker()
    all_answered(world, keys)


def test_sigkill_under_load_loses_nothing(world: World, orgs: list[Organization]) -> None:
    first, second = world.worker(), world.worker()
    keys = load(world, orgs)
    some_answered(world)
    first.kill()
    third = world.worker()
    second.kill()
    third.kill()
    world.worker()
    all_answered(world, keys)


def away_and_back(
    world: World, orgs: list[Organization], gate: Gate, settings: dict[str, str], cut: Callable[[], None]
) -> None:
    """Start a worker behind a closed gate, open it, cut it under load, open it again: it needs no help."""
    worker = world.worker(wait=False, **settings)
    worker.alive_but_not_ready()
    gate.open()
    worker.ready()
    keys = load(world, orgs)
    some_answered(world)
    cut()
    worker.alive_but_not_ready()
    gate.open()
    worker.ready()
    all_answered(world, keys)
    worker.drain()


def test_a_broker_that_comes_and_goes(world: World, orgs: list[Organization]) -> None:
    with gate_before(world.broker_url) as (gate, url):
        away_and_back(world, orgs, gate, {"FUMA_BROKER_URL": url}, gate.shut)


def test_a_database_that_comes_and_goes(world: World, orgs: list[Organization]) -> None:
    with gate_before(world.access.database_url) as (gate, url):
        away_and_back(world, orgs, gate, {"FUMA_DATABASE_URL": url}, gate.shut)
    assert world.queue_length("fuma.dead-letters") == 0, "an outage is nobody's bad message"


def test_a_worker_that_can_not_finish_says_what_it_waits_for(world: World, orgs: list[Organization]) -> None:
    address = urlsplit(world.access.database_url)
    assert address.port is not None
    with Proxy(address.port) as proxy:
        url = world.access.database_url.replace(f":{address.port}/", f":{proxy.port}/")
        stuck = world.worker(FUMA_DATABASE_URL=url)
        # A call to LeQi is under way, and will find nobody to store its answer.
        world.authority.faults(latency_ms=2000)
        world.send(claiming(orgs[1], "in-call"))
        eventually(world.authority.grants, within=20, what="the call")
        proxy.stall(Way.DOWN)
        world.send(issuing(orgs[0], "in-work"))
        eventually(lambda: world.queue_length("fuma.invoice-issuing") == 0, within=20, what="it is in work")

        stuck.show_threads()
        eventually(lambda: "/worker/lane.py" in stuck.err(), within=20, what="the places of its threads")
        stuck.drain(within=40)

    stopped = json.loads(next(line for line in stuck.err().splitlines() if '"worker-stopped"' in line))
    assert stopped["drained"] is False
    assert {"invoice-issuing", "claim-calls"} <= set(stopped["unfinished"])
    assert orgs[0].taxpayer_id not in stuck.err()
    assert orgs[0].code not in stuck.err()
    world.authority.put_right()
    world.worker()
    all_answered(world, {"in-work"})


def test_some_topics_only(world: World, orgs: list[Organization]) -> None:
    """A worker of some topics leaves the others' queues alone."""
    claims_only = world.worker("--topics", "claim-requested,range-exhausted")
    world.send(issuing(orgs[0], "not-mine"))
    world.claim(orgs[0], "mine", 3)
    assert world.queue_length("fuma.invoice-issuing") == 1
    claims_only.drain()
    world.worker("--topics", "invoice-issuing")
    world.worker("--topics", "range-exhausted")
    (record,) = world.issue(orgs[0], "not-mine")
    assert numbers_of([record])
    assert world.fuma.run("worker", "--topics", "no-such-topic").code != 0
