"""The names that follow from a topic, written out by hand from the contract."""

import pytest

from schemas.reasons import DEAD_LETTER_REASONS, Reason
from schemas.topics import (
    CONSUMED,
    EVENTS,
    PUBLISHED,
    REQUESTS,
    Topic,
    event_type,
    queue_name,
    routing_key,
    topic_of_type,
)


def test_a_type_is_the_topic_in_version_one() -> None:
    assert event_type(Topic.INVOICE_ISSUING) == "fuma.invoice-issuing.v1"


@pytest.mark.parametrize("topic", Topic)
def test_every_type_leads_back_to_its_topic(topic: Topic) -> None:
    assert topic_of_type(event_type(topic)) is topic


@pytest.mark.parametrize(
    "type_",
    ["fuma.invoice-issuing.v2", "FUMA.invoice-issuing.v1", "fuma.invoice-issuing.v1 ", "invoice-issuing", ""],
)
def test_a_type_that_is_not_exactly_ours_has_no_topic(type_: str) -> None:
    assert topic_of_type(type_) is None


def test_a_routing_key_ends_in_the_tax_id_where_it_is_known() -> None:
    assert routing_key(Topic.NUMBER_ASSIGNED, "91350100M000100Y43") == "number-assigned.91350100M000100Y43"
    assert routing_key(Topic.CLAIM_FAILED, None) == "claim-failed"


def test_the_queues_are_those_of_the_contract() -> None:
    assert {queue_name(topic) for topic in CONSUMED} == {
        "fuma.refresh-requested",
        "fuma.claim-requested",
        "fuma.invoice-issuing",
        "fuma.range-exhausted",
        "fuma.range-low",
        "fuma.number-binding-requested",
        "fuma.invoice-outcome",
    }


def test_a_topic_is_either_asked_or_told() -> None:
    assert sorted((*REQUESTS, *EVENTS)) == sorted(Topic)
    assert set(PUBLISHED) <= set(EVENTS)


def test_a_dead_letter_has_one_of_the_dead_letters_reasons() -> None:
    assert {reason.value for reason in DEAD_LETTER_REASONS} == {
        "malformed",
        "unknown-type",
        "too-large",
        "wrong-environment",
        "delivery-limit",
        "processing-failed",
    }
    assert Reason("no-stock") not in DEAD_LETTER_REASONS
