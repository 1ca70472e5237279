"""What the commands do on every broker: publish one message, watch, and look after the dead letters."""

from datetime import UTC, datetime, timedelta

import pytest

from schemas.reasons import Reason
from schemas.topics import Topic
from schemas.vocabulary import Environment
from tests.support.fixtures_rabbitmq import OpenBroker
from worker.broker.dead_letters import Selection, find_letter, read_letters, redrive
from worker.broker.emit import EmitError, emit
from worker.broker.letters import AT_HEADER, DETAIL_HEADER, REASON_HEADER, TOPIC_HEADER
from worker.broker.port import Delivery, Message
from worker.broker.tap import Tap, tap
from worker.broker.topology import DEAD_EXCHANGE, EXCHANGE

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECONDS = 20.0


def letter(
    body: str,
    *,
    reason: Reason = Reason.MALFORMED,
    topic: str = "invoice-issuing",
    at: datetime = NOON,
    message_id: str | None = None,
) -> Message:
    return Message(
        DEAD_EXCHANGE,
        topic,
        body.encode(),
        "application/json",
        headers={
            "ce-id": "kept",
            REASON_HEADER: reason.value,
            DETAIL_HEADER: f"about {body}",
            TOPIC_HEADER: topic,
            AT_HEADER: at.isoformat(),
        },
        message_id=message_id,
        content_encoding="gzip",
    )


def request(body: str = "{}", *, key: str = "refresh-requested") -> Message:
    return Message(EXCHANGE, key, body.encode(), "application/cloudevents+json", message_id="r-1")


def take_one(url: str, connect: OpenBroker, topic: Topic) -> Delivery:
    subscription = connect(url).subscribe(topic, prefetch=10)
    batch = subscription.next_batch(size=1, age=0.0, wait=SECONDS)
    assert batch is not None
    subscription.acknowledge(batch)
    return batch.deliveries[0]


def test_an_emitted_request_reaches_its_queue_on_an_empty_broker(broker_url: str, connect: OpenBroker) -> None:
    emit(broker_url, request("first"))

    delivery = take_one(broker_url, connect, Topic.REFRESH_REQUESTED)

    assert delivery.body == b"first"
    assert delivery.message_id == "r-1"
    assert delivery.content_type == "application/cloudevents+json"


def test_emitting_what_nobody_is_bound_for_fails(broker_url: str) -> None:
    with pytest.raises(EmitError, match="no queue for 'fuma' with 'refresh-requsted'"):
        emit(broker_url, request(key="refresh-requsted"))


def test_emitting_what_cannot_be_carried_fails(broker_url: str) -> None:
    with pytest.raises(EmitError, match="routing key"):
        emit(broker_url, request(key="k" * 256))


def test_emitting_into_the_other_environment_fails(broker_url: str, connect: OpenBroker) -> None:
    connect(broker_url, Environment.SANDBOX)

    with pytest.raises(EmitError, match="serves the environment 'sandbox'"):
        emit(broker_url, request(), Environment.PRODUCTION)

    emit(broker_url, request(), Environment.SANDBOX)


def test_a_tap_sees_what_passes_and_takes_it_from_nobody(broker_url: str, connect: OpenBroker) -> None:
    with Tap(broker_url) as everything, Tap(broker_url, Topic.CLAIM_REQUESTED) as claims:
        emit(broker_url, request("refresh"))
        emit(broker_url, request("claim", key="claim-requested.91350100M000100Y43"))

        seen = [everything.next(SECONDS), everything.next(SECONDS)]
        claim = claims.next(SECONDS)

        assert [each.body for each in seen if each is not None] == [b"refresh", b"claim"]
        assert claim is not None
        assert claim.body == b"claim"
        assert claim.routing_key == "claim-requested.91350100M000100Y43"
        assert claims.next(0.1) is None
    assert take_one(broker_url, connect, Topic.REFRESH_REQUESTED).body == b"refresh"


def test_a_tap_can_be_iterated_and_leaves_nothing_behind(broker_url: str) -> None:
    with Tap(broker_url) as watching:
        emit(broker_url, request("one", key="refresh-requested"))
        assert watching.next(SECONDS) is not None
    events = tap(broker_url, Topic.NUMBER_ASSIGNED)
    with Tap(broker_url, Topic.NUMBER_ASSIGNED):
        emit(broker_url, request("assigned", key="number-assigned"))
    events.close()  # type: ignore[attr-defined]

    with pytest.raises(EmitError, match="no queue"):
        emit(broker_url, request("assigned", key="number-assigned"))


def test_dead_letters_are_listed_and_stay_in_their_order(broker_url: str) -> None:
    for body, reason in (("a", Reason.MALFORMED), ("b", Reason.TOO_LARGE), ("c", Reason.MALFORMED)):
        emit(broker_url, letter(body, reason=reason, message_id=f"id-{body}"))

    for _ in range(3):
        assert len(read_letters(broker_url, limit=1)) == 1
        assert [(each.position, each.message_id, each.detail) for each in read_letters(broker_url)] == [
            (1, "id-a", "about a"),
            (2, "id-b", "about b"),
            (3, "id-c", "about c"),
        ]
    second = read_letters(broker_url)[1]
    assert second.reason == "too-large"
    assert second.topic == "invoice-issuing"
    assert second.at == NOON
    assert second.size == 1
    assert second.queue == "fuma.invoice-issuing"


def test_listing_may_be_limited_and_selected(broker_url: str) -> None:
    for number in range(5):
        reason = Reason.MALFORMED if number % 2 else Reason.UNKNOWN_TYPE
        emit(broker_url, letter(str(number), reason=reason, at=NOON + timedelta(hours=number)))

    def details(selection: Selection, limit: int | None = None) -> list[str | None]:
        return [each.detail for each in read_letters(broker_url, selection, limit=limit)]

    assert details(Selection(reason="malformed")) == ["about 1", "about 3"]
    assert details(Selection(reason="unknown-type"), 2) == ["about 0", "about 2"]
    assert details(Selection(), 0) == []
    assert details(Selection(since=NOON + timedelta(hours=3))) == ["about 3", "about 4"]
    assert details(Selection(until=NOON + timedelta(hours=1))) == ["about 0"]
    assert details(Selection(topic="claim-requested")) == []
    assert details(Selection(which="2")) == ["about 1"]


def test_no_dead_letters_is_an_empty_list(broker_url: str, connect: OpenBroker) -> None:
    connect(broker_url)

    assert read_letters(broker_url) == []
    assert find_letter(broker_url, "1") is None
    assert redrive(broker_url, Selection()).sent == 0


def test_one_letter_is_shown_with_its_body_by_id_or_position(broker_url: str) -> None:
    emit(broker_url, letter("a", message_id="id-a"))
    emit(broker_url, letter("b", message_id="id-b"))

    by_id = find_letter(broker_url, "id-b")
    by_position = find_letter(broker_url, "2")

    assert by_id is not None
    assert by_position is not None
    found, parcel = by_id
    assert by_position[0] == found
    assert by_position[1].body == b"b"
    assert found.detail == "about b"
    assert parcel.body == b"b"
    assert parcel.content_encoding == "gzip"
    assert find_letter(broker_url, "id-c") is None


def test_a_redriven_letter_is_back_in_its_queue_as_it_was(broker_url: str, connect: OpenBroker) -> None:
    for body, reason in (("a", Reason.MALFORMED), ("b", Reason.TOO_LARGE), ("c", Reason.MALFORMED)):
        emit(broker_url, letter(body, reason=reason, message_id=f"id-{body}"))

    result = redrive(broker_url, Selection(reason="too-large"))

    assert (result.sent, result.kept) == (1, 0)
    assert [each.message_id for each in read_letters(broker_url)] == ["id-a", "id-c"]
    delivery = take_one(broker_url, connect, Topic.INVOICE_ISSUING)
    assert delivery.body == b"b"
    assert delivery.message_id == "id-b"
    assert delivery.content_type == "application/json"
    assert delivery.content_encoding == "gzip"
    assert dict(delivery.headers) == {"ce-id": "kept"}


def test_a_dry_run_says_the_same_and_moves_nothing(broker_url: str) -> None:
    for body in "abc":
        emit(broker_url, letter(body))

    would = redrive(broker_url, Selection(), dry_run=True)

    assert (would.sent, would.kept) == (3, 0)
    assert [each.detail for each in read_letters(broker_url)] == ["about a", "about b", "about c"]


def test_a_letter_of_no_known_queue_is_kept_and_the_others_go(broker_url: str) -> None:
    emit(broker_url, letter("lost", topic="no-such-topic"))
    emit(broker_url, letter("found"))

    result = redrive(broker_url, Selection())

    assert (result.sent, result.kept) == (1, 1)
    assert [(each.detail, why) for each, why in result.named] == [
        ("about lost", "nothing tells which queue it came from"),
    ]
    assert [each.detail for each in read_letters(broker_url)] == ["about lost"]


def test_a_letter_that_says_nothing_of_itself_is_shown_as_the_brokers_own(broker_url: str) -> None:
    emit(broker_url, Message(DEAD_EXCHANGE, "x", b"?", "text/plain", headers={AT_HEADER: "noon", REASON_HEADER: 5}))

    (found,) = read_letters(broker_url)

    assert found.reason == "delivery-limit"
    assert found.at is None
    assert found.topic is None
