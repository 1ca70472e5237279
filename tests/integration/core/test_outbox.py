"""The relay: every event is published at least once, under the same id, and leaves the outbox on its confirm."""

from collections.abc import Iterator

import pytest

from db.outbox import LEASE, take_left_behind
from schemas.topics import Topic
from tests.support.core.asked import invoice, invoices
from tests.support.core.authority import granted
from tests.support.core.world import Core, at_once, events_of
from tests.support.waiting import wait_until
from worker.broker.port import Message, Outcome


def stored(core: Core) -> int:
    return int(core.value("SELECT coalesce(sum(cardinality(message_ids)), 0) FROM outbox"))


def crash_after_committing(core: Core, requests: int) -> None:
    """Commit the answers to so many requests, each in a transaction and so a parcel of its own; publish none."""
    for request in invoices(requests):
        core.commit_without_publishing(lambda connection, request=request: core.issuing.handle(connection, [request]))  # type: ignore[misc]


@pytest.fixture
def relaying(core: Core) -> Iterator[Core]:
    """A core whose relay removes what is confirmed."""
    core.fill(100)
    core.relay.start()
    yield core
    core.relay.close(30)


def test_confirmed_messages_leave_the_outbox(relaying: Core) -> None:
    told = relaying.issue(*invoices(3))

    wait_until(lambda: stored(relaying) == 0, "an empty outbox")
    assert len(told) == 3


def test_messages_are_in_the_outbox_before_they_are_published(core: Core) -> None:
    core.fill(5)
    seen: list[int] = []

    def count(_: Message) -> Outcome:
        seen.append(stored(core))
        return Outcome.CONFIRMED

    core.broker.outcome = count
    core.issue(*invoices(2))

    assert seen == [2, 2]


def test_an_event_that_nobody_is_bound_for_is_counted_and_let_go(relaying: Core) -> None:
    relaying.broker.outcome = lambda _: Outcome.UNROUTABLE
    relaying.issue(*invoices(3))

    wait_until(lambda: stored(relaying) == 0, "an empty outbox")
    counted = relaying.metrics.registry.get_sample_value("fuma_events_unroutable_total")
    assert counted == 3


def test_a_message_without_a_confirm_is_published_again_under_its_id(relaying: Core) -> None:
    relaying.broker.outcome = lambda _: Outcome.UNKNOWN
    first = relaying.issue(invoice("R1"))
    # Given back: due at once, although its lease would last for half a minute.
    wait_until(
        lambda: bool(relaying.rows("SELECT 1 FROM outbox WHERE publish_after <= :now", now=relaying.clock.now())),
        "the message to be given back",
    )

    relaying.broker.outcome = lambda _: Outcome.CONFIRMED
    relaying.relay.sweep()

    assert relaying.told() == first
    wait_until(lambda: stored(relaying) == 0, "an empty outbox")


def test_a_lost_confirm_of_one_message_is_not_one_of_its_neighbours(relaying: Core) -> None:
    lost = {"R2"}

    def outcome(message: Message) -> Outcome:
        asked = events_of(message)[0].data["issue_request_id"]
        return Outcome.UNKNOWN if asked in lost else Outcome.CONFIRMED

    relaying.broker.outcome = outcome
    relaying.issue(*invoices(3))
    wait_until(lambda: stored(relaying) == 1, "only the one without a confirm")
    lost.clear()
    relaying.relay.sweep()

    assert [each.data["issue_request_id"] for each in relaying.told()] == ["R2"]


def test_a_crash_before_publishing_is_made_up_for_by_the_sweep_with_the_same_events(relaying: Core) -> None:
    relaying.commit_without_publishing(lambda connection: relaying.issuing.handle(connection, invoices(3)))
    assert relaying.told() == []

    relaying.relay.sweep()
    assert relaying.told() == []
    relaying.clock.set(relaying.clock.now() + LEASE)
    relaying.relay.sweep()
    swept = relaying.told()

    assert [each.data["issue_request_id"] for each in swept] == ["R1", "R2", "R3"]
    assert relaying.issue(*invoices(3)) == swept


def test_two_sweepers_share_what_was_left_behind(core: Core, second: Core) -> None:
    core.fill(2000)
    for part in range(6):
        core.commit_without_publishing(
            lambda connection, part=part: core.issuing.handle(connection, invoices(100, prefix=f"P{part}-")),  # type: ignore[misc]
        )
    core.clock.set(core.clock.now() + LEASE)

    at_once(core.relay.sweep, second.relay.sweep, core.relay.sweep, second.relay.sweep)

    told = core.told()
    assert len(told) == len({each.id for each in told}) == 600


def test_what_one_sweeper_took_is_nobody_elses_until_its_lease_ends(core: Core) -> None:
    core.fill(10)
    crash_after_committing(core, 3)
    core.clock.set(core.clock.now() + LEASE)
    with core.engine.begin() as connection:
        assert len(take_left_behind(connection, now=core.clock.now(), most=10)) == 3

    core.relay.sweep()
    assert core.told() == []
    core.clock.set(core.clock.now() + LEASE)
    core.relay.sweep()

    assert len(core.told()) == 3


def test_a_sweeper_passes_by_what_another_holds(core: Core) -> None:
    core.fill(10)
    crash_after_committing(core, 3)
    core.clock.set(core.clock.now() + LEASE)

    with core.engine.begin() as connection:
        assert len(take_left_behind(connection, now=core.clock.now(), most=2)) == 2
        core.relay.sweep()

    assert len(core.told()) == 1


def test_a_sweep_goes_on_until_nothing_is_left(core: Core) -> None:
    core.fill(2000)
    for part in range(50):
        core.commit_without_publishing(
            lambda connection, part=part: core.issuing.handle(connection, invoices(24, prefix=f"P{part}-")),  # type: ignore[misc]
        )
    core.clock.set(core.clock.now() + LEASE)

    core.relay.sweep()

    assert len(core.told()) == 1200


def test_a_transaction_that_fails_publishes_nothing(core: Core) -> None:
    core.fill(10)

    with pytest.raises(ZeroDivisionError):
        core.transactions.run(lambda connection: [core.issuing.handle(connection, [invoice()])[1 // 0]])

    assert core.told() == []
    assert stored(core) == 0
    assert core.value("SELECT next_sequence - first_sequence FROM ranges") == 0


def test_closing_waits_for_the_confirms_and_removes_what_they_confirm(core: Core) -> None:
    core.fill(10)
    core.relay.start()
    core.issue(*invoices(5))

    assert core.relay.close(30)
    assert stored(core) == 0


def test_events_of_a_claim_survive_a_crash_too(core: Core) -> None:
    core.issue(invoice("R1"))
    core.change("TRUNCATE outbox")
    core.look_for_claimless_stocks()
    [claim] = core.undecided_claims()

    core.commit_without_publishing(lambda connection: core.settling.settle(connection, claim, granted(1, 1000)))
    core.clock.set(core.clock.now() + LEASE)
    core.relay.sweep()

    told = core.told()
    assert [each.topic for each in told] == [Topic.RANGE_CLAIMED, Topic.NUMBER_ASSIGNED]


def test_a_sweep_ends_although_the_broker_refuses_everything(core: Core) -> None:
    core.fill(2000)
    for part in range(30):
        core.commit_without_publishing(
            lambda connection, part=part: core.issuing.handle(connection, invoices(20, prefix=f"P{part}-")),  # type: ignore[misc]
        )
    core.clock.set(core.clock.now() + LEASE)

    def refuse(_: Message) -> Outcome:
        assert len(core.broker.published) < 3000, "the sweep publishes the same messages again and again"
        if len(core.broker.published) % 400 == 0:
            # As the remover does for whatever has no confirm.
            core.clock.advance(milliseconds=1)
            core.change("UPDATE outbox SET publish_after = :now", now=core.clock.now())
        return Outcome.UNKNOWN

    core.broker.outcome = refuse
    core.relay.sweep()

    assert stored(core) == 600


def test_a_transaction_that_tells_much_leaves_several_parcels(core: Core) -> None:
    core.fill(2000)
    core.commit_without_publishing(lambda connection: core.issuing.handle(connection, invoices(1200)))
    assert core.rows("SELECT cardinality(message_ids) FROM outbox ORDER BY outbox_id") == [(1000,), (200,)]
    core.clock.set(core.clock.now() + LEASE)

    core.relay.sweep()

    assert [each.data["issue_request_id"] for each in core.told()] == [f"R{n}" for n in range(1, 1201)]
