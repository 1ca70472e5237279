"""Issuing by several workers at once: never one number twice, never two numbers for one request."""

from functools import partial

from db.issue_requests import RequestTakenError
from schemas.topics import Topic
from tests.support.core.asked import invoice
from tests.support.core.world import OTHER_TAXPAYER, Core, Told, at_once, of
from worker.decoding import Item


def persistently(core: Core, items: list[Item]) -> list[Told]:
    """Handle a batch as a lane does: again when another worker stored one of its requests meanwhile."""
    while True:
        try:
            core.transactions.run(lambda connection: core.issuing.handle(connection, items))
        except RequestTakenError:
            continue
        return []


def numbers_by_request(told: list[Told]) -> dict[tuple[str, str], set[str]]:
    found: dict[tuple[str, str], set[str]] = {}
    for each in of(Topic.NUMBER_ASSIGNED, told):
        key = (each.data["taxpayer_id"], each.data["issue_request_id"])
        found.setdefault(key, set()).add(each.data["invoice_number"])
    return found


def test_workers_on_one_taxpayer_share_out_its_numbers(core: Core) -> None:
    core.fill(400)
    batches = [[invoice(f"W{worker}-{n}") for n in range(25)] for worker in range(4)]

    at_once(*[partial(persistently, core, batch) for batch in batches])

    found = numbers_by_request(core.told())
    assert len(found) == 100
    assert len(set.union(*found.values())) == 100
    assert core.value("SELECT next_sequence - first_sequence FROM ranges") == 100


def test_workers_on_the_same_taxpayers_in_opposite_order_do_not_block_each_other_for_ever(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(200)
    core.fill(200, taxpayer_id=OTHER_TAXPAYER)
    orders = [("A", "B"), ("B", "A")] * 3
    batches = [
        [invoice(f"W{worker}-{n}", organization=organization) for organization in order for n in range(10)]
        for worker, order in enumerate(orders)
    ]

    at_once(*[partial(persistently, core, batch) for batch in batches])

    found = numbers_by_request(core.told())
    assert len(found) == 120
    assert all(len(numbers) == 1 for numbers in found.values())


def test_the_same_batch_by_several_workers_at_once_is_answered_alike(core: Core, second: Core) -> None:
    core.fill(200)
    batch = [invoice(f"R{n}") for n in range(20)]

    at_once(*[partial(persistently, worker, batch) for worker in (core, second, core, second)])

    told = core.told()
    assert len(told) == 4 * 20
    assert len({each.id for each in told}) == 20
    assert all(len(numbers) == 1 for numbers in numbers_by_request(told).values())
    assert core.value("SELECT count(*) FROM numbers") == 20


def test_the_same_batch_at_once_without_stock_waits_once(core: Core, second: Core) -> None:
    batch = [invoice(f"R{n}") for n in range(10)]

    at_once(*[partial(persistently, worker, batch) for worker in (core, second, core, second)])

    assert [each.topic for each in core.told()] == [Topic.RANGE_EXHAUSTED]
    assert core.value("SELECT count(*) FROM issue_requests WHERE status = 'waiting'") == 10


def test_the_same_request_at_once_in_two_years_gets_one_answer_and_one_conflict(core: Core, second: Core) -> None:
    # Two stocks, so no common lock: the request's own key decides.
    core.fill(50, year=2026)
    core.fill(50, year=2027, first=900_000)
    dates = ["2026-11-23", "2027-01-01"]
    batches = [[invoice(f"R{n}", issue_date=day) for n in range(10)] for day in dates]

    at_once(*[partial(persistently, *each) for each in zip((core, second), batches, strict=True)])

    told = core.told()
    assert len(of(Topic.NUMBER_ASSIGNED, told)) == 10
    assert [each.data["reason"] for each in of(Topic.NUMBER_REFUSED, told)] == ["conflicting-request"] * 10
    assert core.value("SELECT sum(next_sequence - first_sequence) FROM ranges") == 10


def test_issuing_while_a_grant_arrives_keeps_the_order_of_the_queue(core: Core, second: Core) -> None:
    core.issue(*[invoice(f"R{n}") for n in range(20)])
    core.look_for_claimless_stocks()
    late = [[invoice(f"L{worker}-{n}") for n in range(10)] for worker in range(3)]

    at_once(
        lambda: core.calls.call_due() and None,
        *[partial(persistently, second, batch) for batch in late],
    )
    core.calls.close(30)

    told = of(Topic.NUMBER_ASSIGNED, core.told())
    first_twenty = sorted(told, key=lambda each: str(each.data["invoice_number"]))[:20]
    assert {each.data["issue_request_id"] for each in first_twenty} == {f"R{n}" for n in range(20)}
    assert len(told) == 50
