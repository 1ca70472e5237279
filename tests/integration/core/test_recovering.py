"""After a restore: no number that the database knows is given out any more, and fresh ones are claimed at once."""

from datetime import timedelta
from uuid import UUID, uuid4

from sqlalchemy import Connection

from schemas.topics import Topic
from tests.support.core.asked import binding, claim, invoice, invoices, outcome, refresh
from tests.support.core.authority import ScriptedListing, granted, listed
from tests.support.core.world import ENVIRONMENT, OTHER_TAXPAYER, TAXPAYER, Core, Told, of
from worker.answers import Answer
from worker.leqi.port import Answer as LeqiAnswer
from worker.leqi.port import ClaimCall
from worker.new_year import NewYear
from worker.recovering import Recovering, Recovery


def recover(core: Core) -> tuple[Recovery, list[Told]]:
    recovering = Recovering(ENVIRONMENT, core.clock)
    done: list[Recovery] = []

    def work(connection: Connection) -> list[Answer]:
        recovery, answers = recovering.recover(connection, reason="disk lost", requested_by="li")
        done.append(recovery)
        return answers

    told = core.run(work)
    return done[0], told


def test_every_range_that_a_number_could_come_from_is_quarantined(
    listed_core: Core,
    listing: ScriptedListing,
) -> None:
    core = listed_core
    used_up = core.fill(1)
    core.issue(invoice("U1"))
    core.fill(10)
    manual = core.manual(4)
    listing.put(listed(900_000, 10))
    core.refresh(refresh())
    core.issue(*invoices(3))
    core.bind(binding(manual[0], "LATER"))

    recovery, told = recover(core)

    assert (recovery.ranges, recovery.stocks) == (4, 1)
    assert core.rows("SELECT DISTINCT status FROM ranges") == [("quarantined",)]
    assert sorted((each.data["unused"], each.data["reason"]) for each in of(Topic.RANGE_QUARANTINED, told)) == [
        (0, "restored"),
        (4, "restored"),
        (7, "restored"),
        (10, "restored"),
    ]
    assert dict(core.rows("SELECT status, count(*) FROM numbers GROUP BY status")) == {"assigned": 4, "expired": 4}
    assert core.rows("SELECT DISTINCT changed_by, requested_by FROM numbers WHERE status = 'expired'") == [
        ("recovered", "li"),
    ]
    assert core.rows("SELECT DISTINCT detail FROM ranges") == [("recovered: disk lost",)]
    core.report(outcome(used_up[0], "failed", "U1"))
    assert of(Topic.NUMBER_ASSIGNED, core.issue(invoice("LATER"), invoice("NEXT"))) == []


def test_who_waits_is_served_from_fresh_ranges_at_once(core: Core) -> None:
    core.fill(2)
    core.issue(*invoices(5))
    assert core.value("SELECT count(*) FROM issue_requests WHERE status = 'waiting'") == 3

    recover(core)
    told = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())

    assert [each.data["issue_request_id"] for each in told] == ["R3", "R4", "R5"]


def test_a_stock_that_ran_out_by_it_is_told_once_and_its_episode_was_never_told_before(core: Core) -> None:
    core.fill(5)

    _, told = recover(core)

    [exhausted] = of(Topic.RANGE_EXHAUSTED, told)
    assert exhausted.data["episode"] > 1_000_000
    core.hear(exhausted)
    assert list(core.statuses.values()) == ["open"]


def test_a_claim_put_off_before_is_made_at_once(core: Core) -> None:
    core.issue(invoice("R1"))
    core.change("UPDATE stocks SET claim_not_before = :at, failed_claims = 7", at=core.clock.now() + timedelta(hours=1))

    recover(core)

    assert of(Topic.NUMBER_ASSIGNED, core.claim_and_call())


def test_an_undecided_claim_is_given_up_for_its_range_may_be_used_up_by_now(core: Core) -> None:
    core.issue(invoice("R1"))
    core.authority.will(core.authority.lose, core.authority.lose)
    core.claim_and_call()
    core.request_claims(claim("HAND", quantity=10))
    core.call()
    serials = {call.business_serial for call in core.authority.calls}

    recovery, told = recover(core)

    assert recovery.claims == 2
    assert [each.data["reason"] for each in of(Topic.CLAIM_FAILED, told)] == ["restored", "restored"]
    core.clock.advance(hours=1)
    assert core.call() == []
    core.claim_and_call()
    assert core.authority.calls[-1].business_serial not in serials
    assert core.value("SELECT count(*) FROM ranges") == 1


def test_an_answer_that_was_on_its_way_is_not_stored(core: Core) -> None:
    core.issue(invoice("R1"))

    def answer_after_the_recovery(_call: ClaimCall) -> LeqiAnswer:
        recover(core)
        return granted(700_000, 1000)

    core.authority.will(answer_after_the_recovery)
    core.claim_and_call()

    assert core.value("SELECT count(*) FROM ranges") == 0


def test_a_list_brings_none_of_the_claims_back_that_were_made_before(
    listed_core: Core,
    listing: ScriptedListing,
) -> None:
    core = listed_core
    core.authority.will(core.authority.lose)
    core.request_claims(claim("LOST", quantity=10))
    core.call()
    lost = core.authority.calls[0].business_serial
    recover(core)
    # One that had been refused may have been settled by a list, and used, since the backup.
    core.request_claims(claim("REFUSED", quantity=10))
    refused = core.undecided_claims()[0].business_serial
    core.change(
        "UPDATE claims SET status = 'refused', next_attempt_at = NULL, settled_at = now() WHERE claim_id = 'REFUSED'"
    )
    listing.put(listed(500_000, 10, serial=lost), listed(800_000, 10, serial=refused))

    core.refresh(refresh())

    assert core.rows("SELECT DISTINCT status FROM ranges") == [("foreign",)]
    assert core.statuses == {"LOST": "abandoned", "REFUSED": "refused"}


def test_a_fresh_grant_that_overlaps_what_was_in_use_before_is_quarantined_too(core: Core) -> None:
    core.fill(10, first=700_000)
    recover(core)
    core.authority.will(granted(700_005, 1000))

    told = core.claim_and_call()

    assert [each.data["reason"] for each in of(Topic.RANGE_QUARANTINED, told)] == ["grant-invalid"]
    assert core.value("SELECT count(*) FROM ranges WHERE status = 'active'") == 0


def test_a_grant_may_overlap_a_bad_one_as_before(core: Core) -> None:
    core.issue(invoice("R1"))
    core.authority.will(granted(700_000, 999), granted(700_000, 1000))
    core.claim_and_call()
    core.clock.advance(minutes=1)

    assert of(Topic.NUMBER_ASSIGNED, core.claim_and_call())


def ask_anew(core: Core, key: str = "R1") -> Told:
    """Ask for a request's number by a message that nobody sent before."""
    [told] = core.issue(invoice(key, message_id=f"anew-{uuid4()}"))
    return told


def confirm(core: Core, *, taxpayer_id: str | None = None, range_id: UUID | None = None) -> int:
    recovering = Recovering(ENVIRONMENT, core.clock)
    with core.engine.begin() as connection:
        return recovering.confirm(
            connection, taxpayer_id=taxpayer_id, range_id=range_id, reason="nothing failed", requested_by="li"
        )


def test_who_asks_anew_is_not_told_a_number_that_another_may_have_got_since(core: Core) -> None:
    core.fill(5)
    core.issue(invoice("R1"))
    recover(core)

    refused = ask_anew(core)

    assert (refused.topic, refused.data["reason"]) == (Topic.NUMBER_REFUSED, "restored")
    assert "fuma ranges confirm" in refused.data["detail"]
    assert core.value("SELECT status FROM numbers WHERE issue_request_id = 'R1'") == "assigned"


def test_a_copy_of_the_message_that_was_answered_is_told_the_same_event(core: Core) -> None:
    """It says nothing new: an event may come again at any time."""
    core.fill(5)
    first, again = invoice("R1"), invoice("R1", message_id="again")
    told = core.issue(first)
    core.issue(again)
    recover(core)

    assert core.issue(first) == told
    assert core.issue(again) == told


def test_a_copy_of_what_waited_and_was_answered_is_told_the_same_event(core: Core) -> None:
    waiting, again = invoice("R1"), invoice("R1", message_id="again")
    core.issue(waiting)
    core.issue(again)
    told = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())
    recover(core)

    assert core.issue(waiting) == core.issue(again) == told
    assert ask_anew(core).data["reason"] == "restored"


def test_an_upload_that_is_reported_ends_the_doubt(core: Core) -> None:
    [number, *_] = core.fill(5)
    [told] = core.issue(invoice("R1"))
    recover(core)
    core.report(outcome(number, "unknown", outcome_id="O1"))
    assert ask_anew(core).data["reason"] == "restored"

    [used] = core.report(outcome(number, "uploaded", outcome_id="O2"))

    assert used.topic is Topic.NUMBER_USED
    assert ask_anew(core) == told


def test_a_failed_upload_voids_the_number_and_the_request_gets_a_fresh_one(core: Core) -> None:
    [number, *_] = core.fill(5)
    core.issue(invoice("R1"))
    recover(core)

    [voided] = core.report(outcome(number, "failed"))
    core.issue(invoice("R1", message_id="anew"))

    assert voided.topic is Topic.NUMBER_VOIDED
    [assigned] = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())
    assert assigned.data["issue_request_id"] == "R1"
    assert assigned.data["invoice_number"] != number


def test_a_number_that_was_used_before_the_backup_is_in_no_doubt(core: Core) -> None:
    [number, *_] = core.fill(5)
    [told] = core.issue(invoice("R1"))
    core.report(outcome(number, "uploaded"))
    recover(core)

    assert ask_anew(core) == told


def test_a_number_whose_range_was_out_of_use_before_the_backup_is_in_no_doubt(core: Core) -> None:
    """Its upload may have failed since, but then it was voided: nobody else has got it."""
    core.fill(5)
    [told] = core.issue(invoice("R1"))
    core.change("UPDATE ranges SET status = 'retired', closed_at = now()")
    recover(core)

    assert ask_anew(core) == told


def test_a_number_of_a_fresh_range_is_in_no_doubt(core: Core) -> None:
    core.fill(5)
    recover(core)
    core.issue(invoice("R1"))
    [told] = of(Topic.NUMBER_ASSIGNED, core.claim_and_call())

    assert ask_anew(core) == told


def test_other_content_is_a_conflict_before_it_is_a_doubt(core: Core) -> None:
    core.fill(5)
    core.issue(invoice("R1"))
    recover(core)

    [refused] = core.issue(invoice("R1", kind="red", message_id="anew"))

    assert refused.data["reason"] == "conflicting-request"


def test_an_operators_word_ends_the_doubt_of_what_was_restored_and_of_nothing_later(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(5)
    core.fill(5, taxpayer_id=OTHER_TAXPAYER)
    told = [*core.issue(invoice("R1")), *core.issue(invoice("R1", organization="B"))]
    recover(core)
    [(range_id,)] = core.rows("SELECT range_id FROM ranges WHERE taxpayer_id = :other", other=OTHER_TAXPAYER)

    assert confirm(core, taxpayer_id=TAXPAYER) == 1
    assert ask_anew(core) == told[0]
    [refused] = core.issue(invoice("R1", organization="B", message_id="anew"))
    assert refused.data["reason"] == "restored"
    assert confirm(core, range_id=range_id) == 1
    assert core.issue(invoice("R1", organization="B", message_id="anew")) == told[1:]
    assert confirm(core) == 0
    assert set(core.rows("SELECT detail FROM ranges")) == {("recovered: disk lost; confirmed by li: nothing failed",)}

    core.issue(invoice("R2"))
    core.claim_and_call()
    recover(core)
    assert ask_anew(core) == told[0], "it could not be given out any more before the second backup"
    assert ask_anew(core, "R2").data["reason"] == "restored"


def test_a_first_claim_of_the_year_that_was_open_is_made_again(core: Core) -> None:
    core.fill(5, year=2025)
    new_year = NewYear(ENVIRONMENT, core.clock, core.claiming, None)
    core.run(new_year.open_stocks)
    recover(core)

    core.run(new_year.open_stocks)

    assert sorted(core.statuses.values()) == ["abandoned", "open"]
    assert core.rows("SELECT DISTINCT taxpayer_id FROM claims") == [(TAXPAYER,)]


def test_a_second_recovery_takes_away_what_the_first_let_be_claimed(core: Core) -> None:
    core.fill(5)
    recover(core)
    core.issue(invoice("R1"))
    core.claim_and_call()

    recovery, _ = recover(core)

    assert recovery.ranges == 1
    assert core.rows("SELECT DISTINCT status FROM ranges") == [("quarantined",)]


def test_a_recovery_of_nothing_does_nothing(core: Core) -> None:
    assert recover(core) == (Recovery(0, 0, 0), [])
