"""A large batch: two transactions at once, and yet each taxpayer is answered by one message, and each request once."""

import json
import threading
from collections.abc import Sequence

import pytest
from sqlalchemy.exc import TimeoutError as NoConnectionError

from tests.support.core.broker import batch_delivery, delivery
from tests.support.core.lanes import LaneOfIssuing, body, running
from tests.support.core.world import OTHER_TAXPAYER, TAXPAYER, Core
from worker.decoding import Item


def two_taxpayers(core: Core, count: int) -> list[bytes]:
    """Set up two taxpayers with stock enough for so many requests each, one with two organisations; gives these."""
    core.register("B", OTHER_TAXPAYER)
    core.register("C")
    core.fill(count + 1)
    core.fill(count + 1, taxpayer_id=OTHER_TAXPAYER)
    return [body(f"R{n}", organization="ABCB"[n % 4]) for n in range(2 * count)]


def test_a_large_batch_is_handled_on_two_threads_and_each_taxpayer_answered_by_one_message(core: Core) -> None:
    requests = two_taxpayers(core, 200)
    threads: list[tuple[str, int]] = []

    def issue(items: Sequence[Item]) -> None:
        threads.append((threading.current_thread().name, len(items)))
        lane.issue(items)

    with running(LaneOfIssuing(core, issue)) as lane:
        lane.subscription.put(batch_delivery(requests))
        lane.subscription.wait_until_acknowledged(1)

    assert sorted(threads) == [("lane-invoice-issuing", 200), ("side-invoice-issuing", 200)]
    numbers = {each.data["issue_request_id"]: each.data["invoice_number"] for each in lane.told}
    assert len(numbers) == len(set(numbers.values())) == 400
    assert sorted(message.routing_key for message in core.broker.published) == sorted(
        [f"number-assigned.{TAXPAYER}", f"number-assigned.{OTHER_TAXPAYER}"]
    )


def test_a_request_that_spoils_one_side_of_a_large_batch_is_found_and_both_sides_are_answered(core: Core) -> None:
    requests = two_taxpayers(core, 200)
    core.change("ALTER TABLE issue_requests ADD CONSTRAINT poison CHECK (issue_request_id <> 'R7')")
    try:
        with running(LaneOfIssuing(core)) as lane:
            lane.subscription.put(*[delivery(each) for each in requests])
            lane.subscription.wait_until_acknowledged(400)
    finally:
        core.change("ALTER TABLE issue_requests DROP CONSTRAINT poison")

    assert set(lane.answered) == {f"R{n}" for n in range(400)} - {"R7"}
    assert [json.loads(letter.body)["data"]["issue_request_id"] for letter in lane.dead] == ["R7"]


def test_a_database_that_does_not_tell_whose_requests_are_parts_no_batch(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = two_taxpayers(core, 200)
    tries: list[int] = []

    def away(*_: object) -> None:
        raise NoConnectionError

    def issue(items: Sequence[Item]) -> None:
        tries.append(len(items))
        lane.issue(items)

    monkeypatch.setattr("worker.composition.ask_and_commit", away)
    with running(LaneOfIssuing(core, issue)) as lane:
        lane.subscription.put(batch_delivery(requests))
        lane.subscription.wait_until_acknowledged(1)

    assert tries == [400]
    assert len(lane.answered) == 400
