"""The benchmark's arithmetic, by examples that can be reckoned by hand."""

import pytest

from bench.check import Answers, WrongAnswersError
from bench.figures import Sample, intended, percentile, spread, steady_rate
from bench.load import BATCH_SIZE, Form, Load


def test_a_rate_counts_from_a_tenth_to_the_end() -> None:
    samples = [Sample(0, 0), Sample(5, 5), Sample(6, 10), Sample(7, 40), Sample(8, 90), Sample(9, 100), Sample(20, 100)]
    rate, began, ended = steady_rate(samples, 100)
    assert (began, ended) == (Sample(6, 10), Sample(9, 100))
    assert rate == 30


@pytest.mark.parametrize(
    "samples",
    [[], [Sample(0, 0), Sample(1, 50)], [Sample(0, 0), Sample(1, 100)]],
    ids=["none", "not finished", "all at once"],
)
def test_a_rate_of_too_little_is_refused(samples: list[Sample]) -> None:
    with pytest.raises(ValueError, match="too few samples"):
        steady_rate(samples, 100)


def test_a_percentile_is_a_value_that_was_measured() -> None:
    values = [float(value) for value in range(1, 1001)]
    assert [percentile(values[::-1], share) for share in (0.5, 0.99, 0.999, 1.0)] == [500, 990, 999, 1000]
    assert percentile([7.0], 0.5) == percentile([7.0], 0.999) == 7
    assert percentile([1.0, 2.0, 3.0, 100.0], 0.99) == 100


def test_a_spread_is_a_share_of_the_median() -> None:
    assert spread([90, 100, 120]) == pytest.approx(0.3)
    assert spread([100]) == 0


def test_an_open_loop_keeps_to_its_schedule_whatever_happens() -> None:
    assert [intended(number, 10.0, 4.0) for number in (0, 1, 4, 40)] == [10, 10.25, 11, 20]


@pytest.mark.parametrize("form", Form)
def test_every_form_carries_the_same_requests(form: Form) -> None:
    load = Load(1000, 20, form)
    bodies = [message.body for message in load.messages()]
    joined = b",".join(body.strip(b"[]") for body in bodies)
    assert [f'"issue_request_id":"INV-{number:09d}"'.encode() in joined for number in range(1000)] == [True] * 1000
    assert len(bodies) == (1000 if form is Form.SINGLE else 1000 // BATCH_SIZE)
    assert 350 < len(next(load.requests())) < 450
    assert load.number_of(load.request_id(123)) == 123


def test_a_batch_of_one_taxpayer_is_answered_by_one_message_and_a_mixed_one_by_one_for_each() -> None:
    assert Load(1000, 20).answers == 1000
    assert Load(1000, 20, Form.BATCH).answers == 10
    assert Load(1000, 20, Form.MIXED).answers == 200
    first = Load(1000, 20, Form.BATCH).messages()[3].body
    assert first.count(b"ORG-00003") == BATCH_SIZE


def _answer(load: Load, number: int, invoice_number: str) -> bytes:
    data = f'{{"issue_request_id": "{load.request_id(number)}", "invoice_number": "{invoice_number}"}}'
    return f'{{"data": {data}}}'.encode()


def test_the_check_accepts_one_number_each_also_twice_told() -> None:
    load = Load(3)
    answers = Answers()
    answers.add(b"[" + _answer(load, 0, "2" * 20) + b"," + _answer(load, 1, "3" * 20) + b"]")
    answers.add(_answer(load, 2, "4" * 20))
    answers.add(_answer(load, 2, "4" * 20))
    answers.insist(load)


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ([(0, "2")], "without an answer"),
        ([(0, "2"), (1, "2")], "more than one request"),
        ([(0, "2"), (1, "3"), (1, "4")], "more than one number"),
        ([(0, "2"), (1, "3"), (2, "4")], "nobody made"),
        ([(0, "2"), (1, "x")], "are none"),
    ],
)
def test_the_check_notices_what_is_wrong(told: list[tuple[int, str]], fault: str) -> None:
    answers = Answers()
    for number, digit in told:
        answers.add(_answer(Load(2), number, digit * 20))
    with pytest.raises(WrongAnswersError, match=fault):
        answers.insist(Load(2))


def test_the_check_knows_the_numbers_given_out_before() -> None:
    answers = Answers()
    answers.add(_answer(Load(1), 0, "2" * 20))
    with pytest.raises(WrongAnswersError, match="more than one request"):
        answers.insist(Load(1), before=["2" * 20])
