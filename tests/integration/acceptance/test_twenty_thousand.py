"""20,000 requests through two workers from an empty stock, at an authority that works and at one that does not."""

import json
from bisect import bisect_right
from collections import Counter, defaultdict

import pytest

from tests.support.outside.envelopes import BATCH, structured
from tests.support.outside.identities import CHANNEL_DIGITS, china_today
from tests.support.outside.listener import Letter, Record, dead_letters
from tests.support.outside.load import Traffic, plan
from tests.support.outside.polling import eventually
from tests.support.outside.processes import Worker
from tests.support.outside.world import World, refreshing

REQUESTS = 20_000
#: Of a worker, in MB.
MEMORY_LIMIT = 200


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    "faults", [{}, {"lost_answer": 0.3, "error_500": 0.2, "latency_ms": 200, "seed": 5}], ids=["well", "with-faults"]
)
def test_twenty_thousand_requests(world: World, faults: dict[str, float]) -> None:
    traffic = plan(requests=REQUESTS, repeated=0.05, malformed=0.01, seed=20261123)
    world.register(*traffic.organizations)
    assert world.events.everything() == []
    workers = [world.worker(), world.worker()]
    assert world.ranges() == []
    world.authority.faults(**faults)
    assert world.publisher.publish(traffic.messages, within=180) == []

    answers = every_request_is_answered(world, traffic)
    repetitions_get_the_same_event(world, traffic)
    settled(world)
    numbers_are_right(world, traffic, answers)
    ledger_agrees(world, answers)
    if faults:
        assert any(grant["times_asked"] > 1 for grant in world.authority.grants()), "the faults were felt"
    memory_stays_small(workers)
    letters_tell_what_was_unreadable(world, traffic)
    world.audit()
    for worker in workers:
        worker.drain()


def every_request_is_answered(world: World, traffic: Traffic) -> dict[tuple[str, str], Record]:
    """Wait for the last answer; insist that all answers to one request are one event."""
    world.events.until(
        lambda: (
            world.events.count("number-assigned") >= len(traffic.asked)
            and len({key_of(record) for record in world.events.records("number-assigned")}) >= len(traffic.asked)
        ),
        within=240,
        what=f"{len(traffic.asked)} requests answered",
        step=0.5,
    )
    eventually(lambda: world.queue_length("fuma.invoice-issuing") == 0, within=60, what="all is read")
    assert world.events.records("number-refused") == []
    by_key: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in world.events.records("number-assigned"):
        by_key[key_of(record)].append(record)
    assert by_key.keys() == traffic.asked.keys()
    differing = [key for key, records in by_key.items() if any(each.event != records[0].event for each in records)]
    assert differing == [], "each answer to one request is the same event"
    ids = Counter(records[0].id for records in by_key.values())
    assert max(ids.values()) == 1, "an event id stands for one answer"
    return {key: records[0] for key, records in by_key.items()}


def repetitions_get_the_same_event(world: World, traffic: Traffic) -> None:
    """Ask 100 of them once more, and see each answered once more."""
    again = list(traffic.asked.items())[::200]
    before = {key: len(world.events.records("number-assigned", issue_request_id=key[1])) for key, _ in again}
    world.publisher.send(*(structured(asked.event()) for _, asked in again))
    for (taxpayer_id, key), _ in again:
        records = world.events.wait(
            "number-assigned",
            count=before[taxpayer_id, key] + 1,
            issue_request_id=key,
            taxpayer_id=taxpayer_id,
            within=60,
        )
        assert all(record.event == records[0].event for record in records)


def letters_tell_what_was_unreadable(world: World, traffic: Traffic) -> None:
    """Every malformed message is in the dead letters with its reason, and nothing else is."""
    expected = traffic.letters.total()
    with dead_letters(world.broker_url) as reader:
        eventually(
            lambda: len(reader.all()) >= expected,
            within=60,
            what=lambda: f"{expected} dead letters, came {len(reader.all())}",
        )
        letters = reader.all()
    came = Counter(identity(letter) for letter in letters)
    wanted = Counter({(comparable(body), reason): count for (body, reason), count in traffic.letters.items()})
    assert list((wanted - came).items())[:3] == [], "every unreadable message is there, as it was sent"
    assert list((came - wanted).items())[:3] == [], "nothing else is there"
    for letter in letters:
        assert letter.headers["x-fuma-topic"] == "invoice-issuing"
        assert letter.headers["x-fuma-detail"]
        assert letter.headers["x-fuma-at"]
        assert letter.content_type != BATCH


def settled(world: World) -> None:
    """Wait until no claim is open. A claim that stays unresolved is asked for again by each refresh."""
    for attempt in range(12):
        eventually(lambda: world.claims("--status", "open") == [], within=90, what="no claim open", step=1)
        if world.claims("--status", "unresolved") == []:
            break
        refresh_id = f"settle-{attempt}"
        world.send(refreshing(refresh_id))
        world.events.wait("range-refreshed", count=20, refresh_id=refresh_id, within=90)
    eventually(
        lambda: world.spans() == world.authority.spans() and world.claims("--status", "open") == [],
        within=60,
        what="the authority's grants and the stored ranges are the same",
        step=1,
    )


def numbers_are_right(world: World, traffic: Traffic, answers: dict[tuple[str, str], Record]) -> None:
    """No number twice; each of the right year and channel, inside a grant of its taxpayer."""
    numbers = [record.data["invoice_number"] for record in answers.values()]
    assert len(set(numbers)) == len(answers)
    grants: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for span in world.authority.spans():
        grants[span.taxpayer_id].append((span.first_number, span.last_number))
    for spans in grants.values():
        spans.sort()
    year = f"{china_today().year % 100:02d}"
    for (taxpayer_id, key), record in answers.items():
        asked, number = traffic.asked[taxpayer_id, key], record.data["invoice_number"]
        assert record.data["organization"] == asked.organization.code
        assert record.data["issue_date"] == asked.issue_date.isoformat()
        assert record.data["kind"] == asked.kind
        assert record.data["claim_mode"] == "automatic"
        assert number[:2] == year
        assert number[4:6] == CHANNEL_DIGITS[asked.organization.channel_mode]
        spans = grants[taxpayer_id]
        first, last = spans[bisect_right(spans, (number, "9" * 20)) - 1]
        assert first <= number <= last, "the number lies in a grant of its taxpayer"


def ledger_agrees(world: World, answers: dict[tuple[str, str], Record]) -> None:
    """The commands show what the events told."""
    rows = world.numbers()
    assert {(row["taxpayer_id"], row["issue_request_id"]): row["invoice_number"] for row in rows} == {
        key: record.data["invoice_number"] for key, record in answers.items()
    }
    used = Counter(record.data["range_id"] for record in answers.values())
    for row in world.ranges():
        claimed = int(row["last_number"]) - int(row["first_number"]) + 1
        assert (row["claimed"], row["remaining"]) == (claimed, claimed - used[row["range_id"]])
        assert row["status"] == ("active" if row["remaining"] else "used-up")
    serials = {grant["business_serial"] for grant in world.authority.grants()}
    assert serials == {claim["business_serial"] for claim in world.claims("--status", "granted")}
    assert world.waiting() == []
    code = next(iter(answers.values())).data["organization"]
    assert world.ranges("--organization", code, "--created-from", china_today().isoformat())


def memory_stays_small(workers: list[Worker]) -> None:
    """A worker stays under 200 MB."""
    held = [worker.resident_mb() for worker in workers]
    assert max(held) < MEMORY_LIMIT, held


def key_of(record: Record) -> tuple[str, str]:
    """Give a request's business key."""
    return record.data["taxpayer_id"], record.data["issue_request_id"]


def identity(letter: Letter) -> tuple[str, str]:
    """Give what is compared of a letter."""
    return comparable(letter.body), letter.reason


def comparable(body: bytes) -> str:
    """Give a body so that two ways to write one JSON value are the same."""
    try:
        return json.dumps(json.loads(body), sort_keys=True)
    except ValueError:
        return body.decode()
