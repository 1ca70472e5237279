"""CloudEvents in every form that the contract names, in and out."""

import base64
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.outside.envelopes import BATCH, STRUCTURED, Event, Outgoing, as_json, batch, binary, structured
from tests.support.outside.identities import organization
from tests.support.outside.listener import Record
from tests.support.outside.polling import eventually
from tests.support.outside.shop import Shop
from tests.support.outside.world import claiming, issuing

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def answer(shop: Shop, message: Outgoing, key: str) -> Record:
    shop.world.publisher.send(message)
    return shop.world.events.one("number-assigned", issue_request_id=key)


def in_base64(sent: dict[str, Any]) -> dict[str, Any]:
    """Carry the data as `data_base64`."""
    rest = {name: value for name, value in sent.items() if name != "data"}
    return {**rest, "data_base64": base64.b64encode(as_json(sent["data"])).decode()}


@pytest.mark.parametrize(
    "form",
    [
        "structured",
        "structured-with-parameters",
        "structured-with-tax-id-in-the-key",
        "structured-base64",
        "binary",
        "binary-cloudEvents-prefix",
        "batch-of-one",
        "batch-with-parameters",
        "own-environment",
        "unknown-extension",
    ],
)
def test_every_form_of_a_request_is_read(shop: Shop, form: str) -> None:
    org = shop.organization()
    key = f"form-{form}"
    sent = issuing(org, key)
    messages = {
        "structured": lambda: structured(sent),
        "structured-with-parameters": lambda: structured(
            sent, content_type="Application/CloudEvents+JSON; charset=UTF-8"
        ),
        "structured-with-tax-id-in-the-key": lambda: structured(sent, routing_key=f"invoice-issuing.{org.taxpayer_id}"),
        "structured-base64": lambda: Outgoing("invoice-issuing", as_json(in_base64(sent)), STRUCTURED),
        "binary": lambda: binary(sent),
        "binary-cloudEvents-prefix": lambda: binary(sent, prefix="cloudEvents:"),
        "batch-of-one": lambda: batch([sent]),
        "batch-with-parameters": lambda: Outgoing("invoice-issuing", as_json([sent]), f"{BATCH}; charset=utf-8"),
        "own-environment": lambda: structured(issuing(org, key, environment="sandbox")),
        "unknown-extension": lambda: structured({**sent, "comexampleother": "ignored"}),
    }
    told = answer(shop, messages[form](), key)
    assert told.batched == form.startswith("batch")
    assert told.data["taxpayer_id"] == org.taxpayer_id
    if told.batched:
        assert told.content_type == BATCH


def test_a_batch_is_answered_in_one_batch_for_each_taxpayer(shop: Shop) -> None:
    one, other = shop.organization(), shop.organization()
    shop.world.issue(one, "stocks-one")
    shop.world.issue(other, "stocks-other")
    mixed = [issuing(org, f"mixed-{n}") for n in range(5) for org in (one, other)]
    shop.world.publisher.send(batch(mixed))
    for org in (one, other):
        told = shop.world.events.wait("number-assigned", count=6, taxpayer_id=org.taxpayer_id)[1:]
        assert all(record.batched for record in told)
        assert len({record.message for record in told}) == 1
        assert {record.routing_key for record in told} == {f"number-assigned.{org.taxpayer_id}"}


def test_a_batch_of_a_thousand_is_read_and_answered_at_most_a_thousand_at_once(shop: Shop) -> None:
    org = organization(claim_quantity=1000)
    shop.world.register(org)
    shop.world.publisher.send(batch([issuing(org, f"thousand-{n:04d}") for n in range(1000)]))
    told = shop.world.events.wait("number-assigned", count=1000, taxpayer_id=org.taxpayer_id, within=90)
    assert all(record.batched for record in told)
    assert max(Counter(record.message for record in told).values()) <= 1000


def test_an_empty_batch_has_no_effect(shop: Shop) -> None:
    org = shop.organization()
    shop.world.publisher.send(Outgoing("invoice-issuing", b"[]", BATCH))
    shop.world.issue(org, "after-the-empty-one")
    eventually(
        lambda: shop.world.queue_length("fuma.invoice-issuing") == 0, within=10, what="the empty batch acknowledged"
    )
    assert shop.world.queue_length("fuma.dead-letters") == 0


def test_the_type_decides_and_a_batch_may_bring_claims(shop: Shop) -> None:
    org = shop.organization()
    shop.world.publisher.send(batch([claiming(org, f"in-batch-{n}", 2) for n in range(3)]))
    claimed = shop.world.events.wait("range-claimed", count=3, taxpayer_id=org.taxpayer_id)
    assert {record.data["claim_id"] for record in claimed} == {"in-batch-0", "in-batch-1", "in-batch-2"}


@pytest.mark.parametrize("form", [structured, binary])
def test_traceparent_is_carried_through(shop: Shop, form: Callable[[Event], Outgoing]) -> None:
    org = shop.organization()
    key = f"traced-{form.__name__}"
    told = answer(shop, form({**issuing(org, key), "traceparent": TRACE}), key)
    carried = str(told.event.get("traceparent"))
    assert carried.split("-")[1] == TRACE.split("-")[1]
