"""What Fuma cannot read: kept with its reason, and never in the way of its neighbours."""

import gzip
import json
from collections.abc import Mapping
from typing import Any

from tests.support.outside.envelopes import (
    BATCH,
    STRUCTURED,
    Event,
    Outgoing,
    as_json,
    batch,
    binary,
    event,
    structured,
)
from tests.support.outside.identities import Organization, organization
from tests.support.outside.listener import Letter, dead_letters
from tests.support.outside.polling import eventually
from tests.support.outside.world import World, channel_at, claiming, issuing, refreshing

MIB = 1024 * 1024


def without(sent: Event, name: str) -> Event:
    return {key: value for key, value in sent.items() if key != name}


def lacking(sent: Event, name: str) -> Event:
    """Leave a field out of the data."""
    data = sent["data"]
    assert isinstance(data, dict)
    return {**sent, "data": {key: value for key, value in data.items() if key != name}}


def unreadable_messages(org: Organization) -> Mapping[str, tuple[Outgoing, set[str]]]:
    """Give messages that nobody could read, each with the reasons that the contract allows for it."""
    good = issuing(org, "inside-a-bad-one")
    malformed = {"malformed"}
    key = "invoice-issuing"
    bad_events = {
        "unknown field": issuing(org, "bad", colour="green"),
        "field missing": lacking(good, "issue_date"),
        "key missing": lacking(good, "issue_request_id"),
        "key empty": issuing(org, ""),
        "key of 65": issuing(org, "k" * 65),
        "key a number": issuing(org, "bad", issue_request_id=7),
        "key with NUL": issuing(org, "a\0b"),
        "organization null": issuing(org, "bad", organization=None),
        "impossible date": issuing(org, "bad", issue_date="2026-02-30"),
        "date with time": issuing(org, "bad", issue_date="2026-02-03T00:00:00"),
        "kind unknown": issuing(org, "bad", kind="purple"),
        "number of 19": issuing(org, "bad", number="2" * 19),
        "number an integer": issuing(org, "bad", number=26_447_000_000_000_000_001),
        "data a list": event(key, [1, 2]),
        "data null": event(key, None),
        "no data": without(good, "data"),
        "no id": without(good, "id"),
        "no source": without(good, "source"),
        "other specversion": {**good, "specversion": "0.3"},
    }
    messages = {name: (structured(sent), malformed) for name, sent in bad_events.items()}
    deep = b'{"a":' * 5000 + b"1" + b"}" * 5000
    zipped = Outgoing(key, gzip.compress(as_json(good)), STRUCTURED, content_encoding="gzip")
    return messages | {
        "not JSON": (Outgoing(key, b"issue me one", STRUCTURED), malformed),
        "not UTF-8": (Outgoing(key, b'{"id":"\xff\xfe"}', STRUCTURED), malformed),
        "empty": (Outgoing(key, b"", STRUCTURED), malformed),
        "JSON but no object": (Outgoing(key, b"42", STRUCTURED), malformed),
        "lone surrogate": (Outgoing(key, as_json(good).replace(b"inside-a", rb"\ud800"), STRUCTURED), malformed),
        "no content type and no attributes": (Outgoing(key, as_json(good["data"]), None), malformed),
        "binary, bad data": (binary(issuing(org, "bad", kind="purple")), malformed),
        "nested deeply": (Outgoing(key, deep, STRUCTURED), malformed),
        "compressed": (zipped, malformed | {"too-large"}),
        "unknown type": (structured({**good, "type": "fuma.invoice-printing.v1"}, routing_key=key), {"unknown-type"}),
        "foreign type": (structured({**good, "type": "com.example.order"}, routing_key=key), {"unknown-type"}),
        "type of another queue": (structured(claiming(org, "astray"), routing_key=key), {"unknown-type"}),
        "another environment": (structured(issuing(org, "bad", environment="production")), {"wrong-environment"}),
        "over 1 MiB": (structured(issuing(org, "bad", filler="x" * MIB)), {"too-large"}),
        "batch no array": (Outgoing(key, as_json(good), BATCH), malformed),
        "batch cut off": (Outgoing(key, as_json([good, good])[:-20], BATCH), malformed),
        "batch over 1 MiB": (batch([issuing(org, f"bad-{n}", filler="x" * MIB) for n in range(2)]), {"too-large"}),
        "batch of 1001": (batch([issuing(org, f"bad-{n}") for n in range(1001)]), malformed | {"too-large"}),
        "claim of half a number": (structured(claiming(org, "bad", 1.5)), malformed),
        "claim of a word": (structured(claiming(org, "bad", "10")), malformed),
        "claim of true": (structured(claiming(org, "bad", quantity=True)), malformed),
        "refresh of two": (
            structured(refreshing("bad", organization=org.code, taxpayer_id=org.taxpayer_id, more="x")),
            malformed,
        ),
    }


def letters_when(world: World, count: int) -> list[Letter]:
    """Give the dead letters once there are so many, and put them back."""
    with dead_letters(world.broker_url) as reader:
        eventually(
            lambda: len(reader.all()) >= count,
            within=30,
            what=lambda: f"{count} dead letters, came {len(reader.all())}\n{world.logs()}",
        )
        return reader.all()


def test_each_unreadable_message_becomes_a_letter_and_its_neighbours_are_answered(world: World) -> None:
    org = organization(claim_quantity=200)
    world.register(org)
    assert world.events.everything() == []
    world.worker()
    bad = unreadable_messages(org)
    goods = [issuing(org, f"good-{n}") for n in range(len(bad))]
    world.publisher.send(
        *(
            message
            for good, (letter, _) in zip(goods, bad.values(), strict=True)
            for message in (structured(good), letter)
        )
    )
    for n in range(len(bad)):
        world.events.one("number-assigned", issue_request_id=f"good-{n}", within=30)
    letters = letters_when(world, len(bad))
    assert len(letters) == len(bad)
    by_body = {letter.body: letter for letter in letters}
    lost = [name for name, (message, _) in bad.items() if message.body not in by_body]
    assert lost == [], "every body is in the dead letters, unchanged"
    wrong = {
        name: by_body[message.body].reason
        for name, (message, reasons) in bad.items()
        if by_body[message.body].reason not in reasons
    }
    assert wrong == {}
    for name, (message, _) in bad.items():
        letter = by_body[message.body]
        assert letter.headers["x-fuma-topic"] == message.routing_key, name
        assert letter.headers["x-fuma-detail"], name
        assert letter.headers["x-fuma-at"], name
        assert letter.content_type == message.content_type or message.content_type is None, name
    numbers = world.numbers("--taxpayer", org.taxpayer_id)
    assert sorted(row["issue_request_id"] for row in numbers) == sorted(f"good-{n}" for n in range(len(bad)))
    world.audit()


def test_a_bad_element_goes_alone_and_the_rest_of_its_batch_is_answered(world: World) -> None:
    org = organization(claim_quantity=50)
    world.register(org)
    world.worker()
    bad: list[tuple[Any, str]] = [
        (issuing(org, "bad-1", colour="green"), "malformed"),
        (issuing(org, "bad-2", environment="production"), "wrong-environment"),
        ({**issuing(org, "bad-3"), "type": "fuma.nothing.v1"}, "unknown-type"),
        (claiming(org, "bad-4"), "unknown-type"),
    ]
    good = [issuing(org, f"good-{n}") for n in range(6)]
    mixed = [good[0], bad[0][0], good[1], bad[1][0], good[2], good[3], bad[2][0], bad[3][0], good[4], good[5]]
    assert world.events.everything() == []
    world.publisher.send(batch(mixed))
    for n in range(6):
        assert world.events.one("number-assigned", issue_request_id=f"good-{n}").batched
    letters = letters_when(world, len(bad))
    assert {letter.content_type for letter in letters} == {STRUCTURED}
    told = {letter.parsed()["id"]: (letter.parsed(), letter.reason) for letter in letters}
    assert told == {sent["id"]: (sent, reason) for sent, reason in bad}


def test_elements_that_are_no_events_go_alone_too(world: World) -> None:
    org = organization(claim_quantity=50)
    world.register(org)
    world.worker()
    world.publisher.send(Outgoing("invoice-issuing", as_json([7, issuing(org, "between"), None]), BATCH))
    world.events.one("number-assigned", issue_request_id="between")
    letters = letters_when(world, 2)
    assert [json.loads(letter.body) for letter in letters] == [7, None]
    assert {letter.reason for letter in letters} == {"malformed"}


def test_a_letter_moved_by_the_broker_can_be_shown_and_brought_back(world: World) -> None:
    """The broker itself moves what was rejected or handed out too often; `redrive` brings it back to its queue."""
    org = organization(claim_quantity=10)
    world.register(org)
    world.worker().drain()
    world.send(issuing(org, "rejected"))
    with channel_at(world.broker_url) as channel:
        tag = eventually(
            lambda: getattr(channel.basic_get("fuma.invoice-issuing")[0], "delivery_tag", None),
            within=10,
            what="the request",
        )
        channel.basic_reject(tag, requeue=False)
        eventually(lambda: world.queue_length("fuma.dead-letters") == 1, within=20, what="the broker's dead letter")

    assert "delivery-limit" in world.fuma.ok("dead-letters", "list")
    world.fuma.ok("dead-letters", "redrive")
    assert world.queue_length("fuma.dead-letters") == 0
    assert world.events.everything() == []
    world.worker()
    world.events.one("number-assigned", issue_request_id="rejected", within=30)
