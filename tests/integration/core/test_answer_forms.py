"""The form of an answer is that of its question: batches in batches of one topic and taxpayer, singles alone."""

import json

from schemas.cloudevents import BATCH, STRUCTURED, Form
from tests.support.core.asked import claim, invoice, invoices, refresh
from tests.support.core.world import OTHER_TAXPAYER, TAXPAYER, Core, events_of
from worker.broker.port import Message


def published(core: Core, topic: str = "") -> list[Message]:
    return [message for message in core.broker.take() if message.routing_key.startswith(topic)]


def asked_in(message: Message) -> list[str]:
    return [each.data["issue_request_id"] for each in events_of(message)]


def test_single_requests_are_answered_by_single_messages(core: Core) -> None:
    core.fill(5)
    core.transactions.run(lambda connection: core.issuing.handle(connection, invoices(3)))

    messages = published(core)

    assert [(message.content_type, asked_in(message)) for message in messages] == [
        (STRUCTURED, ["R1"]),
        (STRUCTURED, ["R2"]),
        (STRUCTURED, ["R3"]),
    ]


def test_each_batch_is_answered_by_itself_with_a_message_for_each_topic_and_taxpayer(core: Core) -> None:
    core.register("B", OTHER_TAXPAYER)
    core.fill(50)
    core.fill(50, taxpayer_id=OTHER_TAXPAYER)
    items = [
        invoice("S1"),
        invoice("X1", form=Form.BATCH, group=1),
        invoice("X2", organization="B", form=Form.BATCH, group=1),
        invoice("Y1", form=Form.BATCH, group=2),
        invoice("X3", form=Form.BATCH, group=1),
        invoice("X4", organization="nobody", form=Form.BATCH, group=1),
    ]
    core.transactions.run(lambda connection: core.issuing.handle(connection, items))

    found = {
        (message.content_type, message.routing_key, tuple(asked_in(message))) for message in published(core, "number-")
    }

    assert found == {
        (STRUCTURED, f"number-assigned.{TAXPAYER}", ("S1",)),
        (BATCH, f"number-assigned.{TAXPAYER}", ("X1", "X3")),
        (BATCH, f"number-assigned.{OTHER_TAXPAYER}", ("X2",)),
        (BATCH, f"number-assigned.{TAXPAYER}", ("Y1",)),
        (BATCH, "number-refused", ("X4",)),
    }


def test_a_repeated_request_is_answered_in_the_form_of_its_repetition(core: Core) -> None:
    core.fill(5)
    core.issue(invoice("R1"))

    core.transactions.run(lambda connection: core.issuing.handle(connection, [invoice("R1", form=Form.BATCH)]))

    assert [(message.content_type, asked_in(message)) for message in published(core)] == [(BATCH, ["R1"])]


def test_no_batch_has_more_than_a_thousand_events_or_a_mebibyte(core: Core) -> None:
    count = 2500
    core.change("UPDATE channels SET claim_quantity = 5000")
    core.issue(*invoices(count, form=Form.BATCH))
    core.look_for_claimless_stocks()
    core.calls.call_due()
    core.calls.close(60)

    messages = published(core, "number-assigned")

    assert [asked for message in messages for asked in asked_in(message)] == [f"R{n}" for n in range(1, count + 1)]
    assert all(len(json.loads(message.body)) <= 1000 for message in messages)
    assert all(len(message.body) <= 1024 * 1024 for message in messages)
    assert len(messages) == 3


def test_claims_and_refreshes_are_answered_in_their_form_too(core: Core) -> None:
    core.transactions.run(
        lambda connection: core.claiming.handle_requests(
            connection,
            [claim("C1", quantity=0), claim("C2", quantity=0, form=Form.BATCH), claim("C3", form=Form.BATCH)],
        ),
    )
    core.calls.call_due()
    core.calls.close(60)
    core.refreshing.handle([refresh("F1"), refresh("F2", form=Form.BATCH)])

    forms = [(message.routing_key.partition(".")[0], message.content_type) for message in published(core)]
    assert len(forms) == 5
    assert set(forms) == {
        ("claim-failed", BATCH),
        ("claim-failed", STRUCTURED),
        ("range-claimed", BATCH),
        ("range-refreshed", BATCH),
        ("range-refreshed", STRUCTURED),
    }


def test_a_message_bears_its_first_events_id(core: Core) -> None:
    core.fill(5)
    core.transactions.run(lambda connection: core.issuing.handle(connection, invoices(3, form=Form.BATCH)))

    [message] = published(core)

    assert message.message_id == events_of(message)[0].id
    assert len({each.id for each in events_of(message)}) == 3
