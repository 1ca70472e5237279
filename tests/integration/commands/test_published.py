"""Commands against a real broker: what they publish, watch, and send back."""

import json
import signal
import subprocess
from collections.abc import Callable
from datetime import timedelta
from threading import Thread

import pytest

from schemas.cloudevents import CloudEvent, read_message
from schemas.topics import Topic
from tests.support.commands import FUMA, Fuma, objects
from tests.support.ledger import NOW, TAXPAYER
from tests.support.rabbitmq import PrivateRabbitMQ
from tests.support.waiting import wait_until
from worker.broker.letters import AT_HEADER, DETAIL_HEADER, REASON_HEADER, TOPIC_HEADER
from worker.broker.port import Broker, Message, Outcome
from worker.broker.tap import Tap
from worker.broker.topology import DEAD_EXCHANGE

SECRET = "hunter2"  # noqa: S105 -- a password to look for


def test_a_request_is_published_with_its_key_and_environment(broker: str, fuma: Fuma) -> None:
    with Tap(broker, Topic.INVOICE_ISSUING) as passing:
        printed = fuma("emit", "issue", "--organization", "A", "--issue-date", "2026-06-15", "--id", "R1")
        delivery = passing.next(wait=10)
    assert printed == "R1\n"
    assert delivery is not None
    assert delivery.routing_key == "invoice-issuing"
    (event,) = read_message(delivery.body, delivery.content_type, None, delivery.headers).items
    assert isinstance(event, CloudEvent)
    assert event.data == {
        "issue_request_id": "R1",
        "organization": "A",
        "issue_date": "2026-06-15",
        "kind": "blue",
        "environment": "sandbox",
    }


def test_ids_are_made_where_none_is_given(broker: str, fuma: Fuma) -> None:
    with Tap(broker) as passing:
        claim = fuma("emit", "claim", "--organization", "A", "--quantity", "5", "--requested-by", "clerk").strip()
        refresh = fuma("emit", "refresh", "--taxpayer", TAXPAYER).strip()
        told = [passing.next(wait=10), passing.next(wait=10)]
    keys = [delivery.routing_key for delivery in told if delivery is not None]
    assert keys == ["claim-requested", f"refresh-requested.{TAXPAYER}"]
    bodies = [json.loads(delivery.body)["data"] for delivery in told if delivery is not None]
    assert bodies[0] == {
        "claim_id": claim,
        "organization": "A",
        "quantity": 5,
        "requested_by": "clerk",
        "environment": "sandbox",
    }
    assert bodies[1] == {"refresh_id": refresh, "taxpayer_id": TAXPAYER, "environment": "sandbox"}


NUMBER = "26447000000000000500"


@pytest.mark.parametrize("action", ["bind", "unbind"])
def test_a_binding_is_published_as_it_is_asked_for(broker: str, fuma: Fuma, action: str) -> None:
    words = ("--organization", "A", "--number", NUMBER, "--issue-request-id", "R1", "--requested-by", "Li")
    with Tap(broker, Topic.NUMBER_BINDING_REQUESTED) as passing:
        given = fuma("emit", action, *words, "--id", "B1").strip()
        made = fuma("emit", action, *words).strip()
        told = [passing.next(wait=10), passing.next(wait=10)]
    bodies = [json.loads(delivery.body)["data"] for delivery in told if delivery is not None]
    assert [body.pop("binding_id") for body in bodies] == [given, made] == ["B1", made]
    assert (
        bodies
        == [
            {
                "organization": "A",
                "number": NUMBER,
                "issue_request_id": "R1",
                "action": action,
                "requested_by": "Li",
                "environment": "sandbox",
            },
        ]
        * 2
    )


def test_an_outcome_is_published_as_it_is_reported(broker: str, fuma: Fuma) -> None:
    words = ("--organization", "A", "--invoice-number", NUMBER, "--issue-request-id", "R1")
    with Tap(broker, Topic.INVOICE_OUTCOME) as passing:
        uploaded = fuma("emit", "outcome", *words, "--outcome", "uploaded").strip()
        voided = fuma("emit", "outcome", *words, "--outcome", "failed", "--no-reuse", "--id", "O2").strip()
        told = [passing.next(wait=10), passing.next(wait=10)]
    bodies = [json.loads(delivery.body)["data"] for delivery in told if delivery is not None]
    said = {"organization": "A", "issue_request_id": "R1", "invoice_number": NUMBER, "environment": "sandbox"}
    assert bodies == [
        {**said, "outcome_id": uploaded, "outcome": "uploaded", "reuse": True},
        {**said, "outcome_id": voided, "outcome": "failed", "reuse": False},
    ]


def test_a_number_that_is_none_is_not_published(broker: str, fuma: Fuma) -> None:
    assert broker
    said = fuma("emit", "bind", "--organization", "A", "--number", "5", "--issue-request-id", "R1", status=1)
    assert said.startswith("fuma: number: expected") or "number: expected" in said


def test_a_broker_of_the_other_environment_is_refused(
    broker: str,
    monkeypatch: pytest.MonkeyPatch,
    fuma: Fuma,
) -> None:
    assert broker
    fuma("emit", "refresh")
    monkeypatch.setenv("FUMA_ENVIRONMENT", "production")
    assert "serves the environment" in fuma("emit", "refresh", status=1)


def test_wrong_broker_credentials_are_said(
    rabbitmq_node: PrivateRabbitMQ,
    monkeypatch: pytest.MonkeyPatch,
    fuma: Fuma,
) -> None:
    rabbitmq_node.start()
    monkeypatch.setenv("FUMA_BROKER_URL", rabbitmq_node.url_of("/", user="nobody", password=SECRET))
    for command in (["emit", "refresh"], ["watch"], ["dead-letters", "list"]):
        said = fuma(*command, status=1)
        assert "refuses the user name or the password" in said
        assert SECRET not in said


def test_a_schedule_goes_on_until_it_is_told_to_stop(broker: str) -> None:
    with (
        Tap(broker, Topic.REFRESH_REQUESTED) as passing,
        subprocess.Popen([*FUMA, "emit", "refresh", "--every", "1"], stdout=subprocess.PIPE, text=True) as scheduler,
    ):
        seen = [passing.next(wait=30) for _ in range(2)]
        scheduler.send_signal(signal.SIGTERM)
        printed, _ = scheduler.communicate(timeout=20)
    assert scheduler.returncode == 0
    ids = [json.loads(delivery.body)["data"]["refresh_id"] for delivery in seen if delivery is not None]
    assert len(set(ids)) == 2
    assert printed.split()[:2] == ids


@pytest.mark.parametrize("form", ["words", "json"])
def test_what_passes_is_watched(form: str, broker: str, fuma: Fuma) -> None:
    assert broker
    options = ["--json"] if form == "json" else []
    with subprocess.Popen([*FUMA, "watch", *options], stdout=subprocess.PIPE, text=True) as watcher:
        assert watcher.stdout is not None
        lines: list[str] = []
        reading = Thread(target=lambda: lines.extend(watcher.stdout or ()))
        reading.start()

        def seen() -> bool:
            # Until its queue stands, what passes is not for it: ask again.
            fuma("emit", "claim", "--organization", "A", "--quantity", "7", "--id", "C1")
            return len(lines) > 0

        wait_until(seen, "the watcher's first line")
        watcher.send_signal(signal.SIGINT)
        reading.join(20)
        assert watcher.wait(20) == 130
    if form == "json":
        assert json.loads(lines[0])["data"]["claim_id"] == "C1"
    else:
        assert "claim-requested" in lines[0]
        assert "claim_id=C1" in lines[0]


def letter(body: bytes, topic: Topic, reason: str, detail: str) -> Message:
    headers = {REASON_HEADER: reason, DETAIL_HEADER: detail, TOPIC_HEADER: topic.value, AT_HEADER: NOW.isoformat()}
    return Message(DEAD_EXCHANGE, topic.value, body, "text/plain", headers)


def test_dead_letters_are_listed_shown_and_sent_back(
    broker: str,
    connect: Callable[[str], Broker],
    fuma: Fuma,
) -> None:
    letters = [
        letter(b"\xff{", Topic.INVOICE_ISSUING, "malformed", "no JSON\x1b[2J"),
        letter(b"[1]", Topic.CLAIM_REQUESTED, "unknown-type", "no type"),
    ]
    assert connect(broker).publish(letters).result(30) == [Outcome.CONFIRMED] * 2
    listed = objects(fuma("dead-letters", "list", "--json"))
    assert [(row["position"], row["reason"], row["topic"]) for row in listed] == [
        (1, "malformed", "invoice-issuing"),
        (2, "unknown-type", "claim-requested"),
    ]
    assert len(objects(fuma("dead-letters", "list", "--json", "--reason", "malformed"))) == 1
    assert len(objects(fuma("dead-letters", "list", "--json", "--created-to", "2026-06-14"))) == 0
    assert "\x1b" not in fuma("dead-letters", "list")
    assert objects(fuma("dead-letters", "show", "1", "--json", "--payload"))[0]["body_base64"] == "/3s="
    assert "[1]" in fuma("dead-letters", "show", "2", "--payload")
    assert "[1]" not in fuma("dead-letters", "show", "2")
    assert "body" not in objects(fuma("dead-letters", "show", "2", "--json"))[0]
    before = (NOW - timedelta(seconds=1)).isoformat(timespec="seconds")
    after = (NOW + timedelta(seconds=1)).isoformat(timespec="seconds")
    assert len(objects(fuma("dead-letters", "list", "--json", "--created-from", before, "--created-to", after))) == 2
    assert objects(fuma("dead-letters", "list", "--json", "--created-from", after)) == []
    assert "before" in fuma("dead-letters", "list", "--created-from", after, "--created-to", before, status=1)
    assert "'9'" in fuma("dead-letters", "show", "9", status=1)
    assert "'9'" in fuma("dead-letters", "redrive", "9", status=1)
    assert fuma("dead-letters", "redrive", "--dry-run") == "2 would be sent back, 0 kept\n"
    assert fuma("dead-letters", "redrive", "--topic", "claim-requested") == "1 sent back, 0 kept\n"
    assert [row["reason"] for row in objects(fuma("dead-letters", "list", "--json"))] == ["malformed"]
