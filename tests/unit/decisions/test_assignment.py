"""The decision which request gets which number: never two for one, never one twice, in the order of arrival."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import date, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from db.records import KnownRequest, StockKey
from schemas.reasons import Reason
from tests.support.core.deciding import NOW, STOCK, TAXPAYERS, TODAY, asked, decided, known, shelf
from worker.decisions.assignment import Asked, Assigned, Decisions, Known, decide
from worker.decisions.shelf import Shelf

NAMED = "26447000000000000500"


def crossings(decisions: Decisions, shelves: Mapping[StockKey, Shelf]) -> dict[StockKey, tuple[str, str]]:
    """Give the levels that the touched stocks came down to, with who was the last to touch them."""
    return {
        key: (crossing, organization)
        for key, organization in decisions.touched.items()
        if (crossing := shelves[key].crossing) is not None
    }


def test_each_request_gets_the_next_number() -> None:
    decisions = decided(asked("R2"), asked("R1"))

    assert [(each.asked.key.issue_request_id, each.taken.sequence) for each in decisions.assigned] == [
        ("R2", 1),
        ("R1", 2),
    ]


def test_the_same_request_twice_is_answered_twice_with_one_number() -> None:
    decisions = decided(asked("R1"), asked("R1", position=1))

    assert len(decisions.assigned) == 1
    assert [each.before for each in decisions.repeated] == decisions.assigned


def test_a_request_that_holds_a_number_is_answered_again() -> None:
    before = known("R1", "assigned")

    decisions = decided(asked("R1"), before=before)

    assert [each.before for each in decisions.repeated] == [before]
    assert decisions.assigned == []


def test_a_number_in_doubt_is_told_to_who_was_told_it_before_and_to_nobody_else() -> None:
    in_doubt = replace(known("R1", "assigned"), in_doubt=True)
    copy, again = asked("R1"), asked("R1", message="again")
    # Their names come before and after the one that was answered.
    anew = [asked("R1", message="#anew"), asked("R1", message="anew")]
    others = {(asked("R2").key, each.message) for each in anew}
    answered = frozenset({(again.key, again.message), (again.key, "another")} | others)

    def decide_on(each: Asked) -> Decisions:
        return decide([each], Known({each.key: in_doubt}, answered), {STOCK: shelf(10)}, TODAY)

    for each in (copy, again):
        assert [repeated.before for repeated in decide_on(each).repeated] == [in_doubt]
    for each in anew:
        [refused] = decide_on(each).refused
        assert (refused.reason, decide_on(each).assigned, decide_on(each).repeated) == (Reason.RESTORED, [], [])
    [conflict] = decide_on(asked("R1", message="anew", kind="red")).refused
    assert conflict.reason is Reason.CONFLICTING_REQUEST


def test_a_request_that_waits_is_neither_answered_nor_queued_again() -> None:
    again = asked("R1")

    assert decided(again, before=known("R1", "waiting")) == Decisions(waiting_again=[again])


def test_a_closed_request_is_judged_anew() -> None:
    assert len(decided(asked("R1"), before=known("R1", "closed", kind="red")).assigned) == 1


def test_other_content_is_a_conflict_and_takes_no_number() -> None:
    variants = [
        asked("R1", organization="B"),
        asked("R1", organization="0"),
        asked("R1", kind="red"),
        asked("R1", kind="a"),
        asked("R1", day=TODAY + timedelta(days=1)),
        asked("R1", day=TODAY - timedelta(days=1)),
        asked("R1", number="26447000000000000001"),
    ]

    decisions = decided(asked("R1"), *variants)

    assert [each.reason for each in decisions.refused] == [Reason.CONFLICTING_REQUEST] * len(variants)
    assert len(decisions.assigned) == 1


def test_a_conflict_does_not_change_what_the_key_stands_for() -> None:
    decisions = decided(asked("R1"), asked("R1", kind="red"), asked("R1"))

    assert (len(decisions.assigned), len(decisions.refused), len(decisions.repeated)) == (1, 1, 1)


def test_a_named_number_is_refused_and_does_not_take_the_key() -> None:
    decisions = decided(asked("R1", number="26447000000000000001"), asked("R1"))

    assert [each.reason for each in decisions.refused] == [Reason.NUMBER_NOT_AVAILABLE]
    assert len(decisions.assigned) == 1


def test_the_last_number_exhausts_the_stock_for_who_took_it() -> None:
    shelves = {STOCK: shelf(2)}

    decisions = decide([asked("R1"), asked("R2", organization="B")], Known({}), shelves, TODAY)

    assert crossings(decisions, shelves) == {STOCK: ("exhausted", "B")}


def test_a_stock_that_never_had_any_is_exhausted_by_who_waits_for_it() -> None:
    shelves = {STOCK: shelf(0, level="new")}

    decisions = decide([asked("R1", organization="B")], Known({}), shelves, TODAY)

    assert crossings(decisions, shelves) == {STOCK: ("exhausted", "B")}


def test_a_stock_that_is_exhausted_already_is_not_exhausted_again() -> None:
    shelves = {STOCK: shelf(0, level="exhausted")}

    decisions = decide([asked("R1")], Known({}), shelves, TODAY)

    assert (crossings(decisions, shelves), len(decisions.waiting)) == ({}, 1)


def test_a_stock_is_low_for_who_took_it_there() -> None:
    shelves = {STOCK: shelf(4, low_at=2)}

    decisions = decide([asked("R1"), asked("R2", organization="B")], Known({}), shelves, TODAY)

    assert crossings(decisions, shelves) == {STOCK: ("low", "B")}


def test_a_refusal_exhausts_nothing() -> None:
    decisions = decided(asked("R1", day=date(2025, 12, 31)), asked("R2", number=NAMED), stock=0)

    assert (len(decisions.refused), decisions.touched) == (2, {})


def test_a_repetition_exhausts_nothing() -> None:
    decisions = decided(asked("R1"), before=known("R1", "assigned"), stock=0)

    assert (len(decisions.repeated), decisions.touched) == (1, {})


def test_without_stock_the_date_decides_on_both_sides_of_new_year() -> None:
    def outcome(day: date, today: date) -> str:
        decisions = decided(asked(day=day), stock=0, today=today)
        return "waits" if decisions.waiting else decisions.refused[0].reason.value

    last, first = date(2026, 12, 31), date(2027, 1, 1)
    assert outcome(last, last) == "waits"
    assert outcome(first, last) == "waits"
    assert outcome(date(2027, 1, 2), last) == "issue-date-out-of-year"
    assert outcome(first, date(2026, 12, 30)) == "issue-date-out-of-year"
    assert outcome(last, first) == "issue-date-out-of-year"
    assert outcome(first, first) == "waits"
    assert outcome(date(2027, 12, 31), first) == "waits"
    assert outcome(date(2028, 1, 1), first) == "issue-date-out-of-year"


def test_with_stock_no_date_is_refused() -> None:
    days = [date(2025, 1, 1), date(2026, 1, 1), date(2026, 12, 31), date(2028, 12, 31)]

    decisions = decided(*[asked(f"R{n}", day=day) for n, day in enumerate(days)])

    assert [each.asked.issue_date for each in decisions.assigned] == days


DAYS = st.sampled_from([date(2025, 12, 31), date(2026, 1, 1), TODAY, date(2026, 12, 31), date(2027, 1, 1)])
REQUESTS = st.lists(
    st.builds(
        asked,
        st.sampled_from([f"R{n}" for n in range(8)]),
        taxpayer=st.sampled_from(TAXPAYERS),
        day=DAYS,
        kind=st.sampled_from(["blue", "red"]),
        number=st.sampled_from([None, None, None, "26447000000000000001"]),
    ),
    max_size=40,
)


@given(REQUESTS, st.integers(0, 12), st.sampled_from([TODAY, date(2026, 12, 31), date(2027, 1, 1)]))
def test_whatever_comes_numbers_and_requests_pair_off(requests: list[Asked], stock: int, today: date) -> None:
    decisions = decided(*requests, stock=stock, today=today)

    numbers = Counter((each.taken.range_id, each.taken.sequence) for each in decisions.assigned)
    requests_served = Counter(each.asked.key for each in decisions.assigned)
    assert set(numbers.values()) <= {1}
    assert set(requests_served.values()) <= {1}


@given(REQUESTS, st.integers(0, 12))
def test_whatever_comes_every_request_has_one_outcome_or_waits_already(requests: list[Asked], stock: int) -> None:
    decisions = decided(*requests, stock=stock)

    outcomes = [each.asked for each in decisions.assigned]
    outcomes += [each.asked for each in decisions.repeated]
    outcomes += [each.asked for each in decisions.refused]
    queued = set(map(id, decisions.waiting))
    answered = Counter(map(id, outcomes))
    for request in requests:
        waits = id(request) in queued or any(
            each.key == request.key and each.kind == request.kind and each.issue_date == request.issue_date
            for each in decisions.waiting
        )
        assert answered[id(request)] == 1 or (answered[id(request)] == 0 and waits)


@given(REQUESTS, st.integers(0, 12))
def test_whatever_comes_nobody_gets_a_number_after_somebody_waits_for_the_stock(
    requests: list[Asked],
    stock: int,
) -> None:
    decisions = decided(*requests, stock=stock)

    places = {id(request): place for place, request in enumerate(requests)}
    for waiting in decisions.waiting:
        later = [each for each in decisions.assigned if places[id(each.asked)] > places[id(waiting)]]
        assert all(each.asked.stock_key != waiting.stock_key for each in later)


@given(REQUESTS, st.integers(0, 12))
def test_whatever_comes_numbers_are_given_in_the_order_of_arrival(requests: list[Asked], stock: int) -> None:
    decisions = decided(*requests, stock=stock)

    for key in {each.asked.stock_key for each in decisions.assigned}:
        sequences = [each.taken.sequence for each in decisions.assigned if each.asked.stock_key == key]
        assert sequences == list(range(1, len(sequences) + 1))


@given(REQUESTS, st.integers(0, 12))
def test_whatever_comes_a_number_has_the_year_of_its_requests_date(requests: list[Asked], stock: int) -> None:
    decisions = decided(*requests, stock=stock)

    assert all(each.asked.stock_key.year == each.asked.issue_date.year for each in decisions.assigned)


@given(REQUESTS, st.integers(0, 12))
def test_whatever_comes_only_an_empty_stock_is_exhausted(requests: list[Asked], stock: int) -> None:
    shelves = {each.stock_key: shelf(stock, each.stock_key) for each in requests}
    decisions = decide(requests, Known({}), shelves, TODAY)

    touched = {each.asked.stock_key for each in decisions.assigned} | {each.stock_key for each in decisions.waiting}
    assert set(decisions.touched) == touched
    assert set(crossings(decisions, shelves)) == {key for key in touched if shelves[key].remaining == 0}


@given(REQUESTS, st.integers(0, 12), st.integers(0, 40))
def test_a_batch_cut_in_two_decides_as_the_whole(requests: list[Asked], stock: int, cut: int) -> None:
    whole = decided(*requests, stock=stock)
    shelves = {each.stock_key: shelf(stock, each.stock_key) for each in requests}

    first = decide(requests[:cut], Known({}), shelves, TODAY)
    remembered = {each.asked.key: _stored(each) for each in first.assigned}
    remembered |= {each.key: _waits(each) for each in first.waiting}
    second = decide(requests[cut:], Known(remembered), shelves, TODAY)

    assert first.assigned + second.assigned == whole.assigned
    assert first.waiting + second.waiting == whole.waiting
    assert first.refused + second.refused == whole.refused


def _stored(each: Assigned) -> KnownRequest:
    return replace(
        _waits(each.asked),
        status="assigned",
        prefix=each.taken.prefix,
        sequence=each.taken.sequence,
        range_id=each.taken.range_id,
        claim_mode=each.taken.claim_mode,
        assigned_at=NOW,
        event_id=UUID(int=2),
    )


def _waits(each: Asked) -> KnownRequest:
    return KnownRequest(
        each.key,
        each.organization,
        each.issue_date,
        each.kind,
        each.number,
        "waiting",
        closed_because=None,
        prefix=None,
        sequence=None,
        range_id=None,
        claim_mode=None,
        assigned_at=None,
        event_id=None,
        message=each.message,
    )
