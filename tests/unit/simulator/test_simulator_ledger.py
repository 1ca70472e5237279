"""Grants as they should be, and each of the ways in which they shouldn't."""

from datetime import datetime

import pytest

from worker.leqi.simulator_clock import SHANGHAI
from worker.leqi.simulator_ledger import Ledger, Making
from worker.leqi.simulator_numbers import Span
from worker.leqi.simulator_records import Grant, Order, Shape

NOW = datetime(2026, 7, 1, tzinfo=SHANGHAI)
SHENZHEN = "91440300587908164C"
SHENZHEN_TOO = "91440300MA5EXAMPLE"
BEIJING = "91110000101623741K"


def order(serial: str, taxpayer_id: str = SHENZHEN, quantity: int = 100, channel: str = "70") -> Order:
    return Order(
        environment="sandbox",
        channel=channel,
        taxpayer_id=taxpayer_id,
        quantity=quantity,
        business_serial=serial,
    )


def grant(
    ledger: Ledger, an_order: Order, shape: Shape = Shape.WHOLE, fraction: float = 0.5, now: datetime = NOW
) -> Grant:
    made = ledger.draft(an_order, Making(shape=shape, fraction=fraction, now=now))
    ledger.enter(made)
    return made


def span_of(made: Grant) -> Span:
    return Span.between(made.first_number, made.last_number)


def test_a_whole_grant() -> None:
    made = grant(Ledger(), order("S1", quantity=5000))
    assert made.first_number[:6] == made.last_number[:6] == "269570"
    assert int(made.last_number) - int(made.first_number) + 1 == 5000
    assert made.quantity == 5000
    assert made.shape is Shape.WHOLE
    assert made.claimed_at == "2026-07-01T00:00:00+08:00"


@pytest.mark.parametrize("channel", ["70", "71", "72"])
def test_the_channel_is_the_capability_s(channel: str) -> None:
    assert grant(Ledger(), order("S1", channel=channel)).first_number[4:6] == channel


def test_the_year_is_the_clock_s() -> None:
    made = grant(Ledger(), order("S1"), now=datetime(2027, 1, 1, tzinfo=SHANGHAI))
    assert made.first_number.startswith("27")


def test_a_ledger_counts_how_often_a_grant_was_asked() -> None:
    ledger = Ledger()
    grant(ledger, order("S1"))
    assert ledger.times_asked("S1") == 1
    ledger.enter_asked("S1")
    assert ledger.times_asked("S1") == 2


@pytest.mark.parametrize("fraction", [0.0, 0.5, 0.999999])
@pytest.mark.parametrize("quantity", [2, 3, 5000])
def test_a_short_grant_has_fewer_numbers(quantity: int, fraction: float) -> None:
    made = grant(Ledger(), order("S1", quantity=quantity), Shape.SHORT, fraction)
    assert made.shape is Shape.SHORT
    assert 1 <= made.quantity < quantity
    assert int(made.last_number) - int(made.first_number) + 1 == made.quantity


def test_a_single_number_can_not_come_short() -> None:
    made = grant(Ledger(), order("S1", quantity=1), Shape.SHORT)
    assert (made.shape, made.quantity) == (Shape.WHOLE, 1)


def test_a_wrong_year_is_two_off_on_either_side() -> None:
    ledger = Ledger()
    early = grant(ledger, order("S1"), Shape.WRONG_YEAR, 0.0)
    late = grant(ledger, order("S2"), Shape.WRONG_YEAR, 0.9)
    assert early.first_number[:6] == "249570"
    assert late.first_number[:6] == "289570"
    assert early.quantity == late.quantity == 100


def test_a_wrong_channel_is_that_of_another_mode() -> None:
    ledger = Ledger()
    prefixes = {grant(ledger, order(f"S{n}"), Shape.WRONG_CHANNEL, n / 10).first_number[:6] for n in range(10)}
    assert prefixes == {"269571", "269572"}


def test_wrong_numbers_are_never_granted_again_as_right_ones() -> None:
    ledger = Ledger()
    wrong = grant(ledger, order("S1"), Shape.WRONG_CHANNEL, 0.0)
    right = grant(ledger, order("S2", channel="71"))
    assert right.first_number[:6] == wrong.first_number[:6]
    assert not span_of(wrong).meets(span_of(right))


def test_the_first_grant_of_all_can_not_overlap() -> None:
    assert grant(Ledger(), order("S1"), Shape.OVERLAPPING).shape is Shape.WHOLE


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.7, 0.999999])
@pytest.mark.parametrize("quantity", [1, 100, 5000])
def test_an_overlapping_grant_is_wrong_in_nothing_else(quantity: int, fraction: float) -> None:
    ledger = Ledger()
    mine = grant(ledger, order("S1"))
    grant(ledger, order("S2", SHENZHEN_TOO))
    bad = grant(ledger, order("S3", quantity=quantity), Shape.OVERLAPPING, fraction)
    assert bad.shape is Shape.OVERLAPPING
    assert span_of(bad).meets(span_of(mine))
    assert bad.quantity == quantity
    assert int(bad.last_number) - int(bad.first_number) + 1 == quantity


def test_an_overlapping_grant_prefers_the_taxpayer_then_the_prefix() -> None:
    ledger = Ledger()
    far = grant(ledger, order("S1", BEIJING))
    first = grant(ledger, order("S2"), Shape.OVERLAPPING)
    assert span_of(first).meets(span_of(far))
    near = grant(ledger, order("S3", SHENZHEN_TOO))
    second = grant(ledger, order("S4", "91440300NEWCOMER00"), Shape.OVERLAPPING)
    assert span_of(second).meets(span_of(near))
    own = grant(ledger, order("S5", SHENZHEN_TOO, channel="71"))
    third = grant(ledger, order("S6", SHENZHEN_TOO, channel="71"), Shape.OVERLAPPING)
    assert span_of(third).meets(span_of(own))


def test_whole_grants_after_an_overlap_are_clean() -> None:
    ledger = Ledger()
    earlier = [grant(ledger, order("S1", quantity=10))]
    earlier.append(grant(ledger, order("S2", quantity=5000), Shape.OVERLAPPING, 0.9))
    made = grant(ledger, order("S3"))
    assert not any(span_of(made).meets(span_of(other)) for other in earlier)
