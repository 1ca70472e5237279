"""Batches out of what has come: by size, by bytes, by age, and never across two channels."""

import threading

from worker.broker import read_ahead
from worker.broker.port import Delivery
from worker.broker.read_ahead import ReadAhead


def delivery(tag: int, body: bytes = b"x") -> Delivery:
    return Delivery(tag, body, None, None, {}, "key", None, redelivered=False)


def filled(count: int, body: bytes = b"x") -> ReadAhead:
    ahead = ReadAhead()
    for tag in range(1, count + 1):
        ahead.put(ahead.generation, [delivery(tag, body)])
    return ahead


def tags(ahead: ReadAhead, *, size: int = 100, age: float = 0.0) -> list[int] | None:
    batch = ahead.take(size=size, age=age, wait=0.0)
    return None if batch is None else [each.tag for each in batch.deliveries]


def test_a_batch_holds_at_most_its_size_and_the_rest_waits() -> None:
    ahead = filled(5)

    assert [tags(ahead, size=3), tags(ahead, size=3), tags(ahead, size=3)] == [[1, 2, 3], [4, 5], None]


def test_a_full_batch_does_not_wait_to_grow_old() -> None:
    assert tags(filled(3), size=3, age=3600.0) == [1, 2, 3]


def test_a_batch_closes_on_its_bytes_but_never_without_a_delivery() -> None:
    half = b"x" * (read_ahead.BATCH_BYTES // 2)
    large = b"x" * (read_ahead.BATCH_BYTES * 2)

    assert tags(filled(5, half), age=3600.0) == [1, 2]
    assert tags(filled(2, large), age=3600.0) == [1]


def test_bytes_end_the_wait_for_more_messages() -> None:
    ahead = filled(1, b"x" * (read_ahead.BATCH_BYTES - 1))
    taken: list[list[int] | None] = []
    taker = threading.Thread(target=lambda: taken.append(tags(ahead, age=3600.0)))
    taker.start()

    ahead.put(ahead.generation, [delivery(2, b"xx")])
    taker.join(20.0)

    assert taken == [[1, 2]]


def test_it_tells_the_bytes_that_wait() -> None:
    ahead = ReadAhead()

    assert [ahead.put(1, [delivery(tag, b"xxx")]) for tag in (1, 2)] == [3, 6]
    assert tags(ahead, size=1) == [1]
    assert ahead.put(1, [delivery(3, b"x")]) == 4


def test_what_comes_late_from_a_void_channel_does_not_get_in() -> None:
    ahead = filled(2)

    assert ahead.void(1)
    assert not ahead.void(1)
    ahead.put(1, [delivery(3)])
    assert tags(ahead) is None
    ahead.put(2, [delivery(1)])
    batch = ahead.take(size=10, age=0.0, wait=0.0)
    assert batch is not None
    assert batch.generation == 2
    assert [each.tag for each in batch.deliveries] == [1]


def test_a_batch_that_was_filling_when_its_channel_ended_begins_anew() -> None:
    ahead = filled(1)
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.append(ahead.take(size=2, age=3600.0, wait=20.0)))
    taker.start()

    ahead.void(1)
    ahead.put(2, [delivery(1, b"new")])
    ahead.put(2, [delivery(2, b"new")])
    taker.join(20.0)

    (batch,) = taken
    assert batch is not None
    assert batch.generation == 2  # type: ignore[attr-defined]
    assert [each.body for each in batch.deliveries] == [b"new", b"new"]  # type: ignore[attr-defined]


def test_closing_drops_everything_for_good() -> None:
    ahead = filled(2)

    ahead.close()

    assert ahead.put(1, [delivery(3)]) == 0
    assert ahead.take(size=1, age=0.0, wait=3600.0) is None
