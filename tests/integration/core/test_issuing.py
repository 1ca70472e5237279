"""Issuing: the same request gets the same answer, and whatever is judged is judged by the contract's rules 1 and 3."""

import pytest

from db.numbers import ChangedMeanwhileError
from schemas.topics import Topic
from tests.support.core.asked import invoice, invoices
from tests.support.core.clock import in_china
from tests.support.core.world import OTHER_TAXPAYER, TAXPAYER, Core, of


def test_requests_get_numbers_in_their_order(core: Core) -> None:
    numbers = core.fill(5)

    told = core.issue(*invoices(3))

    assert [(each.data["issue_request_id"], each.data["invoice_number"]) for each in told] == list(
        zip(["R1", "R2", "R3"], numbers[:3], strict=True),
    )


def test_an_answer_says_all_that_the_contract_names(core: Core) -> None:
    [number] = core.fill(1)
    range_id = str(core.value("SELECT range_id FROM ranges"))

    [assigned, _] = core.issue(invoice("R1", kind="red"))

    assert assigned.topic is Topic.NUMBER_ASSIGNED
    assert assigned.data == {
        "issue_request_id": "R1",
        "organization": "A",
        "taxpayer_id": "91350100M000100Y43",
        "invoice_number": number,
        "issue_date": "2026-11-23",
        "kind": "red",
        "range_id": range_id,
        "claim_mode": "automatic",
        "assigned_at": "2026-11-23T02:00:00.000000Z",
        "environment": "sandbox",
    }


def test_the_same_request_later_gets_the_same_event(core: Core) -> None:
    core.fill(5)
    first = core.issue(invoice("R1"))
    core.clock.advance(days=400)

    assert core.issue(invoice("R1")) == first
    assert core.value("SELECT count(*) FROM numbers") == 1


def test_the_same_request_twice_in_a_batch_gets_one_number_and_two_answers(core: Core) -> None:
    core.fill(5)

    [one, other] = core.issue(invoice("R1"), invoice("R1"))

    assert one == other
    assert core.value("SELECT next_sequence - first_sequence FROM ranges") == 1


def test_the_same_request_by_another_worker_gets_the_same_event(core: Core, second: Core) -> None:
    core.fill(5)

    assert core.issue(invoice("R1")) == second.issue(invoice("R1"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(invoice("R1", organization="B"), id="organization"),
        pytest.param(invoice("R1", issue_date="2026-11-24"), id="issue_date"),
        pytest.param(invoice("R1", kind="red"), id="kind"),
        pytest.param(invoice("R1", number="26447000000000000001"), id="number"),
    ],
)
@pytest.mark.parametrize("stocked", [True, False], ids=["assigned", "waiting"])
def test_other_content_under_the_same_key_is_a_conflict(core: Core, other: object, stocked: bool) -> None:  # noqa: FBT001
    core.register("B")
    if stocked:
        core.fill(5)
    core.issue(invoice("R1"))
    before = core.rows("SELECT * FROM issue_requests")

    [refused] = core.issue(other)  # type: ignore[arg-type]

    assert (refused.topic, refused.data["reason"]) == (Topic.NUMBER_REFUSED, "conflicting-request")
    assert core.rows("SELECT * FROM issue_requests") == before


def test_the_same_key_of_another_taxpayer_is_another_request(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(5, first=100)
    core.fill(5, first=200, taxpayer_id=OTHER_TAXPAYER)

    [one, other] = core.issue(invoice("R1"), invoice("R1", organization="B"))

    assert one.id != other.id
    assert one.data["invoice_number"] != other.data["invoice_number"]


def test_an_unknown_organization_is_refused_and_takes_nobody_along(core: Core) -> None:
    core.fill(5)

    told = core.issue(invoice("R1"), invoice("R2", organization="nobody"), invoice("R3"))

    assert {each.data["issue_request_id"]: each.topic for each in told} == {
        "R1": Topic.NUMBER_ASSIGNED,
        "R2": Topic.NUMBER_REFUSED,
        "R3": Topic.NUMBER_ASSIGNED,
    }
    [refused] = of(Topic.NUMBER_REFUSED, told)
    assert refused.data["reason"] == "unknown-organization"


@pytest.mark.parametrize(
    ("taxpayer_id", "channel_mode"), [(OTHER_TAXPAYER, "self-use"), (TAXPAYER, "joint")], ids=["taxpayer", "mode"]
)
def test_an_organization_that_draws_from_another_stock_by_now_gets_nothing_of_the_old_one(
    core: Core, taxpayer_id: str, channel_mode: str
) -> None:
    core.register("B", taxpayer_id, channel_mode)
    core.register("C")
    core.fill(5)
    [number, *_] = core.fill(5, first=100, taxpayer_id=taxpayer_id, channel_mode=channel_mode)
    # Since then it is known whose stock is C's; a request that is refused doesn't tie C to its taxpayer.
    core.issue(invoice("R1"), invoice("R2", organization="C", issue_date="2020-01-01"))
    core.change(
        "UPDATE organizations SET (taxpayer_id, channel_mode) = (:taxpayer_id, :channel_mode) WHERE code = 'C'",
        taxpayer_id=taxpayer_id,
        channel_mode=channel_mode,
    )

    with pytest.raises(ChangedMeanwhileError):
        core.issue(invoice("R3", organization="C"))
    assert core.value("SELECT count(*) FROM issue_requests") == 1
    [assigned] = core.issue(invoice("R3", organization="C"))

    assert assigned.data["invoice_number"] == number


def test_an_organization_that_is_gone_by_now_is_unknown(core: Core) -> None:
    core.register("C")
    core.fill(5)
    core.issue(invoice("R1", organization="C", issue_date="2020-01-01"))
    core.change("DELETE FROM organizations WHERE code = 'C'")

    with pytest.raises(ChangedMeanwhileError):
        core.issue(invoice("R2", organization="C"))
    [refused] = core.issue(invoice("R2", organization="C"))

    assert refused.data["reason"] == "unknown-organization"


def test_a_refusal_is_not_remembered(core: Core) -> None:
    core.fill(5)
    [refused] = core.issue(invoice("R1", organization="B"))
    core.register("B")

    [assigned] = core.issue(invoice("R1", organization="B"))

    assert (refused.topic, assigned.topic) == (Topic.NUMBER_REFUSED, Topic.NUMBER_ASSIGNED)


def test_a_request_that_names_a_number_is_refused(core: Core) -> None:
    numbers = core.fill(5)

    [refused] = core.issue(invoice("R1", number=numbers[0]))

    assert refused.data["reason"] == "number-not-available"
    assert core.value("SELECT count(*) FROM issue_requests") == 0


def test_organizations_that_share_a_tax_id_and_mode_share_a_stock(core: Core) -> None:
    core.register("B")
    numbers = core.fill(5)

    told = core.issue(invoice("R1"), invoice("R2", organization="B"))

    assert [each.data["invoice_number"] for each in told] == numbers[:2]


def test_each_channel_mode_has_a_stock_of_its_own(core: Core) -> None:
    core.register("J", channel_mode="joint")
    core.fill(5)
    [joint, *_] = core.fill(5, channel_mode="joint")

    [assigned] = core.issue(invoice("R1", organization="J"))

    assert assigned.data["invoice_number"] == joint
    assert joint[4:6] == "72"


def test_a_range_is_used_to_its_end_before_the_next_is_begun(core: Core) -> None:
    older = core.fill(2)
    core.clock.advance(seconds=1)
    newer = core.fill(2)

    told = core.issue(*invoices(3))

    assert [each.data["invoice_number"] for each in told] == [*older, newer[0]]
    assert core.rows("SELECT status FROM ranges ORDER BY created_at") == [("used-up",), ("active",)]


def test_an_old_year_request_takes_an_old_number_while_there_is_one(core: Core) -> None:
    [old] = core.fill(1, year=2026)
    core.clock.set(in_china("2027-01-01", "00:30"))

    told = core.issue(invoice("R1", issue_date="2026-12-31"), invoice("R2", issue_date="2026-12-31"))

    [assigned] = of(Topic.NUMBER_ASSIGNED, told)
    [refused] = of(Topic.NUMBER_REFUSED, told)
    assert assigned.data["invoice_number"] == old
    assert (refused.data["issue_request_id"], refused.data["reason"]) == ("R2", "issue-date-out-of-year")


def test_the_year_begins_at_midnight_in_china(core: Core) -> None:
    core.fill(5, year=2026)
    core.clock.set(in_china("2026-12-31", "23:59"))
    waits = core.issue(invoice("R1", issue_date="2027-01-01"))
    core.clock.set(in_china("2027-01-01", "00:00"))
    refused = core.issue(invoice("R2", issue_date="2025-12-31"))

    assert of(Topic.NUMBER_REFUSED, waits) == []
    assert core.rows("SELECT issue_request_id, status FROM issue_requests") == [("R1", "waiting")]
    assert [each.data["reason"] for each in refused] == ["issue-date-out-of-year"]


def test_a_next_year_request_takes_next_years_number_if_there_is_one(core: Core) -> None:
    [number] = core.fill(1, year=2027)

    assigned, *_ = core.issue(invoice("R1", issue_date="2027-06-30"))

    assert assigned.data["invoice_number"] == number
    assert number.startswith("27")


def test_a_next_year_request_without_stock_waits_only_from_the_day_before(core: Core) -> None:
    core.clock.set(in_china("2026-12-30"))
    [refused] = core.issue(invoice("R1", issue_date="2027-01-01"))
    core.clock.set(in_china("2026-12-31"))
    [exhausted] = core.issue(invoice("R1", issue_date="2027-01-01"))

    assert refused.data["reason"] == "issue-date-out-of-year"
    assert (exhausted.topic, exhausted.data["year"]) == (Topic.RANGE_EXHAUSTED, 2027)


@pytest.mark.parametrize("issue_date", ["2026-01-01", "2026-12-31"])
def test_within_the_present_year_no_date_is_judged(core: Core, issue_date: str) -> None:
    core.fill(5)

    [assigned] = core.issue(invoice("R1", issue_date=issue_date))

    assert assigned.topic is Topic.NUMBER_ASSIGNED
