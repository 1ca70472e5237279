"""Claims in trouble: unknown outcomes are replayed, refusals followed by new claims, nothing stays stuck (rule 8)."""

from datetime import datetime, timedelta

import pytest

from schemas.topics import Topic
from tests.support.core.asked import claim, invoice
from tests.support.core.authority import REFUSED, THROTTLED, UNKNOWN, granted
from tests.support.core.world import Core, of
from worker.claim_calls import TURN
from worker.leqi.port import Answer, Unknown

_FIFTH = 0.2


def waited(core: Core) -> float:
    """How many seconds the one undecided claim waits for its next replay."""
    due = core.value("SELECT next_attempt_at FROM claims WHERE status IN ('open', 'unresolved')")
    return float((due - core.clock.now()).total_seconds())


def pass_the_wait(core: Core) -> None:
    core.clock.set(core.value("SELECT max(next_attempt_at) FROM claims"))


def make_unresolved(core: Core) -> None:
    """Let the one open claim's call and three replays end without an answer."""
    for _ in range(4):
        core.authority.will(UNKNOWN)
        core.call()
        pass_the_wait(core)


def test_an_unknown_outcome_is_replayed_unchanged_after_1_2_4_up_to_60_seconds_then_10_minutes(core: Core) -> None:
    core.request_claims(claim(quantity=17))
    waits = []
    for _ in range(9):
        core.authority.will(UNKNOWN)
        core.call()
        waits.append(waited(core))
        pass_the_wait(core)

    for seconds, wanted in zip(waits, [1, 2, 4, 8, 16, 32, 60, 600, 600], strict=True):
        assert wanted * (1 - _FIFTH) <= seconds <= wanted * (1 + _FIFTH)
    assert {(call.quantity, call.business_serial) for call in core.authority.calls} == {
        (17, core.value("SELECT business_serial FROM claims")),
    }


def test_the_third_replay_without_an_answer_makes_a_claim_unresolved_and_tells_it_once(core: Core) -> None:
    core.request_claims(claim())
    told = []
    for _ in range(6):
        core.authority.will(Unknown("the connection was closed"))
        told.append(core.call())
        pass_the_wait(core)

    assert [len(each) for each in told] == [0, 0, 0, 1, 0, 0]
    [unresolved] = told[3]
    assert unresolved.topic is Topic.CLAIM_UNRESOLVED
    assert (unresolved.data["claim_id"], unresolved.data["reason"]) == ("C1", "leqi-unreachable")
    assert unresolved.data["detail"] == "the connection was closed"
    assert datetime.fromisoformat(unresolved.data["next_attempt_at"]) > datetime.fromisoformat(unresolved.time)
    assert core.statuses == {"C1": "unresolved"}


def test_an_open_claim_stands_in_the_way_of_another(core: Core) -> None:
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    for _ in range(3):
        core.authority.will(UNKNOWN)
        core.call()
        pass_the_wait(core)
        core.look_for_claimless_stocks()

    assert list(core.statuses.values()) == ["open"]


def test_an_unresolved_claim_is_followed_by_a_new_one_with_a_new_serial(core: Core) -> None:
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    make_unresolved(core)
    core.clock.advance(minutes=1)

    core.look_for_claimless_stocks()

    assert sorted(core.statuses.values()) == ["open", "unresolved"]
    assert core.value("SELECT count(DISTINCT business_serial) FROM claims") == 2


def test_claims_do_not_pile_up_while_leqi_is_away(core: Core) -> None:
    core.issue(invoice("R1"))
    for _ in range(2 * 60):
        core.authority.will(*[UNKNOWN] * 100)
        core.claim_and_call()
        core.authority.script.clear()
        core.clock.advance(seconds=30)

    # An hour: each claim left behind may be granted later, so they are as rare as claims after refusals.
    assert len(core.statuses) <= 13


def test_the_late_grant_of_an_unresolved_claim_is_more_stock(core: Core) -> None:
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    make_unresolved(core)
    core.clock.advance(minutes=1)
    core.claim_and_call()

    assert list(core.statuses.values()) == ["granted", "granted"]
    assert core.rows("SELECT last_sequence - first_sequence + 1, status FROM ranges") == [(1000, "active")] * 2
    assert core.value("SELECT count(*) FROM numbers") == 1


def test_a_refusal_is_told_with_the_time_of_the_next_claim(core: Core) -> None:
    core.issue(invoice("R1"))
    core.authority.will(REFUSED)

    [failed] = core.claim_and_call()

    assert (failed.topic, failed.data["reason"]) == (Topic.CLAIM_FAILED, "leqi-refused")
    assert failed.data["next_attempt_at"] == "2026-11-23T02:00:10.000000Z"
    assert "40321" in failed.data["detail"]


def test_refusals_are_followed_by_new_claims_after_10_seconds_doubling_to_10_minutes(core: Core) -> None:
    core.issue(invoice("R1"))
    waits = []
    for _ in range(9):
        core.authority.will(REFUSED)
        [failed] = core.claim_and_call()
        due = datetime.fromisoformat(failed.data["next_attempt_at"])
        waits.append((due - core.clock.now()).total_seconds())
        core.clock.set(due - timedelta(seconds=1))
        assert core.claim_and_call() == []
        core.clock.set(due)

    assert waits == [10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert len({call.business_serial for call in core.authority.calls}) == 9


def test_a_grant_ends_the_backoff(core: Core) -> None:
    core.issue(invoice("R1"))
    core.authority.will(REFUSED)
    core.claim_and_call()
    core.clock.advance(seconds=10)
    core.change("UPDATE channels SET claim_quantity = 1")
    core.claim_and_call()
    core.authority.will(REFUSED)

    [failed] = core.claim_and_call()

    assert failed.data["next_attempt_at"] == "2026-11-23T02:00:20.000000Z"


def test_a_year_of_refusals_is_still_settled(core: Core) -> None:
    core.issue(invoice("R1"))
    core.change("UPDATE stocks SET failed_claims = 32767")
    core.authority.will(REFUSED)

    [failed] = core.claim_and_call()

    assert failed.data["next_attempt_at"] == "2026-11-23T02:10:00.000000Z"


def test_the_refusal_of_a_manual_claim_does_not_put_off_automatic_ones(core: Core) -> None:
    core.issue(invoice("R1"))
    core.request_claims(claim())
    core.authority.will(REFUSED)
    core.call()

    assert of(Topic.NUMBER_ASSIGNED, core.claim_and_call())


def test_the_refusal_of_a_replay_settles_nothing(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(core.authority.lose, REFUSED)
    core.call()
    pass_the_wait(core)

    assert core.call() == []
    assert core.statuses == {"C1": "open"}
    pass_the_wait(core)
    assert of(Topic.RANGE_CLAIMED, core.call())


def test_a_claim_without_a_definite_answer_is_given_up_after_seven_days(core: Core) -> None:
    core.request_claims(claim())
    make_unresolved(core)
    core.clock.advance(days=7)
    core.authority.will(UNKNOWN)

    [failed] = core.call()
    core.clock.advance(days=1)

    assert (failed.topic, failed.data["reason"]) == (Topic.CLAIM_FAILED, "leqi-unreachable")
    assert failed.data["next_attempt_at"] is None
    assert core.statuses == {"C1": "abandoned"}
    assert core.call() == []


def test_a_claim_is_not_given_up_within_seven_days(core: Core) -> None:
    core.request_claims(claim())
    make_unresolved(core)
    core.clock.advance(days=6, hours=23)
    core.authority.will(UNKNOWN)

    assert core.call() == []
    assert core.statuses == {"C1": "unresolved"}


@pytest.mark.parametrize("late", [UNKNOWN, REFUSED, THROTTLED, granted(1, 10), granted(1, 9)], ids=repr)
def test_a_claim_settled_meanwhile_is_left_alone_by_a_late_answer(core: Core, late: Answer) -> None:
    core.request_claims(claim(quantity=10))
    [open_claim] = core.undecided_claims()
    core.authority.will(granted(1, 10))
    core.call()
    before = core.rows("SELECT * FROM claims")

    assert core.run(lambda connection: core.settling.settle(connection, open_claim, late)) == []
    assert core.rows("SELECT * FROM claims") == before
    assert core.value("SELECT count(*) FROM ranges") == 1


@pytest.mark.parametrize("answer", [UNKNOWN, REFUSED, granted(1, 10)], ids=["unknown", "refused", "granted"])
def test_whatever_is_answered_the_claim_is_settled_or_goes_on(core: Core, answer: object) -> None:
    core.request_claims(claim())
    core.authority.will(answer)  # type: ignore[arg-type]
    core.call()

    assert core.value(
        "SELECT bool_and((next_attempt_at IS NULL) <> (settled_at IS NULL) AND calling_until IS NULL) FROM claims",
    )


def test_a_grant_that_the_database_always_refuses_makes_the_claim_unresolved_and_comes_in_when_it_no_longer_does(
    core: Core,
) -> None:
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    core.change("ALTER TABLE ranges ADD CONSTRAINT nothing_goes CHECK (false)")
    told, waits = [], []
    for _ in range(6):
        told.append(core.call())
        waits.append(waited(core))
        assert core.call() == [], "it isn't due before its wait is over"
        pass_the_wait(core)

    assert [len(each) for each in told] == [0, 0, 0, 1, 0, 0]
    for seconds, wanted in zip(waits, [1, 2, 4, 8, 16, 32], strict=True):
        assert wanted * (1 - _FIFTH) <= seconds <= wanted * (1 + _FIFTH)
    [unresolved] = told[3]
    assert (unresolved.topic, unresolved.data["reason"]) == (Topic.CLAIM_UNRESOLVED, "not-stored")
    [grant] = [core.authority.grant(call) for call in core.authority.calls[:1]]
    assert grant.first_number in unresolved.data["detail"]
    assert "nothing_goes" in unresolved.data["detail"]
    assert list(core.statuses.values()) == ["unresolved"]
    assert len(core.authority.calls) == 6

    core.change("ALTER TABLE ranges DROP CONSTRAINT nothing_goes")
    claimed, assigned = core.call()

    assert claimed.data["first_number"] == assigned.data["invoice_number"] == grant.first_number
    assert len({call.business_serial for call in core.authority.calls}) == 1


def test_a_claim_that_the_database_lets_nobody_put_off_waits_for_its_turn_to_be_over(core: Core) -> None:
    core.request_claims(claim())
    core.change("ALTER TABLE ranges ADD CONSTRAINT nothing_goes CHECK (false)")
    core.change("ALTER TABLE claims ADD CONSTRAINT nothing_waits CHECK (reason IS NULL)")

    for _ in range(3):
        assert core.call() == []
        core.clock.advance(seconds=TURN.total_seconds() - 1)
        assert core.call() == []
        core.clock.advance(seconds=1)

    assert len(core.authority.calls) == 3
    core.change("ALTER TABLE claims DROP CONSTRAINT nothing_waits")
    core.change("ALTER TABLE ranges DROP CONSTRAINT nothing_goes")
    assert of(Topic.RANGE_CLAIMED, core.call())


def test_a_fault_of_ours_in_asking_or_in_storing_leaves_no_claim_without_a_word(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> Answer:
        raise KeyError

    core.request_claims(claim())
    told = []
    for times in range(4):
        if times < 2:
            core.authority.will(break_down)
        elif times == 2:
            monkeypatch.setattr(core.settling, "_grant", break_down)
        told += core.call()
        pass_the_wait(core)

    [unresolved] = told
    assert (unresolved.topic, unresolved.data["reason"]) == (Topic.CLAIM_UNRESOLVED, "not-stored")
    assert "KeyError" in unresolved.data["detail"]
    monkeypatch.undo()
    assert of(Topic.RANGE_CLAIMED, core.call())
