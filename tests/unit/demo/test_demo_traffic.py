"""The demo's traffic: repeatable, complete, and in an order that lets every expectation hold."""

import random
from collections import Counter
from datetime import date

import pytest

from schemas.cloudevents import Unreadable as NotRead
from schemas.cloudevents import read_message
from schemas.organizations import check_agreement
from schemas.reasons import Reason
from schemas.requests import Refusal, read_request
from schemas.taxpayer_id import usci_warning
from schemas.topics import Topic, event_type
from schemas.vocabulary import ChannelMode, Environment
from worker.demo.companies import calm_company, found_companies, with_automatic_claims
from worker.demo.hand import LATER, plan_hand_work
from worker.demo.messages import write_messages, write_requests
from worker.demo.traffic import KINDS, Sent, Traffic, plan_traffic
from worker.demo.uploads import Fate, draw_fates, first_report, refused_reports

TODAY = date(2026, 3, 4)


def dice_of(seed: int) -> random.Random:
    return random.Random(seed)


def plan(*, invoices: int = 1000, companies: int = 6, seed: int = 1, today: date = TODAY) -> Traffic:
    dice = dice_of(seed)
    return plan_traffic(found_companies(companies, invoices, dice), invoices, today, dice)


@pytest.mark.parametrize("invoices", [1, 2, 19, 20, 21, 300, 5000])
@pytest.mark.parametrize("companies", [1, 2, 3, 6, 30])
def test_there_are_as_many_distinct_requests_as_invoices(invoices: int, companies: int) -> None:
    traffic = plan(invoices=invoices, companies=companies)
    assert len(set(traffic.asked)) == len(traffic.asked) == invoices
    assert set(traffic.sendings) == set(traffic.asked)


def test_the_same_seed_plans_the_same_and_another_seed_something_else() -> None:
    assert plan(seed=5) == plan(seed=5)
    assert plan(seed=5) != plan(seed=6)


def test_a_twentieth_is_sent_twice_half_of_it_late_and_no_request_three_times() -> None:
    traffic = plan(invoices=1000)
    assert Counter(traffic.sendings.values()) == {1: 950, 2: 50}
    assert len(traffic.late) == 25
    once = {sent.event_id for sent in (*traffic.opening, *traffic.main) if isinstance(sent, Sent)}
    copies = sum(sent.event_id in once for sent in traffic.late)
    assert 0 < copies < len(traffic.late), "some are the same message again, some a new one"


def test_every_kind_of_refusal_and_of_unreadable_message_is_there() -> None:
    traffic = plan(invoices=20)
    assert {asked.refusal for asked in traffic.asked} == {
        None,
        Reason.CONFLICTING_REQUEST,
        Reason.UNKNOWN_ORGANIZATION,
        Reason.ISSUE_DATE_OUT_OF_YEAR,
        Reason.NUMBER_NOT_AVAILABLE,
    }
    assert {each.kind for each in traffic.unreadable} == set(KINDS)


@pytest.mark.parametrize("companies", [4, 6, 7, 30])
def test_one_company_issues_at_a_calm_pace_and_only_then(companies: int) -> None:
    dice = dice_of(1)
    founded = found_companies(companies, 5000, dice)
    calm = calm_company(founded)
    assert calm is not None
    assert calm.entry.automatic_claims
    assert [company.stock for company in founded].count(calm.stock) == 1
    traffic = plan_traffic(founded, 5000, TODAY, dice)
    assert {sent.asked.organization for sent in traffic.calm} == {calm.code}
    others = [sent for sent in (*traffic.opening, *traffic.main, *traffic.late) if isinstance(sent, Sent)]
    assert {sent.asked.organization for sent in others if sent.asked.refusal is None}.isdisjoint({calm.code})


@pytest.mark.parametrize("companies", [1, 2, 3])
def test_no_company_issues_at_a_calm_pace_where_none_has_a_stock_to_itself(companies: int) -> None:
    assert calm_company(found_companies(companies, 5000, dice_of(1))) is None
    assert plan(companies=companies).calm == []


def test_by_default_the_calm_company_takes_far_more_than_one_claim() -> None:
    calm = calm_company(found_companies(6, 5000, dice_of(1)))
    assert calm is not None
    assert 0 < calm.low_at < calm.entry.claim_quantity
    assert len(plan(invoices=5000).calm) > 2 * calm.entry.claim_quantity


@pytest.mark.parametrize("seed", range(3))
def test_each_fate_befalls_some_invoices_and_most_are_uploaded(seed: int) -> None:
    asked = [each for each in plan(seed=seed).asked if each.refusal is None]
    fates = draw_fates(asked, dice_of(seed))
    assert list(fates) == asked
    assert set(fates.values()) == set(Fate)
    assert Counter(fates.values())[Fate.UPLOADED] > 0.9 * len(asked)
    assert fates == draw_fates(asked, dice_of(seed))


def test_of_few_invoices_each_is_uploaded() -> None:
    assert set(draw_fates(plan(invoices=9).asked, dice_of(1)).values()) == {Fate.UPLOADED}


def test_an_outcome_that_can_not_be_any_more_is_reported_only_of_what_was_released() -> None:
    (asked, *_) = plan().asked
    assert refused_reports({}, dice_of(1)) == []
    late, nobody = refused_reports({asked: "26447000000000000001"}, dice_of(1))
    assert {late.becomes, nobody.becomes} == {Topic.OUTCOME_REFUSED}
    assert (late.refusal, nobody.refusal) == (Reason.OUTCOME_CONFLICT, Reason.UNKNOWN_REQUEST)
    assert nobody.issue_request_id not in {each.issue_request_id for each in plan().asked}


def test_requests_of_the_other_topics_can_be_read_in_every_form() -> None:
    traffic = plan(invoices=2000)
    asked = [each for each in traffic.asked if each.refusal is None]
    reports = [first_report(each, "26447000000000000001", fate) for each, fate in draw_fates(asked, dice_of(1)).items()]
    assert traffic.by_hand is not None
    orders = plan_hand_work(traffic.by_hand, "26447000000000000001").orders
    for topic, requests in (
        (Topic.INVOICE_OUTCOME, [(report.outcome_id, report.as_data()) for report in reports]),
        (Topic.NUMBER_BINDING_REQUESTED, [(order.binding_id, order.as_data()) for order in orders]),
    ):
        messages = list(write_requests(topic, requests, dice_of(1)))
        read = [
            item
            for message in messages
            for item in read_message(message.body, message.content_type, None, message.headers).items
        ]
        assert not any(isinstance(item, NotRead) for item in read)
        events = [item for item in read if not isinstance(item, NotRead)]
        assert [event.id for event in events] == [event_id for event_id, _ in requests]
        assert {event.type for event in events} == {event_type(topic)}
        assert not any(isinstance(read_request(topic, each.data, Environment.SANDBOX), Refusal) for each in events)
        assert {message.routing_key for message in messages} == {topic.value}


def test_the_hand_has_a_number_for_each_of_its_orders() -> None:
    by_hand = plan().by_hand
    assert by_hand is not None
    work = plan_hand_work(by_hand, "26447000000000000001")
    assert work.bound != work.named
    assert {order.becomes for order in work.orders} == {
        Topic.NUMBER_BOUND,
        Topic.NUMBER_UNBOUND,
        Topic.BINDING_REFUSED,
    }
    kept = [order for order in work.orders if order.issue_request_id == LATER]
    assert [order.becomes for order in kept] == [Topic.NUMBER_BOUND]


@pytest.mark.parametrize("seed", range(5))
def test_a_conflicting_request_comes_after_the_one_whose_key_it_uses(seed: int) -> None:
    traffic = plan(seed=seed)
    order = [sent.asked for sent in (*traffic.opening, *traffic.main) if isinstance(sent, Sent)]
    conflicts = [asked for asked in traffic.asked if asked.refusal is Reason.CONFLICTING_REQUEST]
    assert conflicts
    for conflict in conflicts:
        original = next(each for each in order if each.issue_request_id == conflict.issue_request_id)
        assert original.refusal is None
        assert original.kind is not conflict.kind


@pytest.mark.parametrize("today", [date(2026, 1, 1), date(2026, 1, 5), date(2026, 12, 31)])
def test_dates_lie_in_the_present_year_up_to_today(today: date) -> None:
    for asked in plan(today=today).asked:
        if asked.refusal is Reason.ISSUE_DATE_OUT_OF_YEAR:
            assert asked.issue_date.year == today.year - 1
        else:
            assert date(today.year, 1, 1) <= asked.issue_date <= today


@pytest.mark.parametrize("number", [1, 2, 3, 6, 40])
def test_companies_may_stand_in_one_organisations_file(number: int) -> None:
    companies = found_companies(number, 5000, dice_of(1))
    assert len(companies) == number
    check_agreement(company.entry for company in companies)
    assert all(usci_warning(company.entry.taxpayer_id) is None for company in companies)
    assert len({company.stock for company in companies}) < number or number == 1
    held_back = [company for company in companies if not company.entry.automatic_claims]
    assert len(held_back) == (1 if number >= 3 else 0)
    assert all(with_automatic_claims(company).automatic_claims for company in held_back)
    if number >= 6:
        assert {company.entry.channel_mode for company in companies} == set(ChannelMode)


def test_messages_hold_what_was_planned_in_every_form() -> None:
    traffic = plan(invoices=2000)
    messages = list(write_messages(traffic.main, dice_of(1)))
    read: Counter[str] = Counter()
    refused: Counter[Reason] = Counter()
    for message in messages:
        for item in read_message(message.body, message.content_type, None, message.headers).items:
            if isinstance(item, NotRead):
                refused[item.reason] += 1
            elif item.type != event_type(Topic.INVOICE_ISSUING):
                refused[Reason.UNKNOWN_TYPE] += 1
            elif isinstance(request := read_request(Topic.INVOICE_ISSUING, item.data, Environment.SANDBOX), Refusal):
                refused[request.reason] += 1
            else:
                read[item.id] += 1
    assert read == Counter(sent.event_id for sent in traffic.main if isinstance(sent, Sent))
    assert refused == Counter(KINDS[each.kind] for each in traffic.unreadable)
    assert {message.content_type for message in messages} == {
        "application/cloudevents+json",
        "application/cloudevents-batch+json",
        "application/json",
    }
