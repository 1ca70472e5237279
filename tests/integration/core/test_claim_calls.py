"""Claim calls: outside any transaction, by one worker at a time, within the direct unit's throttle."""

import threading
from datetime import timedelta

from schemas.vocabulary import ChannelMode
from tests.support.core.asked import claim, invoice
from tests.support.core.authority import REFUSED, UNKNOWN
from tests.support.core.world import OTHER_TAXPAYER, Core, at_once
from worker.claim_calls import TURN
from worker.leqi.port import Answer, ClaimCall, Throttled

_IN_A_TRANSACTION = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'fuma-core-test' AND state <> 'idle' AND pid <> pg_backend_pid()
      AND datname = current_database()
"""
_LOCKS = """
    SELECT count(*) FROM pg_locks AS l JOIN pg_stat_activity AS a USING (pid)
    WHERE a.application_name = 'fuma-core-test' AND a.pid <> pg_backend_pid() AND a.datname = current_database()
"""


def test_no_transaction_and_no_lock_is_held_during_the_call(core: Core) -> None:
    seen: list[tuple[int, int]] = []

    def look(call: ClaimCall) -> Answer:
        seen.append((core.value(_IN_A_TRANSACTION), core.value(_LOCKS)))
        return core.authority.grant(call)

    core.issue(invoice("R1"))
    core.request_claims(claim())
    core.look_for_claimless_stocks()
    # One at a time, so that the other call's own commit isn't seen.
    core.change("UPDATE claims SET next_attempt_at = next_attempt_at + interval '1 hour' WHERE claim_mode = 'manual'")
    core.authority.will(look, look)

    core.call()
    core.clock.advance(hours=1)
    core.call()

    assert seen == [(0, 0), (0, 0)]


def test_issuing_goes_on_during_the_call(core: Core) -> None:
    core.fill(5)

    def issue_meanwhile(call: ClaimCall) -> Answer:
        core.issue(invoice("R1"))
        return core.authority.grant(call)

    core.request_claims(claim())
    core.authority.will(issue_meanwhile)
    core.call()

    assert core.value("SELECT count(*) FROM numbers WHERE status = 'assigned'") == 1


def test_the_intent_is_committed_before_the_call(core: Core) -> None:
    seen: list[tuple[object, ...]] = []

    def look(call: ClaimCall) -> Answer:
        seen.extend(core.rows("SELECT business_serial, quantity, status FROM claims"))
        return REFUSED if (call.business_serial, call.quantity) == seen[0][:2] else UNKNOWN

    core.request_claims(claim(quantity=17))
    core.authority.will(look)
    core.call()

    assert [row[1:] for row in seen] == [(17, "open")]
    assert core.statuses == {"C1": "refused"}


def test_a_claim_is_called_by_one_worker_at_a_time(core: Core, second: Core) -> None:
    core.request_claims(*[claim(f"C{n}") for n in range(8)])

    at_once(*[worker.calls.call_due for worker in (core, second) * 4])
    core.calls.close(30)
    second.calls.close(30)

    serials = [call.business_serial for call in core.authority.calls]
    assert len(serials) == len(set(serials)) == 8


def test_a_worker_that_died_during_its_call_leaves_a_claim_that_is_due_after_its_turn(core: Core) -> None:
    core.request_claims(claim())
    _taken_by_a_worker_that_died(core)

    core.clock.advance(seconds=TURN.total_seconds() - 1)
    assert core.call() == []
    core.clock.advance(seconds=1)

    assert [each.data["claim_id"] for each in core.call()] == ["C1"]


def test_a_grant_whose_commit_was_lost_comes_again_as_the_same_range(core: Core) -> None:
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    [call] = _taken_by_a_worker_that_died(core)
    lost = core.authority.grant(call)
    core.clock.advance(seconds=TURN.total_seconds())

    claimed, assigned = core.call()

    assert claimed.data["first_number"] == lost.first_number
    assert assigned.data["invoice_number"] == lost.first_number
    assert core.authority.calls == [call]


def test_a_refusal_after_a_worker_died_during_its_call_settles_nothing(core: Core) -> None:
    # The dead worker's call may have been granted: only a grant or a listing can tell.
    core.request_claims(claim())
    _taken_by_a_worker_that_died(core)
    core.clock.advance(seconds=TURN.total_seconds())
    core.authority.will(REFUSED)

    assert core.call() == []

    assert core.statuses == {"C1": "open"}


def test_a_throttle_binds_every_worker_for_five_minutes(core: Core, second: Core) -> None:
    core.request_claims(claim("C1"))
    core.authority.will(Throttled(None, "too many calls"))
    core.call()
    core.request_claims(claim("C2"))

    core.clock.advance(minutes=4, seconds=59)
    assert (core.call(), second.call()) == ([], [])
    core.clock.advance(seconds=1)

    assert sorted(each.data["claim_id"] for each in second.call()) == ["C1", "C2"]


def test_a_throttled_claim_stays_open_and_is_replayed_unchanged(core: Core) -> None:
    core.issue(invoice("R1"))
    core.look_for_claimless_stocks()
    core.authority.will(Throttled(None, "too many calls"))

    [told] = core.call()
    core.look_for_claimless_stocks()
    core.clock.advance(minutes=5)
    core.call()

    assert told.data["reason"] == "leqi-throttled"
    assert told.data["next_attempt_at"] == "2026-11-23T02:05:00.000000Z"
    assert list(core.statuses.values()) == ["granted"]
    assert len({call.business_serial for call in core.authority.calls}) == 1


def test_a_refusal_after_a_throttle_is_definite(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(Throttled(None, "too many calls"), REFUSED)
    core.call()
    core.clock.advance(minutes=5)
    core.call()

    assert core.statuses == {"C1": "refused"}


def test_the_throttles_limit_counts_the_calls_of_all_workers(core: Core, second: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.request_claims(claim("C0"))
    core.authority.will(Throttled(2, "at most 2"))
    core.call()
    core.clock.advance(minutes=5)
    core.request_claims(*[claim(f"C{n}", organization="B") for n in range(1, 6)])
    answers = threading.Event()

    def answer_when_told(call: ClaimCall) -> Answer:
        assert answers.wait(30)
        return core.authority.grant(call)

    core.authority.will(answer_when_told, answer_when_told)
    started = [worker.calls.call_due() for worker in (core, second, core)]
    answers.set()
    core.calls.close(30)

    assert started == [2, 0, 0]
    assert second.calls.call_due() == 2


def test_the_throttles_limit_ends_with_its_time(core: Core) -> None:
    core.request_claims(claim("C0"))
    core.authority.will(Throttled(1, "at most 1"))
    core.call()
    core.request_claims(claim("C1"), claim("C2"))

    core.clock.advance(minutes=5)
    assert len(core.call()) == 1
    core.clock.advance(minutes=59)
    assert len(core.call()) == 1
    core.request_claims(claim("C3"))
    core.clock.advance(minutes=2)

    assert len(core.call()) == 2


def test_a_throttle_without_a_number_leaves_the_limit_as_it_was(core: Core) -> None:
    core.request_claims(claim())
    core.authority.will(Throttled(3, "at most 3"), Throttled(None, "too many calls"))
    core.call()
    core.clock.advance(minutes=5)
    core.call()

    assert core.value("SELECT concurrency_limit FROM direct_units") == 3


def test_what_can_not_be_committed_is_asked_for_again(core: Core) -> None:
    core.request_claims(claim())
    core.change("ALTER TABLE ranges ADD CONSTRAINT nothing_goes CHECK (false)")
    assert core.call() == []
    core.change("ALTER TABLE ranges DROP CONSTRAINT nothing_goes")
    core.clock.advance(seconds=2)

    [claimed] = core.call()

    assert claimed.data["claim_id"] == "C1"
    assert len({call.business_serial for call in core.authority.calls}) == 1


def _taken_by_a_worker_that_died(core: Core) -> list[ClaimCall]:
    """Take a turn as a worker does that dies before its call is settled; gives the calls that it made."""
    doomed = core.calls._take(most=8)  # noqa: SLF001 -- what a SIGKILL leaves behind, without the kill
    assert doomed
    assert core.value("SELECT min(calling_until) FROM claims") == core.clock.now() + timedelta(seconds=60)
    return [
        ClaimCall(
            each.taxpayer_id, ChannelMode(each.channel_mode), each.using_unit_id, each.quantity, each.business_serial
        )
        for each in doomed
    ]
