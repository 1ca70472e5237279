"""A lane: nothing is acknowledged before its effect, and what is bad never takes its neighbours along."""

from collections.abc import Callable, Sequence

import pytest
import structlog
from sqlalchemy import text

from db.fence import AnotherDatabaseError
from db.issue_requests import RequestTakenError
from schemas.events import EVENT_MODELS
from schemas.topics import Topic
from tests.support.core.broker import batch_delivery, delivery
from tests.support.core.lanes import LaneOfIssuing, body, running
from tests.support.core.world import Core
from tests.support.postgres import PrivatePostgres
from tests.support.waiting import wait_until
from worker.broker.port import Message, Outcome
from worker.broker.topology import DEAD_EXCHANGE
from worker.decoding import Item
from worker.lane import _WORTH_WAITING, Handler

BAD = [
    pytest.param(b"{", "malformed", id="no JSON"),
    pytest.param(body("X", data={"issue_request_id": "X"}), "malformed", id="a field is missing"),
    pytest.param(body("X", type="fuma.claim-requested.v1"), "unknown-type", id="another queue's type"),
    pytest.param(body("X", type="somebody.else"), "unknown-type", id="somebody else's type"),
    pytest.param(b" " * 1024 * 1024 + b"{}", "too-large", id="more than 1 MiB"),
]

#: Conditions of the server, of the connection, or of the schema: another time the same batch may succeed.
NOT_NOW = [
    "08006",
    "25006",
    "40001",
    "40P01",
    "42501",
    "42P01",
    "53100",
    "53300",
    "55P03",
    "57014",
    "57P01",
    "XX000",
]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let retries follow each other quickly."""
    monkeypatch.setattr("worker.lane._FIRST_PAUSE", 0.001)
    monkeypatch.setattr("worker.lane._FIRST_REST", 0.01)


def raising(core: Core, sqlstate: str) -> None:
    """Let the database refuse a statement with this state."""
    with core.engine.begin() as connection:
        connection.execute(text(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$"))


def at_first(lane: LaneOfIssuing, times: int, trouble: Callable[[], None]) -> Handler:
    """Handle as the worker does, after so many times of trouble."""
    left = [trouble] * times

    def handle(items: Sequence[Item]) -> None:
        if left:
            left.pop()()
        lane.issue(items)

    return handle


def troubled(core: Core, times: int, trouble: Callable[[], None]) -> LaneOfIssuing:
    plain = LaneOfIssuing(core)
    return LaneOfIssuing(core, at_first(plain, times, trouble))


@pytest.mark.parametrize(("bad", "reason"), BAD)
def test_a_bad_message_goes_to_the_dead_letters_and_its_neighbours_are_answered(
    core: Core,
    bad: bytes,
    reason: str,
) -> None:
    core.fill(10)
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(delivery(body("R1")), delivery(bad), delivery(body("R2")))
        lane.subscription.wait_until_acknowledged(3)

    assert lane.answered == {"R1": Topic.NUMBER_ASSIGNED, "R2": Topic.NUMBER_ASSIGNED}
    [letter] = lane.dead
    assert (letter.body, letter.headers["x-fuma-reason"]) == (bad, reason)
    assert letter.headers["x-fuma-topic"] == "invoice-issuing"
    assert letter.headers["x-fuma-at"] == core.clock.now().isoformat()
    assert letter.headers["x-fuma-detail"]


def test_a_message_of_the_other_environment_goes_to_the_dead_letters(core: Core) -> None:
    data = {"issue_request_id": "R1", "organization": "A", "issue_date": "2026-11-23", "environment": "production"}
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(delivery(body("R1", data=data)))
        lane.subscription.wait_until_acknowledged(1)

    assert [letter.headers["x-fuma-reason"] for letter in lane.dead] == ["wrong-environment"]


def test_a_bad_element_of_a_batch_goes_alone(core: Core) -> None:
    core.fill(10)
    bad = body("R2", data={"issue_request_id": "R2"})
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(batch_delivery([body("R1"), bad, body("R3")]))
        lane.subscription.wait_until_acknowledged(1)

    assert set(lane.answered) == {"R1", "R3"}
    [letter] = lane.dead
    assert letter.content_type == "application/cloudevents+json"
    assert b'"R2"' in letter.body
    assert b'"R1"' not in letter.body


def test_a_compressed_body_stays_marked_as_compressed(core: Core) -> None:
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(delivery(b"\x1f\x8b", content_encoding="gzip", headers={"team": "billing"}))
        lane.subscription.wait_until_acknowledged(1)

    [letter] = lane.dead
    assert (letter.body, letter.content_encoding, letter.headers["team"]) == (b"\x1f\x8b", "gzip", "billing")


def test_an_empty_batch_is_acknowledged_without_effect(core: Core) -> None:
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(batch_delivery([]))
        lane.subscription.wait_until_acknowledged(1)

    assert core.broker.published == []


def test_nothing_is_acknowledged_before_its_effect_is_committed(core: Core) -> None:
    seen: list[tuple[int, int]] = []
    plain = LaneOfIssuing(core)

    def handle(items: Sequence[Item]) -> None:
        seen.append((len(plain.subscription.acknowledged), core.value("SELECT count(*) FROM issue_requests")))
        plain.issue(items)

    with running(LaneOfIssuing(core, handle)) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(1)
        assert core.value("SELECT count(*) FROM issue_requests") == 1

    assert seen == [(0, 0)]


def test_a_dead_letter_is_confirmed_before_its_message_is_acknowledged(core: Core) -> None:
    lane = LaneOfIssuing(core)
    outcomes = [Outcome.CONFIRMED, Outcome.UNROUTABLE, Outcome.UNKNOWN]
    acknowledged: list[int] = []

    def outcome(message: Message) -> Outcome:
        assert message.exchange == DEAD_EXCHANGE
        acknowledged.append(len(lane.subscription.acknowledged))
        return outcomes.pop()

    core.broker.outcome = outcome
    with running(lane):
        lane.subscription.put(delivery(b"{"))
        lane.subscription.wait_until_acknowledged(1)

    assert acknowledged == [0, 0, 0]
    assert outcomes == []


def test_a_request_that_spoils_its_batch_is_found_and_put_aside(core: Core) -> None:
    core.fill(100)
    core.change("ALTER TABLE issue_requests ADD CONSTRAINT poison CHECK (issue_request_id <> 'R13')")
    try:
        with running(LaneOfIssuing(core)) as lane:
            lane.subscription.put(*[delivery(body(f"R{n}")) for n in range(40)])
            lane.subscription.wait_until_acknowledged(40)
    finally:
        core.change("ALTER TABLE issue_requests DROP CONSTRAINT poison")

    [letter] = lane.dead
    assert (letter.body, letter.headers["x-fuma-reason"]) == (body("R13"), "processing-failed")
    assert "poison" in str(letter.headers["x-fuma-detail"])
    assert set(lane.answered) == {f"R{n}" for n in range(40)} - {"R13"}
    assert core.value("SELECT count(*) FROM numbers") == 39


def test_a_fault_of_ours_puts_aside_only_the_request_that_shows_it(core: Core) -> None:
    core.fill(100)
    plain = LaneOfIssuing(core)

    def handle(items: Sequence[Item]) -> None:
        if any(getattr(item.request, "issue_request_id", "") == "R3" for item in items):
            raise ValueError
        plain.issue(items)

    with running(LaneOfIssuing(core, handle)) as lane:
        lane.subscription.put(batch_delivery([body(f"R{n}") for n in range(8)]))
        lane.subscription.wait_until_acknowledged(1)

    assert [letter.headers["x-fuma-reason"] for letter in lane.dead] == ["processing-failed"]
    assert set(lane.answered) == {f"R{n}" for n in range(8)} - {"R3"}


def test_while_everything_fails_nothing_goes_to_the_dead_letters_and_few_are_tried(core: Core) -> None:
    """As after a release with a fault of ours in it: the queue must be there when the fault is gone."""
    core.fill(300)
    plain = LaneOfIssuing(core)
    broken, tries = [True], [0]
    # Drawing a traceback for a person takes longer than the rest of this test.
    structlog.configure(processors=[structlog.processors.KeyValueRenderer()])

    def handle(items: Sequence[Item]) -> None:
        if broken:
            tries[0] += 1
            raise KeyError
        plain.issue(items)

    with running(LaneOfIssuing(core, handle)) as lane:
        lane.subscription.put(*[delivery(body(f"R{n}")) for n in range(200)])
        wait_until(lambda: lane.subscription.suspensions >= 3, "three rests")
        trouble = lane.lane.trouble
        assert trouble is not None
        assert "every request fails (KeyError)" in trouble
        assert not lane.lane.broken
        paused = core.metrics.registry.get_sample_value
        assert paused("fuma_consuming_paused", {"topic": "invoice-issuing"}) == 1
        # The first time all halves down to ten, then five single requests for each rest.
        assert tries[0] <= 40 + 5 * lane.subscription.suspensions
        assert (lane.subscription.acknowledged, lane.dead) == ([], [])

        broken.clear()
        lane.subscription.wait_until_acknowledged(200)
        wait_until(lambda: lane.lane.trouble is None, "the end of the trouble")
        assert paused("fuma_consuming_paused", {"topic": "invoice-issuing"}) == 0

    assert lane.dead == []
    assert set(lane.answered) == {f"R{n}" for n in range(200)}


def test_a_schema_that_refuses_every_request_loses_none(core: Core) -> None:
    core.fill(100)
    core.change("ALTER TABLE issue_requests ADD CONSTRAINT broken CHECK (issue_request_id = '') NOT VALID")
    try:
        with running(LaneOfIssuing(core)) as lane:
            lane.subscription.put(*[delivery(body(f"R{n}")) for n in range(40)])
            lane.subscription.wait_until_suspended()
            assert "broken" in str(lane.lane.trouble)
            core.change("ALTER TABLE issue_requests DROP CONSTRAINT broken")
            lane.subscription.wait_until_acknowledged(40)
    finally:
        core.change("ALTER TABLE issue_requests DROP CONSTRAINT IF EXISTS broken")

    assert lane.dead == []
    assert set(lane.answered) == {f"R{n}" for n in range(40)}


def test_a_database_that_was_restored_is_no_fault_of_the_requests(core: Core) -> None:
    def another() -> None:
        raise AnotherDatabaseError

    with running(troubled(core, 10_000, another)) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_suspended()

    assert (lane.subscription.acknowledged, lane.dead) == ([], [])


@pytest.mark.parametrize("sqlstate", NOT_NOW)
def test_what_is_not_possible_now_is_tried_again_and_never_reaches_the_dead_letters(
    core: Core,
    sqlstate: str,
) -> None:
    core.fill(10)
    with running(troubled(core, 4, lambda: raising(core, sqlstate))) as lane:
        lane.subscription.put(delivery(body("R1")), delivery(body("R2")))
        lane.subscription.wait_until_acknowledged(2)

    assert lane.dead == []
    assert set(lane.answered) == {"R1", "R2"}


@pytest.mark.parametrize("sqlstate", ["21000", "22001", "23505", "23514", "54000", "P0001"])
def test_what_the_data_themselves_make_impossible_is_tried_once_more_only(core: Core, sqlstate: str) -> None:
    with running(troubled(core, 99, lambda: raising(core, sqlstate))) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(1)

    assert [sqlstate in str(letter.headers["x-fuma-detail"]) for letter in lane.dead] == [True]
    assert core.metrics.registry.get_sample_value("fuma_retries_total", {"sqlstate": sqlstate}) == 2


def test_a_request_that_another_worker_took_meanwhile_is_seen_by_trying_again(core: Core) -> None:
    core.fill(10)

    def taken() -> None:
        raise RequestTakenError

    with running(troubled(core, 3, taken)) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(1)

    assert (lane.dead, set(lane.answered)) == ([], {"R1"})


def test_a_lane_that_is_stopped_during_its_retries_gives_up_at_once(core: Core) -> None:
    lane = troubled(core, 10_000, lambda: raising(core, "40001"))
    lane.lane.start()
    lane.subscription.put(delivery(body("R1")))
    retries = core.metrics.registry.get_sample_value
    wait_until(lambda: bool(retries("fuma_retries_total", {"sqlstate": "40001"})), "a first retry")

    lane.lane.stop()

    assert lane.lane.join(30)
    assert (lane.subscription.acknowledged, lane.dead) == ([], [])
    assert not lane.lane.broken


def test_what_can_not_be_finished_in_time_is_given_back_and_comes_again(
    core: Core,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core.fill(10)
    monkeypatch.setattr("worker.lane._PATIENCE", 0.0)
    with running(troubled(core, 2, lambda: raising(core, "53300"))) as lane:
        lane.subscription.put(delivery(body("R1")), delivery(body("R2")))
        lane.subscription.wait_until_acknowledged(2)

    assert lane.subscription.suspensions == 2
    assert set(lane.answered) == {"R1", "R2"}
    assert lane.dead == []


def test_a_bad_message_leaves_one_letter_however_often_its_batch_comes_again(
    core: Core,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    core.fill(10)
    monkeypatch.setattr("worker.lane._PATIENCE", 0.0)
    with running(troubled(core, 4, lambda: raising(core, "53300"))) as lane:
        lane.subscription.put(delivery(b"{"), delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(2)

    assert lane.subscription.suspensions == 4
    assert (len(lane.dead), set(lane.answered)) == (1, {"R1"})


def test_a_lane_that_has_nothing_to_do_any_more_has_no_trouble(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker did what this one gave back."""
    monkeypatch.setattr("worker.lane._PATIENCE", 0.0)
    monkeypatch.setattr("worker.lane._QUIET", 0.1)
    with running(troubled(core, 10_000, lambda: raising(core, "53300"))) as lane:
        lane.subscription.put(delivery(body("R1")))
        wait_until(lambda: lane.lane.trouble is not None, "the trouble")
        lane.subscription.take_away()
        wait_until(lambda: lane.lane.trouble is None, "its end")


def test_a_lane_outlives_an_outage_of_the_database(
    own_postgres: PrivatePostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.lane._PATIENCE", 0.0)
    core = Core(own_postgres.new_migrated_database())
    core.register()
    core.fill(100)
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(1)
        own_postgres.kill()
        lane.subscription.put(*[delivery(body(f"R{n}")) for n in range(2, 30)])
        lane.subscription.wait_until_suspended()
        assert len(lane.subscription.acknowledged) == 1
        own_postgres.start()
        lane.subscription.wait_until_acknowledged(29)

    assert lane.dead == []
    assert set(lane.answered) == {f"R{n}" for n in range(1, 30)}
    assert core.value("SELECT count(*) FROM numbers") == 29
    core.close()


def test_no_transaction_takes_on_more_bytes_than_it_should(core: Core) -> None:
    sizes: list[int] = []
    padding = {"comment": "x" * 300_000}

    def count(items: Sequence[Item]) -> None:
        sizes.append(len(items))

    with running(LaneOfIssuing(core, count)) as lane:
        lane.subscription.put(*[delivery(body(f"R{n}", **padding)) for n in range(4)], delivery(body("R4")))
        lane.subscription.wait_until_acknowledged(5)

    assert sizes == [1, 1, 1, 2]


def test_a_broken_producer_slows_its_lane_and_the_good_ones_are_answered(core: Core) -> None:
    core.fill(100)
    with running(LaneOfIssuing(core)) as lane:
        lane.subscription.put(*[delivery(b"{") for _ in range(600)], delivery(body("R1")))
        lane.subscription.wait_until_acknowledged(601)
        assert "can't be read" in str(lane.lane.watch.trouble)
        lane.subscription.put(*[delivery(body(f"G{n}")) for n in range(90)])
        lane.subscription.wait_until_acknowledged(691)
        for turn in range(10):
            lane.subscription.put(batch_delivery([body(f"G{n}") for n in range(90)]))
            lane.subscription.wait_until_acknowledged(692 + turn)
        assert lane.lane.watch.trouble is None

    assert lane.answered == dict.fromkeys(["R1", *[f"G{n}" for n in range(90)]], Topic.NUMBER_ASSIGNED)
    assert len(lane.dead) == 600
    told = [each for each in lane.told if each.topic in {Topic.INPUT_DEGRADED, Topic.INPUT_RECOVERED}]
    assert [each.topic for each in told] == [Topic.INPUT_DEGRADED, Topic.INPUT_RECOVERED]
    for each in told:
        EVENT_MODELS[each.topic].model_validate(each.data)
    assert (told[0].data["topic"], told[0].data["commonest_reason"]) == ("invoice-issuing", "malformed")


def test_few_deliveries_are_not_kept_waiting_for_more_and_many_are(core: Core) -> None:
    core.fill(500)
    with running(LaneOfIssuing(core)) as lane:
        for size in (1, _WORTH_WAITING - 1, _WORTH_WAITING, 2 * _WORTH_WAITING, 1, 1):
            done = len(lane.subscription.acknowledged)
            lane.subscription.put(*(delivery(body(f"R{done + number}")) for number in range(size)))
            lane.subscription.wait_until_acknowledged(done + size)

    ages = [age for age, _ in lane.subscription.gathered]
    assert [size for _, size in lane.subscription.gathered] == [1, 63, 64, 128, 1, 1]
    assert [age > 0 for age in ages] == [False, False, False, True, True, False]
