"""Requests sent back from the dead letters: each gets the number that it would have had, however often it comes."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.support.outside.envelopes import Event, batch, event
from tests.support.outside.identities import organization
from tests.support.outside.polling import eventually
from tests.support.outside.world import World, issuing, numbers_of

_REFUSE = """
CREATE FUNCTION refuse_by_hand() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'refused by hand' USING ERRCODE = 'check_violation', CONSTRAINT = 'by_hand';
END
$$;
CREATE TRIGGER refuse_by_hand BEFORE INSERT ON issue_requests
FOR EACH ROW WHEN (NEW.issue_request_id LIKE 'poison%') EXECUTE FUNCTION refuse_by_hand();
"""


@contextmanager
def _refusing_poison(world: World) -> Iterator[None]:
    """Let the database refuse requests whose ids begin so: a fault that an operator mends before sending them back."""
    with psycopg.connect(world.database_url, autocommit=True) as connection:
        connection.execute(_REFUSE)
        yield
        connection.execute("DROP FUNCTION refuse_by_hand CASCADE")


def _numbers(world: World, key: str) -> list[str]:
    return numbers_of(world.events.records("number-assigned", issue_request_id=key))


def _ids(world: World, key: str) -> set[str]:
    return {record.id for record in world.events.records("number-assigned", issue_request_id=key)}


def test_a_redriven_request_gets_the_number_that_it_would_have_had(world: World) -> None:
    org = organization(claim_quantity=100)
    world.register(org)
    assert world.events.everything() == []
    world.worker()
    asked: dict[str, Event] = {
        key: issuing(org, key)
        for key in ("poison-alone", "poison-answered", "poison-twice", "poison-in-a-batch", "poison-released")
    }
    with _refusing_poison(world):
        world.send(
            issuing(org, "good-1"),
            asked["poison-alone"],
            asked["poison-answered"],
            issuing(org, "good-2"),
            asked["poison-twice"],
            asked["poison-twice"],
            asked["poison-released"],
        )
        world.publisher.send(batch([issuing(org, "good-3"), asked["poison-in-a-batch"], issuing(org, "good-4")]))
        for number in range(1, 5):
            world.events.one("number-assigned", issue_request_id=f"good-{number}", within=30)
        eventually(lambda: world.queue_length("fuma.dead-letters") == 6, within=30, what=world.logs)

    # One has two letters: so it is, too, when a redrive is killed between sending a letter back and removing it here.
    # Meanwhile the upstream repeats two of them, and one of their uploads fails.
    world.send(asked["poison-answered"], asked["poison-released"])
    answered = world.events.one("number-assigned", issue_request_id="poison-answered")
    released = world.events.one("number-assigned", issue_request_id="poison-released")
    failed = {"outcome_id": "O-1", "organization": org.code, "outcome": "failed"}
    of_it = {name: released.data[name] for name in ("issue_request_id", "invoice_number")}
    world.send(event("invoice-outcome", {**failed, **of_it}))
    world.events.one("number-released", outcome_id="O-1")

    chosen = ("dead-letters", "redrive", "--reason", "processing-failed")
    assert "6 would be sent back" in world.fuma.ok(*chosen, "--dry-run")
    assert world.queue_length("fuma.dead-letters") == 6
    assert "6 sent back, 0 kept" in world.fuma.ok(*chosen)

    world.events.wait("number-assigned", count=2, issue_request_id="poison-answered")
    world.events.wait("number-assigned", count=2, issue_request_id="poison-twice")
    world.events.one("number-assigned", issue_request_id="poison-alone")
    world.events.one("number-assigned", issue_request_id="poison-in-a-batch")
    assert _ids(world, "poison-answered") == {answered.id}
    for key in ("poison-alone", "poison-answered", "poison-twice", "poison-in-a-batch"):
        assert len(set(_numbers(world, key))) == len(_ids(world, key)) == 1, key
    # A copy of what was answered before brings no new number once that is released, by whichever way it comes.
    refused = world.events.one("number-refused", issue_request_id="poison-released")
    assert refused.data["reason"] == "released"
    assert _ids(world, "poison-released") == {released.id}

    assert "0 sent back, 0 kept" in world.fuma.ok("dead-letters", "redrive")
    holders = [row["issue_request_id"] for row in world.numbers("--taxpayer", org.taxpayer_id, "--status", "assigned")]
    goods = {f"good-{number}" for number in range(1, 5)}
    assert sorted(holders) == sorted({*goods, *asked} - {"poison-released"})
    world.audit()
