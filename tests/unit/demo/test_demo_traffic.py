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
from worker.demo.companies import found_companies, with_automatic_claims
from worker.demo.messages import write_messages
from worker.demo.traffic import KINDS, Sent, Traffic, plan_traffic

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
