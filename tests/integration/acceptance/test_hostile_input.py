"""Hundreds of hostile messages over a real broker: each has its end and its reason, and nobody else minds.

What each of them is, the decoder says that the fuzzing watches (`tests/support/hostile`); that the worker does the same
with it, and goes on, is what is looked at here.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from schemas.topics import Topic
from tests.support.hostile.dice import Dice
from tests.support.hostile.messages import hostile_message
from tests.support.hostile.promises import check_message
from tests.support.hostile.wire import arriving, sendable
from tests.support.outside.envelopes import Outgoing, structured
from tests.support.outside.identities import organization
from tests.support.outside.listener import dead_letters
from tests.support.outside.polling import eventually
from tests.support.outside.world import World, issuing
from worker.decoding import Item

_CASES = 300
_SEED = 4
#: After so many hostile messages comes a good one.
_GOOD_AFTER = 5

#: Of the machine's memory, what the worker may take on beside what it had: its read-ahead's bound, and as much to work.
_MOST_MB = 130

#: How a readable request of a company that isn't registered is answered, and by which key.
_ANSWERS: Mapping[Topic, tuple[str, str]] = {
    Topic.INVOICE_ISSUING: ("number-refused", "issue_request_id"),
    Topic.CLAIM_REQUESTED: ("claim-failed", "claim_id"),
    Topic.REFRESH_REQUESTED: ("range-refreshed", "refresh_id"),
    Topic.NUMBER_BINDING_REQUESTED: ("binding-refused", "binding_id"),
    Topic.INVOICE_OUTCOME: ("outcome-refused", "outcome_id"),
}

#: Pieces of what the generators put into bodies and headers.
_PAYLOAD = ("DROP TABLE", "jndi", "号", "right to left", "li.na", "xxxxxxxx", "26447", "9" * 20, "91350100M000100Y43")


def test_each_hostile_message_has_its_end_and_the_worker_goes_on(world: World, say: Callable[[str], None]) -> None:
    org = organization(claim_quantity=200)
    world.register(org)
    assert world.events.everything() == []
    worker = world.worker(FUMA_LOG_LEVEL="debug")
    world.issue(org, "before")
    held_before = worker.resident_mb()

    hostile = list(_hostile_messages())
    letters: Counter[tuple[str, str, bytes]] = Counter()
    answers: Counter[tuple[str, str]] = Counter()
    for topic, message in hostile:
        decoded = check_message(topic, arriving(message))
        letters.update((topic, rejected.reason.value, rejected.body) for rejected in decoded.rejected)
        answers.update(_answer(Topic(topic), item) for item in decoded.items)
    goods = [f"good-{number}" for number in range(_CASES // _GOOD_AFTER)]
    world.publisher.send(*_mixed([message for _, message in hostile], [structured(issuing(org, key)) for key in goods]))

    for key in goods:
        world.events.one("number-assigned", issue_request_id=key, within=30)
    with dead_letters(world.broker_url) as reader:
        eventually(
            lambda: worker.is_ready() and len(reader.all()) >= letters.total() and not answers - _told(world),
            within=30,
            what=lambda: (
                f"{letters.total()} letters, came {len(reader.all())}; answers that lack: {answers - _told(world)}"
            ),
        )
        came = Counter((letter.headers["x-fuma-topic"], letter.reason, letter.body) for letter in reader.all())
        assert all(letter.headers["x-fuma-detail"] for letter in reader.all())
    assert came == letters, "each body that nobody can read is in the dead letters once, unchanged, with its reason"

    grown = worker.resident_mb() - held_before
    assert grown < _MOST_MB
    worker.drain()
    assert {topic: world.queue_length(f"fuma.{topic}") for topic in _ANSWERS} == dict.fromkeys(_ANSWERS, 0)
    logged = worker.err()
    assert [piece for piece in _PAYLOAD if piece in logged] == []
    assert logged.count('"dead-letter"') == letters.total(), "the log was looked at while it told of each"
    world.audit()
    say(
        f"{_CASES} hostile messages: {letters.total()} dead letters, {answers.total()} answers;"
        f" the worker grew by {grown:.0f} MB"
    )


def _hostile_messages() -> Iterator[tuple[str, Outgoing]]:
    for case in range(_CASES):
        topic, hostile = hostile_message(Dice(_SEED, case))
        yield topic, sendable(topic, hostile, f"hostile-{case}")


def _mixed(hostile: list[Outgoing], goods: list[Outgoing]) -> Iterator[Outgoing]:
    for place, message in enumerate(hostile, start=1):
        yield message
        if place % _GOOD_AFTER == 0:
            yield goods[place // _GOOD_AFTER - 1]


def _answer(topic: Topic, item: Item) -> tuple[str, str]:
    told_by, key = _ANSWERS[topic]
    return told_by, getattr(item.request, key)


def _told(world: World) -> Counter[tuple[str, str]]:
    """Count the answers that came to requests of companies that nobody registered."""
    return Counter(
        (told_by, record.data[key]) for told_by, key in _ANSWERS.values() for record in world.events.records(told_by)
    )
